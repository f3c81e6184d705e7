"""Expect what Netra has, converted again: the proof without a state, and how spans differ from what was sent.

Spans are read and converted as a lane does it, so that their checksums are those of what was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.core.clock import HOUR_NS
from netra_otel_bridge.core.errors import NetraError, NotKnown
from netra_otel_bridge.core.model.netra import TraceSummary, UnreadableItem
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.readback import MAX_SAMPLES, Finding
from netra_otel_bridge.core.packed_checksums import pack_carriers, pack_spans
from netra_otel_bridge.core.tasks import all_of
from netra_otel_bridge.core.time_text import LAST_NS, iso_ms
from netra_otel_bridge.deliver import carrier_checksum, checksum
from netra_otel_bridge.pipeline.converting import Conversion, encode_all
from netra_otel_bridge.pipeline.fetching import take_part
from netra_otel_bridge.pipeline.judge import ReadingJudge
from netra_otel_bridge.pipeline.listing import list_all, may_hold
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget, Reservation
from netra_otel_bridge.pipeline.reading import read_spans
from netra_otel_bridge.pipeline.windows import WindowQueue, split
from netra_otel_bridge.readback.expected import ExpectedTrace
from netra_otel_bridge.readback.sampling import sample
from netra_otel_bridge.readback.sent_ids import SentIds
from netra_otel_bridge.source import AsyncNetraClient, pages

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

AROUND_NS = 24 * HOUR_NS
"""Time beside a range in which a trace of it is looked for by id: its summary may start before its first readable span."""


class ListedTraces:
    """The traces of a range that fulfil one of ``queries``, each once, page by page.

    ``first_listed`` returns those of some ids that it was not called with before. With ``at_random``, only so many traces
    are yielded, chosen at random. After the iteration, ``seen`` counts all traces, ``unreadable`` the items that are no
    traces, and ``unlisted`` has the ids that were asked for and not listed.
    """

    def __init__(
        self,
        client: AsyncNetraClient,
        whole: Window,
        window_ns: int,
        queries: Sequence[TraceQuery],
        first_listed: Callable[[Sequence[str]], set[str]],
        at_random: int | None = None,
    ) -> None:
        self.seen = 0
        self.unreadable = 0
        self.unlisted = {trace_id for query in queries for trace_id in query.trace_ids}
        self._client = client
        self._whole = whole
        self._window_ns = window_ns
        self._queries = queries
        self._first_listed = first_listed
        self._at_random = at_random

    async def __aiter__(self) -> AsyncIterator[Sequence[TraceSummary]]:
        """Yield the traces. Raises `NetraError`."""
        if self._at_random is None:
            async for page in self._pages():
                yield page
            return
        chosen, _ = await sample(self._pages(), self._at_random)
        for start in range(0, len(chosen), pages.PAGE_LIMIT):
            yield chosen[start : start + pages.PAGE_LIMIT]

    async def ids(self) -> AsyncIterator[Sequence[str]]:
        """Yield the ids of the traces. Raises `NetraError`."""
        async for traces in self:
            yield [trace.id for trace in traces]

    async def _pages(self) -> AsyncIterator[Sequence[TraceSummary]]:
        for query in self._queries:
            ask = partial(may_hold, self._client, queries=[query])
            queue = WindowQueue(split(self._whole, self._window_ns), ask)
            async for page in list_all(self._client, queue, query):
                self.unreadable += len(page.unreadable)
                first = self._first_listed([trace.id for trace in page.traces])
                self.seen += len(first)
                self.unlisted -= first
                yield [trace for trace in page.traces if trace.id in first]


async def read_converted(
    client: AsyncNetraClient,
    conversion: Conversion,
    summary: TraceSummary,
    reservation: Reservation,
    on_unreadable: Callable[[Sequence[UnreadableItem]], None] = lambda _: None,
) -> AsyncIterator[list[ReadableSpan]]:
    """Yield the converted spans of a trace; those of a large one in parts. Raises `NetraError`."""
    spans = await read_spans(client, summary.id, reservation, on_unreadable)
    conversion.converter.begin_trace(spans)
    held_bytes = reservation.size_bytes
    while spans:
        yield await conversion.convert(summary, take_part(spans, held_bytes), held_bytes)


class SentFromNetra:
    """Converts traces of ``scope`` again. It asks only for what is needed."""

    def __init__(
        self,
        client: AsyncNetraClient,
        converter: SpanConverter,
        scope: Window,
        sent_ids: SentIds,
        held_bytes: int,
    ) -> None:
        self.calls = 0
        self._client = client
        self._conversion = Conversion(converter)
        self._budget = MemoryBudget(held_bytes)
        self._sent_ids = sent_ids
        start_ns, end_ns = max(0, scope.start_ns - AROUND_NS), min(scope.end_ns + AROUND_NS, LAST_NS)
        self._range = iso_ms(start_ns), iso_ms(end_ns)

    async def spans(self, trace_id: str) -> Mapping[int, ReadableSpan]:
        """Return the spans of a trace by their ids. Raises `NetraError`, and `NotKnown` if Netra has no such trace."""
        wanted = self._sent_ids.netra_id(trace_id)
        found: dict[int, ReadableSpan] = {}
        reservation = self._budget.reserve()
        try:
            page = await self._client.list_traces(*self._range, trace_id=wanted)
            summary = next((one for one in page.traces if one.id == wanted), None)
            if summary is None:
                raise NotKnown(f"Netra no longer lists trace {wanted:.80}")
            async for part in read_converted(self._client, self._conversion, summary, reservation):
                found.update({span.context.span_id: span for span in part})
        finally:
            reservation.release()
            self.calls = self._client.stats.calls.total()
        return found


class ExpectedFromNetra:
    """All spans of the ``listed`` traces, whose range is ``scope``; up to ``concurrency`` traces are read at once.

    `ListedTraces` yields them.
    """

    def __init__(
        self,
        client: AsyncNetraClient,
        converter: SpanConverter,
        scope: Window,
        listed: ListedTraces,
        sent_ids: SentIds,
        *,
        held_bytes: int,
        concurrency: int,
    ) -> None:
        self._client = client
        self._conversion = Conversion(converter)
        self._listed = listed
        self._sent_ids = sent_ids
        self._judge = ReadingJudge(client, scope)
        self._budget = MemoryBudget(held_bytes)
        self._slots = asyncio.Semaphore(concurrency)
        self._unread: list[str] = []
        self._unread_count = 0
        self._unreadable: list[str] = []
        self._unreadable_count = 0

    async def __aiter__(self) -> AsyncIterator[Sequence[ExpectedTrace]]:
        """Yield the traces in chunks. Raises `NetraError`."""
        async for summaries in self._listed:
            found = await all_of(self._expected(one) for one in summaries)
            yield [trace for trace in found if trace is not None]

    def findings(self) -> Sequence[Finding]:
        """Return the items that are no spans or traces, and the traces that cannot be read or that Netra does not list."""
        found = []
        if count := self._unreadable_count + self._listed.unreadable:
            hint = "a replay keeps them as dead letters"
            found.append(
                Finding("unreadable", count, "Netra sent items that are no spans", hint, _samples(self._unreadable))
            )
        if self._unread_count:
            what = "Netra lists traces whose spans it cannot show; they are not known, so each trace counts as one"
            found.append(Finding("pending", self._unread_count, what, "verify again later", _samples(self._unread)))
        if unlisted := sorted(self._listed.unlisted):
            what = "Netra has no traces with these ids in the range; each counts as one"
            found.append(Finding("pending", len(unlisted), what, "check the id and the range", _samples(unlisted)))
        return found

    def notes(self) -> Sequence[str]:
        """Return what a proof without a state cannot tell."""
        return ["compared with what Netra has now: a trace that changed since it was sent differs"]

    async def _expected(self, summary: TraceSummary) -> ExpectedTrace | None:
        """Read a trace and return its checksums; ``None`` if it cannot be read or was deleted. Raises `NetraError`."""
        async with self._slots:
            reservation = self._budget.reserve()
            try:
                return await self._read(summary, reservation)
            except NetraError as error:
                if not await self._judge.judge(summary, error):
                    self._unread_count += 1
                    self._unread += [summary.id][: MAX_SAMPLES - len(self._unread)]
                return None
            finally:
                reservation.release()

    async def _read(self, summary: TraceSummary, reservation: Reservation) -> ExpectedTrace | None:
        unreadable: list[UnreadableItem] = []
        checksums: dict[int, int] = {}
        carriers: dict[int, int] = {}
        start_ns: int | None = None
        async for part in read_converted(self._client, self._conversion, summary, reservation, unreadable.extend):
            for span, encoded in zip(part, await encode_all(part), strict=True):
                span_id = span.context.span_id
                checksums[span_id] = checksum(encoded)
                carriers[span_id] = carrier_checksum(span.resource, span.instrumentation_scope)
                begins_ns = span.start_time or 0
                start_ns = begins_ns if start_ns is None else min(start_ns, begins_ns)
        self._judge.read(summary.id)
        self._unreadable_count += len(unreadable)
        if unreadable:
            self._unreadable += [summary.id][: MAX_SAMPLES - len(self._unreadable)]
        if start_ns is None:
            return None
        return ExpectedTrace(
            self._sent_ids.sent(summary.id), start_ns, 0, pack_spans(checksums), pack_carriers(checksums, carriers)
        )


def _samples(trace_ids: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((trace_id, "") for trace_id in trace_ids[:MAX_SAMPLES])
