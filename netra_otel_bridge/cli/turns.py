"""Put the messages of a trace in the order of time, each once.

Each call to a model repeats the conversation so far. A part of a message counts as shown if it was shown at least as
often as it occurs in the call, so that a second "yes" of the same conversation is new, and its repetition is not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from netra_otel_bridge.cli.trace_tree import in_tree
from netra_otel_bridge.convert import SpanReading
from netra_otel_bridge.convert.llm import Call, Kind, Message
from netra_otel_bridge.core.json_text import read_json

_SEARCHES = frozenset({Kind.RETRIEVER, Kind.RERANKER, Kind.EMBEDDING})
_MARKS = frozenset({Kind.HANDOFF, Kind.GUARDRAIL})
"""Spans without content that a reader of a conversation wants to know about."""
_AROUND = frozenset({Kind.AGENT, Kind.WORKFLOW, Kind.OTHER})
"""Spans whose errors are usually those of a call inside of them."""


@dataclass(slots=True)
class Turn:
    """Hold what one span adds to the conversation, at its start, or at its end if other calls happened in between."""

    reading: SpanReading
    at_end: bool = False
    agent: str | None = None
    input: list[Message] = field(default_factory=list)
    output: list[Message] = field(default_factory=list)
    left_out: int = 0
    """Messages that were shown before."""
    tools: list[str] = field(default_factory=list)
    """The tools that were offered, if they are not those of the call before."""
    arguments: Any = None
    result: Any = None


class _Shown:
    """Counts the parts of messages that were shown."""

    def __init__(self) -> None:
        self._times: Counter[Hashable] = Counter()
        self._ran: Counter[Hashable] = Counter()

    def new(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages of one call that were not shown before, and count them as shown."""
        here: Counter[Hashable] = Counter()
        found = []
        for message in messages:
            keys = [key for part in message.parts if (key := _key(message.role, part)) is not None]
            here.update(keys)
            if any(here[key] > self._times[key] for key in keys):
                found.append(message)
        for key, times in here.items():
            self._times[key] = max(self._times[key], times)
        return found

    def add(self, messages: Iterable[Message]) -> None:
        """Count messages that are shown in any case."""
        self._times.update(key for one in messages for part in one.parts if (key := _key(one.role, part)) is not None)

    def ran(self, name: str, arguments: Any) -> bool:
        """Return whether a model was shown to call this tool, for as many runs of it as there were."""
        key = _call_key(name, arguments)
        self._ran[key] += 1
        if self._ran[key] <= self._times[key]:
            return True
        self._times[key] += 1
        return False

    def add_result(self, result: Any) -> None:
        """Count the result of a tool."""
        self._times[_result_key(result)] += 1


def turns(readings: Sequence[SpanReading]) -> list[Turn]:
    """Return what each span adds to the conversation, in the order of time. Spans that add nothing are left out."""
    by_number = {one.number: one for one in readings}
    speaking = [one for one, _, _ in in_tree(readings) if _speaks(one)]
    outer = _outer(speaking, by_number)
    shown = _Shown()
    offered: list[str] = []
    found = []
    for reading, side in _in_time(speaking, outer):
        turn = Turn(reading, at_end=side == "end", agent=_agent(reading, by_number))
        _fill(turn, side, shown)
        names = _offered(reading.call)
        if turn.reading.call.kind is Kind.LLM and not turn.at_end and names:
            turn.tools = names if names != offered else []
            offered = names
        found.append(turn)
    return list(_joined(found))


def _speaks(reading: SpanReading) -> bool:
    call = reading.call
    return (
        call.kind in _SEARCHES
        or call.kind in _MARKS
        or call.kind is Kind.TOOL
        or bool(call.input or call.output or call.system)
        or (reading.error is not None and call.kind not in _AROUND)
    )


def _outer(speaking: Sequence[SpanReading], by_number: dict[int, SpanReading]) -> set[int]:
    """Return the numbers of spans around other speaking spans, whose answers repeat those inside."""
    return {around.number for one in speaking for around in _around(one, by_number)}


def _around(reading: SpanReading, by_number: dict[int, SpanReading]) -> Iterator[SpanReading]:
    """Yield the spans around a span, from the inside, each once even if parents form a circle."""
    at = reading.parent
    seen = {reading.number}
    while at is not None and at not in seen and (outer := by_number.get(at)) is not None:
        seen.add(at)
        yield outer
        at = outer.parent


