"""Windows of a range of time, and which of them a poll of live traffic covers.

Spans arrive late and traces change after they were read, so a poll goes back behind what was followed already: a
little each time, further seldom. Counted in polls, so that one figure (``poll``) sets the pace of all tiers.
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
"""How far back each poll goes."""
MIDDLE_NS, MIDDLE_POLLS = HOUR_NS, 10
FAR_POLLS = 120
"""With a poll every 30 s: the last hour every five minutes, the longest lookback every hour."""


def split(whole: Window, size_ns: int) -> Iterator[Window]:
    """The windows of ``whole``, in order, each ``size_ns`` long but the last."""
    start = whole.start_ns
    while start < whole.end_ns:
        end = min(start + size_ns, whole.end_ns)
        yield Window(start, end)
        start = end


def without(windows: Iterable[Window], done: Iterable[Window]) -> list[Window]:
    """Those of ``windows``, which are in order, that do not lie within ``done`` taken together."""
    covered = deque(_joined(done))
    left = []
    for window in windows:
        while covered and covered[0].end_ns < window.end_ns:
            covered.popleft()
        if not covered or window.start_ns < covered[0].start_ns:
            left.append(window)
    return left


def _joined(windows: Iterable[Window]) -> list[Window]:
    """The times that any of ``windows`` covers, in order."""
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

    ``settle_ns`` leaves out traces that are still growing, ``longest_ns`` is how late a span may come and be found.
    """

    settle_ns: int
    longest_ns: int

    def is_far(self, poll: int) -> bool:
        """Whether poll number ``poll`` (from 0) goes back as far as it ever does; the first one does."""
        return poll % FAR_POLLS == 0

    def window(self, poll: int, now_ns: int, watermark_ns: int, since_ns: int) -> Window | None:
        """What poll number ``poll`` covers, or ``None`` if that is nothing yet.

        It ends ``settle_ns`` before now and starts a lookback before the watermark, or before its own end where the
        local clock went back, never before ``since_ns``. The start is a whole minute, or a whole hour for the longer
        ones: Netra may cut a trace's summary at the bounds of a listing, and is then asked with the same bounds again.
        """
        end = (now_ns - self.settle_ns) // 10**6 * 10**6
        if self.is_far(poll):
            back, grid = self.longest_ns, HOUR_NS
        elif poll % MIDDLE_POLLS == 0:
            back, grid = min(MIDDLE_NS, self.longest_ns), HOUR_NS
        else:
            back, grid = min(NEAR_NS, self.longest_ns), MINUTE_NS
        start = max((min(watermark_ns, end) - back) // grid * grid, since_ns)
        return Window(start, end) if start < end else None


SEVERAL = 4
"""Empty windows in a row, after which it is asked whether as many again are empty too, with one call."""
WIDEST = 720
"""Windows that are asked about at once, at most."""


@dataclass(frozen=True, slots=True)
class QueuedWindow:
    """A window to list, or several in a row, of which it is known that they are empty."""

    window: Window
    windows: int = 1
    is_empty: bool = False


class WindowQueue:
    """The windows of a pass, in order, for one or several that list them; times without traces are passed in few calls.

    After `SEVERAL` windows that were empty, ``may_hold`` is asked about the next ones together: about twice as many each
    time, and once it said yes, about half as many each time. What it said yes to is listed window by window: so traces
    are always summed up within the same bounds. Where it is refused, it is asked about half as many at most from then on;
    where it fails in another way, no more.
    """

    def __init__(self, windows: Iterable[Window], may_hold: Callable[[Window], Awaitable[bool]]) -> None:
        self._due = deque(windows)
        self._may_hold = may_hold
        self._widest = WIDEST
        self._empty = 0
        self._together = 1
        self._narrowing = False
        self._choosing = asyncio.Lock()

    async def next(self) -> QueuedWindow | None:
        """The next; ``None`` behind the last."""
        async with self._choosing:
            while len(row := self._row()) > 1:
                whole = Window(row[0].start_ns, row[-1].end_ns)
                is_empty = await self._is_empty(whole)
                self._narrowing = self._narrowing or not is_empty
                self._ask(len(row) // 2 if self._narrowing else 2 * len(row))
                if is_empty:
                    for _ in row:
                        self._due.popleft()
                    return QueuedWindow(whole, len(row), is_empty=True)
            return QueuedWindow(self._due.popleft()) if self._due else None

    def listed(self, *, found: bool) -> None:
        """A window was listed to its end, and there was something in it or not."""
        self._empty = 0 if found else self._empty + 1
        if self._empty < SEVERAL:
            self._together = 1
        elif self._together == 1:
            self._narrowing = False
            self._ask(SEVERAL)

    def _ask(self, together: int) -> None:
        """So many windows are asked about next time; fewer than `SEVERAL` are listed."""
        together = min(together, self._widest)
        self._together = together if together >= SEVERAL else 1
        if self._together == 1:
            self._empty = 0

    def _row(self) -> list[Window]:
        """The windows that are due next, but for those behind a gap."""
        row: list[Window] = []
        for window in islice(self._due, self._together):
            if row and window.start_ns != row[-1].end_ns:
                break
            row.append(window)
        return row

    async def _is_empty(self, window: Window) -> bool:
        try:
            return not await self._may_hold(window)
        except NetraError as error:
            self._widest = self._together // 2 if isinstance(error, NetraRejected) else 1
            return False
