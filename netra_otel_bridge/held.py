"""A cap on the bytes that are held between reading and the destination's answer."""

from __future__ import annotations

import asyncio


class Share:
    """What one trace holds."""

    __slots__ = ("_budget", "size_bytes")

    def __init__(self, budget: Held) -> None:
        self._budget = budget
        self.size_bytes = 0

    async def room(self) -> None:
        """Wait until more may be read for this trace."""
        await self._budget.wait_for_room(self)

    def add(self, size_bytes: int) -> None:
        self.size_bytes += size_bytes
        self._budget.change(size_bytes)

    def release(self) -> None:
        """The trace is answered for, or was given up."""
        self._budget.forget(self)


class Held:
    """Shares of one budget. The oldest share never waits, so traces that together fill the budget cannot block each
    other; one trace that is larger than the budget is the only thing that exceeds it."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._shares: dict[Share, None] = {}
        self._freed = asyncio.Event()

    def share(self) -> Share:
        share = Share(self)
        self._shares[share] = None
        return share

    async def wait_for_room(self, share: Share) -> None:
        while self._held_bytes >= self._limit_bytes and next(iter(self._shares)) is not share:
            self._freed.clear()
            await self._freed.wait()

    def change(self, size_bytes: int) -> None:
        self._held_bytes += size_bytes

    def forget(self, share: Share) -> None:
        if share in self._shares:
            del self._shares[share]
            self.change(-share.size_bytes)
            self._freed.set()
