"""Caps on the bytes that are held between reading and the destination's answer: of one lane, and of all streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

BLOCKED_S = 5.0
"""How long a stream's client may take nothing, where others wait for what is held for it."""
BLOCKED_BYTES = 2**20
"""What is held for a client at least that is ended for it."""
SMALL_BYTES = 2**18
"""After a trace of this size, the next one does not wait, where it is all that its stream holds."""
WAIT_S = 2.0
"""What a stream without a trace waits for room at most; of several, one after the other."""
LOOK_S = 0.5


class Reservation:
    """What one trace holds, from the first page that is read until its last span is answered."""

    __slots__ = ("_budget", "pooled_bytes", "size_bytes")

    def __init__(self, budget: MemoryBudget, pooled_bytes: int) -> None:
        self._budget = budget
        self.size_bytes = 0
        self.pooled_bytes = pooled_bytes

    async def room(self) -> None:
        """Wait until more may be read for this trace."""
        await self._budget.wait_for_room(self)

    def add(self, size_bytes: int) -> None:
        """More is held for this trace."""
        self._budget.grow(self, size_bytes)

    def read(self) -> None:
        """The trace is read whole: it needs no more room, and waits to be sent."""
        self._budget.no_longer_reads(self)

    def release(self) -> None:
        """The trace is answered for, or was given up."""
        self._budget.forget(self)


class MemoryBudget:
    """Shares of one budget, and who may exceed it.

    While the sender has work, everybody waits for what it frees. When it has none (`idle`), nothing will be freed by
    waiting: then the oldest share that still reads goes on, alone, until the sender has work again. So neither traces
    that fill the budget together nor a batch that is not full yet can block the lane, and what is held stays below the
    limit, one batch, one trace, and a page of each share. What is held is a part of ``pool``, where one is given.
    """

    def __init__(self, limit_bytes: int, pool: SharedBudget | None = None) -> None:
        self._limit_bytes = limit_bytes
        self._pool = pool
        self._held_bytes = 0
        self._shares: set[Reservation] = set()
        self._reading: dict[Reservation, None] = {}
        self._idle = True
        self._changed = asyncio.Event()

    def share(self) -> Reservation:
        """A new share, the youngest of those that read."""
        return self._share(0)

    async def admitted(self, last_bytes: int) -> Reservation:
        """The same, once the pool has room for it. The trace before was of ``last_bytes``."""
        if self._pool is None:
            return self._share(0)
        return self._share(await self._pool.reserve(last_bytes, lambda: not self._shares))

    @property
    def held_bytes(self) -> int:
        """What all shares hold."""
        return self._held_bytes

    def _share(self, pooled_bytes: int) -> Reservation:
        share = Reservation(self, pooled_bytes)
        self._shares.add(share)
        self._reading[share] = None
        return share

    def idle(self, idle: bool) -> None:
        """Say whether the sender waits for something to send."""
        self._idle = idle
        if idle:
            self._changed.set()

    async def wait_for_room(self, share: Reservation) -> None:
        """Return when less than the limit is held, or ``share`` may exceed it."""
        while self._held_bytes >= self._limit_bytes and not (self._idle and next(iter(self._reading)) is share):
            self._changed.clear()
            await self._changed.wait()

    def grow(self, share: Reservation, size_bytes: int) -> None:
        share.size_bytes += size_bytes
        self._held_bytes += size_bytes
        self._pooled(share, max(share.pooled_bytes, share.size_bytes))

    def no_longer_reads(self, share: Reservation) -> None:
        if share in self._reading:
            del self._reading[share]
            self._pooled(share, share.size_bytes)
            if self._pool is not None:
                self._pool.was_read(share.size_bytes)
        self._changed.set()

    def forget(self, share: Reservation) -> None:
        if share in self._shares:
            self._shares.discard(share)
            self._held_bytes -= share.size_bytes
        self.no_longer_reads(share)
        self._pooled(share, 0)

    def close(self) -> None:
        """Nothing is held any more."""
        for share in list(self._shares):
            self.forget(share)

    def _pooled(self, share: Reservation, size_bytes: int) -> None:
        if self._pool is not None:
            size_bytes = min(size_bytes, self._pool.most_bytes)
            self._pool.change(size_bytes - share.pooled_bytes)
            share.pooled_bytes = size_bytes


class SharedBudget:
    """What all streams hold together; of a trace that is very large, half of the limit counts.

    A trace is begun once there is room for one as large as they are lately; at first that is an eighth of the limit.
    Once begun it is read to its end. A stream that holds nothing goes before those that read ahead, and waits `WAIT_S`
    at most, so that no slow reader keeps it from going on; where its traces are small it does not wait. While one
    waits, the stream that holds most of those whose clients have taken nothing for `BLOCKED_S` is ended.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.held_bytes = 0
        self.most_bytes = limit_bytes // 2
        self._limit_bytes = limit_bytes
        self._most_usual_bytes = self._usual_bytes = limit_bytes // 8
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()
        self._writing: dict[asyncio.Timeout, tuple[float, MemoryBudget]] = {}

    async def reserve(self, last_bytes: int, holds_nothing: Callable[[], bool]) -> int:
        """Wait for room for one more trace; how much was set aside for it.

        The stream's trace before was of ``last_bytes``; ``holds_nothing`` says whether it has none at the moment.
        """
        while not holds_nothing():
            if self._has_room() and not self._waiting:
                return self._take(self._usual_bytes)
            await self._look()
        if last_bytes <= SMALL_BYTES:
            return self._take(last_bytes)
        self._waiting += 1
        try:
            async with self._turn:
                with suppress(TimeoutError):
                    async with asyncio.timeout(WAIT_S):
                        while not self._has_room():
                            await self._look()
                return self._take(self._usual_bytes)
        finally:
            self._waiting -= 1

    def change(self, by_bytes: int) -> None:
        self.held_bytes += by_bytes
        if by_bytes < 0:
            self._freed.set()

    def was_read(self, size_bytes: int) -> None:
        """A trace was read whole."""
        self._usual_bytes = min(max(size_bytes, self._usual_bytes * 7 // 8), self._most_usual_bytes)
        self._freed.set()

    @asynccontextmanager
    async def writing(self, seconds: float, held: MemoryBudget) -> AsyncIterator[None]:
        """Hand something on to a client, within ``seconds`` or, where others wait, `BLOCKED_S`. Raises ``TimeoutError``.

        ``held`` is what is held for it.
        """
        async with asyncio.timeout(seconds) as limit:
            self._writing[limit] = asyncio.get_running_loop().time(), held
            try:
                yield
            finally:
                del self._writing[limit]

    def _has_room(self) -> bool:
        return not self.held_bytes or self.held_bytes + self._usual_bytes <= self._limit_bytes

    def _take(self, size_bytes: int) -> int:
        self.change(size_bytes)
        return size_bytes

    async def _look(self) -> None:
        """Wait until something is freed, or a moment."""
        self._end_blocked()
        self._freed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._freed.wait()

    def _end_blocked(self) -> None:
        now = asyncio.get_running_loop().time()
        blocked = [
            (held.held_bytes, limit)
            for limit, (begun, held) in self._writing.items()
            if now - begun >= BLOCKED_S and held.held_bytes >= BLOCKED_BYTES and not limit.expired()
        ]
        if blocked:
            max(blocked, key=lambda one: one[0])[1].reschedule(now)
