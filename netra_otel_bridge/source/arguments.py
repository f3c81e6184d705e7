"""The arguments of calls, checked and as Netra takes them. All of these raise `UsageError`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from netra_otel_bridge.clock import NS_PER_MS, datetime_ns, iso_ms
from netra_otel_bridge.errors import UsageError
from netra_otel_bridge.model import TraceFilter

Direction = Literal["up", "down"]
SortOrder = Literal["asc", "desc"]
Time = str | datetime
"""ISO 8601 text, sent as it is, or a datetime with a zone, sent as UTC milliseconds."""
MAX_LIMIT = 100
"""Items on a page, at most: Netra's own bound."""


def start_text(when: Time) -> str:
    """The first instant asked for."""
    return _time(when, "start_time", 0)


def end_text(when: Time) -> str:
    """The end of the range, rounded up so that no trace falls behind the last millisecond."""
    return _time(when, "end_time", NS_PER_MS - 1)


def page_size(limit: int | None) -> int | None:
    """Items on a page, 1 to `MAX_LIMIT`; ``None`` leaves it to Netra (20)."""
    if limit is not None and not 1 <= limit <= MAX_LIMIT:
        raise UsageError(f"limit is {limit}, and Netra takes 1 to {MAX_LIMIT}")
    return limit


def one_of(value: str | None, *known: str) -> str | None:
    """A word out of a fixed set, or ``None``."""
    if value is not None and value not in known:
        raise UsageError(f"{value!r} is none of {', '.join(known)}")
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
    """The body of ``POST /sdk/traces``: what is not asked for is not sent, as netra-sdk has it."""
    conditions = [TraceFilter(name, value) for name, value in ids.items() if value is not None]
    query = {
        "startTime": start_text(start_time),
        "endTime": end_text(end_time),
        "filters": [_filter_object(condition) for condition in (*conditions, *filters)],
        "pagination": _given(limit=page_size(limit), cursor=cursor, direction=one_of(direction, "up", "down")),
        **_given(sortField=sort_field, sortOrder=one_of(sort_order, "asc", "desc")),
    }
    try:
        return msgspec.json.encode(query)
    except UnicodeEncodeError:
        raise UsageError("the trace query holds text that is not Unicode") from None


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
    if not when:
        raise UsageError(f"{name} is empty")
    return when


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}
