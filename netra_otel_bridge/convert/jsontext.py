"""JSON in strings: reading what Netra put there, and writing what has no attribute type of its own."""

from __future__ import annotations

import json
from typing import Any

import msgspec

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_MAX_INT_DIGITS = 19


def clean_text(text: str) -> str:
    """The text with each lone surrogate written as ``\\udXXX``, so that it has a UTF-8 form."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def read_json(text: str) -> Any:
    """The value of a JSON text, or ``None`` if it is not JSON (``null`` means the same to every caller).

    Also reads what strict parsers refuse: ``NaN``, ``Infinity``, integers of any length (beyond 19 digits as text)
    and lone surrogates (as ``\\udXXX``).
    """
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        pass
    try:
        return clean_value(json.loads(text, parse_int=_int_or_text))
    except (ValueError, RecursionError):
        return None


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
    """A decoded value as compact JSON text."""
    try:
        return _encoder.encode(value).decode()
    except (OverflowError, TypeError, ValueError):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _int_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_INT_DIGITS else digits
