"""Describe what Jaeger does to spans that it stores: its sanitizers for durations and service names.

Sources: ``internal/jptrace/sanitizer`` and ``internal/storage/v2/memory`` of Jaeger 1.76 (the tree of 2.13), and what its
server returned for the spans of ``tests/e2e/test_readback_readers.py``.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData

from netra_otel_bridge.core.time_text import datetime_ns
from netra_otel_bridge.readback.plain_values import plain

WARNINGS = "@jaeger@warnings"
"""The attribute to which Jaeger appends its remarks on a span."""
_SERVICE = "service.name"
_MISSING, _EMPTY, _WRONG_TYPE = "missing-service-name", "empty-service-name", "service-name-wrong-type"
_NO_DURATION = re.compile(
    r"Negative duration detected, sanitizing end timestamp\. "
    r"Original end timestamp: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,9}))? \+0000 UTC, adjusted to: "
)


class _Holder(Protocol):
    @property
    def attributes(self) -> Attributes: ...


class Attributes(Protocol):
    """The repeated attributes of a message."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> KeyValue: ...

    def __delitem__(self, place: int | slice, /) -> None: ...

    def __iter__(self) -> Iterator[KeyValue]: ...

    def extend(self, values: Iterable[KeyValue], /) -> None: ...

    def add(self, *, key: str, value: AnyValue) -> KeyValue: ...


class JaegerForm:
    """Undoes what Jaeger does to spans without a duration and to resources without a service."""

    keeps_all = True

    def restore(self, traces: TracesData) -> None:
        """Set the end of spans without a duration to what was sent, and remove the service name that Jaeger added."""
        for resource_spans in traces.resource_spans:
            _restore_service(resource_spans.resource)
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    _restore_end(span)

    def reduce(self, resource_spans: ResourceSpans, span: Span) -> None:
        """Remove schema URLs, flags, remarks, a service name that is no text, and the order of events and attributes."""
        resource_spans.schema_url = ""
        for scope_spans in resource_spans.scope_spans:
            scope_spans.schema_url = ""
        _reduce_service(resource_spans.resource)
        span.flags = 0
        _reduce_attributes(resource_spans.resource)
        for scope_spans in resource_spans.scope_spans:
            _reduce_attributes(scope_spans.scope)
        place = _place(span, WARNINGS)
        if place is not None:
            del span.attributes[place]
        _reduce_attributes(span)
        for event in span.events:
            _reduce_attributes(event)
        for link in span.links:
            link.flags = 0
            _reduce_attributes(link)
        ordered = sorted(span.events, key=lambda event: (event.time_unix_nano, event.name))
        del span.events[:]
        span.events.extend(ordered)

    def same(self, expected: AnyValue, returned: AnyValue) -> bool:
        """Return whether a list or a map was returned as its JSON text, as Elasticsearch, Cassandra and Badger keep it.

        A text that was sent never equals another text, whatever JSON it has.
        """
        if expected.WhichOneof("value") not in ("array_value", "kvlist_value") or not returned.HasField("string_value"):
            return False
        try:
            found = json.loads(returned.string_value, object_pairs_hook=_unique)
            return _one_spelling(found) == _one_spelling(plain(expected))
        except (ValueError, RecursionError):
            return False

    def limits(self) -> tuple[str, ...]:
        """Return a line for each thing that Jaeger never keeps."""
        return (
            "the schema URLs of resources and scopes",
            f"a {_SERVICE} that is absent, empty or no text (it stores a text of its own)",
            f"the order of events and attributes, an attribute {WARNINGS}, and flags",
            "the difference between a list or a map and its JSON text (Elasticsearch, Cassandra and Badger store the text)",
        )


def _reduce_attributes(holder: _Holder) -> None:
    """Sort attributes by key."""
    ordered = sorted(holder.attributes, key=lambda one: one.key)
    del holder.attributes[:]
    holder.attributes.extend(ordered)


def _one_spelling(value: Any) -> str:
    """Return a value as JSON in one spelling: Python takes 1 and ``True`` for equal."""
    return json.dumps(_numbers(value), sort_keys=True)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of a JSON object. Raises `ValueError` for a repeated one, which no map becomes."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is repeated")
    return found


def _numbers(value: Any) -> Any:
    """Return a value with whole floats as integers, as JSON of Go has them, and bytes in base64."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case bytes():
            return b64encode(value).decode()
        case list():
            return [_numbers(item) for item in value]
        case dict():
            return {key: _numbers(item) for key, item in value.items()}
    return value


def _restore_end(span: Span) -> None:
    place = _place(span, WARNINGS)
    if place is None:
        return
    warnings = span.attributes[place].value.array_value.values
    for number, warning in enumerate(warnings):
        found = _NO_DURATION.match(warning.string_value)
        if found is not None and span.end_time_unix_nano == span.start_time_unix_nano + 1:
            second = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            span.end_time_unix_nano = datetime_ns(second) + int((found[2] or "").ljust(9, "0"))
            del warnings[number]
            break
    if not warnings:
        del span.attributes[place]


def _restore_service(resource: Resource) -> None:
    place = _place(resource, _SERVICE)
    name = "" if place is None else resource.attributes[place].value.string_value
    if place is not None and name == _MISSING:
        del resource.attributes[place]
    elif place is not None and name == _EMPTY:
        resource.attributes[place].value.string_value = ""


def _reduce_service(resource: Resource) -> None:
    """Give the service names that Jaeger makes up one form; without one of its own, a resource has none."""
    place = _place(resource, _SERVICE)
    if place is None:
        return
    value = resource.attributes[place].value
    if not value.HasField("string_value"):
        value.string_value = _WRONG_TYPE
    elif not value.string_value:
        value.string_value = _EMPTY
    elif value.string_value == _MISSING:
        del resource.attributes[place]


def _place(holder: _Holder, key: str) -> int | None:
    attributes = holder.attributes
    return next((place for place in range(len(attributes)) if attributes[place].key == key), None)
