"""The single values that a call can have, and their names in both conventions.

``docs/mapping.md`` is made from this table. A dialect says under which of its keys a fact is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from netra_otel_bridge.convert.attributes import as_count
from netra_otel_bridge.convert.llm.operations import as_kind_word
from netra_otel_bridge.core.json_text import read_json


def as_text(value: Any) -> str | None:
    """Return a text that is not empty."""
    return value if isinstance(value, str) and value else None


def as_number(value: Any) -> int | float | None:
    """Return a finite number, also one that was recorded as text."""
    if isinstance(value, str):
        try:
            value = float(value) if "." in value or "e" in value or "E" in value else int(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -(2.0**63) <= value < 2.0**63 else None


def as_tokens(value: Any) -> int | None:
    """Return a count, also one that was recorded as text."""
    return as_count(as_number(value) if isinstance(value, str) else value)


def as_flag(value: Any) -> bool | None:
    """Return a boolean, also one that was recorded as text."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def as_texts(value: Any) -> tuple[str, ...] | None:
    """Return a list of texts, also one that was recorded as JSON, or a single text."""
    if isinstance(value, str):
        decoded = read_json(value) if value.startswith("[") else None
        value = decoded if isinstance(decoded, list) else [value]
    if not isinstance(value, list | tuple):
        return None
    return tuple(item for item in value if isinstance(item, str) and item) or None


def as_anything(value: Any) -> Any:
    """Return any value but an empty one."""
    return None if value == "" or value == () else value


class Fact(NamedTuple):
    """One fact: its name, how it is read (``None`` for a value that is not one), and its names in the conventions."""

    name: str
    read: Callable[[Any], Any]
    genai: str | None = None
    openinference: str | None = None
    parameter: str | None = None
    """Name in ``llm.invocation_parameters``, where the API of the model has it."""


FACTS = (
    Fact("request_model", as_text, "gen_ai.request.model"),
    Fact("response_model", as_text, "gen_ai.response.model"),
    Fact("response_id", as_text, "gen_ai.response.id"),
    Fact("conversation_id", as_text, "gen_ai.conversation.id", "session.id"),
    Fact("finish_reasons", as_texts, "gen_ai.response.finish_reasons"),
    Fact("stream", as_flag, "gen_ai.request.stream", parameter="stream"),
    Fact("temperature", as_number, "gen_ai.request.temperature", parameter="temperature"),
    Fact("top_p", as_number, "gen_ai.request.top_p", parameter="top_p"),
    Fact("top_k", as_number, "gen_ai.request.top_k", parameter="top_k"),
    Fact("max_tokens", as_tokens, "gen_ai.request.max_tokens", parameter="max_tokens"),
    Fact("frequency_penalty", as_number, "gen_ai.request.frequency_penalty", parameter="frequency_penalty"),
    Fact("presence_penalty", as_number, "gen_ai.request.presence_penalty", parameter="presence_penalty"),
    Fact("seed", as_tokens, "gen_ai.request.seed", parameter="seed"),
    Fact("stop_sequences", as_texts, "gen_ai.request.stop_sequences", parameter="stop"),
    Fact("choice_count", as_tokens, "gen_ai.request.choice.count", parameter="n"),
    Fact("dimensions", as_tokens, "gen_ai.embeddings.dimension.count", parameter="dimensions"),
    Fact("reasoning_effort", as_text, parameter="reasoning_effort"),
    Fact("first_chunk_s", as_anything, "gen_ai.response.time_to_first_chunk"),
    Fact("input_tokens", as_tokens, "gen_ai.usage.input_tokens", "llm.token_count.prompt"),
    Fact("output_tokens", as_tokens, "gen_ai.usage.output_tokens", "llm.token_count.completion"),
    Fact("total_tokens", as_tokens, None, "llm.token_count.total"),
    Fact(
        "cache_read_tokens",
        as_tokens,
        "gen_ai.usage.cache_read.input_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    Fact(
        "cache_write_tokens",
        as_tokens,
        "gen_ai.usage.cache_creation.input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    Fact(
        "reasoning_tokens",
        as_tokens,
        "gen_ai.usage.reasoning.output_tokens",
        "llm.token_count.completion_details.reasoning",
    ),
    Fact("audio_input_tokens", as_tokens, None, "llm.token_count.prompt_details.audio"),
    Fact("audio_output_tokens", as_tokens, None, "llm.token_count.completion_details.audio"),
    Fact("tool_name", as_text, "gen_ai.tool.name", "tool.name"),
    Fact("tool_call_id", as_text, "gen_ai.tool.call.id", "tool.id"),
    Fact("tool_type", as_text, "gen_ai.tool.type"),
    Fact("tool_description", as_text, "gen_ai.tool.description", "tool.description"),
    Fact("tool_arguments", as_anything, "gen_ai.tool.call.arguments", "tool.parameters"),
    Fact("tool_result", as_anything, "gen_ai.tool.call.result"),
    Fact("agent_name", as_text, "gen_ai.agent.name", "agent.name"),
    Fact("agent_id", as_text, "gen_ai.agent.id"),
    Fact("agent_description", as_text, "gen_ai.agent.description"),
    Fact("workflow_name", as_text, "gen_ai.workflow.name"),
    Fact("data_source_id", as_text, "gen_ai.data_source.id"),
    Fact("query", as_text, "gen_ai.retrieval.query.text"),
    Fact("documents", as_anything, "gen_ai.retrieval.documents"),
    Fact("system_instructions", as_anything, "gen_ai.system_instructions"),
    Fact("tool_definitions", as_anything, "gen_ai.tool.definitions"),
    Fact("input_messages", as_anything, "gen_ai.input.messages"),
    Fact("output_messages", as_anything, "gen_ai.output.messages"),
    # What follows has no name of its own in a convention: evidence of a kind, or a source of the values above.
    Fact("operation", as_text, "gen_ai.operation.name"),
    Fact("provider", as_text, "gen_ai.provider.name"),
    Fact("system", as_text),
    Fact("openinference_kind", as_text, None, "openinference.span.kind"),
    Fact("request_type", as_text),
    Fact("recorded_kind", as_kind_word),
    Fact("step", as_text),
    Fact("database", as_text),
    Fact("database_operation", as_text),
    Fact("instrumentation", as_text),
    Fact("entity_name", as_text),
    Fact("conversation", as_anything),
    Fact("prompt", as_text),
    Fact("request", as_anything),
    Fact("response", as_anything),
    Fact("heard", as_text),
    Fact("input", as_anything, None, "input.value"),
    Fact("output", as_anything, None, "output.value"),
    Fact("reranker_top_k", as_tokens, None, "reranker.top_k"),
)
BY_NAME = {fact.name: fact for fact in FACTS}
