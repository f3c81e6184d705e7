"""Make messages of roles, contents and parts as dialects record them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netra_otel_bridge.convert.llm.call import Message, Part, reasoning, text, tool_call, tool_result
from netra_otel_bridge.convert.llm.parts import arguments_of, leading_items, parts_of
from netra_otel_bridge.core.json_text import write_json

INPUT, OUTPUT = "user", "assistant"
"""Roles of messages that name none, by the side they are on."""
ROLES = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "chatbot": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "function": "tool",
    "tool_result": "tool",
    "toolmessage": "tool",
}
_NO_ROLES = frozenset({"", "input", "output", "transcribed text", "none", "null", "unknown"})
_MAX_ROLE_CHARS = 40
_MESSAGE_KEYS = ("role", "content", "parts", "tool_calls", "function_call", "function_calls")


def role_of(recorded: Any, default: str) -> str:
    """Return the conventions' role; ``default`` where none was recorded. A role that nobody knows stays."""
    if not isinstance(recorded, str):
        return default
    word = recorded.strip().lower()
    if word in _NO_ROLES or len(word) > _MAX_ROLE_CHARS:
        return default
    return ROLES.get(word, word)


def message(role: Any, content: Any, default: str, *, call_id: Any = None) -> Message:
    """Return a message of a role and its content. ``call_id`` is that of the tool call it answers, or that it is."""
    known = ROLES.get(role) if type(role) is str else default
    if known is None:
        if role in ("thinking", "reasoning") and isinstance(content, str):
            return Message("assistant", [reasoning(content)])
        known = role_of(role, default)
    if known != "tool" and type(content) is str and content and content[0] not in " {[" and content != "None":
        return Message(known, [text(content)])
    if known == "assistant" and content == "None":
        content = None  # Python's None, written by str().
    if known in ("assistant", "tool"):
        parts = parts_of(content, calls=True)
        if known == "tool" and default == OUTPUT and any(part["type"] == "tool_call" for part in parts):
            known = "assistant"
        if known == "tool":
            return Message("tool", _results(parts, content, call_id))
        if isinstance(call_id, str) and len(parts) == 1 and parts[0]["type"] == "tool_call":
            parts = [tool_call(call_id, parts[0]["name"], parts[0].get("arguments"))]
        return Message(known, parts)
    return Message(known, parts_of(content))


def _results(parts: list[Part], content: Any, call_id: Any) -> list[Part]:
    """Return what a tool's message says as results; text without a known call is a result, too."""
    if any(part["type"] == "tool_call_response" for part in parts):
        return parts
    if content is None:
        return [tool_result(call_id, None)] if call_id else []
    return [tool_result(call_id, content)]


def from_object(item: Mapping[str, Any], default: str) -> Message | None:
    """Return a message given as an object: a role with ``parts`` or ``content``, ``tool_calls``, ``function_call``."""
    inner = item.get("message")
    if isinstance(inner, dict) and "role" not in item:
        item = {**inner, "finish_reason": item.get("finish_reason", inner.get("finish_reason"))}
    if not any(name in item for name in _MESSAGE_KEYS):
        return _bare_item(item)
    parts = item.get("parts")
    if isinstance(parts, list | tuple):
        found = Message(role_of(item.get("role"), default), parts_of(parts))
    else:
        found = message(item.get("role"), item.get("content"), default, call_id=item.get("tool_call_id"))
    thought = item.get("reasoning_content", item.get("reasoning"))
    if isinstance(thought, str) and thought:
        found.parts.insert(0, reasoning(thought))
    calls = item.get("tool_calls")
    for call in calls if isinstance(calls, list | tuple) else ():
        found.parts += [part for part in parts_of([call]) if part["type"] == "tool_call"] or (
            parts_of(call, calls=True) if isinstance(call, dict) else []
        )
    for key, read in (("function_calls", _called), ("function_responses", _answered)):
        listed = item.get(key)
        found.parts += [read(one) for one in (listed if isinstance(listed, list) else []) if isinstance(one, dict)]
    if "refusal" in item or "audio" in item:
        found.parts += _spoken(item)
    single = item.get("function_call")
    if isinstance(single, dict) and isinstance(single.get("name"), str):
        found.parts.append(tool_call(single.get("id"), single["name"], arguments_of(single.get("arguments"))))
    reason = item.get("finish_reason", item.get("finishReason"))
    found.finish_reason = reason if isinstance(reason, str) and reason else None
    name = item.get("name")
    found.name = name if isinstance(name, str) and name else None
    return found


