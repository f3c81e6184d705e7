"""How many bytes a span takes in OTLP, worked out without encoding it.

The arithmetic follows ``opentelemetry/proto/trace/v1/trace.proto`` and the stock encoder: a tag is one byte up to
field 15, a message or text is preceded by its length as a varint, times are 8 bytes, proto3 leaves out empty scalars
but not the chosen field of a ``oneof``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

_LENGTH_BYTES = 5
"""A length prefix of up to 2 GiB: what is reserved where the length is not known yet."""
_TRACE_ID_BYTES = 18
_SPAN_ID_BYTES = 10
_SHORT = 126
"""Below this a text, and the ``AnyValue`` around it, have lengths of one byte each."""
_FLAGS_BYTES = 6
"""Field 16 of a span has a tag of two bytes; links (field 6) take one less."""


def span_size_bytes(span: ReadableSpan) -> int:
    """The bytes that ``span`` adds to its ``ScopeSpans``, tag and length included."""
    context = span.get_span_context()
    size = _TRACE_ID_BYTES + _SPAN_ID_BYTES + 2 + _FLAGS_BYTES + _text_field(span.name)
    if context is not None and context.trace_state:
        size += _trace_state(context)
    if span.parent is not None:
        size += _SPAN_ID_BYTES
    size += 9 if span.start_time else 0
    size += 9 if span.end_time else 0
    size += _attributes(span.attributes)
    for event in span.events:
        size += _framed(
            (9 if event.timestamp else 0)
            + _text_field(event.name)
            + _attributes(event.attributes)
            + _count(event.dropped_attributes)
        )
    for link in span.links:
        size += _framed(
            _TRACE_ID_BYTES
            + _SPAN_ID_BYTES
            + _FLAGS_BYTES
            - 1
            + _attributes(link.attributes)
            + _count(link.dropped_attributes)
        )
    status = span.status
    if status is not None:
        description = status.description
        size += _framed((2 if status.status_code.value else 0) + (_text_field(description) if description else 0))
    size += _count(span.dropped_attributes) + _count(span.dropped_events) + _count(span.dropped_links)
    return _framed(size)


def resource_size_bytes(resource: Resource) -> int:
    """The bytes of a ``ResourceSpans`` around its scopes: tags, lengths, resource and schema."""
    return 1 + _LENGTH_BYTES + _framed(_attributes(resource.attributes)) + _text_field(resource.schema_url)


def scope_size_bytes(scope: InstrumentationScope | None) -> int:
    """The bytes of a ``ScopeSpans`` around its spans: tags, lengths, scope and schema."""
    if scope is None:
        return 1 + _LENGTH_BYTES + 2
    inner = _text_field(scope.name) + _text_field(scope.version or "") + _attributes(scope.attributes)
    return 1 + _LENGTH_BYTES + _framed(inner) + _text_field(scope.schema_url or "")


def _varint(value: int) -> int:
    """The bytes of a non-negative integer below 2**64."""
    return 1 if value < 128 else (value.bit_length() + 6) // 7


def _framed(size: int) -> int:
    """A field of ``size`` bytes with its tag and its length."""
    return size + 2 if size < 128 else size + 1 + (size.bit_length() + 6) // 7


def _text(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _text_field(text: str) -> int:
    """A text in a proto3 field: nothing if it is empty."""
    return _framed(_text(text)) if text else 0


def _count(count: int) -> int:
    """A counter in a proto3 field: nothing if it is 0."""
    return 1 + _varint(count) if count else 0


def _trace_state(context: SpanContext) -> int:
    return _framed(sum(_text(key) + _text(value) + 2 for key, value in context.trace_state.items()) - 1)


@lru_cache(maxsize=16384)
def _key(key: str) -> int:
    """The key of a ``KeyValue``; keys repeat from span to span."""
    return _text_field(key)


def _attributes(attributes: Mapping[str, object] | None) -> int:
    if not attributes:
        return 0
    size = 0
    for key, value in attributes.items():
        if type(value) is str and value.isascii() and len(value) < _SHORT:
            inner = _key(key) + len(value) + 4
        else:
            inner = _key(key) + _framed(_value(value))
        size += inner + 2 if inner < 128 else inner + 1 + (inner.bit_length() + 6) // 7
    return size


def _value(value: object) -> int:
    """The content of an ``AnyValue``. What cannot be encoded counts as its text."""
    if value is None:
        return 0
    if isinstance(value, bool):
        return 2
    if isinstance(value, str):
        return _framed(_text(value))
    if isinstance(value, int):
        return 1 + _varint(value) if 0 <= value < 1 << 64 else 11 if value >= -(1 << 63) else len(str(value)) + 6
    if isinstance(value, float):
        return 9
    if isinstance(value, bytes):
        return _framed(len(value))
    if isinstance(value, Mapping):
        return _framed(sum(_framed(_text_field(str(key)) + _framed(_value(item))) for key, item in value.items()))
    if isinstance(value, Sequence):
        return _framed(sum(_framed(_value(item)) for item in value))
    return _framed(_text(str(value)))
