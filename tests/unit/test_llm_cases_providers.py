"""Recordings of the clients of other models: chats, embeddings, rerankers and speech."""

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
    link,
    one_of,
    result,
    system,
    thought,
    user,
)

DEPTH_USER = user("Depth here? ZQX-user")
NINE = assistant("Nine metres. ZQX-out", finish="stop")
SMALL = {"input": 11, "output": 6, "total": 17}
VERTEX = one_of("gcp.vertex_ai", "gcp.gen_ai", "gcp.gemini")
CASES = {
    ("netra-p06-litellm-groq-cerebras", "litellm.completion"): Call(
        kind="LLM",
        operation="chat",
        provider="aws.bedrock",
        llm=("aws", ANY),
        request_model="bedrock/some-model",
        response_model="some-model",
        model="some-model",
        tokens=SMALL,
        finish=("stop",),
        input=one_of((DEPTH_USER, assistant("None")), (DEPTH_USER, assistant())),
        output=(NINE,),
    ),
    ("netra-p06-litellm-groq-cerebras", "litellm.image_generation"): Call(
        kind=one_of("CHAIN", "UNKNOWN"),
        operation=None,
        provider=ANY,
        request_model="dall-e-3",
    ),
    ("netra-p06-litellm-groq-cerebras", "groq.chat"): Call(
        kind="LLM",
        operation="chat",
        provider="groq",
        llm=("groq", ANY),
        request_model="llama-3.1-8b-instant",
        response_model="llama-3.1-8b-instant",
        model="llama-3.1-8b-instant",
        tokens=SMALL,
        finish=("stop",),
        input=(DEPTH_USER,),
        output=(NINE,),
    ),
    ("netra-p06-litellm-groq-cerebras", "cerebras.chat"): Call(
        kind="LLM",
        operation="chat",
        provider=one_of("cerebras", "Cerebras"),
        llm=("cerebras", ANY),
        request_model="llama3.1-8b",
        model="llama3.1-8b",
        parameters={"temperature": 0.5},
        tokens=SMALL,
        finish=("stop",),
        response_id="r1",
        input=(DEPTH_USER,),
        output=(NINE,),
    ),
    ("netra-p07-cohere", "cohere.rerank"): Call(
        kind="RERANKER",
        operation=None,
        provider="cohere",
        request_model="rerank-v3.5",
        model="rerank-v3.5",
        response_id="rr1",
        query="safe harbour ZQX-query",
        candidates=({"content": "Brest has quays ZQX-d0"}, {"content": "Bread is baked ZQX-d1"}),
        reranked=(
            {"content": "Brest has quays ZQX-d0", "score": 0.91},
            {"content": "Bread is baked ZQX-d1", "score": 0.02},
        ),
        genai={"query": ANY},
    ),
    ("netra-p07-cohere", "cohere.chat"): Call(
        kind="LLM",
        operation="chat",
        provider="cohere",
        llm=("cohere", "cohere"),
        request_model="command-r",
        model="command-r",
        tokens={"input": 5, "output": 2, "total": 7},
        response_id="cc1",
        input=(DEPTH_USER,),
        output=(assistant("Nine. ZQX-out"),),
    ),
    ("netra-p08-mistral-embeddings", "mistralai.embeddings"): Call(
        kind="EMBEDDING",
        operation="embeddings",
        provider="mistral_ai",
        request_model="mistral-embed",
        response_model="mistral-embed",
        model="mistral-embed",
        tokens={"input": 6, "output": 0, "total": 6},
        embedded=("Buoy ZQX-a", "Mast ZQX-b"),
        genai={"parameters": {"stream": False}, "input": ANY},
    ),
    ("netra-p09-google-genai", "genai.generate_content"): Call(
        kind="LLM",
        operation="generate_content",
        provider="gcp.gemini",
        llm=("google", ANY),
        request_model="gemini-2.0-flash",
        model="gemini-2.0-flash",
        parameters={"temperature": 0.1, "top_k": 20, "stop": ["END"]},
        tokens={"input": 14, "output": 26, "cache_read": 4, "total": 40},
        input=(user("Name a wind. ZQX-u1"), assistant("Mistral. ZQX-m1"), user("Another. ZQX-u2")),
        output=(assistant("Bora. ZQX-out"),),
    ),
    ("netra-p21-anthropic", "anthropic.chat"): Call(
        kind="LLM",
        operation="chat",
        provider="anthropic",
        llm=("anthropic", "anthropic"),
        request_model="claude-sonnet-4-5",
        response_model="claude-sonnet-4-5-2025",
        model="claude-sonnet-4-5-2025",
        parameters={"max_tokens": 500, "temperature": 1.0},
        tokens={"input": 1030, "output": 60, "cache_read": 900, "cache_write": 100, "total": 1090},
        finish=("tool_call",),
        response_id="msg1",
        input=(
            system("Know depths. ZQX-s"),
            user("What ship? ZQX-u", blob("image", "image/png", "WlFYaW1n")),
            assistant(
                thought("Think ZQX-t0"),
                call("tu1", "depth", {"at": "ZQX-a1"}),
                call("tu2", "depth", {"at": "ZQX-a2"}),
            ),
            result("tu1", "9 ZQX-r1"),
            result("tu2", "7 ZQX-r2"),
        ),
        output=(
            assistant(
                thought("Hm ZQX-t1"), "A ketch. ZQX-o", call("tu3", "depth", {"at": "ZQX-oa"}), finish="tool_call"
            ),
        ),
        tools=(function("depth", "Depth", {"type": "object", "properties": {"at": {"type": "string"}}}),),
        genai={
            "tools": ANY,
            "parameters": {"max_tokens": 500, "temperature": 1.0, "stream": False},
        },
    ),
    ("netra-p22-vertexai-ollama-voyage", "vertexai.generate_content"): Call(
        kind="LLM",
        operation="generate_content",
        provider=VERTEX,
        llm=("google", ANY),
        request_model="gemini-1.5-pro",
        response_model="gemini-1.5-pro",
        model="gemini-1.5-pro",
        parameters={"temperature": 0.2, "top_k": 10, "presence_penalty": 0.1},
        tokens={"input": 8, "output": 4, "total": 12},
        input=(user("Name a wind ZQX-u"),),
        output=(assistant("Bora ZQX-o"),),
    ),
    ("netra-p22-vertexai-ollama-voyage", "ollama.chat"): Call(
        kind="LLM",
        operation="chat",
        provider=one_of("ollama", "Ollama"),
        llm=("ollama", ANY),
        request_model="llama3",
        response_model="llama3",
        model="llama3",
        tokens={"input": 10, "output": 3, "total": 13},
        input=(user("Depth? ZQX-u"), assistant(call("o1", "depth", {"at": "ZQX-a"})), result("o1", "9 ZQX-r")),
        output=(assistant("Nine ZQX-o"),),
        tools=(function("depth", "Depth ZQX-td", {"type": "object"}),),
        genai={"parameters": {"stream": False}},
    ),
    ("netra-p22-vertexai-ollama-voyage", "voyageai.rerank"): Call(
        kind="RERANKER",
        operation="rerank",
        provider="voyageai",
        request_model="rerank-2",
        model="rerank-2",
        parameters={"top_k": 1},
        query="reef ZQX-q",
        candidates=({"content": "reef ZQX-d0"}, {"content": "rock ZQX-d1"}),
        reranked=({"content": "reef ZQX-d0", "score": 0.8},),
        genai={"query": ANY},
        openinference={"parameters": ANY},
    ),
    ("netra-p22-vertexai-ollama-voyage", "voyageai.embeddings"): Call(
        kind="EMBEDDING",
        operation="embeddings",
        provider="voyageai",
        request_model="voyage-3",
        model="voyage-3",
        parameters={"dimensions": 1024},
        tokens={"input": 2, "total": 2},
        embedded=("reef ZQX-e",),
        genai={"input": ANY},
    ),
    ("netra-j02-js-anthropic", "anthropic.chat"): Call(
        kind="LLM",
        operation="chat",
        provider="anthropic",
        llm=("anthropic", "anthropic"),
        request_model="claude-sonnet-4-5",
        response_model="claude-sonnet-4-5-2025",
        model="claude-sonnet-4-5-2025",
        parameters={"max_tokens": 200},
        tokens={"input": 20, "output": 9, "cache_read": 900, "cache_write": 100, "total": ANY},
        finish=("tool_use",),
        response_id="msg1",
        input=(
            system("Know depths. ZQX-s"),
            user("Depth? ZQX-u", blob("image", "image/png", "WlFYaW1n")),
            assistant(thought("Think ZQX-t"), call("tu1", "depth", {"at": "ZQX-a"})),
            user("Now? ZQX-u2"),
            result("tu1", "9 ZQX-r"),
        ),
        output=(assistant("Again. ZQX-o", call("tu2", "depth", {"at": "ZQX-oa"}), finish="tool_call"),),
        tools=(function("depth", "Depth ZQX-td", {"type": "object"}),),
    ),
    ("netra-j02-js-anthropic", "depth"): Call(
        kind="TOOL",
        operation="execute_tool",
        provider=ANY,
        tool_name="depth",
        tool_id="tu2",
        arguments={"at": "ZQX-ti"},
        result="9 ZQX-to",
    ),
    ("field-01-detailed-tokens", "anthropic.chat"): Call(
        kind="LLM",
        operation="chat",
        provider="anthropic",
        llm=("anthropic", "anthropic"),
        request_model="claude-sonnet-4",
        response_model="claude-sonnet-4-20250514",
        model="claude-sonnet-4-20250514",
        tokens={"input": 10_206, "output": 40, "cache_read": 9000, "cache_write": 1200, "total": 10_246},
        finish=("end_turn",),
        input=(user("plan a day in Lisbon"),),
        output=(assistant("Start at the river.", finish="stop"),),
        genai={"tokens": {"input": 6, "output": 40, "cache_read": 9000, "cache_write": 1200}},
    ),
    ("field-01-detailed-tokens", "openai.chat"): Call(
        kind="LLM",
        operation="chat",
        provider="openai",
        llm=("openai", "openai"),
        request_model="o4-mini",
        model="o4-mini",
        tokens={"input": 100, "output": 900, "reasoning": 832, "total": 1000},
        finish=("stop",),
        input=(user("how many rooms?"),),
        output=(assistant("Four.", finish="stop"),),
    ),
    ("field-05-multimodal", "chat m"): Call(
        kind="LLM",
        operation="chat",
        provider="openai",
        llm=("openai", "openai"),
        request_model="gpt-5",
        model="gpt-5",
        finish=("stop",),
        input=(
            user(
                "what animal is it?",
                {"type": "blob", "modality": "image", "mime_type": "image/png"},
                link("image", "https://img.example/cat.jpg"),
            ),
        ),
        output=(assistant("a cat", finish="stop"),),
    ),
    ("field-05-multimodal", "openai.chat"): Call(
        kind="LLM",
        operation="chat",
        provider="openai",
        llm=("openai", "openai"),
        request_model="gpt-4o",
        model="gpt-4o",
        finish=("stop",),
        input=(
            user("what animal is it?", {"type": "blob", "modality": "image", "mime_type": "image/png"}),
        ),
        output=(assistant("a cat", finish="stop"),),
    ),
    ("field-32-anthropic-blocks", "anthropic.chat"): Call(
        kind="LLM",
        operation="chat",
        provider="anthropic",
        llm=("anthropic", "anthropic"),
        request_model="claude-sonnet-4",
        model="claude-sonnet-4",
        finish=("end_turn",),
        input=(
            system("Be kind"),
            user("weather?"),
            assistant(call("t1", "weather", {"city": "Oslo"})),
            result("t1", "4 C"),
        ),
        output=(assistant(thought("The user wants weather."), "4 degrees", finish="stop"),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("recording", "name", "right"), each(CASES))
def test_calls_of_other_models_are_written_as_they_were(
    recording: str, name: str, right: Call, convention: str
) -> None:
    """Every fact of a recorded call has its right value in each convention, and what was not recorded is absent."""
    assert right.differences(recording, name, convention) == {}


def test_the_tables_hold_all_spans() -> None:
    """Each span of a recording in the table has its right values."""
    assert {(recording, name) for recording, _ in CASES for name in names(recording)} == CASES.keys()


@pytest.mark.parametrize(
    ("recording", "name"),
    [("field-01-detailed-tokens", "anthropic.chat"), ("netra-j02-js-anthropic", "anthropic.chat")],
)
def test_input_tokens_without_the_cached_ones_are_noted(recording: str, name: str) -> None:
    """A recorded count that leaves cached tokens out stays as it is, and a note says so."""
    assert any("token" in note or "cache" in note for note in found(recording, name, "genai")["netra.bridge.notes"])
