"""Turn totals that may shrink into counters that never go down, by tenant: pure arithmetic.

Netra returns a total for a tenant and a time range. The total grows while the range is open, may grow a little after
that, and can shrink. For each open period the ledger keeps the latest total, the usage from before counting began, and
the decreases. So at every moment

    used - corrected = Netra's totals of all periods - usage from before counting began

and neither ``used`` nor ``corrected`` (`Counted`) ever goes down. That includes the last digit of a float, because
Prometheus treats any decrease as a reset: the ledger remembers the highest value that each label set has shown, and
never shows less.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Literal

import msgspec

from netra_otel_bridge.core.clock import CLOCK_OFF_NS, NS_PER_S
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import datetime_ns
from netra_otel_bridge.usage.totals import OTHER, Counted, UsageTotals

PeriodLength = Literal["month", "day"]
PROMOTED_AT = 2.0
"""A tenant that costs more than this many times as much as the cheapest tenant with a label set takes that label set."""
NOISE = 1e-9
"""The fraction by which a total may fall without being a correction.

A sum of floats depends on the order of addition.
"""


class PeriodAccount(msgspec.Struct):
    """An open period of a tenant.

    ``total`` is Netra's latest total, requested at ``asked_ns`` (0: not yet). ``before`` is the part of it used before
    counting began, ``corrected`` the sum of its decreases.
    """

    start_ns: int
    end_ns: int
    total: UsageTotals = UsageTotals()
    sessions: int | float = 0
    before: UsageTotals = UsageTotals()
    corrected: UsageTotals = UsageTotals()
    asked_ns: int = 0

    def counted(self) -> Counted:
        """Return what this period adds to the counters."""
        return Counted(self.total - self.before + self.corrected, self.corrected)

    def begin(self, before: UsageTotals) -> None:
        """Exclude ``before`` from the counters. Call it once, before the first `update`."""
        self.before = self.total = before

    def update(self, total: UsageTotals, sessions: float, asked_ns: int) -> None:
        """Replace Netra's total. A decrease becomes a correction."""
        if 0 < self.total.cost - total.cost <= NOISE * self.total.cost:
            total = UsageTotals(total.tokens, total.requests, self.total.cost)
        self.corrected += (self.total - total).positive()
        self.total, self.sessions, self.asked_ns = total, sessions, asked_ns


class TenantAccount(msgspec.Struct):
    """One tenant, counted since ``origin_ns``.

    ``own`` tells whether it has its own label set or is part of `OTHER`. ``shown`` tells whether that label set has
    shown its starting value: Prometheus counts from the first value that it sees, so the usage below a higher first
    value would be lost. ``seen_ns`` is when a trace of the tenant was last listed. ``closed`` is what closed periods
    added. ``switched`` is what had been counted when the label set last changed, ``own_before`` what its own label set
    showed until then. ``floor`` is the highest value that its own label set has shown.
    """

    tenant_id: str
    origin_ns: int
    own: bool = True
    shown: bool = False
    seen_ns: int = 0
    closed: Counted = Counted()
    switched: Counted = Counted()
    own_before: Counted = Counted()
    floor: Counted = Counted()
    periods: list[PeriodAccount] = []

    def counted(self) -> Counted:
        """Return all that was counted."""
        return sum((period.counted() for period in self.periods), self.closed)

    def since_switch(self) -> Counted:
        """Return what was counted since the label set last changed."""
        return self.counted() - self.switched

    def own_counters(self) -> Counted:
        """Return what its own label set shows."""
        counters = self.own_before + self.since_switch() if self.own and self.shown else self.own_before
        return counters.at_least(self.floor)

    def recent(self) -> UsageTotals:
        """Return the usage in all open periods."""
        return sum((period.total for period in self.periods), UsageTotals())

    def open_periods(self, now_ns: int, length: PeriodLength, grace_ns: int) -> None:
        """Make ``periods`` those that are open at ``now_ns``: the current one, and earlier ones that can still grow.

        A period closes once Netra was asked for it after its grace period, which ends ``grace_ns`` after the period.
        """
        from_ns = self.periods[-1].end_ns if self.periods else min(now_ns, max(self.origin_ns, now_ns - grace_ns))
        for window in periods_between(from_ns, now_ns, length):
            self.periods.append(PeriodAccount(window.start_ns, window.end_ns))
        while self.periods[0].end_ns + grace_ns <= self.periods[0].asked_ns:
            self.closed += self.periods.pop(0).counted()

    def forget_future(self, now_ns: int, latest_ns: int) -> bool:
        """Correct times after ``latest_ns``, which a wrong clock has told. Return whether counting had gone ahead.

        If so, what was counted stays, and counting continues at ``now_ns``.
        """
        if self.seen_ns > latest_ns:
            self.seen_ns = now_ns
        for period in self.periods:
            if period.asked_ns > latest_ns:
                period.asked_ns = now_ns
        if not self.periods or self.periods[-1].start_ns <= latest_ns:
            return False
        self.closed, self.periods, self.origin_ns = self.counted(), [], now_ns
        return True

    def close_periods(self) -> None:
        """Close all periods as they are, because their length changes.

        Continue counting from when they were last requested.
        """
        self.origin_ns = max([self.origin_ns, *(period.asked_ns for period in self.periods)])
        self.closed, self.periods = self.counted(), []


