"""Frameworks with names of their own: Vercel's AI SDK, LangGraph and pydantic_ai."""

from __future__ import annotations

from netra_otel_bridge.emulator.api_format import to_json
from netra_otel_bridge.emulator.conversations import genai
from netra_otel_bridge.emulator.conversations.shapes import Call, Conversation, as_input, indexed


def _vercel() -> Conversation:
    question = "What do I pack for four days in Tromsø in November?"
    arguments = {"city": "Tromsø", "month": "November"}
    climate = {"low_c": -4, "high_c": 2, "daylight_h": 2, "snow": True}
    answer = (
        "Four days, little light, around zero: thermal layers for each day, a windproof shell, boots with spikes, a "
        "head torch, and a book for the long evenings. Leave the umbrella; snow comes sideways."
    )
    system = "You write packing lists. Check the climate first."
    user = {"role": "user", "content": [{"type": "text", "text": question}]}
    call = {"toolCallType": "function", "toolCallId": "call_climate", "toolName": "climate", "args": to_json(arguments)}

    def stream(prompt: list[object], finish: str, tokens: tuple[int, int], said: dict[str, str]) -> Call:
        return Call(
            name="ai.streamText.doStream",
            client=False,
            takes=0.8,
            attributes={
                "operation.name": "ai.streamText.doStream packing",
                "ai.operationId": "ai.streamText.doStream",
                "ai.telemetry.functionId": "packing",
                "ai.model.id": "gpt-4.1-mini",
                "ai.model.provider": "openai.chat",
                "gen_ai.system": "openai.chat",
                "gen_ai.request.model": "gpt-4.1-mini",
                "gen_ai.response.model": "gpt-4.1-mini-2025-04-14",
                "gen_ai.response.finish_reasons": [finish],
                "gen_ai.usage.input_tokens": tokens[0],
                "gen_ai.usage.output_tokens": tokens[1],
                "ai.prompt.messages": to_json([{"role": "system", "content": system}, *prompt]),
                "ai.prompt.tools": [
                    to_json({"type": "function", "name": "climate", "description": "Average weather of a month"})
                ],
                "ai.response.finishReason": finish,
                "ai.response.msToFirstChunk": 312.5,
                **said,
            },
        )

    root = Call(
        name="ai.streamText",
        client=False,
        attributes={
            "operation.name": "ai.streamText packing",
            "ai.operationId": "ai.streamText",
            "ai.model.id": "gpt-4.1-mini",
            "ai.model.provider": "openai.chat",
            "ai.prompt": to_json({"system": system, "messages": [{"role": "user", "content": question}]}),
            "ai.response.text": answer,
            "ai.response.finishReason": "stop",
            "ai.usage.promptTokens": 262,
            "ai.usage.completionTokens": 98,
            "ai.telemetry.metadata.plan": "free",
        },
        inside=(
            stream([user], "tool-calls", (96, 21), {"ai.response.toolCalls": to_json([call])}),
            Call(
                name="ai.toolCall",
                client=False,
                takes=0.1,
                attributes={
                    "operation.name": "ai.toolCall packing",
                    "ai.operationId": "ai.toolCall",
                    "ai.toolCall.name": "climate",
                    "ai.toolCall.id": "call_climate",
                    "ai.toolCall.args": to_json(arguments),
                    "ai.toolCall.result": to_json(climate),
                },
            ),
            stream(
                [
                    user,
                    {
                        "role": "assistant",
                        "content": [
                            {
                                "type": "tool-call",
                                "toolCallId": "call_climate",
                                "toolName": "climate",
                                "args": arguments,
                            }
                        ],
                    },
                    {
                        "role": "tool",
                        "content": [
                            {
                                "type": "tool-result",
                                "toolCallId": "call_climate",
                                "toolName": "climate",
                                "result": climate,
                            }
                        ],
                    },
                ],
                "stop",
                (166, 77),
                {"ai.response.text": answer},
            ),
        ),
    )
    return Conversation(service="packing-list", language="javascript", root=root)


