"""Cap the bytes held from reading a trace until it is answered.

`MemoryBudget` does so for one lane or stream, and `SharedBudget` for all streams together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

BLOCKED_S = 5.0
"""Time for which a stream's client may accept nothing while other streams wait for the memory held for it."""
BLOCKED_BYTES = 2**20
"""A blocked client is cut off only if at least this much is held for it."""
SMALL_BYTES = 2**18
"""After a trace of at most this size, a stream that holds nothing begins its next trace without waiting."""
FIRST_BODY_BYTES = 2**19
"""Size up to which a page is read without being counted before it is decoded."""
BODY_STEP = 4
"""Factor by which the limit of a page grows. A page is read at most three times if there is never room at once."""
BODY_WEIGHT = 2
"""Bytes to reserve for each byte of a page: the body, and the spans in it."""
WAIT_S = 2.0
"""Longest time for which a stream that holds nothing waits for room. Several such streams wait one after another."""
LARGE_WAIT_S = 10.0
"""Longest time for which a very large trace waits for that of another stream."""
LOOK_S = 0.5
"""Interval at which a waiting stream looks for blocked clients."""


class Reservation:
    """The memory of one trace, from its first page until its last span is answered."""

    __slots__ = ("_budget", "body_bytes", "limit_bytes", "shared_bytes", "size_bytes", "waits")

    def __init__(self, budget: MemoryBudget, shared_bytes: int) -> None:
        self._budget = budget
        self.size_bytes = 0
        self.shared_bytes = shared_bytes
        self.limit_bytes = FIRST_BODY_BYTES
        self.body_bytes = 0
        """Bytes in ``size_bytes`` for the page that is being read, which may have ``limit_bytes``."""
        self.waits = False
        """True while a page waits for memory."""

    async def room(self) -> None:
        """Wait until this trace may read one more page."""
        await self._budget.wait_for_room(self)

    def add(self, size_bytes: int) -> None:
        """Reserve more for this trace."""
        self._budget.grow(self, size_bytes)

    def grow(self) -> bool:
        """Reserve more for the page that is being read, and return whether there was room."""
        return self._budget.grow_body(self)

    async def wait(self) -> None:
        """Wait until more can be reserved for the page, which is then read again. Nothing of it is held meanwhile."""
        self.waits = True
        try:
            await self._budget.wait_for_body(self)
        finally:
            self.waits = False

    def end_body(self) -> None:
        """Release what was reserved for the page that was being read: it is decoded."""
        self._budget.end_body(self)

    def shrink(self) -> None:
        """Release everything reserved so far: the trace is read again from its first page."""
        self._budget.shrink(self)

    def read_whole(self) -> None:
        """Mark the trace as read: it needs no more room, and waits to be sent."""
        self._budget.end_reading(self)

    def release(self) -> None:
        """Release everything for good: the trace is answered, or given up. May be called twice."""
        self._budget.release(self)


