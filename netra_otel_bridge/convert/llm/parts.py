"""Read the content of a message, in the forms of the model providers, as parts of the neutral model.

Content is text, a list of parts (decoded, as JSON text, or as Python's ``str(list)``), or a single part. A text that
only looks like JSON stays text: every item of it must be a part that some provider writes.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from typing import Any

from netra_otel_bridge.convert.llm.call import Part, media, reasoning, text, tool_call, tool_result
from netra_otel_bridge.core.json_bounds import holds_more_values
from netra_otel_bridge.core.json_text import clean_value, read_json, write_json

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
    start = value.lstrip()[:2]
    if start[:1] not in ("{", "["):
        return value
    found = read_json(value)
    if found is None and start in ("[{", "{'", "['", '["'):
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


def arguments_of(value: Any) -> Any:
    """Return arguments of a tool call as an object where they are one, also as JSON text; else as recorded."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        found = read_json(value)
        return found if isinstance(found, dict) else value
    return value


def parts_of(content: Any, *, calls: bool = False) -> list[Part]:
    """Return the parts of a message's content. ``calls`` says that a text may be a tool call or its result as JSON."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return _parts_of_text(content, calls)
    if isinstance(content, dict):
        part = part_of(content) or (_bare_call(content) if calls else None)
        return [part or text(write_json(content))]
    if isinstance(content, list | tuple):
        return [part for item in content if (part := part_of(item) or _generic(item)) is not None]
    return [text(write_json(content))]


def _parts_of_text(content: str, calls: bool) -> list[Part]:
    start = content.lstrip()[:1]
    if start not in ("{", "["):
        return [text(content)]
    found = decoded(content)
    if isinstance(found, dict):
        part = (_bare_call(found) or _typed(found)) if calls else None
        return [part or text(content)]
    if start == "[":
        items = found if isinstance(found, list) else leading_items(content)[0]
        items = [item for item in items if not (isinstance(item, dict) and CUT_ITEM in item)]
        parts = [part_of(item) if isinstance(item, dict) else None for item in items]
        known = [part for part in parts if part is not None]
        if known and len(known) == len(parts):
            return known
    return [text(content)]


def is_cut(content: Any) -> bool:
    """Return whether an SDK cut this content."""
    if not isinstance(content, str) or len(content) < _MIN_CUT_CHARS:
        return False
    return content.endswith(CUT_MARKS) or f'"{CUT_ITEM}"' in content


def part_of(item: Any) -> Part | None:
    """Return the part that an item is in the form of some provider; ``None`` if it has no known form."""
    if isinstance(item, str):
        return text(item)
    return (_typed(item) or _untyped(item)) if isinstance(item, dict) else None


def _generic(item: Any) -> Part | None:
    """Keep an unknown part as it is, if it says its type; else as text."""
    if item is None:
        return None
    if isinstance(item, dict) and isinstance(item.get("type"), str):
        return dict(item)
    return text(write_json(item))


def _first(item: Mapping[str, Any], *names: str) -> Any:
    return next((item[name] for name in names if item.get(name) is not None), None)


def _text_part(item: Mapping[str, Any]) -> Part | None:
    found = _first(item, "content", "text")
    return text(found) if isinstance(found, str) else None


def _reasoning_part(item: Mapping[str, Any]) -> Part | None:
    found = _first(item, "content", "thinking", "text", "reasoning", "summary")
    if isinstance(found, list):
        found = "\n".join(
            piece["text"] for piece in found if isinstance(piece, dict) and isinstance(piece.get("text"), str)
        )
    return reasoning(found) if isinstance(found, str) and found else None


def _image_part(item: Mapping[str, Any]) -> Part | None:
    inner = _first(item, "image_url", "source", "image", "url")
    if isinstance(inner, dict):
        return _source(inner, "image") or media("image", uri=inner.get("url"))
    mime = _first(item, "mime_type", "mimeType", "mediaType", "media_type")
    if isinstance(inner, str) and not inner.startswith(("data:", "http:", "https:", "gs:", "s3:", "file:")) and mime:
        return media("image", data=inner, mime=mime)
    return media("image", uri=inner, file_id=item.get("file_id"), mime=mime)


def _source(source: Mapping[str, Any], modality: str) -> Part | None:
    """Return Anthropic's ``source`` of an image or document."""
    return media(
        modality,
        uri=_first(source, "url", "uri"),
        data=_first(source, "data", "bytes"),
        file_id=source.get("file_id"),
        mime=_first(source, "media_type", "mime_type"),
    )


def _audio_part(item: Mapping[str, Any]) -> Part | None:
    inner = _first(item, "input_audio", "audio")
    source = inner if isinstance(inner, dict) else item
    form = source.get("format")
    mime = _first(source, "mime_type", "mimeType", "mediaType") or (f"audio/{form}" if isinstance(form, str) else None)
    return media("audio", uri=source.get("url"), data=source.get("data"), file_id=source.get("id"), mime=mime)


