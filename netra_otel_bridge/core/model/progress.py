"""What the state remembers of a destination."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from netra_otel_bridge.core.model.netra import Number
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.query import Window


class HourCost(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the metered spans of a tenant that start in one UTC hour used: tokens, spans, and cost in US dollars."""

    tenant_id: str
    hour_ns: int
    tokens: int
    requests: int
    cost: float


class TraceCost(msgspec.Struct, frozen=True, array_like=True):
    """What the spans of a trace cost that one destination has.

    ``hours`` are the sums of when all spans were last answered. ``untaken`` are the ids of spans that were answered and
    that the destination has not taken, or may not have: it refused some of a batch without saying which.
    """

    hours: tuple[HourCost, ...] = ()
    untaken: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """What one destination has had of one trace.

    ``digest`` holds those of the summaries under which every span was answered (`progress`); ``None``: not yet.
    ``spans`` holds 12 bytes for each span that was answered: its id (8) and the CRC-32 of its encoding (4), big endian.
    """

    trace_id: str
    start_ns: int
    digest: bytes | None
    spans: bytes
    cost: TraceCost = field(default_factory=TraceCost)

    ENTRY_BYTES = 12


class KnownTrace(NamedTuple):
    """What is remembered of a trace, in short: `TraceRecord.digest`, the number of spans answered, and since when."""

    digest: bytes | None
    spans: int
    recorded_ns: int


class FinishedWindow(NamedTuple):
    """A window that was listed to the end with every trace in it answered, and when that was."""

    window: Window
    finished_ns: int


@dataclass(slots=True)
class Progress:
    """What one transaction makes durable, for one destination.

    ``windows`` are finished: listed to the end, and every trace in them answered. ``watermark_ns`` says how far live
    traffic was followed. ``resolved`` are dead letters that were delivered after all. ``problem`` is what holds the
    lane up ("" for nothing); ``None`` leaves what is known.
    """

    traces: list[TraceRecord] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    watermark_ns: int | None = None
    dead_letters: list[DeadLetter] = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)
    delivered: int = 0
    refused: int = 0
    size_bytes: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """What the state knows of one destination; counts are those of its whole life. Times are 0 where there is none."""

    source: str
    destination: str
    watermark_ns: int
    delivered: int
    refused: int
    dead_lettered: int
    size_bytes: int
    traces: int
    windows: int
    updated_ns: int
    problem: str
    problem_since_ns: int
    reasons: tuple[tuple[str, int], ...]
    reconciled: tuple[Reconciliation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What the spans that a destination has cost a tenant, and what Netra's usage call reports for the same hours.

    Costs are in US dollars. Netra was asked at ``asked_ns``.
    """

    tenant_id: str
    window: Window
    replayed_tokens: Number
    replayed_cost: float
    reported_tokens: Number
    reported_cost: float
    asked_ns: int

    @property
    def agrees(self) -> bool:
        """Whether both figures are the same, but for the rounding of sums."""
        return _same(self.replayed_tokens, self.reported_tokens) and _same(self.replayed_cost, self.reported_cost)


def _same(replayed: Number, reported: Number) -> bool:
    return math.isclose(replayed, reported, rel_tol=1e-6, abs_tol=1e-9)
