"""Check the arguments of calls, and write them in Netra's form. All functions raise `UsageError`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import msgspec

from netra_otel_bridge.core.clock import NS_PER_MS
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.dashboards import (
    ChartType,
    Dimension,
    FilterConfig,
    GroupBy,
    Metrics,
    Scope,
    SessionFilterConfig,
    SessionSort,
)
from netra_otel_bridge.core.model.query import TraceFilter
from netra_otel_bridge.core.time_text import datetime_ns, iso_ms
from netra_otel_bridge.source.pages import PAGE_LIMIT

Direction = Literal["up", "down"]
SortOrder = Literal["asc", "desc"]
Time = str | datetime
"""ISO 8601 text, sent as it is, or a datetime with a zone, sent as UTC milliseconds."""


def is_above_zero(value: object) -> bool:
    """Return whether ``value`` is a number above zero. NaN is not."""
    return isinstance(value, int | float) and value > 0


def start_text(when: Time) -> str:
    """Return the start of the range."""
    return _time(when, "start_time", 0)


def end_text(when: Time) -> str:
    """Return the end of the range, rounded up so that no trace in the last millisecond is missed."""
    return _time(when, "end_time", NS_PER_MS - 1)


def page_size(limit: int | None) -> int | None:
    """Return the number of items on a page, 1 to `PAGE_LIMIT`; ``None`` leaves it to Netra (20)."""
    if limit is not None and not (isinstance(limit, int) and 1 <= limit <= PAGE_LIMIT):
        raise UsageError(f"limit is {limit!r:.80}, but must be from 1 to {PAGE_LIMIT}")
    return limit


def one_of(value: str | None, *known: str) -> str | None:
    """Return ``value`` if it is one of ``known`` or ``None``."""
    if value is not None and value not in known:
        raise UsageError(f"{value!r} is not one of {', '.join(known)}")
    return value


def trace_query(
    start_time: Time,
    end_time: Time,
    ids: Mapping[str, str | None],
    filters: Sequence[TraceFilter],
    limit: int | None,
    cursor: str | None,
    direction: str | None,
    sort_field: str | None,
    sort_order: str | None,
) -> bytes:
    """Return the body of ``POST /sdk/traces``. Like netra-sdk, it omits arguments that the caller omits."""
    conditions = [TraceFilter(name, value) for name, value in ids.items() if value is not None]
    query = {
        "startTime": start_text(start_time),
        "endTime": end_text(end_time),
        "filters": [_filter_object(condition) for condition in (*conditions, *_checked(filters))],
        "pagination": _given(limit=page_size(limit), cursor=cursor, direction=one_of(direction, "up", "down")),
        **_given(sortField=sort_field, sortOrder=one_of(sort_order, "asc", "desc")),
    }
    return _encoded(query, "trace query")


def chart_query(
    scope: str, chart_type: str, metrics: Metrics, asked: FilterConfig, dimension: Dimension | None
) -> bytes:
    """Return the body of ``POST /public/dashboard/query-data``. Netra checks measures, aggregations and fields."""
    custom = dimension is not None and dimension.field == "custom"
    if dimension is not None and custom and not dimension.name:
        raise UsageError("a custom dimension has no name")
    query = {
        "scope": one_of(scope, *get_args(Scope)),
        "chartType": one_of(chart_type, *get_args(ChartType)),
        "metrics": {
            "measure": metrics.measure,
            "aggregation": metrics.aggregation,
            **_given(metricName=metrics.metric_name),
        },
        "filter": {
            "startTime": start_text(asked.start_time),
            "endTime": end_text(asked.end_time),
            "groupBy": one_of(asked.group_by, *get_args(GroupBy)),
            **_conditions(asked.filters),
        },
    }
    if dimension is not None:
        query["dimension"] = {"field": dimension.name if custom else dimension.field}
    return _encoded(query, "dashboard query")


def session_query(
    start_time: Time,
    end_time: Time,
    filters: Sequence[TraceFilter] | None,
    limit: int | None,
    cursor: str | None,
    sort_field: str | None,
    sort_order: str | None,
) -> bytes:
    """Return the body of ``POST /public/dashboard/sessions/stats``."""
    paging = _given(limit=page_size(limit), cursor=cursor)
    query = {
        "startTime": start_text(start_time),
        "endTime": end_text(end_time),
        **_conditions(filters),
        **_given(
            pagination=paging or None,
            sortField=one_of(sort_field, *get_args(SessionSort)),
            sortOrder=one_of(sort_order, "asc", "desc"),
        ),
    }
    return _encoded(query, "session query")


def summary_query(asked: SessionFilterConfig) -> bytes:
    """Return the body of ``POST /public/dashboard/sessions/summary``."""
    times = {"startTime": start_text(asked.start_time), "endTime": end_text(asked.end_time)}
    return _encoded({"filter": {**times, **_conditions(asked.filters)}}, "session query")


def _conditions(filters: Sequence[TraceFilter] | None) -> dict[str, object]:
    return {"filters": [_filter_object(condition) for condition in _checked(filters)]} if filters else {}


def _checked(filters: Sequence[TraceFilter]) -> Sequence[TraceFilter]:
    if not isinstance(filters, Sequence) or not all(isinstance(one, TraceFilter) for one in filters):
        raise UsageError("filters contains something other than a TraceFilter", hint="give a list of TraceFilter(...)")
    return filters


def _encoded(query: Mapping[str, object], what: str) -> bytes:
    try:
        return msgspec.json.encode(query)
    except UnicodeEncodeError:
        raise UsageError(f"the {what} contains text that is not valid Unicode") from None
    except TypeError as error:
        raise UsageError(f"the {what} contains a value that JSON cannot represent: {error}") from None


def _filter_object(condition: TraceFilter) -> dict[str, Any]:
    return {
        "field": condition.field,
        "operator": condition.operator,
        "type": condition.type,
        "value": condition.value,
        **_given(key=condition.key),
    }


def _time(when: Time, name: str, add_ns: int) -> str:
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise UsageError(f"{name} has no time zone", hint="give datetime.now(UTC), or ISO 8601 text")
        return iso_ms(datetime_ns(when) + add_ns)
    if not isinstance(when, str):
        raise UsageError(f"{name} is of type {type(when).__name__}", hint="give ISO 8601 text, or a datetime")
    if not when:
        raise UsageError(f"{name} is empty")
    return when


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}
