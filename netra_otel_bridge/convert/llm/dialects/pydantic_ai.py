"""The parts of a message as netra-sdk's instrumentation of Pydantic AI writes them.

pydantic_ai.request.parts.1.content = "low"      pydantic_ai.response.parts.0.tool_name = "tide"
pydantic_ai.request.parts.1.tool_call_id = "t1"  pydantic_ai.response.parts.0.args = {"at": "quay"}
"""

from __future__ import annotations

from netra_otel_bridge.convert.llm.call import Call, Message, text, tool_call, tool_result
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.messages import INPUT, OUTPUT
from netra_otel_bridge.convert.llm.parts import arguments_of, parts_of
from netra_otel_bridge.convert.llm.recorded import Recorded, in_order

_SYSTEM = "pydantic_ai.system_prompts."
_REQUEST = "pydantic_ai.request.parts."
_RESPONSE = "pydantic_ai.response.parts."


def _read(recorded: Recorded, call: Call) -> None:
    prompts = [fields.get("") for fields in in_order(recorded.groups.get(_SYSTEM))]
    call.system = [*call.system, *(text(prompt) for prompt in prompts if isinstance(prompt, str) and prompt)]
    if not call.input:
        asked: list[Message] = []
        for fields in in_order(recorded.groups.get(_REQUEST)):
            content, call_id = fields.get("content"), fields.get("tool_call_id")
            if "tool_name" in fields or call_id is not None:
                asked.append(Message("tool", [tool_result(call_id, content)]))
            elif content is not None:
                asked.append(Message(INPUT, parts_of(content)))
        call.input = asked
    if not call.output:
        answer = Message(OUTPUT)
        for fields in in_order(recorded.groups.get(_RESPONSE)):
            name, content = fields.get("tool_name"), fields.get("content")
            if isinstance(name, str):
                answer.parts.append(tool_call(fields.get("tool_call_id"), name, arguments_of(fields.get("args"))))
            elif isinstance(content, str):
                answer.parts.append(text(content))
        if answer.parts:
            call.output = [answer]


PYDANTIC_AI = Dialect(
    "pydantic_ai",
    facts=(
        ("pydantic_ai.instructions", "system_instructions"),
        ("pydantic_ai.usage.request_tokens", "input_tokens"),
        ("pydantic_ai.usage.response_tokens", "output_tokens"),
        ("pydantic_ai.usage.total_tokens", "total_tokens"),
        ("pydantic_ai.usage.details.reasoning_tokens", "reasoning_tokens"),
        ("pydantic_ai.response.model_name", "response_model"),
    ),
    prefixes=(_SYSTEM, _REQUEST, _RESPONSE),
    read=_read,
)
