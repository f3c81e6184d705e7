"""Reports of a replay: of each destination, of the whole, and an estimate beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.query import Window

MAX_PROBLEMS = 20
"""Maximum lines about single spans that a report keeps."""


@dataclass(slots=True)
class LaneReport:
    """The results of one destination. All counts are of spans, unless stated otherwise.

    ``spans`` counts the spans of the listed traces. Each is ``delivered``; ``refused``, if the destination rejected it
    without naming it; ``dead_lettered``, if the destination rejected it by name, and kept in the state with the reason;
    or ``skipped``, if the destination had received it before. When the lane ended with ``error``, a span may be none of
    these. ``changed`` spans were sent again because their content changed. ``trimmed`` spans were cut to what the
    destination accepts. ``verified`` spans were read a second time.

    ``traces``, ``listed`` and ``windows`` count traces, listed traces and windows. ``final_windows`` were finished so long
    ago that they were not listed again. ``missing`` traces were requested by id and do not exist. ``unreadable`` counts
    items of Netra's pages that are not spans or traces; they become dead letters too. ``kept`` counts dead letters of the
    same traces from before. ``held_back`` traces were listed but could not be read; the state keeps them for another
    attempt. ``size_bytes`` is the encoded size of the delivered spans, and ``retries`` counts batches that
    were sent again.
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
    held_back: int = 0
    retries: int = 0
    problems: list[str] = field(default_factory=list)
    error: BridgeError | None = None

    @property
    def exit_code(self) -> int:
        """Return 0 for success; 3 if spans were ever rejected, unreadable, missing or held back; else the code of ``error``."""
        if self.error is not None:
            return self.error.exit_code
        lost = self.refused, self.dead_lettered, self.kept, self.unreadable, self.missing, self.held_back
        return 3 if any(lost) else 0

    def add(self, other: LaneReport) -> None:
        """Add the counts of another pass to the same destination."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def verified_by(self, second: LaneReport) -> None:
        """Add a second reading of the same range, which sent the spans that the first one missed."""
        for name in _SENT:
            setattr(self, name, getattr(self, name) + getattr(second, name))
        self.spans += second.spans - second.skipped
        self.verified = second.spans
        self.held_back = second.held_back
        for problem in second.problems:
            self.note(problem)
        self.error = second.error

    def note(self, problem: str) -> None:
        """Keep a line about a rejected or unreadable item; after `MAX_PROBLEMS` lines, such items are only counted."""
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
    """The results of a replay; ``window`` is ``None`` if it sent dead letters again.

    ``retries`` counts those of calls to Netra and of batches. ``notes`` counts the values that conversion marked or
    dropped, by the words of ``netra.bridge.notes``.
    """

    window: Window | None
    destinations: tuple[LaneReport, ...]
    api_calls: int
    retries: int
    seconds: float
    notes: dict[str, int]

    @property
    def exit_code(self) -> int:
        """Return 0 for success; 3 if anything was rejected or unreadable; else the first failed destination's code."""
        codes = [lane.exit_code for lane in self.destinations]
        return next((code for code in codes if code not in (0, 3)), max(codes, default=0))


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """Keys that a privacy policy keeps and drops, each with its number in the spans that were read. ``N`` is an index.

    Names in parentheses stand for what has no key, such as ``(span name)``, or for keys that may be content.
    """

    kept: Mapping[str, int]
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ReplayEstimate:
    """The cost of a replay. ``traces`` is exact; the rest is estimated from ``sampled_traces``, which were read.

    ``keys`` says what the privacy policy would keep; it is ``None`` if it keeps everything.
    """

    window: Window
    traces: int
    sampled_traces: int
    spans: int
    size_bytes: int
    api_calls: int
    seconds: float
    keys: KeptKeys | None = None
