"""Messages and documents that were recorded as events of the span.

gen_ai.user.message                              {"content": "Where is gate 12?"}
gen_ai.choice                                    {"finish_reason": "stop", "message": {"content": "Left."}}
gen_ai.content.prompt                            {"gen_ai.prompt": [{"role": "user", "content": "Hello"}]}
gen_ai.content.completion                        {"gen_ai.completion": [{"role": "assistant", "content": "Hi"}]}
gen_ai.client.inference.operation.details        {"gen_ai.input.messages": [...], "gen_ai.output.messages": [...]}
db.query.result                                  {"db.query.result.id": "d1", "db.query.result.document": "..."}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netra_otel_bridge.convert.llm.call import Call, Document, Message
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.facts import as_number
from netra_otel_bridge.convert.llm.messages import INPUT, OUTPUT, from_list, from_object
from netra_otel_bridge.convert.llm.parts import decoded, leading_items, parts_of
from netra_otel_bridge.convert.llm.recorded import Recorded
from netra_otel_bridge.convert.llm.whole import said

_DETAILS = "gen_ai.client.inference.operation.details"
ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
_RESULTS = ("db.query.result", "db.search.result")


def _read(recorded: Recorded, call: Call) -> None:
    asked: list[Message] = []
    answered: list[Message] = []
    documents: list[Document] = []
    for event in recorded.events:
        attributes = event.attributes or {}
        if event.name in ROLES:
            asked += _message(attributes, ROLES[event.name])
        elif event.name == "gen_ai.choice":
            answered += _choice(attributes)
        elif event.name == "gen_ai.content.prompt":
            asked += said(attributes.get("gen_ai.prompt"), INPUT)
        elif event.name == "gen_ai.content.completion":
            answered += said(attributes.get("gen_ai.completion"), OUTPUT)
        elif event.name == _DETAILS:
            asked += from_list(attributes.get("gen_ai.input.messages"), INPUT)[0]
            answered += from_list(attributes.get("gen_ai.output.messages"), OUTPUT)[0]
            if not call.system and (told := attributes.get("gen_ai.system_instructions")):
                call.system = parts_of(decoded(told))
            if not call.tools and "tool_definitions" not in call.facts:
                call.tools = leading_items(attributes.get("gen_ai.tool.definitions"))[0]
        elif event.name in _RESULTS:
            documents.append(_document(event.name, attributes))
    call.input = call.input or asked
    call.output = call.output or answered
    call.documents = call.documents or documents


def _body(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = decoded(attributes.get("gen_ai.event.content"))
    return inner if isinstance(inner, Mapping) else attributes


def _message(attributes: Mapping[str, Any], role: str) -> list[Message]:
    body = _body(attributes)
    item = {name: decoded(value) for name, value in body.items() if name in ("content", "tool_calls", "parts")}
    one = from_object({**item, "role": body.get("role", role), "tool_call_id": body.get("id")}, role)
    return [one] if one is not None and one.parts else []


def _choice(attributes: Mapping[str, Any]) -> list[Message]:
    body = _body(attributes)
    inner = decoded(body.get("message"))
    item = dict(inner) if isinstance(inner, Mapping) else {"content": inner}
    item.setdefault("role", OUTPUT)
    item["finish_reason"] = body.get("finish_reason")
    if "tool_calls" in body:
        item.setdefault("tool_calls", decoded(body["tool_calls"]))
    one = from_object(item, OUTPUT)
    return [one] if one is not None else []


def _document(name: str, attributes: Mapping[str, Any]) -> Document:
    found = {key[len(name) + 1 :]: value for key, value in attributes.items() if key.startswith(f"{name}.")}
    number, content = found.get("id"), found.get("document")
    metadata = decoded(found.get("metadata", found.get("entity")))
    if content is None and isinstance(metadata, Mapping) and isinstance(metadata.get("text"), str):
        content = metadata["text"]
    distance = as_number(found.get("distance"))
    if distance is not None:
        metadata = {
            **(metadata if isinstance(metadata, Mapping) else {} if metadata is None else {"metadata": metadata}),
            "distance": distance,
        }
    score = as_number(found.get("score"))
    return Document(
        content if isinstance(content, str) else None,
        str(number) if isinstance(number, str | int) else None,
        None if score is None else float(score),
        metadata,
    )


EVENTS = Dialect(
    "events",
    facts=(("gen_ai.response.prompt_tokens", "input_tokens"), ("gen_ai.response.completion_tokens", "output_tokens")),
    read=_read,
)
