"""Agents: a handoff between two of them, a tool behind an MCP server, and a conversation written by hand."""

from __future__ import annotations

from netra_otel_bridge.emulator.api_format import to_json
from netra_otel_bridge.emulator.conversations import genai
from netra_otel_bridge.emulator.conversations.shapes import (
    Call,
    Conversation,
    Happened,
    Said,
    python_chat,
    turn,
    used,
    wanted,
)

_GPT = ("gpt-4o", "gpt-4o-2024-11-20")


def _suitcase() -> Conversation:
    question = "My suitcase did not arrive in Oslo. The tag says OS 40 17 22."
    answer = (
        "Your suitcase is in Copenhagen and comes with flight SK 454, which lands at 21:10. It will be brought to your "
        "hotel before midnight; keep receipts for what you must buy until then."
    )
    arguments = {"tag": "OS401722"}
    found = {"last_seen": "CPH", "next_flight": "SK 454", "lands": "21:10"}
    common = {
        "netra__instrumentation__name": "openai_agents",
        "gen_ai__provider__name": "openai",
        "gen_ai__tool__definitions": to_json(
            [
                {
                    "type": "function",
                    "function": {
                        "name": "trace_bag",
                        "description": "Find a bag by its tag",
                        "parameters": {"type": "object"},
                    },
                }
            ]
        ),
    }
    transfer = genai.message("assistant", genai.tool_call("call_transfer", "transfer_to_baggage", {}))
    asks = genai.message("assistant", genai.tool_call("call_bag", "trace_bag", arguments))
    system = genai.message("system", genai.text("You trace baggage. Ask for the tag only if it is missing."))
    user = genai.message("user", genai.text(question))

    def part(name: str, kind: str, *inside: Call, error: str = "", **fields: object) -> Call:
        return Call(
            name=name,
            client=False,
            takes=0.05,
            error=error,
            events=(Happened("exception", {"exception.type": "BagNotFound", "exception.message": error}, 0.9),)
            if error
            else (),
            attributes={
                "netra.instrumentation.name": "openai_agents",
                "traceloop.span.kind": kind,
                "gen_ai.provider.name": "openai",
                **{key.replace("__", "."): value for key, value in fields.items()},
                "input": "",
                "output": "",
            },
            inside=inside,
        )

    def traced(arguments: dict[str, str], result: str, error: str = "") -> Call:
        return part(
            "trace_bag.tool",
            "tool",
            error=error,
            gen_ai__operation__name="execute_tool",
            gen_ai__tool__name="trace_bag",
            gen_ai__tool__type="function",
            gen_ai__tool__call__arguments=to_json(arguments),
            gen_ai__tool__call__result=result,
        )

    return Conversation(
        service="baggage-desk",
        root=part(
            "Agent Workflow",
            "workflow",
            part(
                "triage.agent",
                "agent",
                genai.chat("openai.response", _GPT, [user], [transfer], "tool_call", genai.usage(1480, 14), **common),
                part(
                    "triage → baggage.handoff",
                    "handoff",
                    gen_ai__operation__name="handoff",
                    gen_ai__handoff__from_agent="triage",
                    gen_ai__handoff__to_agent="baggage",
                    gen_ai__agent__name="triage",
                ),
                gen_ai__agent__name="triage",
                gen_ai__operation__name="invoke_agent",
            ),
            part(
                "baggage.agent",
                "agent",
                traced({"tag": "OS 40 17 22"}, "", "no bag has the tag 'OS 40 17 22'"),
                traced(arguments, to_json(found)),
                genai.chat(
                    "openai.response",
                    _GPT,
                    [system, user, asks, genai.answered("call_bag", found)],
                    [
                        genai.message(
                            "assistant",
                            genai.reasoning("A flight tonight: give the time, and say what to do until then."),
                            genai.text(answer),
                        )
                    ],
                    "stop",
                    genai.usage(2210, 79, 1024, 24),
                    **common,
                ),
                gen_ai__agent__name="baggage",
                gen_ai__operation__name="invoke_agent",
            ),
            netra__trace__llm__call=True,
            traceloop__workflow__name="Agent Workflow",
        ),
    )


