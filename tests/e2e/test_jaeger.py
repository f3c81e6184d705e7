"""A real Jaeger's answers to requests that are too large, go elsewhere or have no trace id; `test_receivers` has the rest."""

from __future__ import annotations

from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Misconfigured,
    Refused,
    TooLarge,
)
from netra_otel_bridge.deliver import Batcher, batch_of, open_destination
from tests.support.batches import item
from tests.support.compare import spans_by_id
from tests.support.jaeger import Jaeger
from tests.support.spans import make_span


async def test_batches_of_the_size_that_is_computed_are_taken(jaeger: Jaeger) -> None:
    """Jaeger accepts batches as full as the computed limit allows; it reports one beyond that as too large."""
    spans = [make_span(n, trace_id=0xB0, attributes={"input": "x" * 40_000}) for n in range(1, 301)]
    batcher: Batcher[None] = Batcher()
    batches = [batch for span in spans if (batch := batcher.add(item(span)))]
    destination = open_destination(jaeger.otlp_grpc)
    for batch in batches:
        assert batch.request.size_bytes > 3_400_000
        assert await destination.send(batch.request) == Delivered()
    last = batcher.flush()
    assert last is not None
    assert await destination.send(last.request) == Delivered()
    assert len(spans_by_id(jaeger.trace(0xB0, 300))) == 300
    assert isinstance(await destination.send(batch_of(tuple(spans[:110]))), TooLarge)
    await destination.aclose()


async def test_what_a_real_server_refuses_is_understood(jaeger: Jaeger) -> None:
    """This version of Jaeger answers as the table in docs/backends.md says."""
    http = open_destination(jaeger.otlp_http)
    large = batch_of(tuple(make_span(n, attributes={"input": "x" * 7_000_000}) for n in range(1, 4)))
    assert isinstance(await http.send(large), TooLarge)
    await http.aclose()
    elsewhere = open_destination(f"{jaeger.otlp_http}/no/such/path")
    assert isinstance(await elsewhere.send(batch_of((make_span(1),))), Misconfigured)
    await elsewhere.aclose()


async def test_spans_that_it_takes_or_refuses_by_their_ids(jaeger: Jaeger) -> None:
    """Jaeger's answer to a zero trace id accepts or rejects the span; it is never a reason to wait."""
    destination = open_destination(jaeger.otlp_grpc)
    answer = await destination.send(batch_of((make_span(1, trace_id=0),)))
    assert isinstance(answer, Delivered | Refused)
    await destination.aclose()
