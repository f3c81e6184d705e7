"""Write a call in OpenInference, the conventions that Phoenix and other LLM tools read.

Only attributes that were not recorded are added. Messages are added as a whole, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from netra_otel_bridge.convert.attributes import as_double
from netra_otel_bridge.convert.llm.call import Call, Document, Kind, Message, Part
from netra_otel_bridge.convert.llm.facts import FACTS
from netra_otel_bridge.convert.llm.messages import text_of
from netra_otel_bridge.convert.llm.providers import openinference_names
from netra_otel_bridge.convert.semconv import add
from netra_otel_bridge.core.json_text import read_json, write_json
from netra_otel_bridge.core.model.netra import TraceSpan

PROJECT_NAME = "openinference.project.name"
SPAN_KIND = "openinference.span.kind"
_MEDIA, _EMBEDDING, _OTHER = Kind.MEDIA, Kind.EMBEDDING, Kind.OTHER
_SPAN_KINDS = {kind: kind.value for kind in Kind} | {
    Kind.WORKFLOW: "CHAIN",
    Kind.USAGE: "CHAIN",
    Kind.OTHER: "CHAIN",
    Kind.HANDOFF: "TOOL",
}
_TOKENS = tuple(
    (fact.name, fact.openinference)
    for fact in FACTS
    if fact.openinference is not None and fact.openinference.startswith("llm.token_count.")
)
_PARAMETERS = {fact.name: fact.parameter for fact in FACTS if fact.parameter is not None}
_REQUEST = "gen_ai.request."
_NO_PARAMETERS = (
    "model",
    "tool",
    "function",
    "prompt",
    "message",
    "instruction",
    "system",
    "user",
    "type",
    "text",
    "url",
)
_KNOWN_REQUESTS = frozenset((fact.genai or "").removeprefix(_REQUEST) for fact in FACTS)
_ENCODINGS = "encoding_formats"
_RESPONSE_FORMATS = {"json": "json_object", "text": "text"}
_MODEL_NAMES = {Kind.EMBEDDING: "embedding.model_name", Kind.RERANKER: "reranker.model_name"}
_MODELS = frozenset({Kind.LLM, Kind.EMBEDDING, Kind.RERANKER, Kind.AGENT, Kind.MEDIA, Kind.USAGE})
_WITH_TOKENS = frozenset({Kind.LLM, Kind.EMBEDDING, Kind.RERANKER, Kind.MEDIA, Kind.USAGE})


def add_openinference(attributes: dict[str, Any], call: Call, span: TraceSpan, *, metadata: dict[str, Any]) -> None:
    """Add OpenInference's attributes of a call. ``metadata`` is the span's, with the tenant id."""
    kind, facts = call.kind, call.facts
    add(attributes, SPAN_KIND, kind_name(call))
    if "session.id" not in attributes:
        add(attributes, "session.id", facts.get("conversation_id"))
    if kind is not _OTHER:
        _add_kind(attributes, call, span)
    if call.input or (call.system and not _lists_messages(attributes.get("gen_ai.input.messages"))):
        system = [Message("system", list(call.system))] if call.system else []
        _add_messages(attributes, "llm.input_messages", [*system, *call.input])
    if call.output:
        _add_messages(attributes, "llm.output_messages", call.output)
    for number, definition in enumerate(call.tools):
        add(attributes, f"llm.tools.{number}.tool.json_schema", _json_schema(definition))
    _add_values(attributes, call)
    if metadata:
        add(attributes, "metadata", write_json(metadata))


def _add_kind(attributes: dict[str, Any], call: Call, span: TraceSpan) -> None:
    """Add what OpenInference has for calls of this kind alone."""
    kind = call.kind
    if kind in _MODELS:
        _add_model(attributes, call)
    if kind in _WITH_TOKENS:
        _add_usage(attributes, call, span)
    if kind in _ADD_OF_KIND:
        _ADD_OF_KIND[kind](attributes, call, span)


def kind_name(call: Call) -> str:
    """Return ``openinference.span.kind`` of a call."""
    if call.kind is _MEDIA:
        return "LLM" if call.input or call.output else "CHAIN"
    return _SPAN_KINDS[call.kind]


def _add_model(attributes: dict[str, Any], call: Call) -> None:
    facts, kind = call.facts, call.kind
    model = facts.get("model") or facts.get("response_model") or facts.get("request_model")
    if kind is _EMBEDDING:
        model = facts.get("request_model") or model
    add(attributes, _MODEL_NAMES.get(kind, "llm.model_name"), model)
    if call.provider is not None:
        name, system = openinference_names(call.provider)
        add(attributes, "llm.provider", name)
        add(attributes, "llm.system", system)
    reasons = facts.get("finish_reasons")
    if reasons:
        add(attributes, "llm.finish_reason", reasons[0] if len(reasons) == 1 else reasons)
    parameters = {name: facts[fact] for fact, name in _PARAMETERS.items() if fact in facts}
    for key in [key for key in attributes if key.startswith(_REQUEST)]:
        if _is_parameter(rest := key[len(_REQUEST) :], attributes[key]):
            parameters.setdefault(rest, attributes[key])
    _add_forms(parameters, attributes)
    if parameters:
        target = "embedding.invocation_parameters" if kind is _EMBEDDING else "llm.invocation_parameters"
        add(attributes, target, write_json(parameters))


def _add_forms(parameters: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Add the forms of embeddings and answers, under the names that the API of OpenAI has for them."""
    encodings = parameters.get(_ENCODINGS)
    if isinstance(encodings, str | tuple) and (isinstance(encodings, str) or len(encodings) == 1):
        del parameters[_ENCODINGS]
        parameters.setdefault("encoding_format", encodings if isinstance(encodings, str) else encodings[0])
    form = _RESPONSE_FORMATS.get(attributes.get("gen_ai.output.type", ""))
    if form is not None:
        parameters.setdefault("response_format", {"type": form})


