"""Measure for how long work keeps the event loop from everything else: health checks, signals, other destinations."""

from __future__ import annotations

from netra_otel_bridge.core.clock import Clock

BEAT_S = 0.25
"""Interval of the measurements. A delay shorter than this may be missed in part."""
SHOWN_S = 60.0
"""A delay is shown for at least this long, and at most twice as long, so that each scrape sees it."""


class LoopDelay:
    """The longest recent delay of the event loop on which `run` runs: how much too late a short wait ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._before_s = 0.0
        self._now_s = 0.0

    @property
    def longest_s(self) -> float:
        """Return the longest delay of the last one to two minutes, in seconds."""
        return max(self._before_s, self._now_s)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            until = self._clock.monotonic() + SHOWN_S
            while (began := self._clock.monotonic()) < until:
                await self._clock.sleep(BEAT_S)
                self._now_s = max(self._now_s, self._clock.monotonic() - began - BEAT_S)
            self._before_s, self._now_s = self._now_s, 0.0
