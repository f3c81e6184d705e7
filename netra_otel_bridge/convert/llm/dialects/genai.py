"""Today's names of the GenAI conventions, as JSON text or decoded.

    gen_ai.input.messages = [{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}]
    gen_ai.output.messages = [{"role": "assistant", "parts": [...], "finish_reason": "stop"}]
    gen_ai.system_instructions = [{"type": "text", "content": "Be brief."}]

Some instrumentations write the API's own form under these names: ``content`` and ``tool_calls`` instead of ``parts``.
"""

from __future__ import annotations

from netra_otel_bridge.convert.llm.call import Call
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.messages import INPUT, OUTPUT, from_list
from netra_otel_bridge.convert.llm.parts import decoded, parts_of
from netra_otel_bridge.convert.llm.recorded import Recorded


def _read(recorded: Recorded, call: Call) -> None:
    facts = recorded.facts
    for name, default in (("input_messages", INPUT), ("output_messages", OUTPUT)):
        value = facts.get(name)
        if value is None:
            continue
        found, cut = from_list(value, default)
        if default == INPUT:
            call.input = found
        else:
            call.output = found
        if cut:
            call.note("messages_cut")
    instructions = facts.get("system_instructions")
    if instructions is not None:
        call.system = parts_of(decoded(instructions))


GENAI = Dialect(
    "genai",
    facts=(
        ("gen_ai.agent.instruction", "system_instructions"),
        ("gen_ai.agent.instructions", "system_instructions"),
        ("gen_ai.memory.query.text", "query"),
        ("gen_ai.tool.call_id", "tool_call_id"),
        ("gen_ai.tool_call_id", "tool_call_id"),
        ("gen_ai.tool.parameters", "tool_arguments"),
        ("gen_ai.entity", "recorded_kind"),
    ),
    reads=("input_messages", "output_messages", "system_instructions"),
    read=_read,
)