def _is_parameter(rest: str, value: Any) -> bool:
    """Return whether a recorded ``gen_ai.request.*`` is a parameter: no tool, prompt or instruction."""
    if rest in _KNOWN_REQUESTS or isinstance(value, bytes):
        return False
    return "." not in rest and not any(word in rest for word in _NO_PARAMETERS)


def _add_usage(attributes: dict[str, Any], call: Call, span: TraceSpan) -> None:
    facts = call.facts
    for fact, name in _TOKENS:
        if fact in facts:
            add(attributes, name, facts[fact])
    asked, answered = facts.get("input_tokens"), facts.get("output_tokens")
    if asked is not None and answered is not None:
        add(attributes, "llm.token_count.total", asked + answered)
    for name, cost in (
        ("llm.cost.prompt", span.prompt_tokens_cost),
        ("llm.cost.completion", span.completion_tokens_cost),
        ("llm.cost.prompt_details.cache_read", span.cached_tokens_cost),
        ("llm.cost.total", span.total_cost),
    ):
        if cost is not None:
            add(attributes, name, as_double(cost))


def _add_handoff(attributes: dict[str, Any], call: Call, span: TraceSpan) -> None:
    add(attributes, "tool.name", call.facts.get("tool_name") or span.name)


def _add_agent(attributes: dict[str, Any], call: Call, _: TraceSpan) -> None:
    add(attributes, "agent.name", call.facts.get("agent_name"))


def _add_texts(attributes: dict[str, Any], call: Call, _: TraceSpan) -> None:
    for number, words in enumerate(call.texts):
        add(attributes, f"embedding.embeddings.{number}.embedding.text", words)


def _add_retrieved(attributes: dict[str, Any], call: Call, _: TraceSpan) -> None:
    _add_documents(attributes, "retrieval.documents", call.documents)


def _add_ranked(attributes: dict[str, Any], call: Call, _: TraceSpan) -> None:
    add(attributes, "reranker.query", call.query)
    add(attributes, "reranker.top_k", call.facts.get("reranker_top_k") or call.facts.get("top_k"))
    _add_documents(attributes, "reranker.input_documents", call.candidates)
    _add_documents(attributes, "reranker.output_documents", call.documents)


def _add_tool(attributes: dict[str, Any], call: Call, _: TraceSpan) -> None:
    facts = call.facts
    add(attributes, "tool.name", facts.get("tool_name"))
    add(attributes, "tool.description", facts.get("tool_description"))
    add(attributes, "tool.id", facts.get("tool_call_id"))
    arguments, result = facts.get("tool_arguments"), facts.get("tool_result")
    add(attributes, "tool.parameters", _text_or_json(arguments))
    _add_value(attributes, "input", _text_or_json(arguments))
    _add_value(attributes, "output", _text_or_json(result))


_ADD_OF_KIND: dict[Kind, Callable[[dict[str, Any], Call, TraceSpan], None]] = {
    Kind.TOOL: _add_tool,
    Kind.HANDOFF: _add_handoff,
    Kind.AGENT: _add_agent,
    Kind.EMBEDDING: _add_texts,
    Kind.RETRIEVER: _add_retrieved,
    Kind.RERANKER: _add_ranked,
}


def _add_documents(attributes: dict[str, Any], prefix: str, documents: Sequence[Document]) -> None:
    for number, document in enumerate(documents):
        base = f"{prefix}.{number}.document"
        add(attributes, f"{base}.id", document.id)
        add(attributes, f"{base}.score", document.score)
        add(attributes, f"{base}.content", document.content)
        add(attributes, f"{base}.metadata", _text_or_json(document.metadata))


def _add_messages(attributes: dict[str, Any], prefix: str, messages: Iterable[Message]) -> None:
    start = f"{prefix}."
    if start in "\n".join(attributes) and any(key.startswith(start) for key in attributes):
        return
    number = 0
    for message in messages:
        for one in _with_results_apart(message) if len(message.parts) > 1 else (message,):
            _add_message(attributes, f"{prefix}.{number}.message", one)
            number += 1


