"""Find out what a destination accepts, without writing to it; on request, send one test span.

    nothing   an empty request, or an inspection: is it reachable, what was meant, are the credentials accepted?
    size      if its server answers requests without spans: one as large as a batch, smaller ones until one is accepted
    sample    on request: one span as large and as old as those that will be sent, smaller ones until one is accepted

A request without a response ends the probe. Nothing is retried, and at most one sample is accepted.
"""

from __future__ import annotations

import asyncio
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
from netra_otel_bridge.deliver.answers import no_answer
from netra_otel_bridge.deliver.batching import CUT_BYTES, CUTS, MAX_BYTES, MIN_BYTES, batch_of, smaller_bytes
from netra_otel_bridge.deliver.otlp.encode import CHECK_FILLING, CHECK_SERVICE, random_digits
from netra_otel_bridge.deliver.protocols import AnswersEmpty, Destination, Inspects
from netra_otel_bridge.deliver.span_copy import SAMPLED

EMPTY = SpanBatch((), (), 0)
ANSWER_S = 12.0
"""Seconds within which each request must be answered; the timeout of OTLP itself is shorter by default."""
SPAN_NAME = "netra-otel-bridge check"
_NOTE = "netra.bridge.check"
_LENGTHS_BYTES = 16
"""Extra bytes of the four length fields around a long text, compared with an empty one."""
_TOO_LARGE = "batches are split, and larger spans trimmed"
_CUT = "lower batch_bytes to what it accepts"
_AGE_UNKNOWN = "whether it accepts large or old spans (check --send sends one), and keeps what it accepts"
_SPANS_UNKNOWN = "whether it accepts spans at all (check --send sends one)"
_ARRIVAL_UNKNOWN = "whether spans would arrive: an exporter may not even connect for an empty batch, and return SUCCESS"
_NOT_THESE = "it does not accept spans like these"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a probe: what the destination ``said``, in one line, and what the probe could not find out.

    A destination that is ``ok`` and not ``sure`` rejected a request without spans, or cannot be probed: only a span
    would tell.

    ``exit_code`` is the exit code that a lane would end with now, 0 if it would not end. ``took_bytes`` is the
    largest request that was accepted, ``None`` if none says anything about size; ``trace_id`` is that of the test span
    that was accepted, 32 hex digits, else ``None``.
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
    """The test span to send: it begins at ``start_ns`` and is ``age`` (``24 h old``) at ``now_ns``."""

    start_ns: int
    now_ns: int
    age: str


async def probe(
    destination: Destination, size_bytes: int = MAX_BYTES, sample: Sample | None = None, answer_s: float = ANSWER_S
) -> ProbeResult:
    """Probe a destination. Without ``sample`` nothing is written, created or changed there.

    ``size_bytes`` is that of a full batch. A destination that is `AnswersEmpty` receives a request of that size without
    spans; one that is `Inspects` is inspected. Any other destination receives an empty batch, and its response proves
    little. Each request must be answered within ``answer_s`` seconds.
    """
    try:
        found = await _asked(destination, size_bytes, answer_s)
        if sample is not None and found.ok:
            found = await _sent(destination, found, size_bytes, sample, answer_s)
    except BridgeError as error:
        return ProbeResult(False, str(error), "", error.exit_code)
    return found


async def _asked(destination: Destination, size_bytes: int, answer_s: float) -> ProbeResult:
    if isinstance(destination, Inspects):
        return await _inspected(destination, answer_s)
    if isinstance(destination, AnswersEmpty):
        answer = await _answer(destination.send_empty(0), answer_s)
        if isinstance(answer, Delivered | PartlyRefused):
            return await _sized(destination, size_bytes, answer_s)
        return _result(answer, "", _AGE_UNKNOWN)
    answer = await _answer(destination.send(EMPTY), answer_s)
    if isinstance(answer, Refused) and answer.cause == "defect":
        said = f"{answer.reason}, given an empty batch"
        return ProbeResult(False, said, _ARRIVAL_UNKNOWN, DestinationRefuses.exit_code)
    return _result(answer, "it returns SUCCESS for an empty batch, which is no proof", _ARRIVAL_UNKNOWN)


