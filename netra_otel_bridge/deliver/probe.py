"""What a destination takes: asked without writing anything, and, where that is wanted, with one made-up span.

    nothing   an empty request, or a look at the file: reached, what was meant, credentials
    size      OTLP alone: a request as large as a batch that holds no span, smaller ones until one is taken
    sample    on request: one span as large and as old as those that will be sent, smaller ones until one is taken

A question that is not answered ends the probe; nothing is tried again, and of the samples at most one is taken.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable
from dataclasses import dataclass, replace

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from netra_otel_bridge.core.clock import NS_PER_MS
from netra_otel_bridge.core.errors import (
    BridgeError,
    ConfigurationError,
    DestinationMisconfigured,
    DestinationRefuses,
    DestinationUnauthorized,
    DestinationUnavailable,
)
from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    PartlyRefused,
    Refused,
    Retry,
    SpanBatch,
    TooLarge,
)
from netra_otel_bridge.deliver import hints
from netra_otel_bridge.deliver.answers import is_cut, named_limit_bytes
from netra_otel_bridge.deliver.batching import CUT_BYTES, CUTS, MAX_BYTES, MIN_BYTES, batch_of
from netra_otel_bridge.deliver.destination import Destination
from netra_otel_bridge.deliver.otlp.client import OtlpGrpcDestination, OtlpHttpDestination
from netra_otel_bridge.deliver.otlp.encode import encode_resource, varint
from netra_otel_bridge.deliver.otlp.file import OtlpFileDestination
from netra_otel_bridge.deliver.span_copy import SAMPLED

EMPTY = SpanBatch((), (), 0)
ANSWER_S = 12.0
"""What one question gets to be answered; OTLP's own time-out is shorter by default."""
SERVICE, SPAN_NAME = "netra-otel-bridge", "netra-otel-bridge check"
_NOTE, _FILLING = "netra.bridge.check", "netra.bridge.check.filling"
_OF_NOTHING = re.compile(r"raised (Index|Value|Type|ZeroDivision|Assertion)Error\b|raised StopIteration\b")
"""What code may raise for want of a span alone."""
_LENGTHS_BYTES = 16
"""How much longer the four lengths around a long text are than those around none."""
_TOO_LARGE = "batches are split, and larger spans trimmed"
_CUT = "lower batch_bytes to what it takes"
_OTLP_UNKNOWN = "whether it takes large or old spans (check --send sends one), and keeps what it takes"
_SPANS_UNKNOWN = "whether it takes spans at all (check --send sends one)"
_FILE_UNKNOWN = "whether there is room for what will be written"
_EXPORTER_UNKNOWN = (
    "whether spans would arrive: an exporter need not connect for no spans, and may answer SUCCESS all the same"
)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe found: one line of what the destination ``said``, and what could not be known by asking.

    One that is ``ok`` and not ``sure`` refused what holds no span, or cannot be asked: only a span would tell.

    ``exit_code`` is that of the error that a lane would end with now, and 0 where there is none. ``took_bytes`` is the
    largest request that was taken, ``None`` if none was that says something about size; ``trace_id`` that of the
    made-up span that was taken, 32 hex digits, else ``None``.
    """

    ok: bool
    said: str
    unknown: str
    exit_code: int = 0
    sure: bool = True
    took_bytes: int | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """The made-up span to send: it begins at ``start_ns``, which is ``age`` (``24 h old``) at ``now_ns``."""

    start_ns: int
    now_ns: int
    age: str


async def probe(
    destination: Destination, size_bytes: int = MAX_BYTES, sample: Sample | None = None, answer_s: float = ANSWER_S
) -> ProbeResult:
    """Ask a destination. Without ``sample`` nothing is written, created or changed there.

    ``size_bytes`` is that of a full batch. OTLP is asked for it with a request without spans. A file is looked at. Any
    other destination is handed an empty batch; what it answers proves little. Each question gets ``answer_s`` seconds.
    """
    try:
        found = await _asked(destination, size_bytes, answer_s)
        if sample is not None and found.ok:
            found = await _sent(destination, found, size_bytes, sample, answer_s)
    except BridgeError as error:
        return ProbeResult(False, str(error), "", error.exit_code)
    return found


async def _asked(destination: Destination, size_bytes: int, answer_s: float) -> ProbeResult:
    match destination:
        case OtlpFileDestination():
            return _file(destination)
        case OtlpGrpcDestination() | OtlpHttpDestination():
            answer = await _answer(destination.send(EMPTY), answer_s)
            if isinstance(answer, Delivered | PartlyRefused):
                return await _sized(destination, size_bytes, answer_s)
            return _result(answer, "", _OTLP_UNKNOWN)
        case _:
            answer = await _answer(destination.send(EMPTY), answer_s)
            if isinstance(answer, Refused) and " raised " in answer.reason and not _OF_NOTHING.search(answer.reason):
                said = f"{answer.reason}, given an empty batch"
                return ProbeResult(False, said, _EXPORTER_UNKNOWN, DestinationRefuses.exit_code)
            return _result(answer, "it answers SUCCESS to an empty batch, which is no proof", _EXPORTER_UNKNOWN)


def made_up_span(start_ns: int, size_bytes: int) -> SpanBatch:
    """A batch of at most ``size_bytes`` with one span in a new trace, named `SPAN_NAME`, of the service `SERVICE`.

    It lasts 1 ms and is filled with random digits, which do not compress well: neither do images in a prompt.
    """
    ids = RandomIdGenerator()
    context = SpanContext(ids.generate_trace_id(), ids.generate_span_id(), False, SAMPLED)

    def batch(filling: str) -> SpanBatch:
        attributes = {_NOTE: "a made-up span, sent by netra-otel-bridge check --send", _FILLING: filling}
        span = ReadableSpan(
            SPAN_NAME, context, resource=Resource({"service.name": SERVICE}), attributes=attributes,
            start_time=start_ns, end_time=start_ns + NS_PER_MS, instrumentation_scope=InstrumentationScope(__package__),
        )  # fmt: skip
        return batch_of((span,))

    return batch(_digits(size_bytes - batch("").size_bytes - _LENGTHS_BYTES))


def spanless_request(size_bytes: int) -> bytes:
    """An ``ExportTraceServiceRequest`` of at most ``size_bytes`` that holds a resource and no span."""
    room = size_bytes - len(SERVICE) - len(_FILLING) - 3 * _LENGTHS_BYTES
    resource = encode_resource(Resource({"service.name": SERVICE, _FILLING: _digits(room)}))
    return b"\x0a" + varint(len(resource)) + resource


def _digits(count: int) -> str:
    return os.urandom((max(count, 0) + 1) // 2).hex()[: max(count, 0)]


def _file(destination: OtlpFileDestination) -> ProbeResult:
    try:
        asked = destination.check()
    except ConfigurationError as error:
        return ProbeResult(False, str(error), _FILE_UNKNOWN, error.exit_code)
    if not asked:
        unknown = "whether anyone reads it (check --send sends a span)"
        return ProbeResult(
            True, "a named pipe, which is not opened: that would end for who reads it", unknown, sure=False
        )
    return ProbeResult(True, "it may be written", _FILE_UNKNOWN)


async def _sized(
    destination: OtlpGrpcDestination | OtlpHttpDestination, size_bytes: int, answer_s: float
) -> ProbeResult:
    """What an OTLP server that takes an empty request says to one of ``size_bytes``."""
    too_large, cuts = "", 0
    while True:
        body = spanless_request(size_bytes)
        asked = f"a request of {_size(len(body))} without spans"
        match answer := await _answer(destination.send_request(body, 0), answer_s):
            case Delivered() | PartlyRefused():
                return ProbeResult(True, f"it takes {asked}{too_large}", _OTLP_UNKNOWN, took_bytes=len(body))
            case TooLarge(reason) if size_bytes > MIN_BYTES:
                too_large = too_large or f", and none of {_size(len(body))} ({reason}): {_TOO_LARGE}"
                size_bytes = _smaller(len(body), reason)
            case Retry(reason) if is_cut(reason) and size_bytes > CUT_BYTES and cuts < CUTS - 1:
                cuts += 1
            case Retry(reason) if is_cut(reason) and size_bytes > CUT_BYTES:
                cuts = 0
                too_large = too_large or f", and the connection is cut at {_size(len(body))} ({reason}): {_CUT}"
                size_bytes = _smaller(len(body))
            case TooLarge(reason) | Refused(reason):
                said = f"it takes an empty request, and refuses {asked} ({reason})"
                return ProbeResult(True, said, _SPANS_UNKNOWN, sure=False)
            case Retry() | Misconfigured():
                failed = _failed(answer, _OTLP_UNKNOWN)
                return replace(failed, said=f"it takes an empty request; {asked}: {failed.said}")


async def _sent(
    destination: Destination, found: ProbeResult, size_bytes: int, sample: Sample, answer_s: float
) -> ProbeResult:
    """Send the sample, as large as was found to be taken, and smaller while it is refused."""
    first = ""
    size_bytes = found.took_bytes or size_bytes
    while True:
        batch = made_up_span(sample.start_ns, size_bytes)
        asked = f"a span of {_size(batch.size_bytes)}, {sample.age}"
        match answer := await _answer(destination.send(batch), answer_s):
            case Delivered(warning):
                return _taken(destination, found, batch, asked + (f" ({warning})" if warning else "") + first)
            case TooLarge(reason) if size_bytes > MIN_BYTES:
                first = first or f", and none of {_size(batch.size_bytes)} ({reason}): {_TOO_LARGE}"
                size_bytes = _smaller(batch.size_bytes, reason)
            case Refused(reason) | PartlyRefused(_, reason) if size_bytes > MIN_BYTES:
                first = first or f", and none of {_size(batch.size_bytes)} ({reason}): such spans become dead letters"
                size_bytes = _smaller(batch.size_bytes)
            case TooLarge(reason) | Refused(reason) | PartlyRefused(_, reason):
                young = made_up_span(sample.now_ns, size_bytes)
                answer = await _answer(destination.send(young), answer_s)
                return _refused(found, asked, reason, young if isinstance(answer, Delivered) else None)
            case Retry() | Misconfigured():
                failed = _failed(answer, "whether the span arrived all the same")
                return replace(failed, said=f"{found.said}; {asked}: {failed.said}", took_bytes=found.took_bytes)


def _taken(destination: Destination, found: ProbeResult, batch: SpanBatch, what: str) -> ProbeResult:
    trace_id = _trace_id(batch)
    match destination:
        case OtlpFileDestination():
            said, unknown = f"took {what}, as its last line", found.unknown
        case OtlpGrpcDestination() | OtlpHttpDestination():
            said, unknown = f"took {what}", f"whether it keeps the span, and finds it at its age: trace {trace_id}"
        case _:
            said, unknown = f"it answers SUCCESS to {what}, which is no proof", f"whether it arrived: trace {trace_id}"
            found = replace(found, said="")
    said = "; ".join(filter(None, (found.said, said)))
    return replace(found, said=said, unknown=unknown, sure=True, took_bytes=batch.size_bytes, trace_id=trace_id)


def _refused(found: ProbeResult, what: str, reason: str, young: SpanBatch | None) -> ProbeResult:
    """``what`` is refused at any size. ``young`` is the same of now, where that was taken: then it is the age."""
    why = hints.of_refused(reason) if young is None else "it does not take spans that old, and took one of now"
    said = f"{found.said}; it refuses even {what} ({reason}): {why}; they become dead letters"
    trace_id = None if young is None else _trace_id(young)
    return replace(
        found, ok=False, sure=True, said=said, unknown="", exit_code=DestinationRefuses.exit_code, trace_id=trace_id
    )


def _trace_id(batch: SpanBatch) -> str:
    return f"{batch.spans[0].context.trace_id:032x}"


def _smaller(sent_bytes: int, reason: str = "") -> int:
    """The size to try next: what the refusal names, else half, as `Sender` learns it."""
    return max(named_limit_bytes(reason, sent_bytes) or sent_bytes // 2, MIN_BYTES)


def _result(outcome: Outcome, yes: str, unknown: str) -> ProbeResult:
    match outcome:
        case Delivered() | PartlyRefused():
            return ProbeResult(True, yes, unknown)
        case TooLarge(reason) | Refused(reason):
            said = f"it answers, and takes no request without spans ({reason})"
            return ProbeResult(True, said, _SPANS_UNKNOWN, sure=False)
        case Retry() | Misconfigured():
            return _failed(outcome, unknown)


def _failed(outcome: Retry | Misconfigured, unknown: str) -> ProbeResult:
    """The line of an answer that would hold or end a lane, with what to do."""
    match outcome:
        case Retry(reason):
            do = hints.of_retry(reason)
            said = f"{reason} ({do})" if do else reason
            return ProbeResult(False, said, unknown, DestinationUnavailable.exit_code)
        case Misconfigured(reason, True):
            said = f"refuses the credentials: {reason} (set OTEL_EXPORTER_OTLP_HEADERS, or ask who runs it)"
            return ProbeResult(False, said, unknown, DestinationUnauthorized.exit_code)
        case Misconfigured(reason):
            do = hints.of_misconfigured(reason)
            said = f"{reason} ({do})" if do else reason
            return ProbeResult(False, said, unknown, DestinationMisconfigured.exit_code)


async def _answer(asking: Awaitable[Outcome], answer_s: float) -> Outcome:
    try:
        async with asyncio.timeout(answer_s):
            return await asking
    except TimeoutError:
        return Retry(f"no answer in {answer_s:g} s")


def _size(size_bytes: int) -> str:
    """``512 B``, ``3.4 kB``, ``12.0 MB``."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1000:.1f} kB" if size_bytes < 999_950 else f"{size_bytes / 1_000_000:.1f} MB"
