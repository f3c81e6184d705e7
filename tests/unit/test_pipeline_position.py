"""A lane follows live traffic while Netra's clock or this machine's is wrong: nothing is skipped, nothing comes twice."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from netra_otel_bridge.core.clock import HOUR_NS, NS_PER_S
from netra_otel_bridge.core.model.progress import Progress
from netra_otel_bridge.emulator.store import Store
from netra_otel_bridge.state import StateStore
from tests.support.examples import size, some, spread
from tests.support.fake_clock import FakeClock
from tests.support.in_process import LOOKBACK_NS, PEER, SETTLE_NS, Life, Netra, Peer
from tests.support.oracle import MS, Oracle

POLL_S = 30
MINUTE, HOUR, DAY, YEAR = 60, 3600, 86_400, 31_536_000
JUMPS_S = (10 * YEAR, -YEAR, HOUR, -DAY, -10 * YEAR, -HOUR, -5 * MINUTE, 5 * MINUTE, 30 * HOUR, YEAR)
COMES = size(8, 50)
LOGGER = "netra_otel_bridge"


class World:
    """A lane, a Netra, and two clocks: Netra's is ``netra_off_s`` off, at every ``every``-th answer."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.scratch = Path(tempfile.mkdtemp(prefix="netra-position-"))
        self.clock = FakeClock()
        self.start_ns = self.clock.start_ns
        self.since_ns = self.start_ns - HOUR_NS
        self.netra_off_s = 0
        self.every = 1
        self.answers = 0
        self.oracle = Oracle(start_ns=self.start_ns)
        self.store = Store()
        self.netra = Netra(self.store, self.clock)
        self.netra.date_ns = self.date_ns
        self.peer = Peer()
        self.life = self.born()

    def born(self) -> Life:
        return Life(self.scratch / "state", self.netra, self.peer, self.clock, self.since_ns, POLL_S * NS_PER_S)

    def close(self) -> None:
        self.loop.run_until_complete(self.life.stop())
        self.loop.close()
        shutil.rmtree(self.scratch)

    def real_ns(self) -> int:
        return self.start_ns + int(self.clock.elapsed_s * NS_PER_S)

    def date_ns(self) -> int:
        self.answers += 1
        off_s = 0 if self.answers % self.every else self.netra_off_s
        return (self.real_ns() + off_s * NS_PER_S) // NS_PER_S * NS_PER_S

    def own_off(self, seconds: int) -> None:
        self.clock.start_ns = self.start_ns + seconds * NS_PER_S

    def produce(self, traces: int = 1) -> None:
        self.oracle.feed(self.store, self.oracle.traces(traces, 2, start_ns=self.real_ns(), every_ns=3 * MS))

    def poll(self, polls: int = 1) -> None:
        for _ in range(polls):
            assert self.loop.run_until_complete(self.life.poll())

    def away(self, hours: float) -> None:
        """Stop for some hours, in which a trace comes each half hour at most `COMES` times, and start again."""
        self.loop.run_until_complete(self.life.stop())
        traces = min(COMES, int(2 * hours))
        for _ in range(traces):
            self.clock.elapsed_s += hours * HOUR / traces
            self.produce()
        self.life = self.born()

    def watermark_ns(self) -> int:
        return self.life.recorder.lane.watermark_ns() or 0

    def missing(self, before_ns: int) -> list[Any]:
        due = [key for key in self.oracle.issued if self.since_ns <= self.oracle.start_ns(key) < before_ns]
        return list(self.oracle.verdict(self.peer.sent, due=due).missing)

    def repeated(self) -> Any:
        return self.oracle.verdict(self.peer.sent, due=()).repeated

    def catch_up(self) -> None:
        """Set both clocks right; a poll after a start delivers all that came."""
        self.netra_off_s, self.every = 0, 1
        self.own_off(0)
        self.poll(2)
        self.clock.elapsed_s += SETTLE_NS / NS_PER_S + 8
        self.away(0)
        self.poll(2)
        assert self.missing(self.real_ns() - SETTLE_NS - NS_PER_S) == []
        assert abs(self.watermark_ns() - self.real_ns()) < 2 * MINUTE * NS_PER_S


