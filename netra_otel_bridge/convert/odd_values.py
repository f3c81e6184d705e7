"""Values that few consumers can show: NaN and the infinities, and keys that are recorded twice.

OTLP carries them, but one NaN makes Jaeger fail for its trace and for each search that would list it. So every profile
but ``raw`` writes these numbers as text. All profiles name what they found in ``netra.bridge.notes``.
"""

from __future__ import annotations

from collections.abc import Container
from math import isfinite
from typing import Any

from netra_otel_bridge.core.json_text import not_finite

NOT_FINITE, REPEATED_KEY = "not_finite", "repeated_key"
_MAX_NOTES = 16
_MAX_KEY_CHARS = 60


class OddValues:
    """The odd values of one span or resource, each noted by what it is and the key that holds it.

    ``as_text`` decides whether NaN and the infinities become text. ``where`` precedes the keys of what is not an
    attribute of the span itself: ``events.``, ``links.``, ``metadata.``.
    """

    __slots__ = ("as_text", "found", "repeats", "where")

    def __init__(self, *, as_text: bool) -> None:
        self.as_text = as_text
        self.where = ""
        self.repeats = False
        """A key/value list inside of the current value had a key twice."""
        self.found: dict[tuple[str, str, str], None] = {}

    def note(self, kind: str, key: str) -> None:
        """Note that the value under ``key`` is odd."""
        self.found[kind, self.where, key] = None

    def shown(self, key: str, value: Any) -> Any:
        """Return a value that may hold floats as it is to be sent."""
        if not holds_not_finite(value):
            return value
        self.note(NOT_FINITE, key)
        return _as_text(value) if self.as_text else value

    def take_notes(self, kept: Container[str]) -> list[str]:
        """Return the notes about the keys that are ``kept``, 16 at most, and forget all that was found."""
        named = [f"{kind}:{where}{key[:_MAX_KEY_CHARS]}" for kind, where, key in self.found if where + key in kept]
        self.found.clear()
        return named[:_MAX_NOTES]


def holds_not_finite(value: Any) -> bool:
    """Return whether a value is, or holds at any depth, NaN or an infinity."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is float:
            if not isfinite(item):
                return True
        elif kind is tuple or kind is list:
            waiting += item
        elif kind is dict:
            waiting += item.values()
    return False


def _as_text(value: Any) -> Any:
    """Return a value with NaN and the infinities as text, and with them all numbers of the same list."""
    if type(value) is float:
        return value if isfinite(value) else not_finite(value)
    if type(value) is dict:
        return {key: _as_text(item) for key, item in value.items()}
    if type(value) is not tuple:
        return value
    if {int, float}.issuperset(map(type, value)) and not all(map(isfinite, value)):
        return tuple(str(item) if isfinite(item) else not_finite(item) for item in value)
    return tuple(map(_as_text, value))
