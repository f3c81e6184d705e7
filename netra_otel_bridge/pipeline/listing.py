"""List traces: the calls that find them, and the stage of a lane that queues those that are new or changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from netra_otel_bridge.core.errors import NetraError, NetraUntrusted
from netra_otel_bridge.core.model.netra import TracesPage, TraceSummary
from netra_otel_bridge.core.model.progress import KnownTrace
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.pipeline.dead_letters import note_missing, note_unreadable
from netra_otel_bridge.pipeline.digests import holds_digest, summary_digest
from netra_otel_bridge.pipeline.held_back import HeldBack
from netra_otel_bridge.pipeline.in_flight import Pass, TraceInFlight, WindowInFlight
from netra_otel_bridge.pipeline.judge import IN_A_ROW
from netra_otel_bridge.pipeline.open_windows import HALVED, about, halves, lists_elsewhere
from netra_otel_bridge.pipeline.windows import WindowQueue
from netra_otel_bridge.source import AsyncNetraClient, pages

LISTERS = 4
"""Windows listed concurrently: enough to get past empty windows quickly, few enough to read roughly in order."""


def list_pages(
    client: AsyncNetraClient,
    window: Window,
    query: TraceQuery,
    trace_id: str | None,
    cursor: str | None = None,
    on_restart: Callable[[], None] = lambda: None,
) -> AsyncIterator[TracesPage]:
    """Yield the pages of a window's traces, in the order in which the traces start, so that new ones come last.

    If a cursor expires, list again, as `with_restarts` says. Raises `NetraError`.
    """

    def read(at: str | None) -> AsyncIterator[TracesPage]:
        return client.iter_trace_pages(
            iso_ms(window.start_ns),
            iso_ms(window.end_ns),
            trace_id=trace_id,
            **_conditions(query),
            limit=pages.PAGE_LIMIT,
            cursor=at,
            sort_field="start_time",
            sort_order="asc",
        )

    return pages.with_restarts(read, cursor=cursor, on_restart=on_restart)


async def list_all(
    client: AsyncNetraClient,
    queue: WindowQueue,
    query: TraceQuery,
    *,
    on_listing: Callable[[], None] = lambda: None,
    on_restart: Callable[[], None] = lambda: None,
) -> AsyncIterator[TracesPage]:
    """Yield the pages of all windows in ``queue``; a trace is yielded once for each window that lists it. Raises `NetraError`.

    ``on_listing`` is called before each listing, ``on_restart`` before one is repeated from its first page.
    """
    while (queued := await queue.next()) is not None:
        if queued.is_empty:
            continue
        found = False
        for trace_id in query.trace_ids or (None,):
            on_listing()
            async for page in list_pages(client, queued.window, query, trace_id, on_restart=on_restart):
                found = found or bool(page.traces)
                yield page
        queue.listed(found=found)


async def may_hold(client: AsyncNetraClient, window: Window, queries: Iterable[TraceQuery]) -> bool:
    """Return whether Netra may list a trace in a window for one of the queries. Raises `NetraError`.

    It returns ``False`` only if each listing is a single empty page.
    """
    for query in queries:
        for trace_id in query.trace_ids or (None,):
            page = await client.list_traces(
                iso_ms(window.start_ns),
                iso_ms(window.end_ns),
                trace_id=trace_id,
                **_conditions(query),
                limit=1,
            )
            if page.traces or page.unreadable or page.has_next_page:
                return True
    return False


def _conditions(query: TraceQuery) -> dict[str, Any]:
    """Return the conditions of a query on all its traces, as arguments of the client."""
    return {
        "session_id": query.session_id,
        "user_id": query.user_id,
        "tenant_id": query.tenant_id,
        "filters": query.filters,
    }


class Lister:
    """The first stage of a lane: lists windows, and queues the traces to fetch.

    ``read_again`` decides whether a trace with an unchanged summary is fetched anyway. A window that cannot be listed,
    although others can, stays open: a replay lists its halves instead, down to a minute, and ends with the error.
    """

    def __init__(
        self,
        lane_pass: Pass,
        held: HeldBack,
        windows: Iterable[Window],
        scope: Window,
        read_again: Callable[[KnownTrace], bool],
    ) -> None:
        route = lane_pass.route
        self._pass = lane_pass
        self._held = held
        self._client = route.client
        self._queries = route.queries
        self._recorder = route.recorder
        self._read_again = read_again
        self._queue = WindowQueue(windows, partial(may_hold, route.client, queries=route.queries))
        self._scope = scope
        self._listed = 0
        self._failed_in_a_row: list[NetraError] = []
        self._halved = 0
        self._unlisted = {trace_id for query in route.queries for trace_id in query.trace_ids}

    async def run(self) -> None:
        """List until no window is due, or until the reading ends with an error; `LISTERS` of these run at once."""
        try:
            await self._list()
        except NetraError as error:
            self._pass.fail(error)

    async def _list(self) -> None:
        """List windows. Nothing is awaited between ``next`` and ``begin``, so they begin in order."""
        while not self._pass.has_failed() and (queued := await self._queue.next()) is not None:
            window = self._pass.windows.begin(queued.window)
            if not queued.is_empty:
                found = await self._list_or_keep_open(window)
                if found is None:
                    continue
                self._queue.listed(found=found)
            if self._pass.has_failed():
                return
            self._pass.windows.finish_one([window])
            self._pass.report.windows += queued.windows
            self._pass.route.watch.grew(self._pass.report)

    async def _list_or_keep_open(self, window: WindowInFlight) -> bool | None:
        """List a window, and return whether there were any traces; ``None`` if it stays open. Raises `NetraError`."""
        listed = self._listed
        try:
            found = [
                await self._list_window(window, query, trace_id)
                for query in self._queries
                for trace_id in query.trace_ids or (None,)
            ]
        except NetraError as error:
            self._failed_in_a_row.append(error)
            if len(self._failed_in_a_row) > IN_A_ROW or isinstance(error, NetraUntrusted):
                raise self._failed_in_a_row[0] from None
            if self._listed == listed and not await lists_elsewhere(self._client, window.window, self._scope.end_ns):
                raise
            await self._keep_open(window.window, error)
            return None
        self._listed += 1
        self._failed_in_a_row.clear()
        return any(found)

    async def _keep_open(self, window: Window, error: NetraError) -> None:
        """Leave a window open. A replay lists its halves at once; live traffic leaves that to later passes."""
        parts = halves(window)
        if self._pass.follow or len(parts) < 2 or self._halved == HALVED:
            self._pass.open_windows.append((window, error))
            if not self._pass.follow:
                self._pass.report.note(str(about(window, error)))
            return
        self._halved += 1
        for part in parts:
            half = self._pass.windows.begin(part)
            if await self._list_or_keep_open(half) is not None and not self._pass.has_failed():
                self._pass.windows.finish_one([half])

    def report_unlisted(self) -> None:
        """Report the traces that were requested by id but that no window listed."""
        for trace_id in sorted(self._unlisted):
            note_missing(self._pass, f"trace {trace_id}: Netra has no trace with this id in the range")

    async def _list_window(self, window: WindowInFlight, query: TraceQuery, trace_id: str | None) -> bool:
        """Queue the traces of a window; return whether there were any."""
        found = False
        async for page in list_pages(self._client, window.window, query, trace_id):
            found = found or bool(page.traces or page.unreadable)
            note_unreadable(self._pass, "", page.unreadable)
            await self._take(window, page.traces)
            if self._pass.has_failed():
                break
        return found

    async def _take(self, window: WindowInFlight, listed: Sequence[TraceSummary]) -> None:
        """Queue the traces of a page that are new or changed. Waits until there is a slot for each."""
        for trace in self._claim(window, listed):
            await self._pass.slots.acquire()
            self._pass.to_fetch.put_nowait(trace)

    def _claim(self, window: WindowInFlight, listed: Sequence[TraceSummary]) -> list[TraceInFlight]:
        """Return the traces that are new or changed and not in flight. Awaits nothing, so that no trace is claimed twice."""
        report, in_flight = self._pass.report, self._pass.traces
        ids = [summary.id for summary in listed]
        recorded = self._recorder.known(ids)
        first = self._recorder.first_listed(ids)
        claimed = []
        for summary in listed:
            is_first = summary.id in first
            first.discard(summary.id)
            self._unlisted.discard(summary.id)
            report.listed += is_first
            digest = summary_digest(summary)
            active = in_flight.get(summary.id)
            known = recorded.get(summary.id)
            if active is not None:
                active.list_again(summary, digest, window)
            elif self._held.waits(summary.id):
                report.traces += is_first
            elif (
                known is None
                or not holds_digest(known.digest, digest)
                or self._read_again(known)
                or summary.id in self._pass.again
            ):
                trace = TraceInFlight(summary, digest, [window], known, is_first, has_slot=True)
                in_flight[summary.id] = trace
                window.unfinished += 1
                claimed.append(trace)
            elif is_first:
                report.traces += 1
                report.spans += known.spans
                report.skipped += known.spans
        return claimed
