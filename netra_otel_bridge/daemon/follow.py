"""One destination of the service: poll after poll, and holding while something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from netra_otel_bridge.bridge import Route
from netra_otel_bridge.clock import NS_PER_MS, NS_PER_S, Backoff, Clock, iso_ms
from netra_otel_bridge.daemon.notices import Notices
from netra_otel_bridge.errors import BridgeError, DestinationRefuses, NetraError, NetraUnauthorized, StateError
from netra_otel_bridge.model import KnownTrace, LaneHealth, LaneReport
from netra_otel_bridge.progress import is_confirmed
from netra_otel_bridge.windows import FAR_POLLS, HOUR_NS, Lookback, split

HOLD = Backoff(first_s=1.0, max_s=30.0)
"""Waits between passes while Netra cannot be read; its client has tried several times before that."""
KEY_LOOK_S = 5.0
"""How often the key is read again while Netra refuses the present one."""
CLOCK_OFF_NS = 60 * NS_PER_S
"""How far this machine's clock may be off before Netra's is taken instead."""
DAY_NS = 24 * HOUR_NS
PRUNE_MARGIN_NS = 3600 * NS_PER_S


class Follower:
    """Follows live traffic to one destination.

    A pass that fails is done again, for it recorded what it got done: nothing is lost by waiting. Waiting ends by
    itself, except where a destination refuses too much: that lane is ``stopped``, and the others go on.
    """

    def __init__(
        self,
        route: Route,
        notices: Notices,
        lookback: Lookback,
        *,
        poll_ns: int,
        window_ns: int,
        remember_ns: int,
        clock: Clock,
        renew_key: Callable[[], int],
    ) -> None:
        self.stopped: BridgeError | None = None
        self._route = route
        self._notices = notices
        self._lookback = lookback
        self._poll_ns = poll_ns
        self._window_ns = window_ns
        self._remember_ns = max(remember_ns, lookback.longest_ns + PRUNE_MARGIN_NS)
        self._clock = clock
        self._renew_key = renew_key
        self._keys = 0
        self._since_ns = 0
        self._passes = 0
        self._reports = LaneReport(notices.name), LaneReport(notices.name)
        """Of all passes before, and of the present one: replaced together, for other threads read them."""

    async def run(self, since_ns: int | None) -> None:
        """Follow until cancelled; ``since_ns`` is where a destination starts that was never followed, ``None`` now.

        Returns when the lane is stopped. Raises `StateError`, and whatever is a defect.
        """
        state = self._route.progress.lane
        if state.since_ns() is None:
            begins_ns = await self._present_ns() if since_ns is None else since_ns
            await self._route.progress.write(partial(state.follow_from, begins_ns))
        self._since_ns = state.since_ns() or 0
        self._route.progress.problem("")
        self._route.progress.watermark_ns = state.watermark_ns() or self._since_ns
        failures = 0
        while self.stopped is None:
            begun = self._clock.monotonic()
            error = await self._pass()
            if error is None:
                failures = 0
                self._notices.clear()
                await self._route.progress.flush()
                rest_s = self._poll_ns / NS_PER_S - (self._clock.monotonic() - begun)
                await self._clock.sleep(max(0.0, rest_s))
            else:
                failures += 1
                await self._hold(error, failures)

    async def _pass(self) -> BridgeError | None:
        """One poll, if there is anything to cover yet; the error that ended it, if one did."""
        now_ns = self.now_ns()
        window = self._lookback.window(self._passes, now_ns, self._route.progress.watermark_ns, self._since_ns)
        if window is None:
            error = await self._ask()
            if error is not None:
                return error
        else:
            lane = self._route.lane()
            before, _ = self._reports
            self._reports = before, lane.report
            try:
                windows = split(window, self._window_ns)
                await lane.run(windows, follow=True, read_again=self._reads_again(now_ns))
            finally:
                done = replace(before)
                done.add(lane.report)
                self._reports = done, LaneReport(self._notices.name)
            for problem in lane.report.problems:
                self._notices.span_problem(problem)
            if lane.report.error is not None:
                return lane.report.error
            if self._lookback.is_far(self._passes):
                before_ns = now_ns - self._remember_ns
                await self._route.progress.write(partial(self._route.progress.lane.prune, before_ns))
        self._passes += 1
        return None

    async def _present_ns(self) -> int:
        """The time by Netra's clock, once it has answered something; else by this machine's."""
        await self._ask()
        return self.now_ns() // NS_PER_MS * NS_PER_MS

    async def _ask(self) -> NetraError | None:
        """Ask Netra for next to nothing: its answer says whether it is there, and what time it is."""
        now_ns = self._clock.now_ns()
        try:
            await self._route.client.list_traces(iso_ms(now_ns - DAY_NS), iso_ms(now_ns), limit=1)
        except NetraError as error:
            return error
        return None

    def now_ns(self) -> int:
        """The time by Netra's clock where this machine's is far off: spans and windows go by that one."""
        now_ns, netra_ns = self._clock.now_ns(), self._route.client.netra_now_ns()
        if netra_ns is None or abs(now_ns - netra_ns) < CLOCK_OFF_NS:
            return now_ns
        off_s = (now_ns - netra_ns) / NS_PER_S
        self._notices.log(f"this machine's clock is {off_s:+.0f} s off; going by Netra's", "clock")
        return netra_ns

    def _reads_again(self, now_ns: int) -> Callable[[KnownTrace], bool]:
        """Which unchanged traces a poll that goes back far reads again: those read some time ago, until nothing is new."""
        if not self._lookback.is_far(self._passes):
            return lambda _: False
        before_ns = now_ns - FAR_POLLS * self._poll_ns // 2
        return lambda known: known.recorded_ns < before_ns and not is_confirmed(known.digest)

    async def _hold(self, error: BridgeError, failures: int) -> None:
        """Wait before the pass is done again, or give up."""
        if isinstance(error, StateError):
            raise error
        if isinstance(error, DestinationRefuses):
            self.stopped = error
            self._notices.stopped(str(error))
            await self._route.progress.flush()
            return
        if isinstance(error, NetraUnauthorized):
            await self._await_key(error)
            return
        delay_s = HOLD.delay_s(failures)
        await self._tell(error, delay_s)
        await self._clock.sleep(delay_s)

    async def _tell(self, error: BridgeError, delay_s: float) -> None:
        """Let everybody know what holds the lane up, the state included."""
        self._notices.holding(str(error), delay_s)
        await self._route.progress.flush()

    async def _await_key(self, error: NetraUnauthorized) -> None:
        """Wait for another key, or as long as Netra may take to accept this one again."""
        if self._has_new_key():
            return
        await self._tell(error, HOLD.max_s)
        for _ in range(round(HOLD.max_s / KEY_LOOK_S)):
            await self._clock.sleep(KEY_LOOK_S)
            if self._has_new_key():
                return

    def _has_new_key(self) -> bool:
        """Whether there is a key that this lane has not tried, whichever lane found it."""
        before, self._keys = self._keys, self._renew_key()
        return self._keys != before

    def health(self) -> LaneHealth:
        """How it is doing now."""
        done, now = self._reports
        return LaneHealth(
            destination=self._notices.name,
            stopped=self.stopped is not None,
            problem=self._notices.problem,
            problem_since_ns=self._notices.problem_since_ns,
            watermark_ns=self._route.progress.watermark_ns,
            checkpoint_ns=self._route.progress.stored_ns,
            passes=self._passes,
            read=done.spans + now.spans - done.skipped - now.skipped,
            delivered=done.delivered + now.delivered,
            refused=done.refused + now.refused,
            dead_lettered=done.dead_lettered + now.dead_lettered,
            size_bytes=done.bytes + now.bytes,
            retries=self._notices.retries,
        )
