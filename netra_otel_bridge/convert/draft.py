"""Read the columns of a span that say where and when it was: ids, times, kind.

What cannot be expressed is noted in the draft, with its original text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from opentelemetry.trace import SpanContext, SpanKind

from netra_otel_bridge.convert import fields
from netra_otel_bridge.convert.attributes import SAMPLED, Attributes
from netra_otel_bridge.core.json_text import clean_text, write_json
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary

ORIGINAL = "netra.bridge.original."


class Draft:
    """A span that is being converted: its attributes so far, and notes about what could not be expressed."""

    __slots__ = ("attributes", "notes")

    def __init__(self) -> None:
        self.attributes: Attributes = {}
        self.notes: list[str] = []

    def keep(self, column: str, value: Any, note: str) -> None:
        """Note that a column could not be expressed, and keep its original text."""
        self.notes.append(note)
        if value is not None:
            text = value if isinstance(value, str) else write_json(value)
            self.attributes.setdefault(ORIGINAL + column, clean_text(text))


def contexts(draft: Draft, span: TraceSpan) -> tuple[SpanContext, SpanContext | None]:
    """Return the context of a span and that of its parent. Ids that are no ids are replaced, always by the same."""
    trace_id, own_trace = fields.trace_id(span.trace_id)
    span_id, own_span = fields.span_id(span.id)
    if not own_trace:
        draft.keep("trace_id", span.trace_id, "trace_id_derived")
    if not own_span:
        draft.keep("span_id", span.id, "span_id_derived")
    context = _context(trace_id, span_id)
    if span.parent_span_id is None or fields.is_no_id(span.parent_span_id):
        return context, None
    parent_id, own_parent = fields.span_id(span.parent_span_id)
    if parent_id == span_id:
        draft.keep("parent_span_id", span.parent_span_id, "parent_is_self")
        return context, None
    if not own_parent:
        draft.keep("parent_span_id", span.parent_span_id, "parent_span_id_derived")
    return context, _context(trace_id, parent_id)


def times(draft: Draft, span: TraceSpan, trace: TraceSummary | None) -> tuple[int, int]:
    """Return the start and the end of a span in nanoseconds; the end is never before the start."""
    start, end = fields.instant_ns(span.start_time_ms), fields.instant_ns(span.end_time_ms)
    if start is None or end is None or not 0 <= start <= end <= fields.MAX_NS or end - start > fields.LONGEST_NS:
        return _mended_times(draft, span, trace)
    return start, end


def _mended_times(draft: Draft, span: TraceSpan, trace: TraceSummary | None) -> tuple[int, int]:
    """Return times in order of a span whose own are missing, unreadable, out of range or out of order; note why."""
    start = _instant(draft, "start_time_ms", span.start_time_ms)
    end = _instant(draft, "end_time_ms", span.end_time_ms)
    if end is not None and (end > fields.MAX_NS or (start is not None and end - start > fields.LONGEST_NS)):
        draft.keep("end_time_ms", span.end_time_ms, "end_too_late")
        end = None
    latency = fields.latency_ns(span.latency_ms)
    if start is None:
        draft.notes.append("start_time_missing")
        if end is not None:
            start = max(0, end - (latency or 0))
        else:
            known = (
                fields.instant_ns(trace.start_time) if trace else None,
                fields.instant_ns(span.created_at),
            )
            start = next((when for when in known if when is not None and 0 <= when <= fields.MAX_NS), 0)
    if end is None:
        if latency is None:
            draft.notes.append("end_time_missing")
        end = min(start + (latency or 0), fields.MAX_NS)
    elif end < start:
        draft.keep("end_time_ms", span.end_time_ms, "end_before_start")
        end = start
    return start, end


def _instant(draft: Draft, column: str, value: Any) -> int | None:
    ns = fields.instant_ns(value)
    if ns is None:
        if value not in (None, ""):
            draft.keep(column, value, f"{column}_unreadable")
        return None
    if 0 <= ns <= fields.MAX_NS or (ns > fields.MAX_NS and column == "end_time_ms"):
        return ns
    draft.keep(column, value, f"{column}_clamped")
    return 0 if ns < 0 else fields.MAX_NS


def kinds(draft: Draft, span: TraceSpan) -> tuple[SpanKind, str | None]:
    """Return the OpenTelemetry kind of a span, and Netra's type of it if the column names one."""
    kind, netra_kind = fields.span_kind(span.kind)
    if kind is None:
        if span.kind not in (None, ""):
            draft.keep("kind", span.kind, "kind_unknown")
        kind = SpanKind.INTERNAL
    return kind, netra_kind


@lru_cache(maxsize=fields.RECENT_SPANS)
def _context(trace_id: int, span_id: int) -> SpanContext:
    """Return the context of a span. Its children have it too."""
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=SAMPLED)
