"""The usage counters, each declared once: ``run`` exports them live, ``usage backfill`` writes them for the past."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from netra_otel_bridge.usage.totals import UsageTotals


@dataclass(frozen=True, slots=True)
class UsageCounter:
    """A counter of one measure of `UsageTotals`.

    ``name`` is its OpenTelemetry name, ``unit`` a UCUM unit (``{...}`` counts things), ``subject`` the name of the
    measure in help texts, and ``read`` returns its value.
    """

    measure: str
    unit: str
    subject: str
    read: Callable[[UsageTotals], int | float]

    @property
    def name(self) -> str:
        return f"netra.usage.{self.measure}"

    @property
    def description(self) -> str:
        return f"{self.subject} by each tenant, as reported by Netra, since the bridge began counting"


COUNTERS = (
    UsageCounter("tokens", "{token}", "Tokens used", attrgetter("tokens")),
    UsageCounter("requests", "{request}", "Requests to models made", attrgetter("requests")),
    UsageCounter("cost", "USD", "US dollars spent on models", attrgetter("cost")),
)
