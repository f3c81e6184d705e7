"""Read the escapes that JSON and Python write in strings, and find the place in the text that a reader's text came from."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from functools import lru_cache

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}"
    rb"|[\"'\\/abfnrtv])"
)
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_SIMPLE = tuple(
    (b"\\" + letter, _LETTERS.get(letter, letter))
    for letter in (b"n", b'"', b"t", b"r", b"/", b"'", b"b", b"f", b"a", b"v")
)
_CODED = re.compile(rb"\\[uUx]")
_BACKSLASH = b"\0"
"""Stands for an escaped backslash meanwhile: JSON and Python write this character as an escape."""
_SURROGATES = range(0xD800, 0xE000)
_CODE_POINTS = 0x110000


def unescaped(text: bytes) -> bytes:
    """Return a text with its escapes read once: JSON in a string of JSON has a second level of them."""
    if b"\\" not in text:
        return text
    if _BACKSLASH in text or _CODED.search(text):
        return _ESCAPE.sub(lambda match: _meaning(match[0]) or match[0], text)
    text = text.replace(rb"\\", _BACKSLASH)
    for escape, meaning in _SIMPLE:
        text = text.replace(escape, meaning)
    return text.replace(_BACKSLASH, b"\\")


class Sources:
    """The places in a text from which the parts of `unescaped` were read."""

    __slots__ = ("_ends", "_places", "_sources", "_stops")

    def __init__(self, text: bytes) -> None:
        self._places, self._ends = array("q"), array("q")
        self._sources, self._stops = array("q"), array("q")
        read = at = 0
        for match in _ESCAPE.finditer(text):
            meaning = _meaning(match.group())
            if not meaning:
                continue
            start, stop = match.span()
            at += start - read
            self._places.append(at)
            self._sources.append(start)
            at += len(meaning)
            self._ends.append(at)
            self._stops.append(stop)
            read = stop

    def source(self, start: int, stop: int) -> tuple[int, int]:
        """Return the part of the text from which a part was read, with whole escapes."""
        at = bisect_right(self._places, start) - 1
        if at >= 0:
            end = self._ends[at]
            start = self._sources[at] if start < end else self._stops[at] + start - end
        at = bisect_left(self._places, stop) - 1
        if at >= 0:
            stop = self._stops[at] + max(stop - self._ends[at], 0)
        return start, stop


@lru_cache(maxsize=8192)
def _meaning(escape: bytes) -> bytes:
    """Return the UTF-8 of an escape, or nothing for one that stands for no character."""
    letter = escape[1:2]
    if letter not in b"uUx":
        return _LETTERS.get(letter, letter)
    code = int(escape[2:6] if letter == b"u" else escape[2:], 16)
    if len(escape) > 10 or (letter == b"u" and len(escape) > 6):
        code = 0x10000 + (code - 0xD800) * 0x400 + int(escape[8:], 16) - 0xDC00
    return chr(code).encode() if code not in _SURROGATES and code < _CODE_POINTS else b""
