"""What was used, as OpenTelemetry instruments: names, units, help texts, and how each is read off a `UsageView`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from netra_otel_bridge.convert.semconv import TENANT_ID
from netra_otel_bridge.usage.totals import Counted, UsageTotals
from netra_otel_bridge.usage.view import ChartFigure, UsageView

T = TypeVar("T")
Value = tuple[float, dict[str, str]]
_UNITS = {"tokens": "{token}", "requests": "{request}", "cost": "USD"}
_WHAT = {
    "tokens": "Tokens used",
    "requests": "Requests to models made",
    "cost": "US dollars spent on models",
}


@dataclass(frozen=True, slots=True)
class Instrument(Generic[T]):
    """One figure: how it is called, what it says to people, and how it is read off a ``T``."""

    name: str
    kind: Literal["counter", "gauge"]
    unit: str
    description: str
    read: Callable[[T], Iterable[Value]]


def _counters(part: Callable[[Counted], UsageTotals], measure: str) -> Callable[[UsageView], Iterator[Value]]:
    def values(view: UsageView) -> Iterator[Value]:
        for tenant_id, counted in view.counters:
            yield getattr(part(counted), measure), {TENANT_ID: tenant_id}

    return values


def _periods(measure: str) -> Callable[[UsageView], Iterator[Value]]:
    def values(view: UsageView) -> Iterator[Value]:
        for one in view.periods:
            figure = one.sessions if measure == "sessions" else getattr(one.figures, measure)
            yield figure, {TENANT_ID: one.tenant_id, "netra.usage.period": one.period}

    return values


def _sessions(measure: str) -> Callable[[UsageView], Iterator[Value]]:
    def values(view: UsageView) -> Iterator[Value]:
        for one in view.sessions:
            tenant = {TENANT_ID: one.tenant_id} if one.tenant_id else {}
            yield getattr(one.figures, measure), {"session.id": one.session_id, **tenant}

    return values


def _charts(name: str) -> Callable[[UsageView], Iterator[Value]]:
    def values(view: UsageView) -> Iterator[Value]:
        for one in view.charts:
            if one.name == name:
                yield one.figure, _chart_attributes(one)

    return values


def _chart_attributes(one: ChartFigure) -> dict[str, str]:
    quantile = {"quantile": one.quantile} if one.quantile else {}
    return {"netra.dimension": one.dimension, "netra.dimension.value": one.value, **quantile}


def _replayed(measure: str, *, missing: bool) -> Callable[[UsageView], Iterator[Value]]:
    def values(view: UsageView) -> Iterator[Value]:
        for one in view.replayed:
            figures = one.reported - one.replayed if missing else one.replayed
            yield getattr(figures, measure), {"destination": one.destination, TENANT_ID: one.tenant_id}

    return values


USAGE_COUNTERS: tuple[Instrument[UsageView], ...] = (
    *(
        Instrument(
            f"netra.usage.{measure}",
            "counter",
            _UNITS[measure],
            f"{what} by each tenant, as reported by Netra, since the bridge began counting",
            _counters(lambda counted: counted.used, measure),
        )
        for measure, what in _WHAT.items()
    ),
    *(
        Instrument(
            f"netra.usage.corrections.{measure}",
            "counter",
            _UNITS[measure],
            f"Corrections by Netra: subtract from netra.usage.{measure} to get net usage",
            _counters(lambda counted: counted.corrected, measure),
        )
        for measure in _WHAT
    ),
)
"""They show where they start before they count: `Telemetry.show` says that they were collected."""
USAGE_GAUGES: tuple[Instrument[UsageView], ...] = (
    *(
        Instrument(
            f"netra.usage.period.{measure}",
            "gauge",
            unit,
            f"{what} by each tenant in the current period (month to date) and the previous one, as reported by Netra",
            _periods(measure),
        )
        for measure, what, unit in (
            *((measure, what, _UNITS[measure]) for measure, what in _WHAT.items()),
            ("sessions", "Sessions run", "{session}"),
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
            f"netra.usage.session.{measure}",
            "gauge",
            _UNITS[measure],
            f"{what} in the current period by the sessions that cost most lately; all others are summed as other",
            _sessions(measure),
        )
        for measure, what in _WHAT.items()
    ),
    *(
        Instrument(f"netra.dashboard.{name}", "gauge", unit, f"{what}, over the last hour, by service, model, environment",
                   _charts(name))
        for name, unit, what in (
            ("latency", "s", "Span duration percentiles"),
            ("error.ratio", "1", "Share of spans that failed, 0 to 1"),
            *((measure, unit, _WHAT[measure]) for measure, unit in _UNITS.items()),
            ("pii", "{detection}", "Personal data detected by Netra"),
            ("violations", "{violation}", "Policy violations detected by Netra"),
        )
    ),
    *(
        Instrument(
            f"netra_bridge.replayed.{measure}",
            "gauge",
            _UNITS[measure],
            f"{_WHAT[measure]} by each tenant, summed over delivered spans, for the whole hours of this month",
            _replayed(measure, missing=False),
        )
        for measure in ("tokens", "cost")
    ),
    *(
        Instrument(
            f"netra_bridge.unreplayed.{measure}",
            "gauge",
            _UNITS[measure],
            f"Netra's figure minus netra_bridge.replayed.{measure} for the same hours; 0 is good",
            _replayed(measure, missing=True),
        )
        for measure in ("tokens", "cost")
    ),
    Instrument(
        "netra_bridge.usage.label_sets",
        "gauge",
        "{tenant}",
        "Tenants with their own series, tenants summed as other, and tenants whose usage calls fail (failed)",
        lambda view: [(count, {"netra.label_set": label}) for label, count in view.label_sets.items()],
    ),
)  # fmt: skip