def _called(item: Mapping[str, Any]) -> Part:
    return tool_call(item.get("id"), str(item.get("name")), arguments_of(item.get("args", item.get("arguments"))))


def _answered(item: Mapping[str, Any]) -> Part:
    return tool_result(item.get("id"), item.get("result", item.get("response")))


def _spoken(item: Mapping[str, Any]) -> list[Part]:
    """Return what a message of OpenAI's API says beside its content: a refusal, and the transcript of its audio."""
    refusal, sound = item.get("refusal"), item.get("audio")
    transcript = sound.get("transcript") if isinstance(sound, dict) else None
    return [text(words) for words in (refusal, transcript) if isinstance(words, str) and words]


def _bare_item(item: Mapping[str, Any]) -> Message | None:
    """Return an item of OpenAI's Responses API that stands for itself: a call, its output, or reasoning."""
    kind = item.get("type")
    if not isinstance(kind, str):
        return None
    parts = parts_of([item])
    if not parts or (parts[0]["type"] not in _ITEM_PARTS and not kind.endswith("_call")):
        return None
    if kind == "mcp_call" and (answer := item.get("output", item.get("error"))) is not None:
        parts.append(tool_result(parts[0].get("id"), answer))
    return Message("tool" if parts[0]["type"] == "tool_call_response" else "assistant", parts)


_ITEM_PARTS = frozenset({"tool_call", "tool_call_response", "reasoning", "text"})


def from_list(value: Any, default: str) -> tuple[list[Message], bool]:
    """Return the messages of a list, decoded or as JSON text, and whether it was cut by an SDK.

    Text that is no list of messages gives none. Beside a message, a text and an item of an unknown type are messages
    of the default role.
    """
    items, cut = leading_items(value)
    found: list[Message] = []
    others = 0
    for item in items:
        one = from_object(item, default) if isinstance(item, dict) else None
        if one is None and (parts := _other_item(item)):
            others += 1
            one = Message(default, parts)
        if one is not None:
            found.append(one)
    if others == len(found):
        return [], False
    return found, cut


def _other_item(item: Any) -> list[Part]:
    if isinstance(item, str) and item:
        return [text(item)]
    return parts_of([item]) if isinstance(item, dict) and isinstance(item.get("type"), str) else []


def joined(messages: Iterable[Message]) -> list[Message]:
    """Add a message that is nothing but the assistant's tool calls to the assistant's message before it."""
    found: list[Message] = []
    for one in messages:
        last = found[-1] if found else None
        if (
            last is not None
            and last.role == one.role == "assistant"
            and last.finish_reason is None
            and one.parts
            and all(part["type"] == "tool_call" for part in one.parts)
        ):
            last.parts += one.parts
            last.finish_reason = one.finish_reason
        else:
            found.append(one)
    return found


def with_single_results(messages: Sequence[Message]) -> Sequence[Message]:
    """Give each result of a tool a message of its own, with the role ``tool``; readers show one for each message."""
    if not _hold_results(messages):
        return messages
    found: list[Message] = []
    for one in messages:
        rest: Message | None = None
        for part in one.parts:
            if part["type"] == "tool_call_response" and one.role != "assistant":
                found.append(Message("tool", [part], name=one.name))
                rest = None
            elif rest is None:
                rest = Message(one.role, [part], one.finish_reason, one.name)
                found.append(rest)
            else:
                rest.parts.append(part)
        if not one.parts:
            found.append(one)
    return found


def _hold_results(messages: Sequence[Message]) -> bool:
    for one in messages:
        for part in one.parts:
            if part["type"] == "tool_call_response":
                return True
    return False


def plain(content: Any) -> str | None:
    """Return the text of a single content: a text, the text of a list of parts, or other content as JSON."""
    if content is None or content == "":
        return None
    return "\n".join(
        part["content"] if part["type"] in ("text", "reasoning") else write_json(part) for part in parts_of(content)
    )


def text_of(messages: Iterable[Message]) -> str | None:
    """Return the text of the first message that has one."""
    for one in messages:
        words = [part["content"] for part in one.parts if part["type"] == "text"]
        if words:
            return "\n".join(words)
    return None


def user_text(content: str) -> Message:
    """Return a message of the user."""
    return Message(INPUT, [text(content)])
