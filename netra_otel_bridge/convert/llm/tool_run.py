"""The span of a tool's own run: its name, its arguments, its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netra_otel_bridge.convert.llm.call import Call
from netra_otel_bridge.convert.llm.parts import decoded
from netra_otel_bridge.convert.llm.recorded import Recorded

_FRAMEWORK_KEYS = frozenset({"tags", "metadata", "kwargs"})
"""Keys that LangChain's instrumentations wrap around a tool's arguments and result."""
_SCHEMA_KEYS = frozenset({"type", "description", "nullable", "enum", "items", "properties", "required", "default"})
_EMPTY = ("", "{}", "()", "[]")


def read(call: Call, recorded: Recorded) -> None:
    """Add what a tool's span records to the facts of its call."""
    facts, attributes = call.facts, recorded.attributes
    if "tool_name" not in facts:
        name = facts.get("entity_name") or recorded.name.removeprefix("execute_tool ").removesuffix(".tool")
        if name:
            facts["tool_name"] = name
    if "gen_ai.tool.call.arguments" not in attributes:
        arguments = _told(facts.get("tool_arguments"), attributes)
        if arguments is None or ("input" in facts and _is_schema(arguments)):
            arguments = _content(call, recorded, "input")
        _set(facts, "tool_arguments", arguments)
    if "gen_ai.tool.call.result" not in attributes:
        _set(facts, "tool_result", facts.get("tool_result") or _content(call, recorded, "output"))


def _told(arguments: Any, attributes: Mapping[str, Any]) -> Any:
    """Return recorded arguments. Pydantic AI has positional ones beside those by name, both written by ``str``."""
    positional, named = attributes.get("tool.args"), attributes.get("tool.kwargs")
    if positional is None and named is None:
        return None if arguments in _EMPTY else arguments
    known = {
        name: decoded(value)
        for name, value in (("args", positional), ("kwargs", named))
        if value not in (None, *_EMPTY)
    }
    return next(iter(known.values())) if len(known) == 1 else known or None


def _is_schema(arguments: Any) -> bool:
    """Return whether arguments are the JSON schema of the tool's parameters, which smolagents writes in their place."""
    found = decoded(arguments)
    if not isinstance(found, dict):
        return False
    if found.get("type") == "object" and isinstance(found.get("properties"), dict):
        return True
    return bool(found) and all(
        isinstance(one, dict) and isinstance(one.get("type"), str) and one.keys() <= _SCHEMA_KEYS
        for one in found.values()
    )


def _set(facts: dict[str, Any], name: str, value: Any) -> None:
    if value is None or value == "":
        facts.pop(name, None)
    else:
        facts[name] = value


def _content(call: Call, recorded: Recorded, side: str) -> Any:
    """Return what went in or came out: ``input`` or ``output`` without the wraps of frameworks, else a message."""
    value = recorded.facts.get(side)
    if value is not None:
        return _unwrapped(value, side)
    messages = call.input if side == "input" else call.output
    if len(messages) == 1 and len(messages[0].parts) == 1:
        part = messages[0].parts[0]
        return part.get("content", part.get("response"))
    return None


def _may_be_wrapped(value: str) -> bool:
    """Return whether the words of a wrap are in a text, which is not decoded without them."""
    if "\\u" in value:
        return True
    if value.lstrip().startswith("["):
        return "role" in value
    return "tool_name" in value or "tags" in value or "metadata" in value or "kwargs" in value


def _unwrapped(value: Any, side: str) -> Any:
    if isinstance(value, str) and not _may_be_wrapped(value):
        return value
    found = decoded(value)
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict):
        (only,) = found
        if isinstance(only.get("role"), str) and only.keys() <= {"role", "content"}:
            return only.get("content")
    if isinstance(found, dict):
        if side == "input" and found.keys() == {"tool_name", "arguments"}:
            return found["arguments"]
        rest = found.keys() - _FRAMEWORK_KEYS
        if rest != found.keys() and rest and rest <= {"input_str", "inputs", "output"}:
            return next(found[name] for name in ("inputs", "input_str", "output") if name in found)
    return value
