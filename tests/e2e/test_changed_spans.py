"""Real servers show a span that came twice as the page of the limits says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from netra_otel_bridge.core.model.outcome import Delivered
from netra_otel_bridge.deliver import batch_of, open_destination
from tests.support.jaeger import Jaeger
from tests.support.spans import make_span
from tests.support.tempo import Tempo

SPAN = 0xC1


async def sent(address: str, trace_id: int, *versions: str) -> None:
    """Send a span once for each of its versions, one request each; all of them are accepted."""
    destination = open_destination(address)
    for version in versions:
        span = make_span(SPAN, trace_id=trace_id, attributes={"version": version})
        assert await destination.send(batch_of((span,))) == Delivered()
    await destination.aclose()


def shown(trace: dict[str, Any]) -> Counter[str]:
    """Return how often each version of the span is in a trace."""
    return Counter(
        attribute["value"]["stringValue"]
        for resource in trace.get("resourceSpans") or trace["batches"]
        for scope in resource.get("scopeSpans") or resource["instrumentationLibrarySpans"]
        for span in scope.get("spans", ())
        for attribute in span["attributes"]
        if attribute["key"] == "version"
    )


def warned(trace: dict[str, Any]) -> bool:
    return "duplicate span IDs; skipping clock skew adjustment" in str(trace)


@pytest.fixture(scope="module")
def tempo() -> Iterator[Tempo]:
    with Tempo() as server:
        yield server


async def test_jaeger_shows_both_versions(jaeger: Jaeger) -> None:
    """Jaeger's memory shows a repeat once, and a changed span beside the first, with a warning."""
    await sent(jaeger.otlp_grpc, 0xC10, "first", "first")
    repeated = jaeger.trace(0xC10)
    await sent(jaeger.otlp_grpc, 0xC11, "first", "second")
    changed = jaeger.trace(0xC11, 2)
    assert (shown(repeated), warned(repeated)) == (Counter(first=1), False)
    assert (shown(changed), warned(changed)) == (Counter(first=1, second=1), True)


async def test_tempo_shows_the_first_version(tempo: Tempo) -> None:
    """Tempo shows a repeat once, and the first version of a changed span."""
    await sent(tempo.otlp_grpc, 0xC10, "first", "first")
    await sent(tempo.otlp_grpc, 0xC11, "first", "second")
    assert shown(tempo.trace(0xC10)) == shown(tempo.trace(0xC11, 2, within_s=2)) == Counter(first=1)
