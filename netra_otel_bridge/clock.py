"""Time: the clock, back-off, ``Retry-After`` and the times that people type. No other module sleeps or asks the time."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Protocol

from netra_otel_bridge.errors import UsageError

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
LAST_NS = 9_223_372_036_854 * NS_PER_MS
"""The last millisecond whose nanoseconds fit into 64 bits, in 2262: what is later means this."""
_UNIT_NS = {"ms": NS_PER_MS, "s": NS_PER_S, "m": 60 * NS_PER_S, "h": 3600 * NS_PER_S, "d": 86400 * NS_PER_S,
            "w": 7 * 86400 * NS_PER_S}  # fmt: skip
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


class Clock(Protocol):
    """What the bridge asks of time; tests hand in their own."""

    def now_ns(self) -> int:
        """Wall-clock time, nanoseconds since the epoch: for windows and stamps, never for waiting."""

    def monotonic(self) -> float:
        """Seconds that never go back: for deadlines and durations."""

    async def sleep(self, seconds: float) -> None:
        """Wait; cancelling the task ends the wait at once."""


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with full jitter: attempt n (from 0) waits up to ``first_s * 2**n``, at most ``max_s``.

    Raises `UsageError` for fewer ``attempts`` than one, and for waits that are no seconds.
    """

    first_s: float = 0.25
    max_s: float = 30.0
    attempts: int = 6
    uniform: Callable[[float, float], float] = random.uniform

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or self.attempts < 1:
            raise UsageError(f"attempts is {self.attempts!r:.80}", hint="give a whole number from 1 on")
        for name, seconds in (("first_s", self.first_s), ("max_s", self.max_s)):
            if not isinstance(seconds, int | float) or not seconds >= 0:
                raise UsageError(f"{name} is {seconds!r:.80}", hint="give seconds")

    def delay_s(self, attempt: int, asked_s: float | None = None) -> float:
        """Seconds to wait after ``attempt`` failed; at least ``asked_s`` (``Retry-After``), which is capped at ``max_s`` too."""
        jittered = self.uniform(0, min(self.max_s, self.first_s * 2.0 ** min(attempt, 32)))
        return max(jittered, min(max(asked_s or 0.0, 0.0), self.max_s))


def parse_retry_after(value: str | None, now_ns: int) -> float | None:
    """Seconds asked for by a ``Retry-After`` header (RFC 9110, 10.2.3): a number or an HTTP date.

    Negative waits and past dates are 0; what cannot be read is ``None``.
    """
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"[+-]?\d+(\.\d*)?", text):
        return max(0.0, float(text))
    when_ns = parse_http_date_ns(text)
    return None if when_ns is None else max(0.0, (when_ns - now_ns) / NS_PER_S)


def parse_http_date_ns(text: str) -> int | None:
    """An HTTP date (RFC 9110, 5.6.7) in nanoseconds since the epoch; ``None`` for what is none."""
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return datetime_ns(when if when.tzinfo is not None else when.replace(tzinfo=UTC))


def parse_duration_ns(text: str) -> int:
    """``90m``, ``24h``, ``7d``, ``1h30m``, ``50ms`` in nanoseconds. Raises `UsageError`."""
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
    """The shortest text that `parse_duration_ns` reads back as ``ns``, in whole milliseconds: ``1h``, ``1500ms``."""
    for unit in ("w", "d", "h", "m", "s"):
        if ns and ns % _UNIT_NS[unit] == 0:
            return f"{ns // _UNIT_NS[unit]}{unit}"
    return f"{ns // NS_PER_MS}ms"


def parse_time_ns(text: object, now_ns: int) -> int:
    """An ISO 8601 time (UTC unless it says otherwise) or a duration before now, in nanoseconds since the epoch.

    Raises `UsageError`, for anything but a text as well.
    """
    if not isinstance(text, str):
        raise UsageError(
            f"a time is a text, and not of type {type(text).__name__}",
            hint="write a datetime with a zone as its isoformat()",
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
        raise UsageError(f"{text[:40]!r} lies before 1970", hint="write a later time, or a shorter duration before now")
    return min(ns, LAST_NS)


def datetime_ns(when: datetime) -> int:
    """Nanoseconds since the epoch, exactly: no float on the way."""
    delta = when - datetime(1970, 1, 1, tzinfo=UTC)
    return ((delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000


def iso_ms(ns: int) -> str:
    """The form that Netra's API takes: ``2025-11-16T00:00:00.000Z``, rounded down to the millisecond."""
    seconds, rest = divmod(ns, NS_PER_S)
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest // NS_PER_MS:03d}Z"
