"""Keep a span that a destination rejects as a line of OTLP JSON, and read that line back.

`otlp-file` writes such lines, and the ``otlpjsonfile`` receiver of the Collector reads them. A span that was read back
has every field that OTLP carries, so it can be sent again, to the same destination or another one. The rest is set as
conversion sets it: sampled, also where an older version did not write that, and the parent in the trace of the span.
Which attributes the bridge derived is not kept.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import msgspec
from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceState

from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.deliver.otlp.encode import encode_span
from netra_otel_bridge.deliver.otlp.json import IS_REMOTE, Json, encode_line
from netra_otel_bridge.deliver.span_copy import SAMPLED, RebuiltEvent, RebuiltLink, RebuiltResource, RebuiltSpan


def dead_letter_of(span: ReadableSpan, reason: str, encoded: bytes | None = None) -> DeadLetter:
    """Return the dead letter of a span, with its ids in hex.

    ``encoded`` are the bytes that `encode_span` returned before the span was passed to code outside the bridge, so that
    changes by that code are not in the letter.
    """
    if encoded is not None and not _holds(span, encoded):
        span = _decoded(encoded, span.resource, span.instrumentation_scope)
    context = span.context
    return DeadLetter(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        reason=reason,
        document=encode_line([span]).decode(),
    )


def span_of(dead: DeadLetter) -> ReadableSpan:
    """Return the span of a dead letter. Encoding it again yields the original bytes.

    Raises ``ValueError`` for a letter without a span: an item from Netra, or a document of another form.
    """
    try:
        (resource_spans,) = msgspec.json.decode(dead.document)["resourceSpans"]
        (scope_spans,) = resource_spans["scopeSpans"]
        (span,) = scope_spans["spans"]
        return _span(span, _resource(resource_spans), _scope(scope_spans))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"the dead letter of span {dead.span_id or '-'} of trace {dead.trace_id or '-'} contains no span: "
            f"{type(error).__name__}"
        ) from error


def _holds(span: ReadableSpan, encoded: bytes) -> bool:
    try:
        return encode_span(span) == encoded
    except Exception:  # noqa: BLE001  foreign code may have changed the span in any way
        return False


def _decoded(encoded: bytes, resource: Resource, scope: InstrumentationScope | None) -> ReadableSpan:
    """Return the span that has these bytes."""
    span: Json = json_format.MessageToDict(ProtoSpan.FromString(encoded), use_integers_for_enums=True)
    for holder in (span, *span.get("links", ())):
        for name in holder.keys() & {"traceId", "spanId", "parentSpanId"}:
            holder[name] = b64decode(holder[name]).hex()
    return _span(span, resource, scope)


def _span(span: Json, resource: Resource, scope: InstrumentationScope | None) -> ReadableSpan:
    trace_id = span["traceId"]
    status = span.get("status", {})
    parent_id = span.get("parentSpanId")
    return RebuiltSpan(
        span.get("name", ""),
        context=_context(trace_id, span["spanId"], state=_state(span.get("traceState", ""))),
        parent=_context(trace_id, parent_id, flags=span.get("flags", 0)) if parent_id else None,
        resource=resource,
        attributes=_attributes(span),
        events=[_event(event) for event in span.get("events", ())],
        links=[_link(link) for link in span.get("links", ())],
        kind=SpanKind(span["kind"] - 1),
        status=Status(StatusCode(status.get("code", 0)), status.get("message")),
        start_time=int(span.get("startTimeUnixNano", 0)),
        end_time=int(span.get("endTimeUnixNano", 0)),
        instrumentation_scope=scope,
        dropped_attributes=span.get("droppedAttributesCount", 0),
        dropped_events=span.get("droppedEventsCount", 0),
        dropped_links=span.get("droppedLinksCount", 0),
    )


def _context(trace_id: str, span_id: str, *, flags: int = 0, state: TraceState | None = None) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), bool(flags & IS_REMOTE), SAMPLED, state)


def _state(text: str) -> TraceState | None:
    if not text:
        return None
    entries = (entry.partition("=") for entry in text.split(","))
    return TraceState([(key, value) for key, _, value in entries])


def _event(event: Json) -> RebuiltEvent:
    return RebuiltEvent(
        event.get("name", ""),
        _attributes(event),
        int(event.get("timeUnixNano", 0)),
        event.get("droppedAttributesCount", 0),
    )


def _link(link: Json) -> Link:
    context = _context(link["traceId"], link["spanId"], flags=link.get("flags", 0))
    return RebuiltLink(context, _attributes(link), link.get("droppedAttributesCount", 0))


def _resource(resource_spans: Json) -> RebuiltResource:
    return RebuiltResource(_attributes(resource_spans.get("resource", {})), resource_spans.get("schemaUrl", ""))


def _scope(scope_spans: Json) -> InstrumentationScope | None:
    scope, schema_url = scope_spans.get("scope", {}), scope_spans.get("schemaUrl", "")
    if not scope and not schema_url:
        return None
    return InstrumentationScope(scope.get("name", ""), scope.get("version"), schema_url, _attributes(scope))


def _attributes(holder: Json) -> dict[str, Any]:
    return {entry["key"]: _value(entry["value"]) for entry in holder.get("attributes", ())}


def _value(value: Json) -> Any:
    """Return the value of an ``AnyValue``: a list as a tuple, and no value at all as ``None``."""
    match value:
        case {"stringValue": str(text)}:
            return text
        case {"boolValue": bool(truth)}:
            return truth
        case {"intValue": str(digits)}:
            return int(digits)
        case {"doubleValue": number}:
            return float(number)
        case {"bytesValue": str(text)}:
            return b64decode(text, validate=True)
        case {"arrayValue": dict(array)}:
            return tuple(_value(item) for item in array.get("values", ()))
        case {"kvlistValue": dict(entries)}:
            return {entry["key"]: _value(entry["value"]) for entry in entries.get("values", ())}
        case {} if not value:
            return None
        case _:
            raise ValueError("a value of no known type")
