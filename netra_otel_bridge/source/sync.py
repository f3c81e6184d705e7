"""`NetraClient`: `AsyncNetraClient` for code that does not use asyncio.

Each client runs an event loop on a thread of its own and hands calls over to it, so it works in any thread, in
several at once, and under a running event loop too (which it blocks, as any synchronous call does).
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, TypeVar

from netra_otel_bridge.clock import Backoff, Clock
from netra_otel_bridge.errors import UsageError
from netra_otel_bridge.model import (
    SessionUsageData,
    SpansPage,
    TenantUsageData,
    TraceFilter,
    TracesPage,
    TraceSpan,
    TraceSummary,
)
from netra_otel_bridge.source.arguments import MAX_LIMIT, Direction, SortOrder, Time
from netra_otel_bridge.source.client import MAX_RESPONSE_BYTES, AsyncNetraClient
from netra_otel_bridge.source.transport import TransportStats

T = TypeVar("T")


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
            max_concurrency=max_concurrency,
            rate_per_s=rate_per_s,
            backoff=backoff,
            max_response_bytes=max_response_bytes,
            allow_insecure=allow_insecure,
            clock=clock,
            ssl_context=ssl_context,
        )
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="netra-client", daemon=True)
        thread.start()
        self._end = weakref.finalize(self, _shut_down, self._loop, thread, self._client)

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
        self._end()

    @property
    def stats(self) -> TransportStats:
        """What was asked of Netra so far."""
        return self._client.stats

    def get_session_usage(self, session_id: str, start_time: Time, end_time: Time) -> SessionUsageData | None:
        """What a session used in a range of time; ``None`` for a session that Netra does not know."""
        return self._run(self._client.get_session_usage(session_id, start_time, end_time))

    def get_tenant_usage(self, tenant_id: str, start_time: Time, end_time: Time) -> TenantUsageData | None:
        """What a tenant used in a range of time; ``None`` for a tenant that Netra does not know."""
        return self._run(self._client.get_tenant_usage(tenant_id, start_time, end_time))

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
        return self._run(work)

    def list_spans_by_trace_id(
        self,
        trace_id: str,
        cursor: str | None = None,
        direction: Direction | None = "down",
        limit: int | None = None,
        span_name: str | None = None,
    ) -> SpansPage:
        """One page of the spans of a trace."""
        return self._run(self._client.list_spans_by_trace_id(trace_id, cursor, direction, limit, span_name))

    def get_span(self, span_id: str) -> TraceSpan | None:
        """One span by its id; ``None`` where Netra has none."""
        return self._run(self._client.get_span(span_id))

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
        for page in self._drive(pages):
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
        return self._drive(pages)

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
        return self._drive(
            self._client.iter_span_pages(trace_id, limit=limit, cursor=cursor, direction=direction, span_name=span_name)
        )

    def _drive(self, pages: AsyncIterator[T]) -> Iterator[T]:
        """An asynchronous iterator, pulled from here one step at a time."""
        while (page := self._run(_step(pages))) is not None:
            yield page

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the client's loop and wait; interrupting the wait cancels the work."""
        if not self._end.alive:
            work.close()
            raise UsageError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise UsageError("the client was closed") from None
        finally:
            future.cancel()


async def _step(pages: AsyncIterator[T]) -> T | None:
    """The next page; ``None`` after the last, because ``StopAsyncIteration`` does not cross into a future."""
    return await anext(pages, None)


def _shut_down(loop: asyncio.AbstractEventLoop, thread: threading.Thread, client: AsyncNetraClient) -> None:
    """Close the client, end its loop, join its thread: what `weakref.finalize` calls once, however the client ends."""

    async def finish() -> None:
        await client.aclose()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()

    asyncio.run_coroutine_threadsafe(finish(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
