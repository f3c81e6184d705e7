"""The columns that Netra computes from a span's attributes: type, session, user, tenant, model, tokens and cost.

Two rules hold throughout. ``None`` is not ``0``: a value that was not recorded stays unknown. And only GENERATION,
EMBEDDING and USAGE spans, and entries of ``netra.usage``, have a cost: an agent that repeats its children's tokens adds
nothing to a sum.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, TypeGuard

import msgspec

from netra_otel_bridge.emulator import pricing
from netra_otel_bridge.emulator.spans import Plain, Span

TYPES = frozenset({"SPAN", "GENERATION", "TOOL", "EMBEDDING", "AGENT", "USAGE"})
COUNTED = frozenset({"GENERATION", "EMBEDDING", "USAGE"})
_KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
_CLIENT = 3
_OPERATIONS = {
    "chat": "GENERATION",
    "completion": "GENERATION",
    "text_completion": "GENERATION",
    "generate_content": "GENERATION",
    "responses": "GENERATION",
    "embedding": "EMBEDDING",
    "embeddings": "EMBEDDING",
    "execute_tool": "TOOL",
    "invoke_agent": "AGENT",
    "create_agent": "AGENT",
}
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
    pii: list[Any] | None
    violations: list[Any] | None
    first_token_ms: float | None


def derive_columns(span: Span) -> Columns:
    """Compute the columns of ``span``."""
    found = span.attributes.plain
    resource = span.resource.attributes.plain
    kind_of = span_type(found)
    counted = kind_of in COUNTED
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
        kind=shown_kind(kind_of, span.kind),
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
        pii=_finding(found, "netra.pii.detected", "netra.pii.entities"),
        violations=_finding(found, "netra.violation.detected", "netra.violation.types"),
        first_token_ms=_first_token_ms(span),
    )


def span_type(found: Plain) -> str:
    """Return ``netra.span.type``, else the type that the GenAI attributes imply, else SPAN."""
    stated = found.get("netra.span.type")
    if isinstance(stated, str) and stated.upper() in TYPES:
        return stated.upper()
    operation = found.get("llm.request.type") or found.get("gen_ai.operation.name")
    if isinstance(operation, str) and operation in _OPERATIONS:
        return _OPERATIONS[operation]
    return "GENERATION" if "gen_ai.request.model" in found else "SPAN"


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
    """Return the time that netra-sdk records; else the time to the first chunk of a streaming instrumentation."""
    stated = span.attributes.plain.get("gen_ai.performance.time_to_first_token")
    if _is_amount(stated):
        return float(stated) * 1000
    chunk = next((event for event in span.events if event.name == _CHUNK), None)
    return None if chunk is None else (chunk.time_ns - span.start_ns) / 1_000_000


def _is_amount(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _metadata(found: Plain) -> dict[str, Any] | None:
    keys = [key for key in found if key.startswith(_CUSTOM)]
    return {key[len(_CUSTOM) :]: found[key] for key in keys} if keys else None


def _finding(found: Plain, flag: str, names: str) -> list[Any] | None:
    """Return the findings, possibly without names; ``None`` if there are none."""
    named = found.get(names)
    listed: list[Any] = named if isinstance(named, list) else [named] if isinstance(named, str) and named else []
    return listed if listed or found.get(flag) is True else None
