"""`NetraClient`: `AsyncNetraClient` for code that does not use asyncio.

Each client runs an event loop on a thread of its own and hands calls over to it, so it works in any thread, in
several at once, and under a running event loop too (which it blocks, as any synchronous call does).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType

from netra_otel_bridge.core.clock import Backoff, Clock
from netra_otel_bridge.core.loop_thread import LoopThread
from netra_otel_bridge.core.model.netra import (
    SessionUsageData,
    SpansPage,
    TenantUsageData,
    TracesPage,
    TraceSpan,
    TraceSummary,
)
from netra_otel_bridge.core.model.query import TraceFilter
from netra_otel_bridge.source.arguments import MAX_LIMIT, Direction, SortOrder, Time
from netra_otel_bridge.source.client import DASHBOARD_TIMEOUT_S, MAX_RESPONSE_BYTES, AsyncNetraClient
from netra_otel_bridge.source.dashboard import Dashboard
from netra_otel_bridge.source.transport import TransportStats


class NetraClient:
    """Reads Netra; the synchronous face of `AsyncNetraClient`, with its arguments, answers and errors.

    A context manager; `close` ends its thread. Left unclosed, it is closed when collected or at exit.
    """

    def __init__(
        self,
        *,
        api_key: str,
        endpoint: str,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        dashboard_timeout: float = DASHBOARD_TIMEOUT_S,
        max_concurrency: int = 64,
        rate_per_s: float | None = None,
        backoff: Backoff | None = None,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        allow_insecure: bool = False,
        clock: Clock | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._client = AsyncNetraClient(
            api_key=api_key,
            endpoint=endpoint,
            headers=headers,
            timeout=timeout,
            dashboard_timeout=dashboard_timeout,
            max_concurrency=max_concurrency,
            rate_per_s=rate_per_s,
            backoff=backoff,
            max_response_bytes=max_response_bytes,
            allow_insecure=allow_insecure,
            clock=clock,
            ssl_context=ssl_context,
        )
        self._loop = LoopThread(self._client.aclose)
        self.dashboard = Dashboard(self._client.dashboard, self._loop)

    def __repr__(self) -> str:
        return repr(self._client).removeprefix("Async")

    def __enter__(self) -> NetraClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and end the thread; calls under way fail. May be called again."""
        self._loop.close()

    @property
    def stats(self) -> TransportStats:
        """What was asked of Netra so far."""
        return self._client.stats

    def get_session_usage(self, session_id: str, start_time: Time, end_time: Time) -> SessionUsageData | None:
        """What a session used in a range of time; ``None`` for a session that Netra does not know."""
        return self._loop.run(self._client.get_session_usage(session_id, start_time, end_time))

    def get_tenant_usage(self, tenant_id: str, start_time: Time, end_time: Time) -> TenantUsageData | None:
        """What a tenant used in a range of time; ``None`` for a tenant that Netra does not know."""
        return self._loop.run(self._client.get_tenant_usage(tenant_id, start_time, end_time))

    def list_traces(
        self,
        start_time: Time,
        end_time: Time,
        trace_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        tenant_id: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        direction: Direction | None = "down",
        sort_field: str | None = None,
        sort_order: SortOrder | None = None,
        *,
        filters: Sequence[TraceFilter] = (),
    ) -> TracesPage:
        """One page of traces in a range of time."""
        work = self._client.list_traces(
            start_time, end_time, trace_id, session_id, user_id, tenant_id, limit, cursor, direction,
            sort_field, sort_order, filters=filters,
        )  # fmt: skip
        return self._loop.run(work)

    def list_spans_by_trace_id(
        self,
        trace_id: str,
        cursor: str | None = None,
        direction: Direction | None = "down",
        limit: int | None = None,
        span_name: str | None = None,
    ) -> SpansPage:
        """One page of the spans of a trace."""
        return self._loop.run(self._client.list_spans_by_trace_id(trace_id, cursor, direction, limit, span_name))

    def get_span(self, span_id: str) -> TraceSpan | None:
        """One span by its id; ``None`` where Netra has none."""
        return self._loop.run(self._client.get_span(span_id))

    def iter_traces(
        self,
        start_time: Time,
        end_time: Time,
        trace_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        tenant_id: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        direction: Direction | None = "down",
        sort_field: str | None = None,
        sort_order: SortOrder | None = None,
        *,
        filters: Sequence[TraceFilter] = (),
    ) -> Iterator[TraceSummary]:
        """All traces in a range of time, page after page of ``limit``."""
        pages = self.iter_trace_pages(
            start_time, end_time, trace_id, session_id, user_id, tenant_id, limit, cursor, direction,
            sort_field, sort_order, filters=filters,
        )  # fmt: skip
        for page in pages:
            yield from page.traces

    def iter_spans_by_trace_id(
        self,
        trace_id: str,
        cursor: str | None = None,
        direction: Direction | None = "down",
        limit: int | None = None,
        span_name: str | None = None,
    ) -> Iterator[TraceSpan]:
        """All spans of a trace, page after page of ``limit``."""
        pages = self._client.iter_span_pages(
            trace_id, limit=limit, cursor=cursor, direction=direction, span_name=span_name
        )
        for page in self._loop.drive(pages):
            yield from page.spans

    def iter_trace_pages(
        self,
        start_time: Time,
        end_time: Time,
        trace_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        tenant_id: str | None = None,
        limit: int | None = MAX_LIMIT,
        cursor: str | None = None,
        direction: Direction | None = "down",
        sort_field: str | None = None,
        sort_order: SortOrder | None = None,
        *,
        filters: Sequence[TraceFilter] = (),
    ) -> Iterator[TracesPage]:
        """The pages of `iter_traces`, with what could not be read."""
        pages = self._client.iter_trace_pages(
            start_time, end_time, trace_id, session_id, user_id, tenant_id, limit, cursor, direction,
            sort_field, sort_order, filters=filters,
        )  # fmt: skip
        return self._loop.drive(pages)

    def iter_span_pages(
        self,
        trace_id: str,
        *,
        limit: int | None = MAX_LIMIT,
        cursor: str | None = None,
        direction: Direction | None = "down",
        span_name: str | None = None,
    ) -> Iterator[SpansPage]:
        """The pages of `iter_spans_by_trace_id`, with what could not be read."""
        return self._loop.drive(
            self._client.iter_span_pages(trace_id, limit=limit, cursor=cursor, direction=direction, span_name=span_name)
        )
