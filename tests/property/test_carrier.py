"""Checksums of carriers: what is sent and what a store returns have one, whatever the order of their attributes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from netra_otel_bridge.convert.resources import SharedResource
from netra_otel_bridge.deliver.otlp import carrier
from netra_otel_bridge.deliver.otlp.carrier import carrier_checksum, received_carrier_checksum
from netra_otel_bridge.deliver.otlp.encode import encode_request, encode_span
from tests.support.span_strategies import attributes, resources, scopes, texts
from tests.support.spans import make_span

any_resource = resources | st.builds(SharedResource, attributes)
any_scope = scopes | st.builds(
    lambda *parts: InstrumentationScope(*parts), texts, st.none() | texts, st.none() | texts, attributes
)


def sent(resource: Resource, scope: InstrumentationScope | None) -> TracesData:
    span = make_span(1, resource=resource, scope=scope)
    return TracesData.FromString(encode_request([span], [encode_span(span)]))


@given(any_resource, any_scope, st.randoms(use_true_random=False))
def test_what_a_store_returns_has_the_checksum_of_what_was_sent(
    resource: Resource, scope: InstrumentationScope | None, random: st.DrawFn
) -> None:
    """The carrier on the wire has the checksum that the state keeps, also if its attributes come in another order."""
    (resource_spans,) = sent(resource, scope).resource_spans
    (scope_spans,) = resource_spans.scope_spans
    for shuffled in (resource_spans.resource.attributes, scope_spans.scope.attributes):
        members = list(shuffled)
        random.shuffle(members)  # type: ignore[attr-defined]  # hypothesis has no public type for it
        del shuffled[:]
        shuffled.extend(members)
    assert received_carrier_checksum(resource_spans, scope_spans) == carrier_checksum(resource, scope)


def test_each_part_of_a_carrier_counts() -> None:
    """Carriers that differ in one part have different checksums, and so do 1, 1.0, True and "1"."""
    url = "https://opentelemetry.io/schemas/1.41.0"
    carriers: list[tuple[Resource, InstrumentationScope | None]] = [
        *((Resource({"k": value}), None) for value in (1, 1.0, True, "1", "2")),
        (Resource({}), None),
        (Resource({"l": 1}), None),
        (Resource({}, url), None),
        *(
            (Resource({}), scope)
            for scope in (
                InstrumentationScope("s"),
                InstrumentationScope("t"),
                InstrumentationScope("s", "1"),
                InstrumentationScope("s", None, url),
                InstrumentationScope("s", None, None, {"k": 1}),
            )
        ),
    ]
    assert len({carrier_checksum(resource, scope) for resource, scope in carriers}) == len(carriers)


def test_what_is_kept_for_speed_is_bounded_and_mixes_no_carriers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checksum that is kept belongs to its own objects, even if the memory of earlier ones is used again."""
    monkeypatch.setattr(carrier, "_MAX_KEPT", 3)
    carrier._kept.clear()
    for number in range(50):
        resource = SharedResource({"number": number})
        for _ in range(2):
            (resource_spans,) = sent(resource, None).resource_spans
            received = received_carrier_checksum(resource_spans, resource_spans.scope_spans[0])
            assert carrier_checksum(resource, None) == received
        assert len(carrier._kept) <= 3
        del resource
