"""Waiting after a failure: longer each time, or until there is another key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from netra_otel_bridge.core.clock import Backoff, Clock
from netra_otel_bridge.core.errors import BridgeError, NetraUnauthorized

HOLD = Backoff(first_s=1.0, max_s=30.0)
"""Waits while Netra cannot be read; its client has tried several times before that."""
KEY_LOOK_S = 5.0
"""How often the key is read again while Netra refuses the present one."""


class Holding:
    """The waits of one lane. ``renew_key`` says how often the key has changed so far, ``tell(error, delay_s)`` is
    awaited before each wait."""

    def __init__(
        self, clock: Clock, renew_key: Callable[[], int], tell: Callable[[BridgeError, float], Awaitable[None]]
    ) -> None:
        self._clock = clock
        self._renew_key = renew_key
        self._tell = tell
        self._failures = 0
        self._keys = 0

    def clear(self) -> None:
        """All went well: the next wait is a short one."""
        self._failures = 0

    async def wait(self, error: BridgeError) -> None:
        """Wait after ``error``. Where the key is refused, for another one, or as long as Netra may take to accept this one."""
        self._failures += 1
        if not isinstance(error, NetraUnauthorized):
            delay_s = HOLD.delay_s(self._failures)
            await self._tell(error, delay_s)
            await self._clock.sleep(delay_s)
        elif not self._has_new_key():
            await self._tell(error, HOLD.max_s)
            for _ in range(round(HOLD.max_s / KEY_LOOK_S)):
                await self._clock.sleep(KEY_LOOK_S)
                if self._has_new_key():
                    return

    def _has_new_key(self) -> bool:
        """Whether there is a key that this lane has not tried, whichever lane found it."""
        before, self._keys = self._keys, self._renew_key()
        return self._keys != before
