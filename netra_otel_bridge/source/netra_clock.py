"""Tell the time by Netra's clock, which stamps the spans."""

from __future__ import annotations

import logging

from netra_otel_bridge.core.clock import HOUR_NS, NS_PER_S, Clock
from netra_otel_bridge.core.errors import NetraError
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.source import AsyncNetraClient

CLOCK_OFF_NS = 60 * NS_PER_S
"""Largest difference between the clocks at which this machine's clock is still used."""
_log = logging.getLogger(__name__)


class NetraClock:
    """Tells the time by this machine's clock, or by Netra's if they differ by a minute or more.

    Netra's clock stamps spans, so windows must follow it.
    """

    def __init__(self, client: AsyncNetraClient, clock: Clock, log_limit: LogLimit) -> None:
        self._client = client
        self._clock = clock
        self._log_limit = log_limit

    def now_ns(self) -> int:
        """Return the current time."""
        now_ns, netra_ns = self._clock.now_ns(), self._client.netra_now_ns()
        if netra_ns is None or abs(now_ns - netra_ns) < CLOCK_OFF_NS:
            return now_ns
        off_s = (now_ns - netra_ns) / NS_PER_S
        problem = f"this machine's clock is off by {off_s:+.0f} s; using Netra's"
        self._log_limit.log(_log, logging.WARNING, "clock", problem)
        return netra_ns

    async def ask(self) -> NetraError | None:
        """Make a small call, to learn whether Netra responds, and its time. Return the error if it does not respond."""
        now_ns = self._clock.now_ns()
        try:
            await self._client.list_traces(iso_ms(now_ns - 24 * HOUR_NS), iso_ms(now_ns), limit=1)
        except NetraError as error:
            return error
        return None
