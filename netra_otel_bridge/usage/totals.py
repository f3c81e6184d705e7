"""Totals of tokens, requests and cost."""

from __future__ import annotations

import msgspec

from netra_otel_bridge.core.model.netra import SessionUsageData, TenantUsageData

OTHER = "other"
"""The label of everything beyond the budget of label sets."""


class UsageTotals(msgspec.Struct, frozen=True):
    """Tokens, requests, and cost in US dollars."""

    tokens: int | float = 0
    requests: int | float = 0
    cost: float = 0.0

    def __add__(self, other: UsageTotals) -> UsageTotals:
        return UsageTotals(self.tokens + other.tokens, self.requests + other.requests, self.cost + other.cost)

    def __sub__(self, other: UsageTotals) -> UsageTotals:
        return UsageTotals(self.tokens - other.tokens, self.requests - other.requests, self.cost - other.cost)

    def positive(self) -> UsageTotals:
        """Each of the three, or 0 if it is negative."""
        return self.at_least(UsageTotals())

    def at_least(self, floor: UsageTotals) -> UsageTotals:
        """Each of the three, or what ``floor`` has if that is more."""
        return UsageTotals(
            max(self.tokens, floor.tokens), max(self.requests, floor.requests), max(self.cost, floor.cost)
        )


def totals_of(usage: TenantUsageData | SessionUsageData | None) -> UsageTotals:
    """What a usage call answered; nothing at all for what Netra does not know in that time."""
    return UsageTotals() if usage is None else UsageTotals(usage.token_count, usage.request_count, usage.total_cost)


class Counted(msgspec.Struct, frozen=True):
    """Two counters: what was used, and what of it Netra took back later."""

    used: UsageTotals = UsageTotals()
    corrected: UsageTotals = UsageTotals()

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.used + other.used, self.corrected + other.corrected)

    def __sub__(self, other: Counted) -> Counted:
        return Counted(self.used - other.used, self.corrected - other.corrected)

    def at_least(self, floor: Counted) -> Counted:
        """Each figure, or what ``floor`` has if that is more."""
        return Counted(self.used.at_least(floor.used), self.corrected.at_least(floor.corrected))
