"""Costs of metered spans, and their sums by tenant and hour."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from netra_otel_bridge.convert import fields, semconv
from netra_otel_bridge.convert.attributes import as_count, as_double, attributes_of, read_container
from netra_otel_bridge.core.model.netra import JsonText, TraceSpan
from netra_otel_bridge.core.model.progress import HourCost

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

METERED_KINDS = ("GENERATION", "EMBEDDING", "USAGE")
MAX_TOKENS = 10**12
MAX_COST = 1e12
"""Maximum that one span may add to a sum. A larger value was recorded in error, and adds nothing."""
_HOUR_NS = 3600 * 10**9
_OPERATIONS = ('"gen_ai.operation.name"', '"llm.request.type"')
_METERED_TYPE = re.compile(r'"netra\.span\.type"\s*:\s*"(?i:generation|embedding|usage)"')


class SpanCost(NamedTuple):
    """Tokens and cost (US dollars) of a metered span, and the UTC hour of its start. The id is OpenTelemetry's."""

    span_id: int
    tenant_id: str
    hour_ns: int
    tokens: int
    cost: float


def is_metered(span: TraceSpan) -> bool:
    """Return whether sums of tokens and cost include this span. They exclude parents, which may repeat their children.

    A metered span has one of `METERED_KINDS`, or its own ``netra.usage`` entries. Attributes are decoded only if they
    can make a difference.
    """
    if span.kind in METERED_KINDS:
        return True
    kind = fields.span_kind(span.kind)[1]
    if kind in METERED_KINDS:
        return True
    if not _may_be_metered(kind, span.attributes):
        return False
    decoded, _ = read_container(span.attributes)
    attributes = attributes_of(decoded) or {}
    return semconv.effective_kind(kind, attributes) in METERED_KINDS or bool(attributes.get("netra.usage"))


def span_costs(spans: Sequence[TraceSpan], converted: Sequence[ReadableSpan]) -> list[SpanCost]:
    """Return the cost of each metered span with a tenant. ``converted`` are the same spans after conversion.

    Tokens are ``total_tokens``, else the sum of prompt and completion tokens. Unknown counts and costs are 0.
    """
    return [
        SpanCost(
            otel_span.context.span_id,
            span.tenant_id,
            (otel_span.start_time or 0) // _HOUR_NS * _HOUR_NS,
            _tokens(span),
            _cost(span),
        )
        for span, otel_span in zip(spans, converted, strict=True)
        if span.tenant_id and is_metered(span)
    ]


def hour_costs(spans: Iterable[SpanCost], without: Collection[int]) -> tuple[HourCost, ...]:
    """Sum costs by tenant and hour, leaving out spans whose ids are in ``without``."""
    sums: dict[tuple[str, int], tuple[int, int, float]] = {}
    for span_id, tenant_id, hour_ns, tokens, cost in spans:
        if span_id not in without:
            before = sums.get((tenant_id, hour_ns), (0, 0, 0.0))
            sums[tenant_id, hour_ns] = before[0] + tokens, before[1] + 1, before[2] + cost
    return tuple(HourCost(tenant_id, hour_ns, *total) for (tenant_id, hour_ns), total in sums.items())


def _may_be_metered(kind: str | None, attributes: JsonText | None) -> bool:
    """Return whether attributes can make a span of this Netra type metered, judged by the names in their text."""
    if not isinstance(attributes, str):
        return bool(attributes)
    if '"netra.usage"' in attributes:
        return True
    if kind not in (None, "SPAN"):
        return False
    if any(name in attributes for name in _OPERATIONS):
        return True
    if attributes.lstrip().startswith("{"):
        return _METERED_TYPE.search(attributes) is not None
    return '"netra.span.type"' in attributes


def _tokens(span: TraceSpan) -> int:
    total = span.total_tokens
    if type(total) is not int:
        total = as_count(total)
    if total is None:
        total = (as_count(span.prompt_tokens) or 0) + (as_count(span.completion_tokens) or 0)
    return total if -MAX_TOKENS <= total <= MAX_TOKENS else 0


def _cost(span: TraceSpan) -> float:
    cost = as_double(span.total_cost) if type(span.total_cost) is not float else span.total_cost
    return cost if cost is not None and -MAX_COST <= cost <= MAX_COST else 0.0
