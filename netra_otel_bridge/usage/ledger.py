"""What tenants used, as counters that never go down, from totals that may: pure arithmetic.

Netra answers a total for a tenant and a range of time; it grows while the range is open, grows a little after it, and
can shrink. Of each open period the latest total is kept, with what was used before counting began and what Netra took
back. So at every moment

    used - corrected = what Netra says of all periods - what was used before counting began

and neither ``used`` nor ``corrected`` ever goes down (`Counted`): not by the last digit of a float either, which Prometheus
would take for a new beginning. So what was shown is remembered, and nothing below it is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Literal

import msgspec

from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import datetime_ns
from netra_otel_bridge.usage.totals import OTHER, Counted, UsageTotals

PeriodLength = Literal["month", "day"]
PROMOTED_AT = 2.0
"""How many times the cost of the cheapest tenant with a label set of its own another must have, to take its place."""
NOISE = 1e-9
"""A share of a total by which it may fall without meaning anything: sums of floats come out as they are added up."""


class PeriodAccount(msgspec.Struct):
    """A period that is open. ``total`` is Netra's latest figure, of ``asked_ns``, 0 before the first; ``before`` was used
    before counting began."""

    start_ns: int
    end_ns: int
    total: UsageTotals = UsageTotals()
    sessions: int | float = 0
    before: UsageTotals = UsageTotals()
    corrected: UsageTotals = UsageTotals()
    asked_ns: int = 0

    def counted(self) -> Counted:
        """What this period adds to the counters."""
        return Counted(self.total - self.before + self.corrected, self.corrected)

    def begin(self, before: UsageTotals) -> None:
        """Nothing of ``before`` counts. To be called once, before the first `update`."""
        self.before = self.total = before

    def update(self, total: UsageTotals, sessions: float, asked_ns: int) -> None:
        """Netra says ``total`` now."""
        if 0 < self.total.cost - total.cost <= NOISE * self.total.cost:
            total = UsageTotals(total.tokens, total.requests, self.total.cost)
        self.corrected += (self.total - total).positive()
        self.total, self.sessions, self.asked_ns = total, sessions, asked_ns


class TenantAccount(msgspec.Struct):
    """One tenant, counted since ``origin_ns``. ``own`` says whether it has a label set of its own, or is part of `OTHER`.

    ``shown`` says whether its label set has shown where it starts: Prometheus takes the first value it sees of a counter
    for its start, so a value that is shown at once does not count. ``seen_ns`` is when a trace of the tenant was last
    listed. ``closed`` is what closed periods added, ``switched`` what was counted when the label set last changed,
    ``own_before`` what its own label set showed until then. ``floor`` is the most that it ever showed.
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
        """All that was counted."""
        return sum((period.counted() for period in self.periods), self.closed)

    def share(self) -> Counted:
        """What its label set has from it, since the label set last changed."""
        return self.counted() - self.switched

    def own_counters(self) -> Counted:
        """What its own label set shows."""
        counters = self.own_before + self.share() if self.own and self.shown else self.own_before
        return counters.at_least(self.floor)

    def recent(self) -> UsageTotals:
        """What was used in all periods that are open."""
        return sum((period.total for period in self.periods), UsageTotals())

    def open_periods(self, now_ns: int, length: PeriodLength, grace_ns: int) -> None:
        """Make ``periods`` those that are open at ``now_ns``: the present one and those before that can still grow.

        Those that ended ``grace_ns`` ago, and were asked for since, move to ``closed``.
        """
        from_ns = self.periods[-1].end_ns if self.periods else min(now_ns, max(self.origin_ns, now_ns - grace_ns))
        for window in periods_between(from_ns, now_ns, length):
            self.periods.append(PeriodAccount(window.start_ns, window.end_ns))
        while self.periods[0].end_ns + grace_ns <= self.periods[0].asked_ns:
            self.closed += self.periods.pop(0).counted()

    def close_periods(self) -> None:
        """Close all periods as they are, and count on from when they were last asked for: they are to be others now."""
        self.origin_ns = max([self.origin_ns, *(period.asked_ns for period in self.periods)])
        self.closed, self.periods = self.counted(), []


