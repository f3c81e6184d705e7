"""However the service lists, each trace of a range is delivered by one window of it, and by one alone."""

from __future__ import annotations

import random

from hypothesis import example, given
from hypothesis import strategies as st

from netra_otel_bridge.model import TraceSummary, Window
from netra_otel_bridge.windows import Claims, owns, split

instants = st.integers(0, 30)
spans = st.lists(st.tuples(instants, st.integers(0, 15)).map(lambda it: (it[0], it[0] + it[1])), min_size=1, max_size=6)
ranges = st.tuples(instants, instants).map(sorted).filter(lambda it: it[0] < it[1]).map(lambda it: Window(*it))
sizes = st.integers(1, 40)


def owners(whole: Window, size: int, trace: list[tuple[int, int]], listed: list[Window]) -> int:
    return sum(owns(window, whole, (start for start, _ in trace)) for window in listed)


@given(ranges, sizes)
def test_windows_tile_their_range(whole: Window, size: int) -> None:
    """Every instant of the range is in one window, and no other instant is in any."""
    windows = list(split(whole, size))
    for instant in range(31):
        inside = sum(window.start_ns <= instant < window.end_ns for window in windows)
        assert inside == (whole.start_ns <= instant < whole.end_ns)


@given(ranges, sizes, spans)
def test_listed_by_trace_start(whole: Window, size: int, trace: list[tuple[int, int]]) -> None:
    """A trace that starts in the range is listed in one window, which owns it."""
    begin = min(start for start, _ in trace)
    listed = [window for window in split(whole, size) if window.start_ns <= begin < window.end_ns]
    assert owners(whole, size, trace, listed) == len(listed) == (whole.start_ns <= begin < whole.end_ns)


@given(ranges, sizes, spans)
def test_listed_by_span_start(whole: Window, size: int, trace: list[tuple[int, int]]) -> None:
    """A trace is listed in each window in which a span of it starts; one of them owns it."""
    listed = [
        window for window in split(whole, size) if any(window.start_ns <= start < window.end_ns for start, _ in trace)
    ]
    assert owners(whole, size, trace, listed) == bool(listed)


@given(ranges, sizes, spans)
@example(Window(10, 30), 10, [(5, 12), (20, 25)])
def test_listed_by_any_overlap(whole: Window, size: int, trace: list[tuple[int, int]]) -> None:
    """A trace is listed in each window that a span of it touches; one of them owns it."""
    listed = [
        window
        for window in split(whole, size)
        if any(start < window.end_ns and (end > window.start_ns or start >= window.start_ns) for start, end in trace)
    ]
    assert owners(whole, size, trace, listed) == bool(listed)


@given(ranges, sizes, spans, st.randoms(use_true_random=False))
def test_whatever_windows_list_a_trace_it_is_delivered_once(
    whole: Window, size: int, trace: list[tuple[int, int]], chance: random.Random
) -> None:
    """Any windows, in any order, the owner among them or not: one takes the trace, or it is left over, and not both."""
    windows = list(split(whole, size))
    listed = chance.sample(windows, chance.randint(1, len(windows)))
    claims = Claims(whole)
    answers = [claims.take(window, TraceSummary(id="t"), trace) for window in listed]
    delivered = sum(takes for takes, _ in answers) + len(claims.unclaimed())
    assert delivered == 1
    assert claims.unclaimed() == []


def test_what_is_read_for_another_window_is_counted_once() -> None:
    """Spans read in vain are settled when it is known that another window delivers them."""
    whole, trace = Window(0, 20), TraceSummary(id="t")
    first, second = split(whole, 10)
    times = [(1, 2), (12, 13)]
    claims = Claims(whole)
    assert claims.take(second, trace, times) == (False, 0)
    assert claims.take(first, trace, times) == (True, 2)
    assert claims.take(second, trace, times) == (False, 2)
    assert claims.unclaimed() == []
