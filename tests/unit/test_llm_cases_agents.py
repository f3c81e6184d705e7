"""Recordings of agents: their runs, the tools that they call, what they hand over, guard and remember."""

from __future__ import annotations

import pytest

from tests.support.llm_cases import converted, found, names
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
    text,
    thought,
    user,
)

ADK, AGNO, PYDANTIC = "netra-p12-google-adk", "netra-p13-agno", "netra-p14-pydantic-ai"
CLAUDE, HERMES = "netra-p16-claude-agent-sdk", "netra-p19-honcho-hermes"
PY_AGENTS, JS_AGENTS = "netra-p23-openai-agents", "netra-j04-js-openai-agents"
OPEN = {"input": ANY, "output": ANY, "tools": ANY, "request_model": ANY, "response_model": ANY, "provider": ANY}
"""Facts of an agent's own span that the rules leave open."""
OPENAI = {"provider": "openai", "llm": ("openai", "openai")}
VERTEX = {"provider": "gcp.vertex_ai", "llm": ("google", "vertexai")}
CLAUDE_MODEL = {"provider": "anthropic", "llm": ("anthropic", "anthropic"), "conversation": "cs-1"}
TIDE = user("Tell the tide ZQX-u")
CASES = {
    (ADK, "gemini-2.0-flash"): Call(
        kind="LLM",
        operation="generate_content",
        **VERTEX,
        request_model="gemini-2.0-flash-001",
        model="gemini-2.0-flash-001",
        parameters={"temperature": 0.1, "max_tokens": 100, "top_k": 5},
        tokens={"input": 50, "output": 39, "cache_read": 10, "total": 89},
        finish=("STOP",),
        input=(
            system("Guide ships. ZQX-sys"),
            user("Depth at gate? ZQX-u"),
            assistant(call("fc1", "depth", {"at": "gate ZQX-a1"}), call("fc2", "depth", {"at": "quay ZQX-a2"})),
            result("fc1", {"m": 9, "n": "ZQX-r1"}),
            result("fc2", {"m": 7, "n": "ZQX-r2"}),
        ),
        output=(
            assistant(
                "Two more. ZQX-out",
                call("fc3", "depth", {"at": "lock ZQX-oargs"}),
                call("fc4", "depth", {"at": "pier ZQX-oargs2"}),
                finish="stop",
            ),
        ),
        tools=(function("depth", "Depth of water ZQX-tooldesc"),),
    ),
    (ADK, "depth"): Call(
        kind="TOOL",
        operation="execute_tool",
        provider="gcp.vertex_ai",
        tool_name="depth",
        tool_id="fc3",
        tool_description="Depth of water",
        arguments={"at": "lock ZQX-in"},
        result={"m": 8, "n": "ZQX-out"},
    ),
    (ADK, "ADK.Agent.pilot"): Call(kind="AGENT", operation="invoke_agent", agent="pilot", **OPEN),
    (AGNO, "agno.llm"): Call(
        kind="LLM",
        operation="chat",
        provider="agno",
        request_model="gpt-4o",
        model="gpt-4o",
        input=(
            system("Watch. ZQX-sys"),
            user("What? ZQX-u"),
            assistant(call("t1", "radar", {"r": "ZQX-a"})),
            result(None, "a ship ZQX-r"),
        ),
        output=(assistant(call("t2", "radar", {"r": "ZQX-oa"})),),
    ),
    (AGNO, "agno.tool.radar"): Call(
        kind="TOOL",
        operation="execute_tool",
        provider="agno",
        tool_name="radar",
        tool_id="t2",
        tool_description="Sees far",
        arguments={"r": "ZQX-in"},
        result="ship ZQX-out",
    ),
    (AGNO, "agno.memory"): Call(kind="CHAIN", operation=None, provider="agno"),
    (AGNO, "agno.vectordb.search"): Call(
        kind="RETRIEVER",
        operation="retrieval",
        provider="agno",
        query="reef ZQX-q",
        documents=({"content": "reef ZQX-doc"},),
    ),
    (AGNO, "agno.agent.run.lookout"): Call(
        kind="AGENT",
        operation="invoke_agent",
        agent="lookout",
        conversation="agno-s1",
        response_id="run-1",
        **OPEN,
    ),
    (PYDANTIC, "pydantic_ai.node.user_prompt"): Call(
        kind="CHAIN",
        operation=None,
        provider=ANY,
        input=one_of(
            (system("You tell tides ZQX-s", "Be short ZQX-i"), TIDE),
            (system("Be short ZQX-i", "You tell tides ZQX-s"), TIDE),
            (system("You tell tides ZQX-s"), system("Be short ZQX-i"), TIDE),
        ),
    ),
    (PYDANTIC, "pydantic_ai.node.model_request"): Call(
        kind="CHAIN",
        operation=None,
        provider=ANY,
        input=one_of((TIDE, result("pt1", "low ZQX-toolret")), (TIDE, user("low ZQX-toolret"))),
    ),
    (PYDANTIC, "pydantic_ai.node.call_tools"): Call(
        kind="LLM",
        operation="chat",
        provider=ANY,
        request_model="gpt-4o",
        response_model="gpt-4o",
        model="gpt-4o",
        tokens={"input": 20, "output": 8, "reasoning": 3, "total": 28},
        output=(assistant(call("pt1", "tide", {"at": "ZQX-args"}), "Low at six. ZQX-resp"),),
    ),
    (PYDANTIC, "pydantic_ai.node.end"): Call(
        kind="CHAIN", operation=None, provider=ANY, output=(assistant("Low at six ZQX-end"),)
    ),
    (PYDANTIC, "pydantic_ai.tool.tide"): Call(
        kind="TOOL",
        operation="execute_tool",
        provider=ANY,
        tool_name="tide",
        arguments=one_of(holds("ZQX-ta", "ZQX-tk"), holds("ZQX-tk", "ZQX-ta")),
        result="low ZQX-tres",
    ),
    (PYDANTIC, "pydantic_ai.agent.run"): Call(
        kind="AGENT",
        operation="invoke_agent",
        provider=ANY,
        request_model=ANY,
        response_model="gpt-4o",
        agent="pydantic_ai.agent.run",
        parameters={"temperature": 0.3, "max_tokens": 50},
        tokens={"input": 20, "output": 8, "reasoning": 3},
        finish=("completed",),
        input=(TIDE,),
        output=(assistant("Low at six ZQX-out", finish="stop"),),
        genai={"parameters": ANY},
        openinference={"parameters": ANY},
    ),
    (CLAUDE, "claude-agent.thinking"): Call(
        kind=one_of("LLM", "CHAIN"),
        operation=one_of("chat", None),
        **CLAUDE_MODEL,
        request_model=ANY,
        response_model="claude-sonnet-4-5",
        response_id="msg_1",
        output=one_of((assistant("Look first. ZQX-think"),), (assistant(thought("Look first. ZQX-think")),)),
    ),
    (CLAUDE, "claude-agent.assistant"): Call(
        kind=one_of("LLM", "CHAIN"),
        operation=one_of("chat", None),
        **CLAUDE_MODEL,
        request_model=ANY,
        response_model="claude-sonnet-4-5",
        response_id="msg_1",
        output=(assistant("I read it. ZQX-t1"),),
    ),
    (CLAUDE, "Read"): Call(
        kind="TOOL",
        operation="execute_tool",
        provider="anthropic",
        conversation="cs-1",
        request_model=ANY,
        response_model="claude-sonnet-4-5",
        input=ANY,
        output=ANY,
        tool_name="Read",
        tool_id="toolu_1",
        arguments={"file": "ZQX-file"},
        result="line ZQX-res",
    ),
    (CLAUDE, "claude-agent.usage.claude-sonnet-4-5"): Call(
        kind="CHAIN",
        operation=None,
        provider="anthropic",
        request_model="claude-sonnet-4-5",
        tokens={"input": 12, "output": 30, "cache_read": 900, "cache_write": 200, "total": 42},
    ),
    (CLAUDE, "claude-agent.query"): Call(
        kind=one_of("LLM", "AGENT"),
        operation=one_of("chat", "invoke_agent"),
        **CLAUDE_MODEL,
        request_model="claude-sonnet-4-5",
        finish=("end_turn",),
        input=(system("You fix charts. ZQX-s"), user("Fix the chart ZQX-u")),
        output=(assistant("Done. ZQX-out", finish="stop"),),
    ),
    (HERMES, "honcho.search_memory"): Call(
        kind="RETRIEVER",
        operation="search_memory",
        provider="honcho",
        query="tea ZQX-mq",
        documents=({"content": "likes tea ZQX-mo"},),
        genai={"query": ANY},
    ),
    (HERMES, "execute_tool terminal"): Call(
        kind="TOOL",
        operation="execute_tool",
        provider=ANY,
        conversation="h1",
        input=ANY,
        output=ANY,
        tool_name="terminal",
        tool_id="hc1",
        arguments={"cmd": "ZQX-ti"},
        result="ok ZQX-to",
    ),
    (HERMES, "hermes-agent.turn"): Call(
        kind="AGENT", operation="invoke_agent", conversation="h1", agent="hermes-agent.turn", **OPEN
    ),
    (PY_AGENTS, "openai.response"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o",
        response_model="gpt-4o-2024",
        model="gpt-4o-2024",
        tokens={"input": 30, "output": 9, "cache_read": 4, "reasoning": 6, "total": 39},
        finish=("stop",),
        input=(
            system("Guide ZQX-s"),
            user("Depth ZQX-u"),
            assistant(call("oa1", "depth", {"at": "ZQX-a"})),
            result("oa1", "9 ZQX-r"),
        ),
        output=(assistant(thought("hm ZQX-t"), text("Nine ZQX-o"), finish="stop"),),
        tools=(function("depth", "Depth ZQX-td", {"type": "object"}),),
    ),
    (PY_AGENTS, "depth.tool"): Call(
        kind="TOOL",
        operation="execute_tool",
        provider="openai",
        tool_name="depth",
        arguments={"at": "ZQX-ti"},
        result="9 ZQX-to",
    ),
    (PY_AGENTS, "pilot → tug.handoff"): Call(
        kind="TOOL", operation="handoff", provider="openai", tool_name=ANY, arguments=ANY, result=ANY
    ),
    (PY_AGENTS, "pilot.agent"): Call(kind="AGENT", operation="invoke_agent", agent="pilot", **OPEN),
    (PY_AGENTS, "Agent Workflow"): Call(
        kind="CHAIN", operation="invoke_workflow", provider="openai", workflow="Agent Workflow"
    ),
    (JS_AGENTS, "no-secrets"): Call(kind="GUARDRAIL", operation=None, provider="openai"),
    (JS_AGENTS, "openai.agents.response"): Call(
        kind="LLM",
        operation="chat",
        **OPENAI,
        request_model="gpt-4o-2024",
        response_model="gpt-4o-2024",
        model="gpt-4o-2024",
        parameters={"temperature": 1},
        tokens={"input": 30, "output": 9, "cache_read": 3, "reasoning": 5, "total": 39},
        response_id="resp1",
        input=(
            system("Guide. ZQX-s"),
            user("Depth? ZQX-u"),
            assistant(call(None, "depth", {"at": "ZQX-a"})),
            result(None, "9 ZQX-r"),
        ),
        output=(assistant("Nine ZQX-o", call("f2", "depth", {"at": "ZQX-oa"})),),
    ),
    (JS_AGENTS, "depth"): Call(
        kind="TOOL",
        operation="execute_tool",
        provider="openai",
        input=ANY,
        output=ANY,
        tool_name="depth",
        arguments={"at": "ZQX-ti"},
        result="9 ZQX-to",
    ),
    (JS_AGENTS, "handoff to tug"): Call(
        kind="TOOL", operation=ANY, provider="openai", tool_name=ANY, arguments=ANY, result=ANY
    ),
    (JS_AGENTS, "tug"): Call(kind="AGENT", operation="invoke_agent", agent="tug", **OPEN),
    (JS_AGENTS, "openai.agents.mcp_list_tools"): Call(
        kind="TOOL", operation="execute_tool", provider="openai", tool_name="charts"
    ),
    (JS_AGENTS, "note"): Call(kind="CHAIN", operation=None, provider="openai"),
    (JS_AGENTS, "bad"): Call(
        kind="TOOL",
        operation="execute_tool",
        provider="openai",
        input=ANY,
        output=ANY,
        tool_name="bad",
        arguments="ZQX-ei",
    ),
    (JS_AGENTS, "Harbour flow"): Call(
        kind="AGENT", operation="invoke_agent", agent="Harbour flow", workflow=ANY, **OPEN
    ),
}  # fmt: skip


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("recording", "name", "right"), each(CASES))
def test_steps_of_agents_are_written_as_they_were(recording: str, name: str, right: Call, convention: str) -> None:
    """Every fact of a recorded step has its right value in each convention, and what was not recorded is absent."""
    assert right.differences(recording, name, convention) == {}


def test_the_tables_hold_all_spans() -> None:
    """Each span of a recording in the table has its right values."""
    assert {(recording, name) for recording, _ in CASES for name in names(recording)} == CASES.keys()


def test_numbers_as_text_become_numbers_only_under_new_names() -> None:
    """A parameter that was recorded as text stays text, and is a number in the parameters that are made of it."""
    attributes = found(PYDANTIC, "pydantic_ai.agent.run", "both")
    assert attributes["gen_ai.request.temperature"] == "0.3"
    assert attributes["gen_ai.usage.input_tokens"] == 20


def test_a_failed_tool_has_a_type_of_error() -> None:
    """The error of a tool is that of its exception, and its status keeps the message."""
    assert found(JS_AGENTS, "bad", "genai")["error.type"] == "Error"
    assert converted(JS_AGENTS, "bad", "genai").status.description == 'no water: {"d":"ZQX-err"}'