def _in_time(speaking: Sequence[SpanReading], outer: set[int]) -> Iterator[tuple[SpanReading, str]]:
    """Yield each span with ``whole``, ``start`` or ``end``, in the order of time."""
    moments: list[tuple[tuple[int, int, int], SpanReading, str]] = []
    for number, one in enumerate(speaking):
        if one.number not in outer:
            moments.append(((one.start_ns, 1, number), one, "whole"))
            continue
        moments.append(((one.start_ns, 1, number), one, "start"))
        # At one instant, what ends precedes what begins, but an end never precedes its own start.
        moments.append(((one.end_ns, 0 if one.end_ns > one.start_ns else 2, -number), one, "end"))
    moments.sort(key=lambda moment: moment[0])
    for _, one, side in moments:
        yield one, side


def _fill(turn: Turn, side: str, shown: _Shown) -> None:
    call = turn.reading.call
    if call.kind is Kind.TOOL:
        _fill_tool(turn, side, shown)
        return
    if side != "end":
        asked = [*([Message("system", list(call.system))] if call.system else []), *call.input]
        turn.input = shown.new(asked)
        turn.left_out = len([one for one in asked if one.parts]) - len(turn.input)
    if side == "whole":
        turn.output = [one for one in call.output if one.parts]
        shown.add(turn.output)
    elif side == "end":
        turn.output = shown.new(call.output)


def _fill_tool(turn: Turn, side: str, shown: _Shown) -> None:
    facts = turn.reading.call.facts
    if side != "end":
        arguments = facts.get("tool_arguments")
        if not shown.ran(str(facts.get("tool_name") or turn.reading.name), arguments):
            turn.arguments = arguments
    result = facts.get("tool_result")
    if side != "start" and result is not None:
        turn.result = result
        shown.add_result(result)


def _joined(found: Iterable[Turn]) -> Iterator[Turn]:
    """Yield the turns that say something. What was left out before an answer is told with it."""
    left_out: dict[str, int] = {}
    for turn in found:
        span_id = turn.reading.span.id
        if _says(turn):
            turn.left_out += left_out.pop(span_id, 0)
            yield turn
        elif turn.left_out:
            left_out[span_id] = turn.left_out


def _says(turn: Turn) -> bool:
    call = turn.reading.call
    told = turn.input or turn.output or turn.tools or turn.arguments is not None or turn.result is not None
    if told:
        return True
    if turn.at_end:
        return False
    return (
        call.kind in _MARKS
        or call.kind is Kind.TOOL
        or turn.reading.error is not None
        or bool(call.query or call.documents or call.texts)
    )


def _agent(reading: SpanReading, by_number: dict[int, SpanReading]) -> str | None:
    """Return the name of the innermost agent around a span."""
    for outer in _around(reading, by_number):
        name = outer.call.facts.get("agent_name")
        if outer.call.kind is Kind.AGENT and isinstance(name, str) and name:
            return name
    return None


def _offered(call: Call) -> list[str]:
    return [str(one.get("name") or one.get("type") or "?") for one in call.tools]


def _key(role: str, part: dict[str, Any]) -> Hashable | None:
    """Return what makes two parts the same, without ids, which many dialects lose; ``None`` for reasoning."""
    match part.get("type"):
        case "text":
            return "text", role, str(part.get("content")).strip()
        case "reasoning":
            return None
        case "tool_call":
            return _call_key(str(part.get("name")), part.get("arguments"))
        case "tool_call_response":
            return _result_key(part.get("response"))
        case _:
            return "part", role, _plain(part)


def _call_key(name: str, arguments: Any) -> Hashable:
    return "call", name, _plain(arguments if arguments not in ("", None) else {})


def _result_key(result: Any) -> Hashable:
    return "result", _plain(result)


def _plain(value: Any) -> str:
    """Return a value as text that does not depend on whether it was recorded as JSON or decoded, nor on its order."""
    if isinstance(value, str):
        decoded = read_json(value) if value.lstrip()[:1] in ("{", "[", '"') else None
        if decoded is None:
            return value
        value = decoded
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, sort_keys=True, default=repr)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
