"""Anthropic: the SDK for JavaScript, and messages that are lists of blocks (images, thinking, tools and their results)."""

from __future__ import annotations

from netra_otel_bridge.emulator.api_format import to_json
from netra_otel_bridge.emulator.conversations.shapes import (
    Call,
    Conversation,
    Said,
    as_input,
    indexed,
    tool,
    turn,
    used,
)

_SONNET = "claude-sonnet-4-5"
_ONE_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


def _chat(prompt: list[Said], text: str, calls: list[dict[str, object]], finish: str, usage: dict[str, int]) -> Call:
    """Return a chat as netra-sdk for JavaScript records it."""
    said: list[Said] = [("assistant", text), *(("tool", to_json(call)) for call in calls)]
    return Call(
        name="anthropic.chat",
        takes=0.9,
        first_token=float,
        attributes={
            "llm.request.type": "chat",
            "gen_ai.system": "anthropic",
            "gen_ai.request.model": _SONNET,
            "gen_ai.request.max_tokens": 600,
            "tools": to_json(
                [
                    {
                        "name": "read_menu",
                        "description": "Return the dishes of a restaurant with their allergens",
                        "input_schema": {"type": "object", "properties": {"restaurant": {"type": "string"}}},
                    }
                ]
            ),
            **indexed("gen_ai.prompt", prompt),
            "input": as_input(prompt),
            "gen_ai.response.model": "claude-sonnet-4-5-20250929",
            **usage,
            "llm.response.finish_reason": finish,
            "gen_ai.response.finish_reason": finish,
            **indexed("gen_ai.completion", said[:1]),
            **{
                f"gen_ai.response.completion.{number}.{key}": value
                for number, (role, content, *_) in enumerate(said[1:], 1)
                for key, value in (("role", role), ("content", content))
            },
            "output": as_input(said),
            "conversation": "[]",
        },
    )


def _allergy() -> Conversation:
    question = "I am allergic to shellfish. What can I eat at Tasca do Mar tonight?"
    call: dict[str, object] = {"id": "toolu_menu", "name": "read_menu", "input": {"restaurant": "Tasca do Mar"}}
    menu = to_json(
        [
            {"dish": "caldo verde", "allergens": []},
            {"dish": "arroz de marisco", "allergens": ["shellfish"]},
            {"dish": "grilled sardines", "allergens": ["fish"]},
        ]
    )
    answer = (
        "Caldo verde and the grilled sardines have no shellfish on the menu; the arroz de marisco has. The sardines "
        "share a grill with prawns, so do tell the kitchen about your allergy before you order."
    )
    prompt: list[Said] = [
        ("system", "You recommend dishes. Treat every allergy as dangerous."),
        ("user", to_json([{"type": "text", "text": question}])),
    ]
    return Conversation(
        service="table-for-two",
        language="javascript",
        root=turn(
            "allergy-check",
            question,
            answer,
            _chat(prompt, "I will read tonight's menu first.", [call], "tool_use", used(188, 52)),
            tool("read_menu", {"restaurant": "Tasca do Mar"}, menu),
            _chat(
                [
                    *prompt,
                    (
                        "assistant",
                        to_json(
                            [
                                {"type": "thinking", "thinking": "An allergy: I must not guess what is in a dish."},
                                {"type": "tool_use", **call},
                            ]
                        ),
                    ),
                    ("tool", to_json({"tool_use_id": "toolu_menu", "content": menu, "is_error": False})),
                ],
                answer,
                [],
                "end_turn",
                used(301, 63, 180, cache_creation_input_tokens=60),
            ),
        ),
    )


def _receipt() -> Conversation:
    question = "Can I claim this on my travel insurance?"
    rules = "Meals are covered after a delay of four hours, up to 30 euros for each traveller, against a receipt."
    thinking = "The receipt is for one meal of 24.60. The flight was five hours late, so the four-hour rule applies."
    answer = (
        "Yes. The receipt shows one meal for 24.60 euros, your flight was five hours late, and meals are covered up to "
        "30 euros after four hours. Send the receipt together with the airline's note of the delay."
    )
    prompt: list[Said] = [
        ("system", "You explain a travel insurance policy. Say which rule you rely on."),
        (
            "user",
            to_json(
                [
                    {"type": "text", "text": question},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _ONE_PIXEL}},
                ]
            ),
        ),
        (
            "assistant",
            to_json(
                [
                    {"type": "text", "text": "Let me look at the policy."},
                    {"type": "tool_use", "id": "toolu_rules", "name": "policy_rules", "input": {"topic": "meals"}},
                ]
            ),
        ),
        ("user", to_json([{"type": "tool_result", "tool_use_id": "toolu_rules", "content": rules}])),
    ]
    said: list[Said] = [("thinking", thinking), ("assistant", answer)]
    return Conversation(
        service="claims-desk",
        root=turn(
            "read-receipt",
            question,
            answer,
            tool("policy_rules", {"topic": "meals"}, rules),
            Call(
                name="anthropic.chat",
                takes=1.0,
                first_token=str,
                attributes={
                    "netra.instrumentation.name": "anthropic",
                    "gen_ai.system": "Anthropic",
                    "llm.request.type": "chat",
                    "gen_ai.request.model": _SONNET,
                    "gen_ai.request.max_tokens": 500,
                    **indexed("gen_ai.prompt", prompt),
                    "input": as_input(prompt),
                    "gen_ai.response.model": "claude-sonnet-4-5-20250929",
                    **used(1460, 118, 1024, cache_creation_input_tokens=96),
                    **indexed("gen_ai.completion", said),
                    "gen_ai.completion.1.finish_reason": "end_turn",
                    "output": as_input(said),
                },
            ),
        ),
    )


CONVERSATIONS = (_receipt(), _allergy())