class LedgerHead(msgspec.Struct):
    """The ledger's state beside its tenants.

    Counting began at ``origin_ns`` (0: not yet). Every tenant with a trace since ``tenants_since_ns`` is known. Traces
    from ``looked_back_ns`` to ``discovered_ns`` were searched for tenants; the search continues back to
    ``look_back_to_ns``. ``period`` is the length of the periods. ``other_shown`` tells whether `OTHER` has shown its
    starting value, ``other_before`` is what tenants left behind in it, and ``other_floor`` the highest value that it
    has shown.
    """

    origin_ns: int = 0
    tenants_since_ns: int = 0
    discovered_ns: int = 0
    looked_back_ns: int = 0
    look_back_to_ns: int = 0
    period: PeriodLength = "month"
    other_shown: bool = False
    other_before: Counted = Counted()
    other_floor: Counted = Counted()


class Ledger:
    """All tenants of a source.

    The followed tenants are those ``named``, or all if none is. ``limit`` of them have their own label sets. The other
    accounts stay unchanged until they are followed again.
    """

    def __init__(
        self, head: LedgerHead, accounts: Iterable[TenantAccount], limit: int, named: Collection[str] = ()
    ) -> None:
        self.head = head
        self.tenants = {account.tenant_id: account for account in accounts}
        self._limit = limit
        self._named = frozenset(named)

    def begin(self, now_ns: int, length: PeriodLength) -> None:
        """Start counting at ``now_ns``, with a search for tenants back to the start of the period."""
        current = next(periods_between(now_ns, now_ns, length))
        self.head = LedgerHead(now_ns, now_ns, now_ns, now_ns, current.start_ns, length)

    def forget_future(self, now_ns: int, latest_ns: int) -> int:
        """Correct what a wrong clock recorded for a time after ``latest_ns``. Return how many tenants had such usage."""
        latest_ns += CLOCK_OFF_NS
        head = self.head
        for name in ("origin_ns", "tenants_since_ns", "discovered_ns", "looked_back_ns", "look_back_to_ns"):
            if getattr(head, name) > latest_ns:
                setattr(head, name, now_ns)
        return sum(account.forget_future(now_ns, latest_ns) for account in self.tenants.values())

    def use_periods(self, length: PeriodLength) -> None:
        """Count in periods of this length from now on. If that is a change, close all open periods."""
        if self.head.period != length:
            for account in self.tenants.values():
                account.close_periods()
            self.head.period = length

    def followed(self) -> list[TenantAccount]:
        """Return the accounts of the followed tenants."""
        return [one for one in self.tenants.values() if self._is_followed(one)]

    def _is_followed(self, account: TenantAccount) -> bool:
        return not self._named or account.tenant_id in self._named

    def account(self, tenant_id: str, origin_ns: int) -> TenantAccount:
        """Return the account of a tenant. A new one counts from ``origin_ns``."""
        account = self.tenants.get(tenant_id)
        if account is None:
            owners = (one for one in self.tenants.values() if one.own and self._is_followed(one))
            own = tenant_id != OTHER and sum(1 for _ in islice(owners, self._limit)) < self._limit
            account = self.tenants[tenant_id] = TenantAccount(tenant_id, origin_ns, own=own)
        return account

    def others(self) -> list[TenantAccount]:
        """Return the accounts without their own label set."""
        return [account for account in self.tenants.values() if not account.own]

    def other_counters(self) -> Counted | None:
        """Return what `OTHER` shows, or ``None`` if no tenant was ever part of it."""
        others = self.others()
        if not others and self.head.other_before == Counted():
            return None
        counters = sum((one.since_switch() for one in others), self.head.other_before)
        return (counters if self.head.other_shown else Counted()).at_least(self.head.other_floor)

    def mark_shown(self, labels: Collection[str]) -> None:
        """Mark these label sets as having shown their starting value, so that they may count."""
        for account in self.tenants.values():
            account.shown |= account.own and account.tenant_id in labels
        self.head.other_shown |= OTHER in labels

    def remember_shown(self) -> None:
        """Make what each label set shows now its lower bound."""
        for account in self.tenants.values():
            account.floor = account.own_counters()
        self.head.other_floor = self.other_counters() or self.head.other_floor

    def rank(self) -> list[TenantAccount]:
        """Give the label sets to the tenants that cost most. Return the tenants whose label set changed.

        Call it before anything new is counted, so that whatever was counted stays in the label set that shows it. A
        tenant keeps its label set until another costs more than `PROMOTED_AT` times as much.
        """
        owners = sorted((one for one in self.followed() if one.own), key=_cost)
        others = sorted((one for one in self.followed() if not one.own and one.tenant_id != OTHER), key=_cost)
        excess = max(0, len(owners) - self._limit)
        changed, owners = owners[:excess], owners[excess:]
        free = self._limit - len(owners)
        promoted = others[len(others) - min(free, len(others)) :]
        changed += promoted
        rest = others[: len(others) - len(promoted)]
        for cheapest, costliest in zip(owners, reversed(rest), strict=False):
            if _cost(costliest) <= PROMOTED_AT * _cost(cheapest):
                break
            changed += [cheapest, costliest]
        for account in changed:
            self._switch(account)
        return changed

    def forget(self, account: TenantAccount) -> None:
        """End the tenant's series. What it had counted in `OTHER` stays there."""
        if not account.own:
            self.head.other_before += account.since_switch()
        del self.tenants[account.tenant_id]

    def _switch(self, account: TenantAccount) -> None:
        """Move a tenant between its own label set and `OTHER`.

        Usage counted so far stays in the label set that it was counted in, even if that has not shown it yet.
        """
        if account.own and account.shown:
            account.own_before += account.since_switch()
        else:
            self.head.other_before += account.since_switch()
        account.switched, account.own, account.shown = account.counted(), not account.own, False


def _cost(account: TenantAccount) -> float:
    return account.recent().cost


def periods_between(start_ns: int, end_ns: int, length: PeriodLength) -> Iterator[Window]:
    """Yield the UTC months or days that have begun by ``end_ns``, from the one that contains ``start_ns``."""
    begin = datetime.fromtimestamp(start_ns // NS_PER_S, UTC).replace(hour=0, minute=0, second=0)
    begin = begin.replace(day=1) if length == "month" else begin
    while datetime_ns(begin) <= end_ns:
        following = begin + timedelta(days=1)
        if length == "month":
            following = (begin + timedelta(days=31)).replace(day=1)
        yield Window(datetime_ns(begin), datetime_ns(following))
        begin = following
