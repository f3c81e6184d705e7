"""What time it is where the spans are stamped."""

from __future__ import annotations

import logging

from netra_otel_bridge.core.clock import HOUR_NS, NS_PER_S, Clock
from netra_otel_bridge.core.errors import NetraError
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.source import AsyncNetraClient

CLOCK_OFF_NS = 60 * NS_PER_S
"""How far this machine's clock may be off before Netra's is taken instead."""
_log = logging.getLogger(__name__)


class NetraClock:
    """The time by Netra's clock where this machine's is far off: spans and windows go by that one."""

    def __init__(self, client: AsyncNetraClient, clock: Clock, limiter: LogLimit) -> None:
        self._client = client
        self._clock = clock
        self._limiter = limiter

    def now_ns(self) -> int:
        """The present time."""
        now_ns, netra_ns = self._clock.now_ns(), self._client.netra_now_ns()
        if netra_ns is None or abs(now_ns - netra_ns) < CLOCK_OFF_NS:
            return now_ns
        off_s = (now_ns - netra_ns) / NS_PER_S
        problem = f"this machine's clock is {off_s:+.0f} s off; going by Netra's"
        self._limiter.log(_log, logging.WARNING, "clock", problem)
        return netra_ns

    async def ask(self) -> NetraError | None:
        """Ask Netra for next to nothing: its answer says whether it is there, and what time it is."""
        now_ns = self._clock.now_ns()
        try:
            await self._client.list_traces(iso_ms(now_ns - 24 * HOUR_NS), iso_ms(now_ns), limit=1)
        except NetraError as error:
            return error
        return None
