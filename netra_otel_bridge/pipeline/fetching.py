"""Fetch the spans of listed traces within a memory budget, and convert them."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from netra_otel_bridge.convert import span_costs
from netra_otel_bridge.core.errors import NetraError
from netra_otel_bridge.core.model.netra import TraceSpan
from netra_otel_bridge.pipeline.converting import Conversion
from netra_otel_bridge.pipeline.dead_letters import note_unreadable
from netra_otel_bridge.pipeline.held_back import HeldBack
from netra_otel_bridge.pipeline.in_flight import Pass, TraceInFlight
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget, Reservation
from netra_otel_bridge.pipeline.reading import read_spans
from netra_otel_bridge.pipeline.sizes import columns_bytes
from netra_otel_bridge.pipeline.slow import Readings, SlowTraces, TooSlow

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

PART_SPANS = 1000
PART_BYTES = 2**22
"""A trace with more spans, or with larger columns, is converted and sent in parts of this size."""


class Converted(NamedTuple):
    """A trace or a part of it, converted. ``batched`` is set once it is batched; ``None`` for the last part."""

    trace: TraceInFlight
    spans: list[ReadableSpan]
    batched: asyncio.Event | None = None


class Flush:
    """A request to send the current batch, which is ``done`` once it is answered."""

    def __init__(self) -> None:
        self.done = asyncio.Event()


def take_part(spans: list[TraceSpan], held_bytes: int) -> list[TraceSpan]:
    """Remove the first spans of a list, and return them: `PART_SPANS`, or fewer if they are large.

    ``held_bytes`` is what is reserved for all of them, at least.
    """
    count = len(spans)
    if count > PART_SPANS or held_bytes > PART_BYTES:
        sizes = accumulate(columns_bytes(span) for span in spans[:PART_SPANS])
        count = next((number for number, size in enumerate(sizes, 1) if size >= PART_BYTES), PART_SPANS)
    part = spans[:count]
    del spans[:count]
    return part


class Fetcher:
    """The second stage of a lane: fetches and converts queued traces, and puts their spans into ``converted``.

    With ``slow``, a trace that would keep the pass waiting is added there, and held back.
    """

    def __init__(
        self,
        lane_pass: Pass,
        held: HeldBack,
        budget: MemoryBudget,
        converted: asyncio.Queue[Converted | Flush],
        slow: SlowTraces | None,
    ) -> None:
        route = lane_pass.route
        self._pass = lane_pass
        self._held = held
        self._client = route.client
        self._converter = route.converter
        self._conversion = Conversion(route.converter)
        self._recorder = route.recorder
        self._watch = route.watch
        self._sums_costs = route.options.state_lasts
        self._budget = budget
        self._converted = converted
        self._slow = slow
        self._readings = Readings(slow) if slow is not None else None

    async def watch(self) -> None:
        """Set slow traces aside, until cancelled."""
        if self._readings is not None:
            await self._readings.watch()

    async def run(self) -> None:
        """Fetch until cancelled; several of these run at once. Once the reading has failed, traces stay unfinished."""
        to_fetch = self._pass.to_fetch
        while True:
            trace = await to_fetch.get()
            try:
                await self._fetch(trace)
            except NetraError as error:
                self._pass.fail(error)
            to_fetch.task_done()

    async def _fetch(self, trace: TraceInFlight) -> None:
        try:
            spans = await self._read(trace) if not self._pass.has_failed() else None
        finally:
            if trace.has_slot:
                self._pass.slots.release()
        if spans is None:
            return
        if not spans:  # all its items are unreadable, and reported
            self._pass.finish(trace)
            return
        if trace.known is not None or not trace.is_first:
            recorder, trace_id = self._recorder, trace.summary.id
            trace.resume(recorder.spans(trace_id), recorder.carriers(trace_id), recorder.trace_cost(trace_id))
        try:
            await self._convert(trace, spans)
        finally:
            if trace.reservation is not None:
                trace.reservation.read_whole()

    async def _convert(self, trace: TraceInFlight, spans: list[TraceSpan]) -> None:
        """Convert a trace and pass it on; a large one in parts, each once the one before it is batched.

        Converted and encoded, a span takes more than twice the memory of its JSON. ``spans`` is emptied meanwhile.
        """
        self._converter.begin_trace(spans)
        held_bytes = trace.reservation.size_bytes if trace.reservation is not None else PART_BYTES + 1
        while spans:
            part = take_part(spans, held_bytes)
            self._watch.read(trace.summary, part)
            try:
                converted = await self._conversion.convert(trace.summary, part, held_bytes)
            except Exception as error:  # noqa: BLE001  a span that cannot be converted holds up its own trace alone
                await self._held.failed(trace, error)
                return
            if not spans:
                self._held.read(trace.summary.id)
            if self._sums_costs:
                trace.span_costs += span_costs(part, converted)
            start_ns = min(span.start_time or 0 for span in converted)
            trace.start_ns = min(trace.start_ns, start_ns) if trace.has_parts else start_ns
            trace.has_parts = True
            batched = asyncio.Event() if spans else None
            await self._converted.put(Converted(trace, converted, batched))
            del part, converted
            if batched is not None:
                await batched.wait()
            if trace.has_failed:
                return

    async def _read(self, trace: TraceInFlight) -> list[TraceSpan] | None:
        """Return the spans of a trace, or ``None`` after a failure, about which `HeldBack` decides."""
        trace_id = trace.summary.id
        reservation = trace.reservation = self._budget.reserve()
        try:
            spans = await self._read_spans(trace_id, reservation)
        except Exception as error:  # noqa: BLE001  whatever a response does to its reader, other traces can be read
            reservation.release()
            trace.reservation = None
            await self._held.failed(trace, error)
            return None
        return spans

    async def _read_spans(self, trace_id: str, reservation: Reservation) -> list[TraceSpan]:
        """Return the spans of a trace. Raises `NetraError`, and `TooSlow` if the pass does not wait for them."""
        read = partial(read_spans, self._client, trace_id, reservation, partial(note_unreadable, self._pass, trace_id))
        if self._slow is None or self._readings is None:
            return await read()
        if trace_id in self._slow:
            error = self._slow.take_result(trace_id)
            if error is not None:
                raise error
            spans = await read()
            self._slow.remove(trace_id)
            return spans
        try:
            async with asyncio.timeout(None) as deadline:
                with self._readings.begin(deadline, reservation) as reading:
                    return await read(reading.wait)
        except TimeoutError:
            self._slow.add(trace_id)
            raise TooSlow(self._readings.patience_s) from None
