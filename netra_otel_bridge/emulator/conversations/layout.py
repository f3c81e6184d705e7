"""Place a conversation in time: an order of its spans, with their parents, starts and ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from random import Random

from netra_otel_bridge.emulator.conversations.shapes import Call, Conversation
from netra_otel_bridge.emulator.spans import Plain


def _application(name: str, attributes: Plain) -> Call:
    return Call(name=name, takes=0.02, attributes={**attributes, "input": "", "output": ""})


_BEFORE = (
    _application("GET session", {"db.system": "redis", "db.operation": "GET"}),
    _application("SELECT traveller", {"db.system": "postgresql", "db.operation": "SELECT"}),
    _application("SELECT turns", {"db.system": "postgresql", "db.operation": "SELECT"}),
    _application("SELECT bookings", {"db.system": "postgresql", "db.operation": "SELECT"}),
)
_AFTER = (
    _application("INSERT turn", {"db.system": "postgresql", "db.operation": "INSERT"}),
    _application("SET session", {"db.system": "redis", "db.operation": "SET"}),
    _application("INSERT usage", {"db.system": "postgresql", "db.operation": "INSERT"}),
    _application("PUBLISH turn.finished", {"messaging.system": "redis", "messaging.operation.type": "send"}),
    _application("POST /notifications", {"http.request.method": "POST", "http.response.status_code": 202}),
)


def _around(name: str, calls: tuple[Call, ...], count: int) -> tuple[Call, ...]:
    """Return ``count`` spans: one that holds the others, so that a viewer can fold them."""
    if count == 0:
        return ()
    attributes: Plain = {"netra.span.type": "SPAN", "input": "", "output": ""}
    return (Call(name=name, client=False, attributes=attributes, inside=tuple(islice(cycle(calls), count - 1))),)


@dataclass(frozen=True, slots=True)
class Placed:
    """A call at its position in the trace; the root has no parent."""

    call: Call
    position: int
    parent: int | None
    start_ns: int
    end_ns: int


def place(conversation: Conversation, count: int, draw: Random, start_ns: int, longest_ns: int) -> list[Placed]:
    """Return ``count`` spans, the root first: those of the conversation, among others of its application.

    ``count`` is at least that of the conversation. Each duration without children is at most 9/8 of ``longest_ns``.
    """
    spare = count - conversation.root.count
    before = spare // 2
    inside = (
        *_around("load-context", _BEFORE, before),
        *conversation.root.inside,
        *_around("store-turn", _AFTER, spare - before),
    )
    return list(_Placing(draw, start_ns, longest_ns).place(replace(conversation.root, inside=inside), None))


class _Placing:
    def __init__(self, draw: Random, start_ns: int, longest_ns: int) -> None:
        self._draw = draw
        self._now = start_ns
        self._longest_ns = longest_ns
        self._position = 0

    def place(self, call: Call, parent: int | None) -> Iterator[Placed]:
        position, start = self._position, self._now
        self._position += 1
        below: list[Placed] = []
        for child in call.inside:
            self._now += self._gap()
            below += self.place(child, position)
        if call.inside:
            self._now += self._gap()
        else:
            share = call.takes * (0.5 + self._draw.random() / 2)
            self._now += self._longest_ns // 100 + int(self._longest_ns * share)
        yield Placed(call, position, parent, start, self._now)
        yield from below

    def _gap(self) -> int:
        return self._draw.randrange(self._longest_ns // 50 + 1)
