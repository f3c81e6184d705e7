"""Read spans from OTLP requests in protobuf and JSON.

OTLP JSON writes ids in hex instead of base64 (OTLP 1.x, "JSON Protobuf Encoding"). After these are converted,
protobuf's own JSON parser reads it. Unknown fields are ignored, as that section requires.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from netra_otel_bridge.emulator.spans import NO_ATTRIBUTES, Attributes, Event, Link, Resource, Span

_SCALARS = frozenset({"string_value", "bool_value", "int_value", "double_value"})
_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8


class OtlpError(ValueError):
    """The bytes or the document are not an OTLP trace request."""


def read_protobuf(body: bytes) -> ExportTraceServiceRequest:
    """Parse an ExportTraceServiceRequest. Raises `OtlpError`."""
    try:
        return ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise OtlpError("the body is not an ExportTraceServiceRequest in protobuf") from error


def read_json(body: bytes | str) -> ExportTraceServiceRequest:
    """Parse an ExportTraceServiceRequest (or TracesData) in OTLP JSON. Raises `OtlpError`."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise OtlpError(f"the body is not JSON: {error}") from error
    return read_document(document)


def read_document(document: Any) -> ExportTraceServiceRequest:
    """Convert a decoded OTLP JSON document to a request. Raises `OtlpError`."""
    if not isinstance(document, dict) or not ({"resourceSpans", "resource_spans"} & document.keys()):
        raise OtlpError("expected an object with resourceSpans")
    try:
        return json_format.ParseDict(
            _with_base64_ids(document), ExportTraceServiceRequest(), ignore_unknown_fields=True
        )
    except (json_format.ParseError, UnicodeEncodeError, RecursionError, TypeError) as error:
        raise OtlpError(f"not OTLP JSON: {error}") from error


_ID_FIELDS = frozenset({"traceId", "trace_id", "spanId", "span_id", "parentSpanId", "parent_span_id"})
_ID_PATHS = frozenset({"resourceSpans", "resource_spans", "scopeSpans", "scope_spans", "spans", "links"})
"""Keys that lead to ids. Attributes are not searched, so that none of their keys is mistaken for an id."""


def _with_base64_ids(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_base64_ids(item) for item in node]
    if not isinstance(node, dict):
        return node
    converted = dict(node)
    for key in _ID_FIELDS & node.keys():
        converted[key] = _base64_id(key, node[key])
    for key in _ID_PATHS & node.keys():
        converted[key] = _with_base64_ids(node[key])
    return converted


def _base64_id(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise OtlpError(f"{key} must be hex digits, not {value!r}")
    try:
        return base64.b64encode(bytes.fromhex(value)).decode()
    except ValueError as error:
        raise OtlpError(f"{key} must be hex digits, not {value[:40]!r}") from error


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Span | str]:
    """Yield the spans of a request; for a span with invalid ids, the reason why it is rejected."""
    for resource_spans in request.resource_spans:
        resource = Resource(_attributes(resource_spans.resource.attributes))
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                if len(span.trace_id) != _TRACE_ID_BYTES or not any(span.trace_id):
                    yield f"span {span.name[:60]!r}: a trace id has 16 bytes that are not all zero"
                elif len(span.span_id) != _SPAN_ID_BYTES or not any(span.span_id):
                    yield f"span {span.name[:60]!r}: a span id has 8 bytes that are not all zero"
                else:
                    yield _span(span, resource)


def _span(span: trace_pb2.Span, resource: Resource) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() if any(span.parent_span_id) else "",
        name=span.name,
        kind=span.kind,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        resource=resource,
        events=tuple(Event(e.name, e.time_unix_nano, _attributes(e.attributes)) for e in span.events),
        links=tuple(Link(ln.trace_id.hex(), ln.span_id.hex(), _attributes(ln.attributes)) for ln in span.links),
        status_code=span.status.code,
        status_message=span.status.message,
    )


def _attributes(pairs: Iterable[KeyValue]) -> Attributes:
    listed = list(pairs)
    if not listed:
        return NO_ATTRIBUTES
    plain: dict[str, Any] = {}
    lossless = True
    for pair in listed:
        value = _plain(pair.value)
        if value is None or pair.key in plain:
            lossless = False
        if value is not None:
            plain.setdefault(pair.key, value)
    if lossless:
        return Attributes(plain)
    return Attributes(plain, [{"key": pair.key, "value": _otlp_json(pair.value)} for pair in listed])


def _plain(value: AnyValue) -> Any:
    """Return the value as plain JSON, or ``None`` if it could not be read back as the same value."""
    which = value.WhichOneof("value")
    if which in _SCALARS:
        scalar = getattr(value, which)
        return None if which == "double_value" and not math.isfinite(scalar) else scalar
    if which != "array_value":
        return None
    kinds = {item.WhichOneof("value") for item in value.array_value.values}
    if len(kinds) != 1 or not kinds <= _SCALARS:
        return None
    items = [_plain(item) for item in value.array_value.values]
    return None if None in items else items


def _otlp_json(value: AnyValue) -> dict[str, Any]:
    """Return the value in OTLP JSON: 64-bit integers as text, bytes in base64, non-finite floats by name."""
    match value.WhichOneof("value"):
        case "string_value":
            return {"stringValue": value.string_value}
        case "bool_value":
            return {"boolValue": value.bool_value}
        case "int_value":
            return {"intValue": str(value.int_value)}
        case "double_value":
            return {"doubleValue": _double(value.double_value)}
        case "bytes_value":
            return {"bytesValue": base64.b64encode(value.bytes_value).decode()}
        case "array_value":
            return {"arrayValue": {"values": [_otlp_json(item) for item in value.array_value.values]}}
        case "kvlist_value":
            pairs = value.kvlist_value.values
            return {"kvlistValue": {"values": [{"key": p.key, "value": _otlp_json(p.value)} for p in pairs]}}
        case _:
            return {}


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
