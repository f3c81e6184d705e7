"""A state compared with a model after any sequence of operations, closes and crashes."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import Progress, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.state import LaneState, StateStore, dead_letters, lane, read_status, reset
from tests.support.examples import examples, some
from tests.support.fake_clock import FakeClock

IDS = ("a", "b", "c", "", "\ud800", "é", "a\0")
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A directory in memory: this test is not about the disk."""
DESTINATIONS, QUERIES = ("jaeger", "tempo"), ("", "tenant")
instants = st.integers(-3, 40)
ids = st.sampled_from(IDS)
windows = st.tuples(instants, st.integers(1, 12)).map(lambda it: Window(it[0], it[0] + it[1]))
records = st.builds(
    TraceRecord,
    ids,
    instants,
    st.none() | st.binary(max_size=2),
    st.integers(0, 3).map(lambda count: b"s" * 12 * count),
)
letters = st.builds(
    DeadLetter, ids, ids, st.sampled_from(["big", "poisoned", "\udfff"]), st.text(max_size=4), st.booleans()
)
progresses = st.builds(
    Progress,
    traces=st.lists(records, max_size=4),
    windows=st.lists(windows, max_size=3),
    watermark_ns=st.none() | instants,
    dead_letters=st.lists(letters, max_size=2),
    resolved=st.lists(st.integers(1, 12), max_size=2),
    delivered=st.integers(0, 9),
    refused=st.integers(0, 9),
    size_bytes=st.integers(0, 9),
    problem=st.sampled_from([None, "", "down", "full"]),
)


@dataclass
class Query:
    """Model of one query of a lane: finished windows with their finish times."""

    windows: dict[tuple[int, int], int] = field(default_factory=dict)
    since_ns: int | None = None
    watermark_ns: int | None = None

    def join(self, before_ns: int) -> None:
        """Join windows that ended and were finished before, where they touch."""
        old = sorted(it for it in self.windows.items() if it[0][1] <= before_ns and it[1] < before_ns)
        merged: list[list[int]] = []
        for (start_ns, end_ns), finished_ns in old:
            del self.windows[start_ns, end_ns]
            if merged and start_ns <= merged[-1][1]:
                merged[-1] = [merged[-1][0], max(end_ns, merged[-1][1]), min(finished_ns, merged[-1][2])]
            else:
                merged.append([start_ns, end_ns, finished_ns])
        for start_ns, end_ns, finished_ns in merged:
            self.windows[start_ns, end_ns] = finished_ns

    def forget(self, from_ns: int | None) -> int:
        """Apply a reset; return the number of windows that ended after it."""
        gone = {key: at for key, at in self.windows.items() if from_ns is None or key[1] > from_ns}
        for key in gone:
            del self.windows[key]
        if from_ns is None:
            self.watermark_ns = None
            return len(gone)
        for (start_ns, _), finished_ns in gone.items():
            if start_ns < from_ns:
                self.windows[start_ns, from_ns] = max(finished_ns, self.windows.get((start_ns, from_ns), finished_ns))
        self.watermark_ns = None if self.watermark_ns is None else min(self.watermark_ns, from_ns)
        self.since_ns = None if self.since_ns is None else min(self.since_ns, from_ns)
        return len(gone)


@dataclass
class Lane:
    """Model of one destination."""

    traces: dict[str, tuple[TraceRecord, int]] = field(default_factory=dict)
    letters: dict[int, tuple[DeadLetter, int]] = field(default_factory=dict)
    queries: dict[str, Query] = field(default_factory=lambda: {query: Query() for query in QUERIES})
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    problem: tuple[str, int] = ("", 0)


