"""Spans in the order of their traces, in chunks, each with a token to go on behind it: reading without a state.

    list -> [traces, some of them read ahead] -> convert -> chunks

What a token holds is a place in the listing: the trace that was sent last, and how much of the next one. So a stream
that broke is taken up by whoever holds the token, in another process too, and nothing is kept for it meanwhile. What
is read ahead is bounded, and a reader that stops stops the reading.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

import msgspec

from netra_otel_bridge.clock import NS_PER_MS
from netra_otel_bridge.convert import SpanConverter, instant_ns
from netra_otel_bridge.deliver import Batcher, encode_span
from netra_otel_bridge.errors import BridgeError, NetraCursorRefused, NetraNotFound, NotKnown, UsageError
from netra_otel_bridge.held import Held, Share
from netra_otel_bridge.model import (
    SpanBatch,
    SpanChunk,
    TraceQuery,
    TraceSpan,
    TraceSummary,
    UnreadableItem,
    Window,
)
from netra_otel_bridge.reading import RESTARTS, Gone, list_pages, read_spans
from netra_otel_bridge.source import AsyncNetraClient

AHEAD = 16
"""Traces that are read ahead of the one that is sent."""
HELD_BYTES = 4 * 2**20
CHUNK_SPANS = 512
CHUNK_BYTES = 512 * 1024
_VERSION = 1


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a stream is. ``of`` tells streams apart, ``start_ns`` and ``end_ns`` are its window.

    ``part`` counts the entries of ``TraceQuery.trace_ids`` that are done. ``trace_id`` was sent last, whole: Netra listed
    it with this ``cursor`` and as starting at ``trace_ns``. Of ``next_id``, the first ``sent`` spans were sent, whose ids
    are hashed in ``sent_ids``.
    """

    version: int
    of: str
    start_ns: int
    end_ns: int
    part: int = 0
    trace_id: str = ""
    cursor: str | None = None
    trace_ns: int = 0
    next_id: str = ""
    sent: int = 0
    sent_ids: str = ""


def first_place(of: str, window: Window) -> Place:
    """The beginning of a stream."""
    return Place(_VERSION, of, window.start_ns, window.end_ns)


