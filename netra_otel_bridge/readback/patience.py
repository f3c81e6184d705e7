"""Ask again while a store is busy, within a deadline, and with fewer requests at once after it has said "too many"."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from netra_otel_bridge.core.clock import Backoff, Clock, SystemClock
from netra_otel_bridge.core.errors import DestinationError
from netra_otel_bridge.source.budget import Budget

T = TypeVar("T")
DEADLINE_S = 60.0
"""Seconds for which a store that has answered before is asked again."""
FIRST_DEADLINE_S = 10.0
"""Deadline of a store that has not answered yet: its address may be wrong."""

REFUSING_HINT = "it answers but refuses: raise its rate limit, or verify fewer traces with --sample N"
"""Hint about a store that says that it is busy until the deadline."""


class Again(Exception):
    """One attempt failed, and a later one may succeed. ``error`` is raised if none does before the deadline.

    ``after_s`` is the wait that the store asked for; ``throttled`` tells that it got too many requests; ``answered``
    is false if nothing is known to be at the address; ``tries`` limits the attempts at what seldom changes.
    """

    def __init__(
        self,
        error: DestinationError,
        *,
        after_s: float | None = None,
        throttled: bool = False,
        answered: bool = True,
        tries: int | None = None,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.after_s = after_s
        self.throttled = throttled
        self.answered = answered
        self.tries = tries


class Patience:
    """The retries of one reader, and the number of requests it has in flight. Belongs to one event loop.

    ``calls`` counts the attempts so far.
    """

    def __init__(
        self,
        concurrency: int,
        clock: Clock | None = None,
        deadline_s: float = DEADLINE_S,
        first_deadline_s: float = FIRST_DEADLINE_S,
    ) -> None:
        self.clock = clock or SystemClock()
        self.calls = 0
        self._budget = Budget(max_concurrency=concurrency, rate_per_s=None, clock=self.clock)
        self._backoff = Backoff(first_s=0.25, max_s=10.0)
        self._deadline_s = deadline_s
        self._first_deadline_s = min(first_deadline_s, deadline_s)
        self._answered = False

    async def ask(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return the result of ``attempt``, which raises `Again` to be called again.

        Raises the error of the last attempt once the next would begin after the deadline.
        """
        begun: float | None = None
        tries = 0
        while True:
            token = await self._budget.acquire()
            begun = self.clock.monotonic() if begun is None else begun
            self.calls += 1
            try:
                result = await attempt()
            except Again as again:
                delay_s = self._delay_s(again, token, tries)
                tries += 1
                limit_s = self._deadline_s if self._answered else self._first_deadline_s
                if self.clock.monotonic() + delay_s - begun > limit_s or tries == again.tries:
                    raise again.error from None
            else:
                self._answered = True
                self._budget.succeeded()
                return result
            finally:
                self._budget.release()
            await self.clock.sleep(delay_s)

    def _delay_s(self, again: Again, token: int, tries: int) -> float:
        """Return the wait before the next attempt, at least what the store asked for."""
        self._answered = self._answered or again.answered
        if again.throttled:
            self._budget.throttled(token)
        asked_s = again.after_s or 0.0
        if asked_s:
            self._budget.pause(min(asked_s, self._deadline_s))
        return max(self._backoff.delay_s(tries), asked_s)