@contextmanager
def world() -> Iterator[World]:
    made = World()
    with closing(made):
        made.produce()
        made.poll(3)
        yield made


@pytest.mark.parametrize("jump_s", some(4, JUMPS_S))
@pytest.mark.parametrize("polls", some(1, [30, 1]))
@pytest.mark.parametrize("which", ["netra", "own"])
def test_a_clock_jumps_then_the_service_is_away_for_30_hours(jump_s: int, polls: int, which: str) -> None:
    """A clock that is wrong for a while, or long enough to be believed, costs nothing, even after a long absence."""
    with world() as it:
        if which == "netra":
            it.netra_off_s = jump_s
        else:
            it.own_off(jump_s)
        for _ in range(polls):
            it.produce()
            it.poll()
        assert it.watermark_ns() <= it.real_ns()
        it.netra_off_s = 0
        it.own_off(0)
        it.poll()
        it.away(30)
        it.catch_up()
        assert not it.repeated()


@pytest.mark.parametrize(("which", "jump_s"), spread(2, ["netra", "own"], JUMPS_S))
def test_a_start_while_a_clock_is_wrong(which: str, jump_s: int) -> None:
    """The first poll prunes: with a wrong clock it forgets nothing that a later poll would send again."""
    with world() as it:
        it.produce(5)
        it.clock.elapsed_s += 2 * MINUTE
        it.poll()
        if which == "netra":
            it.netra_off_s = jump_s
        else:
            it.own_off(jump_s)
        it.away(1)
        it.poll(3)
        it.catch_up()
        assert not it.repeated()


@pytest.mark.parametrize("behind_s", [HOUR, DAY])
def test_a_machine_whose_clock_is_behind_follows_what_is_new(behind_s: int) -> None:
    """New traces arrive at once, with few calls, although the watermark waits for this machine's clock."""
    with world() as it:
        it.own_off(-behind_s)
        it.poll(2)
        for _ in range(20):
            it.produce()
            it.clock.elapsed_s += HOUR
            it.netra.asked.clear()
            it.poll(1)
            asked_ns = sum(end_ns - start_ns for start_ns, end_ns in it.netra.asked)
            assert asked_ns <= 6 * HOUR_NS
        it.poll(2)
        assert it.missing(it.real_ns() - SETTLE_NS - POLL_S * NS_PER_S) == []


def damaged(it: World, watermark_ns: int, set_ns: int) -> None:
    """Write a state as an older version left it."""
    it.loop.run_until_complete(it.life.stop())
    with closing(StateStore.open(it.scratch / "state", it.clock)) as store:
        lane = store.lane(it.netra.base_url, PEER)
        lane.move_back(None, it.since_ns, it.real_ns())
        lane.commit(Progress(watermark_ns=watermark_ns), set_ns)


@pytest.mark.parametrize("ahead_s", [30 * HOUR, 10 * YEAR])
def test_a_watermark_that_an_older_version_recorded_ahead(ahead_s: int, caplog: pytest.LogCaptureFixture) -> None:
    """The watermark goes back to when it was recorded, with a warning; nothing is skipped, nothing is sent twice."""
    with world() as it:
        damaged(it, it.watermark_ns() + ahead_s * NS_PER_S, it.real_ns())
        with caplog.at_level(logging.WARNING, LOGGER):
            it.away(50)
            it.poll()
        (warning,) = [line for line in caplog.messages if "wrong clock" in line]
        assert "continuing from 2026-05-01T00:0" in warning
        it.catch_up()
        assert not it.repeated()


def test_a_watermark_ahead_that_this_machines_clock_supported() -> None:
    """If both clocks were wrong when it was recorded, following continues from the last trace that was delivered."""
    with world() as it:
        ahead_ns = it.watermark_ns() + 10 * YEAR * NS_PER_S
        damaged(it, ahead_ns, ahead_ns + NS_PER_S)
        it.away(50)
        it.poll()
        it.catch_up()
        assert not it.repeated()


def test_an_older_version_on_a_machine_whose_clock_was_behind() -> None:
    """The watermark was right and seems to lie ahead: going back lists no trace that may be forgotten."""
    with world() as it:
        watermark_ns = it.watermark_ns()
        damaged(it, watermark_ns, watermark_ns - 10 * YEAR * NS_PER_S)
        it.away(1)
        it.poll()
        assert it.watermark_ns() >= watermark_ns - 7 * LOOKBACK_NS
        it.catch_up()
        assert not it.repeated()


