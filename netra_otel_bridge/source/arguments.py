"""The arguments of calls, checked and as Netra takes them. All of these raise `UsageError`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

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


def _time(when: Time, name: str, add_ns: int) -> str:
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise UsageError(f"{name} has no time zone", hint="give datetime.now(UTC), or ISO 8601 text")
        return iso_ms(datetime_ns(when) + add_ns)
    if not when:
        raise UsageError(f"{name} is empty")
    return when


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


def filter_object(condition: TraceFilter) -> dict[str, Any]:
    """A condition as the trace query takes it."""
    return {
        "field": condition.field,
        "operator": condition.operator,
        "type": condition.type,
        "value": condition.value,
        **given(key=condition.key),
    }


def given(**values: object) -> dict[str, object]:
    """Those that are not ``None``: Netra is not sent what was not asked for."""
    return {name: value for name, value in values.items() if value is not None}
