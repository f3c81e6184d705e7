"""Write a call in the GenAI conventions 1.41. Only attributes that were not recorded are added."""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.convert.llm.call import Call, Document, Kind, Message
from netra_otel_bridge.convert.llm.facts import FACTS
from netra_otel_bridge.convert.semconv import OPERATION_NAME, PROVIDER_NAME, add
from netra_otel_bridge.core.json_text import write_json

_RETRIEVER = Kind.RETRIEVER
_NAMES = {fact.name: fact.genai for fact in FACTS if fact.genai is not None}
ONLY_OF = {
    "tool_name": Kind.TOOL,
    "tool_call_id": Kind.TOOL,
    "tool_type": Kind.TOOL,
    "tool_description": Kind.TOOL,
    "tool_arguments": Kind.TOOL,
    "tool_result": Kind.TOOL,
    "agent_name": Kind.AGENT,
    "agent_description": Kind.AGENT,
    "workflow_name": Kind.WORKFLOW,
    "dimensions": Kind.EMBEDDING,
}
"""Facts that Netra's SDK records on other spans, too, where the conventions have no place for them."""
_OWN_FORM = frozenset(
    {
        "input_messages",
        "output_messages",
        "system_instructions",
        "tool_definitions",
        "documents",
        "query",
        "operation",
        "provider",
    }
)
_AS_TEXT = frozenset({"tool_arguments", "tool_result"})
FINISH_REASONS = {
    "tool_calls": "tool_call",
    "tool_use": "tool_call",
    "tool-calls": "tool_call",
    "function_call": "tool_call",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "complete": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "content-filter": "content_filter",
    "safety": "content_filter",
    "refusal": "content_filter",
}
"""Finish reasons of providers, and the word of the conventions. Others stay as recorded."""


_PLAIN = {name: target for name, target in _NAMES.items() if name not in _OWN_FORM and name not in ONLY_OF}
"""Facts that are written as they are, whatever the kind."""


def add_facts(attributes: dict[str, Any], call: Call) -> None:
    """Add the conventions' attributes of a call that are single values: operation, provider, models, tokens and the like."""
    kind = call.kind
    for name, value in call.facts.items():
        target = _PLAIN.get(name)
        if target is not None:
            if target not in attributes:
                attributes[target] = value
        elif ONLY_OF.get(name) is kind:
            add(attributes, _NAMES[name], write_json(value) if name in _AS_TEXT and type(value) is not str else value)
    if call.operation is not None:
        add(attributes, OPERATION_NAME, call.operation)
    if call.provider is not None:
        add(attributes, PROVIDER_NAME, call.provider)


def add_genai(attributes: dict[str, Any], call: Call, *, failed: bool) -> None:
    """Add the conventions' attributes of a call. ``failed`` is whether the span's status is an error."""
    add_facts(attributes, call)
    if call.kind is _RETRIEVER:
        add(attributes, _NAMES["query"], call.query)
        if call.documents and all(one.id is not None and one.score is not None for one in call.documents):
            _add_json(attributes, "documents", [_document(one) for one in call.documents])
    if call.system:
        _add_json(attributes, "system_instructions", call.system)
    if call.tools:
        _add_json(attributes, "tool_definitions", call.tools)
    if call.input:
        _add_json(attributes, "input_messages", [input_message(one) for one in call.input])
    if call.output:
        _add_json(attributes, "output_messages", [output_message(one, failed) for one in call.output])


def _add_json(attributes: dict[str, Any], fact: str, value: Any) -> None:
    target = _NAMES[fact]
    if target not in attributes:
        attributes[target] = write_json(value)


def input_message(message: Message) -> dict[str, Any]:
    """Return a message in the schema of ``gen_ai.input.messages``."""
    found: dict[str, Any] = {"role": message.role, "parts": message.parts}
    if message.name:
        found["name"] = message.name
    return found


def output_message(message: Message, failed: bool) -> dict[str, Any]:
    """Return a choice in the schema of ``gen_ai.output.messages``, which asks for a finish reason."""
    found = input_message(message)
    reason = message.finish_reason
    if reason is None:
        reason = "error" if failed else "unknown"
    elif reason not in _LISTED:
        word = reason.lower().rpartition(".")[2]  # Python's str() of an enumeration: FinishReason.STOP
        reason = FINISH_REASONS.get(word, word if word in _LISTED else reason)
    found["finish_reason"] = reason
    return found


_LISTED = frozenset({"stop", "length", "content_filter", "tool_call", "error"})


def _document(document: Document) -> dict[str, Any]:
    found: dict[str, Any] = {"id": document.id, "score": document.score}
    if document.content is not None:
        found["content"] = document.content
    if document.metadata is not None:
        found["metadata"] = document.metadata
    return found
