"""Observations as Langfuse's SDKs write them. A text is as it is, and any other value is JSON.

langfuse.observation.type = "generation"   langfuse.observation.model.name = "gpt-4o"
langfuse.observation.input = [{"role": "user", "content": "Hello"}]
langfuse.observation.output = {"role": "assistant", "content": "Hi"}
langfuse.observation.model.parameters = {"temperature": 0.2}
langfuse.observation.usage_details = {"input": 10, "output": 3, "total": 13}
"""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.convert.llm.call import Call
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.facts import as_tokens
from netra_otel_bridge.convert.llm.operations import is_model_word
from netra_otel_bridge.convert.llm.parts import decoded
from netra_otel_bridge.convert.llm.recorded import Recorded
from netra_otel_bridge.convert.llm.whole import add_parameters, read_model, read_talk, texts_of

_INPUT = "langfuse.observation.input"
_OUTPUT = "langfuse.observation.output"
_PARAMETERS = "langfuse.observation.model.parameters"
_USAGE = "langfuse.observation.usage_details"
_TOKENS = (
    ("input_tokens", ("input", "prompt_tokens", "input_tokens")),
    ("output_tokens", ("output", "completion_tokens", "output_tokens")),
    ("total_tokens", ("total", "total_tokens")),
    ("cache_read_tokens", ("input_cache_read", "input_cached_tokens", "cache_read_input_tokens")),
    ("cache_write_tokens", ("input_cache_creation", "cache_creation_input_tokens")),
    ("reasoning_tokens", ("output_reasoning", "output_reasoning_tokens")),
)
_DETAILS = (
    ("cache_read_tokens", "cached_tokens", ("prompt_tokens_details", "input_tokens_details")),
    ("reasoning_tokens", "reasoning_tokens", ("completion_tokens_details", "output_tokens_details")),
)


def _read(recorded: Recorded, call: Call) -> None:
    attributes, facts = recorded.attributes, call.facts
    asked, answered = attributes.get(_INPUT), attributes.get(_OUTPUT)
    parameters = decoded(attributes.get(_PARAMETERS))
    if isinstance(parameters, dict):
        add_parameters(call, parameters)
    _read_usage(recorded, call)
    word = facts.get("recorded_kind")
    if is_model_word(word) or (word is None and "request_model" in facts):
        read_model(call, asked, answered)
    elif word == "embedding":
        call.texts = call.texts or texts_of(asked)
    else:
        read_talk(call, asked, answered)
    for name, value in (("input", asked), ("output", answered)):
        if value is not None and value != "":
            facts.setdefault(name, value)


def _read_usage(recorded: Recorded, call: Call) -> None:
    usage = decoded(recorded.attributes.get(_USAGE))
    if not isinstance(usage, dict):
        return
    counts = {name: count for name, value in usage.items() if (count := as_tokens(value)) is not None}
    found = {fact: counts[name] for fact, names in _TOKENS for name in reversed(names) if name in counts}
    details = {side: sum(counts[name] for name in counts if _is_detail(name, side)) for side in ("input", "output")}
    if counts.keys() >= {"input", "output", "total"} and counts["total"] == (
        counts["input"] + counts["output"] + details["input"] + details["output"]
    ):
        # Langfuse's handler for LangChain takes the details out of the input and the output.
        found["input_tokens"] += details["input"]
        found["output_tokens"] += details["output"]
    for fact, name, places in _DETAILS:
        inner: dict[str, Any] = next((usage[place] for place in places if isinstance(usage.get(place), dict)), {})
        if (count := as_tokens(inner.get(name))) is not None:
            found.setdefault(fact, count)
    for fact, count in found.items():
        call.facts.setdefault(fact, count)


def _is_detail(name: str, side: str) -> bool:
    return name.startswith(f"{side}_") and name != f"{side}_tokens" and "priority" not in name


LANGFUSE = Dialect(
    "langfuse",
    facts=(
        ("langfuse.observation.type", "recorded_kind"),
        ("langfuse.observation.model.name", "request_model"),
        ("langfuse.session.id", "conversation_id"),
        ("langfuse.trace.name", "workflow_name"),
    ),
    keys=(_INPUT, _OUTPUT, _PARAMETERS, _USAGE),
    read=_read,
)
