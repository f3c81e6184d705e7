"""Usage as OpenTelemetry instruments: names, units, help texts, and how to read each value from a `UsageView`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, Literal, TypeVar

from netra_otel_bridge.convert.semconv import TENANT_ID
from netra_otel_bridge.usage.counters import COUNTERS
from netra_otel_bridge.usage.totals import UsageTotals
from netra_otel_bridge.usage.view import ChartValue, PeriodTotals, UsageView

T = TypeVar("T")
Value = tuple[float, dict[str, str]]
Read = Callable[[UsageTotals], int | float]


@dataclass(frozen=True, slots=True)
class Instrument(Generic[T]):
    """One metric: name, kind, unit, help text, and how to read its values from a ``T``."""

    name: str
    kind: Literal["counter", "gauge"]
    unit: str
    description: str
    read: Callable[[T], Iterable[Value]]


def _used(read: Read) -> Callable[[UsageView], Iterator[Value]]:
    def values(view: UsageView) -> Iterator[Value]:
        for tenant_id, counted in view.counters:
            yield read(counted.used), {TENANT_ID: tenant_id}

    return values


def _corrected(read: Read) -> Callable[[UsageView], Iterator[Value]]:
    def values(view: UsageView) -> Iterator[Value]:
        for tenant_id, counted in view.counters:
            yield read(counted.corrected), {TENANT_ID: tenant_id}

    return values


def _periods(read: Callable[[PeriodTotals], int | float]) -> Callable[[UsageView], Iterator[Value]]:
    def values(view: UsageView) -> Iterator[Value]:
        for period in view.periods:
            yield read(period), {TENANT_ID: period.tenant_id, "netra.usage.period": period.period}

    return values


def _sessions(read: Read) -> Callable[[UsageView], Iterator[Value]]:
    def values(view: UsageView) -> Iterator[Value]:
        for session in view.sessions:
            tenant = {TENANT_ID: session.tenant_id} if session.tenant_id else {}
            yield read(session.totals), {"session.id": session.session_id, **tenant}

    return values


def _charts(name: str) -> Callable[[UsageView], Iterator[Value]]:
    def values(view: UsageView) -> Iterator[Value]:
        for chart in view.charts:
            if chart.name == name:
                yield chart.value, _chart_attributes(chart)

    return values


def _chart_attributes(chart: ChartValue) -> dict[str, str]:
    quantile = {"quantile": chart.quantile} if chart.quantile else {}
    return {"netra.dimension": chart.dimension, "netra.dimension.value": chart.dimension_value, **quantile}


def _replayed(read: Read) -> Callable[[UsageView], Iterator[Value]]:
    def values(view: UsageView) -> Iterator[Value]:
        for one in view.replayed:
            yield read(one.replayed), {"destination": one.destination, TENANT_ID: one.tenant_id}

    return values


def _unreplayed(read: Read) -> Callable[[UsageView], Iterator[Value]]:
    def values(view: UsageView) -> Iterator[Value]:
        for one in view.replayed:
            yield read(one.reported - one.replayed), {"destination": one.destination, TENANT_ID: one.tenant_id}

    return values


_REPLAYED = [counter for counter in COUNTERS if counter.measure != "requests"]
"""The measures that the bridge sums over spans. Requests are not among them."""
USAGE_COUNTERS: tuple[Instrument[UsageView], ...] = (
    *(
        Instrument(counter.name, "counter", counter.unit, counter.description, _used(counter.read))
        for counter in COUNTERS
    ),
    *(
        Instrument(
            f"netra.usage.corrections.{counter.measure}",
            "counter",
            counter.unit,
            f"Corrections by Netra: subtract from {counter.name} to get net usage",
            _corrected(counter.read),
        )
        for counter in COUNTERS
    ),
)
"""Counters that export their starting value before they count: `Telemetry.show` reports when they were collected."""
USAGE_GAUGES: tuple[Instrument[UsageView], ...] = (
    *(
        Instrument(
            f"netra.usage.period.{measure}",
            "gauge",
            unit,
            f"{subject} by each tenant in the current period (month to date) and the previous one, "
            "as reported by Netra",
            _periods(attrgetter(path)),
        )
        for measure, unit, subject, path in (
            *((counter.measure, counter.unit, counter.subject, f"totals.{counter.measure}") for counter in COUNTERS),
            ("sessions", "{session}", "Sessions run", "sessions"),
        )
    ),
    Instrument(
        "netra.usage.budget",
        "gauge",
        "USD",
        "Configured budget of each tenant for one period",
        lambda view: [(dollars, {TENANT_ID: tenant_id}) for tenant_id, dollars in view.budgets],
    ),
    *(
        Instrument(
            f"netra.usage.session.{counter.measure}",
            "gauge",
            counter.unit,
            f"{counter.subject} in the current period by the sessions that cost most lately; "
            "all others are summed as other",
            _sessions(counter.read),
        )
        for counter in COUNTERS
    ),
    *(
        Instrument(
            f"netra.dashboard.{name}",
            "gauge",
            unit,
            f"{subject}, over the last hour, by service, model, environment",
            _charts(name),
        )
        for name, unit, subject in (
            ("latency", "s", "Span duration percentiles"),
            ("error.ratio", "1", "Share of spans that failed, 0 to 1"),
            *((counter.measure, counter.unit, counter.subject) for counter in COUNTERS),
            ("pii", "{detection}", "Personal data detected by Netra"),
            ("violations", "{violation}", "Policy violations detected by Netra"),
        )
    ),
    *(
        Instrument(
            f"netra_bridge.replayed.{counter.measure}",
            "gauge",
            counter.unit,
            f"{counter.subject} by each tenant, summed over delivered spans, for the whole hours of this month",
            _replayed(counter.read),
        )
        for counter in _REPLAYED
    ),
    *(
        Instrument(
            f"netra_bridge.unreplayed.{counter.measure}",
            "gauge",
            counter.unit,
            f"Netra's figure minus netra_bridge.replayed.{counter.measure} for the same hours; 0 is good",
            _unreplayed(counter.read),
        )
        for counter in _REPLAYED
    ),
    Instrument(
        "netra_bridge.usage.label_sets",
        "gauge",
        "{tenant}",
        "Tenants with their own series, tenants summed as other, and tenants whose usage calls fail (failed)",
        lambda view: [(count, {"netra.label_set": label}) for label, count in view.label_sets.items()],
    ),
)
