"""Sample traffic ends with one conversation in each dialect, in the shapes that the SDKs record."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge.emulator import Store
from netra_otel_bridge.emulator.conversations import CONVERSATIONS
from netra_otel_bridge.emulator.conversations.shapes import Call
from netra_otel_bridge.emulator.sample_traffic import Traffic
from tests.support.emulator import START_NS

HOUR_NS = 3_600_000_000_000
EMULATOR_PAGE = Path(__file__).parents[2] / "docs" / "emulator.md"
DIALECTS = {
    "write-postcard": ["llm.request.reasoning_effort", "llm.usage.reasoning_tokens", "gen_ai.completion.0.content"],
    "plan-weekend": ["gen_ai.completion.2.tool_call_id", "gen_ai.completion.3.finish_reason", "gen_ai.prompt.6.role"],
    "missed-connection": ["tools", "gen_ai.response.completion.1.content", "gen_ai.response.finish_reason"],
    "read-receipt": ["gen_ai.prompt.3.content", "gen_ai.usage.cache_creation_input_tokens"],
    "allergy-check": ["gen_ai.response.completion.1.role", "gen_ai.prompt.3.role", "llm.response.finish_reason"],
    "gate-change": ["event gen_ai.user.message", "event gen_ai.choice"],
    "visa-question": ["gen_ai.input.messages", "gen_ai.tool.definitions", "gen_ai.usage.reasoning_tokens"],
    "rainy-day": ["gen_ai.prompt.1.role", "llm.top_k"],
    "ADK.Agent.walk_guide": ["gen_ai.completions.0.tool_calls.0.id", "gen_ai.prompt.3.function_response.result"],
    "ai.streamText": ["ai.prompt.messages", "ai.response.toolCalls", "ai.toolCall.result"],
    "RefundGraph.workflow": ["gen_ai.task.input", "netra.association.properties.langgraph_node"],
    "pydantic_ai.agent.run": ["pydantic_ai.node.type", "tool.kwargs", "pydantic_ai.final_output"],
    "ask-the-rules": ["event db.query.result", "db.chroma.query.n_results", "gen_ai.request.dimensions"],
    "find-hostel": ["pinecone.query.top_k", "netra.usage", "gen_ai.embeddings.dimension.count"],
    "voice-message": ["gen_ai.request.voice_id", "gen_ai.audio.duration"],
    "send-boarding-pass": ["event pii_detected"],
    "staff-discount": ["netra.guardrail.triggered", "event violation_detected"],
    "front-desk": ["conversation", "netra.action", "netra.prompt"],
    "last-ferry": ["mcp.response.value", "netra.span.kind"],
    "Agent Workflow": ["gen_ai.handoff.to_agent", "traceloop.span.kind", "event exception"],
}
"""Attributes and events that show the dialect of each conversation, in order."""


def conversations(traces: int = 120, spans: int = 10, seed: int = 7) -> list[list[dict[str, Any]]]:
    """Return the items of the last traces, the root of each first."""
    made = Traffic(seed=seed, traces=traces, spans_per_trace=spans, end_ns=START_NS, range_ns=HOUR_NS)
    store = Store()
    store.add_recipes(made.recipes(), made.locate)
    last = list(store.starting_in(0, START_NS))[-len(CONVERSATIONS) :]
    return [[json.loads(row.body) for row in store.rows(trace)] for trace in last]


def calls(call: Call) -> list[Call]:
    """Return a call and all below it."""
    return [call, *(below for inside in call.inside for below in calls(inside))]


@pytest.mark.parametrize("spans", [8, 10, 20])
def test_the_last_traces_are_the_conversations(spans: int) -> None:
    """Each comes once, in order, by its own service, in as many spans as any other trace."""
    found = conversations(spans=spans)
    assert [items[0]["name"] for items in found] == list(DIALECTS)
    services = [json.loads(items[0]["resources"])["service.name"] for items in found]
    assert services == [one.service for one in CONVERSATIONS]
    assert {len(items) for items in found} == {spans}


@pytest.mark.parametrize(("traces", "spans"), [(99, 10), (120, 7), (120, 21), (1, 10)])
def test_traffic_without_room_has_no_conversations(traces: int, spans: int) -> None:
    """With few traces, or with spans that would not hold a conversation or drown it, all traces are the usual ones."""
    assert not {items[0]["name"] for items in conversations(traces, spans)} & set(DIALECTS)


@pytest.mark.parametrize("items", conversations(spans=12), ids=list(DIALECTS))
def test_a_conversation_is_a_whole_trace(items: list[dict[str, Any]]) -> None:
    """There is one root, every parent is in the trace, and every span is within its parent's time."""
    times = {item["id"]: (float(item["start_time_ms"]), float(item["end_time_ms"])) for item in items}
    assert [item["parent_span_id"] for item in items].count(None) == 1
    for item in items[1:]:
        start, end = times[item["id"]]
        above = times[item["parent_span_id"]]
        assert above[0] <= start < end <= above[1]
    assert len({(item["session_id"], item["user_id"], item["tenant_id"]) for item in items}) == 1
    assert items[0]["session_id"]


