"""What was used, and what is shown of it: the values between the usage lane and the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from netra_otel_bridge.model import SessionUsageData, TenantUsageData

OTHER = "other"
"""The label of everything beyond the budget of label sets."""


class Figures(msgspec.Struct, frozen=True):
    """Tokens, requests, and cost in US dollars."""

    tokens: int | float = 0
    requests: int | float = 0
    cost: float = 0.0

    def __add__(self, other: Figures) -> Figures:
        return Figures(self.tokens + other.tokens, self.requests + other.requests, self.cost + other.cost)

    def __sub__(self, other: Figures) -> Figures:
        return Figures(self.tokens - other.tokens, self.requests - other.requests, self.cost - other.cost)

    def positive(self) -> Figures:
        """Each of the three, or 0 if it is negative."""
        return self.at_least(Figures())

    def at_least(self, floor: Figures) -> Figures:
        """Each of the three, or what ``floor`` has if that is more."""
        return Figures(max(self.tokens, floor.tokens), max(self.requests, floor.requests), max(self.cost, floor.cost))


def figures_of(usage: TenantUsageData | SessionUsageData | None) -> Figures:
    """What a usage call answered; nothing at all for what Netra does not know in that time."""
    return Figures() if usage is None else Figures(usage.token_count, usage.request_count, usage.total_cost)


class Counted(msgspec.Struct, frozen=True):
    """Two counters: what was used, and what of it Netra took back later."""

    used: Figures = Figures()
    corrected: Figures = Figures()

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.used + other.used, self.corrected + other.corrected)

    def __sub__(self, other: Counted) -> Counted:
        return Counted(self.used - other.used, self.corrected - other.corrected)

    def at_least(self, floor: Counted) -> Counted:
        """Each figure, or what ``floor`` has if that is more."""
        return Counted(self.used.at_least(floor.used), self.corrected.at_least(floor.corrected))


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    """What a tenant, or `OTHER`, used in a period: ``current``, or ``previous`` while that can still grow."""

    tenant_id: str
    period: str
    figures: Figures
    sessions: int | float


@dataclass(frozen=True, slots=True)
class SessionFigures:
    """What a session, or `OTHER`, used in the current period."""

    session_id: str
    tenant_id: str | None
    figures: Figures


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
class ReplayedFigures:
    """What the spans that a destination has had add up to for a tenant, and what Netra reports for the same hours."""

    destination: str
    tenant_id: str
    replayed: Figures
    reported: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageView:
    """All that is shown of usage at one moment. ``counters`` are by tenant; ``budgets`` in US dollars a period.

    ``label_sets`` counts tenants and sessions by whether they have a label set of their own. ``polled_ns`` is when all
    that was due was last asked for, 0 for never.
    """

    origin_ns: int = 0
    counters: tuple[tuple[str, Counted], ...] = ()
    periods: tuple[PeriodFigures, ...] = ()
    budgets: tuple[tuple[str, float], ...] = ()
    sessions: tuple[SessionFigures, ...] = ()
    charts: tuple[ChartFigure, ...] = ()
    replayed: tuple[ReplayedFigures, ...] = ()
    label_sets: dict[str, int] = field(default_factory=dict)
    polled_ns: int = 0
