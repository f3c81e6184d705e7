"""Spans in the order of their traces, in chunks, each with a token to go on behind it: reading without a state.

    list -> [traces, some of them read ahead] -> convert -> chunks

A token holds a place in the listing (`ResumePoint`). So a stream that broke is taken up by whoever holds the token, in
another process too, and nothing is kept for it meanwhile. What is read ahead is bounded, and a reader that stops stops
the reading.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from netra_otel_bridge.convert import SpanConverter, instant_ns
from netra_otel_bridge.core.clock import NS_PER_MS
from netra_otel_bridge.core.errors import BridgeError, NetraNotFound, NetraRejected, NetraResponseTooLarge, NotKnown
from netra_otel_bridge.core.model.netra import TracesPage, TraceSpan, TraceSummary, UnreadableItem
from netra_otel_bridge.core.model.outcome import SpanBatch, SpanChunk
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.deliver import Batcher, encode_span
from netra_otel_bridge.pipeline.chunks import CHUNK_BYTES, CHUNK_PROBLEMS, CHUNK_SPANS
from netra_otel_bridge.pipeline.fetching import Skipped, read_spans
from netra_otel_bridge.pipeline.listing import list_pages
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget, Reservation, SharedBudget
from netra_otel_bridge.pipeline.resume import ResumePoint, token
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.pages import RESTARTS

AHEAD = 16
"""Traces that are read ahead of the one that is sent, at most."""
FIRST_AHEAD = 4
"""The same, before it is known how large traces are."""
HELD_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A trace that is being read, with where the stream is before and behind it, and what to tell along with it.

    Of one that was not ``listed``, the summary is but the id.
    """

    summary: TraceSummary
    listed: bool
    share: Reservation
    spans: asyncio.Task[list[TraceSpan]]
    before: ResumePoint
    after: ResumePoint
    problems: list[str]

    def place(self, ids: Sequence[str], sent: int) -> ResumePoint:
        """Where the stream is when so many of the spans, which have these ids, were sent."""
        return self.after if sent == len(ids) else self.before.within(self.summary.id, ids[:sent])


