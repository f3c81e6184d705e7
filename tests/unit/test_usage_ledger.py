"""The ledger: counters never go down and agree with Netra, whatever happens to Netra's totals."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from netra_otel_bridge.core.clock import HOUR_NS
from netra_otel_bridge.core.time_text import datetime_ns
from netra_otel_bridge.usage.ledger import (
    NOISE,
    Ledger,
    LedgerHead,
    TenantAccount,
    periods_between,
)
from netra_otel_bridge.usage.totals import OTHER, Counted, UsageTotals
from tests.support.examples import examples

DAY_NS = 24 * HOUR_NS
GRACE_NS = 2 * DAY_NS
COUNTS = st.integers(0, 10**9)
MONEY = st.integers(0, 10**9).map(lambda micro: micro / 10**6)
TOTALS = st.builds(UsageTotals, COUNTS, COUNTS, MONEY)
FIELDS = ("tokens", "requests", "cost")


def ns(*when: int) -> int:
    return datetime_ns(datetime(*when, tzinfo=UTC))  # type: ignore[arg-type]


def same(one: UsageTotals, other: UsageTotals) -> bool:
    """Return whether two sums are equal up to `NOISE`."""
    return all(math.isclose(getattr(one, it), getattr(other, it), rel_tol=2 * NOISE, abs_tol=1e-9) for it in FIELDS)


def below(one: UsageTotals, other: UsageTotals) -> bool:
    """Return whether no value exceeds its counterpart, not even in the last digit."""
    return all(getattr(one, it) <= getattr(other, it) for it in FIELDS)


@pytest.mark.parametrize(
    ("start", "end", "length", "begins"),
    [
        ((2026, 11, 22, 9), (2026, 11, 22, 9), "month", [(2026, 11, 1)]),
        ((2025, 12, 31, 23), (2026, 2, 1), "month", [(2025, 12, 1), (2026, 1, 1), (2026, 2, 1)]),
        ((2024, 2, 28, 5), (2024, 3, 1, 1), "day", [(2024, 2, 28), (2024, 2, 29), (2024, 3, 1)]),
        ((2026, 12, 1), (2026, 11, 30), "month", []),
    ],
)
def test_periods(start: tuple[int, ...], end: tuple[int, ...], length: str, begins: list[tuple[int, ...]]) -> None:
    """Periods are UTC months and days, each ending where the next begins."""
    found = list(periods_between(ns(*start), ns(*end), length))  # type: ignore[arg-type]
    assert [one.start_ns for one in found] == [ns(*begin) for begin in begins]
    assert all(one.end_ns == after.start_ns for one, after in pairwise(found))


def test_a_month_ends() -> None:
    """Late usage of the previous month counts within the grace period; afterwards that month is closed and stays."""
    account = TenantAccount("t", 0)
    account.open_periods(ns(2026, 11, 30, 23), "month", GRACE_NS)
    (november,) = account.periods
    november.begin(UsageTotals(100, 10, 1.0))
    november.update(UsageTotals(150, 15, 1.5), 3, ns(2026, 11, 30, 23))
    account.open_periods(ns(2026, 12, 1, 1), "month", GRACE_NS)
    december = account.periods[-1]
    december.update(UsageTotals(7, 1, 0.5), 1, ns(2026, 12, 1, 1))
    november.update(UsageTotals(160, 16, 1.6), 3, ns(2026, 12, 1, 1))
    assert account.counted().used.tokens == 60 + 7
    account.open_periods(ns(2026, 12, 3, 1), "month", GRACE_NS)
    assert len(account.periods) == 2, "it was not requested after its grace period"
    november.update(UsageTotals(170, 17, 1.7), 3, ns(2026, 12, 3, 1))
    account.open_periods(ns(2026, 12, 3, 2), "month", GRACE_NS)
    assert account.periods == [december]
    assert account.counted().used.tokens == 70 + 7


def test_a_tenant_found_after_the_month_ended_has_both_months() -> None:
    """The tenant's usage between the start of counting and the end of the month counts."""
    account = TenantAccount("t", ns(2026, 11, 30, 12))
    account.open_periods(ns(2026, 12, 1, 1), "month", GRACE_NS)
    assert [one.start_ns for one in account.periods] == [ns(2026, 11, 1), ns(2026, 12, 1)]
    late = TenantAccount("late", ns(2026, 12, 1, 0))
    late.open_periods(ns(2026, 12, 1, 1), "month", GRACE_NS)
    assert [one.start_ns for one in late.periods] == [ns(2026, 12, 1)]


def test_after_months_without_a_bridge_no_month_is_missing() -> None:
    """The months in between are requested as soon as the bridge runs again."""
    account = TenantAccount("t", 0)
    account.open_periods(ns(2026, 8, 15), "month", GRACE_NS)
    account.periods[0].update(UsageTotals(1, 1, 1.0), 1, ns(2026, 8, 15))
    account.open_periods(ns(2026, 11, 15), "month", GRACE_NS)
    assert [datetime.fromtimestamp(one.start_ns / 1e9, UTC).month for one in account.periods] == [8, 9, 10, 11]


