"""Definitions of tools that a model was offered, and the span of a tool's own run.

tools = [{"type": "function", "function": {"name": "f", "parameters": {...}}}]
llm.request.functions.0.name = "f"         gen_ai.request.tools.0.name = "f"
tool.name = "f"                            tool.kwargs = "{'at': 'quay'}"
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netra_otel_bridge.convert.llm.call import Call
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.parts import decoded, leading_items
from netra_otel_bridge.convert.llm.recorded import Fields, Recorded, in_order

_PREFIXES = ("llm.request.functions.", "gen_ai.request.tools.", "gen_ai.agent.tools.")


def definition(recorded: Any) -> dict[str, Any] | None:
    """Return a tool's definition in the conventions' form, from that of OpenAI, Anthropic, Gemini or Bedrock."""
    found = decoded(recorded)
    if not isinstance(found, dict):
        return None
    inner = next((found[name] for name in ("function", "toolSpec") if isinstance(found.get(name), dict)), found)
    name = inner.get("name")
    if not isinstance(name, str) or not name:
        return None
    kind = found.get("type")
    result: dict[str, Any] = {"type": kind if isinstance(kind, str) and kind else "function", "name": name}
    if isinstance(inner.get("description"), str) and inner["description"]:
        result["description"] = inner["description"]
    for key in ("parameters", "input_schema", "inputSchema", "parameters_json_schema"):
        schema = decoded(inner.get(key))
        if isinstance(schema, dict):
            result["parameters"] = schema.get("json", schema)
            break
    return result


def definitions(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the definitions of tools, in whatever forms they were recorded."""
    return [known for item in _flat(items) if (known := definition(item)) is not None]


def _read(recorded: Recorded, call: Call) -> None:
    found = call.tools or leading_items(recorded.facts.get("tool_definitions"))[0]
    for prefix in _PREFIXES:
        found = found or in_order(recorded.groups.get(prefix))
    call.tools = found


def _flat(items: Sequence[Any]) -> list[Any]:
    """Open Gemini's tools, which list several functions in one."""
    flat: list[Any] = []
    for item in items:
        inner = item.get("function_declarations", item.get("functionDeclarations")) if isinstance(item, dict) else None
        flat += inner if isinstance(inner, list) else [_value(item)]
    return flat


def _value(item: Fields | Any) -> Any:
    """Return what an indexed key without a rest holds: ``gen_ai.request.tools.0`` with a whole definition."""
    return item[""] if isinstance(item, dict) and item.keys() == {""} else item


TOOLS = Dialect(
    "tools",
    facts=(
        ("tools", "tool_definitions"),
        ("gen_ai.request.tools", "tool_definitions"),
        ("gen_ai.agent.tools", "tool_definitions"),
        ("ai.prompt.tools", "tool_definitions"),
        ("tool.call_id", "tool_call_id"),
        ("gen_ai.request.tool.id", "tool_call_id"),
        ("gen_ai.request.tool.name", "tool_name"),
        ("tool.arguments", "tool_arguments"),
        ("tool.kwargs", "tool_arguments"),
        ("tool.args", "tool_arguments"),
        ("tool.input", "tool_arguments"),
        ("tool.result", "tool_result"),
        ("tool.output", "tool_result"),
        ("mcp.response.value", "tool_result"),
    ),
    prefixes=_PREFIXES,
    reads=("tool_definitions",),
    read=_read,
)
