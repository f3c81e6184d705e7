"""The delay of the event loop is seen by the service, and by the watch of the tests."""

from __future__ import annotations

import asyncio
import time

import pytest

from netra_otel_bridge.service import loop_delay
from netra_otel_bridge.service.loop_delay import LoopDelay
from netra_otel_bridge.service.own_metrics import INSTRUMENTS
from tests.support.health import service_health
from tests.support.watchdog import LoopWatch

pytestmark = pytest.mark.faults


async def test_a_blocked_loop_shows_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest delay is shown, and forgotten after twice the time that it is shown for."""
    monkeypatch.setattr(loop_delay, "BEAT_S", 0.01)
    monkeypatch.setattr(loop_delay, "SHOWN_S", 1.5)
    delay = LoopDelay()
    delay.start()
    await asyncio.sleep(0.03)
    time.sleep(1)  # noqa: ASYNC251  it blocks the loop on purpose
    await asyncio.sleep(0.1)
    assert delay.longest_s > 0.9
    await asyncio.sleep(3.5)
    assert delay.longest_s < 0.9
    delay.stop()


def test_the_delay_is_a_metric() -> None:
    """The gauge of the service has the delay of its health."""
    (gauge,) = (one for one in INSTRUMENTS if one.name == "netra_bridge.event_loop.delay")
    assert list(gauge.read(service_health())) == [(0.0, {})]


async def test_the_watch_counts_the_work_of_this_process_alone() -> None:
    """A loop that is kept busy counts as blocked; one that only waits its turn does not."""
    async with LoopWatch() as busy:
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass
    async with LoopWatch() as waiting:
        time.sleep(0.2)  # noqa: ASYNC251  like a machine that runs something else
    assert busy.blocked_s > 0.15
    assert waiting.blocked_s < 0.1
