"""Spans as MLflow writes them. Every value is JSON, also a text, and so has quotes.

mlflow.spanType = "CHAT_MODEL"             mlflow.llm.model = "gpt-4o"
mlflow.spanInputs = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0.1}
mlflow.spanOutputs = {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
mlflow.spanOutputs = [{"page_content": "A ferry", "metadata": {"doc_uri": "u"}, "id": "d1"}]
mlflow.chat.tokenUsage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
mlflow.chat.tools = [{"type": "function", "function": {"name": "f", "parameters": {...}}}]
"""

from __future__ import annotations

from netra_otel_bridge.convert.llm.call import Call
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.facts import as_tokens
from netra_otel_bridge.convert.llm.operations import is_model_word
from netra_otel_bridge.convert.llm.parts import decoded, leading_items
from netra_otel_bridge.convert.llm.recorded import Recorded
from netra_otel_bridge.convert.llm.whole import plain_value, read_model, read_talk, texts_of

_INPUTS = "mlflow.spanInputs"
_OUTPUTS = "mlflow.spanOutputs"
_USAGE = "mlflow.chat.tokenUsage"
_TOOLS = "mlflow.chat.tools"
_TEXTS = (("mlflow.llm.model", "request_model"), ("mlflow.llm.provider", "system"))
_TOKENS = (
    ("input_tokens", "input_tokens"),
    ("output_tokens", "output_tokens"),
    ("total_tokens", "total_tokens"),
    ("cache_read_input_tokens", "cache_read_tokens"),
    ("cache_creation_input_tokens", "cache_write_tokens"),
)


def _read(recorded: Recorded, call: Call) -> None:
    attributes, facts = recorded.attributes, call.facts
    asked, answered = plain_value(attributes.get(_INPUTS)), plain_value(attributes.get(_OUTPUTS))
    for key, fact in _TEXTS:
        known = plain_value(attributes.get(key))
        if isinstance(known, str) and known:
            facts.setdefault(fact, known)
    usage = decoded(attributes.get(_USAGE))
    if isinstance(usage, dict):
        for name, fact in _TOKENS:
            if (count := as_tokens(usage.get(name))) is not None:
                facts.setdefault(fact, count)
    if not call.tools and "tool_definitions" not in facts:
        call.tools = leading_items(attributes.get(_TOOLS))[0]
    word = facts.get("recorded_kind")
    if is_model_word(word) or (word is None and "request_model" in facts):
        read_model(call, asked, answered)
    elif word == "embedding":
        call.texts = call.texts or texts_of(asked)
    else:
        read_talk(call, asked, answered)
    for name, value in (("input", asked), ("output", answered)):
        if value is not None and value != "" and value != "null":
            facts.setdefault(name, value)


MLFLOW = Dialect(
    "mlflow",
    facts=(("mlflow.spanType", "recorded_kind"),),
    keys=(_INPUTS, _OUTPUTS, _USAGE, _TOOLS, *(key for key, _ in _TEXTS)),
    read=_read,
)
