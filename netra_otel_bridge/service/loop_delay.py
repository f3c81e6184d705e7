"""Measure for how long work keeps the event loop from everything else: health checks, signals, other destinations."""

from __future__ import annotations

import asyncio

BEAT_S = 0.1
"""Interval of the measurements. A delay shorter than this may be missed in part."""
SHOWN_S = 60.0
"""A delay is shown for at least this long, and at most twice as long, so that each scrape sees it."""


class LoopDelay:
    """The longest recent delay of the event loop on which `run` runs: how much too late a timer fired."""

    def __init__(self) -> None:
        self._before_s = 0.0
        self._now_s = 0.0
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def longest_s(self) -> float:
        """Return the longest delay of the last one to two minutes, in seconds."""
        return max(self._before_s, self._now_s)

    def start(self) -> None:
        """Measure the running loop, until `stop`."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + SHOWN_S
        self._wait(loop)

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + BEAT_S
        self._timer = loop.call_at(due, self._beat, loop, due)

    def _beat(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self._now_s = max(self._now_s, now - due)
        if now >= self._until:
            self._before_s, self._now_s, self._until = self._now_s, 0.0, now + SHOWN_S
        self._wait(loop)
