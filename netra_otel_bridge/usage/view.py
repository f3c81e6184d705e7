"""The usage that is exported at one moment: the values between the meter and the metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from netra_otel_bridge.usage.ledger import Ledger, PeriodLength, periods_between
from netra_otel_bridge.usage.totals import OTHER, Counted, UsageTotals


@dataclass(frozen=True, slots=True)
class PeriodTotals:
    """The usage of a tenant, or of `OTHER`, in a period.

    ``period`` is ``current``, or ``previous`` while that one can still grow.
    """

    tenant_id: str
    period: str
    totals: UsageTotals
    sessions: int | float


@dataclass(frozen=True, slots=True)
class SessionTotals:
    """The usage of a session, or of `OTHER`, in the current period. ``tenant_id`` is ``None`` if it is not known."""

    session_id: str
    tenant_id: str | None
    totals: UsageTotals


@dataclass(frozen=True, slots=True)
class ChartValue:
    """One value of a dashboard query, for one value of a dimension (``service``, ``model``, ``environment``).

    ``name`` is the gauge's name after ``netra.dashboard.``; ``quantile`` is empty except for percentiles.
    """

    name: str
    dimension: str
    dimension_value: str
    value: float
    quantile: str = ""


@dataclass(frozen=True, slots=True)
class ReplayedTotals:
    """The usage of a tenant summed over the spans that a destination received, and Netra's total for the same hours."""

    destination: str
    tenant_id: str
    replayed: UsageTotals
    reported: UsageTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageView:
    """All usage that is exported at one moment.

    ``counters`` are by tenant, ``budgets`` US dollars per period by tenant. ``label_sets`` counts tenants: those with
    their own series, those summed as `OTHER`, and those whose usage calls fail. ``polled_ns`` is the time of the last
    complete poll, 0 before the first.
    """

    origin_ns: int = 0
    counters: tuple[tuple[str, Counted], ...] = ()
    periods: tuple[PeriodTotals, ...] = ()
    budgets: tuple[tuple[str, float], ...] = ()
    sessions: tuple[SessionTotals, ...] = ()
    charts: tuple[ChartValue, ...] = ()
    replayed: tuple[ReplayedTotals, ...] = ()
    label_sets: dict[str, int] = field(default_factory=dict)
    polled_ns: int = 0


def view_of(ledger: Ledger, period: PeriodLength, now_ns: int, budgets: Mapping[str, float], failed: int) -> UsageView:
    """Return what the ledger holds of the followed tenants.

    ``budgets`` are US dollars per period by tenant, ``*`` for any other. ``failed`` tenants are those whose usage calls
    fail. Sessions, charts, replayed totals and ``polled_ns`` stay empty.
    """
    tenants = ledger.followed()
    counters = [(account.tenant_id, account.own_counters()) for account in tenants if account.own]
    dollars = [(label, budgets.get(label, budgets.get("*"))) for label, _ in counters]
    other = ledger.other_counters()
    if other is not None:
        counters.append((OTHER, other))
    return UsageView(
        origin_ns=ledger.head.origin_ns,
        counters=tuple(counters),
        periods=tuple(period_totals(ledger, period, now_ns)),
        budgets=tuple((label, budget) for label, budget in dollars if budget is not None),
        label_sets={
            "own": sum(account.own for account in tenants),
            OTHER: sum(not account.own for account in tenants),
            "failed": failed,
        },
    )


def period_totals(ledger: Ledger, length: PeriodLength, now_ns: int) -> Iterator[PeriodTotals]:
    """Yield the current and the previous period of each followed tenant that Netra has reported on.

    Tenants without their own series are summed as `OTHER`.
    """
    others: dict[str, PeriodTotals] = {}
    current = next(periods_between(now_ns, now_ns, length))
    names = {current.end_ns: "current", current.start_ns: "previous"}
    for account in ledger.followed():
        for period in account.periods:
            name = names.get(period.end_ns)
            if name is None or not period.asked_ns:
                continue
            if account.own:
                yield PeriodTotals(account.tenant_id, name, period.total, period.sessions)
            else:
                other = others.get(name, PeriodTotals(OTHER, name, UsageTotals(), 0))
                others[name] = replace(
                    other, totals=other.totals + period.total, sessions=other.sessions + period.sessions
                )
    yield from others.values()
