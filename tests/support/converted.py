"""Spans in the form of Netra's answers, for tests of conversion, and the recording of netra-sdk 1.2.2 in that form."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.convert import Privacy, SpanConverter
from netra_otel_bridge.convert.spans import Profile
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary
from netra_otel_bridge.emulator.load import load
from netra_otel_bridge.emulator.store import Store
from netra_otel_bridge.source.schema import decode_span

RECORDING = Path(__file__).parent / "data" / "netra-sdk-1.2.2-spans.otlp.json"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
START_MS = "1763251200000.123456"
START_NS = 1_763_251_200_000_123_456


def netra_span(**columns: Any) -> TraceSpan:
    """Return a span with only ids, name and times, and the given columns."""
    known = {"id": SPAN_ID, "trace_id": TRACE_ID, "name": "step", "start_time_ms": START_MS, "end_time_ms": START_MS}
    return TraceSpan(**{**known, **columns})


def convert(
    profile: Profile = "genai",
    *,
    privacy: Privacy | None = None,
    trace: TraceSummary | None = None,
    usage_cost: bool = False,
    **columns: Any,
) -> ReadableSpan:
    """Convert one `netra_span` with a new converter."""
    return SpanConverter(profile, privacy, usage_cost=usage_cost).convert(netra_span(**columns), trace)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return its attributes as a plain dictionary."""
    return dict(span.attributes or {})


@functools.cache
def recorded_spans() -> tuple[TraceSpan, ...]:
    """Return the spans of the recording, as the emulator's API shows them."""
    store = Store()
    load(RECORDING, store)
    found = [decode_span(row.body) for trace in recorded_traces() for row in store.rows(_known(store, trace))]
    return tuple(span for span in found if span is not None)


@functools.cache
def recorded_otlp() -> dict[str, dict[str, Any]]:
    """Return the spans of the recording by id, as netra-sdk sent them in OTLP JSON, each with its ``resource``."""
    return {
        span["spanId"]: {**span, "resource": resource_spans["resource"]["attributes"]}
        for resource_spans in json.loads(RECORDING.read_text())["resourceSpans"]
        for scope_spans in resource_spans["scopeSpans"]
        for span in scope_spans["spans"]
    }


def recorded_traces() -> list[str]:
    """Return the trace ids of the recording."""
    return list(dict.fromkeys(span["traceId"] for span in recorded_otlp().values()))


def _known(store: Store, trace_id: str) -> Any:
    trace = store.get(trace_id)
    assert trace is not None
    return trace
