"""Durations and times as people type them; ``test_source_waits.py`` tests waits."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.core.clock import NS_PER_MS, NS_PER_S, SystemClock
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.time_text import (
    LAST_NS,
    duration_text,
    iso_ms,
    parse_duration_ns,
    parse_time_ns,
)

NOW_NS = 1_763_251_200_000_000_000  # 2025-11-16T00:00:00Z


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("50ms", 50 * NS_PER_MS),
        ("30s", 30 * NS_PER_S),
        ("90m", 5400 * NS_PER_S),
        ("24h", 86_400 * NS_PER_S),
        ("7d", 604_800 * NS_PER_S),
        ("2w", 1_209_600 * NS_PER_S),
        ("1h30m", 5400 * NS_PER_S),
        ("1.5h", 5400 * NS_PER_S),
        (" 1H ", 3600 * NS_PER_S),
        ("0s", 0),
    ],
)
def test_durations_that_people_type(text: str, ns: int) -> None:
    """A duration is one or several numbers with units, in upper or lower case."""
    assert parse_duration_ns(text) == ns


@pytest.mark.parametrize("text", ["", "7", "h", "1y", "-1h", "1 h", "1h x", "1h,2m", "1h30", "1..5h", "²h", "nan"])
def test_what_is_no_duration_is_refused_with_what_to_write(text: str) -> None:
    """The error shows the text and a valid form."""
    with pytest.raises(UsageError, match="30s, 90m, 24h or 7d") as error:
        parse_duration_ns(text)
    assert repr(text) in str(error.value)


@given(st.integers(0, 10 * 366 * 86_400_000))
def test_a_duration_in_words_is_read_back(ms: int) -> None:
    """`duration_text` and `parse_duration_ns` are each other's inverse in whole milliseconds, for ten years."""
    assert parse_duration_ns(duration_text(ms * NS_PER_MS)) == ms * NS_PER_MS


@pytest.mark.parametrize(("text", "ns"), [("1.001s", 1_001_000_000)])
def test_fractions_of_a_unit_are_exact(text: str, ns: int) -> None:
    """A fraction does not lose a nanosecond."""
    assert parse_duration_ns(text) == ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2025-11-16T00:00:00Z", NOW_NS),
        ("2025-11-16T00:00:00.123Z", NOW_NS + 123 * NS_PER_MS),
        ("2025-11-16T02:00:00+02:00", NOW_NS),
        ("2025-11-16", NOW_NS),
        ("2025-11-16 00:00:00", NOW_NS),
        (" 2025-11-16T00:00 ", NOW_NS),
        ("now", NOW_NS),
        ("NOW", NOW_NS),
        ("90m", NOW_NS - 5400 * NS_PER_S),
        ("7d", NOW_NS - 604_800 * NS_PER_S),
    ],
)
def test_times_are_iso_or_relative_and_utc_unless_they_say_otherwise(text: str, ns: int) -> None:
    """All forms of ``--since``, ``--from`` and ``--until`` are read."""
    assert parse_time_ns(text, NOW_NS) == ns


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2025-02-30", "25:00", "1763251200000", "2025-11-16T00:00:00 CET", "3x"]
)
def test_what_is_no_time_is_refused_with_what_to_write(text: str) -> None:
    """The error shows the text and valid forms."""
    with pytest.raises(UsageError, match="2026-05-01T12:00:00Z") as error:
        parse_time_ns(text, NOW_NS)
    assert repr(text) in str(error.value)


@given(st.integers(0, 253_402_300_799_999_999_999))
def test_iso_rounds_down_to_the_millisecond(ns: int) -> None:
    """A time written for Netra reads back as the same millisecond; a time beyond 64 bits becomes the last one."""
    assert parse_time_ns(iso_ms(ns), NOW_NS) == min(ns // NS_PER_MS * NS_PER_MS, LAST_NS)


async def test_a_wait_ends_with_its_task() -> None:
    """A stop wakes a sleeper at once."""
    task = asyncio.ensure_future(SystemClock().sleep(3600))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("text", ["9" * 400 + "d", "999999d", "0001-01-01T00:00:00+10:00"])
def test_times_before_the_year_one_are_refused(text: str) -> None:
    """A time that cannot be written as ISO 8601 is a mistake of the caller, not a defect of the bridge."""
    with pytest.raises(UsageError):
        iso_ms(parse_time_ns(text, NOW_NS))
