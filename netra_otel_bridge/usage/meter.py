"""The usage lane: find the tenants, ask Netra what each used, count, record, show.

    traces listed -> tenants -> usage calls -> ledger -> recorded -> shown

What is shown was recorded before: a counter that somebody saw never starts again below that, whenever the process
dies. Which tenants there are is found by listing traces, as the usage calls list none; one without new traces is
asked for seldom.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from zlib import crc32

import msgspec

from netra_otel_bridge.convert.fields import instant_ns
from netra_otel_bridge.core.clock import HOUR_NS, NS_PER_MS, Clock
from netra_otel_bridge.core.errors import NetraError, NetraUnauthorized
from netra_otel_bridge.core.model.netra import TenantUsageData, TraceSummary
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.pipeline.listing import list_pages
from netra_otel_bridge.pipeline.windows import FAR_POLLS, MIDDLE_POLLS, NEAR_NS
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.endpoint import reaches_its_path
from netra_otel_bridge.state import MeterState
from netra_otel_bridge.usage.charts import LastHour
from netra_otel_bridge.usage.discovery import LOOK_BACK_PAGES, MAX_LISTED
from netra_otel_bridge.usage.ledger import (
    Ledger,
    LedgerHead,
    PeriodAccount,
    PeriodLength,
    TenantAccount,
    periods_between,
)
from netra_otel_bridge.usage.sessions import SESSION_IDLE_NS, TopSessions, ask_each
from netra_otel_bridge.usage.totals import OTHER, UsageTotals, totals_of
from netra_otel_bridge.usage.view import ChartFigure, PeriodTotals, SessionTotals, UsageView

IDLE_POLLS = 20
"""A tenant without new traces, and a period that is over for an hour, are asked for once in so many polls."""
CHART_POLLS = 5
"""Sessions and charts are asked for once in so many polls."""
FAILED_POLLS = 5
"""A tenant whose usage could not be had, while that of others could, is asked for once in so many polls."""
FORGET_NS = 62 * 24 * HOUR_NS
"""A tenant of which no trace was listed for so long, and that used nothing lately, is forgotten."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterOptions:
    """``tenants`` are those to ask for; none: those found in the traces. ``tenant_limit`` of them get label sets of
    their own, ``sessions`` sessions are shown. ``lookback_ns`` is how late a trace of a new tenant may be listed,
    ``announce_s`` how long a label set shows its start first.
    ``budgets`` are US dollars a period by tenant, ``*`` for any other.
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
    """Meters the tenants of one source. ``view`` is replaced by each `poll`, and may be read on any thread.

    ``now_ns`` is the time by Netra's clock. Raises `StateError`.
    """

    def __init__(
        self,
        client: AsyncNetraClient,
        state: MeterState,
        options: MeterOptions,
        *,
        now_ns: Callable[[], int],
        clock: Clock,
    ) -> None:
        self.view = UsageView()
        self._client = client
        self._state = state
        self._options = options
        self._now_ns = now_ns
        self._clock = clock
        self._last_hour = LastHour(client, clock)
        self._chart_figures: tuple[ChartFigure, ...] = ()
        self._sessions = TopSessions(SESSION_IDLE_NS)
        self._session_figures: tuple[SessionTotals, ...] = ()
        self._collected: dict[str, float] = {}
        self._unaskable = False
        self._failed: set[str] = set()
        self._listed: dict[str, int] = {}
        self._polls = 0
        self._recorded: dict[str, bytes]
        head, self._recorded = state.read()
        self._ledger = Ledger(
            LedgerHead() if head is None else msgspec.json.decode(head, type=LedgerHead),
            (msgspec.json.decode(one, type=TenantAccount) for one in self._recorded.values()),
            options.tenant_limit,
            options.tenants,
        )
        if self._ledger.head.period != options.period:
            for account in self._ledger.tenants.values():
                account.close_periods()
            self._ledger.head.period = options.period
        self._publish(self._present_ns())

    def collected(self, label: str) -> None:
        """The counters of this label set were collected. May be called on any thread."""
        self._collected.setdefault(label, self._clock.monotonic())

    async def poll(self) -> None:
        """Ask for what is due, record it, show it.

        What was answered is recorded and shown also where other calls failed. Then the first `NetraError` is raised, unless
        only single tenants could not be had: these are counted (`UsageView.label_sets`) and asked for again later.
        Raises `StateError`, and then shows nothing new.
        """
        now_ns = self._present_ns()
        if not self._ledger.head.origin_ns:
            begun = next(periods_between(now_ns, now_ns, self._options.period))
            self._ledger.head = LedgerHead(now_ns, now_ns, now_ns, now_ns, begun.start_ns, self._options.period)
        for account in self._ledger.rank():
            self._collected.pop(account.tenant_id, None)
        error = await self._ask_all(now_ns)
        self._settle(now_ns)
        await self._record()
        self._polls += 1
        self._publish(now_ns)
        if error is not None:
            raise error
        self.view = replace(self.view, polled_ns=now_ns)

    async def _ask_all(self, now_ns: int) -> NetraError | None:
        """Ask for everything that is due; the first error, if there was one. When the key is refused, the rest is left."""
        first: NetraError | None = None
        charts = [self._ask_charts] if self._polls % CHART_POLLS == 0 else []
        for ask in (self._discover, self._ask_tenants, *charts):
            error = await ask(now_ns)
            if isinstance(error, NetraUnauthorized):
                return error
            first = first or error
        return first

    def _present_ns(self) -> int:
        return self._now_ns() // NS_PER_MS * NS_PER_MS

    async def _discover(self, now_ns: int) -> NetraError | None:
        """Find tenants and sessions; an error, if there was one."""
        head = self._ledger.head
        for tenant_id in self._options.tenants:
            self._account(tenant_id, now_ns)
        if self._options.tenants:
            head.tenants_since_ns = head.looked_back_ns = head.look_back_to_ns = now_ns
        if self._options.tenants and not self._options.sessions:
            head.discovered_ns = now_ns
            return None
        try:
            await self._look_through(now_ns)
        except NetraError as error:
            return error
        return None

    async def _look_through(self, now_ns: int) -> None:
        """List what came since the last poll; and a part of what lies further back: all of the period when metering begins,
        and from time to time what may have come late. Raises `NetraError`."""
        head = self._ledger.head
        back_ns = HOUR_NS if self._polls % MIDDLE_POLLS == 0 else NEAR_NS
        await self._list(Window(min(head.discovered_ns, now_ns) - back_ns, now_ns), seen_ns=now_ns)
        head.discovered_ns = now_ns
        if self._polls % FAR_POLLS == FAR_POLLS - 1 and head.looked_back_ns <= head.look_back_to_ns:
            head.looked_back_ns, head.look_back_to_ns = now_ns, now_ns - self._options.lookback_ns
        pages, size_ns = 0, HOUR_NS
        while pages < LOOK_BACK_PAGES and head.looked_back_ns > head.look_back_to_ns:
            start_ns = max(head.look_back_to_ns, head.looked_back_ns - size_ns)
            found = await self._list(Window(start_ns, head.looked_back_ns), seen_ns=0)
            head.looked_back_ns = start_ns
            pages += found
            size_ns = min(2 * size_ns, 24 * HOUR_NS) if found == 1 else HOUR_NS

    async def _list(self, window: Window, seen_ns: int) -> int:
        """Find tenants in a window; returns the number of pages. ``seen_ns`` is 0 for what is long past."""
        pages = 0
        async for page in list_pages(self._client, window, TraceQuery(), None):
            pages += 1
            for trace in page.traces:
                if not trace.tenant_id or (self._options.tenants and trace.tenant_id not in self._options.tenants):
                    continue
                if seen_ns and self._options.sessions:
                    ended_ns = instant_ns(trace.end_time) or instant_ns(trace.start_time)
                    self._sessions.listed(trace, ended_ns or seen_ns)
                if not self._options.tenants:
                    news_ns = seen_ns if seen_ns and self._is_news(trace) else 0
                    self._account(trace.tenant_id, self._ledger.head.tenants_since_ns, news_ns)
        return pages

    def _is_news(self, trace: TraceSummary) -> bool:
        """Whether this trace was not listed before, or used something since."""
        used = hash((trace.total_tokens, trace.total_cost, trace.end_time))
        if self._listed.get(trace.id) == used:
            return False
        self._listed[trace.id] = used
        if len(self._listed) > MAX_LISTED:
            del self._listed[next(iter(self._listed))]
        return True

    def _account(self, tenant_id: str, origin_ns: int, seen_ns: int = 0) -> None:
        """A tenant was named or seen; a new one is counted from ``origin_ns`` on. One that cannot be asked for is left out."""
        if reaches_its_path(tenant_id):
            account = self._ledger.account(tenant_id, origin_ns)
            account.seen_ns = max(account.seen_ns, seen_ns)
        elif not self._unaskable:
            self._unaskable = True
            _log.warning("usage of tenant %r, and of others like it, cannot be asked for: its id is a path", tenant_id)

    def _due(self, now_ns: int) -> Iterator[tuple[TenantAccount, PeriodAccount]]:
        """The periods of tenants that are to be asked for now."""
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
                if (due or turn or not period.asked_ns) and period.start_ns < now_ns:
                    yield account, period

    async def _ask_tenants(self, now_ns: int) -> NetraError | None:
        """Ask for all that is due; an error, if it was not one of single tenants."""
        due = list(self._due(now_ns))
        errors = await ask_each([partial(self._ask, account, period, now_ns) for account, period in due])
        refused = next((error for error in errors.values() if isinstance(error, NetraUnauthorized)), None)
        first = next(iter(errors.values()), None)
        asked = {account.tenant_id for account, _ in due}
        failed = {due[number][0].tenant_id for number in errors}
        well_before = asked - self._failed
        all_failed = well_before <= failed if well_before else len(failed) == len(self._ledger.followed())
        if first is not None and (refused is not None or all_failed):
            return refused or first
        if failed - self._failed:
            _log.warning("usage of %d of %d tenants cannot be had, the first: %s", len(failed), len(asked), first)
        self._failed = (self._failed - asked) | failed
        return None

    async def _ask(self, account: TenantAccount, period: PeriodAccount, now_ns: int) -> None:
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

    async def _ask_charts(self, now_ns: int) -> NetraError | None:
        """Ask for what the dashboards say, and for the sessions that cost most; an error, if there was one."""
        try:
            self._chart_figures = await self._last_hour.figures(now_ns)
            if self._options.sessions:
                await self._ask_sessions(now_ns)
        except NetraError as error:
            return error
        return None

    async def _ask_sessions(self, now_ns: int) -> None:
        """Ask for the sessions that cost most; what is left of the tenants' totals is `OTHER`. Raises `NetraError`."""
        count = self._options.sessions
        top = self._sessions.top(count, now_ns)
        known = await self._last_hour.top_sessions(
            count, now_ns, lambda session_id: self._sessions.tenant_of(session_id) is not None
        )
        top = top if known is None else known
        period = next(periods_between(now_ns, now_ns, self._options.period))
        found: list[SessionTotals] = []

        async def ask(session_id: str) -> None:
            usage = await self._client.get_session_usage(session_id, iso_ms(period.start_ns), iso_ms(now_ns))
            if usage is not None:
                found.append(SessionTotals(session_id, self._sessions.tenant_of(session_id), totals_of(usage)))

        asking = [
            partial(ask, session_id) for session_id in top if reaches_its_path(session_id) and session_id != OTHER
        ]
        errors = await ask_each(asking)
        first = next(iter(errors.values()), None)
        if first is not None:
            if not found or any(isinstance(error, NetraUnauthorized) for error in errors.values()):
                raise first
            _log.warning("usage of %d of %d sessions cannot be had, the first: %s", len(errors), len(asking), first)
        total = sum((one.figures for one in self._periods(now_ns) if one.period == "current"), UsageTotals())
        rest = (total - sum((one.figures for one in found), UsageTotals())).positive()
        self._session_figures = (*found, SessionTotals(OTHER, None, rest))

    def _settle(self, now_ns: int) -> None:
        """Forget who used nothing for long, and let label sets that have shown their start go on."""
        for account in self._ledger.followed():
            idle = account.seen_ns < now_ns - FORGET_NS and account.recent() == UsageTotals()
            if idle and not self._options.tenants:
                self._ledger.forget(account)
        shown = {
            label for label, at_s in self._collected.items()
            if self._clock.monotonic() - at_s >= self._options.announce_s
        }  # fmt: skip
        for account in self._ledger.tenants.values():
            account.shown |= account.own and account.tenant_id in shown
        self._ledger.head.other_shown |= OTHER in shown
        self._ledger.remember_shown()

    async def _record(self) -> None:
        """Make durable what changed."""
        tenants = {tenant_id: msgspec.json.encode(one) for tenant_id, one in self._ledger.tenants.items()}
        changed: dict[str, bytes | None] = dict.fromkeys(self._recorded.keys() - tenants.keys())
        changed |= {tenant_id: one for tenant_id, one in tenants.items() if self._recorded.get(tenant_id) != one}
        await asyncio.to_thread(self._state.write, msgspec.json.encode(self._ledger.head), changed)
        self._recorded = tenants

    def _publish(self, now_ns: int) -> None:
        """Show what was recorded."""
        tenants, options = self._ledger.followed(), self._options
        counters = [(one.tenant_id, one.own_counters()) for one in tenants if one.own]
        other = self._ledger.other_counters()
        if other is not None:
            counters.append((OTHER, other))
        budgets = ((label, options.budgets.get(label, options.budgets.get("*"))) for label, _ in counters)
        self.view = UsageView(
            origin_ns=self._ledger.head.origin_ns,
            counters=tuple(counters),
            periods=tuple(self._periods(now_ns)),
            budgets=tuple((label, dollars) for label, dollars in budgets if dollars is not None and label != OTHER),
            sessions=self._session_figures,
            charts=self._chart_figures,
            label_sets={
                "own": sum(one.own for one in tenants),
                OTHER: sum(not one.own for one in tenants),
                "failed": len(self._failed),
            },
            polled_ns=self.view.polled_ns,
        )

    def _periods(self, now_ns: int) -> Iterator[PeriodTotals]:
        """The current and the previous period of each tenant that was asked for; those without a label set are summed."""
        others: dict[str, PeriodTotals] = {}
        current = next(periods_between(now_ns, now_ns, self._options.period))
        names = {current.end_ns: "current", current.start_ns: "previous"}
        for account in self._ledger.followed():
            for period in account.periods:
                name = names.get(period.end_ns)
                if name is None or not period.asked_ns:
                    continue
                if account.own:
                    yield PeriodTotals(account.tenant_id, name, period.total, period.sessions)
                else:
                    sum_ = others.get(name, PeriodTotals(OTHER, name, UsageTotals(), 0))
                    others[name] = replace(
                        sum_, figures=sum_.figures + period.total, sessions=sum_.sessions + period.sessions
                    )
        yield from others.values()
