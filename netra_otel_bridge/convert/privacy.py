"""Apply the privacy policy, which decides what content and user ids leave the bridge.

Drops are counted, never logged.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from netra_otel_bridge.convert.allowed import EXCEPTION_TEXT, MAX_COUNTED_KEYS, OTHER_KEYS, Rule, rule_of
from netra_otel_bridge.convert.effort import Effort
from netra_otel_bridge.convert.redaction import Redaction
from netra_otel_bridge.convert.user_ids import without_users
from netra_otel_bridge.core.attribute_names import ALLOWED, ALLOWED_RULE
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.expressions import MAX_SCANNED_BYTES, Expression

Content = Literal["keep", "drop", "redact"]
Pii = Literal["keep", "drop-content"]
User = Literal["keep", "hash", "drop"]
Exceptions = Literal["keep", "drop"]

_HOLD_EXCEPTIONS = EXCEPTION_TEXT | {f"netra.bridge.original.{column}" for column in ("attributes", "events", "status")}
_MAX_RULES = 4096
_MAX_REMEMBERED_CHARS = 200
_MAX_ITEMS = 64
_FEW_TOKENS = 4
"""A list of more different tokens must have a digit in each, as addresses have: otherwise it may be a sentence."""


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

    ``content`` keeps all text, drops all text that is not a known fact, or redacts what ``redact`` matches in any text:
    expressions compiled by `re`, matched in linear time by RE2. ``content_allow`` names attributes that a drop keeps
    (``name`` or ``prefix.*``). ``exceptions`` keeps or drops messages and stack traces of exceptions and the message of
    a status; ``None`` drops them with the content. ``pii`` drops the content of spans with PII. ``user`` keeps, hashes
    or drops user ids; a hash is 32 hex digits of HMAC-SHA-256 with ``user_hash_key``, without one of SHA-256.

    Raises `UsageError` for any other value, for ``content="redact"`` without an expression, and for an expression that
    RE2 cannot take.
    """

    content: Content = "keep"
    redact: tuple[re.Pattern[str], ...] = ()
    pii: Pii = "keep"
    user: User = "keep"
    content_allow: tuple[str, ...] = ()
    exceptions: Exceptions | None = None
    user_hash_key: str | None = field(default=None, repr=False)
    _expressions: tuple[Expression, ...] = field(default=(), repr=False, kw_only=True)
    _redaction: Redaction = field(init=False, repr=False, compare=False)
    _rules: dict[str, Rule] = field(default_factory=dict, init=False, repr=False, compare=False)
    _redacted_keys: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    _key: bytes | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        one_of("content", self.content, Content)
        one_of("pii", self.pii, Pii)
        one_of("user", self.user, User)
        if self.exceptions is not None:
            one_of("exceptions", self.exceptions, Exceptions)
        if not isinstance(self.redact, tuple):
            raise UsageError("redact must be a tuple of compiled expressions", hint="write redact=(re.compile(...),)")
        if not isinstance(self.content_allow, tuple):
            raise UsageError("content_allow must be a tuple of names", hint='write content_allow=("netra.custom.*",)')
        if not all(isinstance(name, str) and ALLOWED.fullmatch(name) for name in self.content_allow):
            raise UsageError(f"content_allow: {ALLOWED_RULE}")
        if self.user_hash_key is not None:
            if not isinstance(self.user_hash_key, str) or not self.user_hash_key:
                raise UsageError("user_hash_key must be a text that is not empty")
            object.__setattr__(self, "_key", self.user_hash_key.encode("utf-8", "surrogatepass"))
        object.__setattr__(self, "_expressions", (*self._expressions, *map(_expression, self.redact)))
        object.__setattr__(self, "_redaction", Redaction(self._expressions))
        if self.content == "redact" and not self._expressions:
            raise UsageError('content="redact" needs an expression in redact', hint="write redact=(re.compile(...),)")

    def user_id(self, value: str) -> str | None:
        """Return the replacement for a user id; ``None`` drops it."""
        if self.user == "keep":
            return value
        if self.user == "drop":
            return None
        data = value.encode("utf-8", "backslashreplace")
        digest = hashlib.sha256(data) if self._key is None else hmac.new(self._key, data, hashlib.sha256)
        return digest.hexdigest()[:32]

    def drops(self, has_pii: bool) -> bool:
        """Return whether the content of a span is dropped."""
        return self.content == "drop" or (has_pii and self.pii == "drop-content")

    def drops_exceptions(self, has_pii: bool) -> bool:
        """Return whether the words of exceptions are dropped: messages, stack traces, the message of a status."""
        return self.drops(has_pii) if self.exceptions is None else self.exceptions == "drop"

    def error_words(self, words: str, code: str) -> str:
        """Return what an error may repeat of Netra's own words about a request: they may repeat content.

        ``code`` is all that a drop leaves, also one of spans with PII alone, because nobody knows which these are.
        """
        if self.drops(has_pii=True):
            return code
        return self.redacted_text(words, Counter()) if self.content == "redact" else words

    def keeps_all(self, has_pii: bool) -> bool:
        """Return whether the policy would change nothing."""
        return (
            self.content == "keep"
            and self.user == "keep"
            and self.exceptions != "drop"
            and not (has_pii and self.pii == "drop-content")
        )

    def apply(
        self,
        attributes: dict[str, Any],
        *,
        has_pii: bool,
        counts: Counter[str],
        dropped: Counter[str] | None = None,
        effort: Effort | None = None,
    ) -> dict[str, Any]:
        """Return the attributes that may leave; the same object if the policy keeps all.

        ``counts`` counts what was changed, ``dropped`` what was dropped by name. Once ``effort`` is spent, each text
        is redacted whole.
        """
        if self.user != "keep":
            attributes = self.without_users(attributes, counts)
        return self.without_content(attributes, has_pii=has_pii, counts=counts, dropped=dropped, effort=effort)

    def without_content(
        self,
        attributes: dict[str, Any],
        *,
        has_pii: bool,
        counts: Counter[str],
        dropped: Counter[str] | None = None,
        effort: Effort | None = None,
    ) -> dict[str, Any]:
        """Return `apply` without the policy for users."""
        names: list[str] = []
        if self.drops(has_pii):
            attributes = self._facts(attributes, names)
        elif self.drops_exceptions(has_pii) and not _HOLD_EXCEPTIONS.isdisjoint(attributes):
            names += [key for key, value in attributes.items() if _tells_of_exception(key, value)]
            attributes = {key: value for key, value in attributes.items() if not _tells_of_exception(key, value)}
        if names:
            count_dropped(names, counts, dropped)
        if self.content == "redact":
            attributes = self._all_redacted(attributes, counts, effort)
        return attributes

    def without_users(
        self, attributes: dict[str, Any], counts: Counter[str], *, is_metadata: bool = False
    ) -> dict[str, Any]:
        """Return the attributes with user ids hashed or left out, as `user_ids.without_users` says."""
        return without_users(attributes, self.user_id, counts, is_metadata=is_metadata)

    def redacted_text(
        self,
        text: str,
        counts: Counter[str],
        effort: Effort | None = None,
        max_scanned_bytes: int = MAX_SCANNED_BYTES,
        *,
        decodes: bool = True,
    ) -> str:
        """Return the text with each match of an expression replaced, as `Redaction.text` says."""
        return self._redaction.text(text, counts, effort, max_scanned_bytes, decodes=decodes)

    def redacted(self, value: Any, counts: Counter[str], effort: Effort | None = None) -> Any:
        """Return a value of any type with each match replaced; a number that matches becomes text."""
        return self._redaction.value(value, counts, effort)

    def _facts(self, attributes: dict[str, Any], names: list[str]) -> dict[str, Any]:
        """Return the attributes that are plain facts; append the names of those that were dropped or cut."""
        kept: dict[str, Any] = {}
        rules = self._rules
        for key, value in attributes.items():
            rule = rules.get(key) or self._rule(key)
            kind = type(value)
            if rule.everything:
                left = value
            elif kind is str:
                left = rule.text(value) if rule.text is not None else None
            elif kind is int or kind is float or kind is bool:
                left = value if rule.numbers else None
            else:
                left = _fact_list(value, rule) if kind is tuple else None
            if left is not None:
                kept[key] = left
            if left is not value:
                names.append(rule.name)
        return kept

    def _rule(self, key: str) -> Rule:
        """Decide about a key, and remember it."""
        rule = rule_of(key)
        if self._allows(key) or (self.exceptions == "keep" and key in EXCEPTION_TEXT):
            rule = Rule(rule.name, rule.text, rule.numbers, everything=True)
        if len(key) <= _MAX_REMEMBERED_CHARS:
            if len(self._rules) >= _MAX_RULES:
                self._rules.clear()
            self._rules[key] = rule
        return rule

    def _redacted_key(self, key: str, effort: Effort | None) -> str:
        """Return a key with each match replaced, and remember it: the same keys come with every span."""
        redacted = self._redacted_keys.get(key)
        if redacted is None:
            redacted = self.redacted_text(key, Counter(), effort)
            if len(key) <= _MAX_REMEMBERED_CHARS and not (effort is not None and effort.is_spent):
                if len(self._redacted_keys) >= _MAX_RULES:
                    self._redacted_keys.clear()
                self._redacted_keys[key] = redacted
        return redacted

    def _allows(self, key: str) -> bool:
        return any(
            key.startswith(allowed[:-1]) if allowed.endswith(".*") else key == allowed for allowed in self.content_allow
        )

    def _all_redacted(
        self, attributes: dict[str, Any], counts: Counter[str], effort: Effort | None = None
    ) -> dict[str, Any]:
        """Return the attributes with every text redacted: values, and keys that are not known names.

        Numbers under known names stay numbers, so that counts of tokens can be summed.
        """
        kept: dict[str, Any] = {}
        alike: Counter[str] = Counter()
        rules = self._rules
        for key, value in attributes.items():
            known = (rules.get(key) or self._rule(key)).text is not None
            if not known and (redacted := self._redacted_key(key, effort)) != key:
                counts["content_redacted"] += 1
                key = redacted
                while key in kept or key in attributes:
                    alike[redacted] += 1
                    number = alike[redacted]
                    key = f"{redacted}_{number if number > 1 else ''}"
            kept[key] = value if known and isinstance(value, int | float) else self.redacted(value, counts, effort)
        return kept


