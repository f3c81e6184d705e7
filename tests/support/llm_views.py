"""What a converted span says about a call to a model, read back from the attributes of each convention by its rules alone.

A view has one entry for each fact that is there. Messages are neutral: ``role``, ``parts``, ``finish_reason``, ``name``.
The system's instructions are the first message, wherever a convention puts them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

Message = dict[str, Any]
GENAI_PARAMETERS = {
    "gen_ai.request.temperature": "temperature",
    "gen_ai.request.top_p": "top_p",
    "gen_ai.request.top_k": "top_k",
    "gen_ai.request.max_tokens": "max_tokens",
    "gen_ai.request.frequency_penalty": "frequency_penalty",
    "gen_ai.request.presence_penalty": "presence_penalty",
    "gen_ai.request.seed": "seed",
    "gen_ai.request.stop_sequences": "stop",
    "gen_ai.request.choice.count": "n",
    "gen_ai.embeddings.dimension.count": "dimensions",
    "gen_ai.request.stream": "stream",
}
_GENAI_TOKENS = {
    "input": "gen_ai.usage.input_tokens",
    "output": "gen_ai.usage.output_tokens",
    "cache_read": "gen_ai.usage.cache_read.input_tokens",
    "cache_write": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning": "gen_ai.usage.reasoning.output_tokens",
}
_OPENINFERENCE_TOKENS = {
    "input": "llm.token_count.prompt",
    "output": "llm.token_count.completion",
    "total": "llm.token_count.total",
    "cache_read": "llm.token_count.prompt_details.cache_read",
    "cache_write": "llm.token_count.prompt_details.cache_write",
    "reasoning": "llm.token_count.completion_details.reasoning",
    "audio_input": "llm.token_count.prompt_details.audio",
    "audio_output": "llm.token_count.completion_details.audio",
}
_GENAI = {
    "operation": "gen_ai.operation.name",
    "provider": "gen_ai.provider.name",
    "request_model": "gen_ai.request.model",
    "response_model": "gen_ai.response.model",
    "response_id": "gen_ai.response.id",
    "conversation": "gen_ai.conversation.id",
    "first_chunk": "gen_ai.response.time_to_first_chunk",
    "tool_name": "gen_ai.tool.name",
    "tool_id": "gen_ai.tool.call.id",
    "tool_type": "gen_ai.tool.type",
    "tool_description": "gen_ai.tool.description",
    "arguments": "gen_ai.tool.call.arguments",
    "result": "gen_ai.tool.call.result",
    "agent": "gen_ai.agent.name",
    "workflow": "gen_ai.workflow.name",
    "query": "gen_ai.retrieval.query.text",
}
_OPENINFERENCE = {
    "kind": "openinference.span.kind",
    "llm_provider": "llm.provider",
    "llm_system": "llm.system",
    "conversation": "session.id",
    "tool_name": "tool.name",
    "tool_description": "tool.description",
    "arguments": "tool.parameters",
    "agent": "agent.name",
    "reranker_query": "reranker.query",
    "reranker_model": "reranker.model_name",
}
_DATA = re.compile(r"data:([^;,]*);base64,(.*)", re.DOTALL)


def genai_view(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Read the conventions of GenAI 1.41."""
    view = {name: attributes[key] for name, key in _GENAI.items() if key in attributes}
    view["parameters"] = {name: _plain(attributes[key]) for key, name in GENAI_PARAMETERS.items() if key in attributes}
    view["tokens"] = {name: attributes[key] for name, key in _GENAI_TOKENS.items() if key in attributes}
    if "gen_ai.response.finish_reasons" in attributes:
        view["finish"] = tuple(attributes["gen_ai.response.finish_reasons"])
    instructions = decoded(attributes.get("gen_ai.system_instructions")) or []
    messages = decoded(attributes.get("gen_ai.input.messages")) or []
    view["input"] = [{"role": "system", "parts": instructions}] * bool(instructions) + messages
    view["output"] = decoded(attributes.get("gen_ai.output.messages")) or []
    view["tools"] = decoded(attributes.get("gen_ai.tool.definitions")) or []
    view["documents"] = decoded(attributes.get("gen_ai.retrieval.documents")) or []
    return view


