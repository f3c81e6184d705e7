"""Windows of a range of time, and which of them a trace belongs to.

A long trace can be listed in several windows, and the span call always gives all of it. It belongs to the window in
which its earliest span of the range starts, or to the first window if none starts inside the range. Each window can
tell this alone, so no two deliver the same trace, in one process or in many (ADR 0004).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netra_otel_bridge.model import Window


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
