"""The attack on the service that found the fault: a wrong ``Date`` header, then a long absence."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge import Bridge
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.fault_table import FAULTS
from netra_otel_bridge.emulator.faults import Faults
from tests.support.clocks import FastClock
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.waiting import until
from tests.unit.test_service import KEY, Kept, a_few_polls, feed, running, trace

HOUR, YEAR = 3600, 31_536_000
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
        for number in numbers[1:]:
            feed(netra, *trace(number, ago_s=AWAY_S - 60 - 1800 * (number - 2)))
        told(netra)
        async with running(bridge_at(netra, tmp_path / "state", 0), mine, since_s=0) as service:
            await until(lambda: len(mine.ids()) >= 3 * len(numbers))
            await a_few_polls(service)
    assert mine.ids() == Counter(100 * number + n for number in numbers for n in range(3))
