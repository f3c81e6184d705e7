"""What is expected of a store, from the state: traces, and what was not copied, cannot be read, or is held back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from netra_otel_bridge.convert import otlp_trace_id
from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import HeldTrace, Progress, TraceCost, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.readback.expected import ExpectedTrace
from netra_otel_bridge.readback.expected_state import ExpectedFromState
from netra_otel_bridge.readback.sampling import sample
from netra_otel_bridge.readback.sent_ids import SentIds
from netra_otel_bridge.state import LaneState, StateStore
from tests.support.fake_clock import FakeClock

S = 10**9
WHOLE = Window(0, 100 * S)
IDS = [f"{number:032x}" for number in range(1, 6)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with StateStore.open(tmp_path / "state", FakeClock()) as opened:
        yield opened


@pytest.fixture
def lane(store: StateStore) -> LaneState:
    return store.lane("s", "peer")


def record(trace_id: str, start_ns: int = S, not_accepted: tuple[int, ...] = ()) -> TraceRecord:
    return TraceRecord(trace_id, start_ns, b"d", bytes(range(12)), TraceCost((), not_accepted), b"1234")


def expected(store: StateStore, window: Window | None = WHOLE, **options: object) -> ExpectedFromState:
    answered = store.answered("peer", None, otlp_trace_id)
    return ExpectedFromState(answered, window, SentIds(), **options)  # type: ignore[arg-type]  # options of each test


async def traces_of(one: ExpectedFromState) -> list[ExpectedTrace]:
    return [trace async for chunk in one for trace in chunk]


def found(one: ExpectedFromState) -> list[tuple[str, int, tuple[tuple[str, str], ...]]]:
    return [(it.kind, it.count, it.samples) for it in one.findings()]


async def chunks(*ids: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    for chunk in ids:
        yield chunk


async def test_a_range_that_was_copied_has_traces_and_no_finding(store: StateStore, lane: LaneState) -> None:
    """Each trace comes with what is recorded; rejected spans are dead-lettered if their letter is there, else refused."""
    letters = [DeadLetter(IDS[0], f"{7:016x}", "r", "{}")]
    records = [record(IDS[0], not_accepted=(7, 8)), record(IDS[1])]
    lane.commit(Progress(traces=records, windows=[WHOLE], dead_letters=letters), 9)
    one = expected(store)
    assert await traces_of(one) == [
        ExpectedTrace(IDS[0], S, 9, bytes(range(12)), b"1234", frozenset({7}), frozenset({8})),
        ExpectedTrace(IDS[1], S, 9, bytes(range(12)), b"1234"),
    ]
    assert (one.findings(), one.notes()) == ([], [])


async def test_what_was_not_copied_is_pending(store: StateStore, lane: LaneState) -> None:
    """Each part of the range that no window covers counts as one; windows of another query count if it is asked for."""
    lane.commit(Progress(windows=[Window(10 * S, 20 * S), Window(50 * S, 60 * S)]), 1)
    store.lane("s", "peer", "tenant").commit(Progress(windows=[Window(20 * S, 50 * S)]), 1)
    one = expected(store)
    await traces_of(one)
    assert found(one) == [("pending", 3, ())]
    assert f"{iso_ms(20 * S)} to {iso_ms(50 * S)}" in one.findings()[0].what
    both = expected(store, queries=("", "tenant"))
    await traces_of(both)
    assert found(both) == [("pending", 2, ())]
    assert await both.gaps() == [Window(0, 10 * S), Window(60 * S, 100 * S)]


async def test_the_end_of_an_open_range_is_a_note(store: StateStore, lane: LaneState) -> None:
    """A range that ends now always ends after what was copied last: the report says where, and finds nothing."""
    lane.commit(Progress(windows=[Window(0, 60 * S)]), 1)
    one = expected(store, is_open=True)
    await traces_of(one)
    assert one.findings() == []
    assert iso_ms(60 * S) in one.notes()[0]
    hole = expected(store, Window(-S, 100 * S), is_open=True)
    await traces_of(hole)
    assert found(hole) == [("pending", 1, ())]


async def test_a_range_of_which_nothing_was_copied_is_pending_even_if_open(store: StateStore, lane: LaneState) -> None:
    """A range without a single finished window is no end of anything."""
    one = expected(store, is_open=True)
    await traces_of(one)
    assert found(one) == [("pending", 1, ())]


async def test_following_covers_up_to_its_watermark(store: StateStore, lane: LaneState) -> None:
    """Live traffic counts as copied from the start of following to the watermark."""
    lane.follow_from(10 * S)
    lane.commit(Progress(watermark_ns=80 * S), 300 * S)
    assert await expected(store).gaps() == [Window(0, 10 * S), Window(80 * S, 100 * S)]


async def test_what_the_state_may_have_forgotten_is_said(store: StateStore, lane: LaneState) -> None:
    """Before the last prune, only windows that were finished after it count as copied."""
    lane.commit(Progress(windows=[Window(0, 100 * S)]), S)
    lane.prune(30 * S)
    assert await expected(store).gaps() == [Window(0, 30 * S)]
    lane.commit(Progress(windows=[Window(0, 100 * S)]), 40 * S)
    one = expected(store)
    await traces_of(one)
    assert one.findings() == []
    assert iso_ms(30 * S) in one.notes()[0]


async def test_traces_that_cannot_be_read_are_pending_and_items_unreadable(store: StateStore, lane: LaneState) -> None:
    """A trace that is held back counts as one, and each item that is no span as one."""
    held = [
        HeldTrace(summary=TraceSummary(id=IDS[1]), start_ns=S, reason="r", attempts=1, first_ns=1, next_ns=2),
        HeldTrace(summary=TraceSummary(id=IDS[2]), start_ns=500 * S, reason="r", attempts=1, first_ns=1, next_ns=2),
    ]
    letters = [DeadLetter(IDS[0], "", "r", "{}", is_span=False)] * 2
    lane.commit(Progress(traces=[record(IDS[0])], windows=[WHOLE], held=held, dead_letters=letters), 1)
    one = expected(store)
    await traces_of(one)
    assert found(one) == [("unreadable", 2, ((IDS[0], ""),)), ("pending", 1, ((IDS[1], ""),))]


async def test_of_chosen_traces_only_theirs_counts(store: StateStore, lane: LaneState) -> None:
    """With chosen ids, items and traces of others do not count, and an id that the state does not have is pending."""
    held = [
        HeldTrace(summary=TraceSummary(id=one), start_ns=S, reason="r", attempts=1, first_ns=1, next_ns=2)
        for one in IDS[2:4]
    ]
    letters = [DeadLetter(one, "", "r", "{}", is_span=False) for one in IDS[:2]]
    lane.commit(Progress(traces=[record(IDS[0]), record(IDS[1])], held=held, dead_letters=letters), 1)
    one = expected(store, None, ids=chunks([IDS[0], IDS[2]], [IDS[4]]))
    assert [it.trace_id for it in await traces_of(one)] == [IDS[0]]
    assert found(one) == [
        ("unreadable", 1, ((IDS[0], ""),)),
        ("pending", 1, ((IDS[2], ""),)),
        ("pending", 1, ((IDS[4], ""),)),
    ]
    assert one.findings()[-1].what == "the state has no such trace; each counts as one"


async def test_what_the_state_has_not_copied_is_said_with_what_to_do(store: StateStore, lane: LaneState) -> None:
    """A replay with this state copies it; what was copied can be verified, from its beginning if only that is missing."""
    lane.follow_from(10 * S + 1)
    lane.commit(Progress(watermark_ns=200 * S), 300 * S)
    one = expected(store)
    await traces_of(one)
    copied = iso_ms(10 * S + 10**6)
    said = "this state has not copied it: replay the range with --state DIR, or verify what it has copied, with"
    assert one.findings()[0].hint == f"{said} --from {copied}"
    other = expected(store, Window(0, 300 * S), ids=chunks([IDS[0]]))
    await traces_of(other)
    assert {it.hint for it in other.findings()} == {f"{said} the --from, --until and --tenant of then"}
    assert other.findings()[0].what == "traces of this range that the state does not have; each counts as one"


async def test_a_trace_is_expected_under_the_id_that_was_sent(store: StateStore, lane: LaneState) -> None:
    """Ids that are not OpenTelemetry's are derived as the conversion does it, also those of dead letters."""
    sent_id = otlp_trace_id("not hex")
    letters = [DeadLetter(sent_id, f"{7:016x}", "r", "{}")]
    lane.commit(Progress(traces=[record("not hex", not_accepted=(7,))], windows=[WHOLE], dead_letters=letters), 1)
    ids = SentIds()
    (trace,) = await traces_of(ExpectedFromState(store.answered("peer", None, otlp_trace_id), WHOLE, ids))
    assert (trace.trace_id, trace.dead_lettered) == (sent_id, frozenset({7}))
    assert ids.netra_id(sent_id) == "not hex"


@pytest.mark.parametrize("count", [0, 1, 3, 10, 50])
async def test_a_sample_has_the_size_that_was_asked_for(count: int) -> None:
    """Each item is chosen once at most, and all are counted."""
    ids = [str(number) for number in range(20)]
    chosen, seen = await sample(chunks(ids[:7], [], ids[7:]), count)
    assert (len(chosen), len(set(chosen)), seen) == (min(count, 20), min(count, 20), 20)
    assert set(chosen) <= set(ids)
