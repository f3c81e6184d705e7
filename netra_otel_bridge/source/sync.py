"""`NetraClient`: `AsyncNetraClient` for code that does not use asyncio.

Each client runs an event loop on its own thread and passes its calls to that loop. So it works in any thread, in
several at once, and inside a running event loop, which it blocks like any synchronous call.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from netra_otel_bridge.core.blocking import (
    BlockingFace,
    blocking,
    blocking_items,
    blocking_iterator,
    with_arguments_of,
)
from netra_otel_bridge.core.loop_thread import LoopThread
from netra_otel_bridge.source.calls import TransportStats
from netra_otel_bridge.source.client import AsyncNetraClient
from netra_otel_bridge.source.dashboard import AsyncDashboard


class Dashboard(BlockingFace[AsyncDashboard]):
    """The dashboard calls of a `NetraClient`: the blocking counterpart of `AsyncDashboard`."""

    query_data = blocking(AsyncDashboard.query_data)
    get_session_stats = blocking(AsyncDashboard.get_session_stats)
    iter_session_stats = blocking_items(
        AsyncDashboard.iter_session_stats, AsyncDashboard.iter_session_pages, lambda page: page.sessions
    )
    iter_session_pages = blocking_iterator(AsyncDashboard.iter_session_pages)
    get_session_summary = blocking(AsyncDashboard.get_session_summary)
    get_session_details = blocking(AsyncDashboard.get_session_details)
    get_model_pricing = blocking(AsyncDashboard.get_model_pricing)


class NetraClient(BlockingFace[AsyncNetraClient]):
    """Reads Netra: the blocking counterpart of `AsyncNetraClient`, with the same arguments, results and errors.

    A context manager; `close` ends its thread. A client that was not closed is closed when it is garbage-collected, or
    at exit.
    """

    @with_arguments_of(AsyncNetraClient.__init__)
    def __init__(self, **options: Any) -> None:
        client = AsyncNetraClient(**options)
        super().__init__(client, LoopThread(client.aclose))
        self.dashboard = Dashboard(client.dashboard, self._loop)

    def __repr__(self) -> str:
        return repr(self._asynchronous).removeprefix("Async")

    def __enter__(self) -> NetraClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and end the thread; calls in flight fail. May be called again."""
        self._loop.close()

    @property
    def stats(self) -> TransportStats:
        """Return the counts of the calls made so far."""
        return self._asynchronous.stats

    get_session_usage = blocking(AsyncNetraClient.get_session_usage)
    get_tenant_usage = blocking(AsyncNetraClient.get_tenant_usage)
    list_traces = blocking(AsyncNetraClient.list_traces)
    list_spans_by_trace_id = blocking(AsyncNetraClient.list_spans_by_trace_id)
    get_span = blocking(AsyncNetraClient.get_span)
    iter_traces = blocking_items(
        AsyncNetraClient.iter_traces, AsyncNetraClient.iter_trace_pages, lambda page: page.traces
    )
    iter_spans_by_trace_id = blocking_items(
        AsyncNetraClient.iter_spans_by_trace_id, AsyncNetraClient.iter_span_pages, lambda page: page.spans
    )
    iter_trace_pages = blocking_iterator(AsyncNetraClient.iter_trace_pages)
    iter_span_pages = blocking_iterator(AsyncNetraClient.iter_span_pages)
