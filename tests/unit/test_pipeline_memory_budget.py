"""The cap on bytes held: a limit that is respected, and never a reason to stop."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.pipeline import memory_budget as held_module
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget, Reservation, SharedBudget
from tests.support.waiting import DEADLINE_S


async def settled() -> None:
    """Let every task run as far as it can: nothing here waits for time."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_nobody_waits_below_the_limit() -> None:
    """Room is there until the bytes held reach the limit."""
    held = MemoryBudget(100)
    first, second = held.share(), held.share()
    first.add(60)
    second.add(39)
    await asyncio.wait_for(second.room(), DEADLINE_S)


async def test_at_the_limit_all_wait_but_the_oldest() -> None:
    """The oldest share goes on past the limit; the others stay until there is room."""
    held = MemoryBudget(100)
    oldest, younger = held.share(), held.share()
    younger.add(100)
    await asyncio.wait_for(oldest.room(), DEADLINE_S)
    waiting = asyncio.ensure_future(younger.room())
    await settled()
    assert not waiting.done()
    oldest.release()
    await asyncio.wait_for(waiting, DEADLINE_S)


async def test_while_the_sender_has_work_all_wait_for_it() -> None:
    """Nobody exceeds the limit as long as answers will free room; the oldest goes on once the sender has nothing to do."""
    held = MemoryBudget(100)
    oldest, younger = held.share(), held.share()
    younger.add(100)
    held.idle(False)
    waiting = asyncio.ensure_future(oldest.room())
    await settled()
    assert not waiting.done()
    held.idle(True)
    await asyncio.wait_for(waiting, DEADLINE_S)


async def test_a_share_that_is_read_whole_hands_on_its_turn() -> None:
    """What waits in a batch that is not full yet is not the one to be waited for."""
    held = MemoryBudget(100)
    oldest, next_oldest = held.share(), held.share()
    oldest.add(100)
    waiting = asyncio.ensure_future(next_oldest.room())
    await settled()
    assert not waiting.done()
    oldest.read()
    await asyncio.wait_for(waiting, DEADLINE_S)


async def test_room_is_given_when_bytes_are_released() -> None:
    """A release that brings the total below the limit wakes a share that is not the oldest."""
    held = MemoryBudget(100)
    oldest, middle, youngest = held.share(), held.share(), held.share()
    oldest.add(50)
    middle.add(50)
    waiting = asyncio.ensure_future(youngest.room())
    await settled()
    assert not waiting.done()
    middle.release()
    await asyncio.wait_for(waiting, DEADLINE_S)


async def test_a_release_that_frees_too_little_wakes_nobody_for_good() -> None:
    """Whoever is woken looks again: still full means still waiting."""
    held = MemoryBudget(100)
    oldest, small, youngest = held.share(), held.share(), held.share()
    oldest.add(120)
    small.add(5)
    waiting = asyncio.ensure_future(youngest.room())
    small.release()
    await settled()
    assert not waiting.done()
    oldest.release()
    await asyncio.wait_for(waiting, DEADLINE_S)


async def test_a_share_gives_back_what_it_held_once() -> None:
    """Releasing twice frees once."""
    held = MemoryBudget(100)
    oldest, twice, youngest = held.share(), held.share(), held.share()
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
    """A stop wakes a waiter, and the others are served as before."""
    held = MemoryBudget(10)
    oldest, stopped, youngest = held.share(), held.share(), held.share()
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
    """Any traces through any limit: no deadlock, and never more held than the limit, a page a worker, and one trace."""
    asyncio.run(_read_all(traces, limit, workers))


async def _read_all(traces: list[list[int]], limit: int, workers: int) -> None:
    held = MemoryBudget(limit)
    queue = list(reversed(traces))
    alive: set[Reservation] = set()
    done = 0

    async def worker() -> None:
        nonlocal done
        while queue:
            share, pages = held.share(), queue.pop()
            alive.add(share)
            for page in pages:
                await share.room()
                share.add(page)
                largest = max(map(max, traces))
                assert sum(one.size_bytes for one in alive) <= limit + workers * largest + max(map(sum, traces))
                await asyncio.sleep(0)
            alive.discard(share)
            share.release()
            done += 1

    await asyncio.wait_for(asyncio.gather(*(worker() for _ in range(workers))), DEADLINE_S)
    assert done == len(traces)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 80))
def test_streams_that_go_on_all_get_through_a_pool(sizes: list[int], at_once: int) -> None:
    """What they hold together stays near the limit, whatever their traces take; nothing is held in the end."""

    async def main() -> None:
        pool, most = SharedBudget(1000), 0

        async def stream(size_bytes: int) -> None:
            nonlocal most
            held = MemoryBudget(10**9, pool)
            for _ in range(2):
                share = await held.admitted(2**20)
                await asyncio.sleep(0)
                share.add(size_bytes)
                share.read()
                most = max(most, pool.held_bytes)
                await asyncio.sleep(0)
                share.release()
            held.close()

        gate = asyncio.Semaphore(at_once)

        async def limited(size_bytes: int) -> None:
            async with gate:
                await stream(size_bytes)

        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*map(limited, sizes))
        assert pool.held_bytes == 0
        assert most <= 1000 + 8 * 300

    asyncio.run(main())


def full_pool() -> tuple[SharedBudget, MemoryBudget]:
    """One that is full, with what fills it."""
    pool = SharedBudget(40 * 2**20)
    held = MemoryBudget(10**9, pool)
    for _ in range(2):
        share = held.share()
        share.add(10**8)
        share.read()
    assert pool.held_bytes == 40 * 2**20
    return pool, held


async def test_who_takes_nothing_makes_room_for_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only while one waits, and only if much is held for it; the one with most first."""
    monkeypatch.setattr(held_module, "BLOCKED_S", 0.2)
    monkeypatch.setattr(held_module, "LOOK_S", 0.05)
    pool, held = full_pool()
    little = MemoryBudget(10**9, pool)
    little.share().add(1000)

    async def blocked(what: MemoryBudget) -> None:
        async with pool.writing(60, what):
            await asyncio.Event().wait()

    writing = asyncio.create_task(blocked(held))
    beside = asyncio.create_task(blocked(little))
    await asyncio.sleep(0.4)
    assert not writing.done()
    waiting = asyncio.create_task(MemoryBudget(10**9, pool).admitted(2**20))
    await asyncio.wait({writing}, timeout=DEADLINE_S)
    assert isinstance(writing.exception(), TimeoutError)
    held.close()
    await asyncio.wait_for(waiting, DEADLINE_S)
    assert not beside.done()
    beside.cancel()


async def test_no_stream_waits_for_ever_for_slow_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that holds nothing waits a moment, and not at all for a small trace; one that reads ahead waits for room."""
    monkeypatch.setattr(held_module, "WAIT_S", 0.4)
    monkeypatch.setattr(held_module, "LOOK_S", 0.1)
    pool, held = full_pool()
    mine = MemoryBudget(10**9, pool)
    began = time.monotonic()
    first = await asyncio.wait_for(mine.admitted(2**20), DEADLINE_S)
    assert time.monotonic() - began > 0.35
    ahead = asyncio.create_task(mine.admitted(1000))
    await asyncio.sleep(0.3)
    assert not ahead.done()
    first.release()
    await asyncio.wait_for(ahead, DEADLINE_S)
    for size_bytes, is_free in ((1000, False), *[(2**20, True)] * 3):
        if is_free:
            held.close()
        another = asyncio.create_task((mine if is_free else MemoryBudget(10**9, pool)).admitted(size_bytes))
        await settled()
        assert another.done()
