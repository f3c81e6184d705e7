"""Clock and back-off. All other modules sleep and tell the time through a `Clock`, so that tests control it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from netra_otel_bridge.core.errors import UsageError

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
MINUTE_NS = 60 * NS_PER_S
HOUR_NS = 60 * MINUTE_NS
CLOCK_OFF_NS = MINUTE_NS
"""Times of two clocks that differ by less agree."""


class Clock(Protocol):
    """A source of time; tests pass their own."""

    def now_ns(self) -> int:
        """Return the wall-clock time in nanoseconds since the epoch: for windows and timestamps, never for waiting."""

    def monotonic(self) -> float:
        """Return seconds that never go back: for deadlines and durations."""

    async def sleep(self, seconds: float) -> None:
        """Wait; cancelling the task ends the wait at once."""


def thread_cpu_s() -> float:
    """Return the processor time that the calling thread has used, in seconds: for what one computation may cost."""
    return time.thread_time()


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

    Raises `UsageError` for fewer ``attempts`` than one, and for waits that are not numbers of seconds.
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
        """Return the wait after ``attempt`` failed: at least ``asked_s`` (``Retry-After``), and at most ``max_s``."""
        jittered = self.uniform(0, min(self.max_s, self.first_s * 2.0 ** min(attempt, 32)))
        return max(jittered, min(max(asked_s or 0.0, 0.0), self.max_s))
