"""A cap on the bytes that are held between reading and the destination's answer."""

from __future__ import annotations

import asyncio


class Share:
    """What one trace holds, from the first page that is read until its last span is answered."""

    __slots__ = ("_budget", "size_bytes")

    def __init__(self, budget: Held) -> None:
        self._budget = budget
        self.size_bytes = 0

    async def room(self) -> None:
        """Wait until more may be read for this trace."""
        await self._budget.wait_for_room(self)

    def add(self, size_bytes: int) -> None:
        """More is held for this trace."""
        self.size_bytes += size_bytes
        self._budget.change(size_bytes)

    def read(self) -> None:
        """The trace is read whole: it needs no more room, and waits to be sent."""
        self._budget.no_longer_reads(self)

    def release(self) -> None:
        """The trace is answered for, or was given up."""
        self._budget.forget(self)


class Held:
    """Shares of one budget, and who may exceed it.

    While the sender has work, everybody waits for what it frees. When it has none (`idle`), nothing will be freed by
    waiting: then the oldest share that still reads goes on, alone, until the sender has work again. So neither traces
    that fill the budget together nor a batch that is not full yet can block the lane, and what is held stays below the
    limit, one batch, one trace, and a page of each share.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._shares: set[Share] = set()
        self._reading: dict[Share, None] = {}
        self._idle = True
        self._changed = asyncio.Event()

    def share(self) -> Share:
        """A new share, the youngest of those that read."""
        share = Share(self)
        self._shares.add(share)
        self._reading[share] = None
        return share

    def idle(self, idle: bool) -> None:
        """Say whether the sender waits for something to send."""
        self._idle = idle
        if idle:
            self._changed.set()

    async def wait_for_room(self, share: Share) -> None:
        """Return when less than the limit is held, or ``share`` may exceed it."""
        while self._held_bytes >= self._limit_bytes and not (self._idle and next(iter(self._reading)) is share):
            self._changed.clear()
            await self._changed.wait()

    def change(self, size_bytes: int) -> None:
        self._held_bytes += size_bytes

    def no_longer_reads(self, share: Share) -> None:
        self._reading.pop(share, None)
        self._changed.set()

    def forget(self, share: Share) -> None:
        if share in self._shares:
            self._shares.discard(share)
            self.change(-share.size_bytes)
        self.no_longer_reads(share)
