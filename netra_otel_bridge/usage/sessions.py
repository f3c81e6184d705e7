"""Find the most expensive recent sessions, and read the usage that Netra reports for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from heapq import nlargest

from netra_otel_bridge.core.clock import HOUR_NS
from netra_otel_bridge.core.errors import NetraError, NetraUnauthorized
from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.endpoint import reaches_its_path
from netra_otel_bridge.usage.totals import OTHER, totals_of
from netra_otel_bridge.usage.view import SessionTotals

CALLS = 8
"""Concurrent usage calls: only a part of the client's budget, so that they do not delay the trace lanes."""
IDLE_NS = HOUR_NS
"""A session is forgotten when none of its traces was active for this long."""
MAX_TRACES = 100_000
"""Maximum number of traces remembered. Beyond it, the trace that was first listed longest ago is dropped."""
_log = logging.getLogger(__name__)


class SessionCosts:
    """The cost of recent sessions: the sum over their listed traces, each counted once."""

    def __init__(self) -> None:
        self._traces: dict[str, tuple[str, float, int]] = {}
        self._tenants: dict[str, str | None] = {}

    def add(self, trace: TraceSummary, active_ns: int) -> None:
        """Count a listed trace that was last active at ``active_ns``. A trace without a session is ignored."""
        if trace.session_id:
            self._traces[trace.id] = trace.session_id, float(trace.total_cost or 0), active_ns
            self._tenants[trace.session_id] = trace.tenant_id
            if len(self._traces) > MAX_TRACES:
                del self._traces[next(iter(self._traces))]

    def tenant_of(self, session_id: str) -> str | None:
        """Return the tenant of a session, or ``None`` if it is not known."""
        return self._tenants.get(session_id)

    def highest(self, count: int, now_ns: int) -> list[str]:
        """Return at most ``count`` sessions, the most expensive first. Forget idle ones."""
        idle_before_ns = now_ns - IDLE_NS
        self._traces = {trace_id: it for trace_id, it in self._traces.items() if it[2] >= idle_before_ns}
        costs: dict[str, float] = {}
        for session_id, cost, _ in self._traces.values():
            costs[session_id] = costs.get(session_id, 0.0) + cost
        self._tenants = {session_id: self._tenants[session_id] for session_id in costs}
        return nlargest(count, costs, key=costs.__getitem__)


async def ask_sessions(
    client: AsyncNetraClient, session_ids: Iterable[str], window: Window, tenant_of: Callable[[str], str | None]
) -> list[SessionTotals]:
    """Return the usage that Netra reports for each session in ``window``, without sessions that it does not know.

    Skip a session whose id cannot be part of a URL, and one named like `OTHER`. Log it if some calls fail. Raises
    `NetraError` if no call succeeds or the key is rejected.
    """
    found: list[SessionTotals] = []

    async def ask(session_id: str) -> None:
        usage = await client.get_session_usage(session_id, iso_ms(window.start_ns), iso_ms(window.end_ns))
        if usage is not None:
            found.append(SessionTotals(session_id, tenant_of(session_id), totals_of(usage)))

    calls = [partial(ask, one) for one in session_ids if reaches_its_path(one) and one != OTHER]
    errors = await ask_each(calls)
    first = next(iter(errors.values()), None)
    if first is not None:
        if not found or any(isinstance(error, NetraUnauthorized) for error in errors.values()):
            raise first
        _log.warning("cannot read the usage of %d of %d sessions, first error: %s", len(errors), len(calls), first)
    return found


async def ask_each(calls: Sequence[Callable[[], Awaitable[None]]]) -> dict[int, NetraError]:
    """Make all ``calls``, `CALLS` at a time. Return the errors by index of the call.

    When the key is rejected, the remaining calls are not made.
    """
    errors: dict[int, NetraError] = {}
    remaining = iter(enumerate(calls))

    async def work() -> None:
        for index, call in remaining:
            try:
                await call()
            except NetraError as error:
                errors[index] = error
                if isinstance(error, NetraUnauthorized):
                    return

    await asyncio.gather(*(work() for _ in range(CALLS)))
    return errors