def openinference_view(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Read OpenInference. ``form`` names what breaks its rules for contents."""
    view = {name: attributes[key] for name, key in _OPENINFERENCE.items() if key in attributes}
    models = [attributes[key] for key in ("llm.model_name", "embedding.model_name") if key in attributes]
    view["model"] = models[0] if len(models) == 1 else models or None
    texts = [attributes.get(f"{prefix}.invocation_parameters") for prefix in ("llm", "embedding")]
    view["parameters"] = {key: value for text in texts if text for key, value in json.loads(text).items()}
    view["tokens"] = {name: attributes[key] for name, key in _OPENINFERENCE_TOKENS.items() if key in attributes}
    if "llm.finish_reason" in attributes:
        reason = attributes["llm.finish_reason"]
        view["finish"] = (reason,) if isinstance(reason, str) else tuple(reason)
    view["form"] = []
    for name in ("input", "output"):
        listed = numbered(attributes, f"llm.{name}_messages.", ".message.")
        view[name] = [_message(fields, f"{name}[{index}]", view["form"]) for index, fields in enumerate(listed)]
    view["tools"] = [
        decoded(fields["tool.json_schema"]) for fields in numbered(attributes, "llm.tools.", ".")
    ]  # fmt: skip
    view["documents"] = documents(attributes, "retrieval.documents.")
    view["reranked"] = documents(attributes, "reranker.output_documents.")
    view["candidates"] = documents(attributes, "reranker.input_documents.")
    view["embedded"] = [
        fields.get("embedding.text") for fields in numbered(attributes, "embedding.embeddings.", ".")
    ]  # fmt: skip
    view["result"] = attributes.get("output.value")
    view["asked"] = attributes.get("input.value")
    return view


def decoded(value: Any) -> Any:
    """Return JSON text as its value, and any other value as JSON would have it."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return _plain(value)


def numbered(attributes: Mapping[str, Any], prefix: str, between: str) -> list[dict[str, Any]]:
    """Return the fields of each member of a numbered list, by number. A number that is left out is an error of the list."""
    members: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        if key.startswith(prefix):
            number, _, name = key[len(prefix) :].partition(between)
            members.setdefault(int(number), {})[name] = value
    assert sorted(members) == list(range(len(members))), f"{prefix} counts {sorted(members)}"
    return [members[number] for number in range(len(members))]


def documents(attributes: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Return documents of OpenInference: ``id``, ``content``, ``score`` and ``metadata`` where they have them."""
    return [
        {name.removeprefix("document."): value for name, value in fields.items()}
        for fields in numbered(attributes, prefix, ".")
    ]


def split_results(messages: list[Message]) -> list[Message]:
    """Return messages in which each result of a tool is a message of its own, for messages that others wrote."""
    split: list[Message] = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("parts"), list):
            return messages
        rest = [part for part in message["parts"] if part.get("type") != "tool_call_response"]
        results = [part for part in message["parts"] if part.get("type") == "tool_call_response"]
        split += [{"role": "tool", "parts": [part]} for part in results]
        if rest or not results:
            split.append({**message, "parts": rest})
    return split


def _message(fields: dict[str, Any], place: str, form: list[str]) -> Message:
    """Read a message of OpenInference; tools' calls come after what was said, because it has no common order."""
    message: Message = {"role": fields.get("role"), "parts": []}
    message |= {name: fields[name] for name in ("finish_reason", "name") if name in fields}
    parts = [_content(one) for one in numbered(fields, "contents.", ".message_content.")]
    if parts and "content" in fields:
        form.append(f"{place} has content and contents")
    if len(parts) == 1 and parts[0]["type"] == "text":
        form.append(f"{place} has one text as contents")
    if "tool_call_id" in fields or message["role"] == "tool":
        result = {"type": "tool_call_response", "id": fields.get("tool_call_id"), "response": fields.get("content")}
        message["parts"].append(result if "content" in fields else {**result, "response": parts})
    elif "content" in fields:
        message["parts"].append({"type": "text", "content": fields["content"]})
    else:
        message["parts"] += parts
    for call in numbered(fields, "tool_calls.", ".tool_call."):
        arguments = call.get("function.arguments")
        if not isinstance(arguments, str | None):
            form.append(f"{place} has arguments of a call that are no text")
        made = {"type": "tool_call", "id": call.get("id"), "name": call.get("function.name")}
        message["parts"].append({**made, "arguments": decoded(arguments)})
    return message


def _content(fields: dict[str, Any]) -> dict[str, Any]:
    kind = fields.get("type")
    if kind in ("text", "reasoning"):
        return {"type": kind, "content": fields.get("text")}
    url = fields.get(f"{kind}.{kind}.url")
    inline = _DATA.fullmatch(url or "")
    if inline:
        return {"type": "blob", "modality": kind, "mime_type": inline[1] or None, "content": inline[2]}
    return {"type": "uri", "modality": kind, "uri": url}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
