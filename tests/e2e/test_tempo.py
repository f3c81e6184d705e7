"""The outcomes of a real Tempo's rejections; `test_receivers` tests what it returns of what it accepted.

The texts are those of version 1.5, as ``docs/backends.md`` lists them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Outcome,
    Refused,
    Retry,
    SpanBatch,
    TooLarge,
)
from netra_otel_bridge.deliver import batch_of, encode_span, open_destination
from tests.support.spans import make_span
from tests.support.tempo import Tempo

LIVE_TRACES = 10_000
TRACE_BYTES = 5_000_000

both = pytest.mark.parametrize("transport", ["otlp_grpc", "otlp_http"])


@pytest.fixture(scope="module")
def tempo() -> Iterator[Tempo]:
    """Run a Tempo for tests that stay far below its limits; each uses trace ids of its own."""
    with Tempo() as server:
        yield server


@pytest.fixture
def fresh() -> Iterator[Tempo]:
    """Run a Tempo whose limits no other test has used up."""
    with Tempo() as server:
        yield server


async def send(server: Tempo, transport: str, *batches: SpanBatch) -> list[Outcome]:
    """Send batches one after the other, and return the answer to each."""
    destination = open_destination(getattr(server, transport))
    try:
        return [await destination.send(batch) for batch in batches]
    finally:
        await destination.aclose()


def sized(count: int, size_bytes: int, *, trace_id: int = 0, first: int = 1) -> SpanBatch:
    """Return spans with this much text each, all of one trace or, without ``trace_id``, each of its own."""
    attributes = {"input": "x" * size_bytes}
    numbers = range(first, first + count)
    return batch_of([make_span(number, trace_id=trace_id or number, attributes=attributes) for number in numbers])


async def fill(server: Tempo) -> list[Outcome]:
    """Give the server as many live traces as it allows, in ten batches."""
    batches = [sized(LIVE_TRACES // 10, 10, first=1 + LIVE_TRACES // 10 * number) for number in range(10)]
    return await send(server, "otlp_grpc", *batches)


@both
async def test_a_span_without_a_trace_id_refuses_its_whole_request(tempo: Tempo, transport: str) -> None:
    """A request with such a span gets a 500 over HTTP, which is read as a poisoned span to search for, not as a passing fault."""
    good = make_span(2, trace_id=0xB0000001 + (transport == "otlp_http"))
    (answer,) = await send(tempo, transport, batch_of((make_span(1, trace_id=0), good)))
    assert answer == Refused("INVALID_ARGUMENT: trace ids must be 128 bit")
    assert tempo.trace(good.context.trace_id, within_s=0) == {}


@both
async def test_a_trace_id_of_eight_bytes_refuses_its_whole_request(tempo: Tempo, transport: str) -> None:
    """The request is not read at all: gRPC INTERNAL, HTTP 400."""
    span = make_span(1, trace_id=0xB1)
    short = Span.FromString(encode_span(span))
    short.trace_id = bytes(7) + b"\xb1"
    (answer,) = await send(tempo, transport, SpanBatch((span,), (short.SerializeToString(),), 500))
    assert isinstance(answer, Refused)
    assert answer.reason.endswith("invalid length for TraceID")


@both
async def test_more_than_4_mib_is_too_large(fresh: Tempo, transport: str) -> None:
    """Over gRPC, Tempo rejects it on arrival; over HTTP, it rejects it with a 500 when it passes it on internally."""
    many, one, right = await send(fresh, transport, sized(50, 100_000), sized(1, 4_300_000, first=100), sized(40, 10))
    assert isinstance(many, TooLarge)
    assert isinstance(one, TooLarge)
    assert right == Delivered()


async def test_with_search_even_3_mb_are_too_large() -> None:
    """With search, Tempo passes on its index too, so a request far below 4 MiB exceeds its limit."""
    with Tempo(search=True) as server:
        whole, half = await send(server, "otlp_grpc", sized(30, 100_000), sized(15, 100_000))
    assert isinstance(whole, TooLarge)
    assert "(4194305 vs. 4194304)" in whole.reason
    assert half == Delivered()


@both
async def test_faster_than_its_rate_is_a_wait(fresh: Tempo, transport: str) -> None:
    """Beyond a burst of 20 MB, then 15 MB/s, Tempo says to slow down: RESOURCE_EXHAUSTED without details, or a 500."""
    batches = [sized(30, 100_000, first=1 + 30 * number) for number in range(20)]
    answers = await send(fresh, transport, *batches)
    assert answers[:6] == [Delivered()] * 6
    refused = [answer for answer in answers if answer != Delivered()]
    assert refused
    assert all(isinstance(answer, Retry) and "RATE_LIMITED" in answer.reason for answer in refused)
    assert fresh.metric("tempo_discarded_spans_total", reason="rate_limited") == 30 * len(refused)


@both
async def test_a_trace_beyond_5_mb_is_refused(fresh: Tempo, transport: str) -> None:
    """From then on every part of that trace, however small, fails with its whole request, of which some may be stored."""
    parts = [sized(20, 100_000, trace_id=0xC1, first=1 + 20 * number) for number in range(3)]
    more = sized(1, 10, trace_id=0xC1, first=100)
    *stored, beyond, after = await send(fresh, transport, *parts, more)
    assert stored == [Delivered()] * 2
    for answer in (beyond, after):
        assert isinstance(answer, Refused)
        assert f"TRACE_TOO_LARGE: max size of trace ({TRACE_BYTES})" in answer.reason
        assert f"to trace {0xC1:032x}" in answer.reason
    mixed = batch_of((*more.spans, *sized(5, 10, first=200).spans))
    (answer,) = await send(fresh, transport, mixed)
    assert isinstance(answer, Refused)
    assert f"to trace {0xC1:032x}" in answer.reason


@both
async def test_too_many_traces_at_a_time_are_a_wait(fresh: Tempo, transport: str) -> None:
    """While 10,000 traces are live, more must wait until the first have been idle for 10 s or more."""
    assert await fill(fresh) == [Delivered()] * 10
    (answer,) = await send(fresh, transport, sized(10, 10, first=LIVE_TRACES + 1))
    assert isinstance(answer, Retry), answer
    assert "LIVE_TRACES_EXCEEDED" in answer.reason
