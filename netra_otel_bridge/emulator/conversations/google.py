"""Google: agents of the Agent Development Kit, and the Gemini client."""

from __future__ import annotations

from collections.abc import Mapping

from netra_otel_bridge.emulator.api_format import to_json
from netra_otel_bridge.emulator.conversations.shapes import Call, Conversation, as_input, indexed, tool, turn, used


def _adk() -> Conversation:
    question = "We have three hours in Istanbul between ferries. What can we see on foot?"
    arguments = {"from": "Eminönü", "minutes": 150}
    walk = {"stops": ["New Mosque", "Spice Bazaar", "Galata Bridge"], "minutes": 120}
    answer = (
        "Start at the New Mosque, taste your way through the Spice Bazaar, and come back over the Galata Bridge, where "
        "people fish. That takes two hours and leaves time for a tea before your ferry."
    )
    common = {"netra.instrumentation.name": "google_adk", "adk.invocation_id": "inv-istanbul"}

    def model(said: Mapping[str, object], output: str, tokens: Mapping[str, int], more: Mapping[str, object]) -> Call:
        prompt = indexed("gen_ai.prompt", [("system", "You guide short walks."), ("user", question)])
        return Call(
            name="gemini-2.5-flash",
            takes=0.9,
            first_token=str,
            attributes={
                **common,
                "gen_ai.system": "gcp.vertex.agent",
                "gen_ai.entity": "request",
                "netra.span.type": "GENERATION",
                "gen_ai.agent.name": "walk_guide",
                "gen_ai.request.model": "gemini-2.5-flash",
                "gen_ai.request.tools.0.name": "plan_walk",
                "gen_ai.request.tools.0.description": "Plan a walk of so many minutes",
                **prompt,
                **more,
                "input": as_input([("system", "You guide short walks."), ("user", question)]),
                "llm.response.finish_reason": "STOP",
                **tokens,
                **said,
                "output": output,
            },
        )

    wants = {
        "gen_ai.completions.0.tool_calls.0.id": "adk-walk",
        "gen_ai.completions.0.tool_calls.0.name": "plan_walk",
        "gen_ai.completions.0.tool_calls.0.arguments": to_json(arguments),
    }
    returned = {
        "gen_ai.prompt.2.role": "assistant",
        "gen_ai.prompt.2.function_call.name": "plan_walk",
        "gen_ai.prompt.2.function_call.args": to_json(arguments),
        "gen_ai.prompt.2.function_call.id": "adk-walk",
        "gen_ai.prompt.3.role": "user",
        "gen_ai.prompt.3.function_response.name": "plan_walk",
        "gen_ai.prompt.3.function_response.result": to_json(walk),
        "gen_ai.prompt.3.function_response.id": "adk-walk",
    }
    called = to_json(
        {"role": "assistant", "tool_calls": [{"id": "adk-walk", "name": "plan_walk", "arguments": arguments}]}
    )
    root = Call(
        name="ADK.Agent.walk_guide",
        attributes={
            **common,
            "gen_ai.system": "adk",
            "gen_ai.entity": "agent",
            "netra.span.type": "AGENT",
            "netra.trace.llm.call": True,
            "gen_ai.agent.name": "walk_guide",
            "gen_ai.agent.description": "Plans short walks",
            "gen_ai.agent.model": "gemini-2.5-flash",
            "gen_ai.agent.instruction": "You guide short walks.",
            "input": question,
            "output": answer,
        },
        inside=(
            model(wants, called, used(88, 24), {}),
            Call(
                name="plan_walk",
                takes=0.1,
                attributes={
                    **common,
                    "gen_ai.system": "gcp.vertex.agent",
                    "gen_ai.entity": "tool",
                    "netra.span.type": "TOOL",
                    "gen_ai.tool.name": "plan_walk",
                    "gen_ai.tool.description": "Plan a walk of so many minutes",
                    "tool.call_id": "adk-walk",
                    "input": to_json(arguments),
                    "output": to_json(walk),
                },
            ),
            model(
                indexed("gen_ai.completion", [("assistant", answer)]),
                to_json({"role": "assistant", "content": answer}),
                used(164, 71, 40),
                returned,
            ),
        ),
    )
    return Conversation(service="city-walks", root=root)


def _gemini() -> Conversation:
    question = "And one for rainy days?"
    answer = "The Basilica Cistern: it is under ground, cool and dry, and the rain above only adds to the echo."
    earlier = "For sun, take the ferry to the Princes' Islands and rent a bicycle."
    prompt = [("user", "A day trip from Istanbul, please."), ("model", earlier), ("user", question)]
    root = turn(
        "rainy-day",
        question,
        answer,
        tool("forecast", {"city": "Istanbul", "days": 1}, {"rain_mm": 11}),
        Call(
            name="genai.generate_content",
            takes=0.7,
            attributes={
                "netra.instrumentation.name": "google_genai",
                "gen_ai.system": "Gemini",
                "llm.request.type": "completion",
                "gen_ai.request.model": "gemini-2.0-flash",
                "gen_ai.request.temperature": 0.4,
                "llm.top_k": 20,
                **indexed("gen_ai.prompt", prompt),
                "input": as_input(prompt),
                **used(58, 33, 12),
                **indexed("gen_ai.completion", [("assistant", answer)]),
                "output": as_input([("assistant", answer)]),
            },
        ),
    )
    return Conversation(service="city-walks", root=root)


CONVERSATIONS = (_gemini(), _adk())
