"""Totals of tokens, requests and cost, and the counters made of them."""

from __future__ import annotations

import msgspec

from netra_otel_bridge.core.model.netra import SessionUsageData, TenantUsageData

OTHER = "other"
"""The label of everything that has no series of its own."""


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
        """Return these totals with each negative value replaced by 0."""
        return self.at_least(UsageTotals())

    def at_least(self, floor: UsageTotals) -> UsageTotals:
        """Return the larger of each value and its counterpart in ``floor``."""
        return UsageTotals(
            max(self.tokens, floor.tokens), max(self.requests, floor.requests), max(self.cost, floor.cost)
        )


def totals_of(usage: TenantUsageData | SessionUsageData | None) -> UsageTotals:
    """Return the totals in Netra's response, or zeros for ``None``: Netra knows no usage in that range."""
    return UsageTotals() if usage is None else UsageTotals(usage.token_count, usage.request_count, usage.total_cost)


class Counted(msgspec.Struct, frozen=True):
    """Two counters: the usage counted so far, and how much of it Netra later corrected downward."""

    used: UsageTotals = UsageTotals()
    corrected: UsageTotals = UsageTotals()

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.used + other.used, self.corrected + other.corrected)

    def __sub__(self, other: Counted) -> Counted:
        return Counted(self.used - other.used, self.corrected - other.corrected)

    def at_least(self, floor: Counted) -> Counted:
        """Return the larger of each value and its counterpart in ``floor``."""
        return Counted(self.used.at_least(floor.used), self.corrected.at_least(floor.corrected))
