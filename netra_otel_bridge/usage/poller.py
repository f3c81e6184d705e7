"""Poll the usage of tenants and sessions and Netra's dashboards, and compare usage with the delivered spans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from netra_otel_bridge.convert.semconv import TENANT_ID
from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import NetraError
from netra_otel_bridge.core.model.health import UsageHealth
from netra_otel_bridge.pipeline.polling import PollLoop
from netra_otel_bridge.pipeline.route import Route
from netra_otel_bridge.pipeline.watch import FollowerWatch
from netra_otel_bridge.source.netra_clock import NetraClock
from netra_otel_bridge.usage.ledger import periods_between
from netra_otel_bridge.usage.meter import Meter
from netra_otel_bridge.usage.reconcile import reconcile
from netra_otel_bridge.usage.totals import UsageTotals
from netra_otel_bridge.usage.view import ReplayedTotals, UsageView

RECONCILE_POLLS = 20
"""Delivered spans are compared with what Netra reports once in this many polls."""


class UsagePoller:
    """Polls usage until cancelled. A failed poll can be repeated safely, because Netra always returns totals."""

    def __init__(
        self,
        meter: Meter,
        routes: Sequence[Route],
        watch: FollowerWatch,
        *,
        poll_ns: int,
        clock: Clock,
        netra_clock: NetraClock,
        renew_key: Callable[[], int],
    ) -> None:
        self._meter = meter
        self._routes = routes
        self._watch = watch
        self._netra_clock = netra_clock
        self._loop = PollLoop(watch, poll_ns=poll_ns, clock=clock, renew_key=renew_key)
        self._started_ns = netra_clock.now_ns()
        self._polls = 0
        self._replayed: tuple[ReplayedTotals, ...] = ()

    async def run(self) -> None:
        """Poll until cancelled. Raises `StateError`, and any exception that is a defect."""
        while (error := await self._netra_clock.ask()) is not None:
            await self._loop.wait(error)
        await self._loop.run(self._poll)

    def view(self) -> UsageView:
        """Return all usage that is exported now. May be called on any thread."""
        return replace(self._meter.view, replayed=self._replayed)

    def collected(self, attributes: Mapping[str, str]) -> None:
        """Record that the counters with these attributes were collected. May be called on any thread."""
        self._meter.collected(attributes[TENANT_ID])

    def health(self) -> UsageHealth:
        """Return the state of polling."""
        return UsageHealth(
            started_ns=self._started_ns,
            problem=self._watch.problem,
            problem_since_ns=self._watch.problem_since_ns,
            polled_ns=self._meter.view.polled_ns,
        )

    async def _poll(self) -> NetraError | None:
        """Poll usage, and reconcile now and then; return the error of Netra that prevented it, if any."""
        try:
            await self._meter.poll()
            if self._polls % RECONCILE_POLLS == 0:
                await self._reconcile()
        except NetraError as error:
            return error
        self._polls += 1
        return None

    async def _reconcile(self) -> None:
        """Compare the cost that each destination received with the usage that Netra reports, for completed hours."""
        now_ns = self._netra_clock.safe_ns()
        month = next(periods_between(now_ns, now_ns, "month"))
        found: list[ReplayedTotals] = []
        for route in self._routes:
            for one in await reconcile(route.client, route.recorder, now_ns, month):
                replayed = UsageTotals(tokens=one.replayed_tokens, cost=one.replayed_cost)
                reported = UsageTotals(tokens=one.reported_tokens, cost=one.reported_cost)
                reported = replayed if one.agrees else reported
                found.append(ReplayedTotals(route.watch.name, one.tenant_id, replayed, reported))
        self._replayed = tuple(found)
