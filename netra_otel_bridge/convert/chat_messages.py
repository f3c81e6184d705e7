"""The chat messages of an LLM span, read from the dialects that instrumentations write.

netra-sdk 1.2.2 records ``gen_ai.prompt.N.role|content|tool_call_id|tool_calls.M.*``, and ``gen_ai.completion.N...``
with a ``finish_reason``. Newer instrumentations write ``gen_ai.input.messages`` as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from netra_otel_bridge.core.json_text import read_json

_PROMPT = "gen_ai.prompt."
_COMPLETION = "gen_ai.completion."


@dataclass(slots=True)
class ToolCall:
    """A tool call that the model requested; ``arguments`` is JSON text or a decoded value, as recorded."""

    id: Any = None
    name: Any = None
    arguments: Any = None

    def as_genai(self) -> dict[str, Any]:
        """Return the call as a part of a message, without fields that were not recorded."""
        known = {"id": self.id, "name": self.name, "arguments": self.arguments}
        return {"type": "tool_call", **{name: value for name, value in known.items() if value is not None}}


@dataclass(slots=True)
class Message:
    """One message; absent parts were not recorded."""

    role: Any = None
    content: Any = None
    tool_call_id: Any = None
    finish_reason: Any = None
    tool_calls: list[ToolCall] = field(default_factory=list)

    def as_genai(self) -> dict[str, Any]:
        """Return the message in the schema of ``gen_ai.input.messages``: a role and its parts."""
        parts: list[dict[str, Any]] = []
        if self.role == "tool" and self.tool_call_id is not None:
            parts.append({"type": "tool_call_response", "id": self.tool_call_id, "response": self.content})
        elif self.content not in (None, ""):
            parts.append({"type": "text", "content": self.content})
        parts += [call.as_genai() for call in self.tool_calls]
        message: dict[str, Any] = {"role": self.role, "parts": parts}
        if self.finish_reason is not None:
            message["finish_reason"] = self.finish_reason
        return message


def has_prompt(attributes: dict[str, Any]) -> bool:
    """Return whether the first message of a prompt was recorded, on a span of any kind."""
    return "gen_ai.prompt.0.role" in attributes or "gen_ai.prompt.0.content" in attributes


def indexed_messages(attributes: dict[str, Any]) -> tuple[list[Message], list[Message]]:
    """Return the messages under ``gen_ai.prompt.N`` and those under ``gen_ai.completion.N``, each in the order of N.

    netra-sdk writes a finish reason under the index after its message, and a tool call as JSON in the content.
    """
    prompt: dict[int, dict[str, Any]] = {}
    completion: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        if key.startswith(_PROMPT):
            _put(prompt, key[len(_PROMPT) :], value)
        elif key.startswith(_COMPLETION):
            _put(completion, key[len(_COMPLETION) :], value)
    return _in_order(prompt), _in_order(completion)


def _put(found: dict[int, dict[str, Any]], key: str, value: Any) -> None:
    index, _, part = key.partition(".")
    if part and index.isdecimal() and len(index) < 7:
        found.setdefault(int(index), {})[part] = value


def _in_order(found: dict[int, dict[str, Any]]) -> list[Message]:
    messages: list[Message] = []
    for _, parts in sorted(found.items()):
        if messages and messages[-1].finish_reason is None and parts.keys() == {"finish_reason"}:
            messages[-1].finish_reason = parts["finish_reason"]
        else:
            messages.append(_message(parts))
    return messages


def _message(parts: dict[str, Any]) -> Message:
    message = Message(parts.get("role"), parts.get("content"), parts.get("tool_call_id"), parts.get("finish_reason"))
    message.tool_calls = list(_tool_calls(parts))
    if message.role == "assistant" and message.tool_call_id is not None and not message.tool_calls:
        inner = read_json(message.content) if isinstance(message.content, str) else None
        if isinstance(inner, dict) and {"name", "arguments"} <= inner.keys():
            message.tool_calls.append(ToolCall(message.tool_call_id, inner["name"], inner["arguments"]))
            message.content = None
    return message


def _tool_calls(parts: dict[str, Any]) -> Iterable[ToolCall]:
    calls: dict[str, ToolCall] = {}
    if len(parts) <= 2 and parts.keys() <= {"role", "content"}:
        return ()
    for key, value in parts.items():
        section, _, rest = key.partition(".")
        index, _, name = rest.partition(".")
        if section == "tool_calls" and name in ("id", "name", "arguments"):
            setattr(calls.setdefault(index, ToolCall()), name, value)
    return (call for _, call in sorted(calls.items()))


def json_messages(text: Any) -> list[Message]:
    """Return the messages of a ``gen_ai.input.messages`` attribute (JSON), with ``parts`` or plain ``content``."""
    decoded = read_json(text) if isinstance(text, str) else None
    messages: list[Message] = []
    for item in decoded if isinstance(decoded, list) else []:
        if isinstance(item, dict):
            message = Message(item.get("role"), item.get("content"), None, item.get("finish_reason"))
            parts = item.get("parts")
            for part in parts if isinstance(parts, list) else []:
                if isinstance(part, dict):
                    _add_part(message, part)
            messages.append(message)
    return messages


def _add_part(message: Message, part: dict[str, Any]) -> None:
    match part.get("type"):
        case "tool_call":
            message.tool_calls.append(ToolCall(part.get("id"), part.get("name"), part.get("arguments")))
        case "tool_call_response":
            message.tool_call_id = part.get("id")
            message.content = part.get("response", part.get("result"))
        case "text":
            text = part.get("content")
            joined = isinstance(message.content, str) and isinstance(text, str)
            message.content = f"{message.content}\n{text}" if joined else text
