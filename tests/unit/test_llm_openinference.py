"""Whatever Phoenix shows of the GenAI names is there in OpenInference, too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.converted import attributes, convert
from tests.support.llm_views import openinference_view

CALLED = {"type": "tool_call", "id": "w1", "name": "web_search", "arguments": {"q": "tide"}}
RESULT = {"type": "tool_call_response", "id": "w1", "response": "low at 4"}
ANSWER = {"type": "text", "content": "At four."}


def shown(operation: str = "chat", **columns: Any) -> dict[str, Any]:
    known = {"gen_ai.request.model": "m", "gen_ai.operation.name": operation}
    return attributes(convert("both", attributes=json.dumps({**known, **columns})))


def messages(*parts: dict[str, Any], role: str = "assistant", **more: Any) -> str:
    return json.dumps([{"role": role, "parts": parts, **more}])


@pytest.mark.parametrize(
    ("operation", "recorded", "parameters"),
    [
        ("embeddings", {"gen_ai.request.encoding_formats": ["base64"]}, {"encoding_format": "base64"}),
        (
            "embeddings",
            {"gen_ai.request.encoding_formats": ["base64", "float"]},
            {"encoding_formats": ["base64", "float"]},
        ),
        ("chat", {"gen_ai.output.type": "json"}, {"response_format": {"type": "json_object"}}),
        ("chat", {"gen_ai.output.type": "text"}, {"response_format": {"type": "text"}}),
        ("chat", {"gen_ai.output.type": "speech", "gen_ai.request.seed": 1}, {"seed": 1}),
    ],
)
def test_forms_are_parameters(operation: str, recorded: dict[str, Any], parameters: dict[str, Any]) -> None:
    """The form of embeddings and of the answer are parameters under the names of the API."""
    prefix = "embedding" if operation == "embeddings" else "llm"
    assert json.loads(shown(operation, **recorded)[f"{prefix}.invocation_parameters"]) == parameters


def test_an_embedding_names_the_model_that_was_asked_for() -> None:
    """The model of an embedding is the request's, where the response names another."""
    there = shown("embeddings", **{"gen_ai.response.model": "m-2"})
    assert there["embedding.model_name"] == "m"


def test_the_name_of_the_message_of_a_tool_stays() -> None:
    """A result of a tool keeps the name that its message has."""
    there = shown(**{"gen_ai.input.messages": messages(RESULT, role="tool", name="web_search")})
    assert there["llm.input_messages.0.message.name"] == "web_search"
    assert there["llm.input_messages.0.message.tool_call_id"] == "w1"


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize(
    "parts", [(CALLED, RESULT, ANSWER), (RESULT, ANSWER, CALLED), (ANSWER, CALLED, RESULT)], ids=str
)
def test_a_result_within_an_answer_leaves_the_answer(side: str, parts: tuple[dict[str, Any], ...]) -> None:
    """An assistant's message with results keeps its role, text, calls and end, and the results follow it."""
    there = shown(**{f"gen_ai.{side}.messages": messages(*parts, finish_reason="stop")})
    assert openinference_view(there)[side] == [
        {"role": "assistant", "finish_reason": "stop", "parts": [ANSWER, CALLED]},
        {"role": "tool", "parts": [RESULT]},
    ]


def test_system_instructions_do_not_hide_messages() -> None:
    """Where recorded messages cannot be shown, instructions alone are no messages, as these would hide the others."""
    columns = {
        "gen_ai.system_instructions": json.dumps([ANSWER]),
        "gen_ai.input.messages": messages(ANSWER, role="user"),
        "gen_ai.tool.name": "f",
    }
    assert not any(key.startswith("llm.input_messages") for key in shown("execute_tool", **columns))
    alone = shown(**{"gen_ai.system_instructions": json.dumps([ANSWER])})
    assert alone["llm.input_messages.0.message.content"] == "At four."


@pytest.mark.parametrize("reason", ["FinishReason.STOP", "STOP", "Candidate.FinishReason.STOP"])
def test_the_end_of_an_answer_is_a_word_of_the_convention(reason: str) -> None:
    """The text of an enumeration ends with the reason; the recorded list keeps it as it is."""
    columns = {"gen_ai.completion.0.content": "At four.", "gen_ai.completion.0.finish_reason": reason}
    there = shown(**columns)
    assert json.loads(there["gen_ai.output.messages"])[0]["finish_reason"] == "stop"
    assert there["gen_ai.response.finish_reasons"] == (reason,)


@pytest.mark.parametrize(
    "schema",
    [
        {"city": {"type": "string", "description": "Where", "nullable": True}},
        {"type": "object", "properties": {"city": {"type": "string"}}},
    ],
    ids=str,
)
def test_a_schema_is_no_argument(schema: dict[str, Any]) -> None:
    """A tool whose parameters are described under ``tool.parameters`` was called with its input."""
    arguments = {"city": "Oslo"}
    columns = {
        "openinference.span.kind": "TOOL",
        "tool.name": "weather",
        "tool.parameters": json.dumps(schema),
        "input.value": json.dumps(arguments),
    }
    there = attributes(convert("both", attributes=json.dumps(columns)))
    assert json.loads(there["gen_ai.tool.call.arguments"]) == arguments
    without = attributes(convert("both", attributes=json.dumps({**columns, "input.value": ""})))
    assert json.loads(without["gen_ai.tool.call.arguments"]) == schema