def made_up_span(start_ns: int, size_bytes: int) -> SpanBatch:
    """Make a batch of at most ``size_bytes`` with one span in a new trace, named `SPAN_NAME`.

    It lasts 1 ms. Its filling is random digits, which compress as badly as images in a prompt.
    """
    ids = RandomIdGenerator()
    context = SpanContext(ids.generate_trace_id(), ids.generate_span_id(), False, SAMPLED)

    def batch(filling: str) -> SpanBatch:
        attributes = {_NOTE: "a made-up span, sent by netra-otel-bridge check --send", CHECK_FILLING: filling}
        span = ReadableSpan(
            SPAN_NAME, context, resource=Resource({"service.name": CHECK_SERVICE}), attributes=attributes,
            start_time=start_ns, end_time=start_ns + NS_PER_MS, instrumentation_scope=InstrumentationScope(__package__),
        )  # fmt: skip
        return batch_of((span,))

    return batch(random_digits(size_bytes - batch("").size_bytes - _LENGTHS_BYTES))


async def _inspected(destination: Inspects, answer_s: float) -> ProbeResult:
    try:
        async with asyncio.timeout(answer_s):
            found = await destination.inspect()
    except TimeoutError:
        return _failed(no_answer("no response", answer_s), "")
    return ProbeResult(True, found.found, found.unknown, sure=found.sure)


async def _sized(destination: AnswersEmpty, size_bytes: int, answer_s: float) -> ProbeResult:
    """Find the largest request without spans that a server accepts, at most ``size_bytes``."""
    too_large, cuts = "", 0
    while True:
        asked = f"a request of {_size(size_bytes)} without spans"
        answer = await _answer(destination.send_empty(size_bytes), answer_s)
        match answer:
            case Delivered() | PartlyRefused():
                return ProbeResult(True, f"it accepts {asked}{too_large}", _AGE_UNKNOWN, took_bytes=size_bytes)
            case TooLarge(reason, limit_bytes) if size_bytes > MIN_BYTES:
                too_large = too_large or f", and none of {_size(size_bytes)} ({reason}): {_TOO_LARGE}"
                size_bytes = _smaller(size_bytes, limit_bytes)
            case Retry(_, _, True) if size_bytes > CUT_BYTES and cuts < CUTS - 1:
                cuts += 1
            case Retry(reason, _, True) if size_bytes > CUT_BYTES:
                cuts = 0
                too_large = too_large or f", and the connection is cut at {_size(size_bytes)} ({reason}): {_CUT}"
                size_bytes = _smaller(size_bytes)
            case TooLarge(reason) | Refused(reason):
                said = f"it accepts an empty request, but rejects {asked} ({reason})"
                return ProbeResult(True, said, _SPANS_UNKNOWN, sure=False)
            case Retry() | Misconfigured():
                failed = _failed(answer, _AGE_UNKNOWN)
                return replace(failed, said=f"it accepts an empty request; {asked}: {failed.said}")


async def _sent(
    destination: Destination, found: ProbeResult, size_bytes: int, sample: Sample, answer_s: float
) -> ProbeResult:
    """Send the sample, as large as was found to be accepted, and smaller while it is rejected."""
    first = ""
    size_bytes = found.took_bytes or size_bytes
    while True:
        batch = made_up_span(sample.start_ns, size_bytes)
        asked = f"a span of {_size(batch.size_bytes)}, {sample.age}"
        answer = await _answer(destination.send(batch), answer_s)
        match answer:
            case Delivered(warning):
                return _accepted(destination, found, batch, asked + (f" ({warning})" if warning else "") + first)
            case TooLarge(reason, limit_bytes) if size_bytes > MIN_BYTES:
                first = first or f", and none of {_size(batch.size_bytes)} ({reason}): {_TOO_LARGE}"
                size_bytes = _smaller(batch.size_bytes, limit_bytes)
            case Refused(reason) | PartlyRefused(_, reason) if size_bytes > MIN_BYTES:
                first = first or f", and none of {_size(batch.size_bytes)} ({reason}): such spans become dead letters"
                size_bytes = _smaller(batch.size_bytes)
            case TooLarge() | Refused() | PartlyRefused():
                young = made_up_span(sample.now_ns, size_bytes)
                of_now = await _answer(destination.send(young), answer_s)
                return _rejected(found, asked, answer, young if isinstance(of_now, Delivered) else None)
            case Retry() | Misconfigured():
                failed = _failed(answer, "whether the span arrived anyway")
                return replace(failed, said=f"{found.said}; {asked}: {failed.said}", took_bytes=found.took_bytes)


