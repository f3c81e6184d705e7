"""Read what the SDKs found in a text: personal data and violations of a policy.

netra-sdk reports them as events of the span, not as attributes. Its texts have three forms: JSON of an object
(``{"EMAIL_ADDRESS": 1}``), a list of names, and Python's ``str`` of either (``['PROMPT_INJECTION']``).

======================  ===================================  ===================================
column                  event ``pii_detected``               event ``violation_detected``
======================  ===================================  ===================================
``has_...``             ``has_pii``                          ``has_violation``
names                   ``pii_entities``                     ``violations``
``..._actions``         ``pii_actions``                      ``violation_actions``
======================  ===================================  ===================================

The attributes ``netra.pii.*`` and ``netra.violation.*`` say the same of a whole span.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from netra_otel_bridge.emulator.spans import Plain, Span

_MAX_TEXT = 20_000
"""Characters of a text that is read as a list or object. Python's parser is slow and needs much memory for more."""


class Findings(msgspec.Struct, frozen=True, gc=False):
    """The names of what was found, possibly none, and the names by the action that was taken."""

    names: list[Any]
    actions: dict[str, Any] | None = None


class _Words(NamedTuple):
    event: str
    flag: str
    names: str
    actions: str
    attribute_flag: str
    attribute_names: str


_PII = _Words("pii_detected", "has_pii", "pii_entities", "pii_actions", "netra.pii.detected", "netra.pii.entities")
_VIOLATION = _Words(
    "violation_detected",
    "has_violation",
    "violations",
    "violation_actions",
    "netra.violation.detected",
    "netra.violation.types",
)


def pii(span: Span) -> Findings | None:
    """Return the personal data that was found; ``None`` if none was."""
    return _findings(span, _PII)


def violations(span: Span) -> Findings | None:
    """Return the violations that were found; ``None`` if none was."""
    return _findings(span, _VIOLATION)


def _findings(span: Span, words: _Words) -> Findings | None:
    found = span.attributes.plain
    names = _names(found.get(words.attribute_names))
    detected = bool(names) or found.get(words.attribute_flag) is True
    actions: dict[str, list[Any]] = {}
    for event in span.events:
        if event.name == words.event and _detects(event.attributes.plain, words):
            detected = True
            names += _names(event.attributes.plain.get(words.names))
            for action, on in _actions(event.attributes.plain.get(words.actions)):
                actions[action] = _once([*actions.get(action, []), *on])
    return Findings(_once(names), actions or None) if detected else None


def _detects(said: Plain, words: _Words) -> bool:
    """Return whether the event reports a finding, which it does unless it says otherwise."""
    return str(said.get(words.flag, True)).lower() != "false"


def _names(value: object) -> list[Any]:
    read = _read(value)
    if isinstance(read, dict):
        return list(read)
    return list(read) if isinstance(read, list) else [read] if isinstance(read, str) and read else []


def _actions(value: object) -> Iterable[tuple[str, list[Any]]]:
    read = _read(value)
    return ((str(action), _names(on)) for action, on in read.items()) if isinstance(read, dict) else ()


def _read(value: object) -> object:
    """Return what a text in JSON or in Python's form says; any other text and value unchanged."""
    if not isinstance(value, str) or value[:1] not in ("[", "{") or len(value) > _MAX_TEXT:
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        pass
    try:
        literal = ast.literal_eval(value)
        msgspec.json.encode(literal)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError, msgspec.MsgspecError):
        return value
    return literal


def _once(values: list[Any]) -> list[Any]:
    return [value for at, value in enumerate(values) if value not in values[:at]]
