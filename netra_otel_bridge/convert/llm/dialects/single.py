"""A whole prompt and a whole completion, each under one key, as LangChain's and older instrumentations write them.

gen_ai.prompt = {"messages": [{"role": "user", "content": "hi"}]}
gen_ai.completion = {"generations": [[{"text": "hello", "message": {"role": "assistant", "content": "hello"}}]]}
"""

from __future__ import annotations

from netra_otel_bridge.convert.llm.call import Call
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.messages import INPUT, OUTPUT
from netra_otel_bridge.convert.llm.recorded import Recorded
from netra_otel_bridge.convert.llm.whole import messages_of


def _read(recorded: Recorded, call: Call) -> None:
    if not call.input:
        call.input = messages_of(recorded.facts.get("request"), INPUT)
    if not call.output:
        call.output = messages_of(recorded.facts.get("response"), OUTPUT)


SINGLE = Dialect(
    "single",
    facts=(
        ("gen_ai.prompt", "request"),
        ("gen_ai.completion", "response"),
        ("llm.prompts", "request"),
        ("llm.completions", "response"),
    ),
    reads=("request", "response"),
    read=_read,
)
