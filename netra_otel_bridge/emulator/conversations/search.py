"""Search: embeddings, vector stores whose results are events, and re-ranking."""

from __future__ import annotations

from netra_otel_bridge.emulator.api_format import to_json
from netra_otel_bridge.emulator.conversations.shapes import (
    Call,
    Conversation,
    Happened,
    Said,
    as_input,
    indexed,
    python_chat,
    turn,
    used,
)


def _luggage() -> Conversation:
    question = "May I bring my violin on board?"
    rules = (
        ("rule-14", 0.11, "Small instruments (violin, ukulele) may replace the one piece of cabin baggage."),
        ("rule-15", 0.29, "Larger instruments (cello, tuba) need a seat of their own, at the child's fare."),
        ("rule-31", 0.52, "Instruments in the hold travel at the owner's risk and need a hard case."),
    )
    answer = "Yes. A violin counts as your one piece of cabin baggage (rule-14), so a second bag would have to go into the hold."
    embedded = Call(
        name="openai.embedding",
        takes=0.1,
        attributes={
            "netra.instrumentation.name": "openai",
            "llm.request.type": "embedding",
            "gen_ai.request.model": "text-embedding-3-small",
            "gen_ai.request.dimensions": 512,
            **indexed("gen_ai.prompt", [("user", question)]),
            "input": as_input([("user", question)]),
            "output": "",
            "gen_ai.response.model": "text-embedding-3-small",
            "gen_ai.usage.prompt_tokens": 8,
            "llm.usage.total_tokens": 8,
        },
    )
    found = Call(
        name="chroma.query",
        takes=0.1,
        attributes={
            "db.system": "chroma",
            "db.operation": "query",
            "db.chroma.query.texts_count": 1,
            "db.chroma.query.n_results": len(rules),
            "db.chroma.query.where": "{'language': 'en'}",
            "input": "",
            "output": "",
        },
        events=(
            Happened("db.query.embeddings", {"db.query.embeddings.vector": "[0.021, -0.113, 0.087]"}, 0.1),
            *(
                Happened(
                    "db.query.result",
                    {
                        "db.query.result.id": name,
                        "db.query.result.distance": distance,
                        "db.query.result.metadata": to_json({"source": "conditions-of-carriage.pdf"}),
                        "db.query.result.document": text,
                    },
                    0.9,
                )
                for name, distance, text in rules
            ),
        ),
    )
    context = "\n".join(f"{name}: {text}" for name, _, text in rules)
    prompt: list[Said] = [
        ("system", f"Answer from these rules, and name the one you used.\n{context}"),
        ("user", question),
    ]
    chat = python_chat(
        "openai", ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"), prompt, [("assistant", answer)], "stop", used(142, 41)
    )
    return Conversation(service="luggage-rules", root=turn("ask-the-rules", question, answer, embedded, found, chat))


def _hostels() -> Conversation:
    question = "Which hostel suits someone who works in the mornings?"
    hostels = (
        ("Quiet House: desks in the reading room, silence until noon, breakfast from six.", 0.94),
        ("Harbour Beds: a long table by the window, fast internet, a café below.", 0.71),
        ("Party Palace: dance floor, karaoke every night, checkout at one.", 0.04),
    )
    answer = (
        "Quiet House: it has desks and silence until noon. Harbour Beds works too if a café below does not bother you."
    )
    documents: list[Said] = [("system", text) for text, _ in reversed(hostels)]
    asked: list[Said] = [*documents, ("user", question)]
    ranked: list[Said] = [
        ("assistant", f"Doc {len(hostels) - 1 - number}, Score: {score}\n{text}")
        for number, (text, score) in enumerate(hostels)
    ]
    reviews = [("user", to_json([{"type": "text", "text": text}])) for text, _ in hostels]
    embedded = Call(
        name="voyageai.embeddings",
        takes=0.1,
        attributes={
            "netra.instrumentation.name": "voyageai",
            "gen_ai.system": "voyageai",
            "gen_ai.operation.name": "embeddings",
            "gen_ai.request.model": "voyage-3",
            **indexed("gen_ai.prompt", reviews),
            "input": as_input(reviews),
            "output": "",
            "gen_ai.usage.prompt_tokens": 61,
            "gen_ai.embeddings.dimension.count": 1024,
        },
    )
    found = Call(
        name="pinecone.query",
        takes=0.1,
        attributes={
            "netra.instrumentation.name": "pinecone",
            "db.system": "Pinecone",
            "pinecone.query.top_k": len(hostels),
            "pinecone.query.namespace": "hostels",
            "pinecone.usage.read_units": 1,
            "input": "",
            "output": "",
        },
        events=tuple(
            Happened(
                "db.query.result",
                {
                    "db.query.result.id": f"hostel-{number}",
                    "db.query.result.score": round(0.83 - number * 0.07, 2),
                    "db.query.result.metadata": str({"text": text}),
                },
                0.9,
            )
            for number, (text, _) in enumerate(hostels, 1)
        ),
    )
    reranked = Call(
        name="cohere.rerank",
        takes=0.15,
        attributes={
            "netra.instrumentation.name": "cohere",
            "gen_ai.system": "Cohere",
            "llm.request.type": "rerank",
            "gen_ai.request.model": "rerank-v3.5",
            **indexed("gen_ai.prompt", asked),
            "input": as_input(asked),
            **indexed("gen_ai.completion", ranked),
            "output": as_input(ranked),
            "netra.usage": to_json(
                [{"model": "rerank-v3.5", "usage_type": "search", "units_used": 1, "cost_in_usd": 0.002}]
            ),
        },
    )
    prompt: list[Said] = [("user", f"{question}\n{hostels[0][0]}\n{hostels[1][0]}")]
    chat = Call(
        name="cohere.chat",
        takes=0.7,
        attributes={
            "netra.instrumentation.name": "cohere",
            "gen_ai.system": "Cohere",
            "llm.request.type": "chat",
            "gen_ai.request.model": "command-r",
            **indexed("gen_ai.prompt", prompt),
            "input": as_input(prompt),
            **indexed("gen_ai.completion", [("assistant", answer)]),
            "output": as_input([("assistant", answer)]),
            **used(71, 34),
        },
    )
    return Conversation(
        service="hostel-finder", root=turn("find-hostel", question, answer, embedded, found, reranked, chat)
    )


CONVERSATIONS = (_luggage(), _hostels())
