"""Find tenants and their sessions by listing traces: Netra's usage calls list none."""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import partial

from netra_otel_bridge.convert.fields import instant_ns
from netra_otel_bridge.core.clock import HOUR_NS, Clock
from netra_otel_bridge.core.errors import NetraError, NotKnown
from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.tasks import all_of
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.pipeline.listing import LISTERS, list_all, list_pages, may_hold
from netra_otel_bridge.pipeline.open_windows import OpenWindows, about, lists_elsewhere
from netra_otel_bridge.pipeline.windows import FAR_POLLS, MIDDLE_POLLS, NEAR_NS, WindowQueue, split
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.endpoint import reaches_its_path
from netra_otel_bridge.usage.ledger import Ledger
from netra_otel_bridge.usage.sessions import SessionCosts

LOOK_BACK_PAGES = 200
"""Maximum number of pages that one poll lists to find past tenants."""
MAX_LISTED = 100_000
"""Maximum number of traces whose usage is remembered, to detect changes."""
_log = logging.getLogger(__name__)


class Discovery:
    """Finds the tenants of one source and opens their accounts in ``ledger``.

    If tenants are ``named``, it searches for no others. ``sessions`` collects the cost of sessions; ``None`` ignores
    them. ``lookback_ns`` is the longest delay after which a trace of a new tenant is still found. A range that Netra fails
    to list although it lists others is listed again later, and keeps no other from being listed.
    """

    def __init__(
        self,
        client: AsyncNetraClient,
        ledger: Ledger,
        named: Collection[str],
        sessions: SessionCosts | None,
        lookback_ns: int,
        clock: Clock,
    ) -> None:
        self._client = client
        self._open = OpenWindows(clock)
        self._ledger = ledger
        self._named = named
        self._sessions = sessions
        self._lookback_ns = lookback_ns
        self._listed = ListedTraces()
        self._warned = False

    async def discover(self, now_ns: int, poll: int) -> None:
        """Find tenants and sessions. ``poll`` is the number of polls so far. Raises `NetraError`."""
        head = self._ledger.head
        if self._named:
            for tenant_id in self._named:
                self._open_account(tenant_id, now_ns)
            head.tenants_since_ns = head.looked_back_ns = head.look_back_to_ns = now_ns
            if self._sessions is None:
                head.discovered_ns = now_ns
                return
        await self._list_recent(now_ns, poll)
        await self._look_back(now_ns, poll)

    async def _list_recent(self, now_ns: int, poll: int) -> None:
        """List what was added since the last poll, and a little further back."""
        head = self._ledger.head
        back_ns = HOUR_NS if poll % MIDDLE_POLLS == 0 else NEAR_NS
        window = Window(min(head.discovered_ns, now_ns) - back_ns, now_ns)
        for part in self._open.due([window]):
            await self._list(part, seen_ns=now_ns if part.end_ns > window.start_ns else 0, now_ns=now_ns)
        head.discovered_ns = now_ns

    async def _look_back(self, now_ns: int, poll: int) -> None:
        """List a part of the past.

        When metering begins, that is the whole period. Later it is, now and then, the time of late traces.
        """
        head = self._ledger.head
        if poll % FAR_POLLS == FAR_POLLS - 1 and head.looked_back_ns <= head.look_back_to_ns:
            head.looked_back_ns, head.look_back_to_ns = now_ns, now_ns - self._lookback_ns
        pages, size_ns = 0, HOUR_NS
        while pages < LOOK_BACK_PAGES and head.looked_back_ns > head.look_back_to_ns:
            start_ns = max(head.look_back_to_ns, head.looked_back_ns - size_ns)
            parts = self._open.without_open(Window(start_ns, head.looked_back_ns))
            found = sum([await self._list(part, seen_ns=0, now_ns=now_ns) for part in parts])
            head.looked_back_ns = start_ns
            pages += found
            size_ns = min(2 * size_ns, 24 * HOUR_NS) if found == 1 else HOUR_NS

    async def _list(self, window: Window, seen_ns: int, now_ns: int) -> int:
        """Find tenants and sessions in a window. Return the number of pages. ``seen_ns`` is 0 for the past."""
        pages = 0
        try:
            async for page in list_pages(self._client, window, TraceQuery(), None):
                pages += 1
                for trace in page.traces:
                    if trace.tenant_id and (not self._named or trace.tenant_id in self._named):
                        self._add(trace, trace.tenant_id, seen_ns)
        except NetraError as error:
            if not await lists_elsewhere(self._client, window, now_ns):
                raise
            _log.warning("tenants of new traces are not found yet: %s", about(window, error))
            self._open.update([], [(window, error)])
        else:
            self._open.update([window], [])
        return pages

    def _add(self, trace: TraceSummary, tenant_id: str, seen_ns: int) -> None:
        if seen_ns and self._sessions is not None:
            ended_ns = instant_ns(trace.end_time) or instant_ns(trace.start_time)
            self._sessions.add(trace, ended_ns or seen_ns)
        if not self._named:
            changed = seen_ns and self._listed.has_changed(trace)
            self._open_account(tenant_id, self._ledger.head.tenants_since_ns, seen_ns if changed else 0)

    def _open_account(self, tenant_id: str, origin_ns: int, seen_ns: int = 0) -> None:
        """Record that a tenant was seen at ``seen_ns``; a new one counts from ``origin_ns``.

        Leave out a tenant whose id cannot be part of a URL, and log the first of them.
        """
        if reaches_its_path(tenant_id):
            account = self._ledger.account(tenant_id, origin_ns)
            account.seen_ns = max(account.seen_ns, seen_ns)
        elif not self._warned:
            self._warned = True
            _log.warning(
                "skipping tenant %r, and others like it: its id is a relative path, so its usage cannot be requested",
                tenant_id,
            )


class ListedTraces:
    """Remembers the usage of listed traces, to tell new and changed traces from those seen before."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def has_changed(self, trace: TraceSummary) -> bool:
        """Remember a trace. Return whether it is new, or its usage has changed since it was last listed."""
        used = hash((trace.total_tokens, trace.total_cost, trace.end_time))
        if self._used.get(trace.id) == used:
            return False
        self._used[trace.id] = used
        if len(self._used) > MAX_LISTED:
            del self._used[next(iter(self._used))]
        return True


async def find_tenants(client: AsyncNetraClient, whole: Window, window_ns: int) -> list[str]:
    """Return the tenants of all traces of a range, sorted. Raises `NetraError`, and `NotKnown` if there are none."""
    tenants: set[str] = set()
    windows = WindowQueue(split(whole, window_ns), partial(may_hold, client, queries=[TraceQuery()]))

    async def collect() -> None:
        async for page in list_all(client, windows, TraceQuery()):
            tenants.update(trace.tenant_id for trace in page.traces if trace.tenant_id)

    await all_of(collect() for _ in range(LISTERS))
    for tenant in [one for one in tenants if not reaches_its_path(one)]:
        _log.warning("skipping tenant %r: its id is a relative path, so its usage cannot be requested", tenant)
        tenants.remove(tenant)
    if not tenants:
        raise NotKnown(
            f"no trace from {iso_ms(whole.start_ns)} to {iso_ms(whole.end_ns)} has a tenant",
            hint="check the range, or name tenants with --tenant",
        )
    return sorted(tenants)