def _ferry() -> Conversation:
    question = "When does the last ferry leave Naxos for Paros today?"
    arguments = {"from": "Naxos", "to": "Paros", "day": "2026-08-02"}
    content = [{"type": "text", "text": "16:15 (45 min), 19:50 (50 min), 22:25 (45 min)"}]
    answer = (
        "At 22:25; it takes 45 minutes. If the wind is above force 7, the last one that is sure to leave is at 19:50."
    )
    prompt: list[Said] = [("system", "You answer from the ferries' timetable."), ("user", question)]
    asked: list[Said] = [("assistant", wanted("departures", **arguments), "call_ferry")]
    model = ("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14")
    server = Call(
        name="mcp.server",
        client=False,
        takes=0.1,
        attributes={
            "netra.instrumentation.name": "mcp",
            "netra.span.kind": "server",
            "netra.entity.name": "mcp.server",
            "netra.workflow.name": "timetables.mcp",
            "mcp.response.value": to_json(content),
            "input": "",
            "output": "",
        },
    )
    called = Call(
        name="departures.tool",
        client=False,
        attributes={
            "netra.instrumentation.name": "mcp",
            "netra.span.kind": "tool",
            "netra.entity.name": "departures",
            "input": to_json({"tool_name": "departures", "arguments": arguments}),
            "output": to_json(content),
        },
        inside=(server,),
    )
    result: Said = ("tool", to_json(content), "call_ferry")
    return Conversation(
        service="island-hopper",
        root=turn(
            "last-ferry",
            question,
            answer,
            python_chat("openai", model, prompt, asked, "tool_calls", used(61, 28)),
            called,
            python_chat("openai", model, [*prompt, *asked, result], [("assistant", answer)], "stop", used(128, 40)),
        ),
    )


def _front_desk() -> Conversation:
    question = "Is there a room with a view of the fjord for tonight?"
    rooms = {"rooms": ["204"], "view": "fjord", "nok": 1890}
    said = (
        ("input", "system", "You are the front desk of a small hotel.", "text"),
        ("input", "user", question, "text"),
        ("output", "assistant", rooms, "json"),
        ("output", "assistant", "Yes: room 204, for 1,890 kroner. Shall I hold it until six?", "text"),
    )
    usage = [{"model": "house-model-2", "usage_type": "tokens", "units_used": 96, "cost_in_usd": 0.0004}]
    action = {
        "start_time": "1",
        "action": "hold-room",
        "action_type": "DB",
        "success": True,
        "affected_records": [{"record_id": "204", "record_type": "room"}],
    }
    held = Call(
        name="hold-room",
        takes=0.05,
        attributes={
            "netra.span.type": "TOOL",
            "netra.action": to_json([action]),
            "netra.status": "success",
            "input": to_json({"room": "204", "until": "18:00"}),
            "output": to_json({"held": True}),
        },
    )
    answered = Call(
        name="answer",
        takes=0.6,
        attributes={
            "netra.span.type": "GENERATION",
            "netra.model": "house-model-2",
            "netra.llm_system": "house",
            "netra.prompt": question,
            "netra.usage": to_json(usage),
            "netra.status": "success",
            "conversation": to_json(
                [{"type": kind, "role": role, "content": content, "format": form} for kind, role, content, form in said]
            ),
            "input": "",
            "output": "",
        },
    )
    root = Call(
        name="front-desk",
        attributes={
            "netra.span.type": "AGENT",
            "netra.agent.name": "front-desk",
            "netra.trace.llm.call": True,
            "netra.custom.hotel": "Fjordgata 9",
            "input": to_json({"question": question}),
            "output": said[-1][2],
        },
        inside=(answered, held),
    )
    return Conversation(service="front-desk", root=root)


CONVERSATIONS = (_front_desk(), _ferry(), _suitcase())
