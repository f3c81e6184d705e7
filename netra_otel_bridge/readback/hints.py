"""Name the settings of stores, and of Collectors between, that are known to cause a finding."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from netra_otel_bridge.core.clock import HOUR_NS
from netra_otel_bridge.readback.words import Named

JAEGER, TEMPO, PHOENIX, FILE = "jaeger", "tempo", "phoenix", "otlp-file"
LARGE_TRACE_BYTES = 4_000_000
"""Tempo keeps 5 MB of a trace by default; what it counts differs from what is read back."""
_FEW = 4
"""Fewer traces prove nothing by their order."""
_LATER = 0.25
"""A store that forgets the oldest has none of the missing traces after the median of those it has; at random, half."""
_SAMPLE = 1000
_SAMPLING = "`tail_sampling` or `probabilistic_sampler` in a Collector between keeps a part of all traces"
_MAX_TRACES = "Jaeger's storage in memory keeps the last `max_traces` traces: raise it, or store on disk"
_LOOK_BACK = "with Elasticsearch, Jaeger looks back `max_span_age`, and its index cleaner deletes what is older"
_TEMPO_AGE = (
    "`compactor.compaction.block_retention` of Tempo deletes old blocks, and spans beyond "
    "`ingestion_time_range_slack` are stored under another time"
)
_EMPTY = "the store is empty or was restarted with a storage in memory, or it is not the one behind the destination"
_RESTARTED = "the store was restarted with a storage in memory after it had received them"
_FILE_LOST = "the file was truncated, rotated away or written by something else"
_OTHER_FILE = "it is not the one that the destination wrote"
_PHOENIX_DROPS = "Phoenix drops spans with a value that is bytes, and spans with an id that it knows from another span"
_FILTER = "a `filter` processor in a Collector between drops spans"
_ATTRIBUTES = "an `attributes`, `transform` or `redaction` processor of a Collector between does this"
_RESOURCE = "a `resource` or `transform` processor of a Collector between does this"
_GROUPED = "`groupbyattrs` in a Collector between moves attributes of spans to their resource"
_NAMES = "a `span` or `transform` processor of a Collector between changes names"
_OTHER_PARTS = "a `transform` or `filter` processor of a Collector between does this"
_ATTRIBUTE_PARTS = frozenset(("attribute", "event attribute", "link attribute", "scope attribute"))
BY_BRIDGE = (
    "the destination accepts no larger request: raise its limit and replay again; `netra.bridge.notes` in a span says "
    "what the bridge left out"
)


@dataclass(slots=True)
class Times:
    """The times of a number of traces, of which up to `_SAMPLE` at random are kept."""

    count: int = 0
    first_ns: int = 0
    last_ns: int = 0
    _sample: list[int] = field(default_factory=list)
    _random: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311  no secret depends on it

    def add(self, time_ns: int) -> None:
        """Count one trace."""
        self.first_ns = min(self.first_ns, time_ns) if self.count else time_ns
        self.last_ns = max(self.last_ns, time_ns)
        self.count += 1
        if len(self._sample) < _SAMPLE:
            self._sample.append(time_ns)
        elif (place := self._random.randrange(self.count)) < _SAMPLE:
            self._sample[place] = time_ns

    def precede(self, others: Times) -> bool:
        """Return whether all are before all others."""
        return bool(self.count and others.count) and self.last_ns < others.first_ns

    def prove_order(self, others: Times) -> bool:
        """Return whether all are before all others, and both are too many for that to be an accident."""
        return self.precede(others) and min(self.count, others.count) >= _FEW

    def contradict_order(self, others: Times) -> bool:
        """Return whether so many are later than most others that these are no oldest ones."""
        if min(self.count, others.count) < _FEW:
            return False
        middle_ns = statistics.median_high(others._sample)
        return sum(one > middle_ns for one in self._sample) > _LATER * len(self._sample)


def whole_traces_hint(
    store: str, missing_start: Times, stored_start: Times, missing_written: Times, stored_written: Times, now_ns: int
) -> str:
    """Return what may cause that whole traces are missing, the likeliest first.

    A cause is left out only if the times contradict it. Traces that were recorded in one transaction have one time, which
    tells nothing about their order.
    """
    found = [_PHOENIX_DROPS] if store == PHOENIX else []
    if not stored_start.count:
        found = [_FILE_LOST, _OTHER_FILE] if store == FILE else [_EMPTY, *found]
        found += _by_age(store, missing_start.last_ns, now_ns)
        if missing_start.count < _FEW:
            found += [_MAX_TRACES] * (store == JAEGER) + [_SAMPLING] * (store != PHOENIX)
        return _joined(found)
    may_forget = not missing_written.contradict_order(stored_written)
    by_start = missing_start.prove_order(stored_start)
    by_written = missing_written.prove_order(stored_written)
    ages = _by_age(store, missing_start.last_ns, now_ns) if by_start else []
    if may_forget and (by_start or by_written):
        if store == TEMPO:
            return _joined([*(ages or [_TEMPO_AGE] * by_written), _RESTARTED])
        return _joined([*found, *_forgets(store), *ages])
    found += ages
    if store == FILE or (store == JAEGER and may_forget):
        found += _forgets(store)[-1:]
    if store != PHOENIX:
        found.append(_SAMPLING)
    return _joined(found)


def _forgets(store: str) -> list[str]:
    """Return what makes a store forget what it received first."""
    if store == FILE:
        return [_FILE_LOST]
    return [_RESTARTED, _MAX_TRACES] if store == JAEGER else [_RESTARTED]


def _by_age(store: str, last_ns: int, now_ns: int) -> list[str]:
    """Return what makes a store lose traces for their age, if the youngest of them is old enough for that."""
    if now_ns - last_ns < HOUR_NS:
        return []
    if store == TEMPO:
        return [_TEMPO_AGE]
    return [_LOOK_BACK] if store == JAEGER and now_ns - last_ns >= 24 * HOUR_NS else []


def some_spans_hint(store: str, *, large: bool) -> str:
    """Return what may cause that some spans of a trace are missing."""
    if store == PHOENIX:
        return _PHOENIX_DROPS
    if store == FILE:
        return _joined([_FILE_LOST, _FILTER])
    if store == TEMPO:
        limit = "`overrides.defaults.global.max_bytes_per_trace` of Tempo (5 MB by default): it drops or does not return the rest"
        return limit if large else _joined([limit, _FILTER])
    return _FILTER


def cut_hint(store: str) -> str:
    """Return what may cause that texts end early."""
    if store == TEMPO:
        return "`distributor.max_attribute_bytes` of Tempo, 2,048 by default"
    return "`truncate_all` in a `transform` processor of a Collector between, or a limit of the store, cuts texts"


def changed_hint(store: str, found: Iterable[Named]) -> str:
    """Return what may cause these differences."""
    found = list(found)
    parts = {part for part, _, _ in found}
    gone = {key for part, how, key in found if (part, how) == ("attribute", "gone")}
    if any((part, how) == ("resource attribute", "added") and key in gone for part, how, key in found):
        return _GROUPED
    if parts <= _ATTRIBUTE_PARTS:
        return _ATTRIBUTES
    if "resource attribute" in parts:
        return _RESOURCE if parts == {"resource attribute"} else f"{_ATTRIBUTES}; {_RESOURCE}"
    if store == JAEGER and parts <= {"start time", "end time", "event time", "attribute"}:
        return "Jaeger adjusts clocks unless raw traces are read"
    return _NAMES if "name" in parts and parts <= {"name", "attribute"} else _OTHER_PARTS


def hidden_hint(store: str) -> str:
    """Return what may cause that a search does not show traces that are stored."""
    if store == TEMPO:
        return (
            "Tempo 1.5 does not index a trace above `overrides: max_search_bytes_per_trace`, and searches recent traces only "
            "without a time range; later versions search recent ones where `query_frontend.search.query_backend_after` and "
            "`query_ingesters_until` say; or the search is off: `-search.enabled=true`"
        )
    return _LOOK_BACK if store == JAEGER else ""


def _joined(hints: list[str]) -> str:
    return "; or ".join(dict.fromkeys(hints))
