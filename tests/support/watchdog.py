"""Measure for how long the event loop was blocked."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

BEAT_S = 0.005


class LoopWatch:
    """An async context manager; ``blocked_s`` is the longest time for which this process kept the loop from running.

    A gap counts only as far as this process used the CPU in it, because the loop also waits while other programs run.
    The time of all threads counts, since a thread that holds the GIL blocks the loop too.
    """

    def __init__(self) -> None:
        self.blocked_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LoopWatch:
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.sleep(2 * BEAT_S)
        assert self._task is not None
        self._task.cancel()

    async def _beat(self) -> None:
        wall, cpu = time.monotonic(), time.process_time()
        while True:
            await asyncio.sleep(BEAT_S)
            now, used = time.monotonic(), time.process_time()
            self.blocked_s = max(self.blocked_s, min(now - wall, used - cpu) - BEAT_S)
            wall, cpu = now, used
