"""The memory budget: the limit holds, and never blocks a lane."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.pipeline import memory_budget as budget_module
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget, Reservation, SharedBudget
from tests.support.waiting import DEADLINE_S, settled


async def test_nobody_waits_below_the_limit() -> None:
    """There is room until the bytes held reach the limit."""
    budget = MemoryBudget(100)
    first, second = budget.reserve(), budget.reserve()
    first.add(60)
    second.add(39)
    await asyncio.wait_for(second.room(), DEADLINE_S)


async def test_at_the_limit_all_wait_but_the_oldest() -> None:
    """The oldest reservation may exceed the limit; the others wait for room."""
    budget = MemoryBudget(100)
    oldest, younger = budget.reserve(), budget.reserve()
    younger.add(100)
    await asyncio.wait_for(oldest.room(), DEADLINE_S)
    waiting = asyncio.ensure_future(younger.room())
    await settled()
    assert not waiting.done()
    oldest.release()
    await asyncio.wait_for(waiting, DEADLINE_S)


async def test_while_the_sender_has_work_all_wait_for_it() -> None:
    """No trace exceeds the limit while answers will free room; the oldest continues once the sender is idle."""
    budget = MemoryBudget(100)
    oldest, younger = budget.reserve(), budget.reserve()
    younger.add(100)
    budget.idle(False)
    waiting = asyncio.ensure_future(oldest.room())
    await settled()
    assert not waiting.done()
    budget.idle(True)
    await asyncio.wait_for(waiting, DEADLINE_S)


async def test_a_reservation_that_is_read_whole_hands_on_its_turn() -> None:
    """A trace that waits in an incomplete batch does not keep the others waiting."""
    budget = MemoryBudget(100)
    oldest, next_oldest = budget.reserve(), budget.reserve()
    oldest.add(100)
    waiting = asyncio.ensure_future(next_oldest.room())
    await settled()
    assert not waiting.done()
    oldest.read_whole()
    await asyncio.wait_for(waiting, DEADLINE_S)


async def test_room_is_given_when_bytes_are_released() -> None:
    """A release that brings the total below the limit wakes a reservation that is not the oldest."""
    budget = MemoryBudget(100)
    oldest, middle, youngest = budget.reserve(), budget.reserve(), budget.reserve()
    oldest.add(50)
    middle.add(50)
    waiting = asyncio.ensure_future(youngest.room())
    await settled()
    assert not waiting.done()
    middle.release()
    await asyncio.wait_for(waiting, DEADLINE_S)


async def test_a_release_that_frees_too_little_wakes_nobody_for_good() -> None:
    """A reservation that is woken while the budget is still full keeps waiting."""
    budget = MemoryBudget(100)
    oldest, small, youngest = budget.reserve(), budget.reserve(), budget.reserve()
    oldest.add(120)
    small.add(5)
    waiting = asyncio.ensure_future(youngest.room())
    small.release()
    await settled()
    assert not waiting.done()
    oldest.release()
    await asyncio.wait_for(waiting, DEADLINE_S)


async def test_a_reservation_gives_back_what_it_held_once() -> None:
    """Releasing twice frees the memory once."""
    budget = MemoryBudget(100)
    oldest, twice, youngest = budget.reserve(), budget.reserve(), budget.reserve()
    oldest.add(90)
    twice.add(50)
    twice.release()
    twice.release()
    youngest.add(10)
    waiting = asyncio.ensure_future(youngest.room())
    await settled()
    assert not waiting.done()
    waiting.cancel()


async def test_a_cancelled_wait_leaves_the_budget_whole() -> None:
    """Cancelling one waiting trace leaves the others as they were."""
    budget = MemoryBudget(10)
    oldest, stopped, youngest = budget.reserve(), budget.reserve(), budget.reserve()
    oldest.add(10)
    one, other = asyncio.ensure_future(stopped.room()), asyncio.ensure_future(youngest.room())
    await settled()
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    stopped.release()
    oldest.release()
    await asyncio.wait_for(other, DEADLINE_S)


sizes = st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=4), min_size=1, max_size=12)


@given(traces=sizes, limit=st.integers(1, 200), workers=st.integers(1, 6))
def test_every_trace_gets_through_and_only_one_exceeds_the_limit(
    traces: list[list[int]], limit: int, workers: int
) -> None:
    """Any traces pass any limit: no deadlock, and never more held than the limit, a page for each worker, and one trace."""
    asyncio.run(_read_all(traces, limit, workers))


async def _read_all(traces: list[list[int]], limit: int, workers: int) -> None:
    budget = MemoryBudget(limit)
    queue = list(reversed(traces))
    alive: set[Reservation] = set()
    done = 0

    async def worker() -> None:
        nonlocal done
        while queue:
            reservation, pages = budget.reserve(), queue.pop()
            alive.add(reservation)
            for page in pages:
                await reservation.room()
                reservation.add(page)
                largest = max(map(max, traces))
                assert sum(one.size_bytes for one in alive) <= limit + workers * largest + max(map(sum, traces))
                await asyncio.sleep(0)
            alive.discard(reservation)
            reservation.release()
            done += 1

    await asyncio.wait_for(asyncio.gather(*(worker() for _ in range(workers))), DEADLINE_S)
    assert done == len(traces)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 80))
def test_streams_that_continue_all_get_through_a_shared_budget(sizes: list[int], at_once: int) -> None:
    """Together they hold about the limit, whatever the size of their traces, and nothing in the end."""

    async def main() -> None:
        shared, most = SharedBudget(1000), 0

        async def stream(size_bytes: int) -> None:
            nonlocal most
            budget = MemoryBudget(10**9, shared)
            for _ in range(2):
                reservation = await budget.admit(2**20)
                await asyncio.sleep(0)
                reservation.add(size_bytes)
                reservation.read_whole()
                most = max(most, shared.held_bytes)
                await asyncio.sleep(0)
                reservation.release()
            budget.close()

        gate = asyncio.Semaphore(at_once)

        async def limited(size_bytes: int) -> None:
            async with gate:
                await stream(size_bytes)

        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*map(limited, sizes))
        assert shared.held_bytes == 0
        assert most <= 1000 + 8 * 300

    asyncio.run(main())


def full_budget() -> tuple[SharedBudget, MemoryBudget]:
    """Return a full shared budget, and the budget that fills it."""
    shared = SharedBudget(40 * 2**20)
    budget = MemoryBudget(10**9, shared)
    for _ in range(2):
        reservation = budget.reserve()
        reservation.add(10**8)
        reservation.read_whole()
    assert shared.held_bytes == 40 * 2**20
    return shared, budget


async def test_who_takes_nothing_makes_room_for_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blocked client is ended only while another waits and only if much is held for it, the one with most first."""
    monkeypatch.setattr(budget_module, "BLOCKED_S", 0.05)
    monkeypatch.setattr(budget_module, "LOOK_S", 0.02)
    shared, budget = full_budget()
    little = MemoryBudget(10**9, shared)
    little.reserve().add(1000)

    async def blocked(what: MemoryBudget) -> None:
        async with shared.writing(60, what):
            await asyncio.Event().wait()

    writing = asyncio.create_task(blocked(budget))
    beside = asyncio.create_task(blocked(little))
    await asyncio.sleep(0.1)  # twice the time after which a blocked client may be ended
    assert not writing.done()
    waiting = asyncio.create_task(MemoryBudget(10**9, shared).admit(2**20))
    await asyncio.wait({writing}, timeout=DEADLINE_S)
    assert isinstance(writing.exception(), TimeoutError)
    budget.close()
    await asyncio.wait_for(waiting, DEADLINE_S)
    assert not beside.done()
    beside.cancel()


async def test_no_stream_waits_for_ever_for_slow_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that holds nothing waits a moment, and not at all for a small trace; one that reads ahead waits for room."""
    monkeypatch.setattr(budget_module, "WAIT_S", 0.1)
    monkeypatch.setattr(budget_module, "LOOK_S", 0.02)
    shared, budget = full_budget()
    mine = MemoryBudget(10**9, shared)
    began = time.monotonic()
    first = await asyncio.wait_for(mine.admit(2**20), DEADLINE_S)
    assert time.monotonic() - began > 0.09
    ahead = asyncio.create_task(mine.admit(1000))
    await asyncio.sleep(0.15)  # longer than a stream that holds nothing waits
    assert not ahead.done()
    first.release()
    await asyncio.wait_for(ahead, DEADLINE_S)
    for size_bytes, is_free in ((1000, False), *[(2**20, True)] * 3):
        if is_free:
            budget.close()
        another = asyncio.create_task((mine if is_free else MemoryBudget(10**9, shared)).admit(size_bytes))
        await settled()
        assert another.done()
