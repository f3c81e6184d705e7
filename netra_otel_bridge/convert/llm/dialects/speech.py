"""Conversations of voice agents, as netra-sdk's instrumentation of Deepgram writes them.

deepgram.agent.history.role = "user"        deepgram.agent.conversation.role = "assistant"
deepgram.agent.history.content = "Hail"     deepgram.agent.conversation.content = "Aye"
"""

from __future__ import annotations

from netra_otel_bridge.convert.llm.call import Call, Message, reasoning
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.messages import OUTPUT, message
from netra_otel_bridge.convert.llm.recorded import Recorded

_PREFIX = "deepgram.agent."


def _read(recorded: Recorded, call: Call) -> None:
    if call.input or call.output:
        return
    for turn in ("history", "conversation"):
        content = recorded.attributes.get(f"{_PREFIX}{turn}.content")
        if isinstance(content, str):
            one = message(recorded.attributes.get(f"{_PREFIX}{turn}.role"), content, OUTPUT)
            (call.output if one.role == OUTPUT else call.input).append(one)
    thought = recorded.attributes.get(f"{_PREFIX}thinking.content")
    if isinstance(thought, str) and thought:
        if not call.output:
            call.output.append(Message(OUTPUT))
        call.output[0].parts.insert(0, reasoning(thought))


SPEECH = Dialect(
    "speech",
    facts=(("deepgram.agent.history.content", "heard"), ("deepgram.agent.conversation.content", "heard")),
    reads=("heard",),
    read=_read,
)
