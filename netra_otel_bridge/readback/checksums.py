"""Compute the checksums of returned spans and carriers as the bridge computed those of what it sent.

The encoder of the bridge always writes some fields that protobuf leaves out if they are empty or zero: names, times,
the status, the flags of links. Servers leave them out too, so `matches` tries both forms.
"""

from __future__ import annotations

import struct

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from netra_otel_bridge.deliver.otlp.carrier import received_carrier_checksum
from netra_otel_bridge.deliver.otlp.encode import checksum, utf8, varint
from netra_otel_bridge.readback.wire import Carrier

_FLAGS_TAG = b"\x85\x01"
_FLAGS_BYTES = 6
_NO_FLAGS = bytes(_FLAGS_BYTES)
_FIXED64 = struct.Struct("<Q").pack
_FIXED32 = struct.Struct("<I").pack
_MAX_CARRIERS = 1024


def bytes_checksum(encoded: bytes) -> int:
    """Return the checksum of an encoded span, with or without flags at its end."""
    return checksum(encoded if encoded[-_FLAGS_BYTES:-4] == _FLAGS_TAG else encoded + _NO_FLAGS)


def matches(span: Span, expected: int) -> bool:
    """Return whether a span has this checksum. Its flags are cleared, because no checksum counts them."""
    span.ClearField("flags")
    span.status.SetInParent()  # or spans whose store leaves an empty status out would all take the slower form
    return checksum(span.SerializeToString() + _NO_FLAGS) == expected or _full_checksum(span) == expected


class CarrierChecksums:
    """Returns checksums of encoded carriers, and keeps those of the last few."""

    def __init__(self) -> None:
        self._kept: dict[Carrier, int] = {}

    def of(self, carrier: Carrier) -> int:
        """Return the checksum of a carrier. Raises ``DecodeError`` if its bytes are no protobuf, ``UnicodeDecodeError`` for a schema URL."""
        known = self._kept.get(carrier)
        if known is not None:
            return known
        if len(self._kept) >= _MAX_CARRIERS:
            self._kept.clear()
        known = self._kept[carrier] = received_carrier_checksum(
            ResourceSpans(resource=Resource.FromString(carrier.resource), schema_url=carrier.resource_url.decode()),
            ScopeSpans(scope=InstrumentationScope.FromString(carrier.scope), schema_url=carrier.scope_url.decode()),
        )
        return known


def _full_checksum(span: Span) -> int:
    """Return the checksum of a span with every field that the bridge's encoder always writes."""
    parts = [b"\x0a", _sized(span.trace_id), b"\x12", _sized(span.span_id)]
    if span.trace_state:
        parts += (b"\x1a", _sized(utf8(span.trace_state)))
    if span.parent_span_id:
        parts += (b"\x22", _sized(span.parent_span_id))
    parts += (b"\x2a", _sized(utf8(span.name)), b"\x30", varint(span.kind & 0xFFFF))
    parts += (b"\x39", _FIXED64(span.start_time_unix_nano), b"\x41", _FIXED64(span.end_time_unix_nano))
    for attribute in span.attributes:
        parts += (b"\x4a", _sized(_key_value(attribute)))
    if span.dropped_attributes_count:
        parts += (b"\x50", varint(span.dropped_attributes_count))
    for event in span.events:
        parts += (b"\x5a", _sized(_event(event)))
    if span.dropped_events_count:
        parts += (b"\x60", varint(span.dropped_events_count))
    for link in span.links:
        parts += (b"\x6a", _sized(_link(link)))
    if span.dropped_links_count:
        parts += (b"\x70", varint(span.dropped_links_count))
    parts += (b"\x7a", _sized(span.status.SerializeToString()), _NO_FLAGS)
    return checksum(b"".join(parts))


def _event(event: Span.Event) -> bytes:
    parts = [b"\x09", _FIXED64(event.time_unix_nano), b"\x12", _sized(utf8(event.name))]
    for attribute in event.attributes:
        parts += (b"\x1a", _sized(_key_value(attribute)))
    if event.dropped_attributes_count:
        parts += (b"\x20", varint(event.dropped_attributes_count))
    return b"".join(parts)


def _link(link: Span.Link) -> bytes:
    parts = [b"\x0a", _sized(link.trace_id), b"\x12", _sized(link.span_id)]
    if link.trace_state:
        parts += (b"\x1a", _sized(utf8(link.trace_state)))
    for attribute in link.attributes:
        parts += (b"\x22", _sized(_key_value(attribute)))
    if link.dropped_attributes_count:
        parts += (b"\x28", varint(link.dropped_attributes_count))
    parts += (b"\x35", _FIXED32(link.flags))
    return b"".join(parts)


def _key_value(attribute: KeyValue) -> bytes:
    return b"\x0a%b\x12%b" % (_sized(utf8(attribute.key)), _sized(attribute.value.SerializeToString()))


def _sized(body: bytes) -> bytes:
    return varint(len(body)) + body
