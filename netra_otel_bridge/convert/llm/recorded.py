"""Hold what a span recorded, sorted by what it is evidence of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.trace import Event

Fields = dict[str, Any]
Groups = dict[str, dict[int, Fields]]
MAX_INDEX_DIGITS = 6
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
    """Hold what a span recorded: facts by name, and the members of indexed keys by prefix, index and rest of the key.

    The members are in the order of their index.
    """

    facts: dict[str, Any]
    groups: Groups
    attributes: Mapping[str, Any]
    events: Sequence[Event]
    name: str
    readers: int
    """The dialects that have something to read, one bit each."""
    telling: frozenset[str]
    """Facts that these keys may hold and that say more than `WEAK_FACTS`."""


def in_order(group: dict[int, Fields] | None) -> list[Fields]:
    """Return the members of a group of `Recorded`, which are in the order of their index."""
    return list(group.values()) if group else []


def nested(fields: Fields, prefix: str) -> list[Fields]:
    """Return the members of an indexed key inside of a member: ``tool_calls.0.name``, in the order of the index."""
    found: dict[int, Fields] = {}
    for key, value in fields.items():
        if key.startswith(prefix):
            index, _, rest = key[len(prefix) :].partition(".")
            if index.isdecimal() and index.isascii() and len(index) <= MAX_INDEX_DIGITS:
                found.setdefault(int(index), {})[rest] = value
    return [found[number] for number in sorted(found)]
