"""A clock that a test owns: a sleep takes no time, is recorded, and moves the clock forward."""

from __future__ import annotations

import asyncio

from netra_otel_bridge.core.clock import NS_PER_S


class FakeClock:
    """A clock that starts at 2026-05-01T00:00:00Z; ``waits`` holds every sleep, in seconds."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.start_ns = 1_777_593_600 * NS_PER_S
        self.waits: list[float] = []

    def now_ns(self) -> int:
        return self.start_ns + int(self.elapsed_s * NS_PER_S)

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed_s

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.elapsed_s += max(0.0, seconds)
        await asyncio.sleep(0)
