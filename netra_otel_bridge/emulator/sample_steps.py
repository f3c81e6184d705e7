"""Content of the sample traffic: models, questions, answers, and a function for each kind of agent step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from netra_otel_bridge.emulator.api_format import to_json
from netra_otel_bridge.emulator.spans import Attributes, Event, Plain, Resource

EMBEDDING, RERANK, TOOL, CHAT = "embedding", "rerank", "tool", "chat"
AGENT = "trip-agent"
TENANTS = ("AceTech", "Globex", "Initech", "Umbrella", "Wayne-Travel")
_MODELS = (
    ("openai", "gpt-4o", "gpt-4o-2024-08-06"),
    ("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ("anthropic", "claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
    ("gemini", "gemini-2.0-flash", "gemini-2.0-flash"),
    ("openai", "gpt-4o", "gpt-4o-2024-08-06"),
)
_EMBEDDINGS = ("text-embedding-3-small", "text-embedding-3-large")
_SYSTEM = (
    "You are the travel assistant of a booking service. Answer from the documents and the tool results that you are "
    "given, in at most four sentences. Name the document that you used. When the documents do not hold the answer, "
    "say so and offer to hand over to a colleague. Never promise a refund; explain the rule and its source instead. "
)
_DOCUMENTS = (
    "doc-1: A flight that departs more than three hours late may be rebooked once, free of charge, on any flight of "
    "the same carrier within seven days; the traveller chooses the flight, subject to seats in the same cabin.",
    "doc-2: Hotels in Lagos, Lisbon and Lima accept late check-in until 02:00 when the arrival flight is in the "
    "booking; without it the room is held until 22:00 local time.",
    "doc-3: Weather warnings of level two and above open free rebooking for the whole route, from the moment that the "
    "warning is published until it is lifted; level one does not. ⛅",
)
ANSWERS = {
    "What is the weather in Lagos, and can I still check in after midnight?": "It is 31 °C and humid in Lagos. Late "
    "check-in is open until 02:00 because your flight is in the booking (doc-2).",
    "My flight leaves four hours late. What can I do?": "You may rebook once without charge on any flight of the "
    "same carrier within seven days, in the same cabin (doc-1).",
    "Is there a storm on my route tomorrow?": "There is a level-two warning on your route, so rebooking is free for "
    "all of it until the warning is lifted (doc-3).",
    "Plan three days in Lisbon for two, with one evening of fado.": "Day one: Alfama and the castle. Day two: Belém, "
    "and fado in the evening. Day three: Sintra by train. Your hotel takes you in until 02:00 (doc-2).",
}
QUESTIONS = tuple(ANSWERS)


@lru_cache(maxsize=64)
def resource(service: str, environment: str) -> Resource:
    """Return the resource of a service; the same for the same service."""
    return Resource(
        Attributes(
            {
                "service.name": service,
                "deployment.environment": environment,
                "service.version": "2.3.1",
                "team": "trips",
            }
        )
    )


RESOURCES = (
    resource("travel-assistant", "production"),
    resource("travel-assistant", "staging"),
    resource("support-desk", "production"),
)
_REFUSAL = "Error code: 429 - Rate limit reached for requests"
_TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "/app/assistant/agent.py", line 88, in answer\n    reply = llm.complete(messages)\n'
    f"openai.RateLimitError: {_REFUSAL}\n"
)


@dataclass(frozen=True, slots=True)
class Step:
    """Span content of one agent step; ``error`` is the status message if it failed."""

    name: str
    client: bool
    attributes: Plain
    events: tuple[Event, ...] = ()
    error: str = ""


def failure(time_ns: int) -> Event:
    """Return the exception event of a call that the provider rejected."""
    return Event(
        "exception",
        time_ns,
        Attributes(
            {
                "exception.type": "openai.RateLimitError",
                "exception.message": _REFUSAL,
                "exception.stacktrace": _TRACEBACK,
                "exception.escaped": "False",
            }
        ),
    )


def step(kind: str, draw: Random, question: str, start_ns: int, end_ns: int) -> Step:
    """Return a step of ``kind`` about ``question``."""
    if kind == EMBEDDING:
        return _embedding(draw, question, end_ns - start_ns)
    if kind == RERANK:
        return _rerank(draw, end_ns)
    if kind == TOOL:
        return _tool(draw)
    return _chat(draw, question, start_ns, end_ns)


def _embedding(draw: Random, question: str, duration_ns: int) -> Step:
    model = draw.choice(_EMBEDDINGS)
    tokens = draw.randrange(6, 400)
    return Step(
        "openai.embedding",
        True,
        {
            "netra.instrumentation.name": "openai",
            "llm.request.type": "embedding",
            "gen_ai.system": "openai",
            "gen_ai.request.model": model,
            "gen_ai.response.model": model,
            "gen_ai.prompt.0.content": question,
            "input": to_json([question, *_DOCUMENTS]),
            "output": "",
            "gen_ai.usage.prompt_tokens": tokens,
            "llm.usage.total_tokens": tokens,
            "llm.response.duration": str(duration_ns / 1e9),
        },
    )


def _rerank(draw: Random, end_ns: int) -> Step:
    scores = sorted((round(draw.random(), 4) for _ in _DOCUMENTS), reverse=True)
    usage = [{"model": "rerank-v3", "usage_type": "units", "units_used": 3, "cost_in_usd": 0.002}]
    return Step(
        "rerank",
        True,
        {
            "netra.span.type": "TOOL",
            "netra.task.name": "rerank",
            "input": to_json(_DOCUMENTS),
            "output": to_json(scores),
            "documents": [text.partition(":")[0] for text in _DOCUMENTS],
            "scores": scores,
            "netra.usage": to_json(usage),
            "netra.status": "success",
        },
        (Event("reranked", end_ns - 20_000, Attributes({"top": "doc-1", "score": scores[0]})),),
    )


def _tool(draw: Random) -> Step:
    city = draw.choice(("Lagos", "Lisbon", "Lima"))
    report = {"city": city, "temp_c": draw.randrange(12, 38), "warning_level": draw.randrange(3)}
    return Step(
        "get_weather",
        False,
        {
            "netra.span.type": "TOOL",
            "netra.entity.type": "task",
            "netra.task.name": "get_weather",
            "input": to_json({"city": city}),
            "output": to_json({**report, "sources": [text for text in _DOCUMENTS if city in text]}),
        },
    )


def _chat(draw: Random, question: str, start_ns: int, end_ns: int) -> Step:
    system, requested, answered = _MODELS[draw.randrange(len(_MODELS))]
    prompt = draw.randrange(300, 2600)
    completion = draw.randrange(20, 500)
    context = "\n".join(_DOCUMENTS)
    attributes: Plain = {
        "netra.instrumentation.name": system,
        "llm.request.type": "chat",
        "gen_ai.system": system,
        "gen_ai.request.model": requested,
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 512,
        "gen_ai.prompt.0.role": "system",
        "gen_ai.prompt.0.content": _SYSTEM + context,
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": question,
        "input": to_json([{"role": "system", "content": _SYSTEM + context}, {"role": "user", "content": question}]),
    }
    if draw.random() < 0.03:
        return Step(
            f"{system}.chat",
            True,
            {**attributes, "output": ""},
            (failure(end_ns - 30_000),),
            f"RateLimitError: {_REFUSAL}",
        )
    answer = ANSWERS[question]
    attributes |= {
        "gen_ai.response.model": answered,
        "gen_ai.usage.prompt_tokens": prompt,
        "gen_ai.usage.completion_tokens": completion,
        "llm.usage.total_tokens": prompt + completion,
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.content": answer,
        "gen_ai.completion.0.finish_reason": "stop",
        "output": to_json([{"role": "assistant", "content": answer}]),
        "llm.response.duration": str((end_ns - start_ns) / 1e9),
    }
    if draw.random() < 0.4:
        attributes["gen_ai.usage.cache_read_input_tokens"] = prompt // 2
    if draw.random() >= 0.2:
        return Step(f"{system}.chat", True, attributes)
    attributes["llm.is_streaming"] = True
    chunk = (end_ns - start_ns) // 6
    events = tuple(Event("llm.content.completion.chunk", start_ns + chunk * number) for number in range(1, 6))
    return Step(f"{system}.chat", True, attributes, events)
