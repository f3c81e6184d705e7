"""Netra's own calls, for spans that an application makes itself.

    conversation = [{"type": "input", "role": "user", "content": "Hello", "format": "text"}, ...]
    netra.prompt = "A chart of the bay"         netra.model = "image-model-1"
    input = [{"role": "user", "content": "Hello"}]

``input`` and ``output`` repeat what the dialects above say, and are read where nothing else was recorded. From Google ADK,
``input`` says more: under the indexed keys, each of several parallel calls overwrites the one before.
"""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.convert.llm.call import Call, Message
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.messages import INPUT, OUTPUT, from_list, from_object, user_text
from netra_otel_bridge.convert.llm.parts import decoded, leading_items
from netra_otel_bridge.convert.llm.recorded import Recorded


def _read(recorded: Recorded, call: Call) -> None:
    facts = recorded.facts
    if not call.input and not call.output and "conversation" in facts:
        items, cut = leading_items(facts["conversation"])
        sides: dict[str, list[Message]] = {"input": [], "output": []}
        for item in items:
            side = sides.get(str(item.get("type"))) if isinstance(item, dict) else None
            if side is not None:
                plain = {name: value for name, value in item.items() if name != "type"}
                one = from_object(plain, INPUT if side is sides["input"] else OUTPUT)
                side += [one] if one is not None else []
        call.input, call.output = sides["input"], sides["output"]
        if cut:
            call.note("messages_cut")
    if not call.input and (prompt := facts.get("prompt")) is not None:
        call.input = [user_text(prompt)]


def _read_last(recorded: Recorded, call: Call) -> None:
    told = recorded.facts.get("input")
    if not call.input or (isinstance(told, str) and '"function_calls"' in told):
        call.input = _messages(told, INPUT) or call.input
    if not call.output:
        call.output = _messages(recorded.facts.get("output"), OUTPUT)


def _messages(value: Any, default: str) -> list[Message]:
    """Return the messages of a text that lists them, or is one; none of any other text."""
    if not isinstance(value, str) or '"role"' not in value:
        return []
    found = decoded(value)
    if isinstance(found, dict):
        one = from_object(found, default) if _is_message(found) else None
        return [one] if one is not None and one.parts else []
    items, _ = leading_items(found)
    return from_list(items, default)[0] if all(map(_is_message, items)) else []


def _is_message(item: Any) -> bool:
    """Return whether an item names a role. A transcript, whose role is ``Output``, is under ``input`` by mistake."""
    return isinstance(item, dict) and isinstance(item.get("role"), str) and item["role"] != "Output"


NETRA = Dialect(
    "netra",
    facts=(
        ("netra.llm_system", "system"),
        ("netra.model", "request_model"),
        ("netra.span.type", "recorded_kind"),
        ("netra.instrumentation.name", "instrumentation"),
        ("netra.agent.name", "agent_name"),
        ("netra.tool.name", "tool_name"),
        ("netra.workflow.name", "workflow_name"),
        ("netra.entity.name", "entity_name"),
        ("conversation", "conversation"),
        ("netra.prompt", "prompt"),
    ),
    reads=("conversation", "prompt"),
    read=_read,
)
LAST = Dialect(
    "input and output", facts=(("input", "input"), ("output", "output")), reads=("input", "output"), read=_read_last
)
