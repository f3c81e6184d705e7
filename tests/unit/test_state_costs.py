"""Costs of delivered spans: the sums always equal those of the traces they are made of."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from netra_otel_bridge.core.clock import HOUR_NS
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import (
    HourCost,
    Progress,
    Reconciliation,
    TraceCost,
    TraceRecord,
)
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.state import (
    StateStore,
    costs,
    read_status,
    reset,
    schema,
)
from tests.support.examples import examples
from tests.support.fake_clock import FakeClock

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A directory in memory: this test is not about the disk."""
LANES, TENANTS, HOURS = ("jaeger", "tempo"), ("acme", "é"), 3
ALL = Window(0, HOURS * HOUR_NS)
instants = st.integers(0, HOURS * 2 - 1).map(lambda half: half * HOUR_NS // 2)
Sums = Counter[tuple[str, int, str]]


@st.composite
def records(draw: st.DrawFn) -> TraceRecord:
    """Draw a trace with costs whose sums are exact; no hour is before its start."""
    start_ns = draw(instants)
    keys = draw(st.lists(st.tuples(st.sampled_from(TENANTS), st.integers(0, 2)), max_size=3, unique=True))
    hours = tuple(
        HourCost(
            tenant,
            start_ns // HOUR_NS * HOUR_NS + later * HOUR_NS,
            draw(st.integers(0, 9)),
            draw(st.integers(1, 3)),
            draw(st.integers(0, 40)) / 8,
        )
        for tenant, later in keys
    )
    not_accepted = draw(st.lists(st.sampled_from([0, 7, 2**64 - 1]), max_size=2, unique=True))
    return TraceRecord(draw(st.sampled_from("abcde")), start_ns, None, b"", TraceCost(hours, tuple(not_accepted)))


def sums_of(hours: list[HourCost]) -> Sums:
    sums: Sums = Counter()
    for hour in hours:
        for figure in ("tokens", "requests", "cost"):
            sums[hour.tenant_id, hour.hour_ns, figure] += getattr(hour, figure)
    return sums


class Spending(RuleBasedStateMachine):
    """The real state, and a model: every trace recorded and not forgotten."""

    @initialize()
    def start(self) -> None:
        self.directory = Path(tempfile.mkdtemp(dir=MEMORY))
        self.now_ns = 0
        self.known: dict[str, dict[str, tuple[TraceRecord, int]]] = {name: {} for name in LANES}
        self.pruned: dict[str, list[HourCost]] = {name: [] for name in LANES}
        self.open()
        self.lanes["jaeger"].commit(Progress(dead_letters=[DeadLetter("t", "s", "why", "{}")]), 0)

    def open(self) -> None:
        self.store = StateStore.open(self.directory, FakeClock())
        self.lanes = {name: self.store.lane("s", name) for name in LANES}

    def teardown(self) -> None:
        with ExitStack() as ending:
            ending.callback(shutil.rmtree, self.directory, ignore_errors=True)
            ending.callback(self.store.close)

    @rule(name=st.sampled_from(LANES), traces=st.lists(records(), max_size=4), later=st.integers(0, 2))
    def read(self, name: str, traces: list[TraceRecord], later: int) -> None:
        """Read traces that are new, grew, changed, or are unchanged; one possibly twice."""
        self.now_ns += later * HOUR_NS
        self.lanes[name].commit(Progress(traces=traces), self.now_ns)
        self.known[name] |= {trace.trace_id: (trace, self.now_ns) for trace in traces}

    @rule(name=st.sampled_from(LANES))
    def read_again(self, name: str) -> None:
        self.lanes[name].commit(Progress(traces=[trace for trace, _ in self.known[name].values()]), self.now_ns)
        self.known[name] = {key: (trace, self.now_ns) for key, (trace, _) in self.known[name].items()}

    @rule(name=st.sampled_from(LANES), before_ns=instants)
    def prune(self, name: str, before_ns: int) -> None:
        self.lanes[name].prune(before_ns)
        for key, (trace, at_ns) in list(self.known[name].items()):
            if trace.start_ns < before_ns and at_ns < before_ns:
                self.pruned[name] += trace.cost.hours
                del self.known[name][key]

    @rule(name=st.sampled_from(LANES), from_ns=st.none() | instants)
    def reset(self, name: str, from_ns: int | None) -> None:
        self.store.close()
        reset(self.directory, name, from_ns, FakeClock())
        from_ns = -1 if from_ns is None else from_ns
        self.known[name] = {key: it for key, it in self.known[name].items() if it[0].start_ns < from_ns}
        self.pruned[name] = [hour for hour in self.pruned[name] if hour.hour_ns < from_ns]
        self.open()

    @rule()
    def close_and_open(self) -> None:
        self.store.close()
        self.open()

    @rule()
    def forget_progress(self) -> None:
        """Forget the progress; a lane with a dead letter keeps its row."""
        self.store.forget_progress()
        for name in LANES:
            self.known[name], self.pruned[name] = {}, []
        self.store.close()
        self.open()

    @invariant()
    def sums_are_those_of_the_traces(self) -> None:
        for name, lane in self.lanes.items():
            hours = [hour for trace, _ in self.known[name].values() for hour in trace.cost.hours] + self.pruned[name]
            with self.store.database.reading() as connection:
                rows = connection.execute(
                    "SELECT tenant_id, hour_ns, tokens, requests, cost FROM spent WHERE lane = ?", (lane._lane,)
                ).fetchall()
            found = [HourCost(*row) for row in rows]
            assert sums_of(found) == sums_of(hours)
            assert all(hour.requests > 0 for hour in found)
            end_ns = max((hour.hour_ns for hour in hours), default=0) + HOUR_NS
            assert lane.tenants(Window(0, end_ns)) == sorted({hour.tenant_id for hour in hours})
            for tenant in TENANTS:
                for window in (Window(0, end_ns), Window(HOUR_NS, 3 * HOUR_NS)):
                    inside = [
                        hour for hour in hours
                        if hour.tenant_id == tenant and window.start_ns <= hour.hour_ns < window.end_ns
                    ]  # fmt: skip
                    expected = sum(hour.tokens for hour in inside), sum(hour.cost for hour in inside)
                    assert lane.tenant_cost(tenant, window) == expected
            for trace, _ in self.known[name].values():
                assert lane.trace_cost(trace.trace_id) == trace.cost


def test_sums_are_those_of_the_traces() -> None:
    """Whatever the order of reads, changes, prunes and resets, every trace counts exactly once."""
    run_state_machine_as_test(
        Spending,
        settings=settings(
            max_examples=examples(40), stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def trace(name: str, *hours: HourCost, start_ns: int = 0) -> TraceRecord:
    return TraceRecord(name, start_ns, b"d", b"", TraceCost(hours))


def reconciliation(tenant_id: str, **figures: float) -> Reconciliation:
    given = {"replayed_tokens": 5, "replayed_cost": 0.5, "reported_tokens": 5, "reported_cost": 0.5} | figures
    return Reconciliation(tenant_id=tenant_id, window=ALL, asked_ns=9, **given)  # type: ignore[arg-type]  # a mixed dict


def test_sums_of_long_ago_are_forgotten(tmp_path: Path) -> None:
    """Sums older than two months are deleted, because no comparison needs them."""
    now_ns = costs.KEPT_NS + 10 * HOUR_NS
    hours = [HourCost("acme", at_ns, 1, 1, 0.5) for at_ns in (9 * HOUR_NS, 10 * HOUR_NS, now_ns)]
    with StateStore.open(tmp_path / "state", FakeClock()) as store:
        lane = store.lane("s", "jaeger")
        lane.commit(Progress(traces=[trace("a", *hours)]), now_ns)
        assert lane.tenant_cost("acme", Window(0, now_ns + 1)) == (3, 1.5)
        lane.prune(now_ns)
        assert lane.tenant_cost("acme", Window(0, now_ns + 1)) == (2, 1.0)
        lane.commit(Progress(traces=[trace("a")]), now_ns)
        assert lane.tenants(Window(10 * HOUR_NS, now_ns + 1)) == []


@pytest.mark.parametrize(
    ("from_ns", "left"),
    [
        (HOUR_NS, [3, 1, 0]),
        (HOUR_NS + 1, [3, 3, 1]),
        (3 * HOUR_NS // 2, [3, 3, 1]),
        (2 * HOUR_NS, [3, 7, 1]),
        (None, [0] * 3),
    ],
)
def test_a_reset_takes_out_what_will_be_read_again(tmp_path: Path, from_ns: int | None, left: list[int]) -> None:
    """A reset removes traces that start later, and from whole hours also traces deleted for their age."""

    def hours(*tokens: int) -> list[HourCost]:
        return [HourCost("acme", hour * HOUR_NS, count, 1, 0.5) for hour, count in enumerate(tokens) if count]

    with StateStore.open(tmp_path / "state", FakeClock()) as store:
        lane = store.lane("s", "jaeger")
        lane.commit(Progress(traces=[trace("pruned", *hours(2, 2, 2))]), 0)
        lane.prune(1)
        before, at = trace("before", *hours(1, 1)), trace("at", *hours(0, 0, 1), start_ns=HOUR_NS)
        later = trace("later", *hours(0, 4), start_ns=3 * HOUR_NS // 2)
        lane.commit(Progress(traces=[before, at, later]), 9)
    reset(tmp_path / "state", "jaeger", from_ns, FakeClock())
    with StateStore.open(tmp_path / "state", FakeClock()) as store:
        lane = store.lane("s", "jaeger")
        found = [lane.tenant_cost("acme", Window(hour * HOUR_NS, (hour + 1) * HOUR_NS))[0] for hour in range(3)]
    assert found == left


def test_reconciliations_are_those_of_the_last_time(tmp_path: Path) -> None:
    """Reconciliations are stored in one transaction, appear in the status, and are deleted by a reset."""
    directory = tmp_path / "state"
    first = [reconciliation("acme"), reconciliation("globex", reported_tokens=2**70)]
    with StateStore.open(directory, FakeClock()) as store:
        lane, other = store.lane("s", "jaeger"), store.lane("s", "tempo")
        lane.reconcile(first)
        lane.reconcile([reconciliation("é"), replace(first[1], reported_tokens=6)])
        other.reconcile(first)
        assert [one.tenant_id for one in lane.reconciled()] == ["globex", "é"]
        assert [one.agrees for one in lane.reconciled()] == [False, True]
        assert other.reconciled()[0] == first[0]
        assert other.reconciled()[1].reported_tokens == 2**63 - 1
        assert [status.reconciled for status in read_status(directory).lanes] == [lane.reconciled(), other.reconciled()]
    reset(directory, "jaeger", 3, FakeClock())
    assert [len(status.reconciled) for status in read_status(directory).lanes] == [0, 2]


@pytest.mark.parametrize(("reported", "agrees"), [(0.5 + 4e-7, True), (0.5 + 6e-7, False), (0.0, False)])
def test_figures_agree_but_for_rounding(reported: float, agrees: bool) -> None:
    """A difference of one millionth is rounding, in tokens or cost; 0 and almost 0 agree."""
    assert reconciliation("acme", reported_cost=reported).agrees == agrees
    assert reconciliation("acme", replayed_cost=1e-17, reported_cost=0).agrees
    assert not reconciliation("acme", reported_tokens=6).agrees


@pytest.fixture
def version_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a state of schema version 1: two traces delivered to jaeger, one window finished."""
    directory = tmp_path / "state"
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        with StateStore.open(directory, FakeClock()) as store:
            store.lane("s", "jaeger")
            store.lane("s", "tempo")
    execute(
        directory,
        "UPDATE lane SET delivered = 7, traces = 2 WHERE destination = 'jaeger'",
        "INSERT INTO trace SELECT id, 'a', 0, 1, x'31', x'' FROM lane WHERE destination = 'jaeger'",
        f"INSERT INTO trace SELECT id, 'b', {2 * HOUR_NS}, 1, x'31', x'' FROM lane WHERE destination = 'jaeger'",
        "INSERT INTO finished SELECT id, 0, 9, 1 FROM query WHERE lane = 1",
    )
    return directory


def execute(directory: Path, *statements: str) -> None:
    """Change the database behind the bridge's back, as after a crash: without a sum."""
    with closing(sqlite3.connect(directory / "state.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    (directory / "sum").unlink(missing_ok=True)


def test_a_state_of_version_one_is_read_before_it_is_brought_up_to_date(version_one: Path) -> None:
    """``status`` does not migrate: it shows an older state as it is."""
    before = (version_one / "state.db").read_bytes()
    jaeger, _ = read_status(version_one).lanes
    assert (jaeger.delivered, jaeger.traces, jaeger.reconciled) == (7, 2, ())
    assert (version_one / "state.db").read_bytes() == before


@pytest.mark.parametrize(
    ("more", "expected_ns"),
    [
        ("UPDATE query SET watermark_ns = NULL", 3 * HOUR_NS),
        (f"UPDATE query SET watermark_ns = {5 * HOUR_NS}", 6 * HOUR_NS),
        (f"UPDATE finished SET end_ns = {7 * HOUR_NS}", 8 * HOUR_NS),
    ],
)
def test_what_version_one_delivered_is_not_in_the_sums(version_one: Path, more: str, expected_ns: int) -> None:
    """Sums begin one hour after everything that an older version delivered; no progress is lost."""
    execute(version_one, more)

    def summed_from_ns(destination: str) -> int | None:
        with StateStore.open(version_one, FakeClock()) as store:
            return store.lane("s", destination).summed_from_ns()

    with StateStore.open(version_one, FakeClock()) as store:
        lane = store.lane("s", "jaeger")
        assert set(lane.known(["a", "b"])) == {"a", "b"}
        assert (len(lane.finished()), lane.trace_cost("a")) == (1, TraceCost())
        lane.commit(Progress(traces=[trace("a", HourCost("acme", HOUR_NS, 2, 1, 0.5))]), 2)
        assert lane.tenant_cost("acme", ALL) == (2, 0.5)
        assert store.lanes()[0].delivered == 7
    assert (summed_from_ns("jaeger"), summed_from_ns("new")) == (expected_ns, None)
    reset(version_one, "jaeger", HOUR_NS // 2, FakeClock())
    assert summed_from_ns("jaeger") == 2 * HOUR_NS
    reset(version_one, "jaeger", None, FakeClock())
    assert summed_from_ns("jaeger") is None