class MemoryBudget:
    """The memory of all traces of one lane or stream, and which trace may exceed the limit.

    While the sender has work, all traces wait for the memory that its answers free. While the sender is idle, waiting
    would free nothing. Then the oldest trace that is still being read continues alone, until the sender has work again.
    So the lane never blocks, neither on traces that fill the budget together nor on an incomplete batch. A page counts
    from its `FIRST_BODY_BYTES` on, while it is read. So the lane holds at most the limit, one batch, one trace, and the
    first bytes of a page of each trace. The memory also counts in ``shared``, if given.
    """

    def __init__(self, limit_bytes: int, shared: SharedBudget | None = None) -> None:
        self._limit_bytes = limit_bytes
        self._shared = shared
        self._held_bytes = 0
        self._reservations: set[Reservation] = set()
        self._reading: dict[Reservation, None] = {}
        self._is_idle = True
        self._changed = asyncio.Event()

    @property
    def held_bytes(self) -> int:
        """Bytes held for all traces."""
        return self._held_bytes

    def reserve(self) -> Reservation:
        """Return a new, empty reservation: the youngest of those being read."""
        return self._reserve(0)

    async def admit(self, last_bytes: int) -> Reservation:
        """Return a new reservation once ``shared`` has room. The previous trace held ``last_bytes``."""
        if self._shared is None:
            return self._reserve(0)
        return self._reserve(await self._shared.reserve(last_bytes, lambda: not self._reservations))

    def _reserve(self, shared_bytes: int) -> Reservation:
        reservation = Reservation(self, shared_bytes)
        self._reservations.add(reservation)
        self._reading[reservation] = None
        return reservation

    def idle(self, is_idle: bool) -> None:
        """Set whether the sender is waiting for something to send."""
        self._is_idle = is_idle
        if is_idle:
            self._changed.set()

    async def wait_for_room(self, reservation: Reservation) -> None:
        """Wait until less than the limit is held, or ``reservation`` is the one that may exceed it."""
        while self._held_bytes >= self._limit_bytes and not self._may_exceed(reservation, 0):
            await self._wait(reservation)

    def _may_exceed(self, reservation: Reservation, more: int) -> bool:
        if not self._is_next(reservation):
            return False
        return self._shared is None or self._shared.admits_large(reservation, reservation.size_bytes + more)

    def _is_next(self, reservation: Reservation) -> bool:
        return self._is_idle and next(iter(self._reading)) is reservation

    async def _wait(self, reservation: Reservation) -> None:
        """Wait until something is released. If another stream has a very large trace, wait for `LOOK_S` at most."""
        self._changed.clear()
        if self._shared is None or not self._is_next(reservation):
            await self._changed.wait()
        else:
            await self._shared.wait()

    def grow_body(self, reservation: Reservation) -> bool:
        limit_bytes = reservation.limit_bytes * BODY_STEP
        more = limit_bytes * BODY_WEIGHT - reservation.body_bytes
        if self._held_bytes + more > self._limit_bytes and not self._may_exceed(reservation, more):
            return False
        reservation.limit_bytes = limit_bytes
        reservation.body_bytes += more
        self.grow(reservation, more)
        return True

    async def wait_for_body(self, reservation: Reservation) -> None:
        limit_bytes = reservation.limit_bytes
        self.end_body(reservation)
        reservation.limit_bytes = limit_bytes
        while not self.grow_body(reservation):
            await self._wait(reservation)

    def end_body(self, reservation: Reservation) -> None:
        reservation.limit_bytes = FIRST_BODY_BYTES
        if reservation.body_bytes:
            self.grow(reservation, -reservation.body_bytes)
            reservation.body_bytes = 0
            self._changed.set()

    def grow(self, reservation: Reservation, size_bytes: int) -> None:
        reservation.size_bytes += size_bytes
        self._held_bytes += size_bytes
        self._share(reservation, max(reservation.shared_bytes, reservation.size_bytes))

    def shrink(self, reservation: Reservation) -> None:
        self._held_bytes -= reservation.size_bytes
        reservation.size_bytes = reservation.body_bytes = 0
        reservation.limit_bytes = FIRST_BODY_BYTES
        self._end_large(reservation)
        self._changed.set()

    def end_reading(self, reservation: Reservation) -> None:
        if reservation in self._reading:
            del self._reading[reservation]
            self._share(reservation, reservation.size_bytes)
            if self._shared is not None:
                self._shared.learn(reservation.size_bytes)
        self._changed.set()

    def release(self, reservation: Reservation) -> None:
        if reservation in self._reservations:
            self._reservations.discard(reservation)
            self._held_bytes -= reservation.size_bytes
        self.end_reading(reservation)
        self._share(reservation, 0)
        self._end_large(reservation)

    def _end_large(self, reservation: Reservation) -> None:
        if self._shared is not None:
            self._shared.end_large(reservation)

    def close(self) -> None:
        """Release all reservations."""
        for reservation in list(self._reservations):
            self.release(reservation)

    def _share(self, reservation: Reservation, size_bytes: int) -> None:
        """Count ``size_bytes`` for this trace in the shared budget."""
        if self._shared is not None:
            size_bytes = min(size_bytes, self._shared.max_trace_bytes)
            self._shared.change(size_bytes - reservation.shared_bytes)
            reservation.shared_bytes = size_bytes


