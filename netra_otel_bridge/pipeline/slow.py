"""Set traces aside that are slow to read, so that no poll of live traffic waits for them.

A slow trace is held back, and read apart from the passes to learn whether it can be read. Only then a pass reads it
again, and waits for it. What is read apart is dropped, so it takes no memory between passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from netra_otel_bridge.core.errors import NetraUnavailable
from netra_otel_bridge.pipeline.judge import NoSpans
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget, Reservation
from netra_otel_bridge.pipeline.reading import list_spans
from netra_otel_bridge.source import AsyncNetraClient

PATIENCE_S = 3.0
"""Time that a pass waits for a page, plus twice as long as pages took lately."""
FEW = 4
"""So few traces may be set aside although no other one was read meanwhile."""
APART_BYTES = 2**24
LOOK_S = 0.5
DECAY = 0.9


class TooSlow(NetraUnavailable):
    """A trace was set aside, because a pass would have waited for its next page."""

    def __init__(self, patience_s: float) -> None:
        super().__init__(
            f"no answer within {patience_s:.0f} s; it is read apart, so that others do not wait", hint="try again later"
        )


class SlowTraces:
    """The traces of one lane that were slow. `close` it at the end.

    ``page_s`` is how long a page took lately: that of the slowest, decaying with each page.
    """

    def __init__(self, client: AsyncNetraClient) -> None:
        self.page_s = 0.0
        self._client = client
        self._budget = MemoryBudget(APART_BYTES)
        self._slow: set[str] = set()
        self._apart: dict[str, asyncio.Task[None]] = {}

    def __contains__(self, trace_id: str) -> bool:
        return trace_id in self._slow

    def add(self, trace_id: str) -> None:
        """Add a trace that was set aside."""
        self._slow.add(trace_id)

    def remove(self, trace_id: str) -> None:
        """Remove a trace: it is answered, or deleted."""
        self._slow.discard(trace_id)

    def is_read_apart(self, trace_id: str) -> bool:
        """Return whether a slow trace was read apart, with any result. If not, begin, unless `FEW` others are being read."""
        task = self._apart.get(trace_id)
        if task is None and sum(not one.done() for one in self._apart.values()) < FEW:
            self._apart[trace_id] = asyncio.create_task(self._read_apart(trace_id))
        return task is not None and task.done()

    def take_result(self, trace_id: str) -> BaseException | None:
        """Forget that a trace was read apart, and return the error."""
        task = self._apart.pop(trace_id, None)
        return task.exception() if task is not None else None

    async def close(self) -> None:
        """Stop reading."""
        tasks = list(self._apart.values())
        self._apart.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_apart(self, trace_id: str) -> None:
        is_empty = True
        reservation = self._budget.reserve()
        try:
            async for page, size_bytes in list_spans(self._client, trace_id, reservation):
                reservation.add(size_bytes)
                is_empty = is_empty and not page.spans and not page.unreadable
                reservation.add(-size_bytes)
        finally:
            reservation.release()
        if is_empty:
            raise NoSpans(trace_id)


class _Reading:
    """A trace that a pass reads, and since when it waits for a page; ``None`` while it does not."""

    def __init__(self, deadline: asyncio.Timeout, reservation: Reservation, slow: SlowTraces) -> None:
        self.deadline = deadline
        self.reservation = reservation
        self.since_s: float | None = None
        self._slow = slow

    def wait(self, waits: bool) -> None:
        """Note that a page was requested, or that it has arrived."""
        now_s = asyncio.get_running_loop().time()
        if self.since_s is not None and not waits:
            self._slow.page_s = max(now_s - self.since_s, self._slow.page_s * DECAY)
        self.since_s = now_s if waits else None


class Readings:
    """The traces that one pass over live traffic reads now, and which of them it waits for."""

    def __init__(self, slow: SlowTraces) -> None:
        self._slow = slow
        self._readings: set[_Reading] = set()
        self._read_s = 0.0

    @contextmanager
    def begin(self, deadline: asyncio.Timeout, reservation: Reservation) -> Iterator[_Reading]:
        """Register a trace while it is read, until ``deadline``, which `watch` sets."""
        reading = _Reading(deadline, reservation, self._slow)
        self._readings.add(reading)
        try:
            yield reading
            self._read_s = asyncio.get_running_loop().time()
        finally:
            self._readings.discard(reading)

    @property
    def patience_s(self) -> float:
        """Return for how long a trace may wait for a page."""
        return PATIENCE_S + 2 * self._slow.page_s

    async def watch(self) -> None:
        """End the reading of slow traces, until cancelled.

        A trace is slow if another one was read meanwhile, or if only `FEW` are left.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = asyncio.get_running_loop().time()
            for one in list(self._readings):
                if one.reservation.waits and one.since_s is not None:  # for memory, and not for Netra
                    one.since_s = now_s
                if one.since_s is None or now_s - one.since_s < self.patience_s or one.deadline.expired():
                    continue
                if self._read_s > one.since_s or len(self._readings) <= FEW:
                    with suppress(RuntimeError):  # it ended in this instant
                        one.deadline.reschedule(now_s)
