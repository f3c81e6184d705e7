"""OpenInference, recorded as such.

llm.input_messages.0.message.role = "user"
llm.input_messages.0.message.content = "Hello"
llm.output_messages.0.message.tool_calls.0.tool_call.function.name = "f"
llm.output_messages.0.message.function_call_name = "f"
llm.prompts.0.prompt.text = "Once"          llm.choices.0.completion.text = "upon"
retrieval.documents.0.document.content = "..."
"""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.convert.llm.call import Call, Document, Message, media, reasoning, text, tool_call, tool_result
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.facts import as_number, as_text
from netra_otel_bridge.convert.llm.messages import INPUT, OUTPUT, role_of
from netra_otel_bridge.convert.llm.parts import arguments_of, decoded
from netra_otel_bridge.convert.llm.recorded import Fields, Recorded, in_order, nested

_INPUT = "llm.input_messages."
_OUTPUT = "llm.output_messages."
_DOCUMENTS = "retrieval.documents."
_TEXTS = "embedding.embeddings."
_CANDIDATES = "reranker.input_documents."
_RANKED = "reranker.output_documents."
_TOOLS = "llm.tools."
_PROMPTS = "llm.prompts."
_CHOICES = "llm.choices."


def _read(recorded: Recorded, call: Call) -> None:
    groups = recorded.groups
    if not call.input:
        call.input = _with_content([_message(fields, INPUT) for fields in in_order(groups.get(_INPUT))])
    if not call.output:
        call.output = _with_content([_message(fields, OUTPUT) for fields in in_order(groups.get(_OUTPUT))])
    if _PROMPTS in groups or _CHOICES in groups:
        _read_completion(recorded, call)
    if not call.documents:
        call.documents = [_document(fields) for fields in in_order(groups.get(_DOCUMENTS) or groups.get(_RANKED))]
    if not call.candidates:
        call.candidates = [_document(fields) for fields in in_order(groups.get(_CANDIDATES))]
    if not call.texts:
        words = [fields.get("embedding.text") for fields in in_order(groups.get(_TEXTS))]
        call.texts = [word for word in words if isinstance(word, str)]
    if not call.tools:
        schemas = [decoded(fields.get("tool.json_schema")) for fields in in_order(groups.get(_TOOLS))]
        call.tools = [schema for schema in schemas if isinstance(schema, dict)]


def _read_completion(recorded: Recorded, call: Call) -> None:
    """Read a completion of text, of which each prompt and each choice is a text without a role."""
    sides = ((_PROMPTS, "prompt.text", INPUT), (_CHOICES, "completion.text", OUTPUT))
    asked, answered = (
        [
            Message(role, [text(words)])
            for fields in in_order(recorded.groups.get(prefix))
            if isinstance(words := fields.get(key), str) and words
        ]
        for prefix, key, role in sides
    )
    if (asked or answered) and not call.input and not call.output:
        call.input, call.output = asked, answered
        call.facts.setdefault("request_type", "text_completion")


def _with_content(messages: list[Message]) -> list[Message]:
    """Return messages of which one says something. Others are left to the dialects below."""
    return messages if any(one.parts for one in messages) else []


def _message(fields: Fields, default: str) -> Message:
    found = Message(role_of(fields.get("message.role"), default))
    content = fields.get("message.content")
    if found.role == "tool":
        found.parts.append(tool_result(fields.get("message.tool_call_id"), content))
    elif isinstance(content, str) and content:
        found.parts.append(text(content))
    for one in nested(fields, "message.contents."):
        words = one.get("message_content.text")
        kind = one.get("message_content.type")
        picture = media("image", uri=one.get("message_content.image.image.url"))
        sound = media("audio", uri=one.get("message_content.audio.audio.url"))
        if isinstance(words, str):
            found.parts.append(reasoning(words) if kind == "reasoning" else text(words))
        found.parts += [part for part in (picture, sound) if part is not None]
    for one in nested(fields, "message.tool_calls."):
        name = one.get("tool_call.function.name")
        if isinstance(name, str):
            arguments = arguments_of(one.get("tool_call.function.arguments"))
            found.parts.append(tool_call(one.get("tool_call.id"), name, arguments))
    name = fields.get("message.function_call_name")
    if isinstance(name, str) and name:
        arguments = arguments_of(fields.get("message.function_call_arguments_json"))
        found.parts.append(tool_call(None, name, arguments))
    found.finish_reason = as_text(fields.get("message.finish_reason"))
    found.name = as_text(fields.get("message.name"))
    return found


def _document(fields: Fields) -> Document:
    metadata: Any = fields.get("document.metadata")
    score = as_number(fields.get("document.score"))
    return Document(
        as_text(fields.get("document.content")),
        as_text(fields.get("document.id")),
        None if score is None else float(score),
        decoded(metadata),
    )


OPENINFERENCE = Dialect(
    "openinference",
    facts=(
        ("llm.model_name", "request_model"),
        ("embedding.model_name", "request_model"),
        ("reranker.model_name", "request_model"),
        ("llm.provider", "system"),
        ("llm.system", "system"),
        ("llm.finish_reason", "finish_reasons"),
        ("reranker.query", "query"),
    ),
    prefixes=(_INPUT, _OUTPUT, _DOCUMENTS, _TEXTS, _CANDIDATES, _RANKED, _TOOLS, _PROMPTS, _CHOICES),
    read=_read,
)
