"""Group spans with the same trouble, with bounded memory: a count, and a few samples."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from netra_otel_bridge.core.model.readback import MAX_SAMPLES

KeyT = TypeVar("KeyT", bound=Hashable)
_MAX_NAMES = 40
_UTF8_BYTES = 3
"""A text that is cut to a number of bytes, and between characters, may be this much shorter."""
_MAX_LENGTHS = 500
MAX_LIMITS = 5
"""Maximum lengths at which texts are said to be cut, before they count as various."""
_COMMON = 0.05


@dataclass(slots=True)
class Group:
    """Spans with the same trouble. ``names`` says what is affected, where that is not the same for all."""

    count: int = 0
    samples: list[tuple[str, str]] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)
    unnamed: bool = False

    def add(self, trace_id: str, span_id: int, count: int = 1) -> None:
        """Count a span, or ``count`` spans of which this is a sample."""
        self.count += count
        if len(self.samples) < MAX_SAMPLES:
            self.samples.append((trace_id, f"{span_id:016x}"))

    def name(self, names: Iterable[str]) -> None:
        """Remember the first few names of what is affected."""
        for name in names:
            if name in self.names:
                continue
            if len(self.names) >= _MAX_NAMES:
                self.unnamed = True
                return
            self.names[name] = None

    def merge(self, other: Group) -> None:
        """Add another group to this one."""
        self.count += other.count
        self.samples = [*self.samples, *other.samples][:MAX_SAMPLES]
        self.name(other.names)
        self.unnamed |= other.unnamed


class Groups(Generic[KeyT]):
    """Groups by key, up to a limit; what has a further key goes into one group more, ``rest``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.known: dict[KeyT, Group] = {}
        self.rest = Group()

    def of(self, key: KeyT) -> Group:
        """Return the group of a key."""
        group = self.known.get(key)
        if group is not None:
            return group
        if len(self.known) >= self._limit:
            return self.rest
        group = self.known[key] = Group()
        return group


class CutTexts:
    """Groups spans by the length in bytes at which their longest cut text ends."""

    def __init__(self) -> None:
        self._lengths = Groups[int](_MAX_LENGTHS)

    def of(self, kept_bytes: int) -> Group:
        """Return the group of spans whose longest cut text has this length."""
        return self._lengths.of(kept_bytes)

    def limits(self) -> list[tuple[int, Group]]:
        """Return a group for each length at which many texts are cut, and one under 0 for various lengths.

        Lengths that differ by less than a character are one.
        """
        clusters: list[tuple[int, Group]] = []
        for length, group in sorted(self._lengths.known.items(), reverse=True):
            if clusters and clusters[-1][0] - length <= _UTF8_BYTES:
                clusters[-1][1].merge(group)
            else:
                clusters.append((length, Group()))
                clusters[-1][1].merge(group)
        total = sum(group.count for _, group in clusters) + self._lengths.rest.count
        if len(clusters) <= MAX_LIMITS and not self._lengths.rest.count:
            return clusters
        common = [one for one in clusters if one[1].count >= max(2, total * _COMMON)]
        various = Group()
        for one in clusters:
            if one not in common:
                various.merge(one[1])
        various.merge(self._lengths.rest)
        return [*common, (0, various)] if various.count else common
