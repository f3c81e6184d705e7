"""``run``, killed and stopped under traffic, keeps P1, P2 and P3 over all its lives, and leaves little unrecorded.

Recorded spans are compared by checksum, to tell a version that was acknowledged but not recorded from the one before
it.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge.deliver import checksum
from tests.support import strace
from tests.support.compare import Key
from tests.support.fake_destination import FakeDestination
from tests.support.judging_destination import JudgingDestination
from tests.support.kills import CALLS, every, hung_up
from tests.support.oracle import MS, happened, stored_by
from tests.support.rig import Rig, recorded, running_rig
from tests.support.warm import Warm

pytestmark = pytest.mark.faults

MOST = 40
"""Kill points of a run, unless all are asked for."""
BATCH_SPANS = 8
ANSWER_S = 0.04
"""Time that a slow destination takes for a request: longer than a transaction takes."""
MOST_UNRECORDED = 12
"""Requests to a slow destination that may be acknowledged but unrecorded at a kill: one in flight, and those that were
acknowledged during one transaction, on a disk that takes half a second for it.
"""


class Lives:
    """Several lives of ``run`` with one state, one Netra and one destination; ``allowed`` spans may come again."""

    def __init__(self, rig: Rig, warm: Warm, fake: FakeDestination) -> None:
        self.rig = rig
        self.fake = fake
        self.allowed: Counter[Key] = Counter()
        self._warm = warm
        self._left: set[tuple[Key, int]] = set()
        self._rounds = 0
        self._looked = (-1, -1)
        self._whole = False

    def feed(self, traces: int, spans: int) -> None:
        """Feed traces of the last minute."""
        self.rig.feed(traces, spans, start_ns=time.time_ns() - 60_000 * MS, every_ns=10 * MS)

    def more(self) -> None:
        """Feed what comes during a run: a new trace, a late span of an old trace, another version of a span."""
        oracle, netra = self.rig.oracle, self.rig.netra
        ids = oracle.trace_ids
        self._rounds += 1
        self.feed(1, 3)
        oracle.feed(netra, oracle.late(ids[self._rounds % len(ids)]))
        oracle.feed(netra, oracle.change([oracle.span_ids(ids[-self._rounds % len(ids)])[1]]))

    def is_whole(self) -> bool:
        """Return whether the destination has the newest version of everything."""
        look = len(self.fake.stored), self.rig.oracle.step
        if look != self._looked:
            self._looked = look
            verdict = self.rig.oracle.verdict(stored_by(list(self.fake.stored)))
            self._whole = not (verdict.missing or verdict.altered)
        return self._whole

    def growing(self, rounds: int) -> Callable[[], bool]:
        """Return a condition: feed more, ``rounds`` times, whenever all is delivered; hold once the last of it is delivered."""
        left = iter(range(rounds))

        def holds() -> bool:
            if self.is_whole() and next(left, None) is not None:
                self.more()
            return self.is_whole()

        return holds

    def live(self, **options: Any) -> int:
        """Run one life and return how it ended; what it left unrecorded may come again. SIGTERM before its first call
        may go unheard.
        """
        env = {"NETRA_BRIDGE_BATCH_SPANS": str(BATCH_SPANS), "OTEL_EXPORTER_PROMETHEUS_PORT": "0"}
        calls = self.rig.calls()
        arguments = self.rig.following(self.fake.http_url)
        result = self._warm.run(*arguments, env=self.rig.environment(**env), **options)
        hung_up(self.fake.http_port)
        unheard = result.code in (75, -2, -15) and self.rig.calls() == calls
        assert result.code in (0, -9) or unheard, f"{result.code}\n{result.err}"
        before, self._left = self._left, self.unrecorded()
        left = {key for key, _ in self._left - before}
        assert not left or result.code == -9, f"answered and not recorded, though it ended in order: {left}"
        self.allowed.update(left)
        return result.code

    def unrecorded(self) -> set[tuple[Key, int]]:
        """Return the spans that the destination has and the state does not record, and how often it has them."""
        versions: dict[Key, list[int]] = {}
        for request in list(self.fake.stored):
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        key = (span.trace_id.hex(), span.span_id.hex())
                        versions.setdefault(key, []).append(checksum(span.SerializeToString()))
        known = recorded(self.rig.state, self.rig.oracle.trace_ids)
        early = [key for key, checksum in known.items() if checksum not in versions.get(key, ())]
        assert not early, f"recorded before it was delivered: {early}"
        return {(key, len(sent)) for key, sent in versions.items() if known.get(key) != sent[-1]}

    def ended(self) -> None:
        """Run a last life without faults, then assert P1 and P3 to the letter, and that only allowed spans were repeated."""
        assert self.live(term_when=self.growing(1)) == 0
        verdict = self.rig.oracle.assert_kept(stored_by(self.fake.stored), repeats=self.allowed.total())
        assert not verdict.repeated - self.allowed, f"repeated, though recorded: {verdict.repeated - self.allowed}"


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Warm]:
    with Warm(tmp_path) as running:
        yield running


@contextmanager
def lives(warm: Warm, directory: Path, fake: FakeDestination | None = None) -> Iterator[Lives]:
    """Yield lives with a Netra, a destination and a state of their own."""
    directory.mkdir()
    with running_rig(directory) as rig, fake or FakeDestination() as taking:
        yield Lives(rig, warm, taking)


def test_run_kill_9_at_every_instant(warm: Warm, tmp_path: Path) -> None:
    """P1 to P3 hold for a kill at every call that changes a disk or talks to a peer, while spans are new, late and changed."""
    strace.needed()
    log = tmp_path / "log"
    with lives(warm, tmp_path / "whole") as story:
        story.feed(8, 4)
        assert story.live(strace=strace.counting(CALLS, log), term_when=story.growing(2)) == 0
    points = strace.points(log, CALLS)
    happened("a transaction", sum(point.call == "fdatasync" for point in points) > 3)
    kills: list[int] = []

    def check(point: Any) -> None:
        with lives(warm, tmp_path / str(point)) as story:
            story.feed(8, 4)
            if story.live(strace=strace.killing(point), term_when=story.growing(2)) == -9:
                kills.append(len(story.allowed))
            story.ended()

    chosen = strace.sample(points, MOST)
    every(chosen, check)
    happened("kills", len(kills) > len(chosen) // 2)
    happened("a kill with everything recorded", not all(kills))
    if chosen == points:
        happened("a kill between delivering and recording", any(kills))


def test_run_kill_9_and_sigterm_at_random_moments(warm: Warm, tmp_path: Path) -> None:
    """Several lives under traffic lose nothing; after SIGTERM every acknowledged span is recorded, and the exit code is 0."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    codes: Counter[int] = Counter()
    ends = ["kill_when", "term_when"] * 12
    chance.shuffle(ends)
    for number in range(6):
        with lives(warm, tmp_path / str(number)) as story:
            story.feed(30, 4)
            for _ in range(4):
                codes[story.live(**{ends.pop(): traffic_until(story, chance.uniform(0.05, 0.7))})] += 1
            story.ended()
    happened("kills and orderly stops", codes[-9] > 3 and codes[0] > 3)


