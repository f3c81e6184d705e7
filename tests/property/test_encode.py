"""Our encoder and the stock one write the same message, whatever the spans contain."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.deliver.otlp.encode import encode_request, encode_span, varint
from tests.support.examples import examples
from tests.support.span_strategies import spans
from tests.support.spans import make_span


def parsed(members: list[ReadableSpan]) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(encode_request(members, [encode_span(span) for span in members]))


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(spans(), max_size=5))
def test_a_request_is_what_the_stock_encoder_makes(members: list[ReadableSpan]) -> None:
    """Every field of every span, event, link, scope and resource is equal, in the same groups and order."""
    assert parsed(members) == encode_spans(members)


@pytest.mark.parametrize("length", [0, 1, 47, 48, 49, 125, 126, 127, 128, 16_380, 16_384, 1 << 21, 3_499_000])
def test_lengths_at_the_edges_of_a_varint_are_exact(length: int) -> None:
    """If a length prefix grows by a byte, the message still parses; also the second time, from the cache."""
    span = make_span(1, attributes={"k": "x" * length}, resource=Resource({}))
    for _ in range(2):
        assert parsed([span]) == encode_spans([span])


@given(st.integers(0, 2**64 - 1))
def test_a_varint_reads_back(value: int) -> None:
    """The encoding is base 128, the low group first, and as short as possible."""
    written = varint(value)
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(written)) == value
    assert all(byte & 0x80 for byte in written[:-1])
    assert not written[-1] & 0x80
    assert len(written) == max(1, -(-value.bit_length() // 7))


def test_what_is_kept_for_speed_does_not_mix_types_or_messages() -> None:
    """1, 1.0, True and "1" under one key stay distinct, in a span, an event and a link."""
    for value in (1, 1.0, True, "1", 1, "1", True):
        span = make_span(1, attributes={"k": value})
        assert parsed([span]) == encode_spans([span])


def test_a_span_without_ids_has_no_form() -> None:
    """Encoding such a span is an error at once, and sends nothing else in its place."""
    with pytest.raises(TypeError, match="ids"):
        encode_span(ReadableSpan("without ids"))
