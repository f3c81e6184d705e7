"""The emulator takes every recording over OTLP, and derives the columns that Netra shows for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge.emulator import Emulator
from tests.support.emulator import Client, otlp_span

CASES = Path(__file__).parents[1] / "data" / "llm_cases"
COLUMNS = ("name", "kind", "model_name", "prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens")
EXPECTED = {
    "j01-js-openai": [
        ("openai.chat", "GENERATION", "gpt-4o-2024", 30, 9, 8, 39),
        ("openai.embedding", "EMBEDDING", "text-embedding-3-small", 4, None, None, 4),
    ],
    "j02-js-anthropic": [
        ("anthropic.chat", "GENERATION", "claude-sonnet-4-5-2025", 20, 9, 900, 29),
        ("depth", "TOOL"),
    ],
    "j04-js-openai-agents": [
        ("no-secrets", "GUARDRAIL"),
        ("openai.agents.response", "INTERNAL", "gpt-4o-2024", 30, 9, 3, 39),
        ("handoff to tug", "HANDOFF"),
        ("depth", "TOOL"),
        ("bad", "TOOL"),
        ("tug", "AGENT"),
        ("openai.agents.mcp_list_tools", "TOOL"),
        ("note", "SPAN"),
        ("Harbour flow", "AGENT"),
    ],
    "j05-js-langgraph": [
        ("plan.task", "SPAN"),
        ("Langgraph.workflow", "CLIENT"),
        ("ChatOllama.task", "INTERNAL", "llama3", 4, 2, None, 6),
        ("depth.tool", "TOOL"),
    ],
    "j06-js-manual-guardrail-typeorm": [
        ("chat-turn", "GENERATION", "m1"),
        ("check", "CLIENT"),
        ("go", "CLIENT"),
        ("typeorm.query", "CLIENT"),
    ],
    "j07-js-truncated": [
        ("openai.chat", "GENERATION", "gpt-4o"),
    ],
    "p01-openai-chat-tools": [
        ("openai.chat", "GENERATION", "gpt-4o-mini-2024-07-18", 210, 64, 128, 274),
    ],
    "p02-openai-two-choices": [
        ("openai.chat", "GENERATION", "gpt-4o-mini", 9, 4, None, 13),
    ],
    "p03-openai-responses": [
        ("openai.response", "GENERATION", "gpt-5-mini-2025", 80, 70, 16, 150),
    ],
    "p04-openai-multimodal": [
        ("openai.chat", "GENERATION", "gpt-4o", 900, 5, None, 905),
    ],
    "p05-openai-embedding-and-cost": [
        ("openai.embedding", "EMBEDDING", "text-embedding-3-small", 7, None, None, 7),
        ("openai.chat", "GENERATION", "somevendor/some-model", 3, 2, None, 5),
    ],
    "p06-litellm-groq-cerebras": [
        ("litellm.completion", "GENERATION", "some-model", 11, 6, None, 17),
        ("litellm.image_generation", "GENERATION", "dall-e-3"),
        ("groq.chat", "GENERATION", "llama-3.1-8b-instant", 11, 6, None, 17),
        ("cerebras.chat", "GENERATION", "llama3.1-8b", 11, 6, None, 17),
    ],
    "p07-cohere": [
        ("cohere.rerank", "CLIENT", "rerank-v3.5"),
        ("cohere.chat", "GENERATION", "command-r", 5, 2, None, 7),
    ],
    "p08-mistral-embeddings": [
        ("mistralai.embeddings", "EMBEDDING", "mistral-embed", 6, 0, None, 6),
    ],
    "p09-google-genai": [
        ("genai.generate_content", "GENERATION", "gemini-2.0-flash", 14, 26, 4, 40),
    ],
    "p10-manual-conversation-guard": [
        ("draw-chart", "GENERATION", "image-model-1"),
        ("harbour-chat", "CLIENT"),
        ("guard", "CLIENT"),
        ("failing-call", "CLIENT"),
    ],
    "p11-decorators": [
        ("arrival", "SPAN"),
        ("harbour-master", "AGENT"),
        ("find-berth", "TOOL"),
        ("vector", "INTERNAL"),
    ],
    "p12-google-adk": [
        ("ADK.Agent.pilot", "CLIENT"),
        ("gemini-2.0-flash", "GENERATION", "gemini-2.0-flash-001", 50, 39, 10, 89),
        ("depth", "CLIENT"),
    ],
    "p13-agno": [
        ("agno.agent.run.lookout", "CLIENT"),
        ("agno.llm", "GENERATION", "gpt-4o"),
        ("agno.tool.radar", "CLIENT"),
        ("agno.memory", "CLIENT"),
        ("agno.vectordb.search", "CLIENT"),
    ],
    "p14-pydantic-ai": [
        ("pydantic_ai.agent.run", "CLIENT", "gpt-4o", 20, 8, None, 28),
        ("pydantic_ai.node.user_prompt", "SPAN"),
        ("pydantic_ai.node.model_request", "SPAN"),
        ("pydantic_ai.node.call_tools", "INTERNAL", "gpt-4o", 20, 8, None, 28),
        ("pydantic_ai.node.end", "SPAN"),
        ("pydantic_ai.tool.tide", "TOOL"),
    ],
    "p16-claude-agent-sdk": [
        ("claude-agent.query", "GENERATION", "claude-sonnet-4-5"),
        ("claude-agent.thinking", "SPAN", "claude-sonnet-4-5"),
        ("claude-agent.assistant", "SPAN", "claude-sonnet-4-5"),
        ("Read", "CLIENT", "claude-sonnet-4-5"),
        ("claude-agent.usage.claude-sonnet-4-5", "USAGE", "claude-sonnet-4-5", 12, 30, 900, 42),
    ],
    "p18-speech": [
        ("deepgram.agent.v1.connect", "GENERATION"),
        ("deepgram.transcribe_url", "GENERATION", "nova-3"),
        ("elevenlabs.create_speech", "GENERATION", "eleven_v2"),
        ("cartesia.stt", "GENERATION", "ink-whisper"),
    ],
    "p19-honcho-hermes": [
        ("honcho.search_memory", "CLIENT"),
        ("hermes-agent.turn", "CLIENT", "some-model"),
        ("execute_tool terminal", "CLIENT"),
    ],
    "p20-langchain": [
        ("PilotGraph.workflow", "AGENT"),
        ("execute_task plan", "SPAN"),
        ("ChatOpenAI.chat", "GENERATION", "gpt-4o-2024", 40, 12, 16, 52),
        ("execute_tool depth", "TOOL"),
        ("vector_db_retrieve ChartStore", "CLIENT"),
    ],
    "p21-anthropic": [
        ("anthropic.chat", "GENERATION", "claude-sonnet-4-5-2025", 1030, 60, 900, 1090),
    ],
    "p22-vertexai-ollama-voyage": [
        ("vertexai.generate_content", "GENERATION", "gemini-1.5-pro", 8, 4, None, 12),
        ("ollama.chat", "GENERATION", "llama3", 10, 3, None, 13),
        ("voyageai.rerank", "CLIENT", "rerank-2"),
        ("voyageai.embeddings", "EMBEDDING", "voyage-3", 2, None, None, 2),
    ],
    "p23-openai-agents": [
        ("Agent Workflow", "SPAN"),
        ("pilot.agent", "AGENT"),
        ("openai.response", "GENERATION", "gpt-4o-2024", 30, 9, 4, 39),
        ("depth.tool", "TOOL"),
        ("pilot → tug.handoff", "HANDOFF"),
    ],
    "p25-llamaindex": [
        ("RetrieverQueryEngine.workflow", "SPAN"),
        ("VectorIndexRetriever.task", "SPAN"),
        ("CohereRerank.task", "SPAN", "rerank-v3.5"),
        ("FunctionTool.task", "TOOL"),
    ],
    "p26-mcp": [
        ("mcp.server", "SPAN"),
        ("depth.tool", "TOOL"),
    ],
    "p27-vector-stores": [
        ("chroma.query", "CLIENT"),
        ("pinecone.query", "CLIENT"),
        ("milvus.search", "CLIENT"),
        ("marqo.search", "CLIENT"),
        ("db.weaviate.collections.data.insert", "CLIENT"),
    ],
}
"""The columns of each span of the SDKs' recordings; those that are left out at the end are unknown."""


