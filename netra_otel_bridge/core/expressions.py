"""Find text with a regular expression in linear time, through RE2 (docs/adr/0024).

Python's `re` goes back and tries again, so a short expression and a text of the attacker's choice can run for hours.
RE2 reads each character once per search. It has no look-around and no back-references, which need going back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

MAX_SCANNED_BYTES = 2**28
"""The limit of what the searches in one text may read together, less than a second.

An expression such as ``a.*b|a`` reads to the end of the text for each match. Linear time for one search is not linear
time for all of them.
"""
SYNTAX = "https://github.com/google/re2/wiki/Syntax"
_ADVICE = (
    (
        re.compile(r"\(\?<?[=!]|\(\?<$"),
        "look-around is not supported: match the text itself, without what surrounds it",
    ),
    (re.compile(r"escape sequence: \\[1-9]"), "back-references are not supported: match the repeated text by its form"),
    (re.compile(r"\(\?P$"), "back-references are not supported: match the repeated text by its form"),
    (re.compile(r"escape sequence: \\Z"), r"write \z for the end of the text"),
    (re.compile(r"\(\?[a-z]*x"), "verbose expressions are not supported: write it without white space and comments"),
    (re.compile(r"\(\?>|operator: [*+?}]\+"), "atomic and possessive forms are not supported, and are not needed here"),
    (re.compile(r"repetition size"), "repeat at most 1000 times"),
)
_FLAGS = ((re.IGNORECASE, "i"), (re.MULTILINE, "m"), (re.DOTALL, "s"))


class Expression:
    """A regular expression in RE2's syntax. Raises ``ValueError``, with what to do, if RE2 cannot take it."""

    __slots__ = ("_finder", "flags", "pattern")

    def __init__(self, pattern: str, flags: str = "") -> None:
        self.pattern = pattern
        self.flags = flags
        self._finder = _compiled(pattern)
        if flags:
            self._finder = _compiled(f"(?{flags})(?:{pattern})")

    @classmethod
    def of(cls, compiled: re.Pattern[str]) -> Expression:
        """Return the expression for one that `re` compiled, with its flags."""
        if compiled.flags & re.VERBOSE:
            raise ValueError(_refused(compiled.pattern, "(?x"))
        return cls(compiled.pattern, "".join(letter for flag, letter in _FLAGS if compiled.flags & flag))

    def replace(self, text: str, replacement: str, max_scanned_bytes: int = MAX_SCANNED_BYTES) -> tuple[str, int]:
        """Replace what matches; return the text and the number of matches, of which empty ones do not count.

        ``replacement`` is literal, and stays where it is in the text. After ``max_scanned_bytes``, the rest of the text is replaced as if it were one match.
        """
        data, errors = in_bytes(text)
        places = self.find(data, replacement.encode(), max_scanned_bytes)
        if not places:
            return text, 0
        return replaced(data, places, replacement.encode()).decode("utf-8", errors), len(places)

    def find(
        self, data: bytes, replacement: bytes, max_scanned_bytes: int = MAX_SCANNED_BYTES
    ) -> list[tuple[int, int]]:
        """Return the places of the matches that `replace` replaces, in order."""
        places: list[tuple[int, int]] = []
        marks = [mark.span() for mark in re.finditer(re.escape(replacement), data)] if replacement in data else []
        scanned = end = passed = 0
        for match in self._finder.finditer(data):
            start, stop = match.span()
            if start == stop:
                continue
            scanned += len(data) - end
            end = stop
            over = scanned > max_scanned_bytes
            while passed < len(marks) and marks[passed][1] < stop:
                passed += 1
            if over or passed == len(marks) or start < marks[passed][0]:
                places.append((start, stop))
            if over and stop < len(data):
                places.append((stop, len(data)))
                break
        return places

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and (self.pattern, self.flags) == (other.pattern, other.flags)

    def __hash__(self) -> int:
        return hash((self.pattern, self.flags))

    def __repr__(self) -> str:
        return f"Expression({self.pattern!r})"


def in_bytes(text: str) -> tuple[bytes, str]:
    """Return the UTF-8 of a text, and the handling of errors that decodes it again: a text may have lone surrogates."""
    errors = "surrogateescape"
    try:
        return text.encode("utf-8", errors), errors
    except UnicodeEncodeError:
        errors = "surrogatepass"
        return text.encode("utf-8", errors), errors


def replaced(data: bytes, places: Iterable[tuple[int, int]], replacement: bytes) -> bytes:
    """Return the text with something else in places that are in order and do not overlap."""
    kept: list[bytes] = []
    end = 0
    for start, stop in places:
        kept.append(data[end:start])
        end = stop
    kept.append(data[end:])
    return replacement.join(kept)


def _compiled(pattern: str) -> Any:
    import re2  # loaded only where there is an expression

    options = re2.Options()
    options.never_capture = True
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        raise ValueError(
            _refused(pattern, said.decode("utf-8", "replace") if isinstance(said, bytes) else said)
        ) from None
    except UnicodeEncodeError:
        raise ValueError(_refused(pattern, "it is not valid Unicode")) from None


def _refused(pattern: str, reason: str) -> str:
    advice = next((advice for said, advice in _ADVICE if said.search(reason)), f"the syntax is RE2's, {SYNTAX}")
    return f"{pattern!r:.120} is refused ({reason:.120}): {advice}"
