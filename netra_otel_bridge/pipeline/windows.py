"""Split a time range into windows, choose the window that a poll of live traffic covers, and queue windows to list.

Spans arrive late and traces change after they were read, so each poll reads a part of the past again: usually a few
minutes, now and then more. The intervals are counted in polls, so that one setting (``poll``) sets them all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from netra_otel_bridge.core.clock import HOUR_NS, MINUTE_NS
from netra_otel_bridge.core.errors import NetraError, NetraRejected
from netra_otel_bridge.core.model.query import Window

NEAR_NS = 5 * MINUTE_NS
"""The time that every poll looks back."""
MIDDLE_NS, MIDDLE_POLLS = HOUR_NS, 10
MAX_RANGE_NS = 366 * 24 * HOUR_NS
"""The longest range of one poll, so that a wrong clock cannot fill the memory with windows; the next poll goes on."""
FAR_POLLS = 120
"""With a poll every 30 s: look back an hour every five minutes, and the longest lookback every hour."""
MIN_PROBED = 4
"""Consecutive empty windows after which the next ones are probed together. Also the smallest number of windows in a probe."""
MAX_PROBED = 720
"""Number of windows in the largest probe."""


def split(whole: Window, size_ns: int) -> Iterator[Window]:
    """Yield the windows of ``whole``, in order; each is ``size_ns`` long, except the last, which may be shorter."""
    start = whole.start_ns
    while start < whole.end_ns:
        end = min(start + size_ns, whole.end_ns)
        yield Window(start, end)
        start = end


def without(windows: Iterable[Window], done: Iterable[Window]) -> list[Window]:
    """Return the windows that do not lie within the union of ``done``. ``windows`` must be in order."""
    covered = deque(_joined(done))
    left = []
    for window in windows:
        while covered and covered[0].end_ns < window.end_ns:
            covered.popleft()
        if not covered or window.start_ns < covered[0].start_ns:
            left.append(window)
    return left


def _joined(windows: Iterable[Window]) -> list[Window]:
    """Return the union of ``windows``, in order."""
    joined: list[Window] = []
    for window in sorted(windows, key=lambda one: one.start_ns):
        if joined and window.start_ns <= joined[-1].end_ns:
            joined[-1] = Window(joined[-1].start_ns, max(joined[-1].end_ns, window.end_ns))
        else:
            joined.append(window)
    return joined


@dataclass(frozen=True, slots=True)
class Lookback:
    """The moving window of a lane that follows live traffic.

    ``settle_ns`` before now are left out, because traces still grow there. A span is found if it arrives at most
    ``longest_ns`` late.
    """

    settle_ns: int
    longest_ns: int

    def is_far(self, poll: int) -> bool:
        """Return whether poll number ``poll``, counted from 0, looks back as far as ``longest_ns``; the first one does."""
        return poll % FAR_POLLS == 0

    def window(self, poll: int, now_ns: int, watermark_ns: int, since_ns: int) -> Window | None:
        """Return the window of poll number ``poll``, or ``None`` while it would be empty.

        The window ends ``settle_ns`` before now. It starts a lookback before the watermark, or before its own end if the
        clock went back, and never before ``since_ns``. The start is a whole minute, or a whole hour for the longer
        lookbacks: Netra may compute a trace's summary within the bounds of a listing, so the same bounds are used again.
        """
        end = (now_ns - self.settle_ns) // 10**6 * 10**6
        if self.is_far(poll):
            back, grid = self.longest_ns, HOUR_NS
        elif poll % MIDDLE_POLLS == 0:
            back, grid = min(MIDDLE_NS, self.longest_ns), HOUR_NS
        else:
            back, grid = min(NEAR_NS, self.longest_ns), MINUTE_NS
        start = max((min(watermark_ns, end) - back) // grid * grid, since_ns)
        end = min(end, start + MAX_RANGE_NS)
        return Window(start, end) if start < end else None


@dataclass(frozen=True, slots=True)
class QueuedWindow:
    """A window to list, or several windows in a row that are known to be empty."""

    window: Window
    windows: int = 1
    is_empty: bool = False


class WindowQueue:
    """The windows of a pass, in order, for one or several listers. Long times without traces take few calls.

    After `MIN_PROBED` empty windows in a row, ``may_hold`` is called for the next ones together. Each probe covers about
    twice as many windows as the one before; after a probe that found something, about half as many. The windows of such
    a probe are listed one by one, so traces are always summarized within the same bounds. If Netra rejects a probe, later
    probes cover at most half as many windows; if a probe fails in another way, there are no more.
    """

    def __init__(self, windows: Iterable[Window], may_hold: Callable[[Window], Awaitable[bool]]) -> None:
        self._due = deque(windows)
        self._may_hold = may_hold
        self._max_probed = MAX_PROBED
        self._empty_in_row = 0
        self._probed = 1
        self._is_narrowing = False
        self._lock = asyncio.Lock()

    async def next(self) -> QueuedWindow | None:
        """Return the next window or run of empty windows, or ``None`` at the end."""
        async with self._lock:
            while len(row := self._next_row()) > 1:
                whole = Window(row[0].start_ns, row[-1].end_ns)
                is_empty = await self._is_empty(whole)
                self._is_narrowing = self._is_narrowing or not is_empty
                self._plan_probe(len(row) // 2 if self._is_narrowing else 2 * len(row))
                if is_empty:
                    for _ in row:
                        self._due.popleft()
                    return QueuedWindow(whole, len(row), is_empty=True)
            return QueuedWindow(self._due.popleft()) if self._due else None

    def listed(self, *, found: bool) -> None:
        """Register that a window was listed to its end, and whether anything was found."""
        self._empty_in_row = 0 if found else self._empty_in_row + 1
        if self._empty_in_row < MIN_PROBED:
            self._probed = 1
        elif self._probed == 1:
            self._is_narrowing = False
            self._plan_probe(MIN_PROBED)

    def _plan_probe(self, windows: int) -> None:
        """Set how many windows the next probe covers. Fewer than `MIN_PROBED` are listed instead."""
        windows = min(windows, self._max_probed)
        self._probed = windows if windows >= MIN_PROBED else 1
        if self._probed == 1:
            self._empty_in_row = 0

    def _next_row(self) -> list[Window]:
        """Return the windows that are due next, up to the first gap."""
        row: list[Window] = []
        for window in islice(self._due, self._probed):
            if row and window.start_ns != row[-1].end_ns:
                break
            row.append(window)
        return row

    async def _is_empty(self, window: Window) -> bool:
        try:
            return not await self._may_hold(window)
        except NetraError as error:
            self._max_probed = self._probed // 2 if isinstance(error, NetraRejected) else 1
            return False
