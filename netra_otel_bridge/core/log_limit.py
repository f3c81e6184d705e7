"""Limit repeated log lines to one per minute for each subject."""

from __future__ import annotations

import logging
from collections.abc import Hashable

from netra_otel_bridge.core.clock import Clock

EVERY_S = 60.0
MAX_KEYS = 1000
"""Maximum keys remembered. The key that logged longest ago is forgotten first: its next line counts as its first."""


class LogLimit:
    """Passes the first line of a key, counts repeats for ``every_s`` seconds, then passes one line with the count.

    Several threads may use it.
    """

    def __init__(self, clock: Clock, every_s: float = EVERY_S) -> None:
        self._clock = clock
        self._every_s = every_s
        self._lines: dict[Hashable, tuple[float, int]] = {}

    def due(self, key: Hashable) -> str | None:
        """Return ``None`` if the line is suppressed, else its suffix: ``" (12 times in 75 s)"`` or an empty text."""
        now = self._clock.monotonic()
        passed_at, suppressed = self._lines.get(key, (now, -1))
        if suppressed >= 0 and now - passed_at < self._every_s:
            self._lines[key] = (passed_at, suppressed + 1)
            return None
        self._lines.pop(key, None)
        self._lines[key] = (now, 0)
        if len(self._lines) > MAX_KEYS:
            self._lines.pop(next(iter(self._lines)), None)
        return f" ({suppressed + 1} times in {now - passed_at:.0f} s)" if suppressed > 0 else ""

    def log(self, logger: logging.Logger, level: int, key: Hashable, message: str, **fields: object) -> None:
        """Log ``message`` if its key is due; ``fields`` are added to the JSON form of the line."""
        if not logger.isEnabledFor(level):
            return
        times = self.due(key)
        if times is not None:
            logger.log(level, "%s%s", message, times, extra={"netra": fields})
