"""Bound the number of values in a JSON text before a parser builds them.

A parser turns three bytes (``{},``) into a hundred. The check below costs about a nanosecond a byte, or five if a text
has very many commas inside of strings, and holds no more than a piece of the text at a time.
"""

from __future__ import annotations

import re
from typing import Any

_PIECE_BYTES = 1 << 18
_OPENING = b",[{"
_OTHERS = bytes(set(range(256)) - set(_OPENING))
_MIN_VALUE_BYTES = 2
"""Bytes of the shortest value in a list: a digit and a comma. Nesting is shorter, but parsers limit its depth."""
_NO_LIMIT = 1 << 62
LONG_DIGITS = 2 * 256
_STEP = LONG_DIGITS // 2
_TWO_DIGITS = re.compile(rb"[0-9](?=[0-9])")
_TWO_DIGITS_TEXT = re.compile(r"[0-9](?=[0-9])")


def holds_more_values(text: str | bytes, limit: int) -> bool:
    """Return whether JSON holds more than about ``limit`` values: members of objects and lists, at any depth.

    Any text may be given. What does not parse is counted up to the place where parsers stop.
    """
    if len(text) <= limit * _MIN_VALUE_BYTES:
        return False
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return _holds_more_marks(data, limit) and _holds_more_marks_outside_strings(data, limit)


def holds_long_number(text: str | bytes) -> bool:
    """Return whether a text holds a run of `LONG_DIGITS` digits, which a parser needs much time to make a number of.

    Some shorter runs count too. It looks at each 256th character, and between two only if both are digits.
    """
    sample = text[::_STEP]
    found = _TWO_DIGITS_TEXT.finditer(sample) if isinstance(sample, str) else _TWO_DIGITS.finditer(sample)
    return any(text[at.start() * _STEP : (at.start() + 1) * _STEP].isdigit() for at in found)


def is_larger(value: object, limit: int) -> bool:
    """Return whether a decoded value holds more than ``limit`` values, at any depth."""
    return count_values(value, limit) > limit


def count_values(value: object, limit: int = _NO_LIMIT) -> int:
    """Return the number of values inside of a decoded value, at any depth; any number above ``limit`` if it is more."""
    waiting: list[Any] = [value]
    count = 0
    while waiting and count <= limit:
        inner = waiting.pop()
        if isinstance(inner, dict | list):
            count += len(inner)
            waiting += inner.values() if isinstance(inner, dict) else inner
    return count


def _holds_more_marks(data: bytes, limit: int) -> bool:
    """Return whether there are more than ``limit`` commas and opening brackets, including those inside of strings."""
    count = 0
    for start in range(0, len(data), _PIECE_BYTES):
        count += len(data[start : start + _PIECE_BYTES].translate(None, _OTHERS))
        if count > limit:
            return True
    return False


def _holds_more_marks_outside_strings(data: bytes, limit: int) -> bool:
    count = 0
    in_string = False
    escape = b""
    for start in range(0, len(data), _PIECE_BYTES):
        piece = (escape + data[start : start + _PIECE_BYTES]).replace(rb"\\", b"")
        escape = b"\\" if piece.endswith(b"\\") else b""
        parts = piece.replace(rb"\"", b"").split(b'"')
        count += sum(len(part.translate(None, _OTHERS)) for part in parts[in_string::2])
        if count > limit:
            return True
        in_string ^= len(parts) % 2 == 0
    return False
