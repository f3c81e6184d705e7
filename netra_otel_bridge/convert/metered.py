"""Which spans sums of tokens and cost go over."""

from __future__ import annotations

from netra_otel_bridge.convert import fields, semconv
from netra_otel_bridge.convert.attributes import attributes_of, read_container
from netra_otel_bridge.model import TraceSpan

METERED_KINDS = ("GENERATION", "EMBEDDING", "USAGE")


def is_metered(span: TraceSpan) -> bool:
    """Whether sums of tokens and cost go over this span: parents may repeat what their children used.

    It is one of `METERED_KINDS`, or carries entries of ``netra.usage`` of its own.
    """
    decoded, _ = read_container(span.attributes)
    attributes = attributes_of(decoded) or {}
    kind = semconv.effective_kind(fields.span_kind(span.kind)[1], attributes)
    return kind in METERED_KINDS or bool(attributes.get("netra.usage"))
