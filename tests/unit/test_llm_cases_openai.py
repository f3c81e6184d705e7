"""Recordings of OpenAI's client, as both SDKs write them: each call under both conventions."""

from __future__ import annotations

import pytest

from tests.support.llm_cases import found, names
from tests.support.llm_expected import (
    ANY,
    CONVENTIONS,
    Call,
    assistant,
    blob,
    call,
    each,
    function,
    holds,
    link,
    result,
    system,
    text,
    user,
)

OPENAI = {"provider": "openai", "llm": ("openai", "openai")}
DEPTH = function("depth", "Depth ZQX-td", {"type": "object", "properties": {"at": {"type": "string"}}})
CASES = {
    ("netra-p01-openai-chat-tools", "openai.chat"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o-mini",
        response_model="gpt-4o-mini-2024-07-18",
        model="gpt-4o-mini-2024-07-18",
        parameters={
            "temperature": 0.2, "top_p": 0.9, "max_tokens": 300, "frequency_penalty": 0.1, "presence_penalty": 0.3,
            "stop": ["END"],
        },
        tokens={"input": 210, "output": 64, "cache_read": 128, "cache_write": 40, "reasoning": 32, "total": 274},
        finish=("tool_calls",),
        input=(
            system("You know tides. ZQX-sys"),
            user("High water at Brest and Calais? ZQX-user"),
            assistant(
                "I look it up. ZQX-pre",
                call("call_a", "tide_table", {"harbour": "Brest ZQX-args1"}),
                call("call_b", "tide_table", {"harbour": "Calais ZQX-args2"}),
            ),
            result("call_a", "06:12 ZQX-res1"),
            result("call_b", "09:40 ZQX-res2"),
        ),
        output=(
            assistant(
                "One more look. ZQX-out",
                call("call_c", "tide_table", {"harbour": "Ostend ZQX-oargs1"}),
                call("call_d", "tide_table", {"harbour": "Dover ZQX-oargs2"}),
                finish="tool_call",
            ),
        ),
    ),
    ("netra-p02-openai-two-choices", "openai.chat"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o-mini",
        response_model="gpt-4o-mini",
        model="gpt-4o-mini",
        tokens={"input": 9, "output": 4, "total": 13},
        finish=("stop", "length"),
        input=(user("A name for a boat? ZQX"),),
        output=(assistant("Petrel ZQX-one", finish="stop"), assistant("Gannet ZQX-two", finish="length")),
    ),
    ("netra-p03-openai-responses", "openai.response"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-5-mini",
        response_model="gpt-5-mini-2025",
        model="gpt-5-mini-2025",
        tokens={"input": 80, "output": 70, "cache_read": 16, "reasoning": 48, "total": 150},
        input=(
            system("You know tides. ZQX-sys"),
            user("High water at Brest? ZQX-user"),
            assistant(call(None, "tide_table", {"harbour": "Brest ZQX-args"})),
            result(None, "06:12 ZQX-res"),
        ),
        output=(assistant(call(None, "tide_table", {"harbour": "Calais ZQX-oargs"}), "06:12. ZQX-out"),),
    ),
    ("netra-p04-openai-multimodal", "openai.chat"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o",
        response_model="gpt-4o",
        model="gpt-4o",
        tokens={"input": 900, "output": 5, "total": 905},
        finish=("stop",),
        input=(
            user(
                "What ship is this? ZQX-text",
                link("image", "https://img.example/ZQX-ship.png"),
                blob("image", "image/png", "WlFYLWltYWdl"),
                blob("audio", "audio/wav", "WlFYLWF1ZGlv"),
            ),
        ),
        output=(assistant("A ketch. ZQX-out", finish="stop"),),
    ),
    ("netra-p05-openai-embedding-and-cost", "openai.embedding"): Call(
        kind="EMBEDDING",
        operation="embeddings",
        **OPENAI,
        request_model="text-embedding-3-small",
        response_model="text-embedding-3-small",
        model="text-embedding-3-small",
        parameters={"dimensions": 512},
        tokens={"input": 7, "total": 7},
    ),
    ("netra-p05-openai-embedding-and-cost", "openai.chat"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="somevendor/some-model",
        response_model="somevendor/some-model",
        model="somevendor/some-model",
        parameters={"stream": True},
        first_chunk=0.00020813941955566406,
        tokens={"input": 3, "output": 2, "total": 5},
        finish=("stop",),
        input=(user("Hi ZQX"),),
        output=(assistant("Ahoy ZQX", finish="stop"),),
    ),
    ("netra-j01-js-openai", "openai.chat"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o",
        response_model="gpt-4o-2024",
        model="gpt-4o-2024",
        parameters={"temperature": 0.2, "max_tokens": 100, "frequency_penalty": 0.1, "stop": ["END"], "stream": False},
        tokens={"input": 30, "output": 9, "cache_read": 8, "reasoning": 4, "total": 39},
        finish=("tool_calls",),
        response_id="chatcmpl-1",
        input=(
            system("Know depths. ZQX-s"),
            user("Depth? ZQX-u", link("image", "https://i.example/ZQX.png")),
            result(None, "9 ZQX-r"),
        ),
        output=(
            assistant(
                "Again. ZQX-o",
                call(None, "depth", {"at": "ZQX-oa1"}),
                call(None, "depth", {"at": "ZQX-oa2"}),
                finish="tool_call",
            ),
        ),
        tools=(DEPTH,),
        openinference={
            "parameters": {"temperature": 0.2, "max_tokens": 100, "frequency_penalty": 0.1, "stop": ["END"]}
        },
    ),
    ("netra-j01-js-openai", "openai.embedding"): Call(
        kind="EMBEDDING",
        operation="embeddings",
        **OPENAI,
        request_model="text-embedding-3-small",
        response_model="text-embedding-3-small",
        model="text-embedding-3-small",
        parameters={"dimensions": 256},
        tokens={"input": 4, "total": 4},
        embedded=("Reef ZQX-e1", "Rock ZQX-e2"),
        genai={"input": ANY},
    ),
    ("netra-j07-js-truncated", "openai.chat"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o",
        response_model="gpt-4o",
        model="gpt-4o",
        finish=("stop",),
        input=(user(holds("ZQX " + "x" * 200)), user("End? ZQX-u")),
        output=(assistant(holds("ZQX " + "x" * 200), finish="stop"),),
    ),
    ("field-04-structured-messages", "chat m"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-5",
        model="gpt-5",
        finish=("stop",),
        input=(user("weather in Oslo and Bergen?"),),
        output=(
            assistant({"type": "reasoning", "content": "Two cities, two results."}, "Oslo 4, Bergen 7.", finish="stop"),
        ),
    ),
    ("field-21-function-call", "litellm_request"): Call(
        kind="LLM",
        operation="chat",
        provider="azure.ai.openai",
        llm=("azure", "openai"),
        request_model="gpt-4o",
        model="gpt-4o",
        tokens={"input": 20, "output": 10, "total": 30},
        finish=("tool_calls",),
        input=(user("weather in Oslo?"),),
        output=(assistant(call(None, "weather", {"city": "Oslo"}), finish="tool_call"),),
        genai={"tokens": {"input": "20", "output": "10"}},
    ),
    ("field-20-openai-form", "chat gpt-4o"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o",
        model="gpt-4o",
        finish=("stop",),
        input=(
            system("Be brief"),
            user("weather in Oslo?", link("image", "https://img.example/map.png")),
            assistant(call("c1", "weather", {"city": "Oslo"})),
            result("c1", "4 C"),
        ),
        output=(assistant(text("4 degrees"), finish="stop"),),
        genai={"input": ANY, "output": ANY},
    ),
}  # fmt: skip


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("recording", "name", "right"), each(CASES))
def test_calls_of_openai_are_written_as_they_were(recording: str, name: str, right: Call, convention: str) -> None:
    """Every fact of a recorded call has its right value in each convention, and what was not recorded is absent."""
    assert right.differences(recording, name, convention) == {}


def test_the_tables_hold_all_spans() -> None:
    """Each span of a recording in the table has its right values."""
    assert {(recording, name) for recording, _ in CASES for name in names(recording)} == CASES.keys()


@pytest.mark.parametrize("profile", ["genai", "openinference", "both"])
def test_a_message_that_was_cut_is_noted(profile: str) -> None:
    """A message that the SDK cut is written as far as it goes, and a note says that it was cut."""
    attributes = found("netra-j07-js-truncated", "openai.chat", profile)  # type: ignore[arg-type]  # one of the profiles
    assert attributes["netra.bridge.notes"]


@pytest.mark.parametrize("profile", ["genai", "openinference"])
def test_the_time_to_the_first_chunk_is_that_of_a_stream(profile: str) -> None:
    """A time to the first token of a call that does not stream is no time to a first chunk."""
    attributes = found("netra-p01-openai-chat-tools", "openai.chat", profile)  # type: ignore[arg-type]  # as above
    assert "gen_ai.response.time_to_first_chunk" not in attributes
