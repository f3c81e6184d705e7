"""Meter usage: find the tenants, request what each used, count, record, export.

    traces listed -> tenants -> usage calls -> ledger -> recorded -> shown

Values are recorded before they are exported, so a counter never restarts below a value that it has shown, whenever the
process dies. Tenants without new traces are polled less often.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from zlib import crc32

import msgspec

from netra_otel_bridge.core.clock import HOUR_NS, NS_PER_MS, Clock
from netra_otel_bridge.core.errors import NetraError, NetraUnauthorized
from netra_otel_bridge.core.model.netra import TenantUsageData
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.state import MeterState
from netra_otel_bridge.usage.charts import DashboardCharts
from netra_otel_bridge.usage.discovery import Discovery
from netra_otel_bridge.usage.ledger import (
    Ledger,
    LedgerHead,
    PeriodAccount,
    PeriodLength,
    TenantAccount,
    periods_between,
)
from netra_otel_bridge.usage.sessions import SessionCosts, ask_each, ask_sessions
from netra_otel_bridge.usage.totals import OTHER, UsageTotals, totals_of
from netra_otel_bridge.usage.view import ChartValue, SessionTotals, UsageView, period_totals, view_of

IDLE_POLLS = 20
"""A tenant without new traces, and a period that ended an hour ago, are polled once in this many polls."""
CHART_POLLS = 5
"""Sessions and charts are read once in this many polls."""
FAILED_POLLS = 5
"""A tenant whose usage calls fail, while others succeed, is polled once in this many polls."""
SHOW_S = 3.0
"""Interval at which answers are shown while others are still outstanding."""
FORGET_NS = 62 * 24 * HOUR_NS
"""A tenant is forgotten when none of its traces was listed for this long and it used nothing lately."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterOptions:
    """The tenants, sessions and periods to meter.

    ``tenants`` are the tenants to meter, empty for those found in the traces. ``tenant_limit`` of them get their own
    series; ``sessions`` sessions are shown. ``lookback_ns`` is the longest delay after which a trace of a new tenant is
    still found, ``grace_ns`` the time after its end during which a period may grow, and ``announce_s`` the time for
    which a new series shows its starting value. ``budgets`` are US dollars per period by tenant, ``*`` for any other.
    """

    tenants: tuple[str, ...] = ()
    tenant_limit: int = 500
    sessions: int = 0
    period: PeriodLength = "month"
    lookback_ns: int = 24 * HOUR_NS
    grace_ns: int = 72 * HOUR_NS
    announce_s: float = 75.0
    budgets: Mapping[str, float] = field(default_factory=dict)


