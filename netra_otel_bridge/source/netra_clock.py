"""Decide what time it is, from two clocks that may both jump: Netra's, which stamps the spans, and this machine's.

    now_ns     Netra's time, as far as it is believed: what to list, and what has settled
    safe_ns    the earlier of both clocks: how far progress is recorded, forgotten, and counted by period
    latest_ns  the later of both clocks: a stored time after it lies in the future

Neither clock can be proved right, so nothing that lasts depends on one of them alone. Netra's time is kept relative to
this machine's monotonic clock. A jump of this machine's wall clock therefore does not move it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from netra_otel_bridge.core.clock import CLOCK_OFF_NS, HOUR_NS, MINUTE_NS, NS_PER_S, Clock
from netra_otel_bridge.core.errors import NetraError, NetraUnauthorized, NetraUntrusted
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.health import ClockHealth
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.source import AsyncNetraClient

BELIEVED_SAMPLES = 5
BELIEVED_S = 120.0
"""A jump of Netra's clock is believed after this many samples in a row, over this time, that agree about it."""
SHOWN_S = 120.0
"""A disagreement is shown this long, because one wrong server behind a load balancer gives the time only now and then."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Jump:
    """A jump of Netra's clock that is not believed yet: its base, the first sample's time, and the number of samples."""

    base_ns: int
    at_s: float
    samples: int = 1


class NetraClock:
    """Tells the time by Netra's clock and this machine's; for use in one event loop, and to read in any thread.

    It receives each ``Date`` that ``client`` reads. Before the first one, all times are this machine's. The first one is
    believed at once. After that, a time is believed if it differs from the believed one, or from this machine's clock,
    by less than `CLOCK_OFF_NS`; any other time is a jump, which takes `BELIEVED_SAMPLES`. ``jumps`` counts how often
    the believed time jumped.
    """

    def __init__(self, client: AsyncNetraClient, clock: Clock, log_limit: LogLimit) -> None:
        self.jumps = 0
        self._client = client
        self._clock = clock
        self._log_limit = log_limit
        self._base_ns: int | None = None
        """Netra's time, as believed, when the monotonic clock was 0."""
        self._jump: _Jump | None = None
        self._given_ns = 0
        """The base of the latest sample, believed or not."""
        self._off_at_s: float | None = None
        self._off_base_ns = 0
        self._off_since_ns = 0
        client.watch_dates(self._sample)

    @property
    def has_answer(self) -> bool:
        """Return whether Netra has told its time."""
        return self._base_ns is not None

    def now_ns(self) -> int:
        """Return the time that Netra's clock is believed to show; this machine's time while both agree."""
        own_ns, netra_ns = self._both()
        return own_ns if abs(own_ns - netra_ns) < CLOCK_OFF_NS else netra_ns

    def safe_ns(self) -> int:
        """Return the time that both clocks have reached."""
        return min(self._both())

    def latest_ns(self) -> int:
        """Return the time that at least one clock has reached."""
        return max(self._both())

    def health(self) -> ClockHealth:
        """Return how far the clocks differ. A disagreement stays visible for `SHOWN_S`."""
        own_ns, now_s = self._clock.now_ns(), self._clock.monotonic()
        if self._base_ns is None:
            return ClockHealth(own_ns)
        own_base_ns = own_ns - _ns(now_s)
        bases = [self._given_ns]
        if self._off_at_s is not None and now_s - self._off_at_s < SHOWN_S:
            bases.append(self._off_base_ns)
        offset_ns = max((base_ns - own_base_ns for base_ns in bases), key=abs)
        if abs(offset_ns) < CLOCK_OFF_NS:
            return ClockHealth(own_ns, offset_ns)
        return ClockHealth(own_ns, offset_ns, _problem(offset_ns), self._off_since_ns or own_ns)

    async def ask(self) -> NetraError | None:
        """Make a small call, to learn whether Netra responds, and its time. Return the error if it does not respond.

        It lists the latest minute or, if that fails, an earlier one: Netra may fail for a single range.
        """
        now_ns = self._clock.now_ns()
        first: NetraError | None = None
        for end_ns in (now_ns, now_ns - HOUR_NS):
            try:
                await self._client.list_traces(iso_ms(end_ns - MINUTE_NS), iso_ms(end_ns), limit=1)
            except NetraError as error:
                first = first or error
                if isinstance(error, NetraUnauthorized | NetraUntrusted) or error.status is None:
                    break
            else:
                return None
        return first

    def _both(self) -> tuple[int, int]:
        """Return this machine's time, and Netra's as believed."""
        own_ns, base_ns = self._clock.now_ns(), self._base_ns
        return own_ns, own_ns if base_ns is None else base_ns + _ns(self._clock.monotonic())

    def _sample(self, date_ns: int, at_s: float) -> None:
        """Take a time that Netra gave when the monotonic clock was ``at_s``."""
        given_ns = self._given_ns = date_ns - _ns(at_s)
        offset_ns = date_ns - self._clock.now_ns()
        agrees = abs(offset_ns) < CLOCK_OFF_NS
        if not agrees:
            self._disagree(given_ns, offset_ns, at_s)
        elif self._off_at_s is not None and at_s - self._off_at_s >= SHOWN_S:
            self._off_at_s, self._off_since_ns = None, 0
        if self._base_ns is None or agrees or abs(given_ns - self._base_ns) < CLOCK_OFF_NS:
            self._believe(given_ns)
        elif self._jump is None or abs(given_ns - self._jump.base_ns) >= CLOCK_OFF_NS:
            self._jump = _Jump(given_ns, at_s)
        else:
            self._jump.samples += 1
            if self._jump.samples >= BELIEVED_SAMPLES and at_s - self._jump.at_s >= BELIEVED_S:
                self._believe(given_ns)

    def _disagree(self, given_ns: int, offset_ns: int, at_s: float) -> None:
        if self._off_at_s is None or at_s - self._off_at_s >= SHOWN_S:
            self._off_since_ns = self._clock.now_ns()
        self._off_at_s, self._off_base_ns = at_s, given_ns
        self._log_limit.log(_log, logging.WARNING, "clock", _problem(offset_ns))

    def _believe(self, base_ns: int) -> None:
        if self._base_ns is not None and abs(base_ns - self._base_ns) >= CLOCK_OFF_NS:
            self.jumps += 1
        self._base_ns, self._jump = base_ns, None


def _problem(offset_ns: int) -> str:
    side = "ahead of" if offset_ns > 0 else "behind"
    return (
        f"Netra's clock is {abs(offset_ns) / NS_PER_S:.0f} s {side} this machine's; "
        "progress is recorded up to the earlier of both: check the time here (NTP) and the Date header of Netra's answers"
    )


def _ns(seconds: float) -> int:
    return int(seconds * NS_PER_S)
