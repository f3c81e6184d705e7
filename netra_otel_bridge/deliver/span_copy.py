"""Spans copied from other spans or read back, with everything that OTLP carries exactly as it was.

The SDK's classes keep counts of dropped items in private containers, and before 1.42 drop values that OTLP allows
(bytes, nested values). These classes keep both as given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, Status, TraceFlags

from netra_otel_bridge.core.model.converted import ConvertedSpan

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
"""Conversion sets this on every span."""


class RebuiltSpan(ConvertedSpan):
    """A span with given counts of dropped attributes, events and links."""

    def __init__(
        self, name: str, *, dropped_attributes: int, dropped_events: int, dropped_links: int, **fields: Any
    ) -> None:
        super().__init__(name, **fields)
        self._dropped = (dropped_attributes, dropped_events, dropped_links)

    @property
    def dropped_attributes(self) -> int:
        return self._dropped[0]

    @property
    def dropped_events(self) -> int:
        return self._dropped[1]

    @property
    def dropped_links(self) -> int:
        return self._dropped[2]


class RebuiltEvent(Event):
    """An event with a given count of dropped attributes."""

    def __init__(self, name: str, attributes: Mapping[str, Any], timestamp_ns: int, dropped_attributes: int) -> None:
        super().__init__(name, attributes, timestamp_ns)
        self._dropped = dropped_attributes

    @property
    def dropped_attributes(self) -> int:
        return self._dropped


class RebuiltLink(Link):
    """A link with a given count of dropped attributes."""

    def __init__(self, context: SpanContext, attributes: Mapping[str, Any], dropped_attributes: int) -> None:
        super().__init__(context, attributes)
        self._dropped = dropped_attributes

    @property
    def dropped_attributes(self) -> int:
        return self._dropped


class RebuiltResource(Resource):
    """A resource with any values that OTLP allows. Equal resources count as one in a request, like the SDK's."""

    def __init__(self, attributes: Mapping[str, Any], schema_url: str) -> None:
        super().__init__({}, schema_url)
        self._attributes = MappingProxyType(dict(attributes))  # type: ignore[assignment]  # read-only, as the SDK's is

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash((self.schema_url, frozenset(self._attributes)))


def with_content(
    span: ReadableSpan,
    attributes: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, Any]],
    status: Status,
) -> ReadableSpan:
    """Copy a span with another status and other attributes; ``events`` and ``links`` are the attributes of each of them."""
    copy = RebuiltSpan(
        span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=[
            RebuiltEvent(event.name, kept, event.timestamp, event.dropped_attributes)
            for event, kept in zip(span.events, events, strict=True)
        ],
        links=[
            RebuiltLink(link.context, kept, link.dropped_attributes)
            for link, kept in zip(span.links, links, strict=True)
        ],
        kind=span.kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
        dropped_attributes=span.dropped_attributes,
        dropped_events=span.dropped_events,
        dropped_links=span.dropped_links,
    )
    copy.derived = span.derived if isinstance(span, ConvertedSpan) else ()
    return copy