class LedgerHead(msgspec.Struct):
    """What is known beside the tenants. Counting began at ``origin_ns``, 0 for not yet. Every tenant with a trace since
    ``tenants_since_ns`` is known; traces were looked through for tenants from ``looked_back_ns`` to ``discovered_ns``.
    ``look_back_to_ns`` is how far that is to go. ``period`` is what periods are. ``other_before`` is what tenants left behind
    in `OTHER`, ``other_floor`` the most that it ever showed."""

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
    """All tenants of a source. Those that are followed are ``named``, if any are, else all; ``limit`` of them have label
    sets of their own. The others stay as they are until they are followed again."""

    def __init__(
        self, head: LedgerHead, accounts: Iterable[TenantAccount], limit: int, named: Collection[str] = ()
    ) -> None:
        self.head = head
        self.tenants = {account.tenant_id: account for account in accounts}
        self._limit = limit
        self._named = frozenset(named)

    def followed(self) -> list[TenantAccount]:
        """The tenants that are followed."""
        return [one for one in self.tenants.values() if self._is_followed(one)]

    def _is_followed(self, account: TenantAccount) -> bool:
        return not self._named or account.tenant_id in self._named

    def account(self, tenant_id: str, origin_ns: int) -> TenantAccount:
        """The account of a tenant; a new one counts from ``origin_ns`` on."""
        account = self.tenants.get(tenant_id)
        if account is None:
            owners = (one for one in self.tenants.values() if one.own and self._is_followed(one))
            own = tenant_id != OTHER and sum(1 for _ in islice(owners, self._limit)) < self._limit
            account = self.tenants[tenant_id] = TenantAccount(tenant_id, origin_ns, own=own)
        return account

    def others(self) -> list[TenantAccount]:
        """The tenants that have no label set of their own."""
        return [account for account in self.tenants.values() if not account.own]

    def other_counters(self) -> Counted | None:
        """What `OTHER` shows; ``None`` if no tenant ever was part of it."""
        others = self.others()
        if not others and self.head.other_before == Counted():
            return None
        counters = sum((one.share() for one in others), self.head.other_before)
        return (counters if self.head.other_shown else Counted()).at_least(self.head.other_floor)

    def remember_shown(self) -> None:
        """What all label sets show now is the least that they show from now on."""
        for account in self.tenants.values():
            account.floor = account.own_counters()
        self.head.other_floor = self.other_counters() or self.head.other_floor

    def rank(self) -> list[TenantAccount]:
        """Give the label sets to those who cost most; returns the tenants whose label set changed.

        To be called before anything new is counted: what was counted last is in the label set that shows it. A tenant keeps its label set until another costs `PROMOTED_AT` times as much.
        """
        owners = sorted((one for one in self.followed() if one.own), key=_cost)
        others = sorted((one for one in self.followed() if not one.own and one.tenant_id != OTHER), key=_cost)
        excess = max(0, len(owners) - self._limit)
        changed, owners = owners[:excess], owners[excess:]
        free = self._limit - len(owners)
        promoted = others[len(others) - min(free, len(others)) :]
        changed += promoted
        rest = others[: len(others) - len(promoted)]
        for cheapest, dearest in zip(owners, reversed(rest), strict=False):
            if _cost(dearest) <= PROMOTED_AT * _cost(cheapest):
                break
            changed += [cheapest, dearest]
        for account in changed:
            self._switch(account)
        return changed

    def forget(self, account: TenantAccount) -> None:
        """The tenant's series end; what it had in `OTHER` stays there."""
        if not account.own:
            self.head.other_before += account.share()
        del self.tenants[account.tenant_id]

    def _switch(self, account: TenantAccount) -> None:
        """Between its own label set and `OTHER`: what was counted so far stays where it was shown, or was to be."""
        if account.own and account.shown:
            account.own_before += account.share()
        else:
            self.head.other_before += account.share()
        account.switched, account.own, account.shown = account.counted(), not account.own, False


def _cost(account: TenantAccount) -> float:
    return account.recent().cost


def periods_between(start_ns: int, end_ns: int, length: PeriodLength) -> Iterator[Window]:
    """The UTC months or days that have begun by ``end_ns``, from the one on in which ``start_ns`` lies."""
    begin = datetime.fromtimestamp(start_ns // NS_PER_S, UTC).replace(hour=0, minute=0, second=0)
    begin = begin.replace(day=1) if length == "month" else begin
    while datetime_ns(begin) <= end_ns:
        following = begin + timedelta(days=1)
        if length == "month":
            following = (begin + timedelta(days=31)).replace(day=1)
        yield Window(datetime_ns(begin), datetime_ns(following))
        begin = following