def _tells_of_exception(key: str, value: Any) -> bool:
    """Return whether an attribute holds the words of an exception; ``error: true`` does not."""
    return key in _HOLD_EXCEPTIONS and not isinstance(value, int | float)


def _fact_list(items: tuple[Any, ...], rule: Rule) -> tuple[Any, ...] | None:
    """Return a list of facts, or ``None``: a list of words may be a sentence, and a list of numbers a vector."""
    if rule.text is None or len(items) > _MAX_ITEMS:
        return None
    texts = {item for item in items if type(item) is str}
    if len(texts) > _FEW_TOKENS and not all(any(map(str.isdigit, text)) for text in texts):
        return None
    if not all(rule.text(item) == item if type(item) is str else type(item) in (int, float, bool) for item in items):
        return None
    return items


def count_dropped(names: list[str], counts: Counter[str], dropped: Counter[str] | None) -> None:
    """Count what was dropped; ``dropped`` holds a limited number of names."""
    counts["content_dropped"] += len(names)
    if dropped is not None:
        for name in names:
            count_name(name, dropped)


def count_name(name: str, counter: Counter[str]) -> None:
    """Count a name, or `OTHER_KEYS` once there are `MAX_COUNTED_KEYS` names: hostile spans have any number of keys."""
    counter[name if name in counter or len(counter) < MAX_COUNTED_KEYS else OTHER_KEYS] += 1


def configured(
    content: Content,
    expressions: tuple[Expression, ...],
    pii: Pii,
    user: User,
    *,
    content_allow: tuple[str, ...] = (),
    exceptions: Exceptions | None = None,
    user_hash_key: str | None = None,
) -> Privacy:
    """Return the policy of the settings, whose expressions are in RE2's syntax."""
    return Privacy(
        content=content,
        pii=pii,
        user=user,
        content_allow=content_allow,
        exceptions=exceptions,
        user_hash_key=user_hash_key,
        _expressions=expressions,
    )
