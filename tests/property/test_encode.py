"""Our encoder and the stock one write the same message but for its flags, whatever the spans contain."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link

from netra_otel_bridge.deliver.otlp.encode import checksum, encode_request, encode_span, varint
from tests.support.examples import examples
from tests.support.span_strategies import spans
from tests.support.spans import context, make_span
from tests.support.stock import stock_request


def parsed(members: list[ReadableSpan]) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(encode_request(members, [encode_span(span) for span in members]))


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(spans(), max_size=5))
def test_a_request_is_what_the_stock_encoder_makes(members: list[ReadableSpan]) -> None:
    """Every field of every span, event, link, scope and resource is equal, in the same groups and order."""
    assert parsed(members) == stock_request(members)


@pytest.mark.parametrize("length", [0, 1, 47, 48, 49, 125, 126, 127, 128, 16_380, 16_384, 1 << 21, 3_499_000])
def test_lengths_at_the_edges_of_a_varint_are_exact(length: int) -> None:
    """If a length prefix grows by a byte, the message still parses; also the second time, from the cache."""
    span = make_span(1, attributes={"k": "x" * length}, resource=Resource({}))
    for _ in range(2):
        assert parsed([span]) == stock_request([span])


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
        assert parsed([span]) == stock_request([span])


def test_a_span_without_ids_has_no_form() -> None:
    """Encoding such a span is an error at once, and sends nothing else in its place."""
    with pytest.raises(TypeError, match="ids"):
        encode_span(ReadableSpan("without ids"))


def flags_of(span: ReadableSpan) -> list[int]:
    sent = parsed([span]).resource_spans[0].scope_spans[0].spans[0]
    return [sent.flags, *(link.flags for link in sent.links)]


def test_nobody_says_that_a_parent_is_local() -> None:
    """Flags have the sampled bit alone, unless the parent, or what a link leads to, is known to be remote."""
    links = [Link(context(1, 2)), Link(context(1, 2, remote=True))]
    assert flags_of(make_span(1, links=links)) == [0x1, 0x1, 0x301]
    assert flags_of(make_span(1, parent=2)) == [0x1]
    assert flags_of(make_span(1, parent=2, remote_parent=True)) == [0x301]


@given(spans())
def test_a_span_has_the_checksum_that_earlier_versions_stored(span: ReadableSpan) -> None:
    """Flags alone make no span without links look changed: its checksum is that of its bytes with the flags of then."""
    span = make_span(
        span.context.span_id, parent=span.parent and span.parent.span_id, attributes=span.attributes, events=span.events
    )
    changed = make_span(span.context.span_id, attributes={**(span.attributes or {}), "more": 1}, events=span.events)
    assert encode_span(span)[-6:] == b"\x85\x01\x01\x00\x00\x00"
    assert checksum(encode_span(span)) == crc32(encode_span(span)[:-4] + b"\x00\x01\x00\x00")
    assert checksum(encode_span(changed)) != checksum(encode_span(span))
