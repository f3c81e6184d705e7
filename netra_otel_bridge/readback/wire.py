"""Read the bytes of ``TracesData``: cut out spans and carriers without building messages, and parse what is damaged.

Building messages of a trace costs several times what its proof costs. So `span_groups` walks the bytes, as long as they
have the form that servers write: known fields, each singular one once. Anything else is left to the protobuf parser.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from netra_otel_bridge.deliver.otlp.encode import varint

_LENGTH_DELIMITED = 2
_SIZES = {1: 8, 5: 4}
"""Sizes of values of a fixed length, by wire type."""
_MAX_DEPTH = 100
"""Deepest nesting that the protobuf parser accepts."""


class Carrier(NamedTuple):
    """The encoded resource and scope around spans, with their schema URLs."""

    resource: bytes
    resource_url: bytes
    scope: bytes
    scope_url: bytes


class SpanGroup(NamedTuple):
    """The encoded spans of one ``ScopeSpans``, and their carrier."""

    carrier: Carrier
    spans: list[bytes]


class UnusualForm(Exception):
    """The bytes are damaged, or valid in a form that `span_groups` does not read."""


def span_groups(data: bytes) -> list[SpanGroup]:
    """Cut ``TracesData`` into the bytes of its spans and carriers. Raises `UnusualForm`."""
    groups: list[SpanGroup] = []
    try:
        at, end = 0, len(data)
        while at < end:
            if data[at] != 0x0A:
                raise UnusualForm
            at, stop = _body(data, at + 1, end)
            _read_resource_spans(data, at, stop, groups)
            at = stop
    except IndexError:
        raise UnusualForm from None
    return groups


def _read_resource_spans(data: bytes, at: int, end: int, groups: list[SpanGroup]) -> None:
    resource = url = None
    scopes: list[tuple[bytes, bytes, list[bytes]]] = []
    while at < end:
        tag = data[at]
        at, stop = _body(data, at + 1, end)
        if tag == 0x12:
            scopes.append(_scope_spans(data, at, stop))
        elif tag == 0x0A and resource is None:
            resource = data[at:stop]
        elif tag == 0x1A and url is None:
            url = data[at:stop]
        else:
            raise UnusualForm
        at = stop
    for scope, scope_url, spans in scopes:
        groups.append(SpanGroup(Carrier(resource or b"", url or b"", scope, scope_url), spans))


def _scope_spans(data: bytes, at: int, end: int) -> tuple[bytes, bytes, list[bytes]]:
    scope = url = None
    spans: list[bytes] = []
    while at < end:
        tag = data[at]
        at, stop = _body(data, at + 1, end)
        if tag == 0x12:
            spans.append(data[at:stop])
        elif tag == 0x0A and scope is None:
            scope = data[at:stop]
        elif tag == 0x1A and url is None:
            url = data[at:stop]
        else:
            raise UnusualForm
        at = stop
    return scope or b"", url or b"", spans


def _body(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return where the body of a length-delimited field begins and ends, whose length is at ``at``."""
    size = data[at]
    at += 1
    if size > 0x7F:
        size, at = _varint(data, at - 1)
    stop = at + size
    if stop > end:
        raise UnusualForm
    return at, stop


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a varint; return it and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise UnusualForm


def rewritten_groups(data: bytes) -> list[SpanGroup]:
    """Cut ``TracesData`` like `span_groups`, but write all bytes anew, in the order of the fields' numbers.

    Jaeger writes fields the other way round. Raises ``DecodeError``.
    """
    return [
        SpanGroup(
            Carrier(
                resource_spans.resource.SerializeToString(),
                resource_spans.schema_url.encode(),
                scope_spans.scope.SerializeToString(),
                scope_spans.schema_url.encode(),
            ),
            [span.SerializeToString() for span in scope_spans.spans],
        )
        for resource_spans in TracesData.FromString(data).resource_spans
        for scope_spans in resource_spans.scope_spans
    ]


def parse_traces(data: bytes) -> TracesData:
    """Parse ``TracesData`` without unknown fields. Raises `UnusualForm` for bytes that are no protobuf of it.

    Some stores cut texts in the middle of a character, which protobuf rejects. The rest of that character becomes U+FFFD.
    """
    try:
        traces = TracesData.FromString(data)
    except DecodeError:
        try:
            traces = TracesData.FromString(_with_valid_texts(data, TracesData.DESCRIPTOR, 0))
        except (DecodeError, IndexError):
            raise UnusualForm from None
    traces.DiscardUnknownFields()
    return traces


def _with_valid_texts(data: bytes, message: Descriptor, depth: int) -> bytes:
    """Return the encoded ``message`` with U+FFFD in place of what is not UTF-8 in its texts."""
    if depth > _MAX_DEPTH:
        raise UnusualForm
    parts: list[bytes] = []
    for number, head, body in _fields(data):
        field = message.fields_by_number.get(number)
        if body is None or field is None:
            parts += (head, body or b"")
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type is not None:
            body = _with_valid_texts(body, field.message_type, depth + 1)
        elif field.type == FieldDescriptor.TYPE_STRING:
            body = body.decode("utf-8", "replace").encode()
        parts += (head, varint(len(body)), body)
    return b"".join(parts)


def _fields(data: bytes) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Yield the number of each field, its tag, and its body if it has a length; else its tag and value, and ``None``."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            head = data[start:at]
            at, stop = _body(data, at, len(data))
            yield tag >> 3, head, data[at:stop]
            at = stop
            continue
        if kind == 0:
            _, at = _varint(data, at)
        elif kind in _SIZES and at + _SIZES[kind] <= len(data):
            at += _SIZES[kind]
        else:
            raise UnusualForm
        yield tag >> 3, data[start:at], None
