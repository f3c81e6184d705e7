"""Which sessions cost most lately, found by listing traces: a session's traces are summed, each once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from heapq import nlargest

from netra_otel_bridge.core.clock import HOUR_NS
from netra_otel_bridge.core.errors import NetraError, NetraUnauthorized
from netra_otel_bridge.core.model.netra import TraceSummary

CALLS = 8
"""Usage calls at the same time: a part of the client's budget, so that the trace lanes are not held up."""
MAX_TRACES = 100_000
"""Traces that are remembered; beyond, the one that was new longest ago counts no more."""


class TopSessions:
    """A session is forgotten when none of its traces was active for ``idle_ns``."""

    def __init__(self, idle_ns: int) -> None:
        self._idle_ns = idle_ns
        self._traces: dict[str, tuple[str, float, int]] = {}
        self._tenants: dict[str, str | None] = {}

    def listed(self, trace: TraceSummary, active_ns: int) -> None:
        """A trace was listed that ended at ``active_ns``; one without a session is nothing to this class."""
        if trace.session_id:
            self._traces[trace.id] = trace.session_id, float(trace.total_cost or 0), active_ns
            self._tenants[trace.session_id] = trace.tenant_id
            if len(self._traces) > MAX_TRACES:
                del self._traces[next(iter(self._traces))]

    def tenant_of(self, session_id: str) -> str | None:
        """The tenant of a session, as far as it is known."""
        return self._tenants.get(session_id)

    def top(self, count: int, now_ns: int) -> list[str]:
        """The sessions that cost most, at most ``count``."""
        idle_before_ns = now_ns - self._idle_ns
        self._traces = {trace_id: it for trace_id, it in self._traces.items() if it[2] >= idle_before_ns}
        costs: dict[str, float] = {}
        for session_id, cost, _ in self._traces.values():
            costs[session_id] = costs.get(session_id, 0.0) + cost
        self._tenants = {session_id: self._tenants[session_id] for session_id in costs}
        return nlargest(count, costs, key=costs.__getitem__)


SESSION_IDLE_NS = HOUR_NS


async def ask_each(works: Sequence[Callable[[], Awaitable[None]]]) -> dict[int, NetraError]:
    """Do all ``works``, `CALLS` at a time; the errors, by the number of the work. When the key is refused, the rest is left."""
    errors: dict[int, NetraError] = {}
    rest = iter(enumerate(works))

    async def work() -> None:
        for number, one in rest:
            try:
                await one()
            except NetraError as error:
                errors[number] = error
                if isinstance(error, NetraUnauthorized):
                    return

    await asyncio.gather(*(work() for _ in range(CALLS)))
    return errors
