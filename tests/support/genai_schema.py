"""The rules of the GenAI semantic conventions, version 1.41, for attributes that hold structure, and their enumerations.

Each check returns the violations that it finds, as text that begins with the place. The published JSON schemas let a
part of a known type without its fields through, as a part of a type that nobody knows; here it is a violation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

OPERATIONS = frozenset(
    ["chat", "create_agent", "embeddings", "execute_tool", "generate_content", "invoke_agent", "invoke_workflow", "retrieval", "text_completion"]
)  # fmt: skip
PROVIDERS = frozenset(
    [
        "anthropic",
        "aws.bedrock",
        "azure.ai.inference",
        "azure.ai.openai",
        "cohere",
        "deepseek",
        "gcp.gemini",
        "gcp.gen_ai",
        "gcp.vertex_ai",
        "groq",
        "ibm.watsonx.ai",
        "mistral_ai",
        "openai",
        "perplexity",
        "x_ai",
    ]
)
OLD_PROVIDERS = frozenset(["az.ai.inference", "az.ai.openai", "gemini", "vertex_ai", "xai"])
"""Values that earlier versions listed: today each has another name, so none of these is written."""
FINISH_REASONS = frozenset(["stop", "length", "content_filter", "tool_call", "error"])
ROLES = frozenset(["system", "user", "assistant", "tool"])
TEXT, NUMBER, OBJECT, ANYTHING, SCHEMA = "text", "number", "object", "anything", "schema"
MUST: dict[str, dict[str, str]] = {
    "text": {"content": TEXT},
    "reasoning": {"content": TEXT},
    "tool_call": {"name": TEXT},
    "tool_call_response": {"response": ANYTHING},
    "server_tool_call": {"name": TEXT, "server_tool_call": OBJECT},
    "server_tool_call_response": {"server_tool_call_response": OBJECT},
    "blob": {"modality": TEXT, "content": TEXT},
    "file": {"modality": TEXT, "file_id": TEXT},
    "uri": {"modality": TEXT, "uri": TEXT},
}
"""The fields that a part of each type must have. A part of another type has only its type."""
MAY: dict[str, tuple[str, ...]] = {
    "tool_call": ("id",),
    "tool_call_response": ("id",),
    "server_tool_call": ("id",),
    "server_tool_call_response": ("id",),
    "blob": ("mime_type",),
    "file": ("mime_type",),
    "uri": ("mime_type",),
}
"""The fields that are text or null where they are."""
_OF_MESSAGES = frozenset({"server_tool_call", "server_tool_call_response"})
"""Types of parts that system instructions do not know; there they are of any other type."""


def violations(attributes: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the attributes of a span that the conventions define a structure or a list of values for."""
    found: list[str] = []
    for key, check in CHECKS.items():
        if key in attributes:
            found += [f"{key}{place}" for place in check(attributes[key])]
    return found


def json_violations(value: Any, check: Callable[[Any], Iterator[str]]) -> Iterator[str]:
    """Check a value that is written as JSON text, which is how spans carry structure."""
    if not isinstance(value, str):
        yield f" is {type(value).__name__}, not JSON text"
        return
    try:
        decoded = json.loads(value, parse_constant=_refuse)
    except ValueError as error:
        yield f" is not JSON: {error}"
        return
    yield from check(decoded)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def input_messages(value: Any) -> Iterator[str]:
    """Check decoded ``gen_ai.input.messages``."""
    yield from _items(value, _message)


def output_messages(value: Any) -> Iterator[str]:
    """Check decoded ``gen_ai.output.messages``: each message also has the reason why it ended."""

    def check(message: Any, place: str) -> Iterator[str]:
        yield from _message(message, place)
        if isinstance(message, dict):
            yield from _field(message, "finish_reason", TEXT, place)

    yield from _items(value, check)


def system_instructions(value: Any) -> Iterator[str]:
    """Check decoded ``gen_ai.system_instructions``."""
    yield from _items(value, lambda part, place: _part(part, place, known=MUST.keys() - _OF_MESSAGES))


def tool_definitions(value: Any) -> Iterator[str]:
    """Check decoded ``gen_ai.tool.definitions``."""

    def check(tool: Any, place: str) -> Iterator[str]:
        if not isinstance(tool, dict):
            yield f"{place} is no object"
            return
        yield from _field(tool, "type", TEXT, place)
        yield from _field(tool, "name", TEXT, place)
        if tool.get("type") == "function":
            yield from _optional(tool, ("description",), place)
            if tool.get("parameters") is not None:
                yield from _field(tool, "parameters", SCHEMA, place)

    yield from _items(value, check)