async def read(document: bytes) -> list[dict[str, Any]]:
    """Send a document over OTLP, and return the items of all its spans."""
    async with Emulator() as emulator, Client(emulator.url) as client:
        headers = {"content-type": "application/json"}
        answer = await client.json("POST", "/telemetry/v1/traces", data=document, headers=headers)
        assert answer == {}, "no span is rejected"
        traces = (await client.traces())["data"]
        return [item for trace in traces for item in (await client.spans(trace["id"], limit=100))["data"]]


async def guarded(*events: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    """Return the item of a span with these events and attributes."""
    async with Emulator() as emulator, Client(emulator.url) as client:
        await client.send(otlp_span(1, 1, attributes=attributes, events=list(events)))
        (item,) = (await client.spans(f"{1:032x}"))["data"]
        return item


def event(name: str, **attributes: Any) -> dict[str, Any]:
    """Return an event in OTLP JSON; a value is text, a boolean, or OTLP JSON already."""
    listed = [
        {
            "key": key,
            "value": value
            if isinstance(value, dict)
            else {"boolValue": value}
            if isinstance(value, bool)
            else {"stringValue": value},
        }
        for key, value in attributes.items()
    ]
    return {"name": name, "timeUnixNano": "1", "attributes": listed}


@pytest.mark.parametrize("case", sorted(EXPECTED))
async def test_a_recording_has_the_columns_of_its_dialect(case: str) -> None:
    """Each span of a recording comes back with its kind, model and tokens, whatever names the SDK used for them."""
    items = await read((CASES / f"netra-{case}.otlp.json").read_bytes())
    rows = [(*row, *[None] * (len(COLUMNS) - len(row))) for row in EXPECTED[case]]
    assert sorted((tuple(item[name] for name in COLUMNS) for item in items), key=str) == sorted(rows, key=str)


def test_every_recording_of_the_sdks_is_listed() -> None:
    """A new recording needs its columns written out."""
    assert {path.name for path in CASES.glob("netra-*")} == {f"netra-{case}.otlp.json" for case in EXPECTED}


@pytest.mark.parametrize("path", sorted(CASES.glob("field-*")), ids=lambda path: path.stem)
async def test_a_recording_of_another_tool_comes_back_whole(path: Path) -> None:
    """Each span of a recording of another instrumentation comes back, under its own id."""
    document = json.loads(path.read_bytes())
    sent = [span for one in document["resourceSpans"] for scope in one["scopeSpans"] for span in scope["spans"]]
    items = await read(path.read_bytes())
    assert sorted((item["trace_id"], item["id"]) for item in items) == sorted(
        {(span["traceId"].lower(), span["spanId"].lower()) for span in sent}
    )


async def test_a_guard_fills_the_columns_of_pii_and_violations() -> None:
    """The events of the recorded guard are columns of its span alone, with the session, user and tenant."""
    items = {
        item["name"]: item
        for item in await read((CASES / "netra-p10-manual-conversation-guard.otlp.json").read_bytes())
    }
    guard = items.pop("guard")
    assert (guard["has_pii"], guard["pii_entities"]) == (True, ["EMAIL_ADDRESS"])
    assert guard["pii_actions"] == {"MASK": ["EMAIL_ADDRESS"]}
    assert (guard["has_violation"], guard["violations"]) == (True, ["PROMPT_INJECTION"])
    assert guard["violation_actions"] == {"BLOCK": ["PROMPT_INJECTION"]}
    assert (guard["session_id"], guard["user_id"], guard["tenant_id"]) == ("sess-7", "user-7", "tenant-7")
    assert guard["metadata"] == {"plan": "gold"}
    for item in items.values():
        assert (item["has_pii"], item["pii_entities"], item["pii_actions"]) == (False, [], None)
        assert (item["has_violation"], item["violations"], item["violation_actions"]) == (False, [], None)


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ('{"EMAIL_ADDRESS": 2, "PHONE_NUMBER": 1}', ["EMAIL_ADDRESS", "PHONE_NUMBER"]),
        ("{'EMAIL_ADDRESS': 2}", ["EMAIL_ADDRESS"]),
        ('["EMAIL_ADDRESS"]', ["EMAIL_ADDRESS"]),
        ("['EMAIL_ADDRESS', 'IBAN_CODE']", ["EMAIL_ADDRESS", "IBAN_CODE"]),
        ("EMAIL_ADDRESS", ["EMAIL_ADDRESS"]),
        ("[broken", ["[broken"]),
        ("['broken", ["['broken"]),
        ("", []),
        ("{}", []),
        ({"arrayValue": {"values": [{"stringValue": "EMAIL_ADDRESS"}]}}, ["EMAIL_ADDRESS"]),
    ],
)
async def test_names_are_read_in_every_form(said: Any, names: list[str]) -> None:
    """Names come as JSON, as Python's text of a list or a dictionary, as a list, or as one word."""
    item = await guarded(event("pii_detected", pii_entities=said), event("violation_detected", violations=said))
    assert (item["has_pii"], item["pii_entities"]) == (True, names)
    assert (item["has_violation"], item["violations"]) == (True, names)


