"""List the traces of a window, in order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from netra_otel_bridge.core.model.netra import TracesPage
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.pipeline.windows import WindowQueue
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.pages import PAGE_LIMIT

LISTERS = 4
"""Windows listed at the same time: enough that empty windows do not add up, few enough that reading keeps its order."""


def list_pages(
    client: AsyncNetraClient, window: Window, query: TraceQuery, trace_id: str | None, cursor: str | None = None
) -> AsyncIterator[TracesPage]:
    """The pages of a window's traces, in the order of their start: what is new then lands behind the cursor's path."""
    return client.iter_trace_pages(
        iso_ms(window.start_ns),
        iso_ms(window.end_ns),
        trace_id=trace_id,
        **_conditions(query),
        limit=PAGE_LIMIT,
        cursor=cursor,
        sort_field="start_time",
        sort_order="asc",
    )


async def may_hold(client: AsyncNetraClient, window: Window, queries: Iterable[TraceQuery]) -> bool:
    """Whether Netra may list anything in a window for one of the queries: not if the first page is empty and the last.

    Raises `NetraError`.
    """
    for query in queries:
        for trace_id in query.trace_ids or (None,):
            page = await client.list_traces(
                iso_ms(window.start_ns),
                iso_ms(window.end_ns),
                trace_id=trace_id,
                **_conditions(query),
                limit=1,
            )
            if page.traces or page.unreadable or page.has_next_page:
                return True
    return False


def _conditions(query: TraceQuery) -> dict[str, Any]:
    """Those of a query that hold for all its traces, as arguments of the client."""
    return {
        "session_id": query.session_id,
        "user_id": query.user_id,
        "tenant_id": query.tenant_id,
        "filters": query.filters,
    }


async def list_all(client: AsyncNetraClient, stretches: WindowQueue, query: TraceQuery) -> AsyncIterator[TracesPage]:
    """The pages of all that is due, as often as windows list a trace. Raises `NetraError`."""
    while (stretch := await stretches.next()) is not None:
        if stretch.is_empty:
            continue
        found = False
        for trace_id in query.trace_ids or (None,):
            async for page in list_pages(client, stretch.window, query, trace_id):
                found = found or bool(page.traces)
                yield page
        stretches.listed(found=found)
