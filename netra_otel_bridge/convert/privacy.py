"""Apply the privacy policy, which decides what content and user ids leave the bridge.

Drops are counted, never logged.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.expressions import Expression
from netra_otel_bridge.core.json_text import write_json

Content = Literal["keep", "drop", "redact"]
Pii = Literal["keep", "drop-content"]
User = Literal["keep", "hash", "drop"]

REDACTED = "[redacted]"

CONTENT_KEYS = re.compile(
    r"input|output|prompts?|completions?|messages?|content|netra\.(prompt|completion|input|output|action)"
    r"|(input|output)\.value"
    r"|gen_ai\.(prompt|completion|input\.messages|output\.messages|system_instructions|event\.content)"
    r"|gen_ai\.(prompt|completion)\.\d+(\.(?!(role|finish_reason|tool_call_id)$).*)?"
    r"|gen_ai\.tool\.(call\.arguments|call\.result|definitions|parameters)"
    r"|gen_ai\.retrieval\.(documents|query\.text)"
    r"|traceloop\.entity\.(input|output)"
    r"|llm\.(prompts|completions)(\..*)?"
    r"|llm\.(input|output)_messages(\.(?!.*\.(role|id|name|tool_call_id)$).*)?"
    r"|llm\.(prompt_template\.(template|variables)|function_call|tools(\..*)?|request\.functions\..*)"
    r"|tool\.parameters|tool_call\.function\.arguments|retrieval\.documents(\..*)?|embedding\.(embeddings(\..*)?|text)"
    r"|reranker\.(query|(input|output)_documents(\..*)?)"
    r"|ai\.(prompt(\..*)?|response\.(text|object|reasoning|toolCalls)|toolCall\.(args|result)|values?)"
    # Attributes with these names are nested objects as JSON text, with the keys above inside.
    r"|gen_ai(\.(input|output|event|tool|tool\.call|retrieval))?|llm(\.prompt_template|\.request)?|netra"
    r"|traceloop(\.entity)?|tool(_call(\.function)?)?|retrieval|embedding|reranker|ai(\.(response|toolCall))?"
    r"|netra\.bridge\.original\.(attributes|events|links|metadata|resources)"
)
"""Keys of prompts, completions, inputs, outputs and tool arguments, in all known dialects."""

USER_KEYS = re.compile(r"(.*[._])?(enduser|user)([._]?id|Id)|(llm|gen_ai\.request)\.user")
"""Keys of user ids: ``netra.user_id``, ``user.id``, ``enduser.id``, ``netra.custom.user_id``, ``llm.user`` ..."""

_ORIGINALS = re.compile(r"netra\.bridge\.original\.(attributes|events|links|metadata|resources)")
"""Columns that could not be read: they may contain a user id anywhere."""


def one_of(name: str, value: object, words: Any) -> None:
    """Raise `UsageError` unless ``value`` is one of a ``Literal``'s ``words``."""
    if value not in get_args(words):
        raise UsageError(f"{name} must be one of {', '.join(get_args(words))}, not {value!r:.80}")


def _expression(value: object) -> Expression:
    if not isinstance(value, re.Pattern) or not isinstance(value.pattern, str):
        raise UsageError("redact must be a tuple of compiled expressions", hint="write redact=(re.compile(...),)")
    try:
        return Expression.of(value)
    except ValueError as error:
        raise UsageError(f"an expression in redact: {error}") from None


@dataclass(frozen=True, slots=True)
class Privacy:
    """Rules for the data that leaves the bridge.

    ``content`` keeps content, drops it, or redacts the text that ``redact`` matches: expressions compiled by `re`,
    matched in linear time by RE2. ``pii`` drops the content of spans with PII. ``user`` keeps, hashes (SHA-256, 32 hex
    digits) or drops user ids.

    Raises `UsageError` for any other value, for ``content="redact"`` without an expression, and for an expression that
    RE2 cannot take.
    """

    content: Content = "keep"
    redact: tuple[re.Pattern[str], ...] = ()
    pii: Pii = "keep"
    user: User = "keep"
    _expressions: tuple[Expression, ...] = field(default=(), repr=False, kw_only=True)

    def __post_init__(self) -> None:
        one_of("content", self.content, Content)
        one_of("pii", self.pii, Pii)
        one_of("user", self.user, User)
        if not isinstance(self.redact, tuple):
            raise UsageError("redact must be a tuple of compiled expressions", hint="write redact=(re.compile(...),)")
        object.__setattr__(self, "_expressions", (*self._expressions, *map(_expression, self.redact)))
        if self.content == "redact" and not self._expressions:
            raise UsageError('content="redact" needs an expression in redact', hint="write redact=(re.compile(...),)")

    def user_id(self, value: str) -> str | None:
        """Return the replacement for a user id; ``None`` drops it."""
        if self.user == "keep":
            return value
        if self.user == "drop":
            return None
        return hashlib.sha256(value.encode("utf-8", "backslashreplace")).hexdigest()[:32]

    def keeps_all(self, has_pii: bool) -> bool:
        """Return whether `apply` would change nothing."""
        return self.content == "keep" and self.user == "keep" and not (has_pii and self.pii == "drop-content")

    def apply(self, attributes: dict[str, Any], *, has_pii: bool, counts: Counter[str]) -> dict[str, Any]:
        """Return the attributes that may leave; the same object if the policy keeps all."""
        drop = self.content == "drop" or (has_pii and self.pii == "drop-content")
        if drop or self.content == "redact":
            kept: dict[str, Any] = {}
            for key, value in attributes.items():
                if not CONTENT_KEYS.fullmatch(key):
                    kept[key] = value
                elif drop:
                    counts["content_dropped"] += 1
                else:
                    kept[key] = self._redacted(value, counts)
            attributes = kept
        return attributes if self.user == "keep" else self._without_users(attributes, counts)

    def _without_users(self, attributes: dict[str, Any], counts: Counter[str]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in attributes.items():
            if _ORIGINALS.fullmatch(key):
                counts["user_changed"] += 1
            elif USER_KEYS.fullmatch(key):
                counts["user_changed"] += 1
                replaced = self.user_id(value if isinstance(value, str) else write_json(value))
                if replaced is not None:
                    kept[key] = replaced
            else:
                kept[key] = value
        return kept

    def _redacted(self, value: Any, counts: Counter[str]) -> Any:
        if isinstance(value, str):
            for expression in self._expressions:
                value, found = expression.replace(value, REDACTED)
                counts["content_redacted"] += found
            return value
        if isinstance(value, bytes):
            return self._redacted(value.decode("utf-8", "surrogateescape"), counts).encode("utf-8", "surrogateescape")
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = str(value)
            redacted = self._redacted(text, counts)
            return value if redacted == text else redacted
        if isinstance(value, tuple):
            return tuple(self._redacted(item, counts) for item in value)
        if isinstance(value, dict):
            return {key: self._redacted(item, counts) for key, item in value.items()}
        return value


def configured(content: Content, expressions: tuple[Expression, ...], pii: Pii, user: User) -> Privacy:
    """Return the policy of the settings, whose expressions are in RE2's syntax."""
    return Privacy(content=content, pii=pii, user=user, _expressions=expressions)
