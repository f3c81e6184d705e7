"""Windows of a range of time, and which of them a poll of live traffic covers.

Spans arrive late and traces change after they were read, so a poll goes back behind what was followed already: a
little each time, further seldom. Counted in polls, so that one figure (``poll``) sets the pace of all tiers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netra_otel_bridge.clock import NS_PER_S
from netra_otel_bridge.model import Window

MINUTE_NS = 60 * NS_PER_S
HOUR_NS = 60 * MINUTE_NS
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
