"""Read requests and responses of models' APIs that were recorded whole, as JSON text, decoded, or as plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netra_otel_bridge.convert.llm.call import Call, Message, text
from netra_otel_bridge.convert.llm.facts import FACTS, Fact
from netra_otel_bridge.convert.llm.messages import INPUT, OUTPUT, from_list, from_object
from netra_otel_bridge.convert.llm.parts import decoded, leading_items, parts_of
from netra_otel_bridge.core.json_text import read_json

_LISTS = ("messages", "contents", "choices", "candidates")
_SPEAKERS = frozenset({"human", "ai", "system", "tool", "user", "assistant", "function"})
_PARAMETERS: tuple[tuple[str, Fact], ...] = (
    *((fact.parameter, fact) for fact in FACTS if fact.parameter is not None),
    *(("max_completion_tokens", fact) for fact in FACTS if fact.name == "max_tokens"),
)
_TEXTS = ("input", "texts", "text", "query", "content")


def messages_of(value: Any, default: str) -> list[Message]:
    """Return the messages of a request or a response; other text is one message of the role ``default``."""
    found = decoded(value)
    if isinstance(found, dict):
        for name in _LISTS:
            if isinstance(found.get(name), list):
                return _opened(found[name], default)
        if isinstance(found.get("generations"), list):
            return _generations(found["generations"])
        one = from_object(found, default)
        return [one] if one is not None else [Message(default, [text(value)])] if isinstance(value, str) else []
    if isinstance(value, str) and not isinstance(found, list):
        items, _ = leading_items(value)
        return from_list(items, default)[0] or [Message(default, [text(value)])]
    return _opened(found, default) if isinstance(found, list) else []


def _opened(items: list[Any], default: str) -> list[Message]:
    """Return the messages of a list, also of one that LangChain nests once more."""
    flat = [inner for item in items for inner in (item if isinstance(item, list) else [item])]
    return from_list([item["content"] if _is_candidate(item) else item for item in flat], default)[0]


def _is_candidate(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("content"), dict) and "parts" in item["content"]


def _generations(generations: list[Any]) -> list[Message]:
    found: list[Message] = []
    for item in (inner for outer in generations for inner in (outer if isinstance(outer, list) else [outer])):
        if isinstance(item, dict):
            inner = item.get("message")
            one = from_object(_with_role(inner), OUTPUT) if isinstance(inner, dict) else None
            if (one is None or not one.parts) and isinstance(item.get("text"), str):
                one = Message(OUTPUT, [text(item["text"])])
            if one is not None:
                found.append(one)
    return found


def read_model(call: Call, asked: Any, answered: Any) -> None:
    """Add messages, instructions, tools and parameters of a call to a model from its request and its response.

    Nothing that a call already has is replaced. The text of a request or a response that is no known form is a message.
    """
    request, response = decoded(asked), decoded(answered)
    if isinstance(request, dict):
        add_parameters(call, request)
        model = request.get("model")
        if isinstance(model, str) and model:
            call.facts.setdefault("request_model", model)
        instructions = request.get("system", request.get("instructions"))
        if not call.system and instructions:
            call.system = parts_of(instructions)
        if not call.tools and isinstance(request.get("tools"), list):
            call.tools = request["tools"]
    if not call.input:
        call.input = said(asked, INPUT)
    if not call.output:
        call.output = said(answered, OUTPUT)
        if isinstance(response, dict) and len(call.output) == 1 and call.output[0].finish_reason is None:
            reason = response.get("stop_reason", response.get("stopReason"))
            call.output[0].finish_reason = reason if isinstance(reason, str) and reason else None


def said(value: Any, default: str) -> list[Message]:
    """Return the messages of a value in any of the forms of a request or a response, or a list of texts."""
    return _said(decoded(value), value, "input" if default == INPUT else "output", default)


def _said(found: Any, value: Any, inner: str, default: str) -> list[Message]:
    if found is None or found == "" or found == {} or found == []:
        return []
    if isinstance(found, dict) and found.get(inner) and not any(name in found for name in _LISTS):
        return _said(found[inner], found[inner], inner, default)
    if isinstance(found, list):
        flat = [one for item in found for one in (item if isinstance(item, list) else [item])]
        if flat and all(isinstance(item, str) for item in flat):
            return [Message(default, [text(item)]) for item in flat]
        found = [_with_role(item) if isinstance(item, dict) else item for item in flat]
        return messages_of(found, default)
    if isinstance(found, dict) and (listed := next((one for one in _LISTS if isinstance(found.get(one), list)), None)):
        return (
            _said(found[listed], found[listed], inner, default) if listed == "messages" else messages_of(found, default)
        )
    return messages_of(_with_role(found), default) or messages_of(value, default)


def _with_role(item: Any) -> Any:
    """Name the role of LangChain's messages, which call it their type."""
    if isinstance(item, dict) and "role" not in item and "content" in item and item.get("type") in _SPEAKERS:
        return {**{name: value for name, value in item.items() if name != "type"}, "role": item["type"]}
    return item


def read_talk(call: Call, asked: Any, answered: Any) -> None:
    """Add the messages of a step that is no call to a model, if its input or output lists messages with roles."""
    if not call.input:
        call.input = _listed(asked, INPUT)
    if not call.output:
        call.output = _listed(answered, OUTPUT)


def _listed(value: Any, default: str) -> list[Message]:
    found = decoded(value)
    if isinstance(found, dict):
        found = found["messages"] if isinstance(found.get("messages"), list) else [found]
    items = [_with_role(item) for item in found] if isinstance(found, list) else []
    if not items or not all(isinstance(item, dict) and isinstance(item.get("role"), str) for item in items):
        return []
    return from_list(items, default)[0]


def add_parameters(call: Call, request: Mapping[str, Any]) -> None:
    """Add the parameters of a request, by their names in the APIs of models."""
    for name, fact in _PARAMETERS:
        if name in request and (known := fact.read(request[name])) is not None:
            call.facts.setdefault(fact.name, known)


def texts_of(value: Any) -> list[str]:
    """Return the texts that an embedding was asked for: one, a list, or those of a request."""
    found = decoded(value)
    if isinstance(found, dict):
        found = next((found[name] for name in _TEXTS if name in found), None)
    items = found if isinstance(found, list) else [found]
    return [item for item in items if isinstance(item, str) and item]


def plain_value(value: Any) -> Any:
    """Return the text of a JSON string; other values as they are."""
    if isinstance(value, str) and value.startswith('"'):
        found = read_json(value)
        return found if isinstance(found, str) else value
    return value
