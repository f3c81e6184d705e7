"""Read past usage: what tenants used in each step of a range, as counters that start at 0.

    tenants -> totals of each step -> readings, tenant by tenant in order of time -> a file, or an exporter

The usage calls are the reference: one call per tenant and step. If the key allows dashboard calls, and their values add
up to those of the usage calls, they return a tenant's whole range at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Literal, TypeVar

from netra_otel_bridge.convert import instant_ns
from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import NetraError, NetraSchemaError, NotKnown, UsageError
from netra_otel_bridge.core.model.dashboards import FilterConfig, Metrics, Point
from netra_otel_bridge.core.model.netra import TenantUsageData
from netra_otel_bridge.core.model.query import TraceFilter, Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.pipeline.windows import split
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.usage.totals import UsageTotals, totals_of

MAX_SAMPLES = 1_000_000
"""Maximum samples of one backfill: tenants times steps. More suggest a mistyped step or range."""
CHART_STEPS: dict[int, Literal["minute", "hour", "day"]] = {
    60 * NS_PER_S: "minute",
    3600 * NS_PER_S: "hour",
    86400 * NS_PER_S: "day",
}
"""The steps that dashboard calls support. They begin at full minutes, hours and days in UTC."""
MEASURES = (
    Metrics("Total Tokens", "Total Count"),
    Metrics("Request Count", "Total Count"),
    Metrics("Total Cost", "Total Count"),
)
CONCURRENT_CHARTS = 4
"""Maximum number of tenants whose charts are requested, and held in memory, at the same time."""
COST_TOLERANCE = 1e-6
"""Tolerance between two sums of the same rounded costs, in US dollars per step and as a fraction."""
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UsageReading:
    """The usage of a tenant at ``time_ns``, counted from the start of the range."""

    tenant_id: str
    time_ns: int
    total: UsageTotals


class UsageBackfill:
    """Reads the usage of ``tenants`` in each step of ``whole``, once, with at most ``concurrency`` calls in flight.

    Steps are counted from the start of the range; the last one ends with the range. ``totals`` are the totals read so
    far. ``differing`` are the tenants whose steps do not add up to Netra's total of the range. ``calls`` is the number
    of usage calls; with dashboard calls, it takes about five calls per tenant. Raises `UsageError` for more than
    `MAX_SAMPLES`.
    """

    def __init__(
        self, client: AsyncNetraClient, tenants: Sequence[str], whole: Window, step_ns: int, concurrency: int
    ) -> None:
        self.steps = count_steps(whole, step_ns, len(tenants))
        self.calls = len(tenants) * (self.steps + 1)
        self.totals: dict[str, UsageTotals] = {}
        self.differing: list[str] = []
        self._client = client
        self._tenants = tenants
        self._whole = whole
        self._step_ns = step_ns
        self._concurrency = concurrency
        self._reported: dict[str, UsageTotals] = {}
        self._use_charts = self.steps > 1 and step_ns in CHART_STEPS and whole.start_ns % step_ns == 0

    async def check(self, *, known: bool) -> None:
        """Request the usage of each tenant for the whole range.

        Raises `NetraError`. If the caller named the tenants (``known``), also raises `NotKnown` for one that Netra lacks.
        """
        calls = (partial(self._ask, tenant, self._whole) for tenant in self._tenants)
        async with aclosing(in_order(calls, self._concurrency)) as responses:
            async for tenant, _, usage in responses:
                if usage is None and known:
                    raise NotKnown(
                        f"Netra knows no usage of tenant {tenant!r} in this range", hint="check the id and the range"
                    )
                self._reported[tenant] = totals_of(usage)

    async def readings(self) -> AsyncGenerator[UsageReading, None]:
        """Yield 0 at the start of the range, then the sum at the end of each step, tenant by tenant in order of time.

        Call `check` first. Raises `NetraError`, and `NetraSchemaError` for a total below 0, because counters never go
        down.
        """
        calls = (partial(self._chart_totals, tenant) for tenant in self._tenants)
        async with aclosing(in_order(calls, CONCURRENT_CHARTS)) as charts:
            async for tenant, charted in charts:
                total = self.totals[tenant] = UsageTotals()
                yield UsageReading(tenant, self._whole.start_ns, total)
                async with aclosing(self._step_totals(tenant, charted)) as steps:
                    async for window, used in steps:
                        total = self.totals[tenant] = total + used
                        yield UsageReading(tenant, window.end_ns, total)
                if not await self._agrees(tenant, total):
                    self.differing.append(tenant)
        if self.differing:
            _log.warning(
                "%d tenants, among them %r: the steps do not add up to what Netra reports for the whole range. Either "
                "usage is still arriving (end the range earlier), or Netra counts some of it in two steps",
                len(self.differing),
                self.differing[0],
            )

    async def _step_totals(
        self, tenant: str, charted: list[UsageTotals] | None
    ) -> AsyncGenerator[tuple[Window, UsageTotals], None]:
        """Yield each step of a tenant with its usage, from ``charted`` or, without it, from one usage call per step."""
        windows = split(self._whole, self._step_ns)
        if charted is not None:
            for window, used in zip(windows, charted, strict=True):
                yield window, used
            return
        calls = (partial(self._ask, tenant, window) for window in windows)
        async with aclosing(in_order(calls, self._concurrency)) as responses:
            async for _, window, usage in responses:
                used = totals_of(usage)
                if used != used.positive():
                    raise NetraSchemaError(
                        f"tenant {tenant!r}: Netra's usage from {iso_ms(window.start_ns)} to "
                        f"{iso_ms(window.end_ns)} is below 0, and a counter cannot go down",
                        hint="exclude that time from the range, or name only the other tenants with --tenant",
                    )
                yield window, used

    async def _ask(self, tenant: str, window: Window) -> tuple[str, Window, TenantUsageData | None]:
        usage = await self._client.get_tenant_usage(tenant, iso_ms(window.start_ns), iso_ms(window.end_ns))
        return tenant, window, usage

    async def _chart_totals(self, tenant: str) -> tuple[str, list[UsageTotals] | None]:
        """Return a tenant's steps from the dashboard calls, or ``None`` if the usage calls must be made."""
        if not self._use_charts:
            return tenant, None
        try:
            series = await asyncio.gather(*(self._chart(tenant, measure) for measure in MEASURES))
        except NetraError as error:
            if self._use_charts:
                self._use_charts = False
                _log.warning("reading usage step by step, without dashboard calls: %s", error.message)
            return tenant, None
        if None in series:
            return tenant, None
        tokens, requests, costs = (one or [] for one in series)
        charted = [UsageTotals(*one) for one in zip(tokens, requests, map(float, costs), strict=True)]
        return tenant, charted if await self._matches_usage_calls(tenant, charted) else None

    async def _chart(self, tenant: str, measure: Metrics) -> list[int | float] | None:
        """Return one value per step, or ``None`` if the chart has points outside those steps or below 0."""
        start, end = iso_ms(self._whole.start_ns), iso_ms(self._whole.end_ns)
        conditions = [TraceFilter("tenant_id", tenant)]
        data = await self._client.dashboard.query_data(
            "Spans",
            "Line Time Series",
            measure,
            FilterConfig(start, end, CHART_STEPS[self._step_ns], conditions),
        )
        return self._by_step(data.series or [])

    def _by_step(self, points: Iterable[Point]) -> list[int | float] | None:
        values: list[int | float] = [0] * self.steps
        for point in points:
            if not point.value:
                continue
            at_ns = instant_ns(point.date)
            if at_ns is None or point.value < 0:
                return None
            step, rest_ns = divmod(at_ns - self._whole.start_ns, self._step_ns)
            if rest_ns or not 0 <= step < self.steps:
                return None
            values[step] += point.value
        return values

    async def _matches_usage_calls(self, tenant: str, charted: list[UsageTotals]) -> bool:
        """Return whether the usage calls report the same for the range and for the step with most tokens."""
        most = max(range(self.steps), key=lambda step: (charted[step].tokens, charted[step].cost))
        start_ns = self._whole.start_ns + most * self._step_ns
        _, _, usage = await self._ask(tenant, Window(start_ns, min(start_ns + self._step_ns, self._whole.end_ns)))
        if _equal(charted[most], totals_of(usage)) and await self._agrees(tenant, sum(charted, UsageTotals())):
            return True
        _log.info("tenant %r: dashboard values differ from the usage calls; using the usage calls", tenant)
        return False

    async def _agrees(self, tenant: str, total: UsageTotals) -> bool:
        """Return whether ``total`` is Netra's total of the whole range. If they differ, request that total once more."""
        if not _equal(total, self._reported[tenant], self.steps):
            _, _, usage = await self._ask(tenant, self._whole)
            self._reported[tenant] = totals_of(usage)
        return _equal(total, self._reported[tenant], self.steps)


