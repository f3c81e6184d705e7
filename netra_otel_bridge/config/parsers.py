"""Parse the text of a setting into its value."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from netra_otel_bridge.core.clock import NS_PER_MS
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.time_text import duration_text, parse_duration_ns

_MAX_DURATION_NS = 36_525 * 86_400 * 10**9
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Secret:
    """A text that never prints itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def parse_text(value: Any) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool) or not str(value).strip():
        raise ValueError("expected a text")
    return str(value).strip()


def parse_path(value: Any) -> str:
    return parse_text(os.fspath(value) if isinstance(value, os.PathLike) else value)


def parse_secret(value: Any) -> Secret:
    text = parse_text(value)
    if any(ord(character) < 32 for character in text):
        raise ValueError("expected a key without line breaks or control characters")
    return Secret(text)


def parse_flag(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in ("true", "1", "yes", "on", "false", "0", "no", "off"):
        raise ValueError("expected true or false")
    return text in ("true", "1", "yes", "on")


def one_of(*words: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return str(value)

    return parse


def number_between(low: float, high: float, kind: type[int] | type[float]) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        try:
            number = kind(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        cut = isinstance(value, float) and number != value
        if number is None or cut or not low <= number <= high:
            raise ValueError(f"expected {'a whole' if kind is int else 'a'} number from {low:.12g} to {high:.12g}")
        return number

    return parse


def parse_list(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError("expected a list of texts")
    return tuple(item.strip() for item in items if item.strip())


def parse_patterns(value: Any) -> tuple[re.Pattern[str], ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ValueError("expected a list of regular expressions")  # noqa: TRY004  one error type for all parsers
    try:
        return tuple(re.compile(item) for item in items)
    except (re.error, TypeError) as error:
        raise ValueError(f"expected regular expressions: {error}") from None


def duration_between(shortest_ns: int) -> Callable[[Any], int]:
    """To the millisecond: windows are listed in that unit, and one that began between two would miss what starts there."""
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
    """``k=v,k2=v2`` with percent-encoded values (W3C correlation context), as netra-sdk reads ``NETRA_HEADERS``."""
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
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("expected names, each with a destination")
    return {str(key): item for key, item in value.items()}


def parse_budgets(value: Any) -> dict[str, float]:
    """A mapping, or ``tenant=dollars,tenant2=dollars`` with percent-encoded tenants."""
    if isinstance(value, str):
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        value = {unquote(tenant.strip()): amount for tenant, _, amount in pairs}
    if not isinstance(value, Mapping):
        raise ValueError("expected tenants, each with US dollars")  # noqa: TRY004  one error type for all parsers
    if not all(str(tenant).strip() for tenant in value):
        raise ValueError("expected a tenant before each =")
    amount = number_between(0, 1e12, float)
    try:
        return {str(tenant): amount(dollars) for tenant, dollars in value.items()}
    except ValueError:
        raise ValueError("expected tenants, each with US dollars") from None
