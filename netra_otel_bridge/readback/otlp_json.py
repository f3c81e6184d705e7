"""Read OTLP JSON as protobuf messages, in every spelling that stores use.

Ids may be in hex, as OTLP demands, or in base64, as the JSON of protobuf has them. Enums may be names or numbers, and
64-bit integers texts or numbers. Tempo calls ``resourceSpans`` ``batches``, and versions before 2 call ``scopeSpans``
``instrumentationLibrarySpans``. Fields that are not known are left out.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

Json = Mapping[str, Any]
_decoder = msgspec.json.Decoder()
_BASE64_CHARS = {16: 24, 8: 12}


class NotOtlp(ValueError):
    """The text is not OTLP JSON; the message says where it is not."""


def decode_json(text: bytes | msgspec.Raw) -> Any:
    """Decode JSON. Raises `NotOtlp`."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotOtlp(f"it is not JSON: {error}") from None


def traces_data(document: Any) -> TracesData:
    """Return a ``TracesData``, or the trace of Tempo, that was decoded from JSON. Raises `NotOtlp`."""
    if not isinstance(document, dict):
        raise NotOtlp("it is not a JSON object")
    try:
        return TracesData(
            resource_spans=map(_resource_spans, document.get("resourceSpans") or document.get("batches") or ())
        )
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise NotOtlp(f"it is JSON, but not of OTLP: {type(error).__name__}: {error}") from None


def _resource_spans(one: Json) -> ResourceSpans:
    listed = one.get("scopeSpans") or one.get("instrumentationLibrarySpans") or ()
    resource = one.get("resource") or {}
    return ResourceSpans(
        resource=Resource(
            attributes=_attributes(resource), dropped_attributes_count=int(resource.get("droppedAttributesCount") or 0)
        ),
        scope_spans=map(_scope_spans, listed),
        schema_url=one.get("schemaUrl") or "",
    )


def _scope_spans(one: Json) -> ScopeSpans:
    scope = one.get("scope") or one.get("instrumentationLibrary") or {}
    return ScopeSpans(
        scope=InstrumentationScope(
            name=scope.get("name") or "",
            version=scope.get("version") or "",
            attributes=_attributes(scope),
            dropped_attributes_count=int(scope.get("droppedAttributesCount") or 0),
        ),
        spans=map(_span, one.get("spans") or ()),
        schema_url=one.get("schemaUrl") or "",
    )


def _span(one: Json) -> Span:
    status = one.get("status") or {}
    return Span(
        trace_id=id_bytes(one.get("traceId"), 16),
        span_id=id_bytes(one.get("spanId"), 8),
        trace_state=one.get("traceState") or "",
        parent_span_id=id_bytes(one.get("parentSpanId"), 8),
        flags=int(one.get("flags") or 0),
        name=one.get("name") or "",
        kind=_enum(one.get("kind"), Span.SpanKind),
        start_time_unix_nano=int(one.get("startTimeUnixNano") or 0),
        end_time_unix_nano=int(one.get("endTimeUnixNano") or 0),
        attributes=_attributes(one),
        dropped_attributes_count=int(one.get("droppedAttributesCount") or 0),
        events=map(_event, one.get("events") or ()),
        dropped_events_count=int(one.get("droppedEventsCount") or 0),
        links=map(_link, one.get("links") or ()),
        dropped_links_count=int(one.get("droppedLinksCount") or 0),
        status=Status(message=status.get("message") or "", code=_enum(status.get("code"), Status.StatusCode)),
    )


def _event(one: Json) -> Span.Event:
    return Span.Event(
        time_unix_nano=int(one.get("timeUnixNano") or 0),
        name=one.get("name") or "",
        attributes=_attributes(one),
        dropped_attributes_count=int(one.get("droppedAttributesCount") or 0),
    )


def _link(one: Json) -> Span.Link:
    return Span.Link(
        trace_id=id_bytes(one.get("traceId"), 16),
        span_id=id_bytes(one.get("spanId"), 8),
        trace_state=one.get("traceState") or "",
        attributes=_attributes(one),
        dropped_attributes_count=int(one.get("droppedAttributesCount") or 0),
        flags=int(one.get("flags") or 0),
    )


def _attributes(holder: Json) -> Iterable[KeyValue]:
    return map(_key_value, holder.get("attributes") or ())


def _key_value(one: Json) -> KeyValue:
    return KeyValue(key=one.get("key") or "", value=any_value(one.get("value")))


def any_value(value: Json | None) -> AnyValue:
    """Return an ``AnyValue``; an empty one for no value."""
    if not value:
        return AnyValue()
    ((kind, content),) = value.items()
    match kind:
        case "stringValue":
            return AnyValue(string_value=content)
        case "boolValue":
            return AnyValue(bool_value=content)
        case "intValue":
            return AnyValue(int_value=int(content))
        case "doubleValue":
            return AnyValue(double_value=float(content))
        case "bytesValue":
            return AnyValue(bytes_value=b64decode(content))
        case "arrayValue":
            return AnyValue(array_value=ArrayValue(values=map(any_value, (content or {}).get("values") or ())))
        case "kvlistValue":
            return AnyValue(kvlist_value=KeyValueList(values=map(_key_value, (content or {}).get("values") or ())))
    raise ValueError(f"a value of kind {kind[:40]!r}")


def id_bytes(text: str | None, size: int) -> bytes:
    """Return an id of ``size`` bytes, which is written in hex or in base64; an absent one is empty."""
    if not text:
        return b""
    return b64decode(text) if len(text) == _BASE64_CHARS[size] else bytes.fromhex(text)


def _enum(value: str | int | None, names: Any) -> Any:
    if not value:
        return 0
    return names.Value(value) if isinstance(value, str) and not value.isdecimal() else int(value)
