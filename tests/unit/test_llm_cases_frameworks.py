"""Recordings of frameworks, vector stores, speech and spans made by hand with the SDK."""

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
    link,
    one_of,
    result,
    system,
    user,
)

MANUAL, DECORATED, SPEECH = "netra-p10-manual-conversation-guard", "netra-p11-decorators", "netra-p18-speech"
LANGCHAIN, LLAMA, MCP, STORES = (
    "netra-p20-langchain", "netra-p25-llamaindex", "netra-p26-mcp", "netra-p27-vector-stores",
)  # fmt: skip
LANGGRAPH, JS_MANUAL = "netra-j05-js-langgraph", "netra-j06-js-manual-guardrail-typeorm"
CASES = {
    (MANUAL, "draw-chart"): Call(
        kind="LLM",
        operation=ANY,
        provider="some_images",
        request_model="image-model-1",
        model="image-model-1",
        conversation="sess-7",
        input=ANY,
    ),
    (MANUAL, "harbour-chat"): Call(
        kind="AGENT",
        operation="invoke_agent",
        agent="harbour-chat",
        conversation="sess-7",
        input=(system("You are polite. ZQX-csys"), user("Is there a berth? ZQX-cuser")),
        output=(assistant(holds("berths", "A4", "note", "ZQX-cout")),),
    ),
    (MANUAL, "guard"): Call(kind=one_of("CHAIN", "GUARDRAIL"), operation=None, conversation="sess-7"),
    (MANUAL, "failing-call"): Call(
        kind="TOOL", operation="execute_tool", tool_name="failing-call", conversation="sess-7"
    ),
    (DECORATED, "find-berth"): Call(
        kind="TOOL",
        operation="execute_tool",
        tool_name="find-berth",
        arguments={"size": "12m ZQX-arg"},
        result={"berth": "B2 ZQX-taskout"},
        conversation="sess-7",
        workflow=ANY,
    ),
    (DECORATED, "harbour-master"): Call(
        kind="AGENT",
        operation="invoke_agent",
        agent="harbour-master",
        conversation="sess-7",
        input=ANY,
        output=ANY,
        workflow=ANY,
    ),
    (DECORATED, "arrival"): Call(
        kind="CHAIN", operation="invoke_workflow", workflow="arrival", conversation="sess-7"
    ),
    (DECORATED, "vector"): Call(kind="EMBEDDING", operation="embeddings", conversation="sess-7", embedded=ANY),
    (SPEECH, "deepgram.agent.v1.connect"): Call(
        kind=ANY, operation=ANY, provider="deepgram", input=ANY, output=ANY
    ),
    (SPEECH, "deepgram.transcribe_url"): Call(
        kind="LLM",
        operation=None,
        provider="deepgram",
        request_model="nova-3",
        model="nova-3",
        response_id=ANY,
        output=(assistant("Ahoy ZQX-tr"),),
    ),
    (SPEECH, "elevenlabs.create_speech"): Call(
        kind="LLM",
        operation=None,
        provider=one_of("elevenlabs", "ElevenLabs"),
        request_model="eleven_v2",
        model="eleven_v2",
        input=(user("Ahoy ZQX-text"),),
    ),
    (SPEECH, "cartesia.stt"): Call(
        kind="LLM",
        operation=None,
        provider="cartesia",
        request_model="ink-whisper",
        model="ink-whisper",
        output=(assistant("Ahoy ZQX-rt"),),
    ),
    (LANGCHAIN, "ChatOpenAI.chat"): Call(
        kind="LLM",
        operation="chat",
        provider="openai",
        llm=("openai", "openai"),
        request_model="unknown",
        response_model="gpt-4o-2024",
        model="gpt-4o-2024",
        parameters={"temperature": 0.2},
        tokens={"input": 40, "output": 12, "cache_read": 16, "total": 52},
        finish=("tool_call",),
        response_id="cm1",
        input=(
            system("Know depths. ZQX-s"),
            user("Depth? ZQX-u", link("image", "https://i.example/ZQX.png")),
            assistant(call("l1", "depth", {"at": "ZQX-a1"}), call("l2", "depth", {"at": "ZQX-a2"})),
            result("l1", "9 ZQX-r1"),
            result("l2", "7 ZQX-r2"),
        ),
        output=(assistant("Nine. ZQX-o", call("l3", "depth", {"at": "ZQX-oa"}), finish="tool_call"),),
        tools=(function("depth", "Depth", {"type": "object", "properties": {"at": {"type": "string"}}}),),
        workflow=ANY,
        genai={"tools": ANY},
    ),
    (LANGCHAIN, "execute_tool depth"): Call(
        kind="TOOL",
        operation="execute_tool",
        provider="langchain",
        tool_name="depth",
        tool_description="Depth of water",
        arguments=holds("ZQX-ti"),
        result=holds("9 m ZQX-to"),
        workflow=ANY,
    ),
    (LANGCHAIN, "vector_db_retrieve ChartStore"): Call(
        kind="RETRIEVER",
        operation="vector_db_retrieve",
        provider="langchain",
        query="reef ZQX-rq",
        documents=({"content": "reef text ZQX-doc", "metadata": holds("source", "s1")},),
        workflow=ANY,
    ),
    (LANGCHAIN, "execute_task plan"): Call(
        kind="CHAIN", operation="execute_task", provider="langchain", workflow=ANY
    ),
    (LANGCHAIN, "PilotGraph.workflow"): Call(
        kind=one_of("AGENT", "CHAIN"),
        operation="invoke_agent",
        provider="langchain",
        agent="PilotGraph",
        conversation=ANY,
        input=ANY,
        output=ANY,
        workflow=ANY,
    ),
    (LLAMA, "VectorIndexRetriever.task"): Call(
        kind="RETRIEVER",
        operation="retrieval",
        query="reef ZQX-rq",
        documents=({"id": "n1", "content": "reef ZQX-doc", "score": 0.7},),
    ),
    (LLAMA, "CohereRerank.task"): Call(
        kind="RERANKER",
        operation="rerank",
        request_model="rerank-v3.5",
        model="rerank-v3.5",
        query="reef ZQX-rr",
        genai={"query": ANY, "input": ANY},
        openinference={"input": ANY},
    ),
    (LLAMA, "FunctionTool.task"): Call(
        kind="TOOL",
        operation="execute_tool",
        tool_name="depth",
        tool_description="Depth",
        arguments={"at": "ZQX-ta"},
    ),
    (LLAMA, "RetrieverQueryEngine.workflow"): Call(
        kind="CHAIN", operation="invoke_workflow", workflow="RetrieverQueryEngine.workflow"
    ),
    (MCP, "depth.tool"): Call(
        kind="TOOL",
        operation="execute_tool",
        provider=ANY,
        tool_name="depth",
        arguments=one_of({"at": "ZQX-a"}, {"tool_name": "depth", "arguments": {"at": "ZQX-a"}}),
        result=holds("9 ZQX-o"),
    ),
    (MCP, "mcp.server"): Call(kind="CHAIN", operation=None, provider=ANY, workflow=ANY),
    (STORES, "chroma.query"): Call(
        kind="RETRIEVER",
        operation="retrieval",
        documents=(
            {
                "id": "d1",
                "content": "Reef at the gate ZQX-doc1",
                "score": None,
                "metadata": one_of(holds("0.12", "ZQX-md"), holds("ZQX-md", "0.12")),
            },
            {"id": "d2", "content": "Rock ZQX-doc2", "score": None, "metadata": holds("0.4")},
        ),
        genai={"documents": ()},
    ),
    (STORES, "pinecone.query"): Call(
        kind="RETRIEVER",
        operation="retrieval",
        provider=ANY,
        documents=({"id": "p1", "score": 0.9},),
        openinference={
            "documents": one_of(
                ({"id": "p1", "score": 0.9, "content": "Reef ZQX-pmd"},),
                ({"id": "p1", "score": 0.9, "metadata": holds("Reef ZQX-pmd")},),
            )
        },
    ),
    (STORES, "milvus.search"): Call(
        kind="RETRIEVER",
        operation="retrieval",
        provider=ANY,
        documents=({"id": "m1", "score": None, "metadata": holds("0.3")},),
        genai={"documents": ()},
    ),
    (STORES, "marqo.search"): Call(kind="RETRIEVER", operation="retrieval", provider=ANY, query="reef ZQX-mq"),
    (STORES, "db.weaviate.collections.data.insert"): Call(kind="CHAIN", operation=None),
    (LANGGRAPH, "plan.task"): Call(kind="CHAIN", operation=None),
    (LANGGRAPH, "ChatOllama.task"): Call(
        kind="LLM",
        operation="chat",
        provider=ANY,
        request_model="llama3",
        response_model="llama3",
        model="llama3",
        parameters={"temperature": 0.1},
        tokens={"input": 4, "output": 2, "total": 6},
        input=(user(" Depth? ZQX-u"),),
    ),
    (LANGGRAPH, "depth.tool"): Call(
        kind="TOOL",
        operation="execute_tool",
        tool_name=one_of("depth", "depth.tool"),
        arguments=holds("ZQX-ti"),
        result=holds("9 ZQX-to"),
    ),
    (LANGGRAPH, "Langgraph.workflow"): Call(
        kind="CHAIN", operation=one_of("invoke_workflow", None), workflow=ANY
    ),
    (JS_MANUAL, "chat-turn"): Call(
        kind="LLM",
        operation="chat",
        provider="openai",
        llm=("openai", "openai"),
        request_model="m1",
        model="m1",
        input=(user("Berth? ZQX-cu"),),
        output=(assistant("A4 ZQX-co"),),
    ),
    (JS_MANUAL, "check"): Call(kind="GUARDRAIL", operation=None),
    (JS_MANUAL, "go"): Call(kind="TOOL", operation=ANY, tool_name=ANY),
    (JS_MANUAL, "typeorm.query"): Call(kind="CHAIN", operation=None),
}  # fmt: skip


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("recording", "name", "right"), each(CASES))
def test_steps_of_frameworks_are_written_as_they_were(recording: str, name: str, right: Call, convention: str) -> None:
    """Every fact of a recorded step has its right value in each convention, and what was not recorded is absent."""
    assert right.differences(recording, name, convention) == {}


def test_the_tables_hold_all_spans() -> None:
    """Each span of a recording in the table has its right values."""
    assert {(recording, name) for recording, _ in CASES for name in names(recording)} == CASES.keys()


@pytest.mark.parametrize("name", ["deepgram.transcribe_url", "elevenlabs.create_speech", "cartesia.stt"])
def test_speech_is_no_chat(name: str) -> None:
    """Speech and transcription are never called a chat, in any profile."""
    assert "gen_ai.operation.name" not in found(SPEECH, name, "both")
