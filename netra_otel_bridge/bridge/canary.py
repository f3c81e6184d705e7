"""Send one marked trace to a destination, and look for it in the store behind it: would a backfill like it arrive?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from netra_otel_bridge.bridge.stores import stores_of
from netra_otel_bridge.bridge.verify import enter_reader
from netra_otel_bridge.bridge.wiring import Wiring
from netra_otel_bridge.core.clock import NS_PER_MS, Backoff, Clock
from netra_otel_bridge.core.errors import BridgeError, DestinationRefuses, UsageError
from netra_otel_bridge.core.model.readback import Finding, StoreReport
from netra_otel_bridge.core.packed_checksums import pack_carriers, pack_spans
from netra_otel_bridge.core.tasks import all_of
from netra_otel_bridge.core.time_text import parse_time_ns
from netra_otel_bridge.deliver import (
    Answer,
    Batcher,
    Destination,
    Item,
    Sender,
    To,
    carrier_checksum,
    checksum,
    encode_span,
)
from netra_otel_bridge.deliver.answers import FULL_TRACE
from netra_otel_bridge.deliver.otlp.encode import CHECK_FILLING, CHECK_SERVICE, random_digits
from netra_otel_bridge.deliver.span_copy import SAMPLED
from netra_otel_bridge.readback.expected import ExpectedTrace
from netra_otel_bridge.readback.reader import TraceReader
from netra_otel_bridge.readback.verify import verify_store

MIN_BYTES = 5_000
DEFAULT_BYTES = 100_000
MAX_BYTES = 100_000_000
TRACE_SPANS = 10
"""Spans of the trace, unless one would be larger than `SPAN_BYTES`."""
SPAN_BYTES = 1_000_000
_NAME = "netra-otel-bridge canary"
_MARK = "netra.bridge.canary"
_FULL = "`max_bytes_per_trace` of Tempo (5 MB by default) limits a trace: raise it to the size of your largest"


@dataclass(frozen=True, slots=True)
class Canary:
    """The result of one canary: whether the store keeps and finds such a trace (``ok``), and what it ``said`` in lines.

    ``report`` accounts for its spans; it is ``None`` if the destination did not accept the trace.
    """

    name: str
    at: str
    trace_id: str
    ok: bool
    said: tuple[str, ...]
    exit_code: int
    report: StoreReport | None = None


async def canaries(
    wiring: Wiring, to: To | Sequence[To] | None, ats: Sequence[str], *, since: str, size_bytes: int
) -> list[Canary]:
    """Send a canary to each destination that has a store, and look for it there, all at once.

    ``ats`` are ``AT`` or ``DEST=AT``, ``since`` is the start of the trace as `Bridge.window` accepts it, and ``size_bytes``
    its size. Raises `UsageError`, also for a destination without a store, and `ConfigurationError`.
    """
    now_ns = wiring.clock.now_ns()
    start_ns = parse_time_ns(since, now_ns)
    if start_ns > now_ns:
        raise UsageError(f"--since {since!r} is in the future", hint="write a time in the past, or 24h")
    async with AsyncExitStack() as stack:
        destinations = [await wiring.enter_destination(stack, one) for one in wiring.targets(to)]
        stores = stores_of([one.name for one in destinations], ats)
        readers = [await enter_reader(stack, wiring, one.name, stores.get(one.name)) for one in destinations]
        return await all_of(
            send_canary(
                destination,
                reader,
                start_ns=start_ns,
                size_bytes=size_bytes,
                batch_bytes=wiring.settings.batch_bytes,
                clock=wiring.clock,
            )
            for destination, reader in zip(destinations, readers, strict=True)
        )


async def send_canary(
    destination: Destination, reader: TraceReader, *, start_ns: int, size_bytes: int, batch_bytes: int, clock: Clock
) -> Canary:
    """Send a trace of about ``size_bytes`` that starts at ``start_ns``, and read it back by id and by search.

    It is sent as a lane sends: split, and trimmed to what the destination accepts. The store has the time that
    `verify_store` gives it. Nothing raises but a defect: each error is in the result.
    """
    trace = _CanaryTrace(start_ns, size_bytes)
    answer: Answer[None] = Answer()
    try:
        await _send(destination, trace.sent, answer, batch_bytes, clock)
    except BridgeError as error:
        return Canary(destination.name, reader.at, trace.trace_id, False, _rejected(str(error)), error.exit_code)
    if not answer.delivered or answer.refused or answer.dead:
        reason = answer.dead[0].reason if answer.dead else next(iter(answer.problems), "it rejected spans")
        accepted = f"of {len(trace.sent)} spans, {answer.delivered} were accepted: {reason}"
        said = _rejected(accepted)
        return Canary(destination.name, reader.at, trace.trace_id, False, said, DestinationRefuses.exit_code)
    trace.recorded_ns = clock.now_ns()
    report = await verify_store(reader, trace, trace, name=destination.name, clock=clock)
    said = _lines(report)
    return Canary(destination.name, reader.at, trace.trace_id, not report.exit_code, said, report.exit_code, report)


async def _send(
    destination: Destination, spans: Sequence[ReadableSpan], answer: Answer[None], batch_bytes: int, clock: Clock
) -> None:
    sender = Sender(
        destination,
        backoff=Backoff(first_s=0.5, attempts=3),
        clock=clock,
        on_retry=lambda _reason, _delay_s: None,
        stops_when_refused=False,
    )
    batcher: Batcher[None] = Batcher(max_bytes=batch_bytes)
    batches = [batcher.add(Item(span, encode_span(span), None)) for span in spans]
    for batch in (*batches, batcher.flush()):
        if batch is not None:
            await sender.send(batch, answer)


def _rejected(reason: str) -> tuple[str, ...]:
    """Return the lines on a trace that was not accepted."""
    return (reason, _FULL) if FULL_TRACE.search(reason) else (reason,)


def _lines(report: StoreReport) -> tuple[str, ...]:
    if report.error is not None:
        return (f"the store could not be asked: {report.error}",)
    if not report.exit_code:
        found = "found it by id and by search" if report.looked_for else "found it by id; it has no search to look at"
        return (f"the store kept all {report.spans} spans unchanged, and {found}",)
    return tuple(_line(one) for one in report.findings if one.kind != "foreign")


def _line(finding: Finding) -> str:
    return f"{finding.kind}: {finding.what} ({finding.count} spans)" + (f"; {finding.hint}" if finding.hint else "")


class _CanaryTrace:
    """The trace of a canary: what is expected, and what was sent."""

    def __init__(self, start_ns: int, size_bytes: int) -> None:
        self.sent = _spans(start_ns, size_bytes)
        self.recorded_ns = 0
        self.calls = 0
        self.trace_id = f"{self.sent[0].context.trace_id:032x}"
        self._start_ns = start_ns

    async def __aiter__(self) -> AsyncIterator[Sequence[ExpectedTrace]]:
        spans = {one.context.span_id: checksum(encode_span(one)) for one in self.sent}
        around = {one.context.span_id: carrier_checksum(one.resource, one.instrumentation_scope) for one in self.sent}
        carriers = pack_carriers(spans, around)
        yield [ExpectedTrace(self.trace_id, self._start_ns, self.recorded_ns, pack_spans(spans), carriers)]

    def findings(self) -> Sequence[Finding]:
        return ()

    def notes(self) -> Sequence[str]:
        return ()

    async def spans(self, trace_id: str) -> Mapping[int, ReadableSpan]:  # noqa: ARG002  the one trace there is
        return {one.context.span_id: one for one in self.sent}


def _spans(start_ns: int, size_bytes: int) -> tuple[ReadableSpan, ...]:
    """Make the spans of a trace of about ``size_bytes``: a root and its children, 1 ms apart."""
    count = max(TRACE_SPANS, -(-size_bytes // SPAN_BYTES))
    ids = RandomIdGenerator()
    trace_id = ids.generate_trace_id()
    contexts = [SpanContext(trace_id, ids.generate_span_id(), False, SAMPLED) for _ in range(count)]
    resource, scope = Resource({"service.name": CHECK_SERVICE}), InstrumentationScope("netra-otel-bridge")

    def span(number: int, filling: str) -> ReadableSpan:
        begin_ns = start_ns + number * NS_PER_MS
        return ReadableSpan(
            _NAME,
            contexts[number],
            parent=contexts[0] if number else None,
            resource=resource,
            instrumentation_scope=scope,
            attributes={_MARK: "a made-up span, sent by netra-otel-bridge check --canary", CHECK_FILLING: filling},
            events=(Event("netra.bridge.canary", {"number": number}, begin_ns),),
            start_time=begin_ns,
            end_time=start_ns + count * NS_PER_MS,
        )

    empty_bytes = len(encode_span(span(count - 1, "")))
    return tuple(span(number, random_digits(size_bytes // count - empty_bytes)) for number in range(count))