def retrieval_documents(value: Any) -> Iterator[str]:
    """Check decoded ``gen_ai.retrieval.documents``."""

    def check(document: Any, place: str) -> Iterator[str]:
        if not isinstance(document, dict):
            yield f"{place} is no object"
            return
        yield from _field(document, "id", TEXT, place)
        yield from _field(document, "score", NUMBER, place)

    yield from _items(value, check)


def operation_name(value: Any) -> Iterator[str]:
    """Check ``gen_ai.operation.name``, as far as the bridge itself chooses it."""
    if value not in OPERATIONS:
        yield f" is {value!r}, which is not listed"


def provider_name(value: Any) -> Iterator[str]:
    """Check ``gen_ai.provider.name``: any text, except what only differs from a listed name in case or age."""
    if not isinstance(value, str) or not value:
        yield f" is {value!r}, no name"
    elif value in OLD_PROVIDERS or (value not in PROVIDERS and value.lower() in PROVIDERS):
        yield f" is {value!r}, which has another name today"


def finish_reasons(value: Any) -> Iterator[str]:
    """Check ``gen_ai.response.finish_reasons``: texts, and none that stands for a reason that is not known."""
    if not isinstance(value, list | tuple) or not all(isinstance(reason, str) for reason in value):
        yield f" is {value!r}, not a list of texts"
    elif "unknown" in value:
        yield " has a reason that nobody recorded"


CHECKS: dict[str, Callable[[Any], Iterator[str]]] = {
    "gen_ai.input.messages": lambda value: json_violations(value, input_messages),
    "gen_ai.output.messages": lambda value: json_violations(value, output_messages),
    "gen_ai.system_instructions": lambda value: json_violations(value, system_instructions),
    "gen_ai.tool.definitions": lambda value: json_violations(value, tool_definitions),
    "gen_ai.retrieval.documents": lambda value: json_violations(value, retrieval_documents),
    "gen_ai.operation.name": operation_name,
    "gen_ai.provider.name": provider_name,
    "gen_ai.response.finish_reasons": finish_reasons,
}


def _items(value: Any, check: Callable[[Any, str], Iterator[str]]) -> Iterator[str]:
    if not isinstance(value, list):
        yield f" is {type(value).__name__}, not a list"
        return
    for index, item in enumerate(value):
        yield from check(item, f"[{index}]")


def _message(message: Any, place: str) -> Iterator[str]:
    if not isinstance(message, dict):
        yield f"{place} is no object"
        return
    yield from _field(message, "role", TEXT, place)
    yield from _optional(message, ("name",), place)
    parts = message.get("parts")
    if not isinstance(parts, list):
        yield f"{place}.parts is no list"
        return
    for index, part in enumerate(parts):
        yield from _part(part, f"{place}.parts[{index}]", known=MUST.keys())


def _part(part: Any, place: str, *, known: set[str]) -> Iterator[str]:
    if not isinstance(part, dict):
        yield f"{place} is no object"
        return
    yield from _field(part, "type", TEXT, place)
    kind = part.get("type")
    if isinstance(kind, str) and kind in known:
        for name, wanted in MUST[kind].items():
            yield from _field(part, name, wanted, place)
        yield from _optional(part, MAY.get(kind, ()), place)


def _field(holder: dict[str, Any], name: str, wanted: str, place: str) -> Iterator[str]:
    if name not in holder:
        yield f"{place}.{name} is missing"
        return
    value = holder[name]
    match wanted:
        case "text":
            right = isinstance(value, str)
        case "number":
            right = isinstance(value, int | float) and not isinstance(value, bool)
        case "object":
            right = isinstance(value, dict) and isinstance(value.get("type"), str)
        case "schema":
            right = isinstance(value, dict | bool)
        case _:
            right = True
    if not right:
        yield f"{place}.{name} is {value!r}, not {wanted}"


def _optional(holder: dict[str, Any], names: tuple[str, ...], place: str) -> Iterator[str]:
    for name in names:
        if not isinstance(holder.get(name), str | None):
            yield f"{place}.{name} is {holder[name]!r}, not text"
