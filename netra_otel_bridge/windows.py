"""Windows of a range of time, and which of them delivers a trace.

A long trace can be listed in several windows, and the span call always gives all of it. It belongs to the window in
which its earliest span of the range starts, or to the first window if none starts inside the range (`owns`). Netra may
list it elsewhere all the same, where a clock was off or a time was rounded. So a window that is handed a trace of
another one leaves it to that one, and what no window took in the end is delivered then (`Claims`, ADR 0004).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from netra_otel_bridge.clock import NS_PER_S
from netra_otel_bridge.model import TraceSummary, Window

BORDER_NS = 2 * NS_PER_S
"""How far a listing may be off at a window's borders: traces closer to them can be listed on both sides."""


def split(whole: Window, size_ns: int) -> Iterator[Window]:
    """The windows of ``whole``, in order, each ``size_ns`` long but the last."""
    start = whole.start_ns
    while start < whole.end_ns:
        end = min(start + size_ns, whole.end_ns)
        yield Window(start, end)
        start = end


def owns(window: Window, whole: Window, span_starts_ns: Iterable[int]) -> bool:
    """Whether a trace with these span starts (all of them) belongs to ``window`` of the range ``whole``."""
    inside = [start for start in span_starts_ns if whole.start_ns <= start < whole.end_ns]
    owner_ns = min(inside, default=whole.start_ns)
    return window.start_ns <= owner_ns < window.end_ns


class Claims:
    """Who delivers which trace, for one lane over one range.

    It remembers the traces that more than one window can list, and those that wait for their owner: few where windows
    are longer than traces.
    """

    def __init__(self, whole: Window) -> None:
        self._whole = whole
        self._taken: set[str] = set()
        self._waiting: dict[str, tuple[TraceSummary, int]] = {}

    def take(self, window: Window, trace: TraceSummary, times_ns: Sequence[tuple[int, int]]) -> tuple[bool, int]:
        """Whether ``window`` delivers ``trace``, whose spans have these starts and ends; and how many spans that were
        read are hereby settled as another window's."""
        if trace.id in self._taken:
            return False, len(times_ns)
        _, waited = self._waiting.get(trace.id, (trace, 0))
        if not owns(window, self._whole, (start for start, _ in times_ns)):
            self._waiting[trace.id] = (trace, waited + len(times_ns))
            return False, 0
        self._waiting.pop(trace.id, None)
        first, last = window.start_ns + BORDER_NS, window.end_ns - BORDER_NS
        if any(start < first or end >= last for start, end in times_ns):
            self._taken.add(trace.id)
        return True, waited

    def unclaimed(self) -> list[TraceSummary]:
        """The traces that were listed, and not by the window that they belong to; they are the caller's from here on."""
        traces = [trace for trace, _ in self._waiting.values()]
        self._waiting.clear()
        return traces
