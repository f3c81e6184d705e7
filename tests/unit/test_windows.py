"""Which window of a range owns a trace."""

from __future__ import annotations

import pytest

from netra_otel_bridge.model import Window
from netra_otel_bridge.windows import owns, split

WHOLE = Window(100, 200)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (50, [(100, 150), (150, 200)]),
        (60, [(100, 160), (160, 200)]),
        (100, [(100, 200)]),
        (1000, [(100, 200)]),
    ],
)
def test_windows_cover_the_range_without_gap_or_overlap(size: int, expected: list[tuple[int, int]]) -> None:
    """In order, each as long as asked for but the last."""
    assert [(window.start_ns, window.end_ns) for window in split(WHOLE, size)] == expected


@pytest.mark.parametrize(
    ("starts", "owner"),
    [
        ([100], 0),
        ([149], 0),
        ([150], 1),
        ([170, 120], 0),
        ([99, 170], 1),
        ([99], 0),
        ([99, 200], 0),
        ([200], 0),
        ([], 0),
    ],
)
def test_a_trace_belongs_where_its_earliest_span_of_the_range_starts(starts: list[int], owner: int) -> None:
    """Starts are in, ends are out; a trace without a start inside the range belongs to the first window."""
    assert [owns(window, WHOLE, starts) for window in split(WHOLE, 50)] == [owner == 0, owner == 1]
