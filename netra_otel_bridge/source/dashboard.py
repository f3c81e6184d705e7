"""`AsyncDashboard`: the calls of ``Netra.dashboard`` in netra-sdk 1.2.2.

Methods, arguments, their order and defaults are the SDK's. Not every key or installation has these calls: a rejection
(401, 403, 404, or a response that is not from the API) is a `NetraNotAllowed`. It does not mean that other calls would
fail.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from netra_otel_bridge.core.clock import Backoff, Clock
from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.core.model.dashboards import (
    ChartType,
    DashboardData,
    Dimension,
    FilterConfig,
    Metrics,
    Scope,
    SessionDetails,
    SessionFilterConfig,
    SessionSort,
    SessionStats,
    SessionStatsPage,
)
from netra_otel_bridge.core.model.query import TraceFilter
from netra_otel_bridge.source import charts
from netra_otel_bridge.source.arguments import (
    SortOrder,
    Time,
    chart_query,
    end_text,
    is_above_zero,
    session_query,
    start_text,
    summary_query,
)
from netra_otel_bridge.source.calls import Call
from netra_otel_bridge.source.endpoint import query, segment
from netra_otel_bridge.source.pages import DEFAULT_LIMIT, PAGE_LIMIT, read_pages
from netra_otel_bridge.source.transport import Transport

_BASE = "/public/dashboard"


class AsyncDashboard:
    """The dashboard calls of an `AsyncNetraClient`, within its budget; ``timeout`` is in seconds, for one attempt."""

    def __init__(self, transport: Transport, *, timeout: float, backoff: Backoff, clock: Clock) -> None:
        if not is_above_zero(timeout):
            raise ConfigurationError("dashboard_timeout must be a number above zero")
        self._transport = transport
        self._timeout_s = timeout
        self._backoff = backoff
        self._clock = clock

    async def query_data(
        self,
        scope: Scope,
        chart_type: ChartType,
        metrics: Metrics,
        filter: FilterConfig,
        dimension: Dimension | None = None,
    ) -> DashboardData:
        """Return one chart: a measure over a range of time, by step, by dimension, or as a number."""
        asked = chart_query(scope, chart_type, metrics, filter, dimension)
        decode = partial(charts.decode_chart, chart_type=chart_type, by_dimension=dimension is not None)
        return await self._transport.request(self._post("/query-data", asked), decode)

    async def get_session_stats(
        self,
        start_time: Time,
        end_time: Time,
        filters: Sequence[TraceFilter] | None = None,
        limit: int | None = DEFAULT_LIMIT,
        cursor: str | None = None,
        sort_field: SessionSort | None = None,
        sort_order: SortOrder | None = None,
    ) -> SessionStatsPage:
        """Return one page of the sessions in a range of time."""
        asked = session_query(start_time, end_time, filters, limit, cursor, sort_field, sort_order)
        return await self._transport.request(self._post("/sessions/stats", asked), charts.decode_sessions)

    async def iter_session_stats(
        self,
        start_time: Time,
        end_time: Time,
        filters: Sequence[TraceFilter] | None = None,
        sort_field: SessionSort | None = None,
        sort_order: SortOrder | None = None,
        *,
        limit: int | None = PAGE_LIMIT,
    ) -> AsyncIterator[SessionStats]:
        """Yield all sessions in a range of time, read in pages of ``limit``. Ends only when Netra reports the end."""
        pages = self.iter_session_pages(start_time, end_time, filters, sort_field, sort_order, limit=limit)
        async for page in pages:
            for session in page.sessions:
                yield session

    def iter_session_pages(
        self,
        start_time: Time,
        end_time: Time,
        filters: Sequence[TraceFilter] | None = None,
        sort_field: SessionSort | None = None,
        sort_order: SortOrder | None = None,
        *,
        limit: int | None = PAGE_LIMIT,
    ) -> AsyncIterator[SessionStatsPage]:
        """Yield the pages of `iter_session_stats`, with their unreadable items. Raises as `read_pages`."""

        async def fetch(at: str | None, size: int | None) -> SessionStatsPage:
            return await self.get_session_stats(start_time, end_time, filters, size, at, sort_field, sort_order)

        return read_pages(fetch, "the session list", cursor=None, limit=limit, backoff=self._backoff, clock=self._clock)

    async def get_session_summary(self, filter: SessionFilterConfig) -> dict[str, Any]:
        """Return count, cost, latency and cost by model of the sessions in a range, in Netra's undocumented form."""
        return await self._transport.request(
            self._post("/sessions/summary", summary_query(filter)), charts.decode_summary
        )

    async def get_session_details(
        self, session_id: str, start_time: Time | None = None, end_time: Time | None = None
    ) -> SessionDetails | None:
        """Return one session with its traces; ``None`` for one that Netra does not know.

        The range applies to each span: for a trace that crosses a bound, only the spans inside are summed. A 404 is a
        `NetraNotAllowed`, because it does not tell an unknown session from an unknown call.
        """
        times = query(
            startTime=None if start_time is None else start_text(start_time),
            endTime=None if end_time is None else end_text(end_time),
        )
        target = f"{_BASE}/session/{segment(session_id, 'session_id')}{times}"
        call = self._call(f"GET {_BASE}/session/{{id}}", target, subject=session_id)
        return await self._transport.request(call, charts.decode_session)

    async def get_model_pricing(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the prices from which Netra computes costs, for one model or all, in the form of ``Netra.models``."""
        call = self._call("GET /sdk/models", f"/sdk/models{query(name=name)}")
        return await self._transport.request(call, charts.decode_prices)

    def _post(self, path: str, body: bytes) -> Call:
        return self._call(f"POST {_BASE}{path}", f"{_BASE}{path}", body)

    def _call(self, name: str, target: str, body: bytes | None = None, subject: str = "") -> Call:
        return Call(name, target, body, subject, timeout_s=self._timeout_s, optional=True)
