"""Read one item of a message's content, in the form of a model provider, as a part of the neutral model.

A part of a known type always has the fields that its readers rely on. An item of a known type that lacks them is
read for what it says, or is no part.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netra_otel_bridge.convert.llm.call import Part, reasoning, text, tool_call, tool_result
from netra_otel_bridge.convert.llm.media_forms import (
    MIMES,
    Item,
    Reader,
    audio_part,
    bedrock_media,
    file_data_part,
    file_part,
    first_of,
    image_part,
    joined_words,
    media_part,
    own_media,
    video_part,
)
from netra_otel_bridge.core.json_text import read_json, write_json


def arguments_of(value: Any) -> Any:
    """Return arguments of a tool call as an object where they are one, also as JSON text; else as recorded."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        found = read_json(value)
        return found if isinstance(found, dict) else value
    return value


_CALL_IDS = ("id", "call_id", "toolCallId", "tool_call_id", "toolUseId")
_RESULT_IDS = ("tool_use_id", "call_id", "tool_call_id", "toolCallId", "toolUseId", "id")
_ARGUMENTS = ("arguments", "input", "args")
_VERCEL_RESULTS = frozenset({"text", "json", "error-text", "error-json", "content"})


def _text_part(item: Item) -> Part | None:
    found = item.get("content")
    if found is None:
        found = item.get("text")
    if type(found) is str:
        return text(found)
    if isinstance(found, dict) and isinstance(found.get("value"), str):
        found = found["value"]  # OpenAI's Assistants
    return None if found is None else text(found if isinstance(found, str) else write_json(found))


def _reasoning_part(item: Item) -> Part | None:
    found = first_of(item, ("content", "thinking", "text", "reasoning", "summary"))
    if isinstance(found, list):
        found = joined_words(found)
    return reasoning(found) if isinstance(found, str) and found else None


def _call_part(item: Item) -> Part | None:
    inner = first_of(item, ("function", "custom"))
    source = inner if isinstance(inner, dict) else item
    name = first_of(source, ("name", "toolName", "tool_name"))
    if not isinstance(name, str):
        return None
    return tool_call(first_of(item, _CALL_IDS), name, arguments_of(first_of(source, _ARGUMENTS)))


def _item_call_part(item: Item) -> Part | None:
    """Return a call of OpenAI's Responses, whose ``call_id`` is what its output names."""
    found = _call_part(item)
    return found and tool_call(first_of(item, ("call_id", *_CALL_IDS)), found["name"], found.get("arguments"))


def _function_part(item: Item) -> Part | None:
    """Return a call of type ``function``, which without arguments is the definition of a tool."""
    return _call_part(item) if isinstance(item.get("function"), dict) or _has(item, _ARGUMENTS) else None


def _has(item: Item, names: Iterable[str]) -> bool:
    return any(name in item for name in names)


def _result_part(item: Item) -> Part | None:
    response = first_of(item, ("response", "result", "output", "content"))
    if isinstance(response, dict) and "value" in response and response.get("type") in _VERCEL_RESULTS:
        response = response["value"]
    return tool_result(first_of(item, _RESULT_IDS), response)


def _server_part(item: Item) -> Part | None:
    """Return a call or result of a tool that the provider runs, in the conventions' own form or in the common one."""
    kind = item["type"]
    inner = item.get(kind)
    is_call = kind == "server_tool_call"
    if not isinstance(inner, dict) or not isinstance(inner.get("type"), str):
        return _call_part(item) if is_call else _result_part(item)
    if is_call and not isinstance(item.get("name"), str):
        return None
    names = ("type", "id", "name", kind) if is_call else ("type", "id", kind)
    return {name: item[name] for name in names if name in item and (name != "id" or isinstance(item[name], str))}


def _refusal_part(item: Item) -> Part | None:
    found = item.get("refusal")
    return text(found) if isinstance(found, str) else None


def _redacted_part(item: Item) -> Part | None:
    return dict(item) if item.get("data") else None