@given(st.lists(TOTALS, min_size=1), TOTALS)
def test_totals_that_rise_and_fall(totals: list[UsageTotals], before: UsageTotals) -> None:
    """Neither counter goes down, and their difference always equals Netra's total."""
    ledger = Ledger(LedgerHead(1, 1, 1, 1), [], 1)
    account = ledger.account("t", 0)
    account.shown = True
    account.open_periods(ns(2026, 11, 20), "month", GRACE_NS)
    (period,) = account.periods
    period.begin(before)
    last = Counted()
    for total in totals:
        period.update(total, 0, 1)
        counted = account.own_counters()
        ledger.remember_shown()
        assert below(last.used, counted.used)
        assert below(last.corrected, counted.corrected)
        assert same(counted.used - counted.corrected + before, total)
        last = counted


class LabelSets(RuleBasedStateMachine):
    """Tenants gain and lose label sets: no label set ever goes down, and together they show what tenants used."""

    @initialize(limit=st.integers(1, 4))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.ledger = Ledger(LedgerHead(1, 1, 1, 1), [], limit)
        self.used: dict[str, float] = {}
        self.forgotten = 0.0
        self.ended = 0.0
        self.last: dict[str, UsageTotals] = {}

    @rule(number=st.integers(0, 7), more=COUNTS)
    def use(self, number: int, more: int) -> None:
        tenant_id = f"t{number}"
        account = self.ledger.account(tenant_id, 0)
        account.open_periods(ns(2026, 11, 20), "month", GRACE_NS)
        (period,) = account.periods
        total = UsageTotals(period.total.tokens + more, 0, period.total.cost + more / 1000)
        period.update(total, 0, 1)
        self.used[tenant_id] = total.tokens

    @rule()
    def rank(self) -> None:
        owners_before = {one.tenant_id for one in self.ledger.tenants.values() if one.own}
        changed = self.ledger.rank()
        for account in changed:
            assert account.own == (account.tenant_id not in owners_before)
            self.last.pop(account.tenant_id, None)

    @rule()
    def everything_is_shown(self) -> None:
        for account in self.ledger.tenants.values():
            account.shown |= account.own
        self.ledger.head.other_shown = True

    @rule(limit=st.integers(1, 4))
    def restart(self, limit: int) -> None:
        """Restore everything from what is stored, perhaps with another limit."""
        accounts = [
            msgspec.json.decode(msgspec.json.encode(one), type=TenantAccount) for one in self.ledger.tenants.values()
        ]
        head = msgspec.json.decode(msgspec.json.encode(self.ledger.head), type=LedgerHead)
        self.ledger, self.limit = Ledger(head, accounts, limit), limit
        self.rank()

    @precondition(lambda self: self.ledger.others())
    @rule()
    def forget(self) -> None:
        account = self.ledger.others()[0]
        self.ended += account.own_before.used.tokens
        self.ledger.forget(account)
        self.forgotten += self.used.pop(account.tenant_id)

    @invariant()
    def never_down(self) -> None:
        shown = {one.tenant_id: one.own_counters().used for one in self.ledger.tenants.values() if one.own}
        other = self.ledger.other_counters()
        if other is not None:
            shown[OTHER] = other.used
        for label, used in shown.items():
            if label in self.last:
                assert below(self.last[label], used), label
        self.last = shown
        self.ledger.remember_shown()

    @invariant()
    def adds_up(self) -> None:
        tenants = self.ledger.tenants.values()
        assert sum(one.own for one in tenants) <= self.limit
        if all(one.shown for one in tenants if one.own) and self.ledger.head.other_shown:
            own = sum(one.own_counters().used.tokens for one in tenants)
            other = self.ledger.other_counters()
            assert self.ended + own + (other.used.tokens if other else 0) == sum(self.used.values()) + self.forgotten


LabelSets.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)
test_label_sets = LabelSets.TestCase


def test_the_most_expensive_get_the_label_sets() -> None:
    """A tenant that costs about as much as the cheapest owner waits; one that costs much more replaces it."""
    ledger = Ledger(LedgerHead(1, 1, 1, 1), [], 2)
    for tenant_id, cost in (("a", 10.0), ("b", 20.0), ("c", 15.0), ("d", 100.0)):
        account = ledger.account(tenant_id, 0)
        account.open_periods(ns(2026, 11, 20), "month", GRACE_NS)
        account.periods[0].update(UsageTotals(1, 1, cost), 1, 1)
    assert {one.tenant_id for one in ledger.rank()} == {"a", "d"}
    assert {one.tenant_id for one in ledger.tenants.values() if one.own} == {"b", "d"}
    assert ledger.rank() == []


def test_a_tenant_called_other_is_among_the_others() -> None:
    """The tenant's label would collide with that of the summed tenants, so it gets none."""
    ledger = Ledger(LedgerHead(1, 1, 1, 1), [], 5)
    assert not ledger.account(OTHER, 0).own
    ledger.rank()
    assert not ledger.tenants[OTHER].own
