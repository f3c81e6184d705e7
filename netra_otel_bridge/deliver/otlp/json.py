"""Write OTLP as JSON: the encoding of the OTLP specification, which the ``otlpjsonfile`` receiver of the Collector reads.

It differs from the JSON of protobuf in two points: trace and span ids are lowercase hex instead of base64, and enums
are numbers. As there, 64-bit integers, ``NaN`` and the infinities are strings, bytes are base64, and empty fields are
left out. The content equals that of `encode_span` for the same spans.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from netra_otel_bridge.deliver.otlp.encode import flags

Json = dict[str, Any]
IS_REMOTE = 0x200
"""The bit of ``SpanFlags`` in ``trace.proto`` for a remote parent."""
_INT64 = range(-(1 << 63), 1 << 63)
_encoder = msgspec.json.Encoder()


def encode_line(spans: Sequence[ReadableSpan]) -> bytes:
    """Encode one ``TracesData`` in UTF-8, without a line break in it or after it. Lone surrogates become ``?``."""
    data = traces_data(spans)
    try:
        return _encoder.encode(data)
    except UnicodeEncodeError:
        return _encoder.encode(_without_surrogates(data))


def traces_data(spans: Sequence[ReadableSpan]) -> Json:
    """Return spans as a ``TracesData``, grouped by resource and scope in the order of their first span."""
    groups: dict[int, tuple[Resource, dict[InstrumentationScope | None, list[Json]]]] = {}
    equal: dict[Resource, int] = {}
    for span in spans:
        resource = span.resource
        group = groups.get(id(resource))
        if group is None:
            first = equal.setdefault(resource, id(resource))
            group = groups[id(resource)] = groups.get(first) or (resource, {})
        group[1].setdefault(span.instrumentation_scope, []).append(span_json(span))
    distinct = (groups[key] for key in equal.values())
    return {"resourceSpans": [_resource_spans(resource, scopes) for resource, scopes in distinct]}


def span_json(span: ReadableSpan) -> Json:
    """Return one span as JSON."""
    context = span.get_span_context()
    if context is None:
        raise ValueError(f"the span {span.name!r} has no context, so no ids")
    out: Json = {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"}
    if context.trace_state:
        out["traceState"] = ",".join(f"{key}={value}" for key, value in context.trace_state.items())
    parent = span.parent
    if parent is not None:
        out["parentSpanId"] = f"{parent.span_id:016x}"
    if span.name:
        out["name"] = span.name
    out["kind"] = span.kind.value + 1
    if span.start_time:
        out["startTimeUnixNano"] = str(span.start_time)
    if span.end_time:
        out["endTimeUnixNano"] = str(span.end_time)
    if span.attributes:
        out["attributes"] = attributes_json(span.attributes)
    if span.dropped_attributes:
        out["droppedAttributesCount"] = span.dropped_attributes
    if span.events:
        out["events"] = [
            _some(timeUnixNano=str(event.timestamp) if event.timestamp else None, name=event.name)
            | _with_attributes(event.attributes, event.dropped_attributes)
            for event in span.events
        ]
    if span.dropped_events:
        out["droppedEventsCount"] = span.dropped_events
    if span.links:
        out["links"] = [
            {"traceId": f"{link.context.trace_id:032x}", "spanId": f"{link.context.span_id:016x}"}
            | _with_attributes(link.attributes, link.dropped_attributes)
            | _some(flags=flags(link.context, link.context))
            for link in span.links
        ]
    if span.dropped_links:
        out["droppedLinksCount"] = span.dropped_links
    out["status"] = _some(message=span.status.description, code=span.status.status_code.value)
    return out | _some(flags=flags(context, parent))


def attributes_json(attributes: Mapping[str, object]) -> list[Json]:
    """Return attributes as a list of ``KeyValue``."""
    return [
        {"key": key, "value": {"stringValue": value} if type(value) is str else value_json(value)}
        for key, value in attributes.items()
    ]


def value_json(value: object) -> Json:
    """Return a value as an ``AnyValue``; an integer beyond 64 bits, or a value that OTLP cannot express, as its text."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(int(value))} if value in _INT64 else {"stringValue": str(int(value))}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _not_finite(value)}
    if isinstance(value, bytes):
        return {"bytesValue": b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        entries = [{"key": str(key), "value": value_json(item)} for key, item in value.items()]
        return {"kvlistValue": _some(values=entries)}
    if isinstance(value, Sequence):
        return {"arrayValue": _some(values=[value_json(item) for item in value])}
    return {"stringValue": str(value)}


def _resource_spans(resource: Resource, scopes: dict[InstrumentationScope | None, list[Json]]) -> Json:
    return {
        "resource": _with_attributes(resource.attributes, 0),
        "scopeSpans": [
            {"scope": _scope(scope), "spans": spans} | _some(schemaUrl=scope.schema_url if scope else None)
            for scope, spans in scopes.items()
        ],
    } | _some(schemaUrl=resource.schema_url)


def _scope(scope: InstrumentationScope | None) -> Json:
    if scope is None:
        return {}
    return _some(name=scope.name, version=scope.version) | _with_attributes(scope.attributes, 0)


def _with_attributes(attributes: Mapping[str, object] | None, dropped: int) -> Json:
    return _some(attributes=attributes_json(attributes) if attributes else None, droppedAttributesCount=dropped)


def _some(**fields: object) -> Json:
    """Return the fields that are not empty."""
    return {name: value for name, value in fields.items() if value}


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _without_surrogates(value: Any) -> Any:
    """Return the same JSON with every lone surrogate replaced: UTF-8 cannot express it."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return value
