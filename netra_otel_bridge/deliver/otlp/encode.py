"""Write OTLP protobuf directly: the output of the stock encoder, at a fraction of its cost.

`encode_span` returns the bytes of one ``opentelemetry.proto.trace.v1.Span``; `encode_request` frames many of them by
resource and scope into an ``ExportTraceServiceRequest``. Parsed, they equal the output of ``encode_spans`` of
``opentelemetry-exporter-otlp-proto-common``, field by field (tests/property/test_encode.py), except for the flags: that
encoder leaves out the sampled bit, and says of each parent that is not known to be remote that it is local. The tag bytes
below are ``field number << 3 | wire type`` of opentelemetry-proto 1.x, whose numbers never change.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind

_SMALL = 1 << 14
_DOUBLE = struct.Struct("<d").pack
_FIXED64 = struct.Struct("<Q").pack
_TRACE_FLAGS_MASK = 0xFF
_REMOTE = 0x300
"""The bits of ``SpanFlags`` that say that the parent is known to be remote or not, and that it is."""
_FLAGS = struct.Struct("<I").pack
_CHECKSUM_FLAGS = b"\x85\x01\x00\x01\x00\x00"
"""The flags that earlier versions sent at the end of each span. `checksum` counts these, so that no span seems changed."""
CHECK_SERVICE, CHECK_FILLING = "netra-otel-bridge", "netra.bridge.check.filling"
"""The service name in requests of ``check``, and the attribute that pads them to their size."""
_EMPTY_REQUEST_BYTES = len(CHECK_SERVICE) + len(CHECK_FILLING) + 48
"""An upper bound of the size of a request without spans, without its filling."""
_MAX_CACHED = 20_000
_MAX_CACHED_TEXT = 48
_KINDS = {
    SpanKind.INTERNAL: b"\x30\x01",
    SpanKind.SERVER: b"\x30\x02",
    SpanKind.CLIENT: b"\x30\x03",
    SpanKind.PRODUCER: b"\x30\x04",
    SpanKind.CONSUMER: b"\x30\x05",
}


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_VARINTS = tuple(_varint(value) for value in range(_SMALL))


def varint(value: int) -> bytes:
    """Encode an unsigned integer below 2**64 in base 128, lowest group first."""
    return _VARINTS[value] if value < _SMALL else _varint(value)


def _field(tag: bytes, body: bytes) -> bytes:
    """Encode a length-delimited field."""
    return b"%b%b%b" % (tag, varint(len(body)), body)


def utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _any_value(value: Any) -> bytes:
    """Encode the body of an ``AnyValue``. Raises ``TypeError`` for a value that OTLP cannot express."""
    if isinstance(value, str):
        return _field(b"\x0a", utf8(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value & 0xFFFFFFFFFFFFFFFF)
    if isinstance(value, float):
        return b"\x21" + _DOUBLE(value)
    if value is None:
        return b""
    if isinstance(value, bytes):
        return _field(b"\x3a", value)
    if isinstance(value, Sequence):
        return _field(b"\x2a", b"".join([_field(b"\x0a", _any_value(item)) for item in value]))
    if isinstance(value, Mapping):
        return _field(b"\x32", b"".join([key_value(b"\x0a", str(key), item) for key, item in value.items()]))
    raise TypeError(f"an attribute of type {type(value).__name__} has no form in OTLP")


def key_value(tag: bytes, key: str, value: Any) -> bytes:
    """Encode one ``KeyValue`` as a field with this tag."""
    body = _field(b"\x0a", utf8(key)) + _field(b"\x12", _any_value(value))
    return _field(tag, body)


class _Key:
    """The encoded key of an attribute, and the whole encoded fields of short texts under it."""

    __slots__ = ("head", "texts")

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.texts: dict[str, bytes] = {}


class _Attributes:
    """Encodes the attributes of one message type; keys, and short texts under them, are encoded once and kept."""

    __slots__ = ("_kept", "_keys", "_tag")

    def __init__(self, tag: bytes) -> None:
        self._tag = tag
        self._keys: dict[str, _Key] = {}
        self._kept = 0

    def append_to(self, parts: list[bytes], attributes: Mapping[str, Any]) -> None:
        """Append the fields of all attributes."""
        tag, keys = self._tag, self._keys
        for name, value in attributes.items():
            key = keys.get(name) or self._new_key(name)
            kind = type(value)
            if kind is str:
                known = key.texts.get(value)
                if known is not None:
                    parts.append(known)
                    continue
                text = utf8(value)
                body = b"\x0a%b%b" % (varint(len(text)), text)
            elif kind is int:
                body = b"\x18" + varint(value & 0xFFFFFFFFFFFFFFFF)
            else:
                body = _any_value(value)
            head = key.head
            size = varint(len(body))
            field = (tag, varint(len(head) + len(size) + len(body)), head, size, body)
            if kind is str and len(value) <= _MAX_CACHED_TEXT:
                known = b"".join(field)
                parts.append(known)
                self._keep(key, value, known)
            else:
                parts += field

    def _keep(self, key: _Key, value: str, field: bytes) -> None:
        if self._kept >= _MAX_CACHED:
            self._keys.clear()
            self._kept = 0
        key.texts[value] = field
        self._kept += 1

    def _new_key(self, name: str) -> _Key:
        if self._kept >= _MAX_CACHED:
            self._keys.clear()
            self._kept = 0
        self._kept += 1
        key = self._keys[name] = _Key(_field(b"\x0a", utf8(name)) + b"\x12")
        return key


_SPAN_ATTRIBUTES = _Attributes(b"\x4a")
_EVENT_ATTRIBUTES = _Attributes(b"\x1a")
_LINK_ATTRIBUTES = _Attributes(b"\x22")


def encode_span(span: ReadableSpan) -> bytes:
    """Encode the body of one ``Span`` message. Raises ``TypeError`` for an attribute that OTLP cannot express."""
    context = span.get_span_context()
    if context is None:
        raise TypeError("a span without ids has no form in OTLP")
    parent = span.parent
    parts = [
        b"\x0a\x10",
        context.trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        context.span_id.to_bytes(8, "big"),
    ]
    if context.trace_state:
        state = ",".join([f"{key}={value}" for key, value in context.trace_state.items()])
        parts.append(_field(b"\x1a", utf8(state)))
    if parent is not None:
        parts += (b"\x22\x08", parent.span_id.to_bytes(8, "big"))
    name = utf8(span.name)
    parts += (b"\x2a", varint(len(name)), name, _KINDS[span.kind], b"\x39", _FIXED64(span.start_time or 0))
    parts += (b"\x41", _FIXED64(span.end_time or 0))
    attributes = span.attributes
    if attributes:
        _SPAN_ATTRIBUTES.append_to(parts, attributes)
    if dropped := span.dropped_attributes:
        parts += (b"\x50", varint(dropped))
    for event in span.events:
        inner = [b"\x09", _FIXED64(event.timestamp), _field(b"\x12", utf8(event.name))]
        if event.attributes:
            _EVENT_ATTRIBUTES.append_to(inner, event.attributes)
        if dropped := event.dropped_attributes:
            inner += (b"\x20", varint(dropped))
        parts.append(_field(b"\x5a", b"".join(inner)))
    if dropped := span.dropped_events:
        parts += (b"\x60", varint(dropped))
    for link in span.links:
        parts.append(_field(b"\x6a", _link(link)))
    if dropped := span.dropped_links:
        parts += (b"\x70", varint(dropped))
    parts.append(_status(span))
    parts += (b"\x85\x01", _FLAGS(flags(context, parent)))
    return b"".join(parts)


def checksum(encoded: bytes) -> int:
    """Return a CRC-32 of the bytes of `encode_span`, apart from the flags of the span."""
    return crc32(_CHECKSUM_FLAGS, crc32(memoryview(encoded)[: -len(_CHECKSUM_FLAGS)]))


def flags(context: SpanContext, parent: SpanContext | None) -> int:
    """Return the ``flags`` of a span, or of a link, whose ``parent`` is what it leads to.

    Netra does not say where a parent ran, so "not remote" means unknown and sets no bit.
    """
    return context.trace_flags & _TRACE_FLAGS_MASK | (_REMOTE if parent is not None and parent.is_remote else 0)


def ids_of(encoded: bytes) -> tuple[int, int]:
    """Read the trace id and the span id from the bytes of `encode_span`, where they have fixed positions."""
    return int.from_bytes(encoded[2:18]), int.from_bytes(encoded[20:28])


def _link(link: Link) -> bytes:
    context = link.context
    parts = [b"\x0a\x10", context.trace_id.to_bytes(16, "big"), b"\x12\x08", context.span_id.to_bytes(8, "big")]
    if link.attributes:
        _LINK_ATTRIBUTES.append_to(parts, link.attributes)
    if dropped := link.dropped_attributes:
        parts += (b"\x28", varint(dropped))
    parts += (b"\x35", _FLAGS(flags(context, context)))
    return b"".join(parts)


def _status(span: ReadableSpan) -> bytes:
    status = span.status
    code = status.status_code.value
    body = _field(b"\x12", utf8(status.description)) if status.description else b""
    return _field(b"\x7a", body + (b"\x18" + varint(code) if code else b""))


def encode_request(spans: Sequence[ReadableSpan], encoded: Sequence[bytes]) -> bytes:
    """Encode an ``ExportTraceServiceRequest`` (which is a ``TracesData``) of spans whose bodies are ``encoded``.

    Spans are grouped by resource and scope, each written once, in the order of their first span.
    """
    grouped: dict[Resource, dict[InstrumentationScope | None, list[bytes]]] = {}
    for span, body in zip(spans, encoded, strict=True):
        scopes = grouped.setdefault(span.resource, {})
        framed = scopes.setdefault(span.instrumentation_scope, [])
        framed += (b"\x12", varint(len(body)), body)
    resource_spans = []
    for resource, scopes in grouped.items():
        parts = [encode_resource(resource)]
        for scope, framed in scopes.items():
            head, schema_url = encode_scope(scope)
            parts.append(_field(b"\x12", b"".join([head, *framed, schema_url])))
        if resource.schema_url:
            parts.append(_field(b"\x1a", utf8(resource.schema_url)))
        resource_spans.append(_field(b"\x0a", b"".join(parts)))
    return b"".join(resource_spans)


def encode_empty_request(size_bytes: int) -> bytes:
    """Encode an ``ExportTraceServiceRequest`` without spans, of about ``size_bytes`` and no more.

    Its resource is filled with random digits, which, like images in a prompt, do not compress well.
    """
    if size_bytes <= 0:
        return b""
    digits = random_digits(size_bytes - _EMPTY_REQUEST_BYTES)
    resource = encode_resource(Resource({"service.name": CHECK_SERVICE, CHECK_FILLING: digits}))
    return _field(b"\x0a", resource)


def random_digits(count: int) -> str:
    """Return a text of this number of hexadecimal digits."""
    return os.urandom((max(count, 0) + 1) // 2).hex()[: max(count, 0)]


def encode_resource(resource: Resource) -> bytes:
    """Encode the ``resource`` field of a ``ResourceSpans``."""
    return _field(b"\x0a", b"".join([key_value(b"\x0a", key, value) for key, value in resource.attributes.items()]))


def encode_scope(scope: InstrumentationScope | None) -> tuple[bytes, bytes]:
    """Encode the ``scope`` and the ``schema_url`` field of a ``ScopeSpans``."""
    if scope is None:
        return _field(b"\x0a", b""), b""
    parts = [_field(b"\x0a", utf8(scope.name))] if scope.name else []
    if scope.version:
        parts.append(_field(b"\x12", utf8(scope.version)))
    parts += [key_value(b"\x1a", key, value) for key, value in (scope.attributes or {}).items()]
    return _field(b"\x0a", b"".join(parts)), _field(b"\x1a", utf8(scope.schema_url)) if scope.schema_url else b""
