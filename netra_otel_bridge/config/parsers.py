"""Parsers of settings.

Each accepts text or a YAML value, and raises a ``ValueError`` that says what it expected. The reference of the settings
quotes these messages.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from netra_otel_bridge.core.attribute_names import ALLOWED, ALLOWED_RULE
from netra_otel_bridge.core.clock import NS_PER_MS
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.expressions import Expression
from netra_otel_bridge.core.time_text import duration_text, parse_duration_ns

_MAX_DURATION_NS = 36_525 * 86_400 * 10**9
"""100 years."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")


class Secret:
    """A text that ``repr`` and ``str`` never show."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def parse_text(value: Any) -> str:
    """Return text without surrounding white space, or a number as text."""
    if not isinstance(value, str | int | float) or isinstance(value, bool) or not str(value).strip():
        raise ValueError("expected text")
    return str(value).strip()


def parse_path(value: Any) -> str:
    """Return a path as text."""
    return parse_text(os.fspath(value) if isinstance(value, os.PathLike) else value)


def parse_secret(value: Any) -> Secret:
    """Return a key or a token, which an HTTP header must be able to carry."""
    text = parse_text(value)
    if any(ord(character) < 32 for character in text):
        raise ValueError("expected a key without line breaks or control characters")
    return Secret(text)


def parse_bool(value: Any) -> bool:
    """Return the truth value of ``true``, ``1``, ``yes``, ``on`` and their opposites, in any case."""
    text = str(value).strip().lower()
    if text not in (*_TRUE, *_FALSE):
        raise ValueError("expected true or false")
    return text in _TRUE


def one_of(*words: str) -> Callable[[Any], str]:
    """Return a parser for one of ``words``."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return str(value)

    return parse


def whole_number(low: int, high: int) -> Callable[[Any], int]:
    """Return a parser for a whole number from ``low`` to ``high``."""

    def parse(value: Any) -> int:
        try:
            number = int(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        truncated = isinstance(value, float) and number != value
        if number is None or truncated or not low <= number <= high:
            raise ValueError(f"expected a whole number from {low:.12g} to {high:.12g}")
        return number

    return parse


def decimal_number(low: float, high: float) -> Callable[[Any], float]:
    """Return a parser for a number from ``low`` to ``high``."""

    def parse(value: Any) -> float:
        try:
            number = float(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or not low <= number <= high:
            raise ValueError(f"expected a number from {low:.12g} to {high:.12g}")
        return number

    return parse


def parse_texts(value: Any) -> tuple[str, ...]:
    """Return the items of a list, or of text with commas between them; empty ones are left out."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError("expected a list, or text with commas between the items")
    return tuple(item.strip() for item in items if item.strip())


def parse_allowed_names(value: Any) -> tuple[str, ...]:
    """Return names of attributes, each exact or as ``prefix.*``."""
    items = parse_texts(value)
    if not all(map(ALLOWED.fullmatch, items)):
        raise ValueError(ALLOWED_RULE)
    return items


def parse_patterns(value: Any) -> tuple[Expression, ...]:
    """Return one regular expression in RE2's syntax, or a list of them."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError("expected a list of regular expressions")
    try:
        return tuple(map(Expression, items))
    except ValueError as error:
        raise ValueError(f"expected regular expressions: {error}") from None


def duration(shortest_ns: int) -> Callable[[Any], int]:
    """Return a parser for a duration of at least ``shortest_ns``, rounded to the millisecond.

    Windows are listed in milliseconds: one that began between two milliseconds would miss the traces that start there.
    """
    rule = f"expected a duration from {duration_text(shortest_ns)} to 100 years"

    def parse(value: Any) -> int:
        try:
            ns = round(parse_duration_ns(str(value)) / NS_PER_MS) * NS_PER_MS
        except UsageError as error:
            raise ValueError(str(error)) from None
        except OverflowError:
            raise ValueError(rule) from None
        if not shortest_ns <= ns <= _MAX_DURATION_NS:
            raise ValueError(rule)
        return ns

    return parse


def parse_headers(value: Any) -> dict[str, Secret]:
    """Return the headers in ``k=v,k2=v2`` with percent-encoded values, as netra-sdk reads ``NETRA_HEADERS``.

    That form is W3C's correlation context. In the file a mapping works too. Names become lower case.
    """
    if isinstance(value, Mapping):
        pairs = [(str(key), "=", "" if item == "" else parse_text(item)) for key, item in value.items()]
    else:
        pairs = [pair.partition("=") for pair in parse_text(value).split(",") if pair.strip()]
        pairs = [(key, equals, unquote(item.strip())) for key, equals, item in pairs]
    headers: dict[str, Secret] = {}
    for key, equals, item in pairs:
        if not equals or not _HEADER_NAME.fullmatch(key.strip()):
            raise ValueError("expected name=value pairs with commas between them")
        headers[key.strip().lower()] = parse_secret(item) if item else Secret("")
    return headers


def parse_destinations(value: Any) -> dict[str, str]:
    """Return a mapping from names to destinations."""
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("expected names, each with a destination")
    return {str(key): item for key, item in value.items()}


def parse_budgets(value: Any) -> dict[str, float]:
    """Return a mapping from tenants to US dollars; as text, ``tenant=dollars,tenant2=dollars`` with encoded tenants."""
    if isinstance(value, str):
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        value = {unquote(tenant.strip()): amount for tenant, _, amount in pairs}
    if not isinstance(value, Mapping):
        raise ValueError("expected tenants, each with US dollars")  # noqa: TRY004  one error type for all parsers
    if not all(str(tenant).strip() for tenant in value):
        raise ValueError("expected a tenant before each =")
    amount = decimal_number(0, 1e12)
    try:
        return {str(tenant): amount(dollars) for tenant, dollars in value.items()}
    except ValueError:
        raise ValueError("expected tenants, each with US dollars") from None