class Meter:
    """Meters the tenants of one source. Each `poll` replaces ``view``, which may be read on any thread.

    ``now_ns`` returns the time that both Netra's clock and this machine's have reached, so a jump of one of them ends no
    period. ``latest_ns`` returns the time that one of them has reached: what was recorded as later is corrected. Raises
    `StateError`.
    """

    def __init__(
        self,
        client: AsyncNetraClient,
        state: MeterState,
        options: MeterOptions,
        *,
        now_ns: Callable[[], int],
        latest_ns: Callable[[], int],
        clock: Clock,
    ) -> None:
        self.view = UsageView()
        self._client = client
        self._state = state
        self._options = options
        self._now_ns = now_ns
        self._latest_ns = latest_ns
        self._clock = clock
        self._polls = 0
        self._failed: set[str] = set()
        self._collected: dict[str, float] = {}
        self._charts = DashboardCharts(client, clock)
        self._chart_values: tuple[ChartValue, ...] = ()
        self._sessions = SessionCosts()
        self._session_totals: tuple[SessionTotals, ...] = ()
        head, self._recorded = state.read()
        self._ledger = Ledger(
            LedgerHead() if head is None else msgspec.json.decode(head, type=LedgerHead),
            (msgspec.json.decode(record, type=TenantAccount) for record in self._recorded.values()),
            options.tenant_limit,
            options.tenants,
        )
        self._ledger.use_periods(options.period)
        sessions = self._sessions if options.sessions else None
        self._discovery = Discovery(client, self._ledger, options.tenants, sessions, options.lookback_ns, clock)
        self.view = self._current_view(self._rounded_now_ns())

    def collected(self, label: str) -> None:
        """Record that the counters of this label set were collected. May be called on any thread."""
        self._collected.setdefault(label, self._clock.monotonic())

    async def poll(self) -> None:
        """Request the usage that is due, record it, and export it.

        Responses are recorded and shown even if other calls failed. Afterwards the first `NetraError` is raised, unless
        only single tenants failed: these are counted (`UsageView.label_sets`) and polled again later. Raises
        `StateError`, and then shows nothing new.
        """
        now_ns = self._rounded_now_ns()
        if not self._ledger.head.origin_ns:
            self._ledger.begin(now_ns, self._options.period)
        if later := self._ledger.forget_future(now_ns, self._latest_ns()):
            _log.warning(
                "the usage of %d tenants was recorded for a time that has not come, so a clock was wrong; counting on "
                "from now: what was used meanwhile is in the totals of the period, but not in the counters",
                later,
            )
        for account in self._ledger.rank():
            self._collected.pop(account.tenant_id, None)
        error = await self._ask_and_show(now_ns)
        self._update_tenants(now_ns)
        await self._publish(now_ns)
        self._polls += 1
        if error is not None:
            raise error
        self.view = replace(self.view, polled_ns=now_ns)

    def _rounded_now_ns(self) -> int:
        return self._now_ns() // NS_PER_MS * NS_PER_MS

    async def _ask_and_show(self, now_ns: int) -> NetraError | None:
        """Request all usage that is due, and meanwhile show what was answered: one slow call keeps no tenant waiting."""
        asking = asyncio.create_task(self._ask(now_ns))
        try:
            while not (await asyncio.wait({asking}, timeout=SHOW_S))[0]:
                await self._publish(now_ns)
        finally:
            asking.cancel()
            await asyncio.wait({asking})
        return asking.result()

    async def _publish(self, now_ns: int) -> None:
        """Make all changes durable, then show these."""
        view = self._current_view(now_ns)
        await self._record()
        self.view = replace(view, polled_ns=self.view.polled_ns)

    async def _ask(self, now_ns: int) -> NetraError | None:
        """Request all usage that is due. Return the first error; when the key is rejected, skip the rest."""
        first: NetraError | None = None
        charts = [self._ask_charts] if self._polls % CHART_POLLS == 0 else []
        for ask in (self._discover, self._ask_tenants, *charts):
            try:
                await ask(now_ns)
            except NetraUnauthorized as error:
                return error
            except NetraError as error:
                first = first or error
        return first

    async def _discover(self, now_ns: int) -> None:
        await self._discovery.discover(now_ns, self._polls)

    async def _ask_tenants(self, now_ns: int) -> None:
        """Request the usage of all periods that are due.

        Raises `NetraError` if the key is rejected or no tenant's calls succeed.
        """
        due = list(self._due(now_ns))
        errors = await ask_each([partial(self._ask_period, account, period, now_ns) for account, period in due])
        first = next(iter(errors.values()), None)
        rejected = next((error for error in errors.values() if isinstance(error, NetraUnauthorized)), None)
        asked = {account.tenant_id for account, _ in due}
        failed = {due[index][0].tenant_id for index in errors}
        well_before = asked - self._failed
        all_failed = well_before <= failed if well_before else len(failed) == len(self._ledger.followed())
        if first is not None and (rejected is not None or all_failed):
            raise rejected or first
        if failed - self._failed:
            _log.warning("cannot read the usage of %d of %d tenants, first error: %s", len(failed), len(asked), first)
        self._failed = (self._failed - asked) | failed

    def _due(self, now_ns: int) -> Iterator[tuple[TenantAccount, PeriodAccount]]:
        """Yield the periods to request now."""
        options = self._options
        for account in self._ledger.followed():
            account.open_periods(now_ns, options.period, options.grace_ns)
            number = crc32(account.tenant_id.encode("utf-8", "surrogatepass")) + self._polls
            if account.tenant_id in self._failed and number % FAILED_POLLS:
                continue
            turn = number % IDLE_POLLS == 0
            for period in account.periods:
                if period.end_ns + HOUR_NS > now_ns:
                    due = account.seen_ns > period.asked_ns or bool(options.tenants)
                else:
                    due = period.asked_ns < period.end_ns + HOUR_NS or period.end_ns + options.grace_ns <= now_ns
                # a total up to an earlier time would look like a correction, after a clock was set back
                is_later = period.start_ns < now_ns and min(period.asked_ns, period.end_ns) <= now_ns
                if (due or turn or not period.asked_ns) and is_later:
                    yield account, period

    async def _ask_period(self, account: TenantAccount, period: PeriodAccount, now_ns: int) -> None:
        before = None
        if not period.asked_ns and period.start_ns < account.origin_ns:
            before = await self._tenant_usage(account.tenant_id, period.start_ns, account.origin_ns)
        usage = await self._tenant_usage(account.tenant_id, period.start_ns, min(now_ns, period.end_ns))
        if before is not None:
            period.begin(totals_of(before))
        if usage is None:
            period.asked_ns = now_ns
        else:
            period.update(totals_of(usage), usage.session_count, now_ns)

    async def _tenant_usage(self, tenant_id: str, start_ns: int, end_ns: int) -> TenantUsageData | None:
        return await self._client.get_tenant_usage(tenant_id, iso_ms(start_ns), iso_ms(end_ns))

    async def _ask_charts(self, now_ns: int) -> None:
        """Read the dashboards, and the most expensive sessions. Raises `NetraError`."""
        self._chart_values = await self._charts.read(now_ns)
        if self._options.sessions:
            await self._ask_sessions(now_ns)

    async def _ask_sessions(self, now_ns: int) -> None:
        """Request the usage of the most expensive sessions.

        The rest of the tenants' totals is `OTHER`. Raises `NetraError`.
        """
        count, sessions = self._options.sessions, self._sessions
        listed = sessions.highest(count, now_ns)
        charted = await self._charts.costliest_sessions(
            count, now_ns, lambda session_id: sessions.tenant_of(session_id) is not None
        )
        current = next(periods_between(now_ns, now_ns, self._options.period))
        found = await ask_sessions(
            self._client,
            listed if charted is None else charted,
            Window(current.start_ns, now_ns),
            sessions.tenant_of,
        )
        periods = period_totals(self._ledger, self._options.period, now_ns)
        total = sum((one.totals for one in periods if one.period == "current"), UsageTotals())
        rest = (total - sum((one.totals for one in found), UsageTotals())).positive()
        self._session_totals = (*found, SessionTotals(OTHER, None, rest))

    def _update_tenants(self, now_ns: int) -> None:
        """Forget tenants idle for `FORGET_NS`, and start counting in series that have shown their starting value."""
        for account in self._ledger.followed():
            idle = account.seen_ns < now_ns - FORGET_NS and account.recent() == UsageTotals()
            if idle and not self._options.tenants:
                self._ledger.forget(account)
        now_s, announce_s = self._clock.monotonic(), self._options.announce_s
        collected = list(self._collected.items())  # a copy, because exporters add to it on their own threads
        self._ledger.mark_shown({label for label, at_s in collected if now_s - at_s >= announce_s})
        self._ledger.remember_shown()

    async def _record(self) -> None:
        """Make all changes durable."""
        tenants = {tenant_id: msgspec.json.encode(one) for tenant_id, one in self._ledger.tenants.items()}
        changed: dict[str, bytes | None] = dict.fromkeys(self._recorded.keys() - tenants.keys())
        changed |= {tenant_id: one for tenant_id, one in tenants.items() if self._recorded.get(tenant_id) != one}
        await asyncio.to_thread(self._state.write, msgspec.json.encode(self._ledger.head), changed)
        self._recorded = tenants

    def _current_view(self, now_ns: int) -> UsageView:
        options = self._options
        return replace(
            view_of(self._ledger, options.period, now_ns, options.budgets, len(self._failed)),
            sessions=self._session_totals,
            charts=self._chart_values,
        )
