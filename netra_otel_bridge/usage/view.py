"""What was used, and what is shown of it: the values between the usage lane and the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from netra_otel_bridge.usage.totals import Counted, UsageTotals


@dataclass(frozen=True, slots=True)
class PeriodTotals:
    """What a tenant, or `OTHER`, used in a period: ``current``, or ``previous`` while that can still grow."""

    tenant_id: str
    period: str
    figures: UsageTotals
    sessions: int | float


@dataclass(frozen=True, slots=True)
class SessionTotals:
    """What a session, or `OTHER`, used in the current period."""

    session_id: str
    tenant_id: str | None
    figures: UsageTotals


@dataclass(frozen=True, slots=True)
class ChartFigure:
    """One value of a dashboard query, for ``value`` of a ``dimension`` (``service``, ``model``, ``environment``).

    ``name`` is that of the gauge; ``quantile`` is empty but for percentiles.
    """

    name: str
    dimension: str
    value: str
    figure: float
    quantile: str = ""


@dataclass(frozen=True, slots=True)
class ReplayedTotals:
    """What the spans that a destination has had add up to for a tenant, and what Netra reports for the same hours."""

    destination: str
    tenant_id: str
    replayed: UsageTotals
    reported: UsageTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageView:
    """All that is shown of usage at one moment. ``counters`` are by tenant; ``budgets`` in US dollars a period.

    ``label_sets`` counts tenants and sessions by whether they have a label set of their own. ``polled_ns`` is when all
    that was due was last asked for, 0 for never.
    """

    origin_ns: int = 0
    counters: tuple[tuple[str, Counted], ...] = ()
    periods: tuple[PeriodTotals, ...] = ()
    budgets: tuple[tuple[str, float], ...] = ()
    sessions: tuple[SessionTotals, ...] = ()
    charts: tuple[ChartFigure, ...] = ()
    replayed: tuple[ReplayedTotals, ...] = ()
    label_sets: dict[str, int] = field(default_factory=dict)
    polled_ns: int = 0