def _with_results_apart(message: Message) -> Iterable[Message]:
    """Give each result of a tool in a message a message of its own, as OpenInference has one content for it."""
    parts = message.parts
    results = [part for part in parts if part["type"] == "tool_call_response"]
    if not results:
        return (message,)
    rest = [part for part in parts if part["type"] != "tool_call_response"]
    own = [Message("tool", [part], name=message.name) for part in results]
    if not rest:
        own[-1].finish_reason = message.finish_reason
        return own
    return (Message(message.role, rest, message.finish_reason, message.name), *own)


def _lists_messages(recorded: Any) -> bool:
    """Return whether recorded messages are ones that Phoenix reads, as long as none are there in OpenInference."""
    return isinstance(recorded, str) and bool(read_json(recorded))


def _add_message(attributes: dict[str, Any], base: str, message: Message) -> None:
    parts = message.parts
    if message.name is not None:
        add(attributes, f"{base}.name", message.name)
    if message.finish_reason is not None:
        add(attributes, f"{base}.finish_reason", message.finish_reason)
    if len(parts) == 1 and parts[0]["type"] == "text":  # most messages
        add(attributes, f"{base}.role", message.role)
        add(attributes, f"{base}.content", parts[0]["content"])
        return
    if parts and parts[0]["type"] == "tool_call_response":
        add(attributes, f"{base}.role", "tool")
        add(attributes, f"{base}.content", _text_or_json(parts[0].get("response")))
        add(attributes, f"{base}.tool_call_id", parts[0].get("id"))
        return
    add(attributes, f"{base}.role", message.role)
    calls = [part for part in parts if part["type"] == "tool_call"]
    others = [part for part in parts if part["type"] != "tool_call"]
    if len(others) == 1 and (words := _words(others[0])) is not None:
        add(attributes, f"{base}.content", words)
    else:
        for number, part in enumerate(others):
            _add_content(attributes, f"{base}.contents.{number}.message_content", part)
    for number, part in enumerate(calls):
        tool = f"{base}.tool_calls.{number}.tool_call"
        add(attributes, f"{tool}.id", part.get("id"))
        add(attributes, f"{tool}.function.name", _text_or_json(part.get("name")))
        add(attributes, f"{tool}.function.arguments", _text_or_json(part.get("arguments")))


def _words(part: Part) -> str | None:
    """Return the text of a part, and JSON text of one that OpenInference has no name for; ``None`` of all others."""
    kind = part["type"]
    if kind == "text":
        return str(part["content"])
    if kind == "reasoning" or (kind in ("uri", "blob") and part["modality"] in ("image", "audio", "video")):
        return None
    return write_json(part)


def _add_content(attributes: dict[str, Any], base: str, part: Part) -> None:
    words = _words(part)
    if words is not None or part["type"] == "reasoning":
        add(attributes, f"{base}.type", "text" if words is not None else "reasoning")
        add(attributes, f"{base}.text", part["content"] if words is None else words)
        return
    modality = part["modality"]
    add(attributes, f"{base}.type", modality)
    add(attributes, f"{base}.{modality}.{modality}.url", _url(part))
    if modality == "audio":
        add(attributes, f"{base}.audio.audio.mime_type", part.get("mime_type"))


def _url(part: Part) -> str:
    if part["type"] == "uri":
        return str(part["uri"])
    return f"data:{part.get('mime_type') or 'application/octet-stream'};base64,{part['content']}"


def _json_schema(definition: dict[str, Any]) -> str:
    """Return a definition in the form of OpenAI's API, which OpenInference asks for."""
    inner = {name: value for name, value in definition.items() if name != "type"}
    return write_json({"type": definition["type"], "function": inner})


def _add_values(attributes: dict[str, Any], call: Call) -> None:
    facts = call.facts
    if "input.value" not in attributes:
        asked = facts.get("input")
        if asked is None:
            asked = (
                call.query
                or text_of(one for one in reversed(call.input) if one.role == "user")
                or (call.texts[0] if len(call.texts) == 1 else None)
            )
        _add_value(attributes, "input", _text_or_json(asked))
    if "output.value" not in attributes:
        answered = facts.get("output")
        if answered is None:
            answered = text_of(call.output)
        _add_value(attributes, "output", _text_or_json(answered))


def _add_value(attributes: dict[str, Any], side: str, value: str | None) -> None:
    if value and f"{side}.value" not in attributes:
        add(attributes, f"{side}.value", value)
        add(attributes, f"{side}.mime_type", _mime_type(value))


def _mime_type(text: str) -> str:
    return "application/json" if text[0] in "{[" and read_json(text) is not None else "text/plain"


def _text_or_json(value: Any) -> str | None:
    """Return a text as it is, and other values as JSON."""
    return value if value is None or isinstance(value, str) else write_json(value)
