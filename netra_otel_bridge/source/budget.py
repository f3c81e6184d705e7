"""One budget of requests, shared by every call of a client.

Three limits apply at once: requests in flight, requests per second, and no request before the time that Netra set
(``Retry-After``). A 429 halves the number in flight, and each success raises it a little (additive increase,
multiplicative decrease, as in TCP). So a service that accepts less than ``max_concurrency`` is sent what it accepts,
instead of answering 429 forever.
"""

from __future__ import annotations

import asyncio
from collections import deque

from netra_otel_bridge.core.clock import Clock


class Budget:
    """Permits for requests, first come first served. Belongs to one event loop."""

    def __init__(self, *, max_concurrency: int, rate_per_s: float | None, clock: Clock) -> None:
        self._max = float(max_concurrency)
        self._limit = self._max
        self._in_use = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._interval_s = 1.0 / rate_per_s if rate_per_s else 0.0
        self._next_slot = 0.0
        self._opens = 0.0
        self._epoch = 0
        self._clock = clock

    @property
    def limit(self) -> int:
        """Return the number of requests that may be in flight now."""
        return int(self._limit)

    async def acquire(self) -> int:
        """Wait for a permit to send one request, and return a token for `throttled`. `release` must follow."""
        if self._waiting or self._in_use >= self.limit:
            await self._queue()
        else:
            self._in_use += 1
        try:
            while (wait := self._opens - self._clock.monotonic()) > 0:
                await self._clock.sleep(wait)
            if self._interval_s:
                await self._take_slot()
        except BaseException:
            self.release()
            raise
        return self._epoch

    def release(self) -> None:
        """Return the permit, however the request ended."""
        self._in_use -= 1
        self._grant()

    def succeeded(self) -> None:
        """Raise the limit again after a 429, because a request was answered."""
        if self._limit < self._max:
            self._limit = min(self._max, self._limit + 1.0 / self._limit)

    def throttled(self, token: int) -> None:
        """Halve the limit after a 429, unless the request was sent before the limit was last halved."""
        if token == self._epoch:
            self._epoch += 1
            self._limit = max(1.0, self._limit / 2)

    def pause(self, seconds: float) -> None:
        """Send nothing for this long. A later pause may extend this, but not shorten it."""
        self._opens = max(self._opens, self._clock.monotonic() + seconds)

    async def _queue(self) -> None:
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(ticket)
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled():
                self.release()
            raise

    def _grant(self) -> None:
        while self._waiting and self._in_use < self.limit:
            ticket = self._waiting.popleft()
            if not ticket.done():
                self._in_use += 1
                ticket.set_result(None)

    async def _take_slot(self) -> None:
        now = self._clock.monotonic()
        slot = max(now, self._next_slot)
        self._next_slot = slot + self._interval_s
        if slot > now:
            await self._clock.sleep(slot - now)
