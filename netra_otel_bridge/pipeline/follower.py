"""One destination of the service: poll after poll, and holding while something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from netra_otel_bridge.core.clock import NS_PER_MS, NS_PER_S, Clock
from netra_otel_bridge.core.errors import BridgeError, DestinationRefuses, StateError
from netra_otel_bridge.core.model.health import LaneHealth
from netra_otel_bridge.core.model.progress import KnownTrace
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.pipeline.digests import is_confirmed
from netra_otel_bridge.pipeline.lane import Route
from netra_otel_bridge.pipeline.polling import Holding
from netra_otel_bridge.pipeline.watch import Notices
from netra_otel_bridge.pipeline.windows import FAR_POLLS, Lookback, split
from netra_otel_bridge.source.netra_clock import NetraClock

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
        present: NetraClock,
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
        self._present = present
        self._holding = Holding(clock, renew_key, self._tell)
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
        while self.stopped is None:
            begun = self._clock.monotonic()
            error = await self._pass()
            if error is None:
                self._holding.clear()
                self._notices.clear()
                await self._route.progress.flush()
                rest_s = self._poll_ns / NS_PER_S - (self._clock.monotonic() - begun)
                await self._clock.sleep(max(0.0, rest_s))
            else:
                await self._hold(error)

    async def _pass(self) -> BridgeError | None:
        """One poll, if there is anything to cover yet; the error that ended it, if one did."""
        now_ns = self._present.now_ns()
        window = self._lookback.window(self._passes, now_ns, self._route.progress.watermark_ns, self._since_ns)
        if window is None:
            error = await self._present.ask()
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
        await self._present.ask()
        return self._present.now_ns() // NS_PER_MS * NS_PER_MS

    def _reads_again(self, now_ns: int) -> Callable[[KnownTrace], bool]:
        """Which unchanged traces a poll that goes back far reads again: those read some time ago, until nothing is new."""
        if not self._lookback.is_far(self._passes):
            return lambda _: False
        before_ns = now_ns - FAR_POLLS * self._poll_ns // 2
        return lambda known: known.recorded_ns < before_ns and not is_confirmed(known.digest)

    async def _hold(self, error: BridgeError) -> None:
        """Wait before the pass is done again, or give up."""
        if isinstance(error, StateError):
            raise error
        if isinstance(error, DestinationRefuses):
            self.stopped = error
            self._notices.stopped(str(error))
            await self._route.progress.flush()
        else:
            await self._holding.wait(error)

    async def _tell(self, error: BridgeError, delay_s: float) -> None:
        """Let everybody know what holds the lane up, the state included."""
        self._notices.holding(str(error), delay_s)
        await self._route.progress.flush()

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
