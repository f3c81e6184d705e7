"""Read the spans of a trace for a person or a program: what each call to a model, a tool or a store was.

What is read went through the privacy policy, as everything that leaves the bridge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from opentelemetry.trace import SpanKind

from netra_otel_bridge.convert import fields
from netra_otel_bridge.convert.draft import ORIGINAL
from netra_otel_bridge.convert.llm import Call, read_call
from netra_otel_bridge.convert.private_parts import operation_name
from netra_otel_bridge.convert.spans import SpanConverter, error_message
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary

_RECORDED = "raw"
_ID_DIGITS = 16


class SpanReading(NamedTuple):
    """One span: Netra's columns, and what the policy left of its kind, name, call and error.

    ``error`` has the words of an error, empty if none were recorded; ``None`` if the span did not fail. ``number`` and
    ``parent`` are the span's own id and that of its parent as they are sent, by which spans find each other.
    """

    span: TraceSpan
    number: int
    parent: int | None
    name: str
    call: Call
    error: str | None
    start_ns: int
    end_ns: int


class TraceReading(NamedTuple):
    """The spans of one trace, and what the privacy policy took from them by kind: ``content_dropped`` ..."""

    spans: list[SpanReading]
    withheld: Counter[str]


class ListReading(NamedTuple):
    """The summaries of traces, and what the privacy policy took from them by kind."""

    traces: list[TraceSummary]
    withheld: Counter[str]


def read_list(traces: Sequence[TraceSummary], converter: SpanConverter) -> ListReading:
    """Read the summaries of traces under the policy of a converter. A name that was dropped becomes the operation."""
    before = Counter(converter.counts)
    left = [_read_summary(trace, converter) for trace in traces]
    return ListReading(left, _taken(converter, before))


def _read_summary(trace: TraceSummary, converter: SpanConverter) -> TraceSummary:
    left = converter.private_summary(trace)
    if left.name is None and trace.name:
        kind, netra_kind = fields.span_kind(trace.kind)
        return msgspec.structs.replace(left, name=operation_name({}, netra_kind, kind or SpanKind.INTERNAL))
    return left


def read_spans(spans: Sequence[TraceSpan], converter: SpanConverter) -> TraceReading:
    """Read the spans of a trace under the policy of a converter of profile ``raw``, which derives nothing.

    Raises `ValueError` for another profile, whose derived attributes would be read as recorded ones.
    """
    if converter.profile != _RECORDED:
        raise ValueError(f"a reading needs a converter of profile {_RECORDED!r}, not {converter.profile!r}")
    before = Counter(converter.counts)
    readings = [_read(span, converter) for span in spans]
    return TraceReading(readings, _taken(converter, before))


def _taken(converter: SpanConverter, before: Counter[str]) -> Counter[str]:
    taken = converter.counts - before
    return Counter({kind: taken[kind] for kind in taken if kind.startswith("content_")})


def _read(span: TraceSpan, converter: SpanConverter) -> SpanReading:
    converted = converter.convert(span)
    attributes, name = dict(converted.attributes or {}), converted.name
    parent = None if fields.is_no_id(span.parent_span_id) else fields.span_id_value(span.parent_span_id or "")
    columns = span
    if not converter.privacy.keeps_all(bool(span.has_pii)):
        columns = msgspec.structs.replace(span, model_name=None, session_id=None)  # columns of text, unlike the counts
        kind = span.kind if fields.is_known_kind(span.kind) else attributes.get(f"{ORIGINAL}kind")
        span = msgspec.structs.replace(
            span, kind=kind, parent_span_id=None if parent is None else f"{parent:0{_ID_DIGITS}x}"
        )
    call = read_call(attributes, columns, fields.span_kind(span.kind)[1], converted.events, name)
    call = converter.private_call(call)
    error = None
    if fields.is_error(span):
        error = converted.status.description or error_message(attributes, converted.events) or ""
    number = fields.span_id_value(span.id)
    return SpanReading(span, number, parent, name, call, error, converted.start_time or 0, converted.end_time or 0)