_SHARED_KEYS = frozenset(
    [
        *("type", "id", "index", "status", "cache_control", "annotations", "citations", "logprobs", "phase", "extras"),
        *("signature", "providerOptions", "providerMetadata", "experimental_providerMetadata", "provider_options"),
    ]
)
_MEDIA_KEYS = frozenset([*MIMES, "source", "source_type", "file_id", "data", "base64", "url", "detail"])
_CALL_KEYS = frozenset(
    [
        *("name", "toolName", "tool_name", "function", "custom", "caller", "title", "dynamic", "providerExecuted"),
        *("invalid", "builtin", "server_name", "server_label", "namespace", *_CALL_IDS, *_ARGUMENTS),
    ]
)
_RESULT_KEYS = frozenset(
    [
        *("response", "result", "output", "content", "is_error", "isError", "error", "name", "toolName", "tool_name"),
        *("artifact", "dynamic", "providerExecuted", "preliminary", "experimental_content", "builtin", *_RESULT_IDS),
    ]
)
_FORMS: tuple[tuple[tuple[str, ...], Reader, frozenset[str]], ...] = (
    (("text", "input_text", "output_text"), _text_part, frozenset({"text", "content"})),
    (
        ("reasoning", "thinking"),
        _reasoning_part,
        frozenset({"content", "thinking", "text", "reasoning", "summary", "encrypted_content"}),
    ),
    (("image_url", "input_image", "image"), image_part, _MEDIA_KEYS | {"image_url", "image"}),
    (("input_audio", "audio"), audio_part, _MEDIA_KEYS | {"input_audio", "audio", "format"}),
    (("video_url", "video"), video_part, _MEDIA_KEYS | {"video_url", "video", "format"}),
    (("document",), file_part, frozenset({"source", "title", "context"})),
    (
        ("input_file", "file"),
        file_part,
        _MEDIA_KEYS | {"file", "file_data", "file_url", "filename", "modality", "uri"},
    ),
    (("blob", "uri"), own_media, frozenset({"modality", "mime_type", "content", "uri"})),
    (("tool_use", "tool_call", "tool-call", "server_tool_use", "mcp_tool_use"), _call_part, _CALL_KEYS),
    (("function_call", "custom_tool_call", "mcp_call"), _item_call_part, _CALL_KEYS | {"output", "error"}),
    (("function",), _function_part, _CALL_KEYS),
    (
        ("tool_result", "tool_call_response", "tool-result", "function_call_output", "custom_tool_call_output"),
        _result_part,
        _RESULT_KEYS,
    ),
    (("function_response",), _result_part, _RESULT_KEYS),
    (("refusal",), _refusal_part, frozenset({"refusal"})),
    (("redacted_thinking",), _redacted_part, frozenset({"data"})),
    (("server_tool_call",), _server_part, _CALL_KEYS | {"server_tool_call"}),
    (("server_tool_call_response",), _server_part, _RESULT_KEYS | {"server_tool_call_response"}),
)
"""Types of parts, their reader, and the fields that providers write beside the shared ones."""
_BY_TYPE = {kind: read for kinds, read, _ in _FORMS for kind in kinds}
_KEYS_OF = {kind: keys | _SHARED_KEYS for kinds, _, keys in _FORMS for kind in kinds}
_ANSWERS = ("_tool_result", "_call_output")
"""Ends of further types, each for one tool of a provider: ``web_search_tool_result``, ``computer_call_output``."""
_SILENT = frozenset({*_SHARED_KEYS, *MIMES, *_CALL_IDS, *_RESULT_IDS, "modality", "detail", "format"})


def is_known(kind: Any) -> bool:
    """Return whether parts of this type have a known form."""
    return isinstance(kind, str) and (kind in _BY_TYPE or kind.endswith(_ANSWERS))


def part_of(item: Any) -> Part | None:
    """Return the part that an item is in the form of some provider; ``None`` if it has no known form."""
    if isinstance(item, str):
        return text(item)
    if not isinstance(item, dict):
        return None
    kind = item.get("type")
    if kind is None:
        return _untyped(item)
    read = _BY_TYPE.get(kind) if isinstance(kind, str) else None
    if read is None and is_known(kind):
        read = _result_part
    return read(item) if read else None


