"""JSON as services write it: reading what strict parsers refuse, and writing whatever was read."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from decimal import Decimal
from typing import Any

import msgspec

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_MAX_INT_DIGITS = 4000
"""Longer integers stay text: Python refuses to convert more than 4300 digits, for the time it takes."""


def clean_text(text: str) -> str:
    """The text with each lone surrogate written as ``\\udXXX``, so that it has a UTF-8 form."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def read_json(text: str) -> Any:
    """The value of a JSON text, or ``None`` if it is not JSON (``null`` means the same to every caller).

    Also reads what strict parsers refuse: see `read_lenient`.
    """
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        pass
    try:
        return read_lenient(text)
    except (ValueError, RecursionError):
        return None


def read_lenient(text: str | bytes) -> Any:
    """JSON with ``NaN`` and ``Infinity``, integers of any length (beyond 4000 digits as text), and lone surrogates.

    A lone surrogate becomes its own escape as text (``\\udXXX``), since no UTF-8 can carry it. Raises ``ValueError``
    for what is not JSON, ``RecursionError`` for nesting beyond what Python reads.
    """
    return clean_value(json.loads(text, parse_int=_int_or_text))


def clean_value(value: Any) -> Any:
    """`clean_text` for every string and key inside a decoded value."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [clean_value(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): clean_value(item) for key, item in value.items()}
    return value


def write_json(value: Any) -> str:
    """A decoded value as compact JSON text, whatever it is: bytes as base64, ``NaN`` and the infinities as texts.

    The quick encoder refuses deep nesting, integers beyond 64 bits and lone surrogates, and writes ``NaN`` as ``null``.
    """
    try:
        encoded = _encoder.encode(value)
    except (OverflowError, TypeError, ValueError, RecursionError):
        return _write_any(value)
    return _write_any(value) if b"null" in encoded else encoded.decode()


def int_text(value: int) -> str:
    """The digits of an integer; ``str`` refuses those with more than 4300."""
    try:
        return str(value)
    except ValueError:
        return format(Decimal(value), "f")


class _Written(str):
    """JSON text that is done, among values that are not."""

    __slots__ = ()


def _write_any(value: Any) -> str:
    """`write_json` without recursion, so that no depth of nesting ends it."""
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
    """The names that OTLP's JSON gives to ``NaN`` and the infinities."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _int_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_INT_DIGITS else digits