@pytest.mark.parametrize("number", range(len(DIALECTS)), ids=list(DIALECTS))
def test_a_conversation_speaks_its_dialect(number: int) -> None:
    """The attributes and events by which a reader knows the dialect are there."""
    items = conversations()[number]
    found = {key for item in items for key in json.loads(item["attributes"])}
    found |= {f"event {event['name']}" for item in items for event in json.loads(item["events"])}
    assert set(DIALECTS[items[0]["name"]]) <= found


def test_conversations_fill_the_columns() -> None:
    """Guards, handoffs, findings, models and failed tools are all in the columns that Netra derives."""
    items = [item for trace in conversations() for item in trace]
    assert {item["kind"] for item in items} >= {"GUARDRAIL", "HANDOFF", "GENERATION", "EMBEDDING", "TOOL", "AGENT"}
    (masked,) = [item for item in items if item["has_pii"]]
    assert (masked["pii_entities"], masked["pii_actions"]) == (
        ["EMAIL_ADDRESS", "PHONE_NUMBER"],
        {"MASK": ["EMAIL_ADDRESS", "PHONE_NUMBER"]},
    )
    (refused,) = [item for item in items if item["has_violation"]]
    assert (refused["violations"], refused["violation_actions"]) == (
        ["PROMPT_INJECTION"],
        {"BLOCK": ["PROMPT_INJECTION"]},
    )
    assert [item["name"] for item in items if item["has_error"]] == ["trace_bag.tool"]
    assert len({item["model_name"] for item in items}) > 12


def test_the_first_token_comes_within_the_call() -> None:
    """The time to the first token is text in Python and a number in JavaScript, and shorter than the call."""
    types = set()
    for item in (item for trace in conversations() for item in trace):
        attributes = json.loads(item["attributes"])
        recorded = attributes.get("gen_ai.performance.time_to_first_token")
        if recorded is not None:
            types.add((attributes["library.version"], type(recorded)))
            assert 0 < float(recorded) * 1000 < float(item["end_time_ms"]) - float(item["start_time_ms"])
    assert types == {("1.2.2", str), ("1.8.0", float)}


def test_the_same_seed_holds_the_same_conversations() -> None:
    """Ids and times depend only on the seed; what is said depends on nothing."""
    assert conversations() == conversations()
    first, other = conversations(), conversations(seed=8)
    assert not {item["id"] for trace in first for item in trace} & {item["id"] for trace in other for item in trace}
    assert [item["name"] for trace in first for item in trace] == [item["name"] for trace in other for item in trace]


def test_what_is_said_can_be_read() -> None:
    """Every attribute has a type that OpenTelemetry allows, and every JSON text in it can be parsed."""
    for call in (call for conversation in CONVERSATIONS for call in calls(conversation.root)):
        for key, value in call.attributes.items():
            items = value if isinstance(value, list) else [value]
            assert all(isinstance(item, str | bool | int | float) for item in items), key
            for item in items:
                if isinstance(item, str) and item.startswith(("[{", '{"')):
                    json.loads(item)


def test_the_documentation_lists_the_conversations() -> None:
    """The page of the emulator has a row for each conversation, in order."""
    listed = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| .+ \|$", EMULATOR_PAGE.read_text("utf-8"), re.MULTILINE)
    assert listed == [(one.root.name, one.service) for one in CONVERSATIONS]
