"""What a list of messages holds beside roles and contents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netra_otel_bridge.convert.llm.messages import from_list
from tests.support.converted import attributes, convert

QUESTION = {"role": "user", "content": "Where is gate 12?"}


def said(words: str) -> dict[str, Any]:
    return {"type": "text", "content": words}


def shown(**columns: Any) -> dict[str, Any]:
    known = {"gen_ai.request.model": "m", "gen_ai.operation.name": "chat"}
    return attributes(convert("both", attributes=json.dumps({**known, **columns})))


@pytest.mark.parametrize(
    ("item", "role", "parts"),
    [
        ("Left.", "user", [said("Left.")]),
        ({"type": "compaction", "x": 1}, "user", [{"type": "compaction", "x": 1}]),
        (
            {"type": "custom_tool_call", "id": "i1", "call_id": "c1", "name": "f", "input": "x"},
            "assistant",
            [{"type": "tool_call", "id": "c1", "name": "f", "arguments": "x"}],
        ),
        (
            {"type": "custom_tool_call_output", "call_id": "c1", "output": "y"},
            "tool",
            [{"type": "tool_call_response", "id": "c1", "response": "y"}],
        ),
        (
            {"type": "mcp_call", "id": "m1", "name": "f", "arguments": '{"a":1}', "output": "y", "server_label": "s"},
            "assistant",
            [
                {"type": "tool_call", "id": "m1", "name": "f", "arguments": {"a": 1}},
                {"type": "tool_call_response", "id": "m1", "response": "y"},
            ],
        ),
        ({"role": "assistant", "content": None, "refusal": "I cannot."}, "assistant", [said("I cannot.")]),
        (
            {"role": "assistant", "content": None, "audio": {"id": "a1", "data": "QUJD", "transcript": "Left."}},
            "assistant",
            [said("Left.")],
        ),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_no_item_of_a_list_of_messages_vanishes(item: Any, role: str, parts: Any) -> None:
    """Each item beside a message is a message of its own."""
    found, _ = from_list([QUESTION, item], "user")
    assert [(one.role, one.parts) for one in found[1:]] == [(role, parts)]
    assert len(found) == 2


def test_an_item_that_is_a_call_needs_no_message_beside_it() -> None:
    """A list of items of OpenAI's Responses is a list of messages."""
    item = {"type": "web_search_call", "id": "w1", "status": "completed"}
    found, _ = from_list([item], "assistant")
    assert [(one.role, one.parts) for one in found] == [("assistant", [item])]


def test_a_list_of_texts_is_no_list_of_messages() -> None:
    """Without a message in it, a list of texts or of objects has no messages."""
    assert from_list('["a", "b"]', "user")[0] == []
    assert from_list('[{"type": "person", "name": "Ann"}]', "user")[0] == []


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_indexed_reasoning_and_refusal_are_parts(name: str) -> None:
    """The reasoning and the refusal beside an indexed completion are parts of its message."""
    there = shown(**{f"gen_ai.completion.0.{name}": "hm", "gen_ai.completion.0.refusal": "I cannot."})
    (message,) = json.loads(there["gen_ai.output.messages"])
    assert message["parts"] == [{"type": "reasoning", "content": "hm"}, said("I cannot.")]


def test_the_stop_reason_of_a_response_is_a_finish_reason() -> None:
    """``gen_ai.response.stop_reason`` ends the answer."""
    there = shown(**{"gen_ai.completion.0.content": "Left.", "gen_ai.response.stop_reason": "end_turn"})
    assert there["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert json.loads(there["gen_ai.output.messages"])[0]["finish_reason"] == "stop"
