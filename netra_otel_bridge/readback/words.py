"""Say in words how spans differ, without the setting that may cause it (`hints`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from netra_otel_bridge.core.outside_text import safe_line
from netra_otel_bridge.readback.compare import Difference, Part

MAX_NAMED = 4
"""Maximum differences that one line names."""
_MAX_KEY_CHARS = 80
_NUMBER = re.compile(r"\.\d+(?=\.|$)")
_OF: dict[Part, str] = {
    "attribute": "",
    "event attribute": " of an event",
    "link attribute": " of a link",
    "resource attribute": " of the resource",
    "scope attribute": " of the scope",
}
_ARE = frozenset[Part](("dropped counts",))
Named = tuple[Part, str, str]
"""A difference without its details: its part, how that differs, and the key, in which ``*`` stands for numbers."""


def named(differences: Iterable[Difference]) -> tuple[Named, ...]:
    """Return the distinct differences without details, sorted, those of numbered attributes as one."""
    return tuple(sorted({(one.part, one.how, _NUMBER.sub(".*", one.key)) for one in differences}))


def subject(part: Part, key: str) -> str:
    """Return what differs: ``"input"``, ``"input" of an event``, ``the name``."""
    quoted = f'"{safe_line(key, max_chars=_MAX_KEY_CHARS)}"'
    if part in _OF:
        return quoted + _OF[part]
    if part == "event":
        return f"the event {quoted}"
    if part == "link":
        return "a link"
    return f"the {part.removeprefix('event ')} of an event" if part.startswith("event ") else f"the {part}"


def differ_text(found: Sequence[Named]) -> str:
    """Return one line on differences: ``"input" is gone, the name is changed``."""
    texts = []
    for part, how, key in found[:MAX_NAMED]:
        verb = "was added" if how == "added" else f"{'are' if part in _ARE else 'is'} {how}"
        texts.append(f"{subject(part, key)} {verb}")
    if len(found) > MAX_NAMED:
        texts.append("and more")
    return ", ".join(texts)


def listed(texts: Sequence[str], more: int = 0) -> str:
    """Return the first few texts in one line, and how many more there are."""
    rest = max(0, len(texts) - MAX_NAMED) + more
    return ", ".join(texts[:MAX_NAMED]) + (f" and {rest} more" if rest else "")


def traces_text(number: int) -> str:
    """Return ``1 trace`` or ``1,200 traces``."""
    return f"{number:,} {'trace' if number == 1 else 'traces'}"


def store_text(store: str) -> str:
    """Return how a sentence names a store: ``Jaeger``, or ``the store`` for one that somebody else reads."""
    return store.capitalize() if store in ("jaeger", "tempo", "phoenix") else "the store"
