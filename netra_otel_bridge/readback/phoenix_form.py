"""Describe what Phoenix keeps of a span: what its pages show, in a form of its own.

It stores attributes as a tree and returns them flat, parses some JSON texts, rounds times to microseconds, and derives
attributes of OpenInference from those of the GenAI conventions. Sources: ``phoenix/trace/otel.py`` and
``phoenix/trace/attributes.py`` of 20.26, and what its server returned for the spans of
``tests/e2e/test_readback_readers.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData

from netra_otel_bridge.core.time_text import datetime_ns
from netra_otel_bridge.readback.plain_values import key_values, plain

SPAN_KIND = "openinference.span.kind"
_UNKNOWN = "UNKNOWN"
_READ_AS_JSON = ("document.metadata", "llm.prompt_template.variables", "metadata", "tool.parameters")
_READ_AS_INT = ("llm.token_count.prompt", "llm.token_count.completion", "llm.token_count.total")
_EXCEPTION = ("exception.message", "exception.type", "exception.escaped", "exception.stacktrace")
_DERIVED = (
    "llm.", "input.", "output.", "embedding.", "retrieval.", "tool.", "session.id", SPAN_KIND
)  # fmt: skip
"""Beginnings of the attributes that it adds to spans of the GenAI conventions."""
_NESTED_JSON = 5


class PhoenixForm:
    """Brings spans into the form of Phoenix. Too much differs for checksums."""

    keeps_all = False

    def restore(self, traces: TracesData) -> None:
        """Leave everything as it is: the rest is lost."""

    def reduce(self, resource_spans: ResourceSpans, span: Span) -> None:
        """Keep only what Phoenix stores, in its form, with attributes sorted."""
        resource_spans.ClearField("resource")
        resource_spans.schema_url = ""
        for scope_spans in resource_spans.scope_spans:
            scope_spans.ClearField("scope")
            scope_spans.schema_url = ""
        for field in ("kind", "links", "trace_state", "flags", "dropped_attributes_count", "dropped_events_count",
                      "dropped_links_count"):  # fmt: skip
            span.ClearField(field)
        span.start_time_unix_nano = _microseconds(span.start_time_unix_nano)
        span.end_time_unix_nano = _microseconds(span.end_time_unix_nano)
        attributes = _as_stored({one.key: plain(one.value) for one in span.attributes})
        if attributes.get(SPAN_KIND) == _UNKNOWN:
            del attributes[SPAN_KIND]
        _replace(span, attributes)
        for event in span.events:
            event.time_unix_nano = _microseconds(event.time_unix_nano)
            event.dropped_attributes_count = 0
            inner = {one.key: plain(one.value) for one in event.attributes}
            if event.name == "exception":
                inner = {key: inner[key] for key in _EXCEPTION if inner.get(key) not in (None, "")}
            _replace(event, inner)

    def adds(self, key: str) -> bool:
        """Return whether Phoenix may add an attribute of this name to a span that was sent without it."""
        return key.startswith(_DERIVED)

    def limits(self) -> tuple[str, ...]:
        """Return a line for each thing that Phoenix never keeps."""
        return (
            "resources, scopes, schema URLs, and the project that a span is in",
            "kinds, links, trace states, flags, and numbers of dropped items",
            "times below a microsecond",
            "attributes of exceptions other than message, type, escaped and stack trace",
            "the nesting of maps, empty values, and items beside maps in a list",
            "the numbering of items, and JSON texts in metadata and parameters, which it parses",
        )


def _replace(holder: Span | Span.Event, attributes: Mapping[str, Any]) -> None:
    del holder.attributes[:]
    holder.attributes.extend(key_values(attributes))


def _as_stored(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as Phoenix returns them."""
    read = {key: _read(key, value) for key, value in attributes.items()}
    flat: dict[str, Any] = {}
    _flatten(read, "", flat)
    given = flat.get("input.value")
    if given and not isinstance(given, str):
        flat["input.value"], flat["input.mime_type"] = json.dumps(given), "application/json"
    return _renumbered(flat)


def _read(key: str, value: Any) -> Any:
    """Return a value as Phoenix reads it: some texts are JSON, and counts of tokens are integers."""
    if key in _READ_AS_INT and not isinstance(value, bool):
        try:
            return int(value)
        except (TypeError, ValueError, OverflowError):
            return value
    if key.endswith(_READ_AS_JSON):
        for _ in range(_NESTED_JSON):
            if not isinstance(value, str):
                break
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                break
    return value


def _flatten(value: Mapping[str, Any], prefix: str, flat: dict[str, Any]) -> None:
    """Flatten maps, and maps in lists, with names joined by dots; leave out empty values."""
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict):
            _flatten(item, f"{name}.", flat)
        elif isinstance(item, list) and any(isinstance(one, dict) for one in item):
            _flatten({str(place): one for place, one in enumerate(item) if isinstance(one, dict)}, f"{name}.", flat)
        elif item is not None:
            flat[name] = item


def _renumbered(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes whose numbered items are numbered from 0 on without gaps, and names without spaces around.

    A number is that of an item if more follows it, and if the name before it has no value of its own.
    """
    split = {key: tuple(part.strip() for part in key.split(".")) for key in flat}
    paths = {path: flat[key] for key, path in split.items()}
    items: dict[tuple[str, ...], set[int]] = {}
    names: dict[tuple[str, ...], set[int]] = {}
    for path in paths:
        for place, part in enumerate(path):
            if part.isdecimal():
                last = place == len(path) - 1
                (names if last else items).setdefault(path[:place], set()).add(int(part))
    ranks = {
        before: {number: rank for rank, number in enumerate(sorted(numbers - names.get(before, set())))}
        for before, numbers in items.items()
        if before and before not in paths
    }
    return {
        ".".join(
            str(ranks.get(path[:place], {}).get(int(part), int(part))) if part.isdecimal() else part
            for place, part in enumerate(path)
        ): value
        for path, value in paths.items()
    }


def _microseconds(ns: int) -> int:
    """Round a time as Phoenix reads it: seconds in a double, to the nearest microsecond."""
    return datetime_ns(datetime.fromtimestamp(ns / 1e9, UTC)) // 1000 * 1000
