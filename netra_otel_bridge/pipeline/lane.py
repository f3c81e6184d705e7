"""The trace lane: list, fetch, convert, batch, send, record, for one destination. Read this file first.

    windows -> Lister -> [traces] -> Fetcher -> [spans] -> Deliverer -> answers -> Recorder

Each stage is a few tasks. The queues between them are bounded, so a slow destination fills first the current batch,
then the memory budget, and then stops the listing. Only spans that the destination has answered are recorded. A trace
recorded with the same summary is not read again. A trace that cannot be read is held back (`held_back`), and delays no
other. If a trace changed, only its new and changed spans are sent. So a
trace that several windows list is delivered once, in one pass or in many. The first error of everything ends the
reading; what was read by then is still delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from netra_otel_bridge.core.errors import NetraError, StateError
from netra_otel_bridge.core.model.progress import KnownTrace
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.pipeline.delivering import Deliverer
from netra_otel_bridge.pipeline.fetching import Converted, Fetcher, Flush
from netra_otel_bridge.pipeline.held_back import HeldBack
from netra_otel_bridge.pipeline.in_flight import Pass
from netra_otel_bridge.pipeline.listing import LISTERS, Lister
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget
from netra_otel_bridge.pipeline.open_windows import about
from netra_otel_bridge.pipeline.route import Route
from netra_otel_bridge.pipeline.slow import SlowTraces
from netra_otel_bridge.pipeline.watch import first_cause, lane_error


class TraceLane:
    """One pass: copies the traces of ``windows`` to the destination of ``route``. ``report`` grows during `run`.

    With ``follow``, the pass records how far live traffic was followed instead of the windows that it finished. A late
    span may leave the summary of its trace unchanged: ``read_again`` decides whether to read such a trace anyway.
    ``again`` are spans, by Netra's ids of their traces, that are sent although they are recorded; the lane removes those
    that are answered. Nothing of them is stored, so a pass that is killed leaves no trace of them.
    ``scope`` is the range of all windows, ``slow`` has traces that passes do not wait for. A replay also tries the traces in it that were held back before.
    """

    def __init__(
        self,
        route: Route,
        windows: Iterable[Window],
        scope: Window,
        *,
        report: LaneReport | None = None,
        follow: bool = False,
        read_again: Callable[[KnownTrace], bool] = lambda _: False,
        again: Mapping[str, set[int]] | None = None,
        slow: SlowTraces | None = None,
    ) -> None:
        self.report = report if report is not None else LaneReport(route.watch.name)
        self._route = route
        self._pass = Pass(route, self.report, follow=follow, again=again)
        budget = MemoryBudget(route.options.held_bytes)
        self._follow = follow
        self._held = HeldBack(self._pass, scope, follow=follow, slow=slow)
        converted: asyncio.Queue[Converted | Flush] = asyncio.Queue(route.options.fetchers)
        self._lister = Lister(self._pass, self._held, windows, scope, read_again)
        self._fetcher = Fetcher(self._pass, self._held, budget, converted, slow)
        self._deliverer = Deliverer(self._pass, self._held, budget, converted)

    @property
    def open_windows(self) -> list[tuple[Window, NetraError]]:
        """Return the windows that could not be listed although others could, with the errors."""
        return self._pass.open_windows

    async def run(self) -> LaneReport:
        """Run the pass, once, and return the report.

        Errors of Netra, of the destination and of the state become ``report.error``; so does a bug, as a `BridgeError`.
        An exception that the caller's own watch raises is passed on. If cancelled, the lane stops reading, waits up to
        `DRAIN_S` for the response to the request in flight, and records it; if recording fails, it raises `StateError`.
        """
        recorder, watch = self._route.recorder, self._route.watch
        recorder.start_pass()
        retries = watch.retries
        try:
            async with asyncio.TaskGroup() as stages:
                works = self._deliverer.run(), self._deliverer.flush_idle(), recorder.run()
                background = [stages.create_task(work) for work in works]
                await self._read()
                for task in background:
                    task.cancel()
        except BaseExceptionGroup as group:
            self.report.error = lane_error(first_cause(group), watch)
        except asyncio.CancelledError:
            await recorder.flush()
            raise
        finally:
            self.report.retries = watch.retries - retries
        try:
            await recorder.flush()
        except StateError as error:
            self.report.error = error
        return self.report

    async def _read(self) -> None:
        """List and fetch until every trace is answered or held back. Raises the error that ended the reading."""
        async with asyncio.TaskGroup() as readers:
            fetchers = [readers.create_task(self._fetcher.run()) for _ in range(self._route.options.fetchers)]
            watching = readers.create_task(self._fetcher.watch())
            self._held.queue_due()
            async with asyncio.TaskGroup() as listers:
                for _ in range(LISTERS):
                    listers.create_task(self._lister.run())
            await self._answer_all()
            if not self._follow and self._held.queue_again():
                await self._answer_all()
            for task in (*fetchers, watching):
                task.cancel()
        if self._pass.error is not None:
            raise self._pass.error
        if self._pass.open_windows and not self._follow:
            raise about(*self._pass.open_windows[0])
        self._lister.report_unlisted()

    async def _answer_all(self) -> None:
        """Wait until every queued trace is fetched, sent and answered, or held back; or until the reading failed."""
        while True:
            await self._pass.to_fetch.join()
            await self._deliverer.flush()
            if self._pass.has_failed():
                return
            if len(self._pass.traces) == self._held.suspects:
                await self._held.settle()
            if not self._pass.traces:
                return
