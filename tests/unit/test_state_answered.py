"""What a destination has answered is read in chunks, while others write, and nothing is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from netra_otel_bridge.convert import otlp_trace_id
from netra_otel_bridge.core.errors import StateUnusable, UsageError
from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import FinishedWindow, HeldTrace, Progress, TraceCost, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.state import LaneState, StateStore, answered, schema
from netra_otel_bridge.state.answered import Answered, AnsweredTrace, Following, of_directory, uncovered
from tests.support.fake_clock import FakeClock

SOURCE, PEER = "https://api.eu.getnetra.ai", "peer"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with StateStore.open(tmp_path / "state", FakeClock()) as opened:
        yield opened


@pytest.fixture
def lane(store: StateStore) -> LaneState:
    return store.lane(SOURCE, PEER)


def record(trace_id: str, start_ns: int = 5, *, not_accepted: tuple[int, ...] = (), spans: int = 1) -> TraceRecord:
    cost = TraceCost((), not_accepted)
    return TraceRecord(trace_id, start_ns, b"digest", bytes(range(12)) * spans, cost, carriers=b"1234")


def all_of(chunks: Iterator[list[AnsweredTrace]]) -> list[AnsweredTrace]:
    return [trace for chunk in chunks for trace in chunk]


def both(store: StateStore) -> list[Answered]:
    """Return both ways to read: through the open state, and without its lock."""
    return [store.answered(PEER, None, otlp_trace_id), of_directory(store.directory, PEER, None, otlp_trace_id)]


def test_traces_of_a_window_come_once_and_in_chunks(
    store: StateStore, lane: LaneState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the size of a chunk, each trace that starts in the window comes once, with all that is recorded."""
    lane.commit(Progress(traces=[record(f"t{number}", number) for number in range(20)]), 7)
    expected = [AnsweredTrace(f"t{number}", number, 7, bytes(range(12)), b"1234") for number in (3, 4, 5, 6, 7, 8, 9)]
    for size in (1, 2, 3, 7, 20, 100):
        monkeypatch.setattr(answered, "CHUNK", size)
        for one in both(store):
            assert all_of(one.traces(Window(3, 10))) == expected
            assert [trace_id for chunk in one.ids(Window(3, 10)) for trace_id in chunk] == [
                it.trace_id for it in expected
            ]
            assert len(all_of(one.traces(None))) == 20
            assert all(len(chunk) <= size for chunk in one.traces(None))


def test_chosen_traces_are_read_by_id(store: StateStore, lane: LaneState) -> None:
    """Any number of ids may be asked for; those that are not there, or start elsewhere, are left out."""
    ids = [f"{number:04}" for number in range(1300)]
    lane.commit(Progress(traces=[record(trace_id, int(trace_id)) for trace_id in ids]), 7)
    for one in both(store):
        assert [it.trace_id for it in all_of(one.by_ids([*ids, "none"]))] == ids
        assert [it.trace_id for it in all_of(one.by_ids(ids, Window(5, 8)))] == ["0005", "0006", "0007"]


def test_other_lanes_and_records_without_spans_are_left_out(store: StateStore, lane: LaneState) -> None:
    """A record that only says that an item was unreadable is no trace; other destinations have their own."""
    lane.commit(Progress(traces=[record("a"), record("unreadable 1", spans=0)]), 1)
    store.lane(SOURCE, "other").commit(Progress(traces=[record("b")]), 1)
    for one in both(store):
        assert [it.trace_id for it in all_of(one.traces(None))] == ["a"]


def test_rejected_spans_are_told_from_dead_letters(store: StateStore, lane: LaneState) -> None:
    """A span that was not accepted is dead-lettered if the state has its letter; letters of other spans change nothing."""
    sent_id = otlp_trace_id("a")
    letters = [DeadLetter(sent_id, f"{number:016x}", "reason", "{}") for number in (2, 3)]
    letters.append(DeadLetter("b", f"{1:016x}", "reason", "{}"))
    lane.commit(Progress(traces=[record("a", not_accepted=(1, 2))], dead_letters=letters), 1)
    for one in both(store):
        (trace,) = all_of(one.traces(None))
        assert (trace.not_accepted, trace.dead_lettered) == ((1, 2), frozenset({2}))


