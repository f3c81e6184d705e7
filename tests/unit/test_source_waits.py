"""The client's waits: the bounds of the back-off, and the values of ``Retry-After``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.time_text import parse_retry_after

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000


@given(st.integers(0, 10_000), st.none() | st.floats(-1e9, 1e300), st.floats(0.001, 10), st.floats(10, 3600))
def test_back_off_stays_in_bounds(attempt: int, asked_s: float | None, first_s: float, max_s: float) -> None:
    """A wait is never negative, never above the maximum, and at least the requested wait, up to the maximum."""
    delay_s = Backoff(first_s=first_s, max_s=max_s).delay_s(attempt, asked_s)
    assert min(asked_s or 0.0, max_s) <= delay_s <= max_s
    assert delay_s >= 0


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"attempts": 1.5}, {"first_s": -1}, {"max_s": float("nan")}])
def test_a_back_off_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    """A back-off needs at least one attempt, and waits in seconds."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Backoff(**wrong)  # type: ignore[arg-type]


def test_back_off_doubles() -> None:
    """Without jitter, the waits double up to the maximum."""
    backoff = Backoff(first_s=1, max_s=10, uniform=lambda _low, high: high)
    assert [backoff.delay_s(attempt) for attempt in range(6)] == [1, 2, 4, 8, 10, 10]


@given(st.text())
def test_any_header_is_read_or_ignored(header: str) -> None:
    """Any header gives a wait of zero or more seconds, or none."""
    asked_s = parse_retry_after(header, NOW_NS)
    assert asked_s is None or asked_s >= 0


@pytest.mark.parametrize(
    ("header", "asked_s"),
    [
        ("120", 120),
        (" 1.5 ", 1.5),
        ("0", 0),
        ("-3", 0),
        ("9" * 400, float("inf")),
        ("soon", None),
        ("", None),
        (None, None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        ("Fri, 99 Foo 2026 25:00:00 GMT", None),
    ],
)
def test_retry_after(header: str | None, asked_s: float | None) -> None:
    """Seconds and dates are waits from now; the past is 0; an unreadable header counts as absent."""
    assert parse_retry_after(header, NOW_NS) == asked_s
