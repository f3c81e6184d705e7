"""Describe what Tempo keeps of a span. Versions before 2 speak OTLP of 2022, which has fewer fields.

Sources: ``pkg/tempopb`` of Tempo 1.5, and what its server returned for the spans of
``tests/e2e/test_readback_readers.py``.
"""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData

_SPAN_FLAGS, _LINK_FLAGS = 0x101, 0x1
"""Flags of a sampled span, and of a link, as the bridge sends them."""


class TempoForm:
    """Sets the flags that Tempo before 2 does not know, so that checksums can be compared."""

    keeps_all = True

    def restore(self, traces: TracesData) -> None:
        """Set the flags of spans and links that have none, and remove the code of statuses in older versions of OTLP."""
        for resource_spans in traces.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    span.flags = span.flags or _SPAN_FLAGS
                    span.status.SetInParent()
                    span.status.DiscardUnknownFields()
                    for link in span.links:
                        link.flags = link.flags or _LINK_FLAGS

    def reduce(self, resource_spans: ResourceSpans, span: Span) -> None:
        """Remove flags, schema URLs, the attributes of scopes, and values that are bytes."""
        resource_spans.schema_url = ""
        _without_bytes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope_spans.schema_url = ""
            del scope_spans.scope.attributes[:]
            scope_spans.scope.dropped_attributes_count = 0
        span.flags = 0
        _without_bytes(span.attributes)
        for event in span.events:
            _without_bytes(event.attributes)
        for link in span.links:
            link.flags = 0
            _without_bytes(link.attributes)

    def limits(self) -> tuple[str, ...]:
        """Return a line for each thing that Tempo before 2 never keeps."""
        return (
            "in versions before 2, the flags of spans and links",
            "the schema URLs of resources and scopes",
            "the attributes of scopes",
            "values that are bytes (they become empty)",
        )


class NewTempoForm:
    """The form of a Tempo that is known to keep every field of OTLP."""

    keeps_all = True

    def restore(self, traces: TracesData) -> None:
        """Leave everything as it is."""

    def reduce(self, resource_spans: ResourceSpans, span: Span) -> None:
        """Leave everything as it is."""

    def limits(self) -> tuple[str, ...]:
        """Return no limits."""
        return ()


def _without_bytes(attributes: Iterable[KeyValue]) -> None:
    for attribute in attributes:
        _empty_bytes(attribute.value)


def _empty_bytes(value: AnyValue) -> None:
    """Empty a value that is bytes, and those in its list or map."""
    kind = value.WhichOneof("value")
    if kind == "bytes_value":
        value.ClearField("bytes_value")
    elif kind == "array_value":
        for item in value.array_value.values:
            _empty_bytes(item)
    elif kind == "kvlist_value":
        _without_bytes(value.kvlist_value.values)
