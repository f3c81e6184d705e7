"""Keep traces that lack spans, until the store had its time to show them."""

from __future__ import annotations

import heapq
from itertools import count

from netra_otel_bridge.core.clock import NS_PER_S, Clock
from netra_otel_bridge.readback.expected import ExpectedTrace

SHOWN_AFTER_S = 60.0
"""A store may take this long to show what it took."""
FIRST_WAIT_S = 1.0
MAX_WAIT_S = 16.0
MAX_TRACES = 100_000
MAX_BYTES = 32_000_000
"""Limits of what is kept; beyond them no further trace is read until a kept one is settled."""


class WaitingTrace:
    """A trace to read, and when it is read again if it lacks spans."""

    __slots__ = ("_until_s", "_wait_s", "due_s", "trace")

    def __init__(self, trace: ExpectedTrace) -> None:
        self.trace = trace
        self.due_s = 0.0
        self._wait_s = 0.0
        self._until_s = 0.0

    def is_over(self, asked_s: float, clock: Clock) -> bool:
        """Return whether the store had its time, if spans were missing when it was asked at ``asked_s``.

        Else set when to ask again. The store is asked at least twice, and until `SHOWN_AFTER_S` after the spans were
        recorded. A clock that is off makes this wait no longer than that.
        """
        if not self._wait_s:
            left_s = SHOWN_AFTER_S + (self.trace.recorded_ns - clock.now_ns()) / NS_PER_S
            self._until_s = asked_s + min(max(left_s, FIRST_WAIT_S), SHOWN_AFTER_S)
            self._wait_s = FIRST_WAIT_S
        elif asked_s >= self._until_s:
            return True
        self.due_s = min(clock.monotonic() + self._wait_s, max(self._until_s, clock.monotonic()))
        self._wait_s = min(2 * self._wait_s, MAX_WAIT_S)
        return False


class WaitingTraces:
    """Traces to be read again, the next one first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, WaitingTrace]] = []
        self._numbers = count()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def is_full(self) -> bool:
        """Return whether no further trace should be read first."""
        return len(self._heap) >= MAX_TRACES or self._bytes >= MAX_BYTES

    def push(self, waiting: WaitingTrace) -> None:
        """Keep a trace until it is due."""
        heapq.heappush(self._heap, (waiting.due_s, next(self._numbers), waiting))
        self._bytes += len(waiting.trace.spans)

    def pop(self) -> WaitingTrace:
        """Return the trace that is due next."""
        waiting = heapq.heappop(self._heap)[2]
        self._bytes -= len(waiting.trace.spans)
        return waiting
