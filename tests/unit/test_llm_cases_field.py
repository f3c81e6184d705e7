"""Recordings of tools that others report from the field: each span under both conventions."""

from __future__ import annotations

import pytest

from tests.support.llm_cases import found, names
from tests.support.llm_expected import (
    ANY,
    CONVENTIONS,
    Call,
    assistant,
    call,
    each,
    function,
    holds,
    one_of,
    result,
    system,
    thought,
    user,
)

OPENAI = {"provider": "openai", "llm": ("openai", "openai")}
GATE, LEFT = user("Where is gate 12?"), assistant("Left.", finish="stop")
BOOK = function("book", "Books a room.", {"type": "object", "properties": {"room": {"type": "string"}}})
OSLO = user("weather in Oslo and Bergen?")
BOTH_CITIES = assistant(thought("Two cities, two results."), "Oslo 4, Bergen 7.", finish="stop")
PLAIN = Call(kind="CHAIN")
CASES = {
    ("field-03-parallel-tool-results", "chat m"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-5",
        model="gpt-5",
        tokens={"input": 80, "output": 20, "total": 100},
        finish=("stop",),
        input=(
            system("You answer in degrees Celsius."),
            OSLO,
            assistant(
                "Let me look.", call("c1", "weather", {"city": "Oslo"}), call("c2", "weather", {"city": "Bergen"})
            ),
            result("c1", "4 C, clear"),
            result("c2", "7 C, rain"),
        ),
        output=(BOTH_CITIES,),
    ),
    ("field-06-tool-span", "execute_tool lookup_booking"): Call(
        kind="TOOL",
        operation="execute_tool",
        tool_name="lookup_booking",
        tool_id="call_77",
        tool_description="Finds a booking.",
        arguments={"code": "QX7"},
        result={"state": "confirmed"},
    ),
    ("field-06-tool-span", "invoke_agent Trip Planner"): Call(
        kind="AGENT",
        operation="invoke_agent",
        provider="openai",
        agent="Trip Planner",
        conversation="conv-5",
        finish=("stop",),
        input=(OSLO,),
        output=(BOTH_CITIES,),
    ),
    ("field-06-tool-span", "search.tool"): Call(
        kind="TOOL", operation="execute_tool", tool_name="search", arguments={"q": "hotels"}, result=["a", "b"]
    ),
    ("field-06-tool-span", "plan.workflow"): Call(kind="CHAIN", operation="invoke_workflow", workflow="plan"),
    ("field-06-tool-span", "researcher.agent"): Call(kind="AGENT", operation="invoke_agent", agent="researcher"),
    ("field-07-tool-definitions", "openai.chat"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o",
        model="gpt-4o",
        finish=("tool_calls",),
        input=(user("book it"),),
        output=(assistant(call("c9", "book", {"room": "12"}), finish="tool_call"),),
        tools=(BOOK,),
    ),
    ("field-07-tool-definitions", "chat m"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-5",
        model="gpt-5",
        input=(OSLO,),
        tools=(function("book", "Books a room.", {"type": "object"}),),
    ),
    ("field-08-twelve-tool-calls", "openai.chat"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o",
        model="gpt-4o",
        finish=("tool_calls",),
        input=(user("check 12 cities"),),
        output=(
            assistant(
                *(call(f"call_{number}", "weather", {"city": f"city-{number}"}) for number in range(12)),
                finish="tool_call",
            ),
        ),
    ),
    ("field-09-no-role", "openai.completion"): Call(
        kind="LLM",
        operation="text_completion",
        **OPENAI,
        request_model="gpt-3.5-turbo-instruct",
        model="gpt-3.5-turbo-instruct",
        finish=("length",),
        input=(user("Write a slogan"),),
        output=(assistant("Go far.", finish="length"),),
    ),
    ("field-09-no-role", "openai.chat stream"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o",
        model="gpt-4o",
        input=(user("hi"),),
        output=(assistant("hello"),),
    ),
    ("field-10-event-messages", "chat gpt-4o"): Call(
        kind="LLM",
        operation="chat",
        provider="azure.ai.inference",
        llm=("azure", ANY),
        request_model="gpt-4o",
        model="gpt-4o",
        tokens={"input": 10, "output": 5, "total": 15},
        finish=("stop",),
        input=(system("Be brief."), GATE),
        output=(LEFT,),
    ),
    ("field-10-event-messages", "chat"): Call(
        kind="LLM",
        operation="chat",
        provider="strands-agents",
        request_model="claude",
        model="claude",
        finish=("end_turn",),
        input=(GATE,),
        output=(LEFT,),
    ),
    ("field-10-event-messages", "chat new"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-5",
        model="gpt-5",
        finish=("stop",),
        input=(GATE,),
        output=(LEFT,),
    ),
    ("field-15-vercel", "ai.generateText"): Call(
        kind=one_of("LLM", "AGENT", "CHAIN"),
        operation=one_of("chat", "invoke_agent", None),
        provider="openai",
        request_model="gpt-4o",
        tokens=ANY,
        finish=("stop",),
        conversation=ANY,
        input=(system("Be brief"), user("hi")),
        output=(assistant("hello", finish="stop"),),
        genai={"agent": ANY},
    ),
    ("field-15-vercel", "ai.generateText.doGenerate"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o",
        response_model="gpt-4o-2024-08-06",
        model="gpt-4o-2024-08-06",
        tokens={"input": 9, "output": 2, "total": 11},
        finish=("tool-calls",),
        input=(system("Be brief"), user("weather?")),
        output=(assistant(call("c1", "weather", {"city": "Oslo"}), finish="tool_call"),),
        tools=(function("weather"),),
    ),
    ("field-15-vercel", "ai.toolCall"): Call(
        kind="TOOL",
        operation="execute_tool",
        tool_name="weather",
        tool_id="c1",
        arguments={"city": "Oslo"},
        result="4 C",
    ),
    ("field-16-retrieval", "openai.embeddings"): Call(
        kind="EMBEDDING",
        operation="embeddings",
        provider="openai",
        request_model="text-embedding-3-small",
        model="text-embedding-3-small",
        tokens={"input": 3, "total": 3},
        embedded=("harbour hotels",),
        genai={"input": ANY},
    ),
    ("field-16-retrieval", "retrieval kb"): Call(
        kind="RETRIEVER",
        operation="retrieval",
        query="harbour hotels",
        documents=({"id": "d1", "score": 0.9, "content": "Hotel A"},),
    ),
    ("field-16-retrieval", "pinecone.query"): Call(kind="RETRIEVER", operation="retrieval", provider=ANY),
    ("field-30-adk", "invocation"): Call(
        kind="AGENT", operation="invoke_agent", provider=ANY, agent="travel_root", conversation="sess-9"
    ),
    ("field-30-adk", "call_llm"): Call(
        kind="LLM",
        operation="generate_content",
        provider="gcp.vertex_ai",
        llm=("google", "vertexai"),
        request_model="gemini-2.0-flash",
        model="gemini-2.0-flash",
        tokens={"input": 8, "output": 2, "total": 10},
        finish=("stop",),
        conversation=ANY,
        input=(user("hotels in Porto?"),),
        output=(assistant("Three.", finish="stop"),),
    ),
    ("field-30-adk", "execute_tool find_hotels"): Call(
        kind="TOOL",
        operation="execute_tool",
        provider="gcp.vertex_ai",
        tool_name="find_hotels",
        tool_description="finds",
        arguments={"city": "Porto"},
        result={"n": 3},
    ),
    ("field-31-single-json-prompt", "ChatOpenAI"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o",
        model="gpt-4o",
        input=(user("hi"),),
        output=(assistant("hello"),),
    ),
    ("field-35-long-chat", "openai.chat"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o",
        model="gpt-4o",
        conversation="last-of-all",
        input=tuple(
            (assistant if number % 2 else user)(holds(f"message {number} xxx")) for number in range(300)
        ),
    ),
    ("field-12-odd-keys", "odd"): PLAIN,
    ("field-12-odd-keys", ""): PLAIN,
    ("field-14-same-ids", "run A root"): PLAIN,
    ("field-14-same-ids", "run A child"): PLAIN,
    ("field-14-same-ids", "run B root"): PLAIN,
    ("field-14-same-ids", "run B child"): PLAIN,
    ("field-23-odd-times", "unfinished"): PLAIN,
    ("field-23-odd-times", "wrapped end"): PLAIN,
    ("field-23-odd-times", "skewed"): PLAIN,
    ("field-24-orphans", "orphan A"): PLAIN,
    ("field-24-orphans", "orphan B"): PLAIN,
    ("field-24-orphans", "root"): PLAIN,
    ("field-24-orphans", "second root"): PLAIN,
    ("field-24-orphans", "cycle 1"): PLAIN,
    ("field-24-orphans", "cycle 2"): PLAIN,
    ("field-24-orphans", "child before parent"): PLAIN,
    ("field-25-no-service", "chat"): PLAIN,
    ("field-26-nan-only", "eval"): PLAIN,
    ("field-26-nan-only", "child"): PLAIN,
}  # fmt: skip
PROVIDERS = {
    "openai.chat": ("openai", "openai", "openai"),
    "openai.responses": ("openai", "openai", "openai"),
    "anthropic.messages": ("anthropic", "anthropic", "anthropic"),
    "google.generative-ai": ("gcp.gemini", "google", None),
    "google.vertex.chat": ("gcp.vertex_ai", "google", "vertexai"),
    "amazon-bedrock": ("aws.bedrock", "aws", None),
    "azure-openai.chat": ("azure.ai.openai", "azure", "openai"),
    "azure.chat": ("azure.ai.openai", "azure", "openai"),
    "google-gla": ("gcp.gemini", "google", None),
    "google-vertex": ("gcp.vertex_ai", "google", "vertexai"),
    "azure": ("azure.ai.openai", "azure", "openai"),
    "AWS": ("aws.bedrock", "aws", None),
    "Azure": ("azure.ai.openai", "azure", "openai"),
    "bedrock": ("aws.bedrock", "aws", None),
    "vertex_ai": ("gcp.vertex_ai", "google", "vertexai"),
    "gcp.vertex.agent": ("gcp.vertex_ai", "google", "vertexai"),
    "gemini": ("gcp.gemini", "google", None),
    "Gemini": ("gcp.gemini", "google", None),
    "mistral.chat": ("mistral_ai", "mistralai", "mistralai"),
    "xai.chat": ("x_ai", "xai", None),
    "cohere.chat": ("cohere", "cohere", "cohere"),
    "groq.chat": ("groq", "groq", None),
    "deepseek.chat": ("deepseek", "deepseek", None),
    "perplexity": ("perplexity", "perplexity", None),
    "Anthropic": ("anthropic", "anthropic", "anthropic"),
    "fireworks_ai": ("fireworks_ai", ANY, None),
    "openrouter": ("openrouter", ANY, None),
    "langchain": ("langchain", ANY, None),
    "strands-agents": ("strands-agents", ANY, None),
    "Google": (ANY, "google", None),
}
"""A recorded ``gen_ai.system``, and the provider in GenAI, and the provider and the system in OpenInference, if it has one."""


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("recording", "name", "right"), each(CASES))
def test_calls_from_the_field_are_written_as_they_were(recording: str, name: str, right: Call, convention: str) -> None:
    """Every fact of a recorded span has its right value in each convention, and what was not recorded is absent."""
    assert right.differences(recording, name, convention) == {}


@pytest.mark.parametrize("recorded", PROVIDERS)
def test_providers_go_by_family(recorded: str) -> None:
    """A provider has the name that each convention lists for its family, whatever the case and the rest of the name."""
    attributes = found("field-02-provider-names", f"chat {recorded}", "both")
    for key, right in zip(("gen_ai.provider.name", "llm.provider", "llm.system"), PROVIDERS[recorded], strict=True):
        assert right in (ANY, None) or attributes.get(key) == right, key
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["openinference.span.kind"] == "LLM"


def test_the_tables_hold_all_spans() -> None:
    """Each span of a recording in the table has its right values."""
    assert {(recording, name) for recording, _ in CASES for name in names(recording)} == CASES.keys()
    assert [f"chat {recorded}" for recorded in sorted(PROVIDERS)] == sorted(names("field-02-provider-names"))
