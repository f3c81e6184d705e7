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
    turns: list[Message] = []
    for turn in ("history", "conversation"):
        content = recorded.attributes.get(f"{_PREFIX}{turn}.content")
        if isinstance(content, str):
            turns.append(message(recorded.attributes.get(f"{_PREFIX}{turn}.role"), content, OUTPUT))
    asked, answered = ([one for one in turns if (one.role == OUTPUT) is side] for side in (False, True))
    thought = recorded.attributes.get(f"{_PREFIX}thinking.content")
    if isinstance(thought, str) and thought:
        answered = answered or [Message(OUTPUT)]
        answered[0].parts.insert(0, reasoning(thought))
    call.input, call.output = asked, answered


SPEECH = Dialect(
    "speech",
    facts=(("deepgram.agent.history.content", "heard"), ("deepgram.agent.conversation.content", "heard")),
    reads=("heard",),
    read=_read,
)
