"""A whole prompt and a whole completion, each under one key, as LangChain's and older instrumentations write them.

gen_ai.prompt = {"messages": [{"role": "user", "content": "hi"}]}
gen_ai.completion = {"generations": [[{"text": "hello", "message": {"role": "assistant", "content": "hello"}}]]}
"""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.convert.llm.call import Call, Message, text
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.messages import INPUT, OUTPUT, from_list, from_object
from netra_otel_bridge.convert.llm.parts import decoded, leading_items
from netra_otel_bridge.convert.llm.recorded import Recorded


def _read(recorded: Recorded, call: Call) -> None:
    if not call.input:
        call.input = _whole(recorded.facts.get("request"), INPUT)
    if not call.output:
        call.output = _whole(recorded.facts.get("response"), OUTPUT)


def _whole(value: Any, default: str) -> list[Message]:
    found = decoded(value)
    if isinstance(found, dict):
        for name in ("messages", "contents", "choices", "candidates"):
            if isinstance(found.get(name), list):
                return _opened(found[name], default)
        if isinstance(found.get("generations"), list):
            return _generations(found["generations"])
        one = from_object(found, default)
        return [one] if one is not None else [Message(default, [text(value)])] if isinstance(value, str) else []
    if isinstance(value, str) and not isinstance(found, list):
        items, _ = leading_items(value)
        return from_list(items, default)[0] or [Message(default, [text(value)])]
    return _opened(found, default) if isinstance(found, list) else []


def _opened(items: list[Any], default: str) -> list[Message]:
    """Return the messages of a list, also of one that LangChain nests once more."""
    flat = [inner for item in items for inner in (item if isinstance(item, list) else [item])]
    return from_list([item["content"] if _is_candidate(item) else item for item in flat], default)[0]


def _is_candidate(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("content"), dict) and "parts" in item["content"]


def _generations(generations: list[Any]) -> list[Message]:
    found: list[Message] = []
    for item in (inner for outer in generations for inner in (outer if isinstance(outer, list) else [outer])):
        if isinstance(item, dict):
            inner = item.get("message")
            one = from_object(inner, OUTPUT) if isinstance(inner, dict) else None
            if (one is None or not one.parts) and isinstance(item.get("text"), str):
                one = Message(OUTPUT, [text(item["text"])])
            if one is not None:
                found.append(one)
    return found


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
