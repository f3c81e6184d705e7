"""The trace lane: list, fetch, convert, batch, send, record, for one destination. Read this file first.

    windows -> list -> [traces] -> fetch, convert -> [spans] -> batch, send -> answers -> record

Each stage is a few tasks. Between them are bounded queues, so a slow destination fills the batch in hand, then the
bytes held, then stops the listing. Recorded is only what the destination has answered. A trace that is known under
the same summary is not read again, and of one that changed only the spans that are new or changed are sent: so a trace
that several windows list is delivered once, in one pass and in any number of them. The first error ends the pass.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING
from zlib import crc32

from netra_otel_bridge.convert import SpanConverter, span_costs
from netra_otel_bridge.core.errors import (
    DestinationUnavailable,
    NetraCursorRefused,
    NetraNotFound,
    NetraResponseTooLarge,
    StateError,
)
from netra_otel_bridge.core.model.netra import TraceSummary, UnreadableItem
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import KnownTrace, TraceRecord
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.deliver import Answer, Batch, Batcher, Item, Sender, encode_span, letter
from netra_otel_bridge.pipeline.delivering import DRAIN_S
from netra_otel_bridge.pipeline.digests import DIGEST_BYTES, holds_digest, summary_digest
from netra_otel_bridge.pipeline.fetching import Skipped, read_spans
from netra_otel_bridge.pipeline.in_flight import Listing, Trace, Windows
from netra_otel_bridge.pipeline.listing import LISTERS, list_pages, may_hold
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.pipeline.watch import LaneOptions, LaneWatch, first_cause, lane_error
from netra_otel_bridge.pipeline.windows import WindowQueue
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.pages import RESTARTS

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Fresh:
    """Whose a batched span is: the trace that waits for its answer, and what is recorded of the span then."""

    trace: Trace
    span_id: int
    checksum: int


class TraceLane:
    """Copies the traces of windows to one destination, in one pass; `report` grows while `run` works."""

    def __init__(
        self,
        client: AsyncNetraClient,
        converter: SpanConverter,
        sender: Sender,
        queries: Sequence[TraceQuery],
        progress: Recorder,
        options: LaneOptions,
        watch: LaneWatch,
    ) -> None:
        self.report = LaneReport(watch.name)
        self._client = client
        self._converter = converter
        self._queries = queries
        self._progress = progress
        self._options = options
        self._watch = watch
        self._sender = sender
        self._batcher: Batcher[Fresh] = Batcher(options.batch_spans, options.batch_bytes)
        self._held = MemoryBudget(options.held_bytes)
        self._slots = asyncio.Semaphore(2 * options.fetchers)
        self._traces: asyncio.Queue[Trace] = asyncio.Queue()
        self._ready: asyncio.Queue[tuple[Trace, list[ReadableSpan]] | None] = asyncio.Queue(options.fetchers)
        self._flushed = asyncio.Event()
        self._active: dict[str, Trace] = {}
        self._unlisted = {trace_id for query in queries for trace_id in query.trace_ids}
        self._skipped = Skipped()

    async def run(
        self,
        windows: Iterable[Window],
        *,
        follow: bool = False,
        read_again: Callable[[KnownTrace], bool] = lambda _: False,
    ) -> LaneReport:
        """One pass over ``windows``, in order. With ``follow``, what is recorded of them is how far they were followed.

        A span may come late and leave its trace's summary as it was: ``read_again`` says of a trace whose summary is
        unchanged whether its spans are read all the same.

        Errors of Netra, of the destination and of the state end up in ``report.error``, and so does a defect, as a
        `BridgeError`; what the caller's own watch raises is raised. Cancelled, it stops reading,
        gives the request that is under way `DRAIN_S` to be answered, and records the answer; where that fails, it raises
        `StateError`.
        """
        self._progress.start_pass()
        retries = self._watch.retries
        self._read_again = read_again
        self._stretches = WindowQueue(windows, partial(may_hold, self._client, queries=self._queries))
        self._windows = Windows(self._progress, follow)
        try:
            async with asyncio.TaskGroup() as stages:
                background = [stages.create_task(self._deliver()), stages.create_task(self._progress.run())]
                await self._read()
                for task in background:
                    task.cancel()
        except BaseExceptionGroup as group:
            self.report.error = lane_error(first_cause(group), self._watch)
        except asyncio.CancelledError:
            await self._progress.flush()
            raise
        finally:
            self.report.retries = self._watch.retries - retries
        try:
            await self._progress.flush()
        except StateError as error:
            self.report.error = error
        return self.report

    async def _read(self) -> None:
        """List and fetch, until every trace is answered."""
        async with asyncio.TaskGroup() as readers:
            fetchers = [readers.create_task(self._fetch_traces()) for _ in range(self._options.fetchers)]
            async with asyncio.TaskGroup() as listers:
                for _ in range(LISTERS):
                    listers.create_task(self._list_windows())
            await self._answer_all()
            while self._active:
                await self._answer_all()
            for task in fetchers:
                task.cancel()
        for trace_id in sorted(self._unlisted):
            self._note_missing(f"trace {trace_id}: Netra lists none with this id in the range")

    async def _answer_all(self) -> None:
        """Return when all that was listed so far is read, sent and answered."""
        await self._traces.join()
        self._flushed.clear()
        await self._ready.put(None)
        await self._flushed.wait()

    async def _list_windows(self) -> None:
        """List what is due. Between ``next`` and ``begin`` nothing is awaited: windows are begun in their order."""
        while (stretch := await self._stretches.next()) is not None:
            listing = self._windows.begin(stretch.window)
            if not stretch.is_empty:
                found = [
                    await self._list_window(listing, query, trace_id)
                    for query in self._queries
                    for trace_id in query.trace_ids or (None,)
                ]
                self._stretches.listed(found=any(found))
            self._windows.close([listing])
            self.report.windows += stretch.windows
            self._watch.grew(self.report)

    async def _list_window(self, listing: Listing, query: TraceQuery, trace_id: str | None) -> bool:
        """Queue the traces of a window, and say if there were any; a cursor that expires starts the listing again."""
        found = False
        for restart in range(RESTARTS + 1):
            try:
                async for page in list_pages(self._client, listing.window, query, trace_id):
                    found = found or bool(page.traces or page.unreadable)
                    self._note_unreadable("trace list", "", page.unreadable)
                    await self._take(listing, page.traces)
            except NetraCursorRefused:
                if restart == RESTARTS:
                    raise
            else:
                break
        return found

    async def _take(self, listing: Listing, traces: Sequence[TraceSummary]) -> None:
        """Queue those of a page's traces that are new or changed."""
        for work in self._claim(listing, traces):
            await self._slots.acquire()
            self._traces.put_nowait(work)

    def _claim(self, listing: Listing, traces: Sequence[TraceSummary]) -> list[Trace]:
        """Those that are new or changed and not on their way. It waits for nothing, so no two listings claim the same."""
        ids = [trace.id for trace in traces]
        known = self._progress.known(ids)
        new = self._progress.first_listed(ids)
        claimed = []
        for trace in traces:
            first = trace.id in new
            new.discard(trace.id)
            self._unlisted.discard(trace.id)
            self.report.listed += first
            digest = summary_digest(trace)
            active = self._active.get(trace.id)
            before = known.get(trace.id)
            if active is not None:
                active.also_listed(trace, digest, listing)
            elif before is None or not holds_digest(before.digest, digest) or self._read_again(before):
                work = self._active[trace.id] = Trace(trace, digest, [listing], before, first, queued=True)
                listing.open += 1
                claimed.append(work)
            elif first:
                self.report.traces += 1
                self.report.spans += before.spans
                self.report.skipped += before.spans
        return claimed

    async def _fetch_traces(self) -> None:
        while True:
            await self._fetch_trace(await self._traces.get())
            self._traces.task_done()

    async def _fetch_trace(self, work: Trace) -> None:
        """Read a trace and hand it on."""
        share = work.share = self._held.share()
        trace_id = work.summary.id
        unreadable = partial(self._note_unreadable, f"trace {trace_id}", trace_id)
        try:
            spans = await read_spans(self._client, trace_id, share, unreadable)
        except NetraNotFound as error:
            self._note_missing(f"trace {trace_id}: {self._skipped.note(error, self.report.listed)}")
            self._close(work)
            return
        except NetraResponseTooLarge as error:
            unreadable([UnreadableItem("$.data", self._skipped.note(error, self.report.listed))])
            self._close(work)
            return
        finally:
            if work.queued:
                self._slots.release()
        share.read()
        self._watch.read(work.summary, spans)
        converted = self._converter.convert_trace(work.summary, spans)
        if not converted:
            self.report.note(f"trace {work.summary.id}: Netra lists it, and holds no span of it")
            self._close(work)
            return
        if work.known is not None or not work.first:
            work.recorded(self._progress.spans(work.summary.id), self._progress.trace_cost(work.summary.id))
        work.span_costs = span_costs(spans, converted) if self._options.state_lasts else ()
        work.start_ns = min(span.start_time or 0 for span in converted)
        await self._ready.put((work, converted))

    async def _deliver(self) -> None:
        while True:
            task = await self._next()
            if task is None:
                last = self._batcher.flush()
                if last is not None:
                    await self._send(last)
                self._flushed.set()
            else:
                await self._batch(*task)

    async def _next(self) -> tuple[Trace, list[ReadableSpan]] | None:
        self._held.idle(self._ready.empty())
        task = await self._ready.get()
        self._held.idle(False)
        return task

    async def _batch(self, work: Trace, spans: Sequence[ReadableSpan]) -> None:
        """Put the spans that the destination has not had into batches, and send what is full."""
        fresh = []
        for span in spans:
            encoded = encode_span(span)
            span_id, checksum = span.context.span_id, crc32(encoded)
            sent = work.sent.get(span_id)
            if sent != checksum:
                fresh.append(Item(span, encoded, Fresh(work, span_id, checksum)))
                self.report.changed += sent is not None
            elif work.first:
                self.report.skipped += 1
        self.report.spans += len(spans) if work.first else len(fresh)
        work.fresh = work.unanswered = len(fresh)
        if not fresh:
            self._progress.answered([work.record()], 0, 0, 0)
            self._close(work)
        for item in fresh:
            batch = self._batcher.add(item)
            if batch is not None:
                await self._send(batch)

    async def _send(self, batch: Batch[Fresh]) -> None:
        """Send a batch and record the answer. What is answered counts, whatever comes after it."""
        answer: Answer[Fresh] = Answer()
        request = asyncio.ensure_future(self._sender.send(batch, answer))
        try:
            await asyncio.shield(request)
        except asyncio.CancelledError:
            if request.cancelled():
                raise DestinationUnavailable(f"{self._watch.name}: its request was cancelled from elsewhere") from None
            await self._sender.drain(request, DRAIN_S)
            raise
        finally:
            self._record(answer)
        self._batcher.limit(self._sender.limit_bytes)
        await self._progress.room()

    def _record(self, answer: Answer[Fresh]) -> None:
        """Record an answer. A partial success does not name whom it rejected: then none counts as accepted."""
        letters = [letter(dead.span, dead.reason, dead.item.encoded) for dead in answer.dead]
        settles = self._progress.has_letters and not answer.refused
        touched: dict[Trace, None] = {}
        for items, accepted in ((answer.accepted, not answer.refused), ([one.item for one in answer.dead], False)):
            for fresh in [item.owner for item in items]:
                trace = fresh.trace
                trace.answered(fresh.span_id, fresh.checksum, taken=accepted)
                touched[trace] = None
                if settles:
                    self._progress.answered_again(trace.summary.id, fresh.span_id)
        refused = answer.refused + (0 if self._options.state_lasts else len(letters))
        self.report.delivered += answer.delivered
        self.report.bytes += answer.size_bytes
        self.report.refused += refused
        self.report.trimmed += answer.trimmed
        for problem in answer.problems:
            self.report.note(problem)
        self._bury(letters)
        self._progress.answered([work.record() for work in touched], answer.delivered, refused, answer.size_bytes)
        for work in touched:
            if not work.unanswered:
                self._close(work)
        self._watch.grew(self.report)

    def _close(self, work: Trace) -> None:
        """A trace is done: so are the listings that waited for it, unless one of them saw it change meanwhile."""
        del self._active[work.summary.id]
        if work.share is not None:
            work.share.release()
        self.report.traces += work.first
        if work.again is not None:
            work.again.known = self._progress.known([work.summary.id]).get(work.summary.id)
            self._active[work.summary.id] = work.again
            self._traces.put_nowait(work.again)
        self._windows.close(work.listings)

    def _bury(self, letters: Sequence[DeadLetter]) -> None:
        if letters and self._options.state_lasts:
            self.report.dead_lettered += len(letters)
            self._progress.dead(letters)

    def _note_missing(self, problem: str) -> None:
        self.report.missing += 1
        self.report.note(problem)

    def _note_unreadable(self, where: str, trace_id: str, items: Sequence[UnreadableItem]) -> None:
        """Give up what is no trace or span at all: once, however often it is listed, and wherever in the list."""
        for item in items:
            place = f"{trace_id} {item.path}" if trace_id else ""
            mark = "unreadable " + blake2b(f"{place} {item.json}".encode(), digest_size=16).hexdigest()
            if self._progress.known([mark]):
                continue
            self.report.unreadable += 1
            problem = f"{where}: {item.path} is not readable: {item.reason}"
            self.report.note(problem)
            self._progress.answered([TraceRecord(mark, 0, mark.encode()[-DIGEST_BYTES:], b"")], 0, 0, 0)
            self._bury([DeadLetter(trace_id, "", problem, item.json, is_span=False)])


@dataclass(frozen=True, slots=True)
class Route:
    """What all passes to one destination share."""

    client: AsyncNetraClient
    converter: SpanConverter
    sender: Sender
    queries: tuple[TraceQuery, ...]
    progress: Recorder
    options: LaneOptions
    watch: LaneWatch

    def lane(self) -> TraceLane:
        """A lane for one pass."""
        return TraceLane(
            self.client, self.converter, self.sender, self.queries, self.progress, self.options, self.watch
        )
