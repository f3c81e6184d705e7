"""Log lines that repeat: at most one a minute for each thing they speak of."""

from __future__ import annotations

import logging
from collections.abc import Hashable

from netra_otel_bridge.core.clock import Clock

EVERY_S = 60.0
MAX_KEYS = 1000
"""Keys that are remembered; of the one that was silent for longest the next line is taken for a first one."""


class LogLimit:
    """Lets a key's first line pass at once, counts repeats for ``every_s`` seconds, then lets one pass with the count.

    May be used from several threads.
    """

    def __init__(self, clock: Clock, every_s: float = EVERY_S) -> None:
        self._clock = clock
        self._every_s = every_s
        self._lines: dict[Hashable, tuple[float, int]] = {}

    def due(self, key: Hashable) -> str | None:
        """``None`` for a line to be kept back; else what to write behind it: ``" (12 times in 75 s)"`` or nothing."""
        now = self._clock.monotonic()
        passed_at, held = self._lines.get(key, (now, -1))
        if held >= 0 and now - passed_at < self._every_s:
            self._lines[key] = (passed_at, held + 1)
            return None
        self._lines.pop(key, None)
        self._lines[key] = (now, 0)
        if len(self._lines) > MAX_KEYS:
            self._lines.pop(next(iter(self._lines)), None)
        return f" ({held + 1} times in {now - passed_at:.0f} s)" if held > 0 else ""

    def log(self, logger: logging.Logger, level: int, key: Hashable, message: str, **fields: object) -> None:
        """Log ``message`` if its key is due; ``fields`` go into the JSON form of the line."""
        if not logger.isEnabledFor(level):
            return
        times = self.due(key)
        if times is not None:
            logger.log(level, "%s%s", message, times, extra={"netra": fields})
