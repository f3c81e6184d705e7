"""The values that cross a border between the parts of the bridge.

What Netra answers carries the names of ``Netra.usage`` in netra-sdk 1.2.2 (``TraceSummary``, ``TraceSpan``,
``TracesPage`` ...), so that a script moves over by changing an import. Field types are as wide as what is known
of the API: see "Not known: be lenient" in ``docs/netra-api.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.query import Window

MAX_PROBLEMS = 20


@dataclass(slots=True)
class LaneReport:
    """What one destination got, counted in spans but for ``traces``, ``listed`` and ``windows``.

    ``spans`` are those of the traces that were listed. Each is ``delivered``, ``refused`` (the destination did not say
    which), ``dead_lettered`` (it did: kept in the state with the reason), ``skipped`` (it had it before) or, when the
    lane ended with ``error``, none of these. ``changed`` of them were sent again because their content changed,
    ``trimmed`` were cut because the destination takes no more. ``unreadable`` items of Netra's pages are no spans or
    traces at all and are dead-lettered beside them; ``missing`` traces were asked for and are not there. ``size_bytes`` is
    the encoded size of what was delivered, ``retries`` counts batches that were sent again. ``final_windows`` were
    finished so long ago that they were not listed again. ``verified`` spans were read a second time. ``kept`` are dead
    letters of the same traces that were there before, and still are.
    """

    name: str
    traces: int = 0
    spans: int = 0
    delivered: int = 0
    refused: int = 0
    dead_lettered: int = 0
    skipped: int = 0
    changed: int = 0
    trimmed: int = 0
    unreadable: int = 0
    missing: int = 0
    size_bytes: int = 0
    listed: int = 0
    windows: int = 0
    final_windows: int = 0
    verified: int = 0
    kept: int = 0
    retries: int = 0
    problems: list[str] = field(default_factory=list)
    error: BridgeError | None = None

    @property
    def exit_code(self) -> int:
        """0 done; 3 something was refused, now or before, unreadable or missing; else that of ``error``."""
        if self.error is not None:
            return self.error.exit_code
        return 3 if self.refused or self.dead_lettered or self.kept or self.unreadable or self.missing else 0

    def add(self, other: LaneReport) -> None:
        """Add the counts of another pass to the same destination."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def verified_by(self, second: LaneReport) -> None:
        """Take in a second reading of the same range: what it sent was missing from the first."""
        for name in _SENT:
            setattr(self, name, getattr(self, name) + getattr(second, name))
        self.spans += second.spans - second.skipped
        self.verified = second.spans
        for problem in second.problems:
            self.note(problem)
        self.error = second.error

    def note(self, problem: str) -> None:
        """Keep a line about something that was refused or unreadable; after `MAX_PROBLEMS` they are only counted."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


_SENT = (
    "delivered",
    "refused",
    "dead_lettered",
    "changed",
    "trimmed",
    "unreadable",
    "missing",
    "size_bytes",
    "retries",
)
_COUNTS = tuple(one.name for one in fields(LaneReport) if one.type == "int")


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay did; ``window`` is ``None`` where dead letters were sent again.

    ``retries`` are those of calls to Netra and of batches. ``notes`` counts what conversion had to mark or drop, by the words of ``netra.bridge.notes``.
    """

    window: Window | None
    destinations: tuple[LaneReport, ...]
    api_calls: int
    retries: int
    seconds: float
    notes: dict[str, int]

    @property
    def exit_code(self) -> int:
        """0 done; 3 something was refused or unreadable; else the code of the first destination that failed."""
        codes = [lane.exit_code for lane in self.destinations]
        return next((code for code in codes if code not in (0, 3)), max(codes, default=0))


@dataclass(frozen=True, slots=True)
class ReplayEstimate:
    """What a replay would cost. ``traces`` is counted; the rest is reckoned from ``sampled_traces`` that were read."""

    window: Window
    traces: int
    sampled_traces: int
    spans: int
    size_bytes: int
    api_calls: int
    seconds: float
