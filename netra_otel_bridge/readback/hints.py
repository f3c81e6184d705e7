"""Name the settings of stores, and of Collectors between, that are known to cause a finding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netra_otel_bridge.core.clock import HOUR_NS
from netra_otel_bridge.readback.words import Named

JAEGER, TEMPO = "jaeger", "tempo"
LARGE_TRACE_BYTES = 4_000_000
"""Tempo keeps 5 MB of a trace by default; what it counts differs from what is read back."""
_APART = 0.3
"""Means this far apart, as a share of the whole range, are no accident: with halves they are 0.5, at random near 0."""
_FEW = 4
_SAMPLING = "`tail_sampling` or `probabilistic_sampler` in a Collector between keeps a part of all traces"
_MAX_TRACES = "Jaeger's storage in memory keeps the last `max_traces` traces: raise it, or store on disk"
_LOOK_BACK = "with Elasticsearch, Jaeger looks back `max_span_age`, and its index cleaner deletes what is older"
_TEMPO_AGE = (
    "`compactor.compaction.block_retention` of Tempo deletes old blocks, and spans beyond "
    "`ingestion_time_range_slack` are stored under another time"
)
_EMPTY = "the store is empty or was restarted with a storage in memory, or it is not the one behind the destination"
_ATTRIBUTES = "an `attributes`, `transform` or `redaction` processor of a Collector between does this"
_RESOURCE = "a `resource` or `transform` processor of a Collector between does this"
_OTHER_PARTS = "a `transform` or `filter` processor of a Collector between does this"
_ATTRIBUTE_PARTS = frozenset(("attribute", "event attribute", "link attribute", "scope attribute"))
BY_BRIDGE = (
    "the destination accepts no larger request: raise its limit and replay again; `netra.bridge.notes` in a span says "
    "what the bridge left out"
)


@dataclass(slots=True)
class Times:
    """The times of a number of traces."""

    count: int = 0
    total_ns: int = 0
    first_ns: int = 0
    last_ns: int = 0

    def add(self, time_ns: int) -> None:
        """Count one trace."""
        self.first_ns = min(self.first_ns, time_ns) if self.count else time_ns
        self.last_ns = max(self.last_ns, time_ns)
        self.count += 1
        self.total_ns += time_ns


def come_first(missing: Times, stored: Times) -> bool | None:
    """Return whether missing traces are the oldest; ``None`` if the times do not tell."""
    first_ns, last_ns = min(missing.first_ns, stored.first_ns), max(missing.last_ns, stored.last_ns)
    if first_ns == last_ns or missing.count < _FEW or stored.count < _FEW:
        return None
    apart_ns = stored.total_ns // stored.count - missing.total_ns // missing.count
    return apart_ns / (last_ns - first_ns) >= _APART


def whole_traces_hint(
    store: str, missing_start: Times, stored_start: Times, missing_written: Times, stored_written: Times, now_ns: int
) -> str:
    """Return what may cause that whole traces are missing, the likeliest first."""
    if not stored_start.count:
        return _joined([_EMPTY, *_by_age(store, missing_start.last_ns, now_ns)])
    if come_first(missing_start, stored_start) and missing_start.last_ns <= stored_start.first_ns:
        found = _by_age(store, missing_start.last_ns, now_ns)
    else:
        found = []
    if store == JAEGER and come_first(missing_written, stored_written) is not False:
        found.append(_MAX_TRACES)
    if come_first(missing_written, stored_written) is not True:
        found.append(_SAMPLING)
    elif store == TEMPO and not found:
        found.append(_TEMPO_AGE)
    return _joined(found or [_SAMPLING])


def _by_age(store: str, last_ns: int, now_ns: int) -> list[str]:
    """Return what makes a store lose traces for their age, if the youngest of them is old enough for that."""
    if now_ns - last_ns < HOUR_NS:
        return []
    if store == TEMPO:
        return [_TEMPO_AGE]
    return [_LOOK_BACK] if store == JAEGER and now_ns - last_ns >= 24 * HOUR_NS else []


def some_spans_hint(store: str, *, large: bool) -> str:
    """Return what may cause that some spans of a trace are missing."""
    if large and store == TEMPO:
        return "`overrides.defaults.global.max_bytes_per_trace` of Tempo (5 MB by default) drops the rest behind an OK"
    return "a `filter` processor in a Collector between drops spans"


def cut_hint(store: str) -> str:
    """Return what may cause that texts end early."""
    if store == TEMPO:
        return "`distributor.max_attribute_bytes` of Tempo, 2,048 by default"
    return "`truncate_all` in a `transform` processor of a Collector between, or a limit of the store, cuts texts"


def changed_hint(store: str, found: Iterable[Named]) -> str:
    """Return what may cause these differences."""
    parts = {part for part, _, _ in found}
    if parts <= _ATTRIBUTE_PARTS:
        return _ATTRIBUTES
    if "resource attribute" in parts:
        return _RESOURCE if parts == {"resource attribute"} else f"{_ATTRIBUTES}; {_RESOURCE}"
    if store == JAEGER and parts <= {"start time", "end time", "event time", "attribute"}:
        return "Jaeger adjusts clocks unless raw traces are read"
    return _OTHER_PARTS


def hidden_hint(store: str) -> str:
    """Return what may cause that a search does not show traces that are stored."""
    if store == TEMPO:
        return (
            "recent traces are searched where `query_frontend.search.query_backend_after` and "
            "`query_ingesters_until` say; Tempo 1.5 searches only with `-search.enabled=true`"
        )
    return _LOOK_BACK if store == JAEGER else ""


def _joined(hints: list[str]) -> str:
    return "; or ".join(dict.fromkeys(hints))