class StateMachine(RuleBasedStateMachine):
    """The real state and the model, side by side."""

    @initialize()
    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp(dir=MEMORY))
        self.directory = self.root / "0"
        self.generation = 0
        self.now_ns = 0
        self.last_letter = 0
        self.lanes = {name: Lane() for name in DESTINATIONS}
        self.open()

    def open(self) -> None:
        self.store = StateStore.open(self.directory, FakeClock())
        self.states = {(name, query): self.store.lane("s", name, query) for name in DESTINATIONS for query in QUERIES}

    def teardown(self) -> None:
        with ExitStack() as ending:
            ending.callback(shutil.rmtree, self.root, ignore_errors=True)
            ending.callback(self.store.close)

    @rule(name=st.sampled_from(DESTINATIONS), query=st.sampled_from(QUERIES), made=progresses, later=st.integers(0, 5))
    def commit(self, name: str, query: str, made: Progress, later: int) -> None:
        self.now_ns += later
        self.states[name, query].commit(made, self.now_ns)
        model = self.lanes[name]
        model.traces |= {record.trace_id: (record, self.now_ns) for record in made.traces}
        for letter_id in made.resolved:
            model.letters.pop(letter_id, None)
        for letter in made.dead_letters:
            self.last_letter += 1
            model.letters[self.last_letter] = letter, self.now_ns
            model.reasons[letter.reason] += 1
        followed = model.queries[query]
        followed.windows |= {(window.start_ns, window.end_ns): self.now_ns for window in made.windows}
        if made.watermark_ns is not None:
            followed.watermark_ns = max(made.watermark_ns, followed.watermark_ns or made.watermark_ns)
        model.counts.update(delivered=made.delivered, refused=made.refused, size_bytes=made.size_bytes)
        if made.problem is not None and made.problem != model.problem[0]:
            model.problem = made.problem, self.now_ns if made.problem else 0

    @rule(name=st.sampled_from(DESTINATIONS), query=st.sampled_from(QUERIES), since_ns=instants)
    def follow_from(self, name: str, query: str, since_ns: int) -> None:
        self.states[name, query].follow_from(since_ns)
        followed = self.lanes[name].queries[query]
        followed.since_ns = since_ns if followed.since_ns is None else followed.since_ns

    @rule(name=st.sampled_from(DESTINATIONS), before_ns=instants)
    def prune(self, name: str, before_ns: int) -> None:
        model = self.lanes[name]
        old = [
            key for key, (record, at_ns) in model.traces.items() if record.start_ns < before_ns and at_ns < before_ns
        ]
        assert self.states[name, ""].prune(before_ns) == len(old)
        for trace_id in old:
            del model.traces[trace_id]
        for query in model.queries.values():
            query.join(before_ns)

    @rule(name=st.sampled_from(DESTINATIONS), from_ns=st.none() | instants)
    def reset(self, name: str, from_ns: int | None) -> None:
        self.store.close()
        report = reset(self.directory, name, from_ns, FakeClock())
        model = self.lanes[name]
        gone = [key for key, (record, _) in model.traces.items() if from_ns is None or record.start_ns >= from_ns]
        for trace_id in gone:
            del model.traces[trace_id]
        windows = sum(query.forget(from_ns) for query in model.queries.values())
        marks = [query.watermark_ns for query in model.queries.values() if query.watermark_ns is not None]
        assert (report.traces, report.windows, report.watermark_ns) == (len(gone), windows, min(marks, default=None))
        self.open()

    @rule()
    def close_and_open(self) -> None:
        self.store.close()
        assert (self.directory / "sum").exists()
        self.open()

    @rule()
    def crash_and_open(self) -> None:
        """Leave what a killed bridge leaves: its files without the index of the log."""
        self.generation += 1
        crashed = self.root / str(self.generation)
        shutil.copytree(self.directory, crashed, ignore=shutil.ignore_patterns("state.db-shm"))
        self.store.close()
        self.directory = crashed
        self.open()

    @rule()
    def forget_progress(self) -> None:
        self.store.forget_progress()
        for name, model in self.lanes.items():
            if model.letters:
                self.lanes[name] = Lane(letters=model.letters, reasons=model.reasons)
            else:
                self.lanes[name] = Lane()
        self.store.close()
        self.open()

    @invariant()
    def remembers_the_same(self) -> None:
        for (name, query), state in self.states.items():
            model = self.lanes[name]
            self.check_lane(state, model)
            followed = model.queries[query]
            assert state.finished() == [
                (Window(*borders), finished_ns) for borders, finished_ns in sorted(followed.windows.items())
            ]
            assert (state.since_ns(), state.watermark_ns()) == (followed.since_ns, followed.watermark_ns)

    @invariant()
    def says_the_same(self) -> None:
        statuses = self.store.lanes()
        assert read_status(self.directory).lanes == tuple(statuses)
        assert [status.destination for status in statuses] == list(DESTINATIONS)
        for status in statuses:
            model = self.lanes[status.destination]
            counted = {"delivered": status.delivered, "refused": status.refused, "size_bytes": status.size_bytes}
            assert counted == {key: model.counts[key] for key in counted}
            assert (status.problem, status.problem_since_ns) == model.problem
            assert status.traces == len(model.traces)
            assert status.windows == sum(len(query.windows) for query in model.queries.values())
            assert (dict(status.reasons), status.dead_lettered) == (dict(model.reasons), model.reasons.total())
        assert self.store.has_dead_letters() == any(model.letters for model in self.lanes.values())
        every = {stored.id for stored in dead_letters(self.directory)}
        assert every == {letter_id for model in self.lanes.values() for letter_id in model.letters}

    def check_lane(self, state: LaneState, model: Lane) -> None:
        assert state.known(IDS) == {
            key: (record.digest, len(record.spans) // 12, at_ns) for key, (record, at_ns) in model.traces.items()
        }
        for trace_id in IDS:
            assert state.spans(trace_id) == (model.traces[trace_id][0].spans if trace_id in model.traces else b"")
        kept = {stored.id: (stored.letter, stored.recorded_ns) for stored in state.dead_letters()}
        assert kept == model.letters


@pytest.mark.parametrize("chunk", some(1, [2, 5000]))
def test_it_remembers_what_a_model_remembers(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """State, status and model agree after each commit, prune, reset, restart and crash, in any order."""
    monkeypatch.setattr(lane, "_CHUNK", chunk)
    run_state_machine_as_test(
        StateMachine,
        settings=settings(
            max_examples=examples(25), stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
