"""What deliver sends over OTLP comes back from a real Jaeger, equal in every field."""

from __future__ import annotations

import time

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from netra_otel_bridge.deliver import Batcher, batch_of, encode_span, open_destination
from netra_otel_bridge.model import Delivered, Misconfigured, Refused, TooLarge
from tests.support.compare import differences, sent_by_id, spans_by_id
from tests.support.jaeger import Jaeger
from tests.support.spans import SCOPE, context, make_span

HOUR_NS = 3600 * 10**9
RESOURCE = Resource({"service.name": "assistant", "service.version": "2.3.1", "team.ids": (1, 2), "ratio": 0.5})
ATTRIBUTES = {
    "text": "grüße, 世界 😀\n\ttab",
    "empty": "",
    "true": True,
    "false": False,
    "int": 42,
    "largest": 2**63 - 1,
    "smallest": -(2**63),
    "zero": 0,
    "double": 0.1,
    "whole double": 3.0,
    "tiny": 5e-324,
    "bytes": b"\x00\xff\x10",
    "texts": ("a", "", "ü"),
    "ints": (1, -2),
    "doubles": (0.5, 1.0),
    "booleans": (True, False),
    "mixed": ("a", 1, 2.5, True, b"\x01"),
    "nested": (("a", 1), {"k": ("v",)}),
    "map": {"a": 1, "b": {"c": "d"}},
    "no items": (),
}


def trace(trace_id: int) -> list[ReadableSpan]:
    """A trace of two hours ago with every kind, status and type, events, links, and a span of 1 MB."""
    start_ns = time.time_ns() - 2 * HOUR_NS + 7
    spans = [
        make_span(
            10 + number,
            trace_id=trace_id,
            parent=10 if number else None,
            name=f"{kind.name} ü",
            kind=kind,
            attributes=ATTRIBUTES | {"number": number},
            start_ns=start_ns + number,
            status=Status(*status),
            resource=RESOURCE,
        )
        for number, (kind, status) in enumerate(
            zip(SpanKind, [(StatusCode.UNSET,), (StatusCode.OK,), (StatusCode.ERROR, "it broke"), (), ()], strict=True)
        )
    ]
    events = [
        Event("exception", {"exception.type": "ValueError", "exception.message": "nö"}, start_ns + 1),
        Event("gen_ai.content", {"gen_ai.prompt": "x" * 5000, "n": 7}, start_ns + 2),
    ]
    links = [Link(context(0xFEED, 0xBEEF), {"why": "retry", "n": 2}), Link(context(trace_id, 10))]
    scope = InstrumentationScope("other", None)
    spans.append(
        make_span(
            20,
            trace_id=trace_id,
            parent=11,
            remote_parent=True,
            events=events,
            links=links,
            start_ns=start_ns,
            resource=Resource({"service.name": "worker"}),
            scope=scope,
        )
    )
    large = {"input": "é" * 250_000, "output": "y" * 500_000}
    spans.append(make_span(30, trace_id=trace_id, parent=0xDEAD, attributes=large, start_ns=start_ns, scope=SCOPE))
    return spans


@pytest.mark.parametrize("transport", ["otlp_grpc", "otlp_http"])
async def test_every_field_comes_back(jaeger: Jaeger, transport: str) -> None:
    """Original ids, parents, nanoseconds, statuses, attributes of every type, events and links."""
    trace_id = 0xA0000001 + (transport == "otlp_http")
    spans = trace(trace_id)
    destination = open_destination(getattr(jaeger, transport))
    assert await destination.send(batch_of(tuple(spans))) == Delivered()
    received = spans_by_id(jaeger.trace(trace_id, len(spans)))
    assert differences(sent_by_id(spans), received) == []
    await destination.aclose()


async def test_batches_of_the_size_that_is_computed_are_taken(jaeger: Jaeger) -> None:
    """Batches as full as the limit allows stay within what the server takes; one beyond is told as too large."""
    spans = [make_span(n, trace_id=0xB0, attributes={"input": "x" * 40_000}) for n in range(1, 301)]
    batcher = Batcher()
    batches = [batch for span in spans if (batch := batcher.add(span, encode_span(span)))]
    destination = open_destination(jaeger.otlp_grpc)
    for batch in batches:
        assert batch.size_bytes > 3_400_000
        assert await destination.send(batch) == Delivered()
    last = batcher.flush()
    assert last is not None
    assert await destination.send(last) == Delivered()
    assert len(spans_by_id(jaeger.trace(0xB0, 300))) == 300
    assert isinstance(await destination.send(batch_of(tuple(spans[:110]))), TooLarge)
    await destination.aclose()


async def test_what_a_real_server_refuses_is_understood(jaeger: Jaeger) -> None:
    """The answers table of the backends, as the server of this version gives them."""
    http = open_destination(jaeger.otlp_http)
    large = batch_of(tuple(make_span(n, attributes={"input": "x" * 7_000_000}) for n in range(1, 4)))
    assert isinstance(await http.send(large), TooLarge)
    await http.aclose()
    elsewhere = open_destination(f"{jaeger.otlp_http}/no/such/path")
    assert isinstance(await elsewhere.send(batch_of((make_span(1),))), Misconfigured)
    await elsewhere.aclose()


async def test_spans_that_it_takes_or_refuses_by_their_ids(jaeger: Jaeger) -> None:
    """A zero trace id is taken by this server; whatever is answered is an answer, not a time to wait."""
    destination = open_destination(jaeger.otlp_grpc)
    answer = await destination.send(batch_of((make_span(1, trace_id=0),)))
    assert isinstance(answer, Delivered | Refused)
    await destination.aclose()
