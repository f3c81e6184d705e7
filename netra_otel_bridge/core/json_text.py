"""Read JSON that strict parsers reject, and write any decoded value."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from decimal import Decimal
from typing import Any

import msgspec

from netra_otel_bridge.core.json_bounds import holds_long_number, holds_more_values

MAX_VALUES = 50_000
"""Maximum values in a JSON text of a span, at any depth. More would take more than a moment to convert."""
_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_MAX_INT_DIGITS = 4000
"""Longer integers stay text: Python refuses to convert more than 4300 digits, because that is slow."""
MAX_DIGITS_OF_MANY = 100
"""Limit of digits in a large text, which may hold very many long integers."""
LARGE_TEXT = 1 << 16
"""Characters from which on a text may hold enough long numbers to take more than a moment."""


def clean_text(text: str) -> str:
    """Return the text with each lone surrogate written as ``\\udXXX``, so that it can be encoded in UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def read_json(text: str) -> Any:
    """Return the value of a JSON text, or ``None`` if it is not JSON (callers treat that like ``null``).

    A text of more than `MAX_VALUES` values gives ``None`` too. It also reads JSON that strict parsers reject: see
    `read_lenient`.
    """
    if holds_more_values(text, MAX_VALUES):
        return None
    max_digits = _MAX_INT_DIGITS
    if len(text) > LARGE_TEXT and holds_long_number(text):
        max_digits = MAX_DIGITS_OF_MANY
    else:
        try:
            return _decoder.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            pass
    try:
        return read_lenient(text, max_digits)
    except (ValueError, RecursionError):
        return None


def read_lenient(text: str | bytes, max_digits: int = _MAX_INT_DIGITS) -> Any:
    """Return the value of JSON with ``NaN``, ``Infinity``, lone surrogates and integers of any length.

    Integers of more than ``max_digits`` digits become text. A lone surrogate becomes its escape as text (``\\udXXX``), because
    UTF-8 cannot encode it. Raises ``ValueError`` if it is not JSON, ``RecursionError`` if it is nested too deeply.
    """

    def number(digits: str) -> int | str:
        return int(digits) if len(digits) <= max_digits else digits

    return clean_value(json.loads(text, parse_int=number))


def clean_value(value: Any) -> Any:
    """Apply `clean_text` to every string and key inside a decoded value."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [clean_value(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): clean_value(item) for key, item in value.items()}
    return value


def write_json(value: Any) -> str:
    """Return any decoded value as compact JSON: bytes as base64, ``NaN`` and the infinities as strings.

    The fast encoder rejects deep nesting, integers beyond 64 bits and lone surrogates, and writes ``NaN`` as ``null``.
    """
    try:
        encoded = _encoder.encode(value)
    except (OverflowError, TypeError, ValueError, RecursionError):
        return _write_any(value)
    return _write_any(value) if b"null" in encoded else encoded.decode()


def int_text(value: int) -> str:
    """Return the digits of an integer, even of one with more than 4300 digits, which ``str`` rejects."""
    try:
        return str(value)
    except ValueError:
        return format(Decimal(value), "f")


class _Written(str):
    """JSON text, among values that are still to be written."""

    __slots__ = ()


def _write_any(value: Any) -> str:
    """Write JSON without recursion, so that nesting may have any depth."""
    parts: list[str] = []
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _Written):
            parts.append(item)
        elif isinstance(item, dict):
            waiting.append(_Written("}"))
            for number, (key, inner) in reversed(list(enumerate(item.items()))):
                waiting += (inner, _Written(f"{',' if number else ''}{_write_text(str(key))}:"))
            parts.append("{")
        elif isinstance(item, list | tuple):
            waiting.append(_Written("]"))
            for number, inner in reversed(list(enumerate(item))):
                waiting += (inner, _Written("," if number else ""))
            parts.append("[")
        else:
            parts.append(_write_scalar(item))
    return "".join(parts)


def _write_scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return int_text(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else json.dumps(not_finite(value))
    return _write_text(b64encode(value).decode() if isinstance(value, bytes) else str(value))


def _write_text(text: str) -> str:
    return json.dumps(clean_text(text), ensure_ascii=False)


def not_finite(value: float) -> str:
    """Return the name that OTLP's JSON gives to ``NaN`` or an infinity."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