def count_steps(whole: Window, step_ns: int, tenants: int = 1) -> int:
    """Return the number of steps in a range. Raises `UsageError` if all ``tenants`` have more than `MAX_SAMPLES`."""
    steps = -(-(whole.end_ns - whole.start_ns) // step_ns)
    if steps * tenants > MAX_SAMPLES:
        raise UsageError(
            f"{steps:,} steps of {tenants:,} tenants are more than {MAX_SAMPLES:,} samples",
            hint="use a longer --step or a shorter range, or name tenants with --tenant",
        )
    return steps


async def in_order(calls: Iterable[Callable[[], Awaitable[T]]], concurrency: int) -> AsyncGenerator[T, None]:
    """Yield the result of each call, in their order, with at most ``concurrency`` in flight.

    The first error is raised and cancels the others; so does closing the iterator.
    """
    begun: deque[asyncio.Future[T]] = deque()
    remaining: Iterator[Callable[[], Awaitable[T]] | None] = chain(calls, [None])
    try:
        for call in remaining:
            while begun and (call is None or len(begun) >= concurrency):
                yield await begun[0]
                begun.popleft()
            if call is not None:
                begun.append(asyncio.ensure_future(call()))
    finally:
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)


def _equal(one: UsageTotals, other: UsageTotals, responses: int = 1) -> bool:
    """Return whether totals are equal, except for the rounding of costs in this many responses."""
    return (
        math.isclose(one.tokens, other.tokens, rel_tol=1e-12)
        and math.isclose(one.requests, other.requests, rel_tol=1e-12)
        and math.isclose(one.cost, other.cost, rel_tol=COST_TOLERANCE, abs_tol=COST_TOLERANCE * responses)
    )