def _accepted(destination: Destination, found: ProbeResult, batch: SpanBatch, what: str) -> ProbeResult:
    trace_id = _trace_id(batch)
    if isinstance(destination, Inspects):
        said, unknown = f"accepted {what}", found.unknown
    elif isinstance(destination, AnswersEmpty):
        said, unknown = f"accepted {what}", f"whether it keeps the span, and finds it at its age: trace {trace_id}"
    else:
        said, unknown = f"it returns SUCCESS for {what}, which is no proof", f"whether it arrived: trace {trace_id}"
        found = replace(found, said="")
    said = "; ".join(filter(None, (found.said, said)))
    return replace(found, said=said, unknown=unknown, sure=True, took_bytes=batch.size_bytes, trace_id=trace_id)


def _rejected(
    found: ProbeResult, what: str, answer: TooLarge | Refused | PartlyRefused, young: SpanBatch | None
) -> ProbeResult:
    """Describe a sample that is rejected at any size.

    ``young`` is an accepted sample that starts now: then age is the cause.
    """
    why = answer.hint or _NOT_THESE if young is None else "it does not accept spans that old, but accepts new ones"
    said = f"{found.said}; it rejects even {what} ({answer.reason}): {why}; they become dead letters"
    trace_id = None if young is None else _trace_id(young)
    return replace(
        found, ok=False, sure=True, said=said, unknown="", exit_code=DestinationRefuses.exit_code, trace_id=trace_id
    )


def _trace_id(batch: SpanBatch) -> str:
    return f"{batch.spans[0].context.trace_id:032x}"


def _smaller(sent_bytes: int, limit_bytes: int | None = None) -> int:
    return max(smaller_bytes(sent_bytes, limit_bytes), MIN_BYTES)


def _result(outcome: Outcome, yes: str, unknown: str) -> ProbeResult:
    match outcome:
        case Delivered() | PartlyRefused():
            return ProbeResult(True, yes, unknown)
        case TooLarge(reason) | Refused(reason):
            said = f"it responds, but accepts no request without spans ({reason})"
            return ProbeResult(True, said, _SPANS_UNKNOWN, sure=False)
        case Retry() | Misconfigured():
            return _failed(outcome, unknown)


def _failed(outcome: Retry | Misconfigured, unknown: str) -> ProbeResult:
    """Describe a response that would delay or end a lane, and what to do about it."""
    said = f"{outcome.reason} ({outcome.hint})" if outcome.hint else outcome.reason
    match outcome:
        case Retry():
            return ProbeResult(False, said, unknown, DestinationUnavailable.exit_code)
        case Misconfigured(unauthorized=True):
            return ProbeResult(False, f"rejects the credentials: {said}", unknown, DestinationUnauthorized.exit_code)
        case Misconfigured():
            return ProbeResult(False, said, unknown, DestinationMisconfigured.exit_code)


async def _answer(asking: Awaitable[Outcome], answer_s: float) -> Outcome:
    try:
        async with asyncio.timeout(answer_s):
            return await asking
    except TimeoutError:
        return no_answer("no response", answer_s)


def _size(size_bytes: int) -> str:
    """Return ``512 B``, ``3.4 kB`` or ``12.0 MB``."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1000:.1f} kB" if size_bytes < 999_950 else f"{size_bytes / 1_000_000:.1f} MB"
