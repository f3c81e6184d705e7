"""Past usage at its own time: what tenants used in each step of a range, as counters that begin with 0.

    tenants -> figures of each step -> readings, tenant by tenant in the order of time -> a file, or an exporter

The usage calls are the reference, one for each tenant and step. Where the dashboard calls are open and their figures
add up to the usage call's, they answer a tenant's whole range at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
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
from netra_otel_bridge.usage.openmetrics import UsageReading
from netra_otel_bridge.usage.totals import UsageTotals, totals_of

MAX_SAMPLES = 1_000_000
"""Figures of one backfill, tenants times steps: beyond that, a step or a range was mistyped."""
CHARTED: dict[int, Literal["minute", "hour", "day"]] = {
    60 * NS_PER_S: "minute",
    3600 * NS_PER_S: "hour",
    86400 * NS_PER_S: "day",
}
"""The steps that dashboard calls know; they begin at full minutes, hours and days of UTC."""
MEASURES = (
    Metrics("Total Tokens", "Total Count"),
    Metrics("Request Count", "Total Count"),
    Metrics("Total Cost", "Total Count"),
)
CHARTED_TENANTS = 4
"""Tenants whose charts are asked for, and held in memory, at the same time."""
COST_TOLERANCE = 1e-6
"""US dollars a step, and their share, by which two sums of the same costs may differ: each answer is rounded."""
T = TypeVar("T")
_log = logging.getLogger(__name__)


class PastUsage:
    """The usage of ``tenants`` in each step of ``whole``, with at most ``concurrency`` calls at once; read it once.

    Steps are counted from the start of the range; the last one ends with it. ``totals`` are what was read so far,
    ``differing`` the tenants whose steps do not add up to Netra's own figure of the range. ``calls`` are those that the
    usage calls take; with dashboard calls it is some five a tenant. Raises `UsageError` for more than `MAX_SAMPLES`.
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
        self._charts = step_ns in CHARTED and whole.start_ns % step_ns == 0

    async def check(self, *, known: bool) -> None:
        """Ask for the whole range of each tenant. Raises `NetraError`, and `NotKnown` if all should be ``known``."""
        works = (partial(self._ask, tenant, self._whole) for tenant in self._tenants)
        async with aclosing(in_order(works, self._concurrency)) as answers:
            async for tenant, _, usage in answers:
                if usage is None and known:
                    raise NotKnown(
                        f"Netra knows no usage of tenant {tenant!r} in this range", hint="check the id and the range"
                    )
                self._reported[tenant] = totals_of(usage)

    async def readings(self) -> AsyncGenerator[UsageReading, None]:
        """Tenant by tenant, in the order of time: 0 at the start of the range, then the sum at the end of each step.

        Call `check` first. Raises `NetraError`; `NetraSchemaError` also for a figure below 0, as counters never go
        down.
        """
        works = (partial(self._charted, tenant) for tenant in self._tenants)
        async with aclosing(in_order(works, CHARTED_TENANTS)) as charted:
            async for tenant, figures in charted:
                total = self.totals[tenant] = UsageTotals()
                yield UsageReading(tenant, self._whole.start_ns, total)
                async with aclosing(self._figures(tenant, figures)) as steps:
                    async for window, used in steps:
                        total = self.totals[tenant] = total + used
                        yield UsageReading(tenant, window.end_ns, total)
                if not await self._agrees(tenant, total):
                    self.differing.append(tenant)
        if self.differing:
            _log.warning(
                "%d of the tenants, the first %r: the steps do not add up to what Netra reports of the whole range; "
                "usage may still be arriving (end the range earlier), or Netra counts some of it in two steps",
                len(self.differing),
                self.differing[0],
            )

    async def _figures(
        self, tenant: str, charted: list[UsageTotals] | None
    ) -> AsyncGenerator[tuple[Window, UsageTotals], None]:
        """The steps of a tenant with what was used in each."""
        windows = split(self._whole, self._step_ns)
        if charted is not None:
            for window, used in zip(windows, charted, strict=True):
                yield window, used
            return
        works = (partial(self._ask, tenant, window) for window in windows)
        async with aclosing(in_order(works, self._concurrency)) as answers:
            async for _, window, usage in answers:
                used = totals_of(usage)
                if used != used.positive():
                    raise NetraSchemaError(
                        f"tenant {tenant!r}: Netra's figures from {iso_ms(window.start_ns)} to "
                        f"{iso_ms(window.end_ns)} are below 0, and a counter cannot go down",
                        hint="leave that time out, or name the other tenants with --tenant",
                    )
                yield window, used

    async def _ask(self, tenant: str, window: Window) -> tuple[str, Window, TenantUsageData | None]:
        usage = await self._client.get_tenant_usage(tenant, iso_ms(window.start_ns), iso_ms(window.end_ns))
        return tenant, window, usage

    async def _charted(self, tenant: str) -> tuple[str, list[UsageTotals] | None]:
        """A tenant's steps from the dashboard calls; ``None`` where the usage calls have to be asked."""
        if not self._charts or self.steps < 2:
            return tenant, None
        try:
            series = await asyncio.gather(*(self._chart(tenant, measure) for measure in MEASURES))
        except NetraError as error:
            if self._charts:
                self._charts = False
                _log.warning("usage is read step by step, without dashboard calls: %s", error.message)
            return tenant, None
        if None in series:
            return tenant, None
        tokens, requests, costs = (one or [] for one in series)
        figures = [UsageTotals(*one) for one in zip(tokens, requests, map(float, costs), strict=True)]
        return tenant, figures if await self._is_usage(tenant, figures) else None

    async def _chart(self, tenant: str, measure: Metrics) -> list[int | float] | None:
        """One value for each step; ``None`` for a chart whose points are not those steps."""
        start, end = iso_ms(self._whole.start_ns), iso_ms(self._whole.end_ns)
        conditions = [TraceFilter("tenant_id", tenant)]
        data = await self._client.dashboard.query_data(
            "Spans",
            "Line Time Series",
            measure,
            FilterConfig(start, end, CHARTED[self._step_ns], conditions),
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

    async def _is_usage(self, tenant: str, figures: list[UsageTotals]) -> bool:
        """Whether a tenant's charts are what the usage calls say of the range and of the step with most tokens."""
        most = max(range(self.steps), key=lambda step: (figures[step].tokens, figures[step].cost))
        start_ns = self._whole.start_ns + most * self._step_ns
        _, _, usage = await self._ask(tenant, Window(start_ns, min(start_ns + self._step_ns, self._whole.end_ns)))
        if _equal(figures[most], totals_of(usage)) and await self._agrees(tenant, sum(figures, UsageTotals())):
            return True
        _log.info("tenant %r: its dashboard figures are not those of the usage calls, which are asked instead", tenant)
        return False

    async def _agrees(self, tenant: str, total: UsageTotals) -> bool:
        """Whether a sum of all steps is Netra's figure of the whole range, which is asked for again if it is not."""
        if not _equal(total, self._reported[tenant], self.steps):
            _, _, usage = await self._ask(tenant, self._whole)
            self._reported[tenant] = totals_of(usage)
        return _equal(total, self._reported[tenant], self.steps)


def count_steps(whole: Window, step_ns: int, tenants: int = 1) -> int:
    """How many steps a range has. Raises `UsageError` where that is more than `MAX_SAMPLES` for all ``tenants``."""
    steps = -(-(whole.end_ns - whole.start_ns) // step_ns)
    if steps * tenants > MAX_SAMPLES:
        raise UsageError(
            f"{steps:,} steps of {tenants:,} tenants are more than {MAX_SAMPLES:,} samples",
            hint="take a longer --step, a shorter range, or name tenants with --tenant",
        )
    return steps


async def in_order(works: Iterable[Callable[[], Awaitable[T]]], at_once: int) -> AsyncGenerator[T, None]:
    """What each of ``works`` answers, in their order, while ``at_once`` of them are under way.

    The first error is raised, and ends the others; so does closing the iterator.
    """
    begun: deque[asyncio.Future[T]] = deque()
    rest: Iterator[Callable[[], Awaitable[T]] | None] = chain(works, [None])
    try:
        for work in rest:
            while begun and (work is None or len(begun) >= at_once):
                yield await begun[0]
                begun.popleft()
            if work is not None:
                begun.append(asyncio.ensure_future(work()))
    finally:
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)


def _equal(one: UsageTotals, other: UsageTotals, answers: int = 1) -> bool:
    """Whether figures are the same, up to what ``answers`` rounded ones may differ in cost."""
    return (
        math.isclose(one.tokens, other.tokens, rel_tol=1e-12)
        and math.isclose(one.requests, other.requests, rel_tol=1e-12)
        and math.isclose(one.cost, other.cost, rel_tol=COST_TOLERANCE, abs_tol=COST_TOLERANCE * answers)
    )
