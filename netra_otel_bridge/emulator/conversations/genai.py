"""Today's GenAI names: messages as JSON text of roles and parts, with reasoning, and messages as events."""

from __future__ import annotations

from netra_otel_bridge.emulator.api_format import to_json
from netra_otel_bridge.emulator.conversations.shapes import Call, Conversation, Happened, turn
from netra_otel_bridge.emulator.spans import Plain

Message = dict[str, object]


def text(content: str) -> Message:
    """Return a part that is text."""
    return {"type": "text", "content": content}


def reasoning(content: str) -> Message:
    """Return a part that is the model's reasoning."""
    return {"type": "reasoning", "content": content}


def tool_call(call_id: str, name: str, arguments: Plain) -> Message:
    """Return a part that asks for a tool."""
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}


def message(role: str, *parts: Message) -> Message:
    """Return a message."""
    return {"role": role, "parts": list(parts)}


def answered(call_id: str, response: object) -> Message:
    """Return the message with a tool's result."""
    return message("tool", {"type": "tool_call_response", "id": call_id, "response": response})


def usage(prompt: int, completion: int, cached: int = 0, reasoning_tokens: int = 0) -> Plain:
    """Return token counts as the instrumentations with today's names write them."""
    counts: Plain = {
        "gen_ai.usage.prompt_tokens": prompt,
        "gen_ai.usage.completion_tokens": completion,
        "gen_ai.usage.total_tokens": prompt + completion,
    }
    if cached:
        counts["gen_ai.usage.cache_read.input_tokens"] = cached
    if reasoning_tokens:
        counts["gen_ai.usage.reasoning_tokens"] = reasoning_tokens
    return counts


def chat(
    name: str,
    model: tuple[str, str],
    prompt: list[Message],
    said: list[Message],
    finish: str,
    counts: Plain,
    **fields: object,
) -> Call:
    """Return a chat with ``gen_ai.input.messages`` and ``gen_ai.output.messages``."""
    return Call(
        name=name,
        takes=1.0,
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": model[0],
            **{key.replace("__", "."): value for key, value in fields.items()},
            "gen_ai.input.messages": to_json(prompt),
            "gen_ai.response.model": model[1],
            "gen_ai.response.finish_reasons": [finish],
            **counts,
            "gen_ai.output.messages": to_json([{**one, "finish_reason": finish} for one in said]),
            "input": "",
            "output": "",
        },
    )


def executed(name: str, call_id: str, description: str, arguments: Plain, result: object) -> Call:
    """Return a tool's call with ``gen_ai.tool.*``."""
    return Call(
        name=f"execute_tool {name}",
        client=False,
        takes=0.1,
        attributes={
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.description": description,
            "gen_ai.tool.call.id": call_id,
            "gen_ai.tool.call.arguments": to_json(arguments),
            "gen_ai.tool.call.result": to_json(result),
            "input": "",
            "output": "",
        },
    )


def _visa() -> Conversation:
    question = "I have a Kenyan passport and change planes in Frankfurt on my way to Toronto. Do I need a visa?"
    arguments = {"passport": "KE", "via": "FRA", "to": "YYZ"}
    rules = {"airside_transit": "no visa on the way to Canada with a Canadian visa", "leaves_airside": "Schengen visa"}
    answer = (
        "Not for the change itself: with a valid Canadian visa you may stay in the transit area of Frankfurt. If you "
        "leave it, for example because your second flight goes the next day, you need a Schengen visa."
    )
    models = ("gpt-5-mini", "gpt-5-mini-2025-08-07")
    fields = {
        "netra__instrumentation__name": "openai",
        "gen_ai__provider__name": "openai",
        "gen_ai__system_instructions": to_json(
            [text("You answer questions on visas. Always check the rules, and say what they depend on.")]
        ),
        "gen_ai__tool__definitions": to_json(
            [
                {
                    "type": "function",
                    "name": "transit_rules",
                    "description": "Return the rules of transit for a passport",
                    "parameters": {
                        "type": "object",
                        "properties": {name: {"type": "string"} for name in arguments},
                        "required": list(arguments),
                    },
                }
            ]
        ),
    }
    asks = message(
        "assistant",
        reasoning("The answer depends on whether the traveller leaves the transit area. I need the rule for both."),
        tool_call("call_rules", "transit_rules", arguments),
    )
    asked = [message("user", text(question))]
    return Conversation(
        service="visa-helper",
        root=turn(
            "visa-question",
            question,
            answer,
            chat("chat gpt-5-mini", models, asked, [asks], "tool_call", usage(180, 148, 0, 112), **fields),
            executed("transit_rules", "call_rules", "Return the rules of transit for a passport", arguments, rules),
            chat(
                "chat gpt-5-mini",
                models,
                [*asked, asks, answered("call_rules", rules)],
                [message("assistant", reasoning("Both cases are covered; say what decides."), text(answer))],
                "stop",
                usage(356, 121, 128, 48),
                **fields,
            ),
        ),
    )


def _gate() -> Conversation:
    question = "The board says gate 12, my boarding pass says 31. Where do I go?"
    answer = "Gate 12: the board is right, since gates change after passes are printed. It is six minutes on foot; turn left after security."
    system = {"gen_ai.system": "az.ai.inference"}

    def said(event: str, at: float, content: object) -> Happened:
        return Happened(event, {**system, "gen_ai.event.content": to_json(content)}, at)

    return Conversation(
        service="airport-guide",
        root=turn(
            "gate-change",
            question,
            answer,
            Call(
                name="chat gpt-4o",
                takes=0.7,
                attributes={
                    **system,
                    "gen_ai.operation.name": "chat",
                    "gen_ai.request.model": "gpt-4o",
                    "gen_ai.response.model": "gpt-4o-2024-11-20",
                    "gen_ai.usage.input_tokens": 62,
                    "gen_ai.usage.output_tokens": 38,
                    "gen_ai.response.finish_reasons": ["stop"],
                    "input": "",
                    "output": "",
                },
                events=(
                    said(
                        "gen_ai.system.message",
                        0.0,
                        {"role": "system", "content": "You know the airport's signs by heart."},
                    ),
                    said("gen_ai.user.message", 0.0, {"role": "user", "content": question}),
                    said(
                        "gen_ai.choice",
                        0.99,
                        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}},
                    ),
                ),
            ),
        ),
    )


CONVERSATIONS = (_gate(), _visa())
