"""Add a span's columns under Netra's own names: ids, tokens, costs, metadata, and the types of PII and violations.

The rules are the first column of the table in ``docs/mapping.md``. The text in which PII was found is never added.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from netra_otel_bridge.convert import semconv
from netra_otel_bridge.convert.attributes import Attributes, as_double, attribute_value, read_container
from netra_otel_bridge.convert.semconv import add
from netra_otel_bridge.core.json_text import write_json
from netra_otel_bridge.core.model.netra import JsonText, TraceSpan

_TYPE_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_PII_WORD = re.compile(
    r"[A-Z][A-Z0-9_]{1,63}|(?i:person|address|location|email(_address)?|phone(_number)?|credit_card|ssn|iban|url"
    r"|ip(_address)?|date|age|passport|organization|entity(_type)?|type|action|allow|block|flag|mask|redact|none)"
)
_MAX_DEPTH = 16


def add_netra_names(
    attributes: Attributes,
    span: TraceSpan,
    netra_kind: str | None,
    *,
    user_id: str | None,
    metadata: Attributes,
    total_tokens: int | None,
) -> None:
    """Add Netra's columns of ``span``. The privacy policy was already applied to ``user_id`` and ``metadata``."""
    if netra_kind:
        add(attributes, "netra.span.type", netra_kind)
    if span.session_id:
        add(attributes, "session.id", span.session_id)
    if user_id is not None:
        add(attributes, "user.id", user_id)
    if span.tenant_id:
        add(attributes, semconv.TENANT_ID, span.tenant_id)
    if total_tokens is not None:
        add(attributes, "netra.usage.total_tokens", total_tokens)
    if span.prompt_tokens_cost is not None:
        add(attributes, "netra.cost.prompt", as_double(span.prompt_tokens_cost))
    if span.completion_tokens_cost is not None:
        add(attributes, "netra.cost.completion", as_double(span.completion_tokens_cost))
    if span.cached_tokens_cost is not None:
        add(attributes, "netra.cost.cached", as_double(span.cached_tokens_cost))
    if span.total_cost is not None:
        add(attributes, "netra.cost.total", as_double(span.total_cost))
    _add_findings(attributes, span)
    for key, value in metadata.items():
        add(attributes, f"netra.metadata.{key}", value)
    add(attributes, "netra.created_at", attribute_value(span.created_at))


def _add_findings(attributes: Attributes, span: TraceSpan) -> None:
    """Add ``netra.pii.*`` and ``netra.violation.*``: whether any were found, their types, and the actions taken."""
    if span.has_pii is not None:
        add(attributes, "netra.pii.detected", span.has_pii)
    if span.pii_entities or span.pii_actions:
        _add_words(attributes, "netra.pii", "entities", span.pii_entities, span.pii_actions, _pii_word)
    if span.has_violation is not None:
        add(attributes, "netra.violation.detected", span.has_violation)
    if span.violations or span.violation_actions:
        _add_words(attributes, "netra.violation", "types", span.violations, span.violation_actions, _word)


def _add_words(
    attributes: Attributes,
    name: str,
    listed: str,
    kinds: JsonText | None,
    actions: JsonText | None,
    word: Callable[[Any], str],
) -> None:
    if kinds:
        add(attributes, f"{name}.{listed}", _type_words(kinds, word) or None)
    if actions:
        decoded, _ = read_container(actions)
        add(attributes, f"{name}.actions", write_json(_only_words(decoded, word)) if decoded else None)


def _type_words(value: JsonText, word: Callable[[Any], str]) -> tuple[str, ...]:
    """Return the types among PII entities or violations, never the text that was found."""
    decoded, _ = read_container(value)
    items = decoded if isinstance(decoded, list) else [decoded] if decoded else []
    words: dict[str, None] = {}
    for item in items:
        if isinstance(item, dict):
            item = next((item[key] for key in ("entity_type", "type", "name") if key in item), None)
        if item is not None:
            words[word(item)] = None
    return tuple(words)


def _word(value: Any) -> str:
    return value if isinstance(value, str) and _TYPE_WORD.fullmatch(value) else "_OTHER"


def _pii_word(value: Any) -> str:
    """Return a type of PII or an action. Any other word not in capitals may be the PII itself, such as a name."""
    return value if isinstance(value, str) and _PII_WORD.fullmatch(value) else "_OTHER"


def _only_words(value: Any, word: Callable[[Any], str], depth: int = 0) -> Any:
    if depth > _MAX_DEPTH:
        return "_OTHER"
    if isinstance(value, dict):
        return {word(key): _only_words(item, word, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_only_words(item, word, depth + 1) for item in value]
    return value if value is None or isinstance(value, bool) else word(value)
