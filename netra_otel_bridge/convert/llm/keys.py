"""Sort the attributes of a span by what they are evidence of, in one pass over its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import Event

from netra_otel_bridge.convert.llm.dialects import DIALECTS, Dialect
from netra_otel_bridge.convert.llm.facts import BY_NAME, FACTS, as_anything, as_flag, as_text, as_tokens
from netra_otel_bridge.convert.llm.recorded import MAX_INDEX_DIGITS, WEAK_FACTS, Groups, Recorded

_MAX_KEYS = 8192
"""Keys whose meaning is remembered. Hostile spans may have any number."""
_MAX_SHAPES = 512
_MAX_SHAPE_KEYS = 200
_AS_IT_IS: dict[Callable[[Any], Any], type] = {as_text: str, as_anything: str, as_tokens: int, as_flag: bool}
"""The type of which every value but an empty one is a fact as it is, for each way to read a fact."""


class _FactKey(NamedTuple):
    fact: str
    rank: int


class _Plan(NamedTuple):
    facts: list[tuple[str, tuple[str, ...], type | None, Callable[[Any], Any], int]]
    """Fact, its keys in order, the type that it has as it is, how it is read, and the dialects that need it."""
    groups: list[tuple[str, list[tuple[int, list[tuple[str, str]]]]]]
    """Prefix, numbers, and for each the rest of the key with the key itself."""
    readers: int
    telling: frozenset[str]


class _Member(NamedTuple):
    prefix: str
    number: int
    rest: str
    readers: int


class KeyTable:
    """Knows what each key is evidence of, and which dialects read it. Dialects are in order of precedence."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self._reads = {name: _bits(name in one.reads for one in dialects) for name in BY_NAME}
        own = [(name, fact.name) for fact in FACTS for name in (fact.genai, fact.openinference) if name]
        ordered = [*own, *(pair for one in dialects for pair in one.facts)]
        self._facts: dict[str, _FactKey | _Member] = {
            key: _FactKey(fact, rank) for rank, (key, fact) in reversed(list(enumerate(ordered)))
        }
        for key in {key for one in dialects for key in one.keys}:
            self._facts.setdefault(key, _Member("", 0, key, _bits(key in one.keys for one in dialects)))
        self._prefixes = {
            prefix: _bits(prefix in one.prefixes for one in dialects)
            for prefix in sorted({prefix for one in dialects for prefix in one.prefixes}, key=len, reverse=True)
        }
        self._starts = tuple(self._prefixes)
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._slots: dict[str, _FactKey | _Member | None] = {}

    def sort(self, attributes: Mapping[str, Any], events: Sequence[Event] = (), name: str = "") -> Recorded:
        """Return what the attributes are evidence of. Of several keys of one fact, the first in order counts."""
        shape = tuple(attributes)
        plan = self._plans.get(shape)
        if plan is None:
            plan = self._plan(shape)
        facts: dict[str, Any] = {}
        readers = plan.readers
        for fact, keys, as_it_is, read, bits in plan.facts:
            for key in keys:
                value = attributes[key]
                if (value and type(value) is as_it_is) or (value := read(value)) is not None:
                    facts[fact] = value
                    readers |= bits
                    break
        groups: Groups = {}
        for prefix, members in plan.groups:
            group = groups[prefix] = {}
            for number, fields in members:
                member = group[number] = {}
                for rest, key in fields:
                    member[rest] = attributes[key]
        return Recorded(facts, groups, attributes, events, name, readers, plan.telling)

    def _plan(self, shape: tuple[str, ...]) -> _Plan:
        """Say where the facts and members of spans with these keys are. Most spans of one kind have the same keys."""
        ranked: dict[str, list[tuple[int, str]]] = {}
        groups: dict[str, dict[int, list[tuple[str, str]]]] = {}
        readers = 0
        for key in shape:
            slot = self._slots[key] if key in self._slots else self._slot(key)
            if isinstance(slot, _FactKey):
                ranked.setdefault(slot.fact, []).append((slot.rank, key))
            elif slot is not None:
                groups.setdefault(slot.prefix, {}).setdefault(slot.number, []).append((slot.rest, key))
                readers |= slot.readers
        facts = []
        for fact, found in ranked.items():
            keys = tuple(key for _, key in sorted(found))
            read = BY_NAME[fact].read
            facts.append((fact, keys, _AS_IT_IS.get(read), read, self._reads[fact]))
        members = [(prefix, sorted(numbered.items())) for prefix, numbered in groups.items()]
        plan = _Plan(facts, members, readers, frozenset(ranked.keys() - WEAK_FACTS))
        if len(shape) <= _MAX_SHAPE_KEYS:
            if len(self._plans) >= _MAX_SHAPES:
                self._plans.clear()
            self._plans[shape] = plan
        return plan

    def _slot(self, key: str) -> _FactKey | _Member | None:
        if len(self._slots) >= _MAX_KEYS:
            self._slots.clear()
        slot = self._facts.get(key)
        if slot is None and key.startswith(self._starts):
            slot = self._member(key)
        self._slots[key] = slot
        return slot

    def _member(self, key: str) -> _Member | None:
        prefix = next(prefix for prefix in self._starts if key.startswith(prefix))
        number, _, rest = key[len(prefix) :].partition(".")
        if number.isdecimal() and number.isascii() and len(number) <= MAX_INDEX_DIGITS:
            return _Member(prefix, int(number), rest, self._prefixes[prefix])
        return None


def _bits(marks: Iterable[bool]) -> int:
    return sum(1 << number for number, marked in enumerate(marks) if marked)


KEYS = KeyTable(DIALECTS)
