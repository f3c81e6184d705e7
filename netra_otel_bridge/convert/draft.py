"""A span that is being converted, and its times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from netra_otel_bridge.convert import fields
from netra_otel_bridge.convert.attributes import Attributes
from netra_otel_bridge.core.json_text import clean_text, write_json
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary

ORIGINAL = "netra.bridge.original."


@dataclass(slots=True)
class Draft:
    """A span that is being converted: its attributes so far, and notes about what could not be expressed."""

    attributes: Attributes = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def keep(self, column: str, value: Any, note: str) -> None:
        """Note that a column could not be expressed, and keep its original text."""
        self.notes.append(note)
        if value is not None:
            text = value if isinstance(value, str) else write_json(value)
            self.attributes.setdefault(ORIGINAL + column, clean_text(text))


def times(draft: Draft, span: TraceSpan, trace: TraceSummary | None) -> tuple[int, int]:
    """Return the start and the end of a span in nanoseconds; the end is never before the start."""
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