class SharedBudget:
    """The memory of all streams together. A very large trace counts as half of the limit.

    A trace begins once there is room for one as large as recent traces (at first, for an eighth of the limit), and is
    then read to its end. A stream that holds nothing goes before streams that read ahead. It waits for `WAIT_S` at
    most, and not at all while its traces are small, so slow clients cannot block it. While it waits, blocked streams
    make room: among those whose clients accepted nothing for `BLOCKED_S`, the one that holds most is ended. Only one
    trace at a time may be larger than half of the limit, but no other waits for that longer than `LARGE_WAIT_S`: a
    client that reads it slowly must not stop the others.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.held_bytes = 0
        self.max_trace_bytes = limit_bytes // 2
        self._limit_bytes = limit_bytes
        self._max_expected_bytes = self._expected_bytes = limit_bytes // 8
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()
        self._writing: dict[asyncio.Timeout, tuple[float, MemoryBudget]] = {}
        self._large: Reservation | None = None
        self._refused_at: dict[Reservation, float] = {}

    async def reserve(self, last_bytes: int, holds_nothing: Callable[[], bool]) -> int:
        """Wait for room for one more trace; return how many bytes were reserved for it.

        The stream's previous trace held ``last_bytes``; ``holds_nothing`` tells whether the stream holds no memory now.
        """
        while not holds_nothing():
            if self._has_room() and not self._waiting:
                return self._reserve(self._expected_bytes)
            await self.wait()
        if last_bytes <= SMALL_BYTES:
            return self._reserve(last_bytes)
        self._waiting += 1
        try:
            async with self._turn:
                with suppress(TimeoutError):
                    async with asyncio.timeout(WAIT_S):
                        while not self._has_room():
                            await self.wait()
                return self._reserve(self._expected_bytes)
        finally:
            self._waiting -= 1

    def admits_large(self, reservation: Reservation, size_bytes: int) -> bool:
        """Return whether a trace may grow to ``size_bytes``.

        If it is very large then, it is the one that may until `end_large`, or it has waited for `LARGE_WAIT_S`.
        """
        if size_bytes <= self.max_trace_bytes:
            return True
        self._large = self._large or reservation
        if self._large is reservation:
            return True
        now_s = asyncio.get_running_loop().time()
        return now_s - self._refused_at.setdefault(reservation, now_s) >= LARGE_WAIT_S

    def end_large(self, reservation: Reservation) -> None:
        """Let another trace be very large, if this one was."""
        self._refused_at.pop(reservation, None)
        if self._large is reservation:
            self._large = None
            self._freed.set()

    def change(self, by_bytes: int) -> None:
        self.held_bytes += by_bytes
        if by_bytes < 0:
            self._freed.set()

    def learn(self, size_bytes: int) -> None:
        """Learn from the size of a trace that was read."""
        self._expected_bytes = min(max(size_bytes, self._expected_bytes * 7 // 8), self._max_expected_bytes)
        self._freed.set()

    @asynccontextmanager
    async def writing(self, seconds: float, budget: MemoryBudget) -> AsyncIterator[None]:
        """Limit a write to a client to ``seconds`` or, while other streams wait, to `BLOCKED_S`. Raises ``TimeoutError``.

        ``budget`` is that of the client's stream.
        """
        async with asyncio.timeout(seconds) as limit:
            self._writing[limit] = asyncio.get_running_loop().time(), budget
            try:
                yield
            finally:
                del self._writing[limit]

    def _has_room(self) -> bool:
        return not self.held_bytes or self.held_bytes + self._expected_bytes <= self._limit_bytes

    def _reserve(self, size_bytes: int) -> int:
        self.change(size_bytes)
        return size_bytes

    async def wait(self) -> None:
        """Wait until memory is freed, for `LOOK_S` at most."""
        self._end_blocked()
        self._freed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._freed.wait()

    def _end_blocked(self) -> None:
        now = asyncio.get_running_loop().time()
        blocked = [
            (budget.held_bytes, limit)
            for limit, (begun, budget) in self._writing.items()
            if now - begun >= BLOCKED_S and budget.held_bytes >= BLOCKED_BYTES and not limit.expired()
        ]
        if blocked:
            max(blocked, key=lambda one: one[0])[1].reschedule(now)
