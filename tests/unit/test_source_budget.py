"""The budget of requests: in flight, per second, and none before the requested time."""

from __future__ import annotations

import asyncio

import pytest

from netra_otel_bridge.source.budget import Budget
from tests.support.fake_clock import FakeClock
from tests.support.waiting import DEADLINE_S


def make_budget(clock: FakeClock, *, most: int = 4, rate_per_s: float | None = None) -> Budget:
    return Budget(max_concurrency=most, rate_per_s=rate_per_s, clock=clock)


async def test_no_more_at_once_than_allowed() -> None:
    """At most ``max_concurrency`` of many callers hold a permit at any time, and all get one."""
    budget = make_budget(FakeClock())
    running = most = served = 0

    async def caller() -> None:
        nonlocal running, most, served
        await budget.acquire()
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        served += 1
        budget.release()

    await asyncio.gather(*(caller() for _ in range(50)))
    assert (most, served) == (4, 50)


async def test_a_cancelled_wait_loses_no_permit() -> None:
    """Callers that are cancelled in the queue, or just after they got a permit, do not lose permits."""
    budget = make_budget(FakeClock(), most=1)
    await budget.acquire()
    waiting = [asyncio.create_task(budget.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    budget.release()
    waiting[1].cancel()
    await asyncio.gather(*waiting[:2], return_exceptions=True)
    await asyncio.wait_for(waiting[2], DEADLINE_S)
    budget.release()
    await asyncio.wait_for(budget.acquire(), DEADLINE_S)


async def test_a_cancelled_pause_loses_no_permit() -> None:
    """A caller that is cancelled while all calls are paused returns its permit."""

    class StuckClock(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    clock = StuckClock()
    budget = make_budget(clock, most=1)
    budget.pause(5)
    caller = asyncio.create_task(budget.acquire())
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    clock.elapsed_s = 6
    await asyncio.wait_for(budget.acquire(), DEADLINE_S)


async def test_a_pause_holds_all_and_is_never_shortened() -> None:
    """Nothing is sent before the latest requested time."""
    clock = FakeClock()
    budget = make_budget(clock)
    budget.pause(20)
    budget.pause(3)
    await budget.acquire()
    assert clock.elapsed_s == 20


async def test_rate() -> None:
    """With 10 a second, the 31st request leaves no earlier than 3 s after the first."""
    clock = FakeClock()
    budget = make_budget(clock, rate_per_s=10)
    for _ in range(31):
        await budget.acquire()
        budget.release()
    assert clock.elapsed_s == pytest.approx(3.0)


async def test_throttling_narrows_once_a_burst_and_widens_again() -> None:
    """Many 429 answers to one burst halve the limit once; successes restore it, never above the maximum."""
    budget = make_budget(FakeClock(), most=16)
    tokens = [await budget.acquire() for _ in range(8)]
    for token in tokens:
        budget.throttled(token)
        budget.release()
    assert budget.limit == 8
    for _ in range(6):
        budget.throttled(await budget.acquire())
        budget.release()
    assert budget.limit == 1
    for _ in range(400):
        budget.succeeded()
    assert budget.limit == 16
