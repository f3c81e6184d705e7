"""What Netra found in a span, PII and violations: the types of it, and never the text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from netra_otel_bridge.convert.attributes import Attributes, read_container
from netra_otel_bridge.convert.semconv import add
from netra_otel_bridge.core.json_text import write_json
from netra_otel_bridge.core.model.netra import JsonText, TraceSpan

_TYPE_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_PII_WORD = re.compile(
    r"[A-Z][A-Z0-9_]{1,63}|(?i:person|address|location|email(_address)?|phone(_number)?|credit_card|ssn|iban|url"
    r"|ip(_address)?|date|age|passport|organization|entity(_type)?|type|action|allow|block|flag|mask|redact|none)"
)
_MAX_DEPTH = 16


def add_findings(attributes: Attributes, span: TraceSpan) -> None:
    """Add ``netra.pii.*`` and ``netra.violation.*``: whether, of which types, and what was done about it."""
    for name, found, listed, kinds, actions, word in (
        ("netra.pii", span.has_pii, "entities", span.pii_entities, span.pii_actions, _pii_word),
        ("netra.violation", span.has_violation, "types", span.violations, span.violation_actions, _word),
    ):
        add(attributes, f"{name}.detected", found)
        if kinds:
            add(attributes, f"{name}.{listed}", _type_words(kinds, word) or None)
        if actions:
            decoded, _ = read_container(actions)
            add(attributes, f"{name}.actions", write_json(_only_words(decoded, word)) if decoded else None)


def _type_words(value: JsonText, word: Callable[[Any], str]) -> tuple[str, ...]:
    """The types among PII entities or violations, never the text that was found."""
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
    """A type of PII or an action. A lone word in other than capitals may be what was found: a name, a number."""
    return value if isinstance(value, str) and _PII_WORD.fullmatch(value) else "_OTHER"


def _only_words(value: Any, word: Callable[[Any], str], depth: int = 0) -> Any:
    if depth > _MAX_DEPTH:
        return "_OTHER"
    if isinstance(value, dict):
        return {word(key): _only_words(item, word, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_only_words(item, word, depth + 1) for item in value]
    return value if value is None or isinstance(value, bool) else word(value)