def traffic_until(story: Lives, seconds: float) -> Callable[[], bool]:
    """Return a condition that holds ``seconds`` after a life's first call to Netra, and feeds more every 50 ms until then."""
    calls = story.rig.calls()
    began: list[float] = []
    fed = iter(range(1, 1000))
    due_s = [0.05]

    def holds() -> bool:
        if not began:
            if story.rig.calls() == calls:
                return False
            began.append(time.monotonic())
        passed = time.monotonic() - began[0]
        if passed > due_s[0] and passed < seconds:
            due_s[0] = 0.05 * (1 + next(fed))
            story.more()
        return passed >= seconds

    return holds


def test_run_a_kill_leaves_little_unrecorded(warm: Warm, tmp_path: Path) -> None:
    """Progress is recorded all along; a lane that records only at the end of a pass would leave everything unrecorded."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moment = 25 + random.Random(seed).randrange(15)
    slow = JudgingDestination(lambda _: time.sleep(ANSWER_S))  # type: ignore[func-returns-value]
    with lives(warm, tmp_path / "one", slow) as story:
        story.feed(100, 4)
        assert story.live(kill_when=lambda: len(story.fake.stored) >= moment) == -9
        happened("much was delivered", len(stored_by(story.fake.stored)) > 2 * MOST_UNRECORDED * BATCH_SPANS)
        assert len(story.allowed) <= MOST_UNRECORDED * BATCH_SPANS
        story.ended()
