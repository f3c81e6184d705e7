"""Read the content of a message, in the forms of the model providers, as parts of the neutral model.

Content is text, a list of parts (decoded, as JSON text, or as Python's ``str(list)``), or a single part. A text that
only looks like JSON stays text: an item of it is a part only if it has the fields that a provider writes.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any

from netra_otel_bridge.convert.llm.call import Part, text
from netra_otel_bridge.convert.llm.part_forms import arguments_of as arguments_of
from netra_otel_bridge.convert.llm.part_forms import bare_call, other_part, part_of, strict_part_of
from netra_otel_bridge.core.json_bounds import holds_more_values
from netra_otel_bridge.core.json_text import clean_value, read_json, write_json

_PYTHON_STARTS = ("{'", "['", "[{'")
"""Starts of texts that are no JSON, however lenient."""
_MAX_PYTHON_CHARS = 200_000
_MAX_PYTHON_VALUES = 2_000
CUT_MARKS = ("...[TRUNCATED]", "…[TRUNCATED]")
_MIN_CUT_CHARS = 1000
"""Less than any length at which an SDK cuts."""
CUT_ITEM = "__truncated__"
"""Mark that netra-sdk for JavaScript leaves where it cut a list."""


def decoded(value: Any) -> Any:
    """Return the value of JSON text, or of a Python list or dictionary written by ``str``; others as they are."""
    if not isinstance(value, str):
        return value
    start = value.lstrip()[:3]
    if not start.startswith(("{", "[")):
        return value
    found = None if start.startswith(_PYTHON_STARTS) else read_json(value)
    if found is None and start.startswith(("[{", "{'", "['", '["')):
        found = _python_value(value)
    return value if found is None else found


def _python_value(value: str) -> Any:
    if len(value) > _MAX_PYTHON_CHARS or holds_more_values(value, _MAX_PYTHON_VALUES):
        return None
    try:
        return clean_value(ast.literal_eval(value))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def leading_items(value: Any) -> tuple[list[Any], bool]:
    """Return the items of a list, decoded or as JSON text, and whether the text was cut: then the whole leading ones."""
    found = decoded(value)
    if isinstance(found, list | tuple):
        items = list(found)
        kept = [item for item in items if not (isinstance(item, dict) and CUT_ITEM in item)]
        return kept, len(kept) < len(items)
    if not isinstance(found, str) or not found.lstrip().startswith("["):
        return [], False
    items, cut = _whole_items(found)
    return items, cut


def _whole_items(value: str) -> tuple[list[Any], bool]:
    """Read the items of a JSON list that ends too early."""
    if holds_more_values(value, _MAX_PYTHON_VALUES):
        return [], False
    decoder = json.JSONDecoder(strict=False)
    items: list[Any] = []
    at = value.index("[") + 1
    while True:
        while at < len(value) and value[at] in " \t\r\n,":
            at += 1
        try:
            item, at = decoder.raw_decode(value, at)
        except (ValueError, RecursionError):
            return items, bool(items)
        items.append(clean_value(item))


def parts_of(content: Any, *, calls: bool = False) -> list[Part]:
    """Return the parts of a message's content. ``calls`` says that a text may be a tool call or its result as JSON."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return _parts_of_text(content, calls)
    if isinstance(content, list | tuple):
        return _parts_of_items(content)
    part = (part_of(content) or (bare_call(content) if calls else None)) if isinstance(content, dict) else None
    part = part or other_part(content)
    return [part] if part is not None else []


def _parts_of_items(items: Sequence[Any]) -> list[Part]:
    """Return the parts of a decoded list. A list of objects without a type that nobody knows is one text."""
    found: list[Part] = []
    unknown = 0
    for item in items:
        part = part_of(item)
        if part is None:
            unknown += not (isinstance(item, dict) and isinstance(item.get("type"), str))
            part = other_part(item)
        if part is not None:
            found.append(part)
    return [text(write_json(items))] if found and unknown == len(items) else found


def _parts_of_text(content: str, calls: bool) -> list[Part]:
    start = content.lstrip()[:1]
    if start not in ("{", "["):
        return [text(content)]
    found = decoded(content)
    if isinstance(found, dict):
        part = (bare_call(found) or (strict_part_of(found) if "type" in found else None)) if calls else None
        return [part or text(content)]
    items = found if isinstance(found, list) else leading_items(content)[0] if start == "[" else []
    return _told_parts([item for item in items if not (isinstance(item, dict) and CUT_ITEM in item)]) or [text(content)]


def _told_parts(items: list[Any]) -> list[Part]:
    """Return the parts that a list in JSON text has; none if it is the data that was asked for or answered.

    Beside a part of a known form, an item with another type is a part, too.
    """
    if not all(isinstance(item, dict) for item in items):
        return []
    parts = [strict_part_of(item) for item in items]
    typed = any(part is not None and "type" in item for part, item in zip(parts, items, strict=True))
    found: list[Part] = []
    for item, part in zip(items, parts, strict=True):
        if part is None:
            if not typed or not isinstance(item.get("type"), str):
                return []
            part = part_of(item) or other_part(item)
        if part is not None:
            found.append(part)
    return found


def is_cut(content: Any) -> bool:
    """Return whether an SDK cut this content."""
    if not isinstance(content, str) or len(content) < _MIN_CUT_CHARS:
        return False
    return content.endswith(CUT_MARKS) or f'"{CUT_ITEM}"' in content
