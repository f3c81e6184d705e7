"""Recordings of calls to models, as SDKs and instrumentations write them, in the form of Netra's answers.

``tests/data/llm_cases`` has one OTLP JSON file a recording: ``netra-p*`` and ``netra-j*`` come from the Python and the
JavaScript SDK, ``field-*`` from other tools. Their content is made up.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.convert.spans import Profile
from netra_otel_bridge.core.model.netra import TraceSpan
from netra_otel_bridge.emulator.load import load
from netra_otel_bridge.emulator.store import Store
from netra_otel_bridge.source.schema import decode_span
from tests.support.converted import attributes

FOLDER = Path(__file__).parents[1] / "data" / "llm_cases"
SUFFIX = ".otlp.json"
PROFILES: tuple[Profile, ...] = ("raw", "genai", "openinference", "both")
RECORDINGS = tuple(sorted(file.name.removesuffix(SUFFIX) for file in FOLDER.glob(f"*{SUFFIX}")))


@functools.cache
def spans(recording: str) -> tuple[TraceSpan, ...]:
    """Return the spans of a recording as the emulator's API answers them, trace by trace."""
    store = Store()
    load(FOLDER / f"{recording}{SUFFIX}", store)
    traces = [store.get(trace_id) for trace_id in dict.fromkeys(span["traceId"] for span in otlp_spans(recording))]
    found = [decode_span(row.body) for trace in traces if trace is not None for row in store.rows(trace)]
    return tuple(span for span in found if span is not None)


def span(recording: str, name: str) -> TraceSpan:
    """Return the only span of a recording that has this name."""
    (found,) = (one for one in spans(recording) if one.name == name)
    return found


def names(recording: str) -> list[str]:
    """Return the names of its spans, which differ."""
    return [one.name or "" for one in spans(recording)]


@functools.cache
def converted(recording: str, name: str, profile: Profile) -> ReadableSpan:
    """Convert a span of a recording with a new converter."""
    return SpanConverter(profile).convert(span(recording, name), None)


def found(recording: str, name: str, profile: Profile) -> dict[str, Any]:
    """Return the attributes of a converted span."""
    return attributes(converted(recording, name, profile))


def recorded(recording: str, name: str) -> dict[str, Any]:
    """Return what a span of a recording holds, without conversion: lists are tuples, lists with a null in them JSON
    text, bytes stay text, the last of several values of a key counts, and a value that is null is none.
    """
    (one,) = (span for span in otlp_spans(recording) if span["name"] == name)
    plain = {pair["key"]: value_of(pair["value"]) for pair in one.get("attributes", [])}
    return {key: value for key, value in plain.items() if value is not None}


def recorded_events(recording: str, name: str) -> list[dict[str, Any]]:
    """Return the attributes of its events, in order."""
    (one,) = (span for span in otlp_spans(recording) if span["name"] == name)
    return [
        {pair["key"]: value_of(pair["value"]) for pair in event.get("attributes", [])}
        for event in one.get("events", [])
    ]


@functools.cache
def otlp_spans(recording: str) -> tuple[dict[str, Any], ...]:
    """Return the spans of a recording in OTLP JSON."""
    document = json.loads((FOLDER / f"{recording}{SUFFIX}").read_text())
    return tuple(
        span
        for resource_spans in document["resourceSpans"]
        for scope_spans in resource_spans["scopeSpans"]
        for span in scope_spans["spans"]
    )


def value_of(value: dict[str, Any]) -> Any:
    """Return an OTLP value from JSON as Python has it."""
    if not value:
        return None
    ((name, inner),) = value.items()
    match name:
        case "intValue":
            return int(inner)
        case "doubleValue":
            return float(inner)
        case "arrayValue":
            items = tuple(value_of(item) for item in inner.get("values", []))
            return json.dumps(items, separators=(",", ":")) if None in items else items
        case "kvlistValue":
            return {pair["key"]: value_of(pair["value"]) for pair in inner.get("values", [])}
        case _:
            return inner
