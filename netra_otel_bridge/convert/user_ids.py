"""Find the ids of users: under keys that hold one, and in JSON under such keys inside of metadata."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from netra_otel_bridge.convert.llm.parts import decoded
from netra_otel_bridge.core.json_text import write_json

_ID = re.compile(
    r"(?i:(?:.*[._-])?(?:end[._-]?)?user[._-]?(?:id|uid|uuid|identifier))"
    r"|(?i:(?:.*[._-])?enduser[._-]pseudo[._-]id)"
    r"|(?:.*[a-z0-9])?User(?:I[dD])"
)
"""``netra.user_id``, ``user.id``, ``enduser.id``, ``langfuse.trace.user_id``, ``endUserId``, ``User-ID`` ..."""
_USER = re.compile(
    r"(?i:(?!.*(?:prompt|message|content|template|completion|input|output|role))(?:.*\.)?(?:end[._-]?)?user)"
)
"""``gen_ai.user``, ``llm.user``, ``mlflow.trace.user`` ...: a user by name or id. Elsewhere it names a role."""
_ID_OF_USER = re.compile(r"(?i:_?id|uid|uuid|identifier)")
_METADATA = re.compile(r"(?i:(?:.*[._-])?(?:metadata|properties)(?:[._-].*)?)")
_ORIGINALS = re.compile(r"netra\.bridge\.original\.(attributes|events|links|metadata|resources)")
"""Columns that could not be read: they may contain a user id anywhere."""
_HOLDERS = (dict, list, tuple)
_MAX_REMEMBERED_CHARS = 200
_COUNT = "user_changed"

Replace = Callable[[str], str | None]
"""Returns what stands for a user id; ``None`` drops it."""


def without_users(
    attributes: Mapping[str, Any], replace: Replace, counts: Counter[str], *, is_metadata: bool = False
) -> dict[str, Any]:
    """Return the attributes with each user id replaced or left out, and counted.

    ``is_metadata`` says that any value may be JSON with user ids inside; else those whose key says so.
    """
    kept: dict[str, Any] = {}
    for key, value in attributes.items():
        short = len(key) <= _MAX_REMEMBERED_CHARS
        holds = (_what if short else _what.__wrapped__)(key)
        left = value
        if holds == "user" and value is not None and not isinstance(value, bool):
            left = _replaced(value, replace, counts)
        elif holds == "original":
            counts[_COUNT] += 1
            left = None
        elif holds == "metadata" or is_metadata:
            left = _within(value, replace, counts)
        if left is not None or value is None:
            kept[key] = left
    return kept


@lru_cache(maxsize=4096)
def _what(key: str) -> str:
    """Return what a key holds: ``user``, ``metadata``, ``original``, or nothing of these."""
    if _ORIGINALS.fullmatch(key):
        return "original"
    if _ID.fullmatch(key) or _USER.fullmatch(key):
        return "user"
    return "metadata" if _METADATA.fullmatch(key) else ""


def _replaced(value: Any, replace: Replace, counts: Counter[str]) -> str | None:
    """Return what stands for a user, who may be an object with an id among other things."""
    counts[_COUNT] += 1
    user = decoded(value)
    if isinstance(user, dict):
        value = next((held for key, held in user.items() if _ID_OF_USER.fullmatch(key) or _ID.fullmatch(key)), value)
    return replace(value if isinstance(value, str) else write_json(value))


def _within(value: Any, replace: Replace, counts: Counter[str]) -> Any:
    """Return a value of metadata with the user ids inside of it replaced; ``None`` if they cannot be told apart."""
    if isinstance(value, str):
        holder = decoded(value)
        if not isinstance(holder, _HOLDERS):
            if value.lstrip()[:1] in ("{", "[") and "user" in value.lower():
                counts[_COUNT] += 1
                return None
            return value
        found: Counter[str] = Counter()
        left = _within(holder, replace, found)
        counts.update(found)
        return value if not found else None if left is None else write_json(left)
    try:
        return _in_holder(value, replace, counts)
    except RecursionError:
        counts[_COUNT] += 1
        return None


def _in_holder(value: Any, replace: Replace, counts: Counter[str]) -> Any:
    if isinstance(value, dict):
        return without_users(value, replace, counts, is_metadata=True)
    if isinstance(value, list | tuple):
        items = [_within(item, replace, counts) for item in value]
        return type(value)(items)
    return value
