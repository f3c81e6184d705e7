"""The trace lane: list, fetch, convert, batch, send, for one destination. Read this file first.

    windows -> list -> [traces] -> fetch, convert -> [spans] -> batch, send -> answers

Each stage is a few tasks. Between them are bounded queues, so a slow destination fills the batch in hand, then the
bytes held, then stops the listing. The first error ends the lane: what was not answered does not count as delivered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from netra_otel_bridge.clock import Backoff, Clock, iso_ms
from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.deliver import Answer, Batcher, Destination, Sender, encode_span
from netra_otel_bridge.errors import BridgeError, NetraCursorRefused, NetraNotFound
from netra_otel_bridge.held import Held, Share
from netra_otel_bridge.model import (
    LaneReport,
    SpanBatch,
    TraceQuery,
    TracesPage,
    TraceSpan,
    TraceSummary,
    UnreadableItem,
    Window,
)
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.windows import Claims

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

PAGE_LIMIT = 100
LISTERS = 4
"""Windows listed at the same time: enough that empty windows do not add up, few enough that reading keeps its order."""
WINDOW_RESTARTS = 3
GONE_AT_LEAST = 10
"""Traces that may vanish between listing and reading before it counts: then, and above a tenth, the path is wrong."""
_log = logging.getLogger("netra_otel_bridge.pipeline")


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """Bounds of a lane; ``backoff`` is that of batches, the client has its own."""

    fetchers: int = 64
    batch_spans: int = 512
    batch_bytes: int = 3_500_000
    held_bytes: int = 64 * 2**20
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=0.5))


class TraceLane:
    """Copies the traces of a range to one destination; `report` grows while `run` works."""

    def __init__(
        self,
        client: AsyncNetraClient,
        converter: SpanConverter,
        destination: Destination,
        query: TraceQuery,
        options: LaneOptions,
        clock: Clock,
        on_progress: Callable[[LaneReport], None] | None = None,
    ) -> None:
        self.report = LaneReport(destination.name)
        self._client = client
        self._converter = converter
        self._query = query
        self._options = options
        self._on_progress = on_progress or (lambda _: None)
        self._sender = Sender(destination, backoff=options.backoff, clock=clock, on_retry=self._log_retry)
        self._batcher = Batcher(options.batch_spans, options.batch_bytes)
        self._held = Held(options.held_bytes)
        self._traces: asyncio.Queue[tuple[Window | None, TraceSummary] | None] = asyncio.Queue(options.fetchers)
        self._ready: asyncio.Queue[tuple[list[ReadableSpan], Share] | None] = asyncio.Queue(options.fetchers)
        self._unlisted = set(query.trace_ids)
        self._gone = 0
        self._last_retry = ""
        self._unanswered: Counter[int] = Counter()
        self._shares: dict[int, list[Share]] = {}

    async def run(self, whole: Window, windows: Iterable[Window]) -> LaneReport:
        """Copy ``windows`` of the range ``whole``. Errors of Netra and of the destination end up in ``report.error``."""
        try:
            async with asyncio.TaskGroup() as stages:
                stages.create_task(self._read(whole, iter(windows)))
                stages.create_task(self._deliver())
        except BaseExceptionGroup as group:
            self.report.error = _the_cause(group)
        return self.report

    async def _read(self, whole: Window, windows: Iterator[Window]) -> None:
        claims = Claims(whole)
        async with asyncio.TaskGroup() as fetchers:
            for _ in range(self._options.fetchers):
                fetchers.create_task(self._fetch_traces(claims))
            async with asyncio.TaskGroup() as listers:
                for _ in range(LISTERS):
                    listers.create_task(self._list_windows(windows))
            await self._traces.join()
            for trace in claims.unclaimed():
                await self._traces.put((None, trace))
            for trace_id in sorted(self._unlisted):
                self._note_missing(f"trace {trace_id}: Netra lists none with this id in the range")
            for _ in range(self._options.fetchers):
                await self._traces.put(None)
        await self._ready.put(None)

    async def _list_windows(self, windows: Iterator[Window]) -> None:
        for window in windows:
            await self._list_window(window)
            self.report.windows += 1
            self._on_progress(self.report)

    async def _list_window(self, window: Window) -> None:
        """Queue each trace of a window once; a cursor that expires starts the listing again."""
        seen: set[str] = set()
        for trace_id in self._query.trace_ids or (None,):
            for restart in range(WINDOW_RESTARTS + 1):
                try:
                    await self._list_pages(window, trace_id, seen)
                    break
                except NetraCursorRefused:
                    if restart == WINDOW_RESTARTS:
                        raise

    async def _list_pages(self, window: Window, trace_id: str | None, seen: set[str]) -> None:
        async for page in list_pages(self._client, window, self._query, trace_id):
            self._note_unreadable("trace list", page.unreadable)
            for trace in page.traces:
                if trace.id not in seen:
                    seen.add(trace.id)
                    self._unlisted.discard(trace_id or trace.id)
                    self.report.listed += 1
                    await self._traces.put((window, trace))

    async def _fetch_traces(self, claims: Claims) -> None:
        while (task := await self._traces.get()) is not None:
            await self._fetch_trace(*task, claims)
            self._traces.task_done()

    async def _fetch_trace(self, window: Window | None, trace: TraceSummary, claims: Claims) -> None:
        """Read a trace and hand it on, if ``window`` is the one that delivers it; without a window it is."""
        share = self._held.share()
        try:
            spans = await self._fetch_spans(trace, share)
        except NetraNotFound as error:
            self._gone += 1
            if error.status != HTTPStatus.NOT_FOUND or self._gone > max(GONE_AT_LEAST, self.report.listed // 10):
                raise
            self._note_missing(f"trace {trace.id}: it is gone since Netra listed it")
            share.release()
            return
        share.read()
        converted = self._converter.convert_trace(trace, spans)
        delivers, others = True, 0
        if not converted:
            self.report.note(f"trace {trace.id}: Netra lists it, and holds no span of it")
        elif window is not None:
            times_ns = [(span.start_time or 0, span.end_time or 0) for span in converted]
            delivers, others = claims.take(window, trace, times_ns)
        self.report.skipped += others
        if delivers:
            self.report.spans += len(converted)
            await self._ready.put((converted, share))
        else:
            share.release()

    async def _fetch_spans(self, trace: TraceSummary, share: Share) -> list[TraceSpan]:
        """All spans of a trace, each once; a cursor that expires starts the trace again."""
        for _ in range(WINDOW_RESTARTS):
            try:
                return await self._read_spans(trace, share)
            except NetraCursorRefused:
                continue
        return await self._read_spans(trace, share)

    async def _read_spans(self, trace: TraceSummary, share: Share) -> list[TraceSpan]:
        spans: dict[str, TraceSpan] = {}
        await share.room()
        async for page in self._client.iter_span_pages(trace.id, limit=PAGE_LIMIT):
            self._note_unreadable(f"trace {trace.id}", page.unreadable)
            for span in page.spans:
                if spans.setdefault(span.id, span) is not span:
                    self.report.skipped += 1
            share.add(_size_bytes(page.spans))
            await share.room()
        return list(spans.values())

    async def _deliver(self) -> None:
        while (task := await self._next()) is not None:
            spans, share = task
            if not spans:
                self.report.traces += 1
                share.release()
                continue
            key = _trace_key(spans[0])
            self._unanswered[key] += len(spans)
            self._shares.setdefault(key, []).append(share)
            for span in spans:
                batch = self._batcher.add(span, encode_span(span))
                if batch is not None:
                    await self._send(batch)
        last = self._batcher.flush()
        if last is not None:
            await self._send(last)

    async def _next(self) -> tuple[list[ReadableSpan], Share] | None:
        self._held.idle(self._ready.empty())
        task = await self._ready.get()
        self._held.idle(False)
        return task

    async def _send(self, batch: SpanBatch) -> None:
        answer = Answer()
        try:
            await self._sender.send(batch, answer)
        finally:
            self.report.delivered += answer.delivered
            self.report.bytes += answer.size_bytes
            self.report.refused += answer.refused
            for problem in answer.problems:
                self.report.note(problem)
        for key, count in Counter(map(_trace_key, batch.spans)).items():
            self._unanswered[key] -= count
            if not self._unanswered[key]:
                del self._unanswered[key]
                for share in self._shares.pop(key):
                    self.report.traces += 1
                    share.release()
        self._on_progress(self.report)

    def _note_missing(self, problem: str) -> None:
        self.report.unreadable += 1
        self.report.note(problem)

    def _note_unreadable(self, where: str, items: Sequence[UnreadableItem]) -> None:
        for item in items:
            self._note_missing(f"{where}: {item.path} is not readable: {item.reason}")

    def _log_retry(self, reason: str, delay_s: float) -> None:
        """Say why a batch waits: once for each reason, so that a night without a destination is no flood."""
        level = logging.DEBUG if reason == self._last_retry else logging.WARNING
        self._last_retry = reason
        _log.log(level, "%s: %s; trying again in %.1f s", self.report.name, reason, delay_s)


def list_pages(
    client: AsyncNetraClient, window: Window, query: TraceQuery, trace_id: str | None
) -> AsyncIterator[TracesPage]:
    """The pages of a window's traces, in the order of their start: what is new then lands behind the cursor's path."""
    return client.iter_trace_pages(
        iso_ms(window.start_ns),
        iso_ms(window.end_ns),
        trace_id=trace_id,
        session_id=query.session_id,
        user_id=query.user_id,
        tenant_id=query.tenant_id,
        filters=query.filters,
        limit=PAGE_LIMIT,
        sort_field="start_time",
        sort_order="asc",
    )


def _the_cause(group: BaseExceptionGroup[BaseException]) -> BridgeError:
    """The one error that ended the lane; anything that is not a `BridgeError` is a defect, and raised as it is."""
    first = group.exceptions[0]
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if isinstance(first, BridgeError):
        return first
    raise first


def _trace_key(span: ReadableSpan) -> int:
    trace_id: int = span.context.trace_id
    return trace_id


def _size_bytes(spans: Iterable[TraceSpan]) -> int:
    """Roughly what spans hold in memory: their JSON columns twice, before and after conversion, and their fields."""
    return sum(
        2000 + 2 * sum(len(text) for text in (span.attributes, span.events) if isinstance(text, str)) for span in spans
    )
