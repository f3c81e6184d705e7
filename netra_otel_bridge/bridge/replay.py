"""Copy a time range to destinations once, or send their dead letters again, and report."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from netra_otel_bridge.bridge.wiring import Wiring
from netra_otel_bridge.core.clock import CLOCK_OFF_NS, NS_PER_S, Clock
from netra_otel_bridge.core.errors import Stopped
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.report import LaneReport, ReplayReport
from netra_otel_bridge.core.tasks import all_of, run_until_set
from netra_otel_bridge.deliver import To
from netra_otel_bridge.pipeline.dead_letters import resend
from netra_otel_bridge.pipeline.lane import TraceLane
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.pipeline.route import Route
from netra_otel_bridge.pipeline.watch import LaneWatch
from netra_otel_bridge.pipeline.windows import split, without
from netra_otel_bridge.state import StateStore

OnProgress = Callable[[LaneReport], None]
_log = logging.getLogger(__name__)


class ProgressWatch(LaneWatch):
    """Passes a lane's report to ``on_progress``, if given, each time it grows."""

    def __init__(self, name: str, log_limit: LogLimit, on_progress: OnProgress | None) -> None:
        super().__init__(name, log_limit)
        self._on_progress = on_progress

    def progress(self, report: LaneReport) -> None:
        """Pass the report on."""
        if self._on_progress is not None:
            self._on_progress(report)


async def copy_range(
    wiring: Wiring,
    to: To | Sequence[To] | None,
    window: Window,
    query: TraceQuery | None,
    state: StateStore | None,
    *,
    reread: bool,
    on_progress: OnProgress | None,
    stop: threading.Event | None = None,
) -> ReplayReport:
    """Copy the traces of ``window`` to each destination in a lane of its own, until ``stop`` is set.

    Raises `Stopped` if it was stopped, else the first error of a lane; either has the whole report as its ``report``.
    """
    clock = wiring.clock
    started = clock.monotonic()
    async with AsyncExitStack() as stack:
        routes = await wiring.routes(
            stack, to, (query,), wiring.enter_state(stack, state), new_watch=_reporting_to(on_progress)
        )
        reports = [LaneReport(route.watch.name) for route in routes]
        lanes = all_of(
            _copy_to(wiring, route, window, reread, report) for route, report in zip(routes, reports, strict=True)
        )
        stopped = await run_until_set(lanes, stop, clock)
    _warn_of_clocks(routes, clock)
    report = _report(reports, clock.monotonic() - started, window, routes)
    if stopped:
        error = Stopped("the replay was stopped before its end", hint="acknowledged spans are recorded")
        error.report = report
        raise error
    return _without_error(report)


async def resend_dead_letters(
    wiring: Wiring,
    to: To | Sequence[To] | None,
    query: TraceQuery | None,
    state: StateStore | None,
    on_progress: OnProgress | None,
) -> ReplayReport:
    """Send the dead letters of each destination again. Raises the first error of a lane, with the whole report."""
    started = wiring.clock.monotonic()
    async with AsyncExitStack() as stack:
        routes = await wiring.routes(
            stack,
            to,
            (query,),
            wiring.enter_state(stack, state),
            new_watch=_reporting_to(on_progress),
            stops_when_refused=False,
        )
        reports = await all_of(resend(route) for route in routes)
    return _without_error(_report(reports, wiring.clock.monotonic() - started))


async def _copy_to(wiring: Wiring, route: Route, whole: Window, reread: bool, report: LaneReport) -> None:
    """Copy the windows that are not final, and update ``report`` meanwhile.

    A final window is not expected to gain traces.
    """
    settings, state = wiring.settings, route.recorder.lane
    before_ns = wiring.clock.now_ns() - settings.remember_ns
    final = [one.window for one in state.finished() if one.finished_ns < before_ns and one.window.end_ns < before_ns]
    since_ns, watermark_ns = state.since_ns(), state.watermark_ns()
    if since_ns is not None and watermark_ns is not None:
        followed_ns = min(watermark_ns, state.watermark_set_ns())  # older versions may have recorded a time to come
        final.append(Window(since_ns, min(followed_ns - settings.lookback_ns, before_ns)))
    windows = list(split(whole, settings.window_ns))
    due = without(windows, final)
    report.windows = report.final_windows = len(windows) - len(due)
    last_letter = state.last_letter()
    await TraceLane(route, due, whole, report=report).run()
    if reread and report.error is None:
        again = TraceLane(route, due, whole, read_again=lambda _: True)
        try:
            await again.run()
        finally:
            report.verified_by(again.report)
    if report.error is None:
        report.kept = state.kept_letters(last_letter)


def _warn_of_clocks(routes: Sequence[Route], clock: Clock) -> None:
    netra_ns = routes[0].client.netra_now_ns() if routes else None
    off_ns = 0 if netra_ns is None else netra_ns - clock.now_ns()
    if abs(off_ns) >= CLOCK_OFF_NS:
        _log.warning(
            "Netra's clock is %.0f s %s this machine's, which decides what `24h` and `now` mean: check the time here "
            "(NTP), or give absolute times",
            abs(off_ns) / NS_PER_S,
            "ahead of" if off_ns > 0 else "behind",
        )


def _reporting_to(on_progress: OnProgress | None) -> Callable[[str, LogLimit, Recorder], ProgressWatch]:
    return lambda name, log_limit, _: ProgressWatch(name, log_limit, on_progress)


def _report(
    reports: Sequence[LaneReport], seconds: float, window: Window | None = None, routes: Sequence[Route] = ()
) -> ReplayReport:
    """Sum up the lanes; ``routes`` are those that read Netra."""
    notes: dict[str, int] = {}
    for route in routes:
        for note, count in route.converter.counts.items():
            notes[note] = max(notes.get(note, 0), count)
    return ReplayReport(
        window=window,
        destinations=tuple(reports),
        api_calls=routes[0].client.stats.calls.total() if routes else 0,
        retries=sum(lane.retries for lane in reports) + (routes[0].client.stats.retries if routes else 0),
        seconds=seconds,
        notes={note: count for note, count in sorted(notes.items()) if count},
    )


def _without_error(report: ReplayReport) -> ReplayReport:
    """Return the report; raises the first error of its lanes, if any, with the report."""
    for lane in report.destinations:
        if lane.error is not None:
            lane.error.report = report
            raise lane.error
    return report
