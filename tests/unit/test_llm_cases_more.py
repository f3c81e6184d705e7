"""Recordings of tools for observing calls to models, and of newer frameworks, with content that is made up."""

from __future__ import annotations

from typing import Any

import pytest

from netra_otel_bridge.convert.llm.providers import openinference_names, provider
from tests.support.llm_cases import names
from tests.support.llm_compare import ANY
from tests.support.llm_expected import (
    CONVENTIONS,
    Call,
    assistant,
    blob,
    call,
    each,
    function,
    link,
    result,
    system,
    user,
)

LANGFUSE, MLFLOW = "field-40-langfuse", "field-41-mlflow"
PYDANTIC, EVENTS = "field-42-pydantic-ai", "field-43-span-events"
VERCEL, OPENINFERENCE = "field-44-vercel-embeddings", "field-45-openinference"
TOOL_KEYS = "field-46-tool-keys"
OPENAI: dict[str, Any] = {"provider": "openai", "llm": ("openai", "openai")}
USED = {"input": 10, "output": 3, "total": 13}
ASKED = user("Hail ZQX-u", link("image", "https://x/ZQX.png"), blob("image", "image/png", "QUJD"))
SOUNDED = (call("c1", "depth", {"x": "ZQX-a"}),)
TALK = (system("Be brief. ZQX-s"), ASKED, assistant(*SOUNDED), result("c1", "nine ZQX-r"))
TALK_BY_EVENTS = (*TALK[:2], assistant("Wait ZQX-w", *SOUNDED), TALK[3])
CASES = {
    (LANGFUSE, "llm-call"): Call(
        kind="LLM",
        operation="chat",
        request_model="gpt-4o",
        model="gpt-4o",
        parameters={"temperature": 0.2, "max_tokens": 50},
        tokens={"input": 10, "output": 3, "total": 13},
        conversation="s-7",
        input=(system("Be brief. ZQX-s"), user("Which ferry? ZQX-u")),
        output=(assistant("The red one. ZQX-o"),),
    ),
    (LANGFUSE, "plain-call"): Call(
        kind="LLM",
        operation="chat",
        request_model="gpt-4o",
        model="gpt-4o",
        tokens={"input": 10, "output": 5, "cache_read": 4, "reasoning": 3, "total": 15},
        input=(user("Which pier? ZQX-u"),),
        output=(assistant("Pier two. ZQX-o"),),
    ),
    (LANGFUSE, "tool-call"): Call(
        kind="LLM",
        operation="chat",
        request_model="gpt-4o",
        model="gpt-4o",
        tokens={"input": 9, "output": 4, "cache_read": 5, "reasoning": 2, "total": 13},
        input=(user("When? ZQX-u"),),
        output=(assistant(call("c1", "times", {"at": "ZQX-a"})),),
        tools=(function("times", None, {"type": "object"}),),
    ),
    (LANGFUSE, "search"): Call(
        kind="RETRIEVER",
        operation="retrieval",
        query="ferries ZQX-q",
        documents=({"id": "d1", "content": "A red ferry ZQX-d", "score": 0.5},),
    ),
    (LANGFUSE, "times"): Call(
        kind="TOOL",
        operation="execute_tool",
        tool_name="times",
        arguments={"at": "pier ZQX-in"},
        result="noon ZQX-out",
    ),
    (LANGFUSE, "clerk"): Call(kind="AGENT", operation="invoke_agent", agent="clerk", input=(user("Go ZQX-u"),)),
    (LANGFUSE, "vectors"): Call(
        kind="EMBEDDING",
        operation="embeddings",
        request_model="te-3",
        model="te-3",
        tokens={"input": 4},
        embedded=("one ZQX-1", "two ZQX-2"),
    ),
    (LANGFUSE, "steps"): Call(kind="CHAIN", operation="invoke_workflow", workflow="ferries"),
    (LANGFUSE, "guard"): Call(kind="GUARDRAIL"),
    (LANGFUSE, "judge"): Call(kind="EVALUATOR"),
    (LANGFUSE, "work"): Call(kind="CHAIN"),
    (MLFLOW, "Completions"): Call(
        kind="LLM",
        operation="chat",
        provider="openai",
        llm=("openai", "openai"),
        request_model="gpt-4o",
        model="gpt-4o",
        parameters={"temperature": 0.1, "max_tokens": 60},
        tokens={"input": 30, "output": 4, "cache_read": 2, "total": 34},
        finish=("tool_calls",),
        input=(system("Be brief. ZQX-s"), user("Which ferry? ZQX-u")),
        output=(assistant(call("c1", "times", {"at": "ZQX-a"}), finish="tool_call"),),
        tools=(function("times", None, {"type": "object"}),),
    ),
    (MLFLOW, "Messages"): Call(
        kind="LLM",
        operation="chat",
        request_model="claude",
        model="claude",
        finish=("end_turn",),
        input=(system("Be kind. ZQX-s"), user("Hail ZQX-u")),
        output=(assistant("Aye ZQX-o", finish="stop"),),
    ),
    (MLFLOW, "ChatOpenAI"): Call(
        kind="LLM",
        operation="chat",
        request_model="gpt-4o",
        model="gpt-4o",
        input=(user("Long? ZQX-u"),),
        output=(assistant("Short ZQX-o"),),
    ),
    (MLFLOW, "Responses"): Call(
        kind="LLM",
        operation="chat",
        request_model="gpt-4o",
        model="gpt-4o",
        input=(system("Point. ZQX-s"), user("Where? ZQX-u")),
        output=(assistant("There ZQX-o"),),
    ),
    (MLFLOW, "write"): Call(
        kind="LLM",
        operation="chat",
        request_model="m-1",
        model="m-1",
        input=(user("Once ZQX-u"),),
        output=(assistant("upon ZQX-o"),),
    ),
    (MLFLOW, "retr"): Call(
        kind="RETRIEVER",
        operation="retrieval",
        query="ferries ZQX-q",
        documents=({"id": "d1", "content": "A ferry ZQX-d", "metadata": {"doc_uri": "u"}},),
    ),
    (MLFLOW, "times_1"): Call(
        kind="TOOL",
        operation="execute_tool",
        tool_name="times_1",
        arguments={"at": "pier ZQX-in"},
        result="noon ZQX-out",
    ),
    (MLFLOW, "clerk"): Call(
        kind="AGENT",
        operation="invoke_agent",
        agent="clerk",
        input=(user("Go ZQX-u"),),
        output=(assistant("Gone ZQX-o"),),
    ),
    (MLFLOW, "Embeddings"): Call(
        kind="EMBEDDING",
        operation="embeddings",
        request_model="te-3",
        model="te-3",
        tokens={"input": 4},
        embedded=("one ZQX-1", "two ZQX-2"),
    ),
    (MLFLOW, "ranks"): Call(
        kind="RERANKER",
        request_model="rr",
        model="rr",
        query="ferries ZQX-q",
        candidates=({"content": "A ZQX-a"}, {"content": "B ZQX-b"}),
        reranked=({"content": "B ZQX-b"},),
        genai={"query": None},
    ),
    (MLFLOW, "flow"): Call(kind="CHAIN", operation="invoke_workflow", workflow="flow"),
    (MLFLOW, "parse"): Call(kind="CHAIN"),
    (MLFLOW, "judge"): Call(kind="EVALUATOR"),
    (PYDANTIC, "invoke_agent pilot"): Call(
        kind="AGENT",
        operation="invoke_agent",
        agent="pilot",
        request_model="gpt-4o",
        tokens=USED,
        input=(system("Aye. ZQX-i"), *TALK),
        output=(assistant("Nine. ZQX-o"),),
    ),
    (PYDANTIC, "invoke_agent mate"): Call(
        kind="AGENT",
        operation="invoke_agent",
        agent="mate",
        request_model="gpt-4o",
        tokens=USED,
        input=TALK,
        output=(assistant('{"m": "ZQX-o"}'),),
    ),
    (PYDANTIC, "agent run"): Call(
        kind="AGENT",
        operation="invoke_agent",
        agent="pilot",
        request_model="gpt-4o",
        tokens=USED,
        input=TALK_BY_EVENTS,
        output=(assistant("Nine. ZQX-o"),),
    ),
    (PYDANTIC, "chat gpt-4o"): Call(
        kind="LLM",
        operation="chat",
        provider="openai",
        llm=("openai", "openai"),
        request_model="gpt-4o",
        response_model="gpt-4o",
        model="gpt-4o",
        tokens=USED,
        input=TALK_BY_EVENTS,
        output=(assistant("Nine. ZQX-o"),),
        tools=(function("depth", "Sounds.", {"type": "object"}),),
    ),
    (PYDANTIC, "running tool"): Call(
        kind="TOOL",
        operation="execute_tool",
        tool_name="depth",
        tool_id="c1",
        arguments={"x": "ZQX-a"},
        result="nine ZQX-r",
    ),
    (PYDANTIC, "a step with such names"): Call(kind="CHAIN"),
    (EVENTS, "chat.completions gpt-4o"): Call(
        kind="LLM",
        operation="chat.completions",
        **OPENAI,
        request_model="gpt-4o",
        model="gpt-4o",
        tokens={"input": 3, "output": 4, "total": 7},
        finish=("stop",),
        input=(system("Be brief. ZQX-s"), user("Hail ZQX-u")),
        output=(assistant("Aye ZQX-o", finish="stop"),),
    ),
    (EVENTS, "chat m"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o",
        model="gpt-4o",
        input=(user("One ZQX-1"), user("Two ZQX-2")),
        output=(assistant("Three ZQX-o"),),
    ),
    (EVENTS, "generate_content g"): Call(
        kind="LLM",
        operation="generate_content",
        provider="gcp.gemini",
        llm=("google", None),
        request_model="g",
        model="g",
        finish=("stop",),
        input=(user("Hail ZQX-u"),),
        output=(assistant("Aye ZQX-o", finish="stop"),),
        tools=(function("depth", None, {"type": "object"}),),
    ),
    (VERCEL, "ai.embedMany.doEmbed"): Call(
        kind="EMBEDDING",
        operation="embeddings",
        provider="openai",
        request_model="te-3",
        model="te-3",
        tokens={"input": 3},
        embedded=("one ZQX-1", "two ZQX-2"),
    ),
    (VERCEL, "ai.embed"): Call(
        kind="EMBEDDING",
        operation="embeddings",
        provider="openai",
        request_model="te-3",
        model="te-3",
        tokens={"input": 3},
        embedded=("one ZQX-1",),
    ),
    (OPENINFERENCE, "ChatCompletion"): Call(
        kind="LLM",
        operation="chat",
        request_model="gpt-4",
        model="gpt-4",
        tokens={"input": 1, "output": 2, "total": 3},
        input=(user("How deep? ZQX-u"),),
        output=(assistant(call(None, "depth", {"x": "ZQX-a"})),),
        openinference={"output": ANY},
    ),
    (OPENINFERENCE, "Completion"): Call(
        kind="LLM",
        operation="text_completion",
        request_model="gpt-3.5-turbo-instruct",
        model="gpt-3.5-turbo-instruct",
        tokens={"input": 1, "output": 1, "total": 2},
        input=(user("Once ZQX-u"),),
        output=(assistant("upon ZQX-o"), assistant("there ZQX-p")),
    ),
    (TOOL_KEYS, "look"): Call(
        kind="TOOL",
        operation="execute_tool",
        tool_name="look",
        arguments={"at": "ZQX-in"},
        result="far ZQX-out",
    ),
}
RECORDINGS = tuple(dict.fromkeys(recording for recording, _ in CASES))


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("recording", "name", "right"), each(CASES))
def test_a_span_of_another_tool_is_right(recording: str, name: str, right: Call, convention: str) -> None:
    """Each span has the kind, messages, tools, numbers and documents that it recorded, under both conventions."""
    assert right.differences(recording, name, convention) == {}


@pytest.mark.parametrize("recording", RECORDINGS)
def test_every_span_of_a_recording_has_its_row(recording: str) -> None:
    """The table has a row for each span."""
    assert {name for of, name in CASES if of == recording} == set(names(recording))


@pytest.mark.parametrize(
    ("recorded", "right"),
    [
        ("TogetherAI", "together"),
        ("together_ai", "together"),
        ("Fireworks", "fireworks"),
        ("fireworks-ai", "fireworks"),
        ("Ollama", "ollama"),
        ("Oracle", "oracle"),
        ("MoonshotAI", "moonshot"),
    ],
)
def test_a_provider_of_openinference_is_known_in_any_spelling(recorded: str, right: str) -> None:
    """OpenInference's own word stands for each spelling, and the name in GenAI stays as it was recorded."""
    assert openinference_names(recorded) == (right, None)
    assert provider(recorded) == recorded
