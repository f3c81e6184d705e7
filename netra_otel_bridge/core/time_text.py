"""Read and write times and durations as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime

from netra_otel_bridge.core.clock import NS_PER_MS, NS_PER_S
from netra_otel_bridge.core.errors import UsageError

LAST_NS = 9_223_372_036_854 * NS_PER_MS
"""The last millisecond whose nanoseconds fit into 64 bits, in 2262. Later times become this one."""
_UNIT_NS = {"ms": NS_PER_MS, "s": NS_PER_S, "m": 60 * NS_PER_S, "h": 3600 * NS_PER_S, "d": 86400 * NS_PER_S,
            "w": 7 * 86400 * NS_PER_S}  # fmt: skip
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def parse_retry_after(value: str | None, now_ns: int) -> float | None:
    """Return the seconds in a ``Retry-After`` header (RFC 9110, 10.2.3), which holds a number or an HTTP date.

    Negative waits and past dates are 0. An unreadable value is ``None``.
    """
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"[+-]?\d+(\.\d*)?", text):
        return max(0.0, float(text))
    when_ns = parse_http_date_ns(text)
    return None if when_ns is None else max(0.0, (when_ns - now_ns) / NS_PER_S)


def parse_http_date_ns(text: str) -> int | None:
    """Return an HTTP date (RFC 9110, 5.6.7) in nanoseconds since the epoch; ``None`` for other text."""
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return datetime_ns(when if when.tzinfo is not None else when.replace(tzinfo=UTC))


def parse_duration_ns(text: str) -> int:
    """Return ``90m``, ``24h``, ``7d``, ``1h30m`` or ``50ms`` in nanoseconds. Raises `UsageError`."""
    compact = text.strip().lower()
    total = 0
    position = 0
    for match in _DURATION.finditer(compact):
        if match.start() != position:
            break
        total += int(Decimal(match[1]) * _UNIT_NS[match[2]])
        position = match.end()
    if not compact or position != len(compact):
        raise UsageError(f"{text!r} is not a duration", hint="write it as 30s, 90m, 24h or 7d")
    return total


def duration_text(ns: int) -> str:
    """Return the shortest text that `parse_duration_ns` reads as ``ns``, in whole milliseconds: ``1h``, ``1500ms``."""
    for unit in ("w", "d", "h", "m", "s"):
        if ns and ns % _UNIT_NS[unit] == 0:
            return f"{ns // _UNIT_NS[unit]}{unit}"
    return f"{ns // NS_PER_MS}ms"


def parse_time_ns(text: object, now_ns: int) -> int:
    """Return an ISO 8601 time (UTC by default) or a duration before now, in nanoseconds since the epoch.

    Raises `UsageError`, also for a value that is not text.
    """
    if not isinstance(text, str):
        raise UsageError(
            f"a time is of type {type(text).__name__}",
            hint="pass text; for a datetime with a zone, its isoformat()",
        )
    value = text.strip()
    if value.lower() == "now":
        return now_ns
    if _DURATION.match(value.lower()):
        ns = now_ns - parse_duration_ns(value)
    else:
        try:
            when = datetime.fromisoformat(value)
        except ValueError:
            raise UsageError(
                f"{text!r} is not a time",
                hint="write 2026-05-01T12:00:00Z, 2026-05-01, or 90m, 24h, 7d before now",
            ) from None
        ns = datetime_ns(when if when.tzinfo is not None else when.replace(tzinfo=UTC))
    if ns < 0:
        raise UsageError(f"{text[:40]!r} is before 1970", hint="write a later time, or a shorter duration before now")
    return min(ns, LAST_NS)


def datetime_ns(when: datetime) -> int:
    """Return nanoseconds since the epoch, computed without floats and so exact."""
    delta = when - datetime(1970, 1, 1, tzinfo=UTC)
    return ((delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000


def iso_ms(ns: int) -> str:
    """Return a time in the form of Netra's API, ``2025-11-16T00:00:00.000Z``, rounded down to the millisecond."""
    seconds, rest = divmod(ns, NS_PER_S)
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest // NS_PER_MS:03d}Z"
