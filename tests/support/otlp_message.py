"""Turn the tests' OTLP JSON documents into protobuf messages, many times faster than the general parser of JSON.

It knows the fields that `tests.support.emulator` and `tests.support.oracle` write, and fails on any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status


def request_of(documents: Iterable[dict[str, Any]]) -> ExportTraceServiceRequest:
    """Return the export request with these ``resourceSpans``."""
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(attributes=_attributes(document["resource"])),
                scope_spans=[
                    ScopeSpans(
                        scope=InstrumentationScope(**scope_spans["scope"]), spans=map(_span, scope_spans["spans"])
                    )
                    for scope_spans in document["scopeSpans"]
                ],
            )
            for document in documents
        ]
    )


def _span(span: dict[str, Any]) -> Span:
    fields = dict(span)
    made = Span(
        trace_id=bytes.fromhex(fields.pop("traceId")),
        span_id=bytes.fromhex(fields.pop("spanId")),
        parent_span_id=bytes.fromhex(fields.pop("parentSpanId")),
        name=fields.pop("name"),
        kind=fields.pop("kind"),
        start_time_unix_nano=int(fields.pop("startTimeUnixNano")),
        end_time_unix_nano=int(fields.pop("endTimeUnixNano")),
        attributes=_attributes({"attributes": fields.pop("attributes")}),
        events=map(_event, fields.pop("events")),
        status=Status(**fields.pop("status")),
    )
    assert not fields, f"fields that are not known here: {sorted(fields)}"
    return made


def _event(event: dict[str, Any]) -> Span.Event:
    return Span.Event(name=event["name"], time_unix_nano=int(event["timeUnixNano"]), attributes=_attributes(event))


def _attributes(holder: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=entry["key"], value=_value(entry["value"])) for entry in holder["attributes"]]


def _value(value: dict[str, Any]) -> AnyValue:
    ((kind, content),) = value.items()
    match kind:
        case "stringValue":
            return AnyValue(string_value=content)
        case "intValue":
            return AnyValue(int_value=int(content))
        case "doubleValue":
            return AnyValue(double_value=content)
        case "boolValue":
            return AnyValue(bool_value=content)
        case "arrayValue":
            return AnyValue(array_value=ArrayValue(values=map(_value, content["values"])))
    raise AssertionError(f"a kind of value that is not known here: {kind}")