def strict_part_of(item: Item) -> Part | None:
    """Return the part that an item of JSON text is: every field of it must be one that providers write for its type."""
    kind = item.get("type")
    if kind is None:
        return _untyped(item)
    if not is_known(kind) or not item.keys() <= _KEYS_OF.get(kind, _RESULT_KEYS | _SHARED_KEYS):
        return None
    found = part_of(item)
    if found is not None and found["type"] == "tool_call_response" and not _has(item, _RESULT_IDS):
        return None
    return found


def other_part(item: Any) -> Part | None:
    """Keep an item without a known form: as it is, if it has a type that nobody knows; else as text. ``None`` if it is empty."""
    if item is None or item == {}:
        return None
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(kind, str):
        return text(write_json(item))
    if not is_known(kind):
        return dict(item)
    said = any(value not in (None, "", [], {}) for name, value in item.items() if name not in _SILENT)
    return text(write_json(item)) if said else None


def bare_call(item: Item) -> Part | None:
    """Return a call or result as netra-sdk writes them: ``{name, arguments}``, ``{name, id, input}``, ``{tool_use_id, content}``."""
    keys = item.keys()
    if keys <= _BARE_RESULT and isinstance(item.get("tool_use_id"), str) and "content" in item:
        return _result_part(item)
    if not keys <= _BARE_CALL or not isinstance(item.get("name"), str) or _BARE_ARGUMENTS.isdisjoint(keys):
        return None
    found = _call_part(item)
    arguments = found.get("arguments") if found else None
    return found if isinstance(arguments, dict) or "arguments" in keys or _has(item, _CALL_IDS) else None


_BARE_CALL = frozenset({"type", "name", "index", *_CALL_IDS, *_ARGUMENTS})
_BARE_ARGUMENTS = frozenset(_ARGUMENTS)
_BARE_RESULT = frozenset({"type", "tool_use_id", "content", "is_error"})


def _untyped(item: Item) -> Part | None:
    """Return a part of Gemini's or Bedrock's form, which have no type: ``{"text": ...}``, ``{"functionCall": ...}``."""
    words = item.get("text")
    if isinstance(words, str):
        if not item.keys() <= _GEMINI_TEXT:
            return None
        return reasoning(words) if item.get("thought") is True else text(words)
    for name in item:
        read = _BY_KEY.get(name)
        inner = item[name]
        if read is not None and isinstance(inner, dict) and item.keys() <= {name, *_GEMINI_TEXT, *_GEMINI_MORE}:
            return read(inner)
    return None


_GEMINI_TEXT = frozenset({"type", "text", "thought", "thoughtSignature", "thought_signature"})
_GEMINI_MORE = ("videoMetadata", "video_metadata", "mediaResolution", "media_resolution", "partMetadata")


def _bedrock_reasoning(inner: Item) -> Part | None:
    found = inner.get("reasoningText")
    words = found.get("text") if isinstance(found, dict) else found
    return reasoning(words) if isinstance(words, str) else None


def _named(kind: str, *must: str) -> Reader:
    def read(inner: Item) -> Part | None:
        return {**inner, "type": kind} if not must or _has(inner, must) else None

    return read


def _citations(inner: Item) -> Part | None:
    content = inner.get("content")
    words = joined_words(content) if isinstance(content, list) else ""
    return text(words) if words else None


_BY_KEY: dict[str, Reader] = {
    **dict.fromkeys(("function_call", "functionCall", "toolUse"), _call_part),
    **dict.fromkeys(("function_response", "functionResponse", "toolResult"), _result_part),
    **dict.fromkeys(("inline_data", "inlineData"), lambda inner: media_part(inner, None)),
    **dict.fromkeys(("file_data", "fileData"), file_data_part),
    **dict.fromkeys(("executable_code", "executableCode"), _named("executable_code", "code")),
    **dict.fromkeys(("code_execution_result", "codeExecutionResult"), _named("code_execution_result", "outcome")),
    **{name: bedrock_media(name) for name in ("image", "document", "video", "audio")},
    "reasoningContent": _bedrock_reasoning,
    "cachePoint": _named("cache_point", "type"),
    "guardContent": _named("guard_content", "text", "image"),
    "citationsContent": _citations,
}
