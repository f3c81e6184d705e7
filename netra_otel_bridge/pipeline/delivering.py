"""Send batches of new and changed spans, and record the responses."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from netra_otel_bridge.core.errors import DestinationUnavailable
from netra_otel_bridge.deliver import (
    Answer,
    Batch,
    Batcher,
    Dead,
    Item,
    KeepsFailing,
    carrier_checksum,
    checksum,
    dead_letter_of,
    ids_of,
)
from netra_otel_bridge.pipeline import dead_letters
from netra_otel_bridge.pipeline.converting import encode_all
from netra_otel_bridge.pipeline.fetching import Converted, Flush
from netra_otel_bridge.pipeline.held_back import HeldBack
from netra_otel_bridge.pipeline.in_flight import Pass, TraceInFlight
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget

IDLE_S = 1.0
"""Time after which a batch is sent as it is, if no span was added: a trace that is slow to read delays no other."""
DRAIN_S = 8.0
"""Grace period for the request in flight when the lane is stopped."""


class SpanToSend(NamedTuple):
    """Key under which the response to a span is recorded: its trace, its id, the checksums of its encoding and carrier."""

    trace: TraceInFlight
    span_id: int
    checksum: int
    carrier: int


class Deliverer:
    """The last stage of a lane.

    It batches and sends the spans in ``converted``, and records the destination's responses.
    """

    def __init__(
        self, lane_pass: Pass, held: HeldBack, budget: MemoryBudget, converted: asyncio.Queue[Converted | Flush]
    ) -> None:
        route = lane_pass.route
        self._pass = lane_pass
        self._held = held
        self._report = lane_pass.report
        self._recorder = route.recorder
        self._watch = route.watch
        self._sender = route.sender
        self._state_lasts = route.options.state_lasts
        self._budget = budget
        self._converted = converted
        self._batcher: Batcher[SpanToSend] = Batcher(route.options.batch_spans, route.options.batch_bytes)
        self._batched = 0
        """Number of traces that were added to batches so far."""

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            converted = await self._next()
            if isinstance(converted, Flush):
                last = self._batcher.flush()
                if last is not None:
                    await self._send(last)
                converted.done.set()
            else:
                await self._batch(converted)
                self._batched += 1

    async def flush(self) -> None:
        """Wait until the destination has answered everything that was put into ``converted``."""
        flush = Flush()
        await self._converted.put(flush)
        await flush.done.wait()

    async def flush_idle(self) -> None:
        """Send what waits in the batch whenever nothing was added for `IDLE_S`, until cancelled."""
        batched = 0
        while True:
            await asyncio.sleep(IDLE_S)
            if batched == self._batched and self._converted.empty():
                await self.flush()
            batched = self._batched

    async def _next(self) -> Converted | Flush:
        self._budget.idle(self._converted.empty())
        converted = await self._converted.get()
        self._budget.idle(False)
        return converted

    async def _batch(self, converted: Converted) -> None:
        """Add the new and changed spans of a trace, or of a part of it, to the batch, and send each full batch."""
        trace, spans, batched = converted
        report = self._report
        items: list[Item[SpanToSend]] = []
        try:
            encodings = await encode_all(spans)
        except Exception as error:  # noqa: BLE001  a span that cannot be encoded holds up its own trace alone
            trace.has_failed = True
            if batched is not None:
                batched.set()
            await self._held.failed(trace, error)
            return
        recorded = trace.checksums
        if again := self._pass.again.get(trace.summary.id):
            recorded = {span_id: crc for span_id, crc in recorded.items() if span_id not in again}
        for span, encoded in zip(spans, encodings, strict=True):
            span_id, span_checksum = span.context.span_id, checksum(encoded)
            sent = recorded.get(span_id)
            if sent != span_checksum:
                carrier = carrier_checksum(span.resource, span.instrumentation_scope)
                items.append(Item(span, encoded, SpanToSend(trace, span_id, span_checksum, carrier)))
                report.changed += sent is not None
            elif trace.is_first:
                report.skipped += 1
        report.spans += len(spans) if trace.is_first else len(items)
        trace.to_send += len(items)
        trace.unanswered += len(items) - (batched is None)
        if not trace.unanswered:
            self._recorder.answered([trace.record()], 0, 0, 0)
            self._pass.finish(trace)
        for item in items:
            full = self._batcher.add(item)
            while full is not None:
                await self._send(full)
                full = self._batcher.flush() if self._batcher.is_full else None
        if batched is not None:
            batched.set()

    async def _send(self, batch: Batch[SpanToSend]) -> None:
        """Send a batch. Record the response, or the part of it that arrived, even if this fails or is cancelled."""
        answer: Answer[SpanToSend] = Answer()
        request = asyncio.ensure_future(self._sender.send(batch, answer))
        try:
            await asyncio.shield(request)
        except asyncio.CancelledError:
            if request.cancelled():
                raise DestinationUnavailable(f"{self._watch.name}: other code cancelled its request") from None
            await self._sender.drain(request, DRAIN_S)
            raise
        except KeepsFailing:
            if not self._hold_again(batch, answer):
                raise
        finally:
            self._record(answer)
        self._batcher.limit(self._sender.limit_bytes)
        await self._recorder.room()

    def _hold_again(self, batch: Batch[SpanToSend], answer: Answer[SpanToSend]) -> bool:
        """Hold the traces back that are not answered, if all of them were held back before; return whether they were.

        Else the destination itself may fail.
        """
        answered = {id(item) for item in (*answer.accepted, *(one.item for one in (*answer.dead, *answer.unaccepted)))}
        left = [item for item in batch.items if id(item) not in answered]
        held = self._recorder.held_back
        if any(item.owner.trace.summary.id not in held for item in left):
            return False
        answer.unaccepted += [Dead(item, held[item.owner.trace.summary.id].reason) for item in left]
        return True

    def _record(self, answer: Answer[SpanToSend]) -> None:
        """Record a response.

        A partial success does not say which spans it rejected, so none of them counts as accepted.
        """
        report = self._report
        letters = [dead_letter_of(dead.span, dead.reason, dead.item.encoded) for dead in answer.dead]
        rejected = [dead.item for dead in answer.dead]
        resolves = self._recorder.has_dead_letters and not answer.refused
        touched: dict[TraceInFlight, None] = {}
        for items, accepted in ((answer.accepted, not answer.refused), (rejected, False)):
            for item in items:
                trace, span_id, span_checksum, carrier = item.owner
                trace.answer(span_id, span_checksum, carrier, accepted=accepted)
                touched[trace] = None
                if resolves:
                    self._recorder.answered_again(*ids_of(item.encoded))
        if self._pass.again:
            for item in (*answer.accepted, *rejected):
                self._pass.again.get(item.owner.trace.summary.id, set()).discard(item.owner.span_id)
        refused = answer.refused + (0 if self._state_lasts else len(letters))
        report.delivered += answer.delivered
        report.size_bytes += answer.size_bytes
        report.refused += refused
        report.trimmed += answer.trimmed
        for problem in answer.problems:
            report.note(problem)
        dead_letters.keep(self._pass, letters)
        self._recorder.answered([trace.record() for trace in touched], answer.delivered, refused, answer.size_bytes)
        for trace in touched:
            if not trace.unanswered:
                self._pass.finish(trace)
        for trace, reason in {one.item.owner.trace: one.reason for one in answer.unaccepted}.items():
            self._held.unaccepted(trace, reason)
        self._watch.grew(report)