def _langgraph() -> Conversation:
    question = "I cancelled my hotel in Ghent two days before arrival. Do I get anything back?"
    arguments = {"booking": "GHE-7731"}
    booking = {"rate": "flexible", "arrival": "2026-09-18", "cancelled": "2026-09-16", "paid_eur": 260}
    rule = "Flexible rates: free until 48 hours before arrival; after that, the first night is charged."
    answer = (
        "Yes, all of it. Your rate is flexible, and you cancelled exactly 48 hours before arrival, which is still free. "
        "The 260 euros go back to your card within ten days."
    )
    models = ("gpt-4o", "gpt-4o-2024-11-20")
    common = {
        "netra__instrumentation__name": "langchain",
        "netra__entity__path": "answer",
        "netra__association__properties__ls_provider": "openai",
        "gen_ai__provider__name": "openai",
        "gen_ai__request__temperature": 0.0,
    }
    asks = genai.message("assistant", genai.tool_call("call_booking", "find_booking", arguments))
    prompt = [genai.message("user", genai.text(question))]

    def node(name: str, given: dict[str, object], made: dict[str, object], *inside: Call) -> Call:
        return Call(
            name=f"execute_task {name}",
            client=False,
            attributes={
                "netra.instrumentation.name": "langchain",
                "netra.span.kind": "task",
                "netra.entity.name": name,
                "netra.association.properties.langgraph_node": name,
                "gen_ai.operation.name": "execute_task",
                "gen_ai.task.name": name,
                "gen_ai.task.status": "success",
                "gen_ai.task.input": to_json({"inputs": given, "kwargs": {}}),
                "gen_ai.task.output": to_json({"outputs": made, "kwargs": {}}),
                "input": to_json(given),
                "output": to_json(made),
            },
            inside=inside,
        )

    documents = {"documents": [{"page_content": rule, "metadata": {"source": "terms.md"}}], "count": 1}
    retrieved = Call(
        name="vector_db_retrieve TermsStore",
        takes=0.15,
        attributes={
            "netra.instrumentation.name": "langchain",
            "netra.span.kind": "task",
            "netra.entity.name": "TermsStore",
            "gen_ai.operation.name": "vector_db_retrieve",
            "input": to_json({"query": "cancel two days before arrival"}),
            "output": to_json(documents),
            "gen_ai.task.input": to_json({"query": "cancel two days before arrival"}),
            "gen_ai.task.output": to_json(documents),
        },
    )
    root = Call(
        name="RefundGraph.workflow",
        client=False,
        attributes={
            "netra.instrumentation.name": "langchain",
            "netra.span.kind": "workflow",
            "netra.entity.name": "RefundGraph",
            "netra.trace.llm.call": True,
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "RefundGraph",
            "input": to_json({"question": question}),
            "output": to_json({"answer": answer}),
        },
        inside=(
            node(
                "look_up",
                {"question": question},
                {"booking": booking, "rule": rule},
                genai.chat("ChatOpenAI.chat", models, prompt, [asks], "tool_call", genai.usage(118, 19), **common),
                genai.executed("find_booking", "call_booking", "Return a booking by its number", arguments, booking),
                retrieved,
            ),
            node(
                "answer",
                {"booking": booking, "rule": rule},
                {"answer": answer},
                genai.chat(
                    "ChatOpenAI.chat",
                    models,
                    [*prompt, asks, genai.answered("call_booking", booking), genai.message("system", genai.text(rule))],
                    [genai.message("assistant", genai.text(answer))],
                    "stop",
                    genai.usage(214, 58, 64),
                    **common,
                ),
            ),
        ),
    )
    return Conversation(service="refund-desk", root=root)


def _pydantic_ai() -> Conversation:
    question = "Lunch cost 48,000 won for two. Is that a lot?"
    rate = "48,000 KRW = 29.80 EUR"
    answer = "About 30 euros for two. That is a normal price for a sit-down lunch in Seoul, neither cheap nor dear."
    tokens = {
        "gen_ai.usage.prompt_tokens": "141",
        "gen_ai.usage.completion_tokens": "52",
        "llm.usage.total_tokens": "193",
    }
    common = {"netra.instrumentation.name": "pydantic_ai"}

    def node(kind: str, **fields: object) -> Call:
        attributes = {key.replace("__", "."): value for key, value in fields.items()}
        return Call(
            name=f"pydantic_ai.node.{kind}",
            client=False,
            takes=0.9 if kind == "call_tools" else 0.02,
            attributes={**common, "input": "", "output": "", **attributes},
        )

    root = Call(
        name="pydantic_ai.agent.run",
        attributes={
            **common,
            "llm.request.type": "agent.run",
            "netra.trace.llm.call": True,
            "gen_ai.request.temperature": "0.2",
            **indexed("gen_ai.prompt", [("user", question)]),
            "input": as_input([("user", question)]),
            "gen_ai.response.model": "gpt-4o",
            **tokens,
            **indexed("gen_ai.completion", [("assistant", answer)]),
            "gen_ai.completion.0.finish_reason": "completed",
            "output": as_input([("assistant", answer)]),
        },
        inside=(
            node(
                "user_prompt",
                pydantic_ai__node__type="UserPromptNode",
                pydantic_ai__user_prompt=question,
                pydantic_ai__instructions="Convert first, then compare with local prices.",
                gen_ai__prompt__0__role="user",
                gen_ai__prompt__0__content=question,
            ),
            Call(
                name="pydantic_ai.tool.convert",
                client=False,
                takes=0.1,
                attributes={
                    **common,
                    "llm.request.type": "tool.call",
                    "tool.name": "convert",
                    "tool.args": "()",
                    "tool.kwargs": "{'amount': 48000, 'currency': 'KRW'}",
                    "tool.result": rate,
                    "input": "",
                    "output": "",
                },
            ),
            node(
                "call_tools",
                pydantic_ai__node__type="CallToolsNode",
                pydantic_ai__response__parts_count="1",
                pydantic_ai__response__parts__0__content=answer,
                gen_ai__request__model="gpt-4o",
                gen_ai__response__model="gpt-4o",
                gen_ai__completion__0__role="assistant",
                gen_ai__completion__0__content=answer,
                pydantic_ai__usage__details__reasoning_tokens="0",
                **{key.replace(".", "__"): value for key, value in tokens.items()},
            ),
            node("end", pydantic_ai__node__type="End", pydantic_ai__final_output=answer),
        ),
    )
    return Conversation(service="pocket-money", root=root)


CONVERSATIONS = (_vercel(), _langgraph(), _pydantic_ai())