class SpanStream:
    """The spans of all traces that Netra lists in a window, or of ``trace_id``; to be iterated once.

    ``start`` is where it begins: a `ResumePoint` at the beginning, or that of a token. ``ahead`` traces are read at once.
    A chunk of more than one span holds ``chunk_bytes`` at most. What is ``held`` is a part of ``pool``, where one is given.
    """

    def __init__(
        self,
        client: AsyncNetraClient,
        converter: SpanConverter,
        query: TraceQuery,
        start: ResumePoint,
        *,
        trace_id: str | None = None,
        ahead: int = AHEAD,
        chunk_bytes: int = CHUNK_BYTES,
        pool: SharedBudget | None = None,
    ) -> None:
        self._client = client
        self._converter = converter
        self._query = query
        self._start = start
        self._trace_id = trace_id
        self.held = MemoryBudget(HELD_BYTES, pool)
        self._ahead: deque[_Ahead] = deque()
        self._slots = asyncio.Semaphore(ahead)
        self._more = asyncio.Event()
        self._skipped = Skipped()
        self._room = asyncio.Event()
        self._usual_bytes = self._last_bytes = HELD_BYTES // FIRST_AHEAD
        self._listed = 0
        self._batcher = Batcher(CHUNK_SPANS, min(CHUNK_BYTES, chunk_bytes))
        self._places: deque[Callable[[], ResumePoint]] = deque()
        self._reached = start
        self._batched = 0
        self._handed_out = 0
        self._to_tell: list[str] = []
        self._problems: deque[tuple[int, str]] = deque()
        self._told: set[int] = set()

    async def chunks(self) -> AsyncGenerator[SpanChunk, None]:
        """The chunks, in order. Close the iterator if it is not read to its end.

        Raises `NetraError`, and `NotKnown` for a trace of which Netra holds no span.
        """
        listing = asyncio.create_task(self._list())
        listing.add_done_callback(lambda _: self._more.set())
        try:
            while self._ahead or not listing.done():
                if not self._may_go_on(listing):
                    for chunk in self._flush():
                        yield chunk
                    await self._wait(listing)
                    continue
                work = self._ahead.popleft()
                self._room.set()
                spans, error = self._result(work)
                if error is not None:
                    for chunk in self._flush():
                        yield chunk
                    if isinstance(error, NotKnown):
                        await self._ask_for_nothing()
                    raise error
                summary = work.summary if work.listed else await self._summary(spans)
                for chunk in self._chunks_of(work, spans, summary):
                    yield chunk
                work.share.release()
                self._slots.release()
            if listing.exception() is None:
                self._end(listing.result())
            for chunk in self._flush():
                yield chunk
            listing.result()
        finally:
            under_way = [listing, *(one.spans for one in self._ahead)]
            self._ahead.clear()
            for task in under_way:
                task.cancel()
            try:
                await asyncio.gather(*under_way, return_exceptions=True)
            finally:
                self.held.close()

    def _may_go_on(self, listing: asyncio.Task[ResumePoint]) -> bool:
        """Whether the next trace was read, or there are no more."""
        return self._ahead[0].spans.done() if self._ahead else listing.done()

    async def _wait(self, listing: asyncio.Task[ResumePoint]) -> None:
        self.held.idle(True)
        while not self._may_go_on(listing):
            self._more.clear()
            await self._more.wait()
        self.held.idle(False)

    async def _list(self) -> ResumePoint:
        """List what lies behind the start; returns the end.

        A trace that was sent in part comes first, by its id: if it begins earlier by now, it is not listed here any more.
        """
        at = self._start
        trace_id = self._trace_id or at.next_id
        if trace_id and at.last_id != trace_id:
            before, at = at, at.behind(trace_id)
            await self._put(TraceSummary(id=trace_id), before, at, listed=False)
        if self._trace_id is not None:
            return at
        parts = tuple(dict.fromkeys(self._query.trace_ids))
        for trace_id in parts[at.part :]:
            at = (await self._list_part(at, trace_id)).at_part(at.part + 1)
        return at if parts else await self._list_part(at, None)

    async def _list_part(self, at: ResumePoint, trace_id: str | None) -> ResumePoint:
        """List the traces behind ``at``. Where Netra refuses its cursor, list again and leave out what was sent.

        So often in a row as it brings the stream on, and `RESTARTS` times where it does not.
        """
        window = Window(at.start_ns, at.end_ns)
        past: ResumePoint | None = None
        tries = 0
        while True:
            begun = at
            seen: set[str] = set()
            try:
                async for page in list_pages(self._client, window, self._query, trace_id, at.cursor):
                    if at.passed and not at.passed_on(page.traces):
                        past = at
                    at = await self._put_page(page, at, past, seen)
                    seen = {trace.id for trace in page.traces}
            except NetraRejected:
                tries = tries + 1 if at.before_ns == begun.before_ns else 1
                if at.cursor is None or tries > RESTARTS:
                    raise
                past = at = at.at_page(None)
            else:
                break
        if trace_id is not None and not at.last_id:
            self._to_tell.append(f"trace {trace_id}: Netra lists none with this id in the range")
        return at

    async def _put_page(
        self, page: TracesPage, at: ResumePoint, past: ResumePoint | None, seen: set[str]
    ) -> ResumePoint:
        """Begin to read the traces of a page, but those ``seen`` before and what was sent by ``past``, or of the page."""
        passed = at.passed_on(page.traces)
        sent = (self._start.last_id, self._start.next_id)
        if not passed and not (page.traces and page.traces[0].id in sent):
            self._unreadable(self._to_tell, "", page.unreadable)
        for index, trace in enumerate(page.traces[passed:], passed):
            before, at = at, at.behind_on(page.traces, index)
            if not (trace.id in sent or trace.id in seen or (past is not None and past.has_passed(trace))):
                seen.add(trace.id)
                await self._put(trace, before, at)
        return at.at_page(page.next_cursor)

    async def _put(self, trace: TraceSummary, before: ResumePoint, after: ResumePoint, *, listed: bool = True) -> None:
        """Begin to read a trace."""
        await self._slots.acquire()
        while self._ahead and len(self._ahead) * self._usual_bytes >= HELD_BYTES:
            self._room.clear()
            await self._room.wait()
        self._listed += 1
        problems, self._to_tell = self._to_tell, []
        share = await self.held.admitted(self._last_bytes)
        task = asyncio.create_task(self._read(trace.id, share, problems))
        task.add_done_callback(lambda _: self._more.set())
        self._ahead.append(_Ahead(trace, listed, share, task, before, after, problems))
        self._more.set()

    async def _read(self, trace_id: str, share: Reservation, problems: list[str]) -> list[TraceSpan]:
        try:
            return await read_spans(self._client, trace_id, share, partial(self._unreadable, problems, trace_id))
        finally:
            share.read()
            self._last_bytes = share.size_bytes
            self._usual_bytes = max(share.size_bytes, self._usual_bytes * 7 // 8)
            self._room.set()

    def _result(self, work: _Ahead) -> tuple[list[TraceSpan], Exception | None]:
        """What was read of a trace, or the error that ends the stream. A trace that is gone has no spans."""
        try:
            spans = work.spans.result()
        except NetraNotFound as error:
            if self._trace_id is not None:
                return [], self._not_known() if error.status == HTTPStatus.NOT_FOUND else error
            return self._skip(work, error)
        except NetraResponseTooLarge as error:
            if self._trace_id is not None:
                return [], error
            return self._skip(work, error)
        except BridgeError as error:
            return [], error
        if not spans and self._trace_id is not None:
            return [], self._not_known()
        if not spans:
            work.problems.append(f"trace {work.summary.id}: Netra lists it, and holds no span of it")
        return spans, None

    def _skip(
        self, work: _Ahead, error: NetraNotFound | NetraResponseTooLarge
    ) -> tuple[list[TraceSpan], Exception | None]:
        """Go on without a trace that cannot be read, and tell; with the error, where it is not the trace's fault."""
        try:
            work.problems.append(f"trace {work.summary.id}: {self._skipped.note(error, self._listed)}")
        except BridgeError:
            return [], error
        return [], None

    async def _ask_for_nothing(self) -> None:
        """A call that any Netra answers: where it fails, it is no trace that is not known. Raises `NetraError`."""
        await self._client.list_traces(iso_ms(0), iso_ms(NS_PER_MS), limit=1)

    def _not_known(self) -> NotKnown:
        return NotKnown(f"Netra holds no spans of trace {self._trace_id!r}", hint="ids are those that Netra lists")

    async def _summary(self, spans: Sequence[TraceSpan]) -> TraceSummary | None:
        """The summary of a trace that was not listed, looked for where its spans are; ``None`` where there is none."""
        times = [
            ns
            for span in spans
            for text in (span.start_time_ms, span.end_time_ms)
            if (ns := instant_ns(text)) is not None
        ]
        bounded = [ns for ns in times if 0 <= ns < 2**62]
        if not bounded:
            return None
        window = Window(min(bounded) // NS_PER_MS * NS_PER_MS, (max(bounded) // NS_PER_MS + 1) * NS_PER_MS)
        pages = [page async for page in list_pages(self._client, window, TraceQuery(), spans[0].trace_id)]
        return next((trace for page in pages for trace in page.traces), None)

    def _chunks_of(self, work: _Ahead, spans: Sequence[TraceSpan], summary: TraceSummary | None) -> Iterator[SpanChunk]:
        """The chunks that the spans of a trace fill; the rest of it waits for company."""
        converted = self._converter.convert_trace(summary, spans)
        ids = [span.id for span in spans]
        sent = self._start.sent_of(work.summary.id, ids)
        if sent == len(ids):
            self._lead_to(work.after)
        if not sent:
            self._tell(work.problems, with_next=bool(ids))
        for number, span in enumerate(converted[sent:], sent + 1):
            self._places.append(partial(work.place, ids, number))
            self._batched += 1
            full = self._batcher.add(span, encode_span(span))
            if full is not None:
                yield self._chunk(full)
        if len(self._problems) >= CHUNK_PROBLEMS:
            yield from self._flush()

    def _end(self, at: ResumePoint) -> None:
        """All was listed and read."""
        if self._query.trace_ids:
            self._lead_to(at)
        self._tell(self._to_tell)

    def _lead_to(self, place: ResumePoint) -> None:
        """What is batched leads to this place: nothing between is to be sent."""
        if self._places:
            self._places[-1] = lambda: place
        else:
            self._reached = place

    def _tell(self, problems: Sequence[str], *, with_next: bool = False) -> None:
        """Hand out these lines along with what was batched last, or the span that is batched next."""
        due = self._batched + with_next
        self._problems += [(due, problem) for problem in problems]

    def _flush(self) -> Iterator[SpanChunk]:
        """What waits for company; there may be nothing but problems."""
        batch = self._batcher.flush()
        if batch is not None or self._problems:
            yield self._chunk(batch or SpanBatch((), (), 0))

    def _chunk(self, batch: SpanBatch) -> SpanChunk:
        for place in [self._places.popleft() for _ in batch.spans][-1:]:
            self._reached = place()
        self._handed_out += len(batch.spans)
        problems = []
        while self._problems and self._problems[0][0] <= self._handed_out:
            problems.append(self._problems.popleft()[1])
        return SpanChunk(batch, token(self._reached), tuple(problems))

    def _unreadable(self, into: list[str], trace_id: str, items: Sequence[UnreadableItem]) -> None:
        """Note what is no trace or span at all: once, however often it is listed, and wherever in the list."""
        where = f"trace {trace_id}" if trace_id else "trace list"
        for item in items:
            mark = hash((trace_id, item.path if trace_id else "", item.json))
            if mark not in self._told:
                self._told.add(mark)
                into.append(f"{where}: {item.path} is not readable: {item.reason}")
