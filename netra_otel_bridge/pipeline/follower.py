"""Follow live traffic to one destination: poll repeatedly, and wait after failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from netra_otel_bridge.core.clock import NS_PER_MS, NS_PER_S, Clock
from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.health import LaneHealth
from netra_otel_bridge.core.model.progress import KnownTrace
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.pipeline.digests import is_confirmed
from netra_otel_bridge.pipeline.lane import TraceLane
from netra_otel_bridge.pipeline.polling import PollLoop
from netra_otel_bridge.pipeline.route import Route
from netra_otel_bridge.pipeline.watch import FollowerWatch
from netra_otel_bridge.pipeline.windows import FAR_POLLS, Lookback, split
from netra_otel_bridge.source.netra_clock import NetraClock

PRUNE_MARGIN_NS = 3600 * NS_PER_S


class Follower:
    """Follows live traffic to one destination.

    A failed pass is repeated; its progress is recorded, so waiting loses nothing. Every wait ends without intervention,
    with one exception: if a destination rejects too many spans, its lane is ``stopped``, and the others continue.
    """

    def __init__(
        self,
        route: Route,
        watch: FollowerWatch,
        lookback: Lookback,
        *,
        poll_ns: int,
        window_ns: int,
        remember_ns: int,
        clock: Clock,
        netra_clock: NetraClock,
        renew_key: Callable[[], int],
    ) -> None:
        self.stopped: BridgeError | None = None
        self._route = route
        self._recorder = route.recorder
        self._watch = watch
        self._lookback = lookback
        self._poll_ns = poll_ns
        self._window_ns = window_ns
        self._remember_ns = max(remember_ns, lookback.longest_ns + PRUNE_MARGIN_NS)
        self._netra_clock = netra_clock
        self._loop = PollLoop(watch, poll_ns=poll_ns, clock=clock, renew_key=renew_key, flush=route.recorder.flush)
        self._since_ns = 0
        self._passes = 0
        self._reports = LaneReport(watch.name), LaneReport(watch.name)
        """The sum of all earlier passes, and the current pass. Replaced together, because other threads read them."""

    async def run(self, since_ns: int | None) -> None:
        """Follow until cancelled; return when the lane is stopped. A new destination starts at ``since_ns``, else now.

        Raises `StateError`, and any defect.
        """
        state = self._recorder.lane
        if state.since_ns() is None:
            start_ns = await self._now_ns() if since_ns is None else since_ns
            await self._recorder.write(partial(state.follow_from, start_ns))
        self._since_ns = state.since_ns() or 0
        self._recorder.problem("")
        self._recorder.resume(self._since_ns)
        self.stopped = await self._loop.run(self._poll)
        self._watch.stopped(str(self.stopped))
        await self._recorder.flush()

    async def _poll(self) -> BridgeError | None:
        """Make a pass over the window that is due, if any; return the error that ended it, if any."""
        now_ns = self._netra_clock.now_ns()
        window = self._lookback.window(self._passes, now_ns, self._recorder.watermark_ns, self._since_ns)
        error = await self._netra_clock.ask() if window is None else await self._pass(window, now_ns)
        if error is None:
            self._passes += 1
        return error

    async def _pass(self, window: Window, now_ns: int) -> BridgeError | None:
        """Make one pass over a window; return the error that ended it, if any."""
        lane = TraceLane(self._route, split(window, self._window_ns), follow=True, read_again=self._reads_again(now_ns))
        before, _ = self._reports
        self._reports = before, lane.report
        try:
            await lane.run()
        finally:
            done = replace(before)
            done.add(lane.report)
            self._reports = done, LaneReport(self._watch.name)
        for problem in lane.report.problems:
            self._watch.span_problem(problem)
        if lane.report.error is None and self._lookback.is_far(self._passes):
            await self._recorder.write(partial(self._recorder.lane.prune, now_ns - self._remember_ns))
        return lane.report.error

    async def _now_ns(self) -> int:
        """Return the time by Netra's clock once it has answered, else by that of this machine."""
        await self._netra_clock.ask()
        return self._netra_clock.now_ns() // NS_PER_MS * NS_PER_MS

    def _reads_again(self, now_ns: int) -> Callable[[KnownTrace], bool]:
        """Return a predicate that selects the unchanged traces to read again.

        A poll that looks back far reads those that were recorded some time ago, until a reading finds nothing new.
        """
        if not self._lookback.is_far(self._passes):
            return lambda _: False
        before_ns = now_ns - FAR_POLLS * self._poll_ns // 2
        return lambda known: known.recorded_ns < before_ns and not is_confirmed(known.digest)

    def health(self) -> LaneHealth:
        """Return the current health of the lane. May be called on any thread."""
        done, now = self._reports
        return LaneHealth(
            destination=self._watch.name,
            stopped=self.stopped is not None,
            problem=self._watch.problem,
            problem_since_ns=self._watch.problem_since_ns,
            watermark_ns=self._recorder.watermark_ns,
            checkpoint_ns=self._recorder.stored_ns,
            passes=self._passes,
            read=done.spans + now.spans - done.skipped - now.skipped,
            delivered=done.delivered + now.delivered,
            refused=done.refused + now.refused,
            dead_lettered=done.dead_lettered + now.dead_lettered,
            size_bytes=done.size_bytes + now.size_bytes,
            retries=self._watch.retries,
            held_back=sum(not held.given_up for held in list(self._recorder.held_back.values())),
        )