async def test_findings_of_one_span_add_up() -> None:
    """Two events and the attributes of a span name each finding once, and keep the actions apart."""
    first = event("pii_detected", pii_entities='{"EMAIL_ADDRESS": 1}', pii_actions='{"FLAG": ["EMAIL_ADDRESS"]}')
    second = event(
        "pii_detected",
        pii_entities='{"EMAIL_ADDRESS": 1, "PERSON": 1}',
        pii_actions="{'MASK': ['PERSON'], 'FLAG': ['EMAIL_ADDRESS', 'PERSON']}",
    )
    item = await guarded(first, second, **{"netra.pii.entities": ["IBAN_CODE"]})
    assert item["pii_entities"] == ["IBAN_CODE", "EMAIL_ADDRESS", "PERSON"]
    assert item["pii_actions"] == {"FLAG": ["EMAIL_ADDRESS", "PERSON"], "MASK": ["PERSON"]}
    assert json.loads(item["attributes"]) == {"netra.pii.entities": ["IBAN_CODE"]}


@pytest.mark.parametrize("said", [False, "false", "False"])
async def test_an_event_may_say_that_nothing_was_found(said: Any) -> None:
    """An event whose flag is false is no finding."""
    item = await guarded(event("pii_detected", has_pii=said), event("violation_detected", has_violation=said))
    assert (item["has_pii"], item["has_violation"]) == (False, False)


@pytest.mark.parametrize(
    ("recorded", "kind", "shown"),
    [
        ("GUARDRAIL", 1, "GUARDRAIL"),
        ("HANDOFF", 1, "HANDOFF"),
        ("handoff", 1, "HANDOFF"),
        ("GUARDRAIL", 3, "CLIENT"),
        ("UNHEARD_OF", 1, "SPAN"),
    ],
)
async def test_types_of_the_javascript_sdk(recorded: str, kind: int, shown: str) -> None:
    """A guardrail and a handoff are shown as such, unless that would hide the recorded kind."""
    async with Emulator() as emulator, Client(emulator.url) as client:
        await client.send(otlp_span(1, 1, kind=kind, attributes={"netra.span.type": recorded}))
        (item,) = (await client.spans(f"{1:032x}"))["data"]
    assert item["kind"] == shown
