"""Sort the attributes of a span by what they are evidence of, in one pass over its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import Event

from netra_otel_bridge.convert.llm.dialects import DIALECTS, Dialect
from netra_otel_bridge.convert.llm.facts import BY_NAME, FACTS
from netra_otel_bridge.convert.llm.recorded import MAX_INDEX_DIGITS, Groups, Recorded

_MAX_KEYS = 8192
"""Keys whose meaning is remembered. Hostile spans may have any number."""


class _FactKey(NamedTuple):
    fact: str
    rank: int
    read: Callable[[Any], Any]
    readers: int


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
            key: _FactKey(fact, rank, BY_NAME[fact].read, self._reads[fact])
            for rank, (key, fact) in reversed(list(enumerate(ordered)))
        }
        for key in {key for one in dialects for key in one.keys}:
            self._facts.setdefault(key, _Member("", 0, key, _bits(key in one.keys for one in dialects)))
        self._prefixes = {
            prefix: _bits(prefix in one.prefixes for one in dialects)
            for prefix in sorted({prefix for one in dialects for prefix in one.prefixes}, key=len, reverse=True)
        }
        self._starts = tuple(self._prefixes)
        self._slots: dict[str, _FactKey | _Member | None] = {}

    def sort(self, attributes: Mapping[str, Any], events: Sequence[Event] = (), name: str = "") -> Recorded:
        """Return what the attributes are evidence of. Of several keys of one fact, the first in order counts."""
        facts: dict[str, Any] = {}
        groups: Groups = {}
        readers = 0
        slots = self._slots
        ranks: dict[str, int] = {}
        for key, value in attributes.items():
            try:
                slot = slots[key]
            except KeyError:
                slot = self._slot(key)
            if slot is None:
                continue
            if isinstance(slot, _FactKey):
                fact, rank, read, bits = slot
                if fact in ranks and ranks[fact] < rank:
                    continue
                if (known := read(value)) is not None:
                    facts[fact] = known
                    ranks[fact] = rank
                    readers |= bits
            else:
                prefix, number, rest, bits = slot
                readers |= bits
                try:
                    groups[prefix][number][rest] = value
                except KeyError:
                    groups.setdefault(prefix, {})[number] = {rest: value}
        return Recorded(facts, groups, attributes, events, name, readers)

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
