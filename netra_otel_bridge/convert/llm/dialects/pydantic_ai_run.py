"""Runs, requests and tools as Pydantic AI itself writes them, from its version 1 on.

pydantic_ai.all_messages = [{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}]   final_result = "Hi"
all_messages_events, events = [{"event.name": "gen_ai.user.message", "content": "Hello", "gen_ai.message.index": 0}]
tool_arguments = {"x": 1}                  tool_response = "42"
model_request_parameters = {"function_tools": [{"name": "f", "parameters_json_schema": {...}}]}
"""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.convert.llm.call import Call, Message, text
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.dialects.events import ROLES
from netra_otel_bridge.convert.llm.messages import INPUT, OUTPUT, from_list, from_object
from netra_otel_bridge.convert.llm.parts import decoded, leading_items
from netra_otel_bridge.convert.llm.recorded import Recorded

_MESSAGES = "pydantic_ai.all_messages"
_RUN_EVENTS = "all_messages_events"
_EVENTS = "events"
_RESULT = "final_result"
_PARAMETERS = "model_request_parameters"
_AGENT = "agent_name"
_NAMES = ("agent run", "invoke_agent ")
_URLS = {"image-url": "image", "audio-url": "audio", "document-url": "document", "video-url": "video"}
_TOOLS = ("function_tools", "output_tools")


def _read(recorded: Recorded, call: Call) -> None:
    attributes, facts = recorded.attributes, call.facts
    parameters = decoded(attributes.get(_PARAMETERS))
    if isinstance(parameters, dict) and not call.tools and "tool_definitions" not in facts:
        listed = [parameters.get(name) for name in _TOOLS]
        call.tools = [one for tools in listed if isinstance(tools, list) for one in tools]
    if _AGENT in attributes and recorded.name.startswith(_NAMES):
        _read_agent(recorded, call)
    if _MESSAGES in attributes:
        _read_run(recorded, call, from_list(_with_known_parts(attributes[_MESSAGES]), INPUT)[0])
    elif found := _of_events(attributes.get(_RUN_EVENTS)):
        _read_run(recorded, call, [*found[0], *found[1]])
    elif found := _of_events(attributes.get(_EVENTS)):
        call.input, call.output = call.input or found[0], call.output or found[1]


def _read_agent(recorded: Recorded, call: Call) -> None:
    call.facts.setdefault("recorded_kind", "agent")
    for key, fact in ((_AGENT, "agent_name"), ("model_name", "request_model")):
        if isinstance(known := recorded.attributes.get(key), str) and known:
            call.facts.setdefault(fact, known)


def _read_run(recorded: Recorded, call: Call, messages: list[Message]) -> None:
    """Read the run of an agent. Its answer is the last message of the model, unless a tool of the output ended it."""
    _read_agent(recorded, call)
    answered = messages[-1:] if messages and messages[-1].role == OUTPUT else []
    asked = messages[: len(messages) - len(answered)]
    result = recorded.attributes.get(_RESULT)
    if isinstance(result, str) and result:
        call.facts.setdefault("output", result)
        answered = answered or [Message(OUTPUT, [text(result)])]
    call.input, call.output = call.input or asked, call.output or answered


def _of_events(value: Any) -> tuple[list[Message], list[Message]] | None:
    """Return what went in and came out by a list of events; ``None`` if it is no such list."""
    asked: list[Message] = []
    answered: list[Message] = []
    last: Any = None
    for item in leading_items(value)[0]:
        name = item.get("event.name") if isinstance(item, dict) else None
        if name == "gen_ai.choice":
            inner = item.get("message")
            body = {**inner, "finish_reason": item.get("finish_reason")} if isinstance(inner, dict) else {}
            side, default = answered, OUTPUT
        elif isinstance(name, str) and name in ROLES:
            body, side, default = {**item, "tool_call_id": item.get("id")}, asked, ROLES[name]
            body.setdefault("role", default)
        else:
            continue
        one = from_object({key: _known_content(part) for key, part in body.items()}, default)
        turn = (name, item.get("gen_ai.message.index"))
        if one is not None and one.parts:
            one.name = None
            if side and turn == last and one.role == side[-1].role == OUTPUT:
                side[-1].parts += one.parts
            else:
                side.append(one)
            last = turn
    return (asked, answered) if asked or answered else None


def _known_content(content: Any) -> Any:
    return [_known_part(part) for part in content] if isinstance(content, list) else content


def _with_known_parts(value: Any) -> Any:
    items, _ = leading_items(value)
    return [
        {**item, "parts": _known_content(item["parts"])} if isinstance(item, dict) and "parts" in item else item
        for item in items
    ]


def _known_part(part: Any) -> Any:
    """Return a part under the names of the conventions. In an event, its type is its kind."""
    if not isinstance(part, dict):
        return part
    kind = part.get("type", part.get("kind"))
    if kind in _URLS:
        return {"type": "uri", "modality": _URLS[kind], "uri": part.get("url")}
    if kind == "binary":
        return {"type": "blob", "mime_type": part.get("media_type"), "content": _data(part)}
    return {"type": part["kind"], **part} if "kind" in part else part


def _data(part: dict[str, Any]) -> Any:
    return part.get("content", part.get("binary_content"))


PYDANTIC_AI_RUN = Dialect(
    "pydantic_ai_run",
    facts=(("tool_arguments", "tool_arguments"), ("tool_response", "tool_result")),
    keys=(_MESSAGES, _RUN_EVENTS, _EVENTS, _PARAMETERS, _AGENT),
    read=_read,
)