def token(place: Place) -> str:
    """A place as a text that travels anywhere."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place(text: str, of: str) -> Place:
    """The inverse of `token`. Raises `UsageError` for what is no token of the stream ``of``."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        found = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=Place)
    except (UnicodeEncodeError, binascii.Error, msgspec.DecodeError):
        raise UsageError("this is not a resume token", hint="give the one of the last response as it came") from None
    if found.version != _VERSION or found.of != of or found.start_ns >= found.end_ns or found.sent < 0:
        raise UsageError(
            "this resume token is that of another request",
            hint="range, query, profile and Netra's address must be those of the first call",
        )
    return found


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A trace that is being read: what came before it in the listing, and where the stream is once it was sent."""

    summary: TraceSummary
    share: Share
    spans: asyncio.Task[list[TraceSpan]]
    before: Place
    after: Place


class SpanStream:
    """The spans of all traces that Netra lists in a window, or of ``trace_id``; to be iterated once.

    ``start`` is where it begins: a `Place` at the beginning, or that of a token.
    """

    def __init__(
        self,
        client: AsyncNetraClient,
        converter: SpanConverter,
        query: TraceQuery,
        start: Place,
        *,
        trace_id: str | None = None,
    ) -> None:
        self._client = client
        self._converter = converter
        self._query = query
        self._start = start
        self._trace_id = trace_id
        self._held = Held(HELD_BYTES)
        self._ahead: deque[_Ahead] = deque()
        self._slots = asyncio.Semaphore(AHEAD)
        self._more = asyncio.Event()
        self._problems: list[str] = []
        self._gone = Gone()
        self._listed = 0
        self._batcher = Batcher(CHUNK_SPANS, CHUNK_BYTES)
        self._places: deque[tuple[_Ahead, Sequence[str], int]] = deque()
        self._reached = start

    async def chunks(self) -> AsyncGenerator[SpanChunk, None]:
        """The chunks, in order. Close the iterator if it is not read to its end.

        Raises `NetraError`, and `NotKnown` for a trace of which Netra holds no span.
        """
        listing = asyncio.create_task(self._list())
        listing.add_done_callback(lambda _: self._more.set())
        try:
            while self._ahead or not listing.done():
                if not self._ahead or not self._ahead[0].spans.done():
                    for chunk in self._flush():
                        yield chunk
                    await self._wait(listing)
                    continue
                work = self._ahead.popleft()
                spans, error = self._result(work)
                if error is not None:
                    for chunk in self._flush():
                        yield chunk
                    raise error
                summary = await self._summary(spans) if self._trace_id is not None else work.summary
                for chunk in self._chunks_of(work, spans, summary):
                    yield chunk
                work.share.release()
                self._slots.release()
            for chunk in self._flush(last=listing.exception() is None):
                yield chunk
            listing.result()
        finally:
            under_way = [listing, *(one.spans for one in self._ahead)]
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _wait(self, listing: asyncio.Task[None]) -> None:
        """Return when something has changed: the first trace was read, another was listed, or there are no more."""
        self._held.idle(True)
        self._more.clear()
        if not listing.done() or (self._ahead and not self._ahead[0].spans.done()):
            await self._more.wait()
        self._held.idle(False)

    async def _list(self) -> None:
        at = self._start
        if self._trace_id is not None:
            if at.trace_id != self._trace_id:
                await self._put(TraceSummary(id=self._trace_id), at, _behind(at, 0, TraceSummary(id=self._trace_id)))
            return
        parts = self._query.trace_ids or (None,)
        for number, trace_id in enumerate(parts):
            if number < at.part:
                continue
            at = await self._list_part(at, number, trace_id)
            at = msgspec.structs.replace(at, part=number + 1, cursor=None, trace_id="", trace_ns=0)

    async def _list_part(self, at: Place, number: int, trace_id: str | None) -> Place:
        """List the traces behind ``at``. Where its cursor has expired, list again and leave out what lies before it."""
        window = Window(at.start_ns, at.end_ns)
        found = bool(at.trace_id)
        again = False
        for restart in range(RESTARTS + 1):
            try:
                async for page in list_pages(self._client, window, self._query, trace_id, None if again else at.cursor):
                    self._unreadable("trace list", page.unreadable)
                    for summary in page.traces:
                        found = True
                        if again and _lies_before(summary, at):
                            continue
                        after = _behind(at, number, summary)
                        await self._put(summary, at, after)
                        at = after
            except NetraCursorRefused:
                if restart == RESTARTS:
                    raise
                again = True
            else:
                break
        if trace_id is not None and not found:
            self._problems.append(f"trace {trace_id}: Netra lists none with this id in the range")
        return at

    async def _put(self, summary: TraceSummary, before: Place, after: Place) -> None:
        """Begin to read a trace."""
        await self._slots.acquire()
        self._listed += 1
        share = self._held.share()
        task = asyncio.create_task(self._read(summary.id, share))
        task.add_done_callback(lambda _: self._more.set())
        self._ahead.append(_Ahead(summary, share, task, before, after))
        self._more.set()

    async def _read(self, trace_id: str, share: Share) -> list[TraceSpan]:
        try:
            return await read_spans(self._client, trace_id, share, partial(self._unreadable, f"trace {trace_id}"))
        finally:
            share.read()

    def _chunks_of(self, work: _Ahead, spans: Sequence[TraceSpan], summary: TraceSummary | None) -> Iterator[SpanChunk]:
        """The chunks that the spans of a trace fill; the rest of it waits for company."""
        converted = self._converter.convert_trace(summary, spans)
        ids = [span.id for span in spans]
        sent = self._sent_before(work.summary.id, ids)
        for number, span in enumerate(converted[sent:], sent + 1):
            self._places.append((work, ids, number))
            full = self._batcher.add(span, encode_span(span))
            if full is not None:
                yield self._chunk(full)
        if sent == len(ids):
            self._leave_behind(work)

    def _result(self, work: _Ahead) -> tuple[list[TraceSpan], Exception | None]:
        """What was read of a trace, or the error that ends the stream. A trace that is gone has no spans."""
        try:
            spans = work.spans.result()
        except NetraNotFound as error:
            if self._trace_id is not None:
                return [], self._not_known()
            try:
                self._gone.note(error, self._listed)
            except NetraNotFound:
                return [], error
            self._problems.append(f"trace {work.summary.id}: it is gone since Netra listed it")
            return [], None
        except BridgeError as error:
            return [], error
        if not spans and self._trace_id is not None:
            return [], self._not_known()
        if not spans:
            self._problems.append(f"trace {work.summary.id}: Netra lists it, and holds no span of it")
        return spans, None

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
        async for page in list_pages(self._client, window, TraceQuery(), spans[0].trace_id):
            for summary in page.traces:
                return summary
        return None

    def _sent_before(self, trace_id: str, ids: Sequence[str]) -> int:
        """How many of the spans of a trace were sent before this stream began: none, if they are not the same any more."""
        start = self._start
        same = start.next_id == trace_id and len(ids) >= start.sent and start.sent_ids == _hash(ids[: start.sent])
        return start.sent if same else 0

    def _leave_behind(self, work: _Ahead) -> None:
        """Nothing of this trace is to be sent: the chunk before it leads behind it."""
        if self._places:
            self._places[-1] = (work, (), 0)
        else:
            self._reached = work.after

    def _flush(self, *, last: bool = False) -> Iterator[SpanChunk]:
        """What waits for company. The ``last`` chunk may hold nothing but problems."""
        batch = self._batcher.flush()
        if batch is not None:
            yield self._chunk(batch)
        elif last and self._problems:
            yield self._chunk(SpanBatch((), (), 0))

    def _chunk(self, batch: SpanBatch) -> SpanChunk:
        reached: tuple[_Ahead, Sequence[str], int] | None = None
        for _ in batch.spans:
            reached = self._places.popleft()
        if reached is not None:
            work, ids, sent = reached
            self._reached = work.after if sent == len(ids) else _within(work, ids[:sent])
        problems, self._problems = tuple(self._problems), []
        return SpanChunk(batch, token(self._reached), problems)

    def _unreadable(self, where: str, items: Sequence[UnreadableItem]) -> None:
        self._problems += [f"{where}: {item.path} is not readable: {item.reason}" for item in items]


def _behind(at: Place, part: int, summary: TraceSummary) -> Place:
    """The place behind this trace, which was listed behind ``at``."""
    starts_ns = instant_ns(summary.start_time)
    return msgspec.structs.replace(
        at,
        part=part,
        trace_id=summary.id,
        cursor=summary.cursor,
        trace_ns=at.trace_ns if starts_ns is None else starts_ns,
        next_id="",
        sent=0,
        sent_ids="",
    )


def _lies_before(summary: TraceSummary, at: Place) -> bool:
    """Whether a trace was sent before ``at``, by the order of the listing; of those with one start, only that one was."""
    starts_ns = instant_ns(summary.start_time)
    return summary.id == at.trace_id or (starts_ns is not None and starts_ns < at.trace_ns)


def _within(work: _Ahead, ids: Sequence[str]) -> Place:
    """The place behind the first spans of a trace, those with these ids."""
    return msgspec.structs.replace(work.before, next_id=work.summary.id, sent=len(ids), sent_ids=_hash(ids))


def _hash(ids: Sequence[str]) -> str:
    return blake2b("\n".join(ids).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
