"""Poll at a steady interval, for lanes and for usage; after a failure, wait, longer each time, or for a new API key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from netra_otel_bridge.core.clock import NS_PER_S, Backoff, Clock
from netra_otel_bridge.core.errors import BridgeError, DestinationRefuses, NetraUnauthorized, StateError
from netra_otel_bridge.pipeline.watch import FollowerWatch

HOLD = Backoff(first_s=1.0, max_s=30.0)
"""Back-off while Netra cannot be read. The client has already retried several times by then."""
KEY_LOOK_S = 5.0
"""Interval at which the API key is read again while Netra rejects the current one."""


class PollLoop:
    """The loop of one lane that polls every ``poll_ns``, and its waits after failures.

    ``watch`` shows each wait. ``renew_key`` reads the API key again and returns how often it has changed so far.
    ``flush`` is awaited after each successful poll and before each wait.
    """

    def __init__(
        self,
        watch: FollowerWatch,
        *,
        poll_ns: int,
        clock: Clock,
        renew_key: Callable[[], int],
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._watch = watch
        self._poll_s = poll_ns / NS_PER_S
        self._clock = clock
        self._renew_key = renew_key
        self._flush = flush
        self._failures = 0
        self._key_changes = 0

    async def run(self, poll: Callable[[], Awaitable[BridgeError | None]]) -> DestinationRefuses:
        """Poll until the destination rejects too many spans, and return that error.

        ``poll`` returns the error that ended it, if any. A failed poll is repeated after a wait. Raises `StateError`,
        and whatever else ``poll`` raises.
        """
        while True:
            started_s = self._clock.monotonic()
            error = await poll()
            if isinstance(error, StateError):
                raise error
            if isinstance(error, DestinationRefuses):
                return error
            if error is not None:
                await self.wait(error)
                continue
            self._failures = 0
            self._watch.clear()
            if self._flush is not None:
                await self._flush()
            elapsed_s = self._clock.monotonic() - started_s
            await self._clock.sleep(max(0.0, self._poll_s - elapsed_s))

    async def wait(self, error: BridgeError) -> None:
        """Wait after ``error``. If Netra rejects the key, wait for another key, or until it may accept this one."""
        self._failures += 1
        if not isinstance(error, NetraUnauthorized):
            delay_s = HOLD.delay_s(self._failures)
            await self._show(error, delay_s)
            await self._clock.sleep(delay_s)
        elif not self._has_new_key():
            await self._show(error, HOLD.max_s)
            for _ in range(round(HOLD.max_s / KEY_LOOK_S)):
                await self._clock.sleep(KEY_LOOK_S)
                if self._has_new_key():
                    return

    async def _show(self, error: BridgeError, delay_s: float) -> None:
        self._watch.waiting(str(error), delay_s)
        if self._flush is not None:
            await self._flush()

    def _has_new_key(self) -> bool:
        """Return whether there is a key that this lane has not tried, whichever lane found it."""
        before, self._key_changes = self._key_changes, self._renew_key()
        return self._key_changes != before
