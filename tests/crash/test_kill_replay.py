"""``replay --state``, killed at every instant and run again, keeps P1, P2 and P3, and frees the lock."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import strace
from tests.support.cli import Result
from tests.support.fake_destination import FakeDestination
from tests.support.kills import CALLS, Crash, assert_resumed, every, hung_up
from tests.support.oracle import Sent, happened, stored_by, written_to
from tests.support.rig import Rig, running_rig
from tests.support.warm import Warm

pytestmark = pytest.mark.faults

MOST = 60
"""Kill points of a run, unless all are asked for."""


class Replays:
    """Replays to a new destination with a new state, as often as a test asks for one."""

    def __init__(self, rig: Rig, warm: Warm, fake: FakeDestination | None) -> None:
        self.rig = rig
        self._warm = warm
        self._fake = fake
        self._number = 0
        self.fresh()

    def fresh(self) -> None:
        """Forget what was delivered and recorded."""
        self._number += 1
        self.state = self.rig.directory / f"state-{self._number}"
        self._path = self.rig.directory / f"out-{self._number}.jsonl"
        if self._fake is not None:
            self._fake.stored.clear()

    def run(self, **options: Any) -> Result:
        to = f"otlp-file:{self._path}" if self._fake is None else self._fake.http_url
        arguments = self.rig.arguments(to, "--state", str(self.state))
        return self._warm.run(*arguments, env=self.rig.environment(NETRA_BRIDGE_BATCH_SPANS="8"), **options)

    def sent(self) -> Sent:
        return written_to(self._path) if self._fake is None else stored_by(self._fake.stored)

    def killed(self, **options: Any) -> Crash | None:
        """Run and kill a replay; return ``None`` if it ended before."""
        result = self.run(**options)
        assert result.code in (0, -9), result.err
        if self._fake is not None:
            hung_up(self._fake.http_port)
        return Crash.left(self.rig.oracle, self.sent(), self.state) if result.code else None

    def resumed(self, *crashes: Crash) -> None:
        result = self.run()
        assert_resumed(self.rig.oracle, crashes, self.sent(), result)


@pytest.fixture(params=["file", "http"])
def replays(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Replays]:
    with ExitStack() as stack:
        rig = stack.enter_context(running_rig(tmp_path))
        rig.feed(12, 4)
        warm = stack.enter_context(Warm(tmp_path))
        fake = stack.enter_context(FakeDestination()) if request.param == "http" else None
        yield Replays(rig, warm, fake)


def test_kill_9_at_every_instant(replays: Replays) -> None:
    """P1 to P3 hold for a kill at every call of any thread that changes a disk or talks to a peer."""
    strace.needed()
    log = replays.rig.directory / "log"
    assert replays.run(strace=strace.counting(CALLS, log)).code == 0
    points = strace.points(log, CALLS)
    happened("a transaction", sum(point.call == "fdatasync" for point in points) > 3)
    killed: list[Crash] = []

    def check(point: Any) -> None:
        replays.fresh()
        crash = replays.killed(strace=strace.killing(point))
        if crash is not None:
            killed.append(crash)
            replays.resumed(crash)

    chosen = strace.sample(points, MOST)
    every(chosen, check)
    happened("kills", len(killed) > len(chosen) // 2)
    happened("a kill with something recorded", any(crash.recorded for crash in killed))
    if chosen == points:
        happened("a kill between delivering and recording", any(crash.unrecorded for crash in killed))


def test_kill_9_at_random_moments_again_and_again(replays: Replays) -> None:
    """P1 to P3 hold if one replay is killed up to four times before it may end."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    kills = 0
    for _ in range(12):
        replays.fresh()
        crashes = []
        for _ in range(chance.randint(1, 4)):
            moment = time.monotonic() + chance.uniform(0.02, 0.2)
            crash = replays.killed(kill_when=lambda moment=moment: time.monotonic() > moment)
            crashes += [crash] if crash is not None else []
        kills += len(crashes)
        replays.resumed(*crashes)
    happened("kills", kills > 8)
