"""Build the parts of conversations, in the attribute shapes that several dialects share.

The shapes follow what netra-sdk 1.2.2 for Python and 1.8.0 for JavaScript write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from netra_otel_bridge.emulator.api_format import to_json
from netra_otel_bridge.emulator.spans import Plain

Said = tuple[str, str] | tuple[str, str, str]
"""A message: who said it, what, and the id of the tool's call, if it belongs to one."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a call; ``at`` is when, as a share of the call's duration."""

    name: str
    attributes: Plain
    at: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A span of a conversation, with the spans below it.

    ``takes`` is its duration without ``inside``, as a share of the longest. ``first_token`` says in which type it has
    the time to its first token: the SDK for Python writes text. ``error`` is its status message if it failed.
    """

    name: str
    attributes: Plain
    inside: tuple[Call, ...] = ()
    client: bool = True
    takes: float = 0.2
    first_token: type[str] | type[float] | None = None
    events: tuple[Happened, ...] = ()
    error: str = ""

    @property
    def count(self) -> int:
        """Return the number of spans."""
        return 1 + sum(call.count for call in self.inside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One turn of a conversation: the service that held it, in which language, and its spans."""

    service: str
    root: Call
    language: Literal["python", "javascript"] = "python"


def turn(name: str, question: str, answer: str, *inside: Call) -> Call:
    """Return the workflow around a turn, as the decorator of netra-sdk records it."""
    return Call(
        name=name,
        client=False,
        attributes={
            "netra.span.type": "SPAN",
            "netra.entity.type": "workflow",
            "netra.trace.llm.call": True,
            "input": to_json({"question": question}),
            "output": answer,
        },
        inside=inside,
    )


def tool(name: str, arguments: Plain, result: Plain | str, **fields: str) -> Call:
    """Return the call of a tool, as the decorator of netra-sdk records it; ``fields`` are further attributes."""
    return Call(
        name=name,
        client=False,
        takes=0.1,
        attributes={
            "netra.span.type": "TOOL",
            "netra.entity.type": "task",
            "netra.task.name": name,
            "input": to_json(arguments),
            "output": result if isinstance(result, str) else to_json(result),
            **fields,
        },
    )


def indexed(prefix: str, said: Sequence[Said]) -> Plain:
    """Return messages as ``PREFIX.N.role``, ``.content`` and ``.tool_call_id``."""
    made: Plain = {}
    for number, (role, content, *call_id) in enumerate(said):
        made[f"{prefix}.{number}.role"] = role
        made[f"{prefix}.{number}.content"] = content
        if call_id:
            made[f"{prefix}.{number}.tool_call_id"] = call_id[0]
    return made


def as_input(said: Sequence[Said]) -> str:
    """Return messages as the SDK repeats them in ``input`` and ``output``."""
    return to_json([{"role": role, "content": content} for role, content, *_ in said])


def wanted(name: str, /, **arguments: object) -> str:
    """Return a tool's call as the SDK writes it into a message: JSON, in which the arguments are JSON text."""
    return to_json({"name": name, "arguments": to_json(arguments)})


def used(prompt: int, completion: int, cached: int = 0, **more: int) -> Plain:
    """Return token counts under the names of the indexed dialects; ``more`` are further ``gen_ai.usage`` counts."""
    counts: Plain = {
        "gen_ai.usage.prompt_tokens": prompt,
        "gen_ai.usage.completion_tokens": completion,
        "llm.usage.total_tokens": prompt + completion,
    }
    if cached:
        counts["gen_ai.usage.cache_read_input_tokens"] = cached
    return counts | {f"gen_ai.usage.{name}": value for name, value in more.items()}


def python_chat(
    instrumentation: str,
    model: tuple[str, str],
    prompt: Sequence[Said],
    completion: Sequence[Said],
    finish: str,
    usage: Plain,
    **fields: object,
) -> Call:
    """Return a chat as netra-sdk for Python records it.

    ``model`` is the requested and the answering one. The finish reason has the index after the last message, and names
    no provider.
    """
    return Call(
        name=f"{instrumentation}.chat",
        takes=0.9,
        first_token=str,
        attributes={
            "netra.instrumentation.name": instrumentation,
            "llm.request.type": "chat",
            "gen_ai.request.model": model[0],
            **{key.replace("__", "."): value for key, value in fields.items()},
            **indexed("gen_ai.prompt", prompt),
            "input": as_input(prompt),
            "gen_ai.response.model": model[1],
            **usage,
            **indexed("gen_ai.completion", completion),
            "output": as_input(completion),
            f"gen_ai.completion.{len(completion)}.finish_reason": finish,
        },
    )
