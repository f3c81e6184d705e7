"""The windows of a range, and which of them a poll covers."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.core.clock import HOUR_NS, MINUTE_NS
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.pipeline.windows import (
    FAR_POLLS,
    MIDDLE_POLLS,
    NEAR_NS,
    Lookback,
    split,
    without,
)
from tests.support.examples import size

S = 10**9
NOW_NS = 1_795_350_000 * S
DAY_NS = 24 * HOUR_NS
LOOKBACK = Lookback(settle_ns=30 * S, longest_ns=DAY_NS)


@pytest.mark.parametrize(
    ("whole", "size", "windows"),
    [
        (Window(0, 100), 50, [Window(0, 50), Window(50, 100)]),
        (Window(0, 101), 50, [Window(0, 50), Window(50, 100), Window(100, 101)]),
        (Window(7, 9), 50, [Window(7, 9)]),
        (Window(7, 7), 50, []),
    ],
)
def test_split(whole: Window, size: int, windows: list[Window]) -> None:
    """The windows are adjacent and fill the range."""
    assert list(split(whole, size)) == windows


def test_windows_within_one_that_is_done_are_left_out() -> None:
    """Windows that only touch a finished one, or reach beyond it, stay."""
    windows = list(split(Window(0, 100), 10))
    assert without(windows, [Window(10, 30), Window(55, 95)]) == [
        Window(0, 10), Window(30, 40), Window(40, 50), Window(50, 60), Window(90, 100)
    ]  # fmt: skip
    assert without(windows, []) == windows


WINDOWS = st.tuples(st.integers(0, 40), st.integers(1, 12)).map(lambda it: Window(it[0], it[0] + it[1]))


@given(st.integers(1, 9), st.lists(WINDOWS, max_size=8))
def test_what_several_have_done_together_is_left_out_too(size: int, done: list[Window]) -> None:
    """A window stays exactly if some moment of it is in no finished window."""
    windows = list(split(Window(0, 50), size))
    covered = {moment for one in done for moment in range(one.start_ns, one.end_ns)}
    left = [it for it in windows if not covered.issuperset(range(it.start_ns, it.end_ns))]
    assert without(windows, done) == left


def test_a_life_of_hours_is_gone_through_at_once() -> None:
    """Decades of hourly windows take seconds, not minutes."""
    windows = list(split(Window(0, size(20, 50) * 8766 * HOUR_NS), HOUR_NS))
    began = time.process_time()
    assert without(windows, windows[:-1]) == windows[-1:]
    assert time.process_time() - began < size(5, 10)


def test_polls_go_back_a_little_each_time_and_far_seldom() -> None:
    """The first poll, and each `FAR_POLLS`th, looks back a day, each tenth an hour, the others five minutes."""
    backs = []
    for poll in range(FAR_POLLS + 1):
        window = LOOKBACK.window(poll, NOW_NS, NOW_NS - 30 * S, 0)
        assert window is not None
        assert window.end_ns == NOW_NS - 30 * S
        backs.append(window.end_ns - window.start_ns)
    for poll, back in enumerate(backs):
        if poll % FAR_POLLS == 0:
            assert DAY_NS <= back < DAY_NS + HOUR_NS
        elif poll % MIDDLE_POLLS == 0:
            assert HOUR_NS <= back < 2 * HOUR_NS
        else:
            assert NEAR_NS <= back < NEAR_NS + MINUTE_NS


def test_what_was_not_followed_yet_is_covered_whatever_the_poll() -> None:
    """After a night without deliveries, the window still starts before the watermark."""
    watermark = NOW_NS - 9 * HOUR_NS
    window = LOOKBACK.window(1, NOW_NS, watermark, 0)
    assert window is not None
    assert watermark - NEAR_NS - MINUTE_NS < window.start_ns <= watermark - NEAR_NS


@pytest.mark.parametrize("off_ns", [-DAY_NS, -HOUR_NS, HOUR_NS, DAY_NS])
def test_a_clock_that_jumped(off_ns: int) -> None:
    """Whichever way the watermark is off, the lookback before the present end is covered."""
    window = LOOKBACK.window(1, NOW_NS, NOW_NS - 30 * S + off_ns, 0)
    assert window is not None
    assert window.end_ns == NOW_NS - 30 * S
    assert window.start_ns <= window.end_ns - NEAR_NS


def test_nothing_lies_before_the_beginning() -> None:
    """Following never starts before its start time; until something has settled, there is nothing to cover."""
    since = NOW_NS - 10 * S
    assert LOOKBACK.window(0, NOW_NS, since, since) is None
    assert LOOKBACK.window(0, since + 30 * S, since, since) is None
    window = LOOKBACK.window(0, since + 31 * S, since, since)
    assert window == Window(since, since + S)


def test_bounds_stay_while_the_minute_does() -> None:
    """Netra may compute summaries within the bounds, so the same start gives the same sums."""
    starts = set()
    for second in range(120):
        window = LOOKBACK.window(1, NOW_NS + second * S, NOW_NS + second * S - 30 * S, 0)
        assert window is not None
        starts.add(window.start_ns)
    assert len(starts) <= 3
