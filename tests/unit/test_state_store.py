"""Progress in a state: traces, windows, watermark, counts, dead letters."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_otel_bridge.core.errors import StateError, StateNotWritten, UsageError
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import (
    FinishedWindow,
    KnownTrace,
    Progress,
    TraceRecord,
)
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.state import LaneState, StateStore, database, lane, read_status, rows
from tests.support.fake_clock import FakeClock
from tests.support.state import DESTINATION, SOURCE, progress


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with StateStore.open(tmp_path / "state", FakeClock()) as opened:
        yield opened


@pytest.fixture
def jaeger(store: StateStore) -> LaneState:
    return store.lane(SOURCE, DESTINATION)


def trace(trace_id: str, start_ns: int = 0, digest: bytes | None = b"digest", spans: int = 1) -> TraceRecord:
    return TraceRecord(trace_id, start_ns, digest, bytes(range(12)) * spans)


def letter(trace_id: str = "t", document: str = "{}", reason: str = "refused") -> DeadLetter:
    return DeadLetter(trace_id, "s", reason, document)


def test_a_trace_is_known_with_its_digest_and_its_spans(jaeger: LaneState) -> None:
    """A committed trace is known, with digest and spans; other traces are not."""
    jaeger.commit(Progress(traces=[trace("a", spans=2), trace("b", digest=None, spans=0)]), 1)
    assert jaeger.known(["a", "b", "c"]) == {"a": KnownTrace(b"digest", 2, 1), "b": KnownTrace(None, 0, 1)}
    assert jaeger.spans("a") == bytes(range(12)) * 2
    assert jaeger.spans("b") == jaeger.spans("c") == b""
    assert jaeger.known([]) == {}


def test_a_later_record_replaces_the_row_of_a_trace(store: StateStore, jaeger: LaneState) -> None:
    """The last record of a trace replaces earlier ones, also within one transaction; the trace counts once."""
    jaeger.commit(Progress(traces=[trace("a"), trace("a", digest=None, spans=3)]), 1)
    assert jaeger.known(["a"]) == {"a": KnownTrace(None, 3, 1)}
    jaeger.commit(Progress(traces=[trace("a", digest=b"new"), trace("b")]), 2)
    assert jaeger.known(["a"]) == {"a": KnownTrace(b"new", 1, 2)}
    assert store.lanes()[0].traces == 2


def test_many_ids_are_looked_up_at_once(jaeger: LaneState) -> None:
    """One call can ask for any number of ids."""
    ids = [f"{number:032x}" for number in range(2500)]
    jaeger.commit(Progress(traces=[trace(trace_id) for trace_id in ids[::2]]), 1)
    assert set(jaeger.known(ids)) == set(ids[::2])


def test_destinations_do_not_know_each_others_traces(store: StateStore, jaeger: LaneState) -> None:
    """Progress is kept per source and destination."""
    jaeger.commit(Progress(traces=[trace("a")], windows=[Window(0, 1)], watermark_ns=5, dead_letters=[letter()]), 1)
    for other in (store.lane(SOURCE, "tempo"), store.lane("https://other", DESTINATION)):
        assert other.known(["a"]) == {}
        assert (other.finished(), other.watermark_ns(), other.dead_letters()) == ([], None, [])


def test_queries_share_traces_and_not_windows(store: StateStore, jaeger: LaneState) -> None:
    """Traces are shared by all queries of a lane; windows, watermark and start belong to one query."""
    jaeger.follow_from(3)
    jaeger.commit(Progress(traces=[trace("a")], windows=[Window(0, 1)], watermark_ns=5, dead_letters=[letter()]), 7)
    tenant = store.lane(SOURCE, DESTINATION, '{"tenant_id":"acme"}')
    assert tenant.known(["a"]) == jaeger.known(["a"])
    assert tenant.dead_letters() == jaeger.dead_letters()
    assert (tenant.finished(), tenant.watermark_ns(), tenant.since_ns()) == ([], None, None)
    assert (jaeger.finished(), jaeger.watermark_ns(), jaeger.since_ns()) == ([FinishedWindow(Window(0, 1), 7)], 5, 3)


def test_a_lane_is_found_again(store: StateStore, jaeger: LaneState) -> None:
    """Asking for a lane twice gives the same lane, and says which it is."""
    jaeger.commit(Progress(traces=[trace("a")]), 1)
    again = store.lane(SOURCE, DESTINATION)
    assert set(again.known(["a"])) == {"a"}
    assert (again.source, again.destination, again.query) == (SOURCE, DESTINATION, "")
    assert len(store.lanes()) == 1


def test_following_begins_once_and_never_goes_back(jaeger: LaneState) -> None:
    """The first start stays; a watermark never goes back."""
    for since_ns in (10, 20):
        jaeger.follow_from(since_ns)
    for watermark_ns in (30, 25):
        jaeger.commit(Progress(watermark_ns=watermark_ns), 1)
    assert (jaeger.since_ns(), jaeger.watermark_ns()) == (10, 30)


def test_a_window_finished_again_has_the_later_time(jaeger: LaneState) -> None:
    """Windows are in order, each with the time of its last finish."""
    jaeger.commit(Progress(windows=[Window(10, 20), Window(0, 10)]), 100)
    jaeger.commit(Progress(windows=[Window(10, 20)]), 200)
    assert jaeger.finished() == [FinishedWindow(Window(0, 10), 100), FinishedWindow(Window(10, 20), 200)]


def test_counts_add_up_over_the_life_of_a_lane(store: StateStore, jaeger: LaneState) -> None:
    """The status sums all transactions; dead letters that were delivered later stay counted."""
    jaeger.commit(Progress(delivered=5, refused=1, size_bytes=100, dead_letters=[letter(), letter(reason="big")]), 1)
    jaeger.commit(Progress(delivered=2, size_bytes=50, dead_letters=[letter()], resolved=[1], watermark_ns=9), 2)
    (status,) = store.lanes()
    assert (status.source, status.destination) == (SOURCE, DESTINATION)
    assert (status.delivered, status.refused, status.dead_lettered, status.size_bytes) == (7, 1, 3, 150)
    assert (status.updated_ns, status.watermark_ns) == (2, 9)
    assert status.reasons == (("refused", 2), ("big", 1))


def test_the_status_shows_the_watermark_that_moved_last(store: StateStore, jaeger: LaneState) -> None:
    """The status shows no lag of a query that is no longer followed; a replay does not hide the followed query."""
    tenant, once = store.lane(SOURCE, DESTINATION, "acme"), store.lane(SOURCE, DESTINATION, "once")
    jaeger.commit(Progress(watermark_ns=100), 1)
    tenant.commit(Progress(watermark_ns=50), 2)
    once.commit(Progress(windows=[Window(0, 1)]), 3)
    assert store.lanes()[0].watermark_ns == 50


def test_a_problem_keeps_the_time_it_began(store: StateStore, jaeger: LaneState) -> None:
    """A problem that repeats keeps its time, another one starts anew, "" clears it, ``None`` changes nothing."""
    seen = []
    for now_ns, problem in enumerate(("down", "down", None, "full", "", None), start=1):
        jaeger.commit(Progress(problem=problem), now_ns)
        (status,) = store.lanes()
        seen.append((status.problem, status.problem_since_ns))
    assert seen == [("down", 1), ("down", 1), ("down", 1), ("full", 4), ("", 0), ("", 0)]


def test_reasons_are_bounded(store: StateStore, jaeger: LaneState) -> None:
    """Distinct reasons are limited: beyond the limit they are counted together."""
    jaeger.commit(Progress(dead_letters=[letter(reason=f"{n} bytes") for n in range(rows.MAX_REASONS + 7)]), 1)
    reasons = dict(store.lanes()[0].reasons)
    assert reasons[rows.OTHER_REASONS] == 7
    assert len(reasons) == rows.MAX_REASONS + 1


def test_dead_letters_are_read_page_by_page(jaeger: LaneState) -> None:
    """Dead letters are complete, oldest first, starting after any id."""
    letters = [DeadLetter(f"t{n}", "s", "why", "{}" * n, is_span=n % 2 == 0) for n in range(5)]
    jaeger.commit(Progress(dead_letters=letters), 42)
    first = jaeger.dead_letters(limit=2)
    rest = jaeger.dead_letters(first[-1].id)
    assert [stored.letter for stored in first + rest] == letters
    assert {(stored.recorded_ns, stored.destination) for stored in first + rest} == {(42, DESTINATION)}


def test_a_resolved_letter_is_gone_and_its_id_is_not_given_again(store: StateStore, jaeger: LaneState) -> None:
    """A lane resolves only its own dead letters; ids are never reused."""
    jaeger.commit(Progress(dead_letters=[letter("a"), letter("b")]), 1)
    store.lane(SOURCE, "tempo").commit(Progress(resolved=[1]), 2)
    assert len(jaeger.dead_letters()) == 2
    jaeger.commit(Progress(resolved=[1, 2, 99]), 3)
    assert jaeger.dead_letters() == []
    assert not store.has_dead_letters()
    jaeger.commit(Progress(dead_letters=[letter("c")]), 4)
    assert [stored.id for stored in jaeger.dead_letters()] == [3]


def test_dead_letters_have_a_cap(jaeger: LaneState, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that exceeds the cap of dead letters fails, and says how to look at them."""
    monkeypatch.setattr(lane, "DEAD_LETTER_BYTES", 1000)
    jaeger.commit(Progress(dead_letters=[letter(document="x" * 900)]), 1)
    jaeger.commit(Progress(dead_letters=[letter(document="x" * 900)], resolved=[1]), 2)
    with pytest.raises(StateNotWritten, match="state dead-letters"):
        jaeger.commit(Progress(dead_letters=[letter(document="ü" * 50)], traces=[trace("a")]), 3)
    assert jaeger.known(["a"]) == {}
    assert len(jaeger.dead_letters()) == 1


