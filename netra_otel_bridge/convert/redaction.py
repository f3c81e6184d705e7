"""Replace what the expressions of a policy find, in a text and in whatever a reader decodes from it.

A text that holds JSON, or a list or dictionary as Python writes it, is searched as the bridge reads it: in its strings,
keys and numbers. Escapes are read in any other text too, because it may be cut or hold JSON somewhere inside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from netra_otel_bridge.convert.effort import Effort
from netra_otel_bridge.convert.llm.parts import decoded
from netra_otel_bridge.core.escapes import Sources, unescaped
from netra_otel_bridge.core.expressions import MAX_SCANNED_BYTES, Expression, in_bytes, replaced
from netra_otel_bridge.core.json_text import write_json

REDACTED = "[redacted]"

_MARK = REDACTED.encode()
_COUNT = "content_redacted"
_MAX_LEVELS = 16
"""Levels of escapes that are read. JSON doubles the backslashes with each level, so no healthy text has as many."""
_BYTES_FOR_ESCAPE = 64
"""Bytes that a search reads in the time that an escape takes, for the limit of what the searches read."""
_CHARS_FOR_TEXT = 64
"""Characters that count for a text beside its own: a search in a short text takes the time of its call."""
_HOLDERS = (dict, list, tuple)


class Redaction:
    """Redacts by some expressions; ``counts`` counts what was replaced.

    Once ``effort`` is spent, each text is redacted whole. The searches in one text read ``max_scanned_bytes`` at most
    for each expression, as `Expression.replace` says, and what they do not reach is redacted.
    """

    __slots__ = ("_expressions",)

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._expressions = expressions

    def text(
        self,
        text: str,
        counts: Counter[str],
        effort: Effort | None = None,
        max_scanned_bytes: int = MAX_SCANNED_BYTES,
        *,
        decodes: bool = True,
    ) -> str:
        """Return a text with each match replaced, also those that only who decodes it would see.

        Without ``decodes``, escapes are read, but no JSON as a whole.
        """
        if not text:
            return text
        redacted = self._flat(text, counts, effort, max_scanned_bytes)
        if decodes and text[0] in "{[ \t\r\n" and not (effort is not None and effort.is_spent):
            redacted = self._in_json(text, redacted, counts, effort, max_scanned_bytes)
        if "\\" in redacted:
            redacted = self._in_escapes(redacted, counts, effort, max_scanned_bytes)
        return redacted

    def value(self, value: Any, counts: Counter[str], effort: Effort | None = None) -> Any:
        """Return a value of any type with each match replaced; a number that matches becomes text."""
        if isinstance(value, str):
            return self.text(value, counts, effort)
        if isinstance(value, bytes):
            text = self.text(value.decode("utf-8", "surrogateescape"), counts, effort)
            return text.encode("utf-8", "surrogateescape")
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = str(value)
            redacted = self.text(text, counts, effort)
            return value if redacted == text else redacted
        if isinstance(value, tuple):
            return tuple(self.value(item, counts, effort) for item in value)
        if isinstance(value, list):
            return [self.value(item, counts, effort) for item in value]
        if isinstance(value, dict):
            return {self.text(key, counts, effort): self.value(item, counts, effort) for key, item in value.items()}
        return value

    def _flat(self, text: str, counts: Counter[str], effort: Effort | None, max_scanned_bytes: int) -> str:
        for expression in self._expressions:
            if effort is not None and not effort.allows(len(text) + _CHARS_FOR_TEXT):
                counts[_COUNT] += 1
                return REDACTED
            text, found = expression.replace(text, REDACTED, max_scanned_bytes)
            if found:
                counts[_COUNT] += found
        return text

    def _in_json(
        self, text: str, redacted: str, counts: Counter[str], effort: Effort | None, max_scanned_bytes: int
    ) -> str:
        """Return a redacted text that holds a list or an object, written anew if more is found in it.

        A match may span what holds JSON together, or be a number. If the text is no JSON any more, its values are
        redacted instead, so that others can still read it.
        """
        holder = decoded(redacted)
        if not isinstance(holder, _HOLDERS) and redacted != text:
            holder = decoded(text)
        if not isinstance(holder, _HOLDERS):
            return redacted
        found: Counter[str] = Counter()
        try:
            written = self.value(holder, found, effort)
        except RecursionError:
            counts[_COUNT] += 1
            return REDACTED
        if not found:
            return redacted
        counts.update(found)
        return self._flat(write_json(written), counts, effort, max_scanned_bytes)

    def _in_escapes(self, text: str, counts: Counter[str], effort: Effort | None, max_scanned_bytes: int) -> str:
        """Return a text with the parts replaced that match once their escapes are read, at any level of these."""
        original, errors = in_bytes(text)
        levels = [original]
        matches: list[list[tuple[int, int]]] = [[]]
        escapes = 0
        while b"\\" in levels[-1]:
            escapes += levels[-1].count(b"\\")
            too_many = len(levels) > _MAX_LEVELS or escapes * _BYTES_FOR_ESCAPE > max_scanned_bytes
            if too_many or (effort is not None and not effort.allows(len(levels[-1]))):
                counts[_COUNT] += 1
                return REDACTED
            data = unescaped(levels[-1])
            if data == levels[-1]:
                break
            levels.append(data)
            matches.append(
                [place for expression in self._expressions for place in expression.find(data, _MARK, max_scanned_bytes)]
            )
        if not any(matches):
            return text
        places = _merged(_in_first(levels, matches))
        counts[_COUNT] += len(places)
        return replaced(original, places, _MARK).decode("utf-8", errors)


def _in_first(levels: list[bytes], matches: list[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """Return the places in the first level from which those of all levels were read."""
    places: list[tuple[int, int]] = []
    for level, found in zip(reversed(levels[:-1]), reversed(matches[1:]), strict=True):
        places += found
        if places:
            sources = Sources(level)
            places = [sources.source(*place) for place in places]
    return places


def _merged(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the places in order, those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(places):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
