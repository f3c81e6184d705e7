"""Comparison of right values, written in tables, with the facts of a converted span."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.llm_views import Message, decoded


class _Open:
    """Equals whatever there is, also nothing."""

    def __repr__(self) -> str:
        """Return its name in tables."""
        return "ANY"


ANY = _Open()


@dataclass(frozen=True)
class Holds:
    """Equals text, or a value whose JSON text, holds these words in this order."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class OneOf:
    """Equals one of several values; ``None`` means that the fact is absent."""

    values: tuple[Any, ...]


def is_same(fact: str, right: Any, there: Any) -> bool:
    """Return whether a fact that was found is the right one; ``fact`` chooses how its values are compared."""
    if right is ANY:
        return True
    if isinstance(right, OneOf):
        return any(is_same(fact, value, there) for value in right.values)
    if fact in ("input", "output"):
        return len(right) == len(there) and all(map(_is_message, right, there, [fact] * len(right)))
    if fact == "parameters":
        return _is_parameters(right, there)
    if fact == "tokens":
        return right.keys() == there.keys() and all(_is_value(count, there[name]) for name, count in right.items())
    if fact == "tools":
        return len(right) == len(there) and all(map(_is_tool, right, there))
    if fact in ("documents", "candidates", "reranked"):
        return len(right) == len(there) and all(map(_has, right, there))
    if isinstance(right, tuple | list) and isinstance(there, tuple | list):
        return list(right) == list(there)
    if fact == "conversation" and right is None:
        return there is None
    return _is_value(right, there)


def _is_value(right: Any, there: Any) -> bool:
    """Compare a value, which JSON text may stand for."""
    if right is ANY:
        return True
    if isinstance(right, OneOf):
        return any(_is_value(value, there) for value in right.values)
    if isinstance(right, Holds):
        shown = there if isinstance(there, str) else json.dumps(there, ensure_ascii=False)
        at = 0
        for word in right.words:
            at = shown.find(word, at)
            if at < 0:
                return False
        return True
    if isinstance(right, str) and isinstance(there, str):
        return right == there or decoded(there) == right
    return right == there or (not isinstance(there, str | None) and right == there) or decoded(there) == right


def _is_message(right: Message, there: Any, place: str) -> bool:
    if not isinstance(there, dict) or there.get("role") != right["role"]:
        return False
    reason, wanted = there.get("finish_reason"), right.get("finish_reason")
    if place == "output" and wanted is None and reason not in (None, "unknown", "error"):
        return False
    if wanted is not None and reason != wanted:
        return False
    if place == "input" and reason is not None:
        return False
    parts = there.get("parts", [])
    return len(parts) == len(right["parts"]) and all(map(_has, right["parts"], parts))


def _has(right: Mapping[str, Any], there: Any) -> bool:
    """Return whether ``there`` has all the fields of ``right``. A field that is ``None`` is absent or null."""
    if not isinstance(there, Mapping):
        return False
    for name, value in right.items():
        if name == "arguments" and isinstance(value, dict):
            if there.get(name) != value:
                return False
        elif name == "response":
            if not _is_response(value, there.get(name)):
                return False
        elif not _is_value(value, there.get(name)):
            return False
    return True


def _is_response(right: Any, there: Any) -> bool:
    """Compare the result of a tool: a list of texts is also the texts that it holds."""
    if _is_value(right, there):
        return True
    listed = decoded(there)
    if isinstance(listed, list) and all(isinstance(part, dict) for part in listed):
        return right == "".join(str(part.get("text", part.get("content", ""))) for part in listed)
    return False


def _is_tool(right: Mapping[str, Any], there: Any) -> bool:
    """Compare the definition of a tool, whose function OpenInference nests."""
    inner = there.get("function") if isinstance(there, Mapping) else None
    shown = {"type": there.get("type"), **inner} if isinstance(inner, Mapping) else there
    return _has(right, shown)


_HARMLESS = frozenset(
    {
        "stream", "encoding_format", "reasoning", "reasoning_effort", "response_format", "language", "voice_id",
        "file_type",
    }
)  # fmt: skip


def _is_parameters(right: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Compare parameters of a request; some more may be there, but no tools, prompts or instructions."""
    extra = there.keys() - right.keys()
    same = all(name in there and _is_number(value, there[name]) for name, value in right.items())
    return same and (extra <= _HARMLESS) and all(there.get("stream") is not True for _ in extra & {"stream"})


def _is_number(right: Any, there: Any) -> bool:
    if isinstance(right, bool) or isinstance(there, bool) or not isinstance(right, int | float):
        return bool(right == there)
    return isinstance(there, int | float) and math.isclose(right, there)