def test_unreadable_items_count_where_their_trace_starts(
    store: StateStore, lane: LaneState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items of a trace in another range are left out; items whose time nobody knows count in every range."""
    monkeypatch.setattr(answered, "_IDS", 2)
    letters = [DeadLetter(trace_id, "", "reason", "{}", is_span=False) for trace_id in ("a", "", "b", "a", "gone")]
    letters.append(DeadLetter("a", f"{2:016x}", "reason", "{}"))
    lane.commit(Progress(traces=[record("a", 5), record("b", 50)], dead_letters=letters), 1)
    for one in both(store):
        found = [trace_id for chunk in one.unreadable(Window(0, 10)) for trace_id in chunk]
        assert found == ["a", "", "a", "gone"]


def test_coverage_is_that_of_the_chosen_queries(store: StateStore, lane: LaneState) -> None:
    """Finished windows, following, prunes and traces that are held back, as far as they touch the window."""
    lane.follow_from(100)
    held = [
        HeldTrace(summary=TraceSummary(id=trace_id), start_ns=start_ns, reason="r", attempts=1, first_ns=1, next_ns=2)
        for trace_id, start_ns in (("h", 5), ("far", 500))
    ]
    lane.commit(Progress(windows=[Window(0, 10), Window(10, 20), Window(90, 99)], watermark_ns=200, held=held), 300)
    tenant = store.lane(SOURCE, PEER, "tenant")
    tenant.commit(Progress(windows=[Window(20, 30)]), 4)
    lane.prune(2)
    for one in both(store):
        found = one.coverage(Window(5, 40), [""])
        assert found.finished == (FinishedWindow(Window(0, 10), 300), FinishedWindow(Window(10, 20), 300))
        assert (found.following, found.pruned_ns, found.held_back) == ((Following(100, 200),), 2, ("h",))
        assert len(one.coverage(Window(5, 40), ["", "tenant"]).finished) == 3
        assert len(one.coverage(None, [""]).finished) == 3


@pytest.mark.parametrize(
    ("covered", "left"),
    [
        ([], [(0, 10)]),
        ([(0, 10)], []),
        ([(-5, 20)], []),
        ([(2, 4), (3, 5), (8, 20)], [(0, 2), (5, 8)]),
        ([(5, 6), (0, 5)], [(6, 10)]),
        ([(20, 30)], [(0, 10)]),
        ([(-9, -3)], [(0, 10)]),
    ],
)
def test_what_is_uncovered_is_found(covered: list[tuple[int, int]], left: list[tuple[int, int]]) -> None:
    """The parts of a window that no other covers come in order, cut to the window."""
    assert uncovered(Window(0, 10), [Window(*one) for one in covered]) == [Window(*one) for one in left]


def test_a_running_bridge_writes_between_chunks(
    store: StateStore, lane: LaneState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traces that are pruned meanwhile are left out, added ones may come, and each commit succeeds at once."""
    monkeypatch.setattr(answered, "CHUNK", 2)
    lane.commit(Progress(traces=[record(f"t{number}", number) for number in range(6)]), 1)
    chunks = of_directory(store.directory, PEER, None, otlp_trace_id).traces(None)
    assert [it.trace_id for it in next(chunks)] == ["t0", "t1"]
    lane.prune(4)
    lane.commit(Progress(traces=[record("t9", 9)]), 2)
    assert [it.trace_id for it in all_of(chunks)] == ["t4", "t5", "t9"]


def test_nothing_is_written(tmp_path: Path) -> None:
    """A state that no bridge uses keeps every byte and gains no file."""
    with StateStore.open(tmp_path / "state", FakeClock()) as store:
        store.lane(SOURCE, PEER).commit(Progress(traces=[record("a")], windows=[Window(0, 9)]), 1)

    def files() -> dict[str, bytes]:
        return {it.name: it.read_bytes() for it in (tmp_path / "state").iterdir()}

    before = files()
    one = of_directory(tmp_path / "state", PEER, None, otlp_trace_id)
    assert len(all_of(one.traces(None))) == 1
    assert list(one.unreadable(None)) == [[]]
    assert len(one.coverage(None, [""]).finished) == 1
    assert files() == before


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_state_of_an_older_version_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """Its traces have no carriers, and of version 1 no rejected spans; it is not migrated."""
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:version])
        with StateStore.open(tmp_path / "state", FakeClock()) as store:
            store.lane(SOURCE, PEER)
    with closing(sqlite3.connect(tmp_path / "state" / "state.db")) as connection, connection:
        connection.execute(
            "INSERT INTO trace (lane, trace_id, start_ns, recorded_ns, spans) VALUES (1, 'a', 5, 6, x'31')"
        )
    (tmp_path / "state" / "sum").unlink()
    one = of_directory(tmp_path / "state", PEER, None, otlp_trace_id)
    assert all_of(one.traces(None)) == [AnsweredTrace("a", 5, 6, b"1", b"")]
    assert one.coverage(None, [""]).held_back == ()
    with closing(sqlite3.connect(tmp_path / "state" / "state.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchall() == [(version,)]


def test_the_right_lane_is_found(store: StateStore) -> None:
    """With several sources one has to be named; a missing state, destination or source is named in the error."""
    store.lane(SOURCE, PEER).commit(Progress(traces=[record("a")]), 1)
    store.lane("https://other", PEER).commit(Progress(traces=[record("b")]), 1)
    assert [
        it.trace_id for it in all_of(of_directory(store.directory, PEER, "https://other", otlp_trace_id).traces(None))
    ] == ["b"]
    failures: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: of_directory(store.directory, PEER, None, otlp_trace_id), UsageError, "several installations"),
        (
            lambda: of_directory(store.directory, PEER, "https://third", otlp_trace_id),
            UsageError,
            "nothing for peer from https://third",
        ),
        (lambda: of_directory(store.directory, "jaeger", None, otlp_trace_id), UsageError, "no destination 'jaeger'"),
        (lambda: of_directory(store.directory / "none", PEER, None, otlp_trace_id), StateUnusable, "there is no state"),
    ]
    for fails, kind, said in failures:
        with pytest.raises(kind, match=said):
            fails()
