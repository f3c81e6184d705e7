"""The columns that Netra computes from a span's attributes: type, session, user, tenant, model, tokens and cost.

Two rules hold throughout. ``None`` is not ``0``: a value that was not recorded stays unknown. And only GENERATION,
EMBEDDING and USAGE spans, and entries of ``netra.usage``, have a cost: an agent that repeats its children's tokens adds
nothing to a sum. Neither does an INTERNAL span that no type or operation calls a GENERATION, only its model: it is a
step of a framework, which repeats the call below it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, TypeGuard

import msgspec

from netra_otel_bridge.emulator import findings, pricing
from netra_otel_bridge.emulator.spans import Plain, Span

TYPES = frozenset({"SPAN", "GENERATION", "TOOL", "EMBEDDING", "AGENT", "USAGE", "GUARDRAIL", "HANDOFF"})
"""The types that ``netra.span.type`` names: six in the SDK for Python, and two more in that for JavaScript."""
COUNTED = frozenset({"GENERATION", "EMBEDDING", "USAGE"})
_KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
_CLIENT = 3
_OPERATIONS = {
    "chat": "GENERATION",
    "completion": "GENERATION",
    "text_completion": "GENERATION",
    "generate_content": "GENERATION",
    "response": "GENERATION",
    "responses": "GENERATION",
    "embedding": "EMBEDDING",
    "embeddings": "EMBEDDING",
    "rerank": "SPAN",
    "execute_tool": "TOOL",
    "tool.call": "TOOL",
    "tool": "TOOL",
    "invoke_agent": "AGENT",
    "create_agent": "AGENT",
    "agent.run": "AGENT",
    "agent": "AGENT",
    "handoff": "HANDOFF",
    "guardrail": "GUARDRAIL",
}
"""Types by operation, or by kind in the words of an instrumentation. An operation that is not listed says nothing."""
_OPERATION_KEYS = ("llm.request.type", "gen_ai.operation.name", "netra.span.kind", "traceloop.span.kind")
_TOOL_KEYS = ("gen_ai.tool.name", "tool.name")
_CUSTOM = "netra.custom."
_CHUNK = "llm.content.completion.chunk"


class Columns(msgspec.Struct, frozen=True, gc=False):
    """The columns of one span.

    ``counted`` says whether its tokens and cost belong in sums. ``first_token_ms`` is the time from its start to the first
    token, if recorded.
    """

    type: str
    kind: str
    counted: bool
    session_id: str | None
    user_id: str | None
    tenant_id: str | None
    environment: str | None
    service: str | None
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    total_tokens: int | None
    costs: pricing.Costs
    metadata: dict[str, Any] | None
    pii: findings.Findings | None
    violations: findings.Findings | None
    first_token_ms: float | None


def derive_columns(span: Span) -> Columns:
    """Compute the columns of ``span``."""
    found = span.attributes.plain
    resource = span.resource.attributes.plain
    kind_of, named = span_type(found)
    kind = shown_kind(kind_of, span.kind)
    counted = kind_of in COUNTED and (named or kind == kind_of)
    model = _text(found, "gen_ai.response.model", "gen_ai.request.model", "netra.model", "llm.model_name")
    prompt = _count(found, "gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens", "llm.usage.prompt_tokens")
    completion = _count(
        found, "gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens", "llm.usage.completion_tokens"
    )
    cached = _count(
        found,
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cached_tokens",
    )
    total = _count(found, "llm.usage.total_tokens", "gen_ai.usage.total_tokens")
    if total is None and (prompt is not None or completion is not None):
        total = (prompt or 0) + (completion or 0)
    costs = pricing.cost(model, prompt, completion, cached) if counted else pricing.UNKNOWN
    usage = found.get("netra.usage")
    if isinstance(usage, str):
        stated, models = _stated_usage(usage)
        model = model or (models[0] if models else None)
        if stated is not None:
            costs, counted = pricing.Costs(costs.prompt, costs.completion, costs.cached, stated), True
    return Columns(
        type=kind_of,
        kind=kind,
        counted=counted,
        session_id=_text(found, "netra.session_id", "session.id"),
        user_id=_text(found, "netra.user_id", "user.id"),
        tenant_id=_text(found, "netra.tenant_id", "netra.tenant.id"),
        environment=_text(resource, "deployment.environment.name", "deployment.environment"),
        service=_text(resource, "service.name"),
        model=model,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        total_tokens=total,
        costs=costs,
        metadata=_metadata(found),
        pii=findings.pii(span),
        violations=findings.violations(span),
        first_token_ms=_first_token_ms(span),
    )


def span_type(found: Plain) -> tuple[str, bool]:
    """Return ``netra.span.type``, else the type that the operation, the model or the tool implies, else SPAN.

    The second value says whether the type or the operation names it.
    """
    stated = found.get("netra.span.type")
    if isinstance(stated, str) and stated.upper() in TYPES:
        return stated.upper(), True
    for key in _OPERATION_KEYS:
        operation = found.get(key)
        if isinstance(operation, str) and operation.lower() in _OPERATIONS:
            return _OPERATIONS[operation.lower()], True
    model = found.get("gen_ai.request.model")
    if model is not None:
        return "EMBEDDING" if "embed" in str(model) else "GENERATION", False
    return "TOOL" if any(key in found for key in _TOOL_KEYS) else "SPAN", False


@lru_cache(maxsize=64)
def shown_kind(netra_type: str, otel_kind: int) -> str:
    """Return the API's ``kind``: the type if it implies the recorded OTel kind (``docs/mapping.md``), else that kind.

    GENERATION and EMBEDDING imply CLIENT, the others INTERNAL; an unspecified kind is INTERNAL (OTLP: "may assume").
    """
    recorded = otel_kind if otel_kind in _KINDS else 1
    implied = _CLIENT if netra_type in {"GENERATION", "EMBEDDING"} else 1
    return netra_type if recorded == implied else _KINDS[recorded]


def _text(found: Plain, *keys: str) -> str | None:
    for key in keys:
        value = found.get(key)
        if isinstance(value, str) and value:
            return value
    return None


def _count(found: Plain, *keys: str) -> int | None:
    for key in keys:
        value = found.get(key)
        if value is None or isinstance(value, bool):
            continue
        if isinstance(value, int):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
            return int(value)
    return None


def _stated_usage(text: str) -> tuple[float | None, list[str]]:
    """Return the cost and the models in ``netra.usage``; ``None`` and no models if the text is not such a list."""
    try:
        entries = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None, []
    if not isinstance(entries, list):
        return None, []
    entries = [entry for entry in entries if isinstance(entry, dict)]
    costs = [entry["cost_in_usd"] for entry in entries if _is_amount(entry.get("cost_in_usd"))]
    models = [entry["model"] for entry in entries if isinstance(entry.get("model"), str)]
    return (math.fsum(costs) if costs else None), models


def _first_token_ms(span: Span) -> float | None:
    """Return the time that netra-sdk records; else the time to the first chunk of a streaming instrumentation.

    The SDK for Python writes the seconds as text, that for JavaScript as a number. Either may be a few nanoseconds
    below zero, because two clocks made it.
    """
    stated = _seconds(span.attributes.plain.get("gen_ai.performance.time_to_first_token"))
    if stated is not None:
        return max(stated, 0.0) * 1000
    chunk = next((event for event in span.events if event.name == _CHUNK), None)
    return None if chunk is None else (chunk.time_ns - span.start_ns) / 1_000_000


def _seconds(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return float(value) if _is_amount(value) and math.isfinite(value) else None


def _is_amount(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _metadata(found: Plain) -> dict[str, Any] | None:
    keys = [key for key in found if key.startswith(_CUSTOM)]
    return {key[len(_CUSTOM) :]: found[key] for key in keys} if keys else None
