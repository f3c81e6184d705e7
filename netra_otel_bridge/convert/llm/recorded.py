"""Sort the attributes of a span by what they are evidence of, in one pass over its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import Event

from netra_otel_bridge.convert.llm.facts import BY_NAME, FACTS

Fields = dict[str, Any]
Groups = dict[str, dict[int, Fields]]
_MAX_KEYS = 8192
_MAX_INDEX_DIGITS = 6
WEAK_FACTS = frozenset(
    {
        "input",
        "output",
        "instrumentation",
        "conversation_id",
        "entity_name",
        "agent_name",
        "workflow_name",
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cache_read_tokens",
    }
)
"""Facts that Netra records on spans of any kind. Alone, they do not make a span a call."""


@dataclass(slots=True)
class Recorded:
    """What a span recorded: facts by name, and the members of indexed keys by prefix, index and rest of the key."""

    facts: dict[str, Any] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Event] = ()
    name: str = ""


class _FactKey(NamedTuple):
    fact: str
    rank: int
    read: Any


class _Member(NamedTuple):
    prefix: str
    number: int
    rest: str


class KeyTable:
    """Knows which keys are evidence: ``facts`` are (key, fact) in order of precedence, ``prefixes`` of indexed keys."""

    def __init__(self, facts: Sequence[tuple[str, str]], prefixes: Sequence[str]) -> None:
        own = [(name, fact.name) for fact in FACTS for name in (fact.genai, fact.openinference) if name]
        ordered = [*own, *facts]
        self._facts = {
            key: _FactKey(fact, rank, BY_NAME[fact].read) for rank, (key, fact) in reversed(list(enumerate(ordered)))
        }
        self._prefixes = tuple(sorted(prefixes, key=len, reverse=True))
        self._slots: dict[str, _FactKey | _Member | None] = {}

    def sort(self, attributes: Mapping[str, Any], events: Sequence[Event] = (), name: str = "") -> Recorded:
        """Return what the attributes are evidence of. Of several keys of one fact, the first in order counts."""
        found = Recorded(attributes=attributes, events=events, name=name)
        facts, groups, slots = found.facts, found.groups, self._slots
        ranks: dict[str, int] = {}
        for key, value in attributes.items():
            try:
                slot = slots[key]
            except KeyError:
                slot = self._slot(key)
            if slot is None:
                continue
            if type(slot) is _FactKey:
                fact, rank, read = slot
                if rank < ranks.get(fact, rank + 1) and (known := read(value)) is not None:
                    facts[fact] = known
                    ranks[fact] = rank
            elif type(slot) is _Member:
                prefix, index, rest = slot
                groups.setdefault(prefix, {}).setdefault(index, {})[rest] = value
        return found

    def _slot(self, key: str) -> _FactKey | _Member | None:
        if len(self._slots) >= _MAX_KEYS:
            self._slots.clear()
        slot: _FactKey | _Member | None = self._facts.get(key)
        if slot is None and key.startswith(self._prefixes):
            slot = self._member(key)
        self._slots[key] = slot
        return slot

    def _member(self, key: str) -> _Member | None:
        prefix = next(prefix for prefix in self._prefixes if key.startswith(prefix))
        index, _, rest = key[len(prefix) :].partition(".")
        if index.isdecimal() and index.isascii() and len(index) <= _MAX_INDEX_DIGITS:
            return _Member(prefix, int(index), rest)
        return None


def in_order(group: dict[int, Fields] | None) -> list[Fields]:
    """Return the members of a group in the order of their index."""
    return [fields for _, fields in sorted(group.items())] if group else []


def nested(fields: Fields, prefix: str) -> list[Fields]:
    """Return the members of an indexed key inside of a member: ``tool_calls.0.name``, in the order of the index."""
    found: dict[int, Fields] = {}
    for key, value in fields.items():
        if key.startswith(prefix):
            index, _, rest = key[len(prefix) :].partition(".")
            if index.isdecimal() and index.isascii() and len(index) <= _MAX_INDEX_DIGITS:
                found.setdefault(int(index), {})[rest] = value
    return in_order(found)
