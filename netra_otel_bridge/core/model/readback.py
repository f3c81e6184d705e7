"""Results of reading a destination back: every span accounted for, and findings with their likely cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.query import Window

Kind = Literal[
    "intact",
    "cut",
    "changed",
    "missing",
    "dead_lettered",
    "refused",
    "unreadable",
    "pending",
    "duplicated",
    "foreign",
    "hidden",
]
SUMMED: tuple[Kind, ...] = (
    "intact",
    "cut",
    "changed",
    "missing",
    "dead_lettered",
    "refused",
    "unreadable",
    "pending",
)
"""Each span of a range is exactly one of these."""
BESIDE: tuple[Kind, ...] = ("duplicated", "foreign", "hidden")
"""Counted beside the sum: more copies of a span, spans that the bridge never sent, and spans that no search shows."""
MAX_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """Spans of one ``kind`` with one cause.

    ``what`` is one line that says what is wrong with ``count`` spans. ``hint`` names the setting that is known to cause
    it, "" if none is. ``samples`` are up to `MAX_SAMPLES` trace ids and span ids, in hex.
    """

    kind: Kind
    count: int
    what: str
    hint: str = ""
    samples: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class StoreReport:
    """Accounts for every span expected in one store. All counts are of spans, except ``traces``, ``looked_for`` and the calls.

    ``spans`` is the sum of the `SUMMED` counts. ``cut`` spans have texts that end early, and no other difference;
    ``changed`` ones differ otherwise. ``dead_lettered``, ``refused`` and ``unreadable`` spans never were delivered, and
    ``pending`` ones are not yet. ``looked_for`` counts the traces that were searched for. ``notes`` are lines on limits of
    the proof. If the store could not be asked, ``error`` says why, and what was not asked about counts as nothing.
    """

    name: str
    at: str
    traces: int = 0
    spans: int = 0
    intact: int = 0
    cut: int = 0
    changed: int = 0
    missing: int = 0
    dead_lettered: int = 0
    refused: int = 0
    unreadable: int = 0
    pending: int = 0
    duplicated: int = 0
    foreign: int = 0
    hidden: int = 0
    looked_for: int = 0
    read_back_calls: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: BridgeError | None = None

    @property
    def exit_code(self) -> int:
        """Return 0 if every span is intact and found once, 3 if any is not, else the code of ``error``.

        Foreign spans change nothing: other programs may write to the same store.
        """
        if self.error is not None:
            return self.error.exit_code
        return 0 if self.spans == self.intact and not (self.duplicated or self.hidden) else 3


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of `Bridge.verify`. ``netra_calls`` are the calls to Netra, 0 if the state proved everything."""

    window: Window | None
    destinations: tuple[StoreReport, ...]
    netra_calls: int
    seconds: float

    @property
    def read_back_calls(self) -> int:
        """Return the number of requests to all stores."""
        return sum(one.read_back_calls for one in self.destinations)

    @property
    def exit_code(self) -> int:
        """Return 0 if every span is intact, 3 if any is not, else the code of the first store that could not be asked."""
        codes = [one.exit_code for one in self.destinations]
        return next((code for code in codes if code not in (0, 3)), max(codes, default=0))