def _file_part(item: Mapping[str, Any]) -> Part | None:
    inner = _first(item, "file", "source")
    source = inner if isinstance(inner, dict) else item
    mime = _first(source, "mime_type", "media_type", "mimeType", "mediaType")
    data = _first(source, "file_data", "data")
    if isinstance(data, str) and data.startswith("data:"):
        return media(_modality(mime), uri=data, mime=mime)
    return media(
        _modality(mime),
        uri=_first(source, "file_url", "url", "uri"),
        data=data,
        file_id=source.get("file_id"),
        mime=mime,
    )


def _modality(mime: Any) -> str:
    kind = mime.partition("/")[0] if isinstance(mime, str) else ""
    return kind if kind in ("image", "audio", "video") else "document"


def _own_media(item: Mapping[str, Any]) -> Part | None:
    """Return a blob, address or file that is already in the form of the conventions."""
    modality = item.get("modality")
    return media(
        modality if isinstance(modality, str) and modality else _modality(item.get("mime_type")),
        uri=item.get("uri"),
        data=item.get("content"),
        file_id=item.get("file_id"),
        mime=item.get("mime_type"),
    )


def _call_part(item: Mapping[str, Any]) -> Part | None:
    inner = _first(item, "function", "custom")
    source = inner if isinstance(inner, dict) else item
    name = _first(source, "name", "toolName", "tool_name")
    if not isinstance(name, str):
        return None
    call_id = _first(item, "id", "call_id", "toolCallId", "tool_call_id", "toolUseId")
    return tool_call(call_id, name, arguments_of(_first(source, "arguments", "input", "args")))


def _result_part(item: Mapping[str, Any]) -> Part | None:
    call_id = _first(item, "id", "tool_use_id", "call_id", "tool_call_id", "toolCallId", "toolUseId")
    return tool_result(call_id, _first(item, "response", "result", "output", "content"))


def _refusal_part(item: Mapping[str, Any]) -> Part | None:
    found = item.get("refusal")
    return text(found) if isinstance(found, str) else None


_BY_TYPE: dict[str, Callable[[Mapping[str, Any]], Part | None]] = {
    **dict.fromkeys(("text", "input_text", "output_text"), _text_part),
    **dict.fromkeys(("reasoning", "thinking"), _reasoning_part),
    **dict.fromkeys(("image_url", "input_image", "image"), _image_part),
    **dict.fromkeys(("input_audio", "audio"), _audio_part),
    **dict.fromkeys(("input_file", "document"), _file_part),
    **dict.fromkeys(("blob", "uri"), _own_media),
    **dict.fromkeys(("tool_use", "tool_call", "tool-call", "function", "function_call"), _call_part),
    **dict.fromkeys(
        ("tool_result", "tool_call_response", "tool-result", "function_call_output", "function_response"), _result_part
    ),
    "refusal": _refusal_part,
    "file": lambda item: _file_part(item) or _own_media(item),
}


def _typed(item: Mapping[str, Any]) -> Part | None:
    kind = item.get("type")
    read = _BY_TYPE.get(kind) if isinstance(kind, str) else None
    return read(item) if read else None


def _untyped(item: Mapping[str, Any]) -> Part | None:
    """Return a part of Gemini's or Bedrock's form, which have no type: ``{"text": ...}``, ``{"functionCall": ...}``."""
    if "type" in item:
        return None
    words = item.get("text")
    if isinstance(words, str):
        return reasoning(words) if item.get("thought") is True else text(words)
    for names, read in (
        (("function_call", "functionCall", "toolUse"), _call_part),
        (("function_response", "functionResponse", "toolResult"), _result_part),
        (("inline_data", "inlineData"), _inline_part),
        (("file_data", "fileData"), _file_data_part),
        (("reasoningContent",), _bedrock_reasoning),
        (("image",), _bedrock_image),
    ):
        inner = _first(item, *names)
        if isinstance(inner, dict) and (part := read(inner)) is not None:
            return part
    return None


def _inline_part(inner: Mapping[str, Any]) -> Part | None:
    mime = _first(inner, "mime_type", "mimeType")
    return media(_modality(mime), data=inner.get("data"), mime=mime)


def _file_data_part(inner: Mapping[str, Any]) -> Part | None:
    mime = _first(inner, "mime_type", "mimeType")
    return media(_modality(mime), uri=_first(inner, "file_uri", "fileUri"), mime=mime)


def _bedrock_reasoning(inner: Mapping[str, Any]) -> Part | None:
    found = inner.get("reasoningText")
    words = found.get("text") if isinstance(found, dict) else found
    return reasoning(words) if isinstance(words, str) else None


def _bedrock_image(inner: Mapping[str, Any]) -> Part | None:
    source, form = inner.get("source"), inner.get("format")
    if not isinstance(source, dict):
        return None
    return media("image", data=source.get("bytes"), mime=f"image/{form}" if isinstance(form, str) else None)


def _bare_call(item: Mapping[str, Any]) -> Part | None:
    """Return a call or result as netra-sdk writes them: ``{name, arguments}``, ``{name, id, input}``, ``{tool_use_id, content}``."""
    if isinstance(item.get("name"), str) and any(name in item for name in ("arguments", "input", "args")):
        return _call_part(item)
    if "tool_use_id" in item and "content" in item:
        return _result_part(item)
    return None
