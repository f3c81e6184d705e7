"""P1 and P2 hold after each step of a lane that follows live traffic under every fault at once.

Hypothesis writes the story: traces that start, come late, change or cannot be shown; requests that are accepted, rejected in part, sent
back or accepted without an answer; Netra failing; the process killed at a request or around a transaction; restarts,
resets, dead letters sent again, a clock that jumps. The lane, its paging, its sender and its SQLite state are real.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.model.outcome import (
    PartlyRefused,
    Refused,
    Retry,
    SpanBatch,
    TooLarge,
)
from netra_otel_bridge.core.packed_checksums import unpack_spans
from netra_otel_bridge.emulator.store import Store
from netra_otel_bridge.pipeline import delivering
from netra_otel_bridge.pipeline.held_back import PAUSE, RETRIES
from netra_otel_bridge.source import pages
from netra_otel_bridge.state import read_status, reset
from tests.support.compare import Key
from tests.support.fake_clock import FakeClock
from tests.support.in_process import (
    BATCH_SPANS,
    LOOKBACK_NS,
    PEER,
    SETTLE_NS,
    Decision,
    Judge,
    Life,
    Netra,
    Peer,
    accept,
    keys_of,
)
from tests.support.oracle import MS, Oracle

pytestmark = pytest.mark.faults

HOUR_NS = 3600 * NS_PER_S
POLL_NS = 30 * NS_PER_S
MOST_UNRECORDED = 3 * BATCH_SPANS
"""Spans that may be acknowledged but unrecorded when the process dies: those of a batch in flight and of one transaction."""


JUDGES: dict[str, Judge] = {
    "accept": accept,
    "down": lambda _: Decision(Retry("down"), stores=False),
    "reply lost": lambda _: Decision(Retry("reply lost"), is_lost=True),
    "partly refused": lambda batch: Decision(PartlyRefused(1 + len(batch.spans) // 2, "some")),
    "too large": lambda batch: Decision(TooLarge("large"), stores=False) if len(batch.spans) > 1 else Decision(),
    "killed before storing": lambda _: Decision(None, stores=False),
    "killed after storing": lambda _: Decision(None),
}


class Story(RuleBasedStateMachine):
    """The steps. ``allowed`` counts for each span how often it may come again."""

    windowing: ClassVar[Any] = "traces"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.scratch = Path(tempfile.mkdtemp(prefix="netra-machine-"))
        self.clock = FakeClock()
        self.true_ns = self.clock.start_ns
        self.oracle = Oracle(start_ns=self.clock.now_ns() - 600 * NS_PER_S)
        self.store = Store()
        self.netra = Netra(self.store, self.clock, self.windowing)
        self.peer = Peer()
        self.peer.judge = self.judge
        self.poison: set[Key] = set()
        self.allowed: Counter[Key] = Counter()
        self.since_ns = self.clock.now_ns() - 2 * HOUR_NS
        self.watermark_ns = 0
        self.life = self.born()

    def judge(self, batch: SpanBatch) -> Decision:
        """Reject a poisoned span, whatever the plan says."""
        return Decision(Refused("poison"), stores=False) if self.poison.intersection(keys_of(batch)) else Decision()

    def born(self) -> Life:
        return Life(self.scratch / "state", self.netra, self.peer, self.clock, self.since_ns, POLL_NS)

    def teardown(self) -> None:
        try:
            self.catch_up()
        finally:
            self.loop.run_until_complete(self.life.stop())
            self.loop.close()
            shutil.rmtree(self.scratch)

    # Events at Netra.

    @initialize(traces=st.integers(1, 4), spans=st.integers(1, 7))
    def begin(self, traces: int, spans: int) -> None:
        self.produce(traces, spans, 40)

    @rule(
        traces=st.integers(1, 4),
        spans=st.integers(1, 7),
        age_s=st.sampled_from([0, 29, 40, 200, 400, 3000, 6000, 70_000]),
    )
    def produce(self, traces: int, spans: int, age_s: int) -> None:
        """Feed traces that started a while ago, some of them long before the watermark, or before following began."""
        start_ns = self.true_now_ns() - age_s * NS_PER_S
        self.oracle.feed(self.store, self.oracle.traces(traces, spans, start_ns=start_ns, every_ns=3 * MS))

    @rule(data=st.data(), spans=st.integers(1, 5), after_s=st.sampled_from([0, 1, 4000]))
    def late(self, data: st.DataObject, spans: int, after_s: int) -> None:
        trace_id = data.draw(st.sampled_from(self.oracle.trace_ids))
        keys = self.oracle.late(trace_id, spans, after_ns=MS + after_s * NS_PER_S)
        self.oracle.feed(self.store, keys)

    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        trace_id = data.draw(st.sampled_from(self.oracle.trace_ids))
        keys = data.draw(st.lists(st.sampled_from(self.oracle.span_ids(trace_id)), min_size=1, max_size=3, unique=True))
        self.oracle.feed(self.store, self.oracle.change(keys))

    @rule(data=st.data())
    def poisoned(self, data: st.DataObject) -> None:
        self.poison.add(data.draw(st.sampled_from(list(self.oracle.issued))))

    @rule(data=st.data(), count=st.integers(1, 3))
    def trace_breaks(self, data: st.DataObject, count: int) -> None:
        """Let Netra list some traces whose spans it cannot show."""
        for _ in range(count):
            self.netra.bad.add(data.draw(st.sampled_from(self.oracle.trace_ids)))

    @rule()
    def traces_are_mended(self) -> None:
        self.netra.bad.clear()

    # Events at the bridge.

    @rule(
        plan=st.lists(st.sampled_from(list(JUDGES)), max_size=6),
        fails_in=st.none() | st.integers(0, 12),
        dies_in=st.none() | st.integers(0, 4),
        after=st.booleans(),
    )
    def poll(self, plan: list[str], fails_in: int | None, dies_in: int | None, after: bool) -> None:
        """Poll once, while requests, a call to Netra, or the process itself may fail."""
        self.peer.plan.extend(partial(self.planned, JUDGES[name]) for name in plan)
        self.netra.fails_in = fails_in
        self.life.writer.dies_in, self.life.writer.after = dies_in, after
        self.polled()
        self.peer.plan.clear()
        self.netra.fails_in = self.life.writer.dies_in = None

    @rule(polls=st.integers(1, 12))
    def polls(self, polls: int) -> None:
        """Poll a few times without a fault."""
        for _ in range(polls):
            self.polled()

    @rule()
    def restart(self) -> None:
        self.loop.run_until_complete(self.life.stop())
        self.life = self.born()

    @rule(back_s=st.none() | st.sampled_from([0, 60, 5000, 80_000]))
    def reset(self, back_s: int | None) -> None:
        """Reset the lane, as an operator does: each span of a trace that starts there may come once more."""
        self.loop.run_until_complete(self.life.stop())
        from_ns = None if back_s is None else self.true_now_ns() - back_s * NS_PER_S
        known = [lane.destination for lane in self.lanes()]
        if known:
            reset(self.scratch / "state", PEER, from_ns, self.clock)
            self.allowed.update(key for key in self.peer.sent.keys if from_ns is None or self.start_ns(key) >= from_ns)
            self.since_ns = min(self.since_ns, self.since_ns if from_ns is None else from_ns)
        self.life = self.born()
        self.watermark_ns = self.life.recorder.lane.watermark_ns() or 0

    @rule(jump_s=st.sampled_from([-90_000, -4000, -60, 60, 4000, 80_000]))
    def clock_jumps(self, jump_s: int) -> None:
        self.clock.start_ns = self.true_ns + jump_s * NS_PER_S

    @precondition(lambda self: self.clock.start_ns == self.true_ns)
    @rule(seconds=st.sampled_from([1, 45, 400, 5000]))
    def time_passes(self, seconds: int) -> None:
        self.clock.elapsed_s += seconds

    @rule()
    def catch_up(self) -> None:
        """End all faults: after one poll following a restart, nothing within reach is missing, and nothing stays held back."""
        self.netra.bad.clear()
        self.clock.start_ns = self.true_ns
        self.clock.elapsed_s += SETTLE_NS / NS_PER_S + 8
        self.restart()
        reach_ns = min(self.life.recorder.lane.watermark_ns() or self.since_ns, self.true_now_ns()) - LOOKBACK_NS
        assert self.polled(), "a poll in which nothing goes wrong"
        start_ns, end_ns = self.covered()
        assert start_ns <= max(self.since_ns, reach_ns)
        assert end_ns >= self.true_now_ns() - SETTLE_NS - NS_PER_S
        for _ in range(-(-len(self.held()) // RETRIES)):
            self.clock.elapsed_s += PAUSE.max_s
            assert self.polled()
        assert not self.held()

    # Rules that must hold.

    @invariant()
    def nothing_is_invented_and_repeats_are_bounded(self) -> None:
        """P2 and P3 hold at every moment."""
        verdict = self.oracle.verdict(self.peer.sent, due=())
        assert not verdict.invented, verdict
        assert not verdict.altered, verdict
        allowed = self.allowed + Counter(key for request in self.peer.lost for key in request)
        flood = verdict.repeated - allowed
        assert not flood, f"{flood} came again for no reason"

    def polled(self) -> bool:
        """Poll once and check P1; return whether the poll completed without an error."""
        visible_step = self.oracle.step
        passes = self.life.follower.health().passes
        self.netra.asked.clear()
        lives = self.loop.run_until_complete(self.life.poll())
        if not lives:
            self.reborn()
        watermark_ns = self.life.recorder.lane.watermark_ns() or 0
        finished = lives and self.life.follower.health().passes > passes
        if self.netra.asked:
            start_ns, end_ns = self.covered()
            until_ns = end_ns if finished else watermark_ns if watermark_ns > self.watermark_ns else start_ns
            self.kept(start_ns, until_ns, visible_step)
        assert watermark_ns >= self.watermark_ns, "progress went back"
        self.watermark_ns = watermark_ns
        return finished

    def reborn(self) -> None:
        """Start again after a crash: unrecorded spans are bounded and may come again; nothing is recorded that was never sent."""
        stored = list(self.peer.stored)
        self.life = self.born()
        recorded = {
            (trace_id, f"{span_id:016x}"): checksum
            for trace_id in self.oracle.trace_ids
            for span_id, checksum in unpack_spans(self.life.recorder.lane.spans(trace_id)).items()
        }
        early = recorded.keys() - self.peer.sent.keys - self.dead()
        assert not early, f"recorded before it was delivered: {early}"
        last = {key: checksum for request in stored for key, checksum in request.items()}
        unrecorded = {key for key, checksum in last.items() if recorded.get(key) != checksum}
        self.allowed.update(unrecorded)
        assert len(unrecorded) <= MOST_UNRECORDED, f"{len(unrecorded)} spans were answered and not recorded"

    def kept(self, start_ns: int, end_ns: int, step: int) -> None:
        """Check P1: each span that Netra listed in a finished window is delivered, or a dead letter, or its trace is held back."""
        held = self.held()
        due = [key for key in self.oracle.issued if key[0] not in held and start_ns <= self.listed_at_ns(key) < end_ns]
        verdict = self.oracle.verdict(self.peer.sent, dead=self.dead_documents(), due=due, until_step=step)
        assert not verdict.missing, f"the checkpoint is at {end_ns}\n{verdict}"
        assert not verdict.altered, f"the checkpoint is at {end_ns}\n{verdict}"

    def listed_at_ns(self, key: Key) -> int:
        """Return the time at which a list shows this span: its own start, or that of its trace."""
        return self.oracle.start_ns(key if self.windowing == "spans" else self.oracle.span_ids(key[0])[0])

    # Helpers.

    def planned(self, judge: Judge, batch: SpanBatch) -> Decision:
        judged = self.judge(batch)
        return judge(batch) if judged.stores else judged

    def covered(self) -> tuple[int, int]:
        return min(start for start, _ in self.netra.asked), max(end for _, end in self.netra.asked)

    def true_now_ns(self) -> int:
        return self.true_ns + int(self.clock.elapsed_s * NS_PER_S)

    def start_ns(self, key: Key) -> int:
        return min(self.oracle.start_ns(one) for one in self.oracle.span_ids(key[0]))

    def lanes(self) -> Any:
        return read_status(self.scratch / "state").lanes

    def dead_documents(self) -> Iterable[str]:
        return [stored.letter.document for stored in self.life.recorder.lane.dead_letters(limit=10_000)]

    def held(self) -> set[str]:
        return {held.summary.id for held in self.life.recorder.lane.held_back()}

    def dead(self) -> set[Key]:
        letters = self.life.recorder.lane.dead_letters(limit=10_000)
        return {(stored.letter.trace_id, stored.letter.span_id) for stored in letters}


class ListedBySpans(Story):
    """The story with a Netra that lists a trace wherever any of its spans starts, and sums up only that part."""

    windowing = "spans"


SHRINKS = "NETRA_TEST_SHRINK"
"""The environment variable that makes a failing story as short as possible, which takes minutes."""
PROFILE = settings(
    max_examples=60, stateful_step_count=25, deadline=None, database=None, print_blob=True,
    phases=[Phase.generate, Phase.shrink] if os.environ.get(SHRINKS) else [Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Use pages of three, so that short stories page; do not wait, at a stop, for a request that never ends; write no logs."""
    caplog.set_level("CRITICAL", "netra_otel_bridge")
    monkeypatch.setattr(pages, "PAGE_LIMIT", 3)
    monkeypatch.setattr(delivering, "DRAIN_S", 0.1)


@pytest.mark.parametrize("machine", [Story, ListedBySpans])
def test_nothing_is_lost_or_flooded_whatever_happens(machine: type[Story]) -> None:
    """P1, P2 and P3 after each step of every story."""
    gc.collect()  # CPython 3.11 fails with a SystemError if garbage is finalized while it parses this file
    run_state_machine_as_test(machine, settings=PROFILE)
