"""Stream spans without a state: in the order of their traces, in chunks, each with a token that resumes after it.

    Remaining -> [traces, some of them read ahead] -> convert -> ChunkCutter

A token holds a point in the listing (`ResumePoint`), so a broken stream can be resumed by any process that has the
token, and nothing is kept for it meanwhile. The read-ahead is bounded, so a client that stops accepting chunks stops
the reading.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from netra_otel_bridge.convert import SpanConverter, instant_ns
from netra_otel_bridge.core.clock import NS_PER_MS
from netra_otel_bridge.core.errors import BridgeError, NetraError, NetraResponseTooLarge, NotKnown
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary, UnreadableItem
from netra_otel_bridge.core.model.outcome import SpanChunk
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.pipeline.chunks import CHUNK_BYTES, ChunkCutter
from netra_otel_bridge.pipeline.converting import Conversion
from netra_otel_bridge.pipeline.dead_letters import new_unreadable
from netra_otel_bridge.pipeline.fetching import take_part
from netra_otel_bridge.pipeline.judge import DELETED, ReadingJudge, ask_for_any, is_gone
from netra_otel_bridge.pipeline.listing import list_pages
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget, Reservation, SharedBudget
from netra_otel_bridge.pipeline.reading import read_spans
from netra_otel_bridge.pipeline.remaining import Remaining, RemainingTrace
from netra_otel_bridge.pipeline.resume import ResumePoint
from netra_otel_bridge.source import AsyncNetraClient

READ_AHEAD = 16
"""Maximum traces that are read ahead of the one being sent."""
FIRST_READ_AHEAD = 4
"""Maximum traces that are read ahead at first, while the size of traces is unknown."""
HELD_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class _ReadAhead:
    """A trace that is being read."""

    trace: RemainingTrace
    reservation: Reservation
    spans: asyncio.Task[list[TraceSpan]]


class _NotInStream(Exception):
    """A trace was deleted, or cannot be read although Netra returns others. It was tried twice, unless it is too large."""


class SpanStream:
    """The spans of all traces that Netra lists in a window, or of ``trace_id``; iterate it once.

    ``start`` is a `ResumePoint` at the beginning, or that of a token. ``ahead`` traces are read at once. A chunk of more
    than one span holds ``chunk_bytes`` at most. What ``budget`` holds also counts in ``shared``, if given.
    """

    def __init__(
        self,
        client: AsyncNetraClient,
        converter: SpanConverter,
        query: TraceQuery,
        start: ResumePoint,
        *,
        trace_id: str | None = None,
        ahead: int = READ_AHEAD,
        chunk_bytes: int = CHUNK_BYTES,
        shared: SharedBudget | None = None,
    ) -> None:
        self.budget = MemoryBudget(HELD_BYTES, shared)
        self._client = client
        self._conversion = Conversion(converter)
        self._query = query
        self._start = start
        self._trace_id = trace_id
        self._cutter = ChunkCutter(start, chunk_bytes)
        self._ahead: deque[_ReadAhead] = deque()
        self._slots = asyncio.Semaphore(ahead)
        self._room = asyncio.Event()
        self._more = asyncio.Event()
        self._expected_bytes = self._last_bytes = HELD_BYTES // FIRST_READ_AHEAD
        self._judge = ReadingJudge(client, Window(start.start_ns, start.end_ns))
        self._reported: set[str] = set()

    async def chunks(self) -> AsyncGenerator[SpanChunk, None]:
        """Yield the chunks, in order. Close the iterator if it is not read to its end.

        Raises `NetraError`, and `NotKnown` if Netra holds no span of ``trace_id``.
        """
        remaining = Remaining(
            self._client, self._query, self._start, self._trace_id, put=self._put, new_unreadable=self._new_unreadable
        )
        finding = asyncio.create_task(remaining.find())
        finding.add_done_callback(lambda _: self._more.set())
        try:
            while self._ahead or not finding.done():
                if not self._has_next(finding):
                    for chunk in self._cutter.flush():
                        yield chunk
                    await self._wait(finding)
                    continue
                next_ = self._ahead.popleft()
                self._room.set()
                spans, error = self._result(next_)
                if error is not None:
                    for chunk in self._cutter.flush():
                        yield chunk
                    if isinstance(error, NotKnown):
                        await ask_for_any(self._client)  # if that fails, it is the API, not the id
                    raise error
                async for chunk in self._cut(next_.trace, spans, next_.reservation.size_bytes):
                    yield chunk
                next_.reservation.release()
                self._slots.release()
            if finding.exception() is None:
                if self._query.trace_ids:
                    self._cutter.reach(finding.result())
                self._cutter.report(remaining.problems)
            for chunk in self._cutter.flush():
                yield chunk
            finding.result()
        finally:
            in_flight = [finding, *(one.spans for one in self._ahead)]
            self._ahead.clear()
            for task in in_flight:
                task.cancel()
            try:
                await asyncio.gather(*in_flight, return_exceptions=True)
            finally:
                self.budget.close()

    def _has_next(self, finding: asyncio.Task[ResumePoint]) -> bool:
        """Return whether the next trace is read, or none is left."""
        return self._ahead[0].spans.done() if self._ahead else finding.done()

    async def _wait(self, finding: asyncio.Task[ResumePoint]) -> None:
        self.budget.idle(True)
        while not self._has_next(finding):
            self._more.clear()
            await self._more.wait()
        self.budget.idle(False)

    async def _put(self, trace: RemainingTrace) -> None:
        """Begin to read a trace, once it may be read ahead."""
        await self._slots.acquire()
        while self._ahead and len(self._ahead) * self._expected_bytes >= HELD_BYTES:
            self._room.clear()
            await self._room.wait()
        reservation = await self.budget.admit(self._last_bytes)
        task = asyncio.create_task(self._read(trace, reservation))
        task.add_done_callback(lambda _: self._more.set())
        self._ahead.append(_ReadAhead(trace, reservation, task))
        self._more.set()

    async def _read(self, trace: RemainingTrace, reservation: Reservation) -> list[TraceSpan]:
        trace_id = trace.summary.id

        def report(items: Sequence[UnreadableItem]) -> None:
            trace.problems.extend(self._new_unreadable(trace_id, items))

        try:
            try:
                spans = await read_spans(self._client, trace_id, reservation, report)
            except NetraError as error:
                if self._trace_id is not None:
                    raise
                if await self._judge.judge(trace.summary, error):
                    raise _NotInStream(DELETED) from None
                await self._judge.confirm(trace.summary, error)
                reservation.shrink()
                if isinstance(error, NetraResponseTooLarge):
                    raise _NotInStream(f"not in this stream, it cannot be read: {error.message}") from None
                try:
                    spans = await read_spans(self._client, trace_id, reservation, report)
                except NetraError as again:
                    raise _NotInStream(f"not in this stream, it cannot be read: {again.message}") from None
            self._judge.read(trace_id)
            return spans
        finally:
            reservation.read_whole()
            self._last_bytes = reservation.size_bytes
            self._expected_bytes = max(reservation.size_bytes, self._expected_bytes * 7 // 8)
            self._room.set()

    def _new_unreadable(self, trace_id: str, items: Iterable[UnreadableItem]) -> Iterator[str]:
        """Yield a problem for each item that is not a trace or span and has not been reported yet."""
        for _, problem, key in new_unreadable(trace_id, items, self._reported.__contains__):
            self._reported.add(key)
            yield problem

    def _result(self, read: _ReadAhead) -> tuple[list[TraceSpan], BridgeError | None]:
        """Return the spans that were read, or the error that ends the stream. A trace that is skipped has no spans."""
        trace_id = read.trace.summary.id
        try:
            spans = read.spans.result()
        except _NotInStream as error:
            read.trace.problems.append(f"trace {trace_id}: {error}")
            return [], None
        except NetraError as error:
            if self._trace_id is None or not is_gone(error):
                return [], error
            unknown = f"Netra holds no spans of trace {self._trace_id!r}"
            return [], NotKnown(unknown, hint="ids are those that Netra lists")
        return spans, None

    async def _summary(self, trace: RemainingTrace, spans: Sequence[TraceSpan]) -> TraceSummary | None:
        """Return the summary of a trace. If it was not listed, look for it at the time of its spans."""
        if trace.is_listed:
            return trace.summary
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
        return next((summary for page in pages for summary in page.traces), None)

    async def _cut(self, trace: RemainingTrace, spans: list[TraceSpan], held_bytes: int) -> AsyncIterator[SpanChunk]:
        """Yield the chunks that the spans of a trace fill. A large trace is converted in parts; ``spans`` is emptied."""
        summary = await self._summary(trace, spans)
        converter = self._conversion.converter
        converter.begin_trace(spans)
        span_ids = [span.id for span in spans]
        done = 0
        while spans or not done:
            part = take_part(spans, held_bytes)
            try:
                converted = await self._conversion.convert(summary, part)
            except Exception as error:  # noqa: BLE001  a span that cannot be converted holds up its own trace alone
                reason = f"not in this stream, it cannot be converted: {converter.failure(error)}"
                if done:
                    reason = f"{len(span_ids) - done} of its spans are {reason}"
                trace.problems[:] = [*([] if done else trace.problems), f"trace {trace.summary.id}: {reason}"]
                part, converted, span_ids, done = [], [], [], 0
                spans.clear()
            for chunk in self._cutter.add(trace, converted, span_ids, done):
                yield chunk
            if not part:
                return
            done += len(part)
