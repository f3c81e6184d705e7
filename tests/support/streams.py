"""Streams of spans in this process: the real stream, on a client whose calls a test can reject, change and count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any
from unittest.mock import patch

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import NetraRejected
from netra_otel_bridge.core.model.netra import SpansPage, TracesPage
from netra_otel_bridge.core.model.outcome import SpanChunk
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.emulator.store import Store
from netra_otel_bridge.pipeline import chunks as cutting
from netra_otel_bridge.pipeline.resume import decode_token, start_point
from netra_otel_bridge.pipeline.stream import SpanStream
from netra_otel_bridge.source import pages as paging
from tests.support.compare import Key, sent_by_id
from tests.support.emulator import START_NS
from tests.support.fake_clock import FakeClock
from tests.support.in_process import Netra, keys_of
from tests.support.oracle import Oracle, Sent

WINDOW = Window(START_NS - 86_400 * NS_PER_S, START_NS + 86_400 * NS_PER_S)
STREAM_ID = "test"


class StreamedNetra(Netra):
    """A client that counts ``calls`` (``traces`` and ``spans``) and those ``under_way``, and passes its answers through
    the test.

    ``before`` gets each call with its cursor, and may raise or change the store. ``pages`` may change a page. No call
    answers while ``gate`` is closed. ``refused`` numbers the calls with a cursor that fail.
    """

    def __init__(self, store: Store, windowing: str = "traces") -> None:
        super().__init__(store, FakeClock(), windowing)
        self.store = store
        self.calls: list[str] = []
        self.under_way = 0
        self.cursors = 0
        self.refused: set[int] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.before: Callable[[str, str | None], None] = lambda call, cursor: None
        self.pages: Callable[[Any], Any] = lambda page: page

    async def list_traces(self, *args: Any, **kwargs: Any) -> TracesPage:
        await self._enter("traces", args[7] if len(args) > 7 else None)
        page: TracesPage = self.pages(await super().list_traces(*args, **kwargs))
        return page

    async def list_spans_by_trace_id(self, trace_id: str, *args: Any, **kwargs: Any) -> SpansPage:
        await self._enter(f"spans {trace_id}", args[0] if args else None)
        page: SpansPage = self.pages(await super().list_spans_by_trace_id(trace_id, *args, **kwargs))
        return page

    async def _enter(self, call: str, cursor: str | None) -> None:
        self.calls.append(call)
        self.under_way += 1
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            self.before(call, cursor)
            if cursor is not None:
                self.cursors += 1
                if self.cursors in self.refused:
                    raise NetraRejected("the cursor has expired", status=400)
        finally:
            self.under_way -= 1


def stream(
    netra: Netra,
    token: str | None = None,
    *,
    query: TraceQuery | None = None,
    trace_id: str | None = None,
    window: Window = WINDOW,
    ahead: int = 8,
) -> SpanStream:
    """Return a new stream, from the beginning or from ``token`` on."""
    start = decode_token(token, STREAM_ID) if token else start_point(STREAM_ID, window)
    return SpanStream(netra, SpanConverter("raw"), query or TraceQuery(), start, trace_id=trace_id, ahead=ahead)


async def read(source: SpanStream, count: int | None = None, into: list[SpanChunk] | None = None) -> list[SpanChunk]:
    """Return the first ``count`` chunks of a stream, then close it. ``into`` gets the chunks before an error."""
    chunks = [] if into is None else into
    if count == 0:
        return chunks
    async with aclosing(source.chunks()) as arriving:
        async for chunk in arriving:
            chunks.append(chunk)
            if len(chunks) == count:
                break
    return chunks


@contextmanager
def small(*, page: int = 3, chunk: int = 4) -> Iterator[None]:
    """Use small pages and chunks."""
    with patch.object(paging, "PAGE_LIMIT", page), patch.object(cutting, "CHUNK_SPANS", chunk):
        yield


def stored(oracle: Oracle) -> Store:
    """Return a store with all spans that were issued."""
    store = Store()
    oracle.feed(store, list(oracle.issued))
    return store


def listed(store: Store, window: Window = WINDOW) -> list[Key]:
    """Return all spans of the traces that start in a window, in the order of traces and spans."""
    return [
        (trace.id, row.span_id)
        for trace in store.starting_in(window.start_ns, window.end_ns)
        for row in store.rows(trace)
    ]


def keys(chunks: Sequence[SpanChunk]) -> list[Key]:
    """Return the keys of the spans in chunks, in order."""
    return [key for chunk in chunks for key in keys_of(chunk.batch)]


def problems(chunks: Sequence[SpanChunk]) -> list[str]:
    """Return the problems in chunks, in order."""
    return [problem for chunk in chunks for problem in chunk.problems]


def sent(chunks: Sequence[SpanChunk]) -> Sent:
    """Return chunks in the form that the oracle judges."""
    return Sent(tuple(tuple(sent_by_id(chunk.spans).items()) for chunk in chunks))