def test_a_start_in_the_future() -> None:
    """A lane that was told to begin at a time to come, by a clock that was ahead, begins when both clocks allow."""
    with closing(World()) as it:
        it.since_ns += DAY * NS_PER_S
        it.away(0)
        it.own_off(DAY)
        it.netra.fails_in = 0
        it.loop.run_until_complete(it.life.poll())
        assert it.netra.failed == 1, "the first call, so the lane began by this machine's clock"
        it.since_ns = it.life.recorder.lane.since_ns() or 0
        assert it.since_ns <= it.real_ns()
        it.produce()
        it.catch_up()


def test_a_clock_far_behind_sends_no_forgotten_trace_again() -> None:
    """Traces that were forgotten are not listed while a clock says that it is long ago."""
    with world() as it:
        it.away(30 * 24)
        it.poll()
        it.away(10 * 24)
        it.poll()
        assert (it.life.recorder.lane.pruned_ns() or 0) > it.since_ns + 30 * DAY * NS_PER_S
        it.netra_off_s = -20 * DAY
        for _ in range(150):
            it.poll()
        it.catch_up()
        assert not it.repeated()


class Story(RuleBasedStateMachine):
    """Clocks that jump while a lane polls, stops and starts. One clock is right at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.produce()
        self.world.poll()

    @rule(traces=st.integers(1, 3))
    def produce(self, traces: int) -> None:
        self.world.produce(traces)

    @rule(polls=st.integers(1, 6))
    def polls(self, polls: int) -> None:
        self.world.poll(polls)

    @rule(off_s=st.sampled_from([0, *JUMPS_S]), every=st.integers(1, 3))
    def netra_jumps(self, off_s: int, every: int) -> None:
        self.world.own_off(0)
        self.world.netra_off_s, self.world.every = off_s, every

    @rule(off_s=st.sampled_from([0, *JUMPS_S]))
    def this_machine_jumps(self, off_s: int) -> None:
        self.world.netra_off_s = 0
        self.world.own_off(off_s)

    @rule(seconds=st.sampled_from([5, 130, 1000, 9000]))
    def time_passes(self, seconds: int) -> None:
        self.world.clock.elapsed_s += seconds

    @rule(hours=st.sampled_from([0, 2, 30, 200]))
    def away(self, hours: int) -> None:
        self.world.away(hours)

    @invariant()
    def the_checkpoint_is_true(self) -> None:
        """What lies before the watermark is delivered, and the watermark is no later than the real time."""
        watermark_ns = self.world.watermark_ns()
        assert watermark_ns <= self.world.real_ns()
        assert self.world.missing(watermark_ns) == []

    @invariant()
    def nothing_comes_twice(self) -> None:
        assert not self.world.repeated()

    def teardown(self) -> None:
        try:
            self.world.catch_up()
            assert not self.world.repeated()
        finally:
            self.world.close()


class BothWrong(Story):
    """Both clocks may be wrong at once, so only P1 can hold: in the end, nothing is missing."""

    @rule(netra_s=st.sampled_from(JUMPS_S), own_s=st.sampled_from(JUMPS_S))
    def both_jump(self, netra_s: int, own_s: int) -> None:
        self.world.netra_off_s, self.world.every = netra_s, 1
        self.world.own_off(own_s)

    @invariant()
    def the_checkpoint_is_true(self) -> None:
        pass

    @invariant()
    def nothing_comes_twice(self) -> None:
        pass

    def teardown(self) -> None:
        try:
            self.world.catch_up()
        finally:
            self.world.close()


@pytest.mark.faults
@pytest.mark.parametrize("machine", [Story, BothWrong])
def test_nothing_is_skipped_whatever_the_clocks_do(machine: type[Story], caplog: pytest.LogCaptureFixture) -> None:
    """While one clock is right, P1 and P2 hold after each step; when both are wrong, nothing is missing in the end."""
    caplog.set_level("CRITICAL", LOGGER)
    profile = settings(
        max_examples=15, stateful_step_count=15, deadline=None, database=None, print_blob=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(machine, settings=profile)
