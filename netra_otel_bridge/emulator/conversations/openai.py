"""OpenAI, as netra-sdk records it: chats with tools in Python and in JavaScript, and the Responses API.

Python spreads one choice over several ``gen_ai.completion.N``: the text, then each tool's call as JSON text with its
``tool_call_id``. JavaScript puts the calls into ``gen_ai.response.completion.N`` and writes no id.
"""

from __future__ import annotations

from netra_otel_bridge.emulator.api_format import to_json
from netra_otel_bridge.emulator.conversations.shapes import (
    Call,
    Conversation,
    Said,
    as_input,
    indexed,
    python_chat,
    tool,
    turn,
    used,
    wanted,
)

_MINI = ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")


def _weekend() -> Conversation:
    question = "Two of us want a quiet weekend in Porto, 12 to 14 June, for under 400 euros. What do you suggest?"
    hotel, train = (
        ("find_hotels", {"city": "Porto", "from": "2026-06-12", "nights": 2, "quiet": True}),
        ("find_trains", {"from": "Lisbon", "to": "Porto", "day": "2026-06-12"}),
    )
    hotels = {"hotels": [{"name": "Casa da Rua Escura", "eur": 188}, {"name": "Ribeira Rooms", "eur": 142}]}
    trains = {"trains": [{"leaves": "09:02", "arrives": "12:14", "eur": 31.9}]}
    answer = (
        "Take the 09:02 train from Lisbon (about 64 euros for two, each way) and stay at Casa da Rua Escura, which is "
        "in a side street and costs 188 euros for both nights. That leaves roughly 84 euros for the rest. Ribeira "
        "Rooms is cheaper, but guests say that the bar below is open until three."
    )
    prompt: list[Said] = [
        (
            "system",
            "You plan short trips. Look up hotels and trains before you suggest anything. Give totals for all travellers.",
        ),
        ("user", question),
    ]
    asked: list[Said] = [
        ("assistant", "I will look at quiet hotels and at the morning trains."),
        ("assistant", wanted(hotel[0], **hotel[1]), "call_hotels"),
        ("assistant", wanted(train[0], **train[1]), "call_trains"),
    ]
    results: list[Said] = [("tool", to_json(hotels), "call_hotels"), ("tool", to_json(trains), "call_trains")]
    return Conversation(
        service="trip-planner",
        root=turn(
            "plan-weekend",
            question,
            answer,
            python_chat("openai", _MINI, prompt, asked, "tool_calls", used(214, 71), gen_ai__request__temperature=0.3),
            tool(*hotel, hotels),
            tool(*train, trains),
            python_chat(
                "openai",
                _MINI,
                [*prompt, *asked, *results],
                [("assistant", answer)],
                "stop",
                used(402, 96, 128),
                gen_ai__request__temperature=0.3,
            ),
        ),
    )


def _javascript_chat(prompt: list[Said], text: str, calls: list[str], finish: str, usage: dict[str, int]) -> Call:
    """Return a chat as netra-sdk for JavaScript records it."""
    said: list[Said] = [("assistant", text), *(("tool", call) for call in calls)]
    completion = indexed("gen_ai.completion", said[:1])
    for number, call in enumerate(calls, 1):
        completion[f"gen_ai.response.completion.{number}.role"] = "tool"
        completion[f"gen_ai.response.completion.{number}.content"] = call
    return Call(
        name="openai.chat",
        takes=0.8,
        first_token=float,
        attributes={
            "netra.instrumentation.name": "openai",
            "llm.request.type": "chat",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4.1-mini",
            "gen_ai.request.max_tokens": 400,
            "llm.is_streaming": False,
            "tools": to_json(
                [
                    {
                        "type": "function",
                        "function": {
                            "name": "next_trains",
                            "description": "List the next departures between two stations",
                            "parameters": {
                                "type": "object",
                                "properties": {"from": {"type": "string"}, "to": {"type": "string"}},
                            },
                        },
                    }
                ]
            ),
            **indexed("gen_ai.prompt", prompt),
            "input": as_input(prompt),
            "llm.response.id": "chatcmpl-sample",
            "gen_ai.response.model": "gpt-4.1-mini-2025-04-14",
            **usage,
            "llm.response.finish_reason": finish,
            "gen_ai.response.finish_reason": finish,
            **completion,
            "output": as_input(said),
            "conversation": "[]",
        },
    )


def _connection() -> Conversation:
    question = "My train from Hamburg is 50 minutes late and I will miss the 16:05 to Vienna in Nuremberg. What now?"
    call = wanted("next_trains", **{"from": "Nuremberg", "to": "Vienna"})
    result = to_json(
        [{"leaves": "18:05", "arrives": "22:21", "seats": 14}, {"leaves": "20:05", "arrives": "00:21", "seats": 3}]
    )
    answer = (
        "Take the 18:05 from Nuremberg, which reaches Vienna at 22:21 and still has seats. Your ticket is valid on it: "
        "a delay of more than 20 minutes lifts the tie to your train. Ask the conductor to confirm the delay."
    )
    prompt: list[Said] = [
        ("system", "You help travellers whose journey has gone wrong. Be calm and concrete."),
        ("user", question),
    ]
    return Conversation(
        service="journey-help",
        language="javascript",
        root=turn(
            "missed-connection",
            question,
            answer,
            _javascript_chat(prompt, "Let me see what leaves later.", [call], "tool_calls", used(131, 29)),
            tool("next_trains", {"from": "Nuremberg", "to": "Vienna"}, result),
            _javascript_chat(
                [*prompt, ("assistant", "Let me see what leaves later."), ("tool", result)],
                answer,
                [],
                "stop",
                used(219, 74, 64, reasoning_tokens=0),
            ),
        ),
    )


def _postcard() -> Conversation:
    question = "Write a postcard from the Faroe Islands to my grandmother. She loves sheep and hates wind."
    answer = (
        "Dear Gran, the sheep here outnumber us two to one, and one of them has adopted my rucksack. You would not like "
        "the wind, so I keep it out of this card. The cliffs are green down to the last step. With love from Mykines."
    )
    prompt: list[Said] = [("system", "You write postcards of at most sixty words."), ("user", question)]
    return Conversation(
        service="postcards",
        root=turn(
            "write-postcard",
            question,
            answer,
            Call(
                name="openai.response",
                takes=1.0,
                first_token=str,
                attributes={
                    "netra.instrumentation.name": "openai",
                    "llm.request.type": "response",
                    "gen_ai.request.model": "o4-mini",
                    "llm.request.reasoning_effort": to_json({"effort": "low"}),
                    **indexed("gen_ai.prompt", prompt),
                    "input": as_input(prompt),
                    "gen_ai.response.model": "o4-mini-2025-04-16",
                    **used(46, 230),
                    "llm.usage.reasoning_tokens": 168,
                    **indexed("gen_ai.completion", [("assistant", answer)]),
                    "output": as_input([("assistant", answer)]),
                },
            ),
        ),
    )


CONVERSATIONS = (_postcard(), _weekend(), _connection())
