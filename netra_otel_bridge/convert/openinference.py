"""Add attributes of OpenInference, the conventions that Phoenix and other LLM tools read.

The rules are the last column of the table in ``docs/mapping.md``. Only keys that the application did not record are
added.
"""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.convert import semconv
from netra_otel_bridge.convert.attributes import as_double
from netra_otel_bridge.convert.chat_messages import Message
from netra_otel_bridge.convert.semconv import add
from netra_otel_bridge.core.json_text import read_json, write_json
from netra_otel_bridge.core.model.netra import TraceSpan

PROJECT_NAME = "openinference.project.name"
SPAN_KIND = "openinference.span.kind"
_SPAN_KINDS = {"GENERATION": "LLM", "EMBEDDING": "EMBEDDING", "TOOL": "TOOL", "AGENT": "AGENT"}
_INVOCATION = "gen_ai.request."


def add_openinference(
    attributes: dict[str, Any],
    span: TraceSpan,
    kind: str | None,
    *,
    metadata: dict[str, Any],
    prompt: list[Message],
    completion: list[Message],
) -> None:
    """Add OpenInference's attributes. ``kind`` is Netra's type; ``metadata`` is the span's, with the tenant id."""
    add(attributes, SPAN_KIND, _SPAN_KINDS.get(kind or "", "CHAIN"))
    model = span.model_name or attributes.get(semconv.RESPONSE_MODEL) or attributes.get(semconv.REQUEST_MODEL)
    if kind == "EMBEDDING":
        add(attributes, "embedding.model_name", model)
    elif kind == "GENERATION":
        add(attributes, "llm.model_name", model)
        system = semconv.system_of(attributes) or attributes.get(semconv.PROVIDER_NAME)
        add(attributes, "llm.system", system)
        add(attributes, "llm.provider", system)
        _add_invocation(attributes)
        _add_messages(attributes, "llm.input_messages", prompt)
        _add_messages(attributes, "llm.output_messages", completion)
    elif kind == "TOOL":
        add(attributes, "tool.name", attributes.get(semconv.TOOL_NAME) or span.name)
    elif kind == "AGENT":
        add(attributes, "agent.name", attributes.get("netra.agent.name") or span.name)
    if kind in ("GENERATION", "EMBEDDING", "USAGE"):
        _add_usage(attributes, span)
    for name in ("input", "output"):
        value = attributes.get(name)
        if isinstance(value, str) and value:
            add(attributes, f"{name}.value", value)
            add(attributes, f"{name}.mime_type", _mime_type(value))
    if metadata:
        add(attributes, "metadata", write_json(metadata))


def _add_usage(attributes: dict[str, Any], span: TraceSpan) -> None:
    for name, column, dialects in (
        ("llm.token_count.prompt", span.prompt_tokens, semconv.INPUT_TOKEN_DIALECTS),
        ("llm.token_count.completion", span.completion_tokens, semconv.OUTPUT_TOKEN_DIALECTS),
        ("llm.token_count.prompt_details.cache_read", span.cached_tokens, semconv.CACHE_READ_DIALECTS),
        ("llm.token_count.total", span.total_tokens, semconv.TOTAL_TOKEN_DIALECTS),
    ):
        add(attributes, name, semconv.tokens(column, attributes, dialects))
    for name, cost in (
        ("llm.cost.prompt", span.prompt_tokens_cost),
        ("llm.cost.completion", span.completion_tokens_cost),
        ("llm.cost.prompt_details.cache_read", span.cached_tokens_cost),
        ("llm.cost.total", span.total_cost),
    ):
        add(attributes, name, as_double(cost))


def _add_invocation(attributes: dict[str, Any]) -> None:
    parameters = {
        key[len(_INVOCATION) :]: value
        for key, value in attributes.items()
        if key.startswith(_INVOCATION) and key != semconv.REQUEST_MODEL and not isinstance(value, bytes)
    }
    if parameters:
        add(attributes, "llm.invocation_parameters", write_json(parameters))


def _add_messages(attributes: dict[str, Any], prefix: str, messages: list[Message]) -> None:
    for number, message in enumerate(messages):
        base = f"{prefix}.{number}.message"
        add(attributes, f"{base}.role", _text(message.role))
        add(attributes, f"{base}.content", _text(message.content))
        add(attributes, f"{base}.tool_call_id", _text(message.tool_call_id))
        for index, call in enumerate(message.tool_calls):
            tool = f"{base}.tool_calls.{index}.tool_call"
            add(attributes, f"{tool}.id", _text(call.id))
            add(attributes, f"{tool}.function.name", _text(call.name))
            add(attributes, f"{tool}.function.arguments", _text(call.arguments))


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else write_json(value)


def _mime_type(text: str) -> str:
    return "application/json" if text[0] in "{[" and read_json(text) is not None else "text/plain"
