"""Progress of a destination, as the state stores it, and values derived from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from netra_otel_bridge.core.model.netra import Number, TraceSummary
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.query import Window


class HourCost(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The usage of a tenant's metered spans that start in one UTC hour: tokens, spans, and cost in US dollars."""

    tenant_id: str
    hour_ns: int
    tokens: int
    requests: int
    cost: float


class TraceCost(msgspec.Struct, frozen=True, array_like=True):
    """The cost of the spans of a trace that the destination has received.

    ``hours`` are the sums as of the last time that all spans were answered. ``not_accepted`` are the ids of answered
    spans that the destination rejected, or may have rejected: it did not say which spans of a batch it rejected.
    """

    hours: tuple[HourCost, ...] = ()
    not_accepted: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """The spans of one trace that one destination has answered.

    ``digest`` holds the digests of the summaries under which every span was answered; ``None`` before that. ``spans``
    holds 12 bytes for each answered span: its id (8) and the CRC-32 of its encoding (4), big endian. ``carriers`` holds
    the CRC-32 (4) of the carrier of each of these spans (`deliver.otlp.carrier`), in the same order, or one for all of
    them. It is empty if an older version recorded some of the spans.
    """

    trace_id: str
    start_ns: int
    digest: bytes | None
    spans: bytes
    cost: TraceCost = field(default_factory=TraceCost)
    carriers: bytes = b""

    ENTRY_BYTES = 12


class KnownTrace(NamedTuple):
    """A summary of a `TraceRecord`: its digest, the number of answered spans, and when it was recorded."""

    digest: bytes | None
    spans: int
    recorded_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTrace:
    """A trace that Netra listed, as ``summary``, but that could not be read: it is held back, and delays no other.

    ``attempts`` to read it have failed so far, the first at ``first_ns``, the last for ``reason``. The next is due at
    ``next_ns``, or never if an operator has ``given_up`` on the trace.
    """

    summary: TraceSummary
    start_ns: int
    reason: str
    attempts: int
    first_ns: int
    next_ns: int
    given_up: bool = False


class FinishedWindow(NamedTuple):
    """A window that was listed to the end with every trace in it answered, and when it was finished."""

    window: Window
    finished_ns: int


@dataclass(slots=True)
class Progress:
    """The changes of one destination that one transaction makes durable.

    ``windows`` are finished: listed to the end, with every trace in them answered or held back. ``watermark_ns`` is
    the time up to which live traffic was followed. ``resolved`` are dead letters that were delivered later. ``held``
    traces are held back, or again; ``released`` ones no longer are. ``problem`` is the cause of a delay, "" if there is
    none; ``None`` keeps the stored one.
    """

    traces: list[TraceRecord] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    watermark_ns: int | None = None
    dead_letters: list[DeadLetter] = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)
    held: list[HeldTrace] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    delivered: int = 0
    refused: int = 0
    size_bytes: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """The stored status of one destination. Counts cover its whole life; times are 0 if there is none.

    ``held_back`` traces wait for another attempt now; an operator gave up on ``given_up`` ones.
    """

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
    held_back: int = 0
    given_up: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """The cost of a tenant's spans at a destination, and the usage that Netra reports for the same hours.

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
        """Return whether both totals are equal, except for the rounding of sums."""
        return _same(self.replayed_tokens, self.reported_tokens) and _same(self.replayed_cost, self.reported_cost)


def _same(replayed: Number, reported: Number) -> bool:
    return math.isclose(replayed, reported, rel_tol=1e-6, abs_tol=1e-9)