def test_after_a_failure_nothing_is_stored_any_more(jaeger: LaneState, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed transaction nothing more is written: a later one could leave a gap."""
    monkeypatch.setattr(lane, "DEAD_LETTER_BYTES", 0)
    with pytest.raises(StateNotWritten) as first:
        jaeger.commit(Progress(dead_letters=[letter()]), 1)
    with pytest.raises(StateNotWritten) as second:
        jaeger.commit(Progress(traces=[trace("a")]), 2)
    assert str(first.value) == str(second.value)
    assert jaeger.known(["a"]) == {}


def test_any_text_and_any_time_can_be_kept(tmp_path: Path) -> None:
    """Lone surrogates, NUL, any script, numbers beyond 64 bits: what Netra sends never makes a transaction fail."""
    odd = ["\ud800", "a\0b", "ключ", "🜚", "", "'; DROP TABLE trace; --", "a"]
    with StateStore.open(tmp_path, FakeClock()) as store:
        lane_ = store.lane("s\udcff", "d\ud800", "q\ud800")
        lane_.commit(
            Progress(
                traces=[trace(text, start_ns=-((-1) ** n) * 2**70) for n, text in enumerate(odd)],
                dead_letters=[DeadLetter(text, text, text, text) for text in odd],
                problem="p\ud800",
            ),
            1,
        )
    with StateStore.open(tmp_path, FakeClock()) as store:
        lane_ = store.lane("s\udcff", "d\ud800", "q\ud800")
        assert set(lane_.known(odd)) == set(odd)
        assert [stored.letter for stored in lane_.dead_letters()] == [DeadLetter(it, it, it, it) for it in odd]
        (status,) = store.lanes()
        assert (status.destination, status.problem) == ("d\ud800", "p\ud800")
        assert lane_.prune(2**63 - 1) == len(odd) - len(odd) // 2


def test_a_trace_is_first_listed_once_a_pass(store: StateStore, jaeger: LaneState) -> None:
    """A trace in two windows is new once per object and pass; this is not durable."""
    other = store.lane(SOURCE, DESTINATION)
    assert jaeger.first_listed(["a", "b", "a"]) == {"a", "b"}
    assert jaeger.first_listed(["b", "c"]) == {"c"}
    assert other.first_listed(["a"]) == {"a"}
    jaeger.start_pass()
    assert jaeger.first_listed(["a"]) == {"a"}
    assert other.first_listed(["a"]) == set()


def test_one_thread_reads_while_another_writes(jaeger: LaneState) -> None:
    """Reading sees only complete transactions while others are written."""
    steps = 200
    failures: list[str] = []

    def write() -> None:
        for number in range(steps):
            jaeger.commit(Progress(traces=[trace("a", spans=number), trace("b", spans=number)]), number)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        known = jaeger.known(["a", "b"])
        jaeger.first_listed(["a"])
        if len({trace.spans for trace in known.values()}) > 1:
            failures.append(str(known))
    writer.join()
    assert not failures
    assert jaeger.known(["a"])["a"].spans == steps - 1


def test_finished_replays_leave_dead_letters_and_nothing_else(tmp_path: Path) -> None:
    """Forgotten progress stays deleted; dead letters keep their lane, reasons and count."""
    with StateStore.open(tmp_path, FakeClock()) as store:
        for name, letters in (("jaeger", [letter()]), ("tempo", [])):
            lane_ = store.lane(SOURCE, name)
            lane_.follow_from(1)
            lane_.commit(Progress(traces=[trace("a")], windows=[Window(0, 9)], watermark_ns=9, delivered=3,
                                  dead_letters=letters, problem="down"), 1)  # fmt: skip
        store.forget_progress()
        with pytest.raises(RuntimeError, match="was reset while it was in use"):
            lane_.commit(Progress(delivered=1), 2)
    with StateStore.open(tmp_path, FakeClock()) as store:
        (status,) = store.lanes()
        assert (status.destination, status.traces, status.windows, status.delivered) == ("jaeger", 0, 0, 0)
        assert (status.dead_lettered, status.reasons, status.problem) == (1, (("refused", 1),), "")
        jaeger = store.lane(SOURCE, "jaeger")
        assert (jaeger.known(["a"]), jaeger.finished(), jaeger.watermark_ns(), jaeger.since_ns()) == (
            {},
            [],
            None,
            None,
        )
        assert len(jaeger.dead_letters()) == 1
        assert store.has_dead_letters()


def test_forgetting_without_dead_letters_leaves_no_lane(store: StateStore, jaeger: LaneState) -> None:
    """A replay without dead letters leaves no lane."""
    jaeger.commit(Progress(delivered=1), 1)
    store.forget_progress()
    assert store.lanes() == []
    assert not store.has_dead_letters()


def test_a_temporary_state_is_private_and_gone_when_closed() -> None:
    """A temporary state works like any other, in a private directory that closing deletes."""
    store = StateStore.temporary(FakeClock())
    assert store.is_temporary
    assert store.directory.stat().st_mode & 0o777 == 0o700
    lane_ = store.lane(SOURCE, DESTINATION)
    lane_.commit(Progress(traces=[trace("a")]), 1)
    assert set(lane_.known(["a"])) == {"a"}
    for _ in range(2):
        store.close()
    assert not store.directory.exists()


def test_what_is_closed_cannot_be_used(tmp_path: Path) -> None:
    """Closing twice is allowed; using a closed state is an error."""
    store = StateStore.open(tmp_path, FakeClock())
    lane_ = store.lane(SOURCE, DESTINATION)
    for _ in range(2):
        store.close()
    for use in (lambda: lane_.known(["a"]), lambda: lane_.commit(Progress(), 1), store.lanes):
        with pytest.raises(StateError, match="closed"):
            use()


def test_a_log_that_another_program_holds_back_has_a_cap(jaeger: LaneState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a size of the log nothing is written, and the error names the cause."""
    monkeypatch.setattr(database, "LOG_BYTES", 50_000)
    jaeger.commit(Progress(traces=[trace("a", spans=10_000)]), 1)
    with pytest.raises(StateNotWritten, match=r"state\.db-wal: it has grown to \d+ bytes \(close programs that read"):
        jaeger.commit(Progress(), 2)


def test_the_log_stays_small(store: StateStore, jaeger: LaneState) -> None:
    """SQLite's log does not grow with the number of transactions, reading or not."""
    for number in range(300):
        jaeger.commit(Progress(traces=[trace(f"{number}-{part}", spans=50) for part in range(20)]), number)
        jaeger.known([f"{number}-0"])
    assert os.stat(store.directory / "state.db-wal").st_size < 8 * 2**20


def test_a_forked_child_leaves_the_state_of_its_parent_alone(tmp_path: Path) -> None:
    """A forked child cannot use the state, and closing it there changes nothing."""
    directory = tmp_path / "state"
    with StateStore.open(directory, FakeClock()) as store:
        mine = store.lane(SOURCE, DESTINATION)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            child = os.fork()
        if not child:
            try:
                mine.finished()
            except UsageError:
                store.close()
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert read_status(directory).owner == os.getpid()
        mine.commit(progress(1), 1)
