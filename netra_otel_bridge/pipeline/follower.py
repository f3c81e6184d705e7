"""Follow live traffic to one destination: poll repeatedly, and wait after failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.health import LaneHealth
from netra_otel_bridge.core.model.progress import KnownTrace
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.pipeline.arrival import ArrivalSample
from netra_otel_bridge.pipeline.digests import is_confirmed
from netra_otel_bridge.pipeline.lane import TraceLane
from netra_otel_bridge.pipeline.open_windows import OpenWindows
from netra_otel_bridge.pipeline.polling import PollLoop
from netra_otel_bridge.pipeline.position import Position
from netra_otel_bridge.pipeline.route import Route
from netra_otel_bridge.pipeline.slow import SlowTraces
from netra_otel_bridge.pipeline.watch import FollowerWatch
from netra_otel_bridge.pipeline.windows import FAR_POLLS, Lookback, split
from netra_otel_bridge.source.netra_clock import NetraClock


class Follower:
    """Follows live traffic to one destination.

    A failed pass is repeated; its progress is recorded, so waiting loses nothing. Every wait ends without intervention,
    with one exception: if a destination rejects too many spans, its lane is ``stopped``, and the others continue.
    ``arrival`` reads a sample back beside it; the health has its counts.
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
        arrival: ArrivalSample | None = None,
    ) -> None:
        self.stopped: BridgeError | None = None
        self._route = route
        self._recorder = route.recorder
        self._watch = watch
        self._lookback = lookback
        self._poll_ns = poll_ns
        self._window_ns = window_ns
        self._clock = clock
        self._netra_clock = netra_clock
        self._position = Position(
            self._recorder, lookback, netra_clock, remember_ns, lambda text: watch.log(text, "position")
        )
        self._loop = PollLoop(watch, poll_ns=poll_ns, clock=clock, renew_key=renew_key, flush=route.recorder.flush)
        self._slow = SlowTraces(route.client)
        self._open = OpenWindows(clock)
        self._arrival = arrival
        self._passes = 0
        self._reports = LaneReport(watch.name), LaneReport(watch.name)
        """The sum of all earlier passes, and the current pass. Replaced together, because other threads read them."""

    async def run(self, since_ns: int | None) -> None:
        """Follow until cancelled; return when the lane is stopped. A new destination starts at ``since_ns``, else now.

        Raises `StateError`, and any defect.
        """
        if self._recorder.lane.since_ns() is None:
            await self._netra_clock.ask()
        await self._position.open(since_ns)
        self._recorder.problem("")
        try:
            self.stopped = await self._loop.run(self._poll)
        finally:
            await self._slow.close()
        self._watch.stopped(str(self.stopped))
        await self._recorder.flush()

    async def _poll(self) -> BridgeError | None:
        """Make a pass over the window that is due, if any; return the error that ended it, if any."""
        if not self._passes and not self._netra_clock.has_answer:
            unanswered = await self._netra_clock.ask()
            if unanswered is not None:
                return unanswered
        if self._netra_clock.has_answer:
            await self._position.check()
        windows = self._position.due(self._passes, self._open.start_ns)
        error = await self._pass(windows) if windows else await self._netra_clock.ask()
        if error is None:
            self._passes += 1
        return error

    async def _pass(self, due: list[Window]) -> BridgeError | None:
        """Make one pass over the windows that are due; return the error that ended it, if any."""
        parts = self._open.due(due)
        windows = chain.from_iterable(split(window, self._window_ns) for window in parts)
        scope = Window(due[0].start_ns, due[-1].end_ns)
        lane = TraceLane(self._route, windows, scope, follow=True, read_again=self._reads_again(), slow=self._slow)
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
        if lane.report.error is None:
            self._open.update(parts, lane.open_windows)
            self._watch.stand(self._open.problem)
            await self._position.advance(due, prune=self._lookback.is_far(self._passes))
        return lane.report.error

    def _reads_again(self) -> Callable[[KnownTrace], bool]:
        """Return a predicate that selects the unchanged traces to read again.

        A poll that looks back far reads those that were recorded some time ago, until a reading finds nothing new.
        Recording times are by this machine's clock. One in the future tells nothing, so that trace is read again.
        """
        if not self._lookback.is_far(self._passes):
            return lambda _: False
        now_ns = self._clock.now_ns()
        recent = range(now_ns - FAR_POLLS * self._poll_ns // 2, now_ns + 1)
        return lambda known: known.recorded_ns not in recent and not is_confirmed(known.digest)

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
            arrival=self._arrival.health() if self._arrival is not None else None,
        )
