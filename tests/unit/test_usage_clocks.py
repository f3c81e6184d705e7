"""Usage is counted while Netra's clock or this machine's is wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge import Bridge
from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.usage.totals import UsageTotals
from tests.support.clocks import TwoClocks
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.examples import some
from tests.unit.test_usage_meter import KEY, World, as_totals

pytestmark = pytest.mark.faults

HOUR, DAY, YEAR = 3600, 86_400, 31_536_000


@pytest.fixture
def netra() -> Iterator[ThreadedEmulator]:
    with running_emulator(EmulatorOptions(port=0, api_key=KEY)) as emulator:
        yield emulator


def world_of(netra: ThreadedEmulator, directory: Path, **options: Any) -> tuple[World, TwoClocks]:
    world = World(netra, directory, **options)
    clocks = TwoClocks(world.clock)
    world.now_ns, world.latest_ns = clocks.netra_clock.safe_ns, clocks.netra_clock.latest_ns
    return world, clocks


@pytest.mark.parametrize(
    "jump_s", some(2, [10 * YEAR, -40 * DAY, DAY, -10 * YEAR, -DAY, -2 * HOUR, 2 * HOUR, 40 * DAY])
)
@pytest.mark.parametrize("which", ["netra", "own"])
@pytest.mark.parametrize("period", some(1, ["month", "day"]))
async def test_a_jump_ends_no_period(
    netra: ThreadedEmulator, tmp_path: Path, jump_s: int, which: str, period: str
) -> None:
    """A clock that is wrong for twenty minutes closes no period, takes nothing back, and loses no usage."""
    world, clocks = world_of(netra, tmp_path / "state", period=period)
    async with world.running():
        clocks.say()
        await world.poll()
        for minute in range(30):
            wrong_s = jump_s if 5 <= minute < 25 else 0
            clocks.own_off(wrong_s if which == "own" else 0)
            clocks.say(wrong_s if which == "netra" else 0)
            world.calls.more("ace", clocks.real_ns())
            await world.poll()
        await world.poll()
        assert world.used("ace") == as_totals(world.calls.total("ace"))
        assert world.corrected("ace") == UsageTotals()
        assert world.period("ace") == as_totals(world.calls.total("ace"))
        assert world.period("ace", "previous") is None


async def test_the_bridge_counts_up_to_the_earlier_clock(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The meter that the service uses ends no month when a jump of Netra's clock is believed."""
    world, clocks = world_of(netra, tmp_path / "state")
    async with world.running():
        clocks.say()
        bridge = Bridge(environ={}, endpoint=netra.endpoint, api_key=KEY, clock=world.clock)
        meter = bridge.meter(world.client, world.store, clocks.netra_clock)
        world.calls.more("ace", clocks.real_ns())
        clocks.say_for(300, 40 * DAY)
        assert clocks.netra_clock.now_ns() > clocks.real_ns() + 39 * DAY * NS_PER_S
        await meter.poll()
        assert 0 < meter.view.polled_ns <= clocks.real_ns()
        assert [one.period for one in meter.view.periods] == ["current"]


async def test_a_ledger_that_an_older_version_wrote_ahead(
    netra: ThreadedEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Counters keep what they show, count on from now, and one warning says so; the period's gauge is complete."""
    world, clocks = world_of(netra, tmp_path / "state")
    async with world.running():
        clocks.say()
        await world.poll()
        world.calls.more("ace", clocks.real_ns())
        for _ in range(3):
            await world.poll()
        before = world.used("ace")
        both = world.now_ns, world.latest_ns
        world.now_ns = world.latest_ns = lambda: clocks.real_ns() + 10 * YEAR * NS_PER_S
        await world.poll()
        world.now_ns, world.latest_ns = both
        world.restart()
        clocks.say()
        with caplog.at_level(logging.WARNING, "netra_otel_bridge"):
            await world.poll()
            await world.poll()
        assert [line for line in caplog.messages if "the usage of 1 tenants was recorded" in line]
        assert world.used("ace") == before
        call = world.calls.more("ace", clocks.real_ns())
        for _ in range(3):
            await world.poll()
        used = world.used("ace")
        assert used is not None
        assert before is not None
        assert used - before == as_totals((call.tokens, 1, call.cost))
        assert world.period("ace") == as_totals(world.calls.total("ace"))
