"""Commands and the service while a clock is wrong; the first test is the attack that found the fault."""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge import Bridge
from netra_otel_bridge.core.clock import SystemClock
from netra_otel_bridge.core.model.progress import Progress
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.fault_table import FAULTS
from netra_otel_bridge.emulator.faults import Faults
from netra_otel_bridge.state import StateStore
from tests.support import cli
from tests.support.clocks import FastClock
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.waiting import until
from tests.unit.test_service import KEY, Kept, a_few_polls, feed, running, trace

pytestmark = pytest.mark.faults

HOUR, DAY, YEAR = 3600, 86_400, 31_536_000
AWAY_S = 30 * HOUR
SPEED = 10


def told(netra: ThreadedEmulator, *faults: str) -> None:
    netra.call(lambda: netra.emulator.use_faults(Faults(faults, FAULTS)))


def bridge_at(netra: ThreadedEmulator, state: Path, off_s: float) -> Bridge:
    """Return a bridge on a machine whose clock is ``off_s`` off and ten times as fast."""
    given: dict[str, Any] = {"api_key": KEY, "poll": "1s", "settle": "0s", "http_port": 0, "state": str(state)}
    return Bridge(environ={}, endpoint=netra.endpoint, clock=FastClock(off_s, SPEED), **given)


@pytest.mark.parametrize("every", [1, 2], ids=["each answer", "one server of two"])
async def test_a_date_ten_years_ahead_for_13_seconds_then_30_hours_away(tmp_path: Path, every: int) -> None:
    """Each trace is delivered once; meanwhile the service says that the clocks disagree, and its lag stays true."""
    numbers = range(1, 60)
    mine = Kept()
    with running_emulator(EmulatorOptions(port=0, api_key=KEY)) as netra:
        feed(netra, *trace(1, ago_s=AWAY_S + 60))
        told(netra, f"date={-AWAY_S}")
        async with running(bridge_at(netra, tmp_path / "state", -AWAY_S), mine, since_s=HOUR) as service:
            await until(lambda: len(mine.spans) == 3)
            told(netra, f"date={-AWAY_S}", f"date={10 * YEAR},{every}")
            await until(lambda: bool(service.health().clock.problem))
            began_s = time.monotonic()
            while time.monotonic() - began_s < 13 / SPEED:
                await a_few_polls(service)
                health = service.health()
                assert not health.ready
                assert -1 <= (health.now_ns - health.lanes[0].watermark_ns) / 1e9 < 60
            told(netra, f"date={-AWAY_S}")
            await a_few_polls(service)
        told(netra, f"date={10 * YEAR}")
        async with running(bridge_at(netra, tmp_path / "state", -AWAY_S), mine, since_s=0) as service:
            await a_few_polls(service)
            health = service.health()
            assert health.clock.problem
            assert -60 <= (health.now_ns - health.lanes[0].watermark_ns) / 1e9 < 3600, "believed at once, and yet"
        for number in numbers[1:]:
            feed(netra, *trace(number, ago_s=AWAY_S - 60 - 1800 * (number - 2)))
        told(netra)
        async with running(bridge_at(netra, tmp_path / "state", 0), mine, since_s=0) as service:
            await until(lambda: len(mine.ids()) >= 3 * len(numbers))
            await a_few_polls(service)
    assert mine.ids() == Counter(100 * number + n for number in numbers for n in range(3))


@pytest.mark.parametrize(("off_s", "warns"), [(-DAY, "ahead of"), (DAY, "behind"), (30, "")])
async def test_a_replay_warns_of_a_wrong_clock(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, off_s: int, warns: str
) -> None:
    """A range relative to now is by this machine's clock, so a replay says if that is a minute off or more."""
    with running_emulator(EmulatorOptions(port=0, api_key=KEY)) as netra:
        bridge = Bridge(environ={}, endpoint=netra.endpoint, api_key=KEY, clock=FastClock(off_s))
        with caplog.at_level(logging.WARNING, "netra_otel_bridge"):
            await bridge.areplay(since="1h", to=[Kept()])
    assert [warns in line for line in caplog.messages if "this machine's" in line] == ([True] if warns else [])


async def test_a_replay_does_not_trust_a_watermark_in_the_future(tmp_path: Path) -> None:
    """A time that no lane followed is read, although an older version recorded a later watermark."""
    mine = Kept()
    with running_emulator(EmulatorOptions(port=0, api_key=KEY)) as netra:
        feed(netra, *trace(1, ago_s=10 * DAY))
        bridge = Bridge(environ={}, endpoint=netra.endpoint, api_key=KEY, state=str(tmp_path / "state"))
        await bridge.areplay(since="1h", to=[mine])
        now_ns = time.time_ns()
        with closing(StateStore.open(tmp_path / "state", SystemClock())) as store:
            (status,) = store.lanes()
            lane = store.lane(status.source, status.destination)
            lane.follow_from(now_ns - 30 * DAY * 10**9)
            lane.commit(Progress(watermark_ns=now_ns + 10 * YEAR * 10**9), now_ns - 20 * DAY * 10**9)
        await bridge.areplay(since="15d", to=[mine])
    assert len(mine.spans) == 3


def test_the_status_says_that_a_lane_was_followed_into_the_future(tmp_path: Path) -> None:
    """A lag below zero is shown as such, with a line that says what it means."""
    now_ns = time.time_ns()
    with closing(StateStore.open(tmp_path / "state", SystemClock())) as store:
        store.lane("https://api.example", "jaeger").commit(Progress(watermark_ns=now_ns + 2 * DAY * 10**9), now_ns)
    shown = cli.run("status", "--state", str(tmp_path / "state"), env={})
    assert "jaeger: followed to a time in the future" in shown.out
    assert "-47h59m" in shown.out
    (lane,) = cli.run("status", "--json", "--state", str(tmp_path / "state"), env={}).json["destinations"]
    assert lane["lag_seconds"] < -DAY
