"""`AsyncNetraClient`: the calls of ``Netra.usage`` in netra-sdk 1.2.2, but asynchronous and raising errors.

Methods, arguments, their order and defaults are the SDK's. Failures differ: the SDK logs them and returns ``{}`` or
``None``. Here ``None`` means that Netra has no such item, and every failure is a `NetraError`. Invalid arguments are a
`UsageError` before anything is sent.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from copy import copy
from functools import partial
from types import TracebackType
from typing import TypeVar

from netra_otel_bridge.core.clock import Backoff, Clock, SystemClock
from netra_otel_bridge.core.model.netra import (
    SessionUsageData,
    SpansPage,
    TenantUsageData,
    TracesPage,
    TraceSpan,
    TraceSummary,
)
from netra_otel_bridge.core.model.query import TraceFilter
from netra_otel_bridge.source import schema
from netra_otel_bridge.source.arguments import (
    Direction,
    SortOrder,
    Time,
    end_text,
    one_of,
    page_size,
    start_text,
    trace_query,
)
from netra_otel_bridge.source.calls import BodyRoom, Call, NoRoom, TransportStats
from netra_otel_bridge.source.dashboard import AsyncDashboard
from netra_otel_bridge.source.endpoint import query, segment
from netra_otel_bridge.source.failures import WordsPolicy
from netra_otel_bridge.source.pages import PAGE_LIMIT, read_pages
from netra_otel_bridge.source.transport import Transport

T = TypeVar("T")
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
DASHBOARD_TIMEOUT_S = 30.0
"""Longer than the timeout of other calls, because Netra computes the results of dashboard calls on request."""


class AsyncNetraClient:
    """Reads Netra. An async context manager; belongs to one event loop; any number of calls may run at once.

    ``endpoint`` is the ``NETRA_OTLP_ENDPOINT`` of netra-sdk, with or without ``/telemetry``. ``timeout`` is in seconds
    and covers one attempt from connecting to the last byte; ``dashboard_timeout`` applies to the calls of `dashboard`.
    ``max_concurrency`` and ``rate_per_s`` limit all calls together, and ``max_response_bytes`` one decoded response.
    ``allow_insecure`` allows sending the API key over plain http to hosts other than this one. ``ssl_context`` replaces
    the system's certificate authorities. ``error_words`` returns what errors may repeat of Netra's words, given the
    message of an error response and its code or ``""``; by default all. Raises `ConfigurationError`, and `UsageError` for a ``backoff`` of another
    type.
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
        error_words: WordsPolicy | None = None,
    ) -> None:
        self._backoff = Backoff() if backoff is None else backoff
        self._clock = clock or SystemClock()
        self._permits: asyncio.Semaphore | None = None
        self._counted: Counter[str] = Counter()
        self._room: BodyRoom | None = None
        self._transport = Transport(
            api_key=api_key,
            endpoint=endpoint,
            headers=headers or {},
            timeout_s=timeout,
            max_concurrency=max_concurrency,
            rate_per_s=rate_per_s,
            backoff=self._backoff,
            max_response_bytes=max_response_bytes,
            allow_insecure=allow_insecure,
            clock=self._clock,
            ssl_context=ssl_context,
            error_words=error_words,
        )
        self.dashboard = AsyncDashboard(
            self._transport, timeout=dashboard_timeout, backoff=self._backoff, clock=self._clock
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transport.host})"

    async def __aenter__(self) -> AsyncNetraClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Calls after this raise `UsageError`."""
        await self._transport.close()

    @property
    def base_url(self) -> str:
        """Return the endpoint without ``/telemetry``. The state stores progress under this name."""
        return self._transport.base

    def netra_now_ns(self) -> int | None:
        """Return the time by Netra's clock, accurate to a second; ``None`` before the first response with a date."""
        return self._transport.exchange.netra_now_ns()

    def watch_dates(self, on_date: Callable[[int, float], None]) -> None:
        """Call ``on_date`` with each time that Netra gives, and the monotonic time in seconds at which it arrived.

        This replaces the previous callback. A date is read every few seconds, not from each response.
        """
        self._transport.exchange.on_date = on_date

    def use_api_key(self, api_key: str) -> None:
        """Use another key from now on. Raises `ConfigurationError`."""
        self._transport.exchange.use_api_key(api_key)

    @property
    def stats(self) -> TransportStats:
        """Return the counts of the calls made so far."""
        return self._transport.stats

    @property
    def counted(self) -> int:
        """Return the number of calls made through this client and its copies, without retries; see `counting`."""
        return self._counted.total()

    def counting(self) -> AsyncNetraClient:
        """Return a copy of this client that counts its own calls in `counted`.

        The copy shares connections, key, rate and limit with this client. Close this client, not the copy.
        """
        counting = copy(self)
        counting._counted = Counter()
        return counting

    def within(self, calls: int) -> AsyncNetraClient:
        """Return a copy of this client that has at most ``calls`` in flight.

        The copy shares connections, key and rate with this client. Close this client, not the copy.
        """
        limited = copy(self)
        limited._permits = asyncio.Semaphore(calls)
        return limited

    def holding(self, room: BodyRoom) -> AsyncNetraClient:
        """Return a copy of this client whose large pages of spans are read only while ``room`` has memory for them.

        The copy shares connections, key and rate with this client. Close this client, not the copy.
        """
        held = copy(self)
        held._room = room
        return held

    async def _ask(self, call: Call, decode: Callable[[bytes], T]) -> T:
        self._counted[call.name] += 1
        while True:
            try:
                return await self._ask_once(call, decode)
            except NoRoom:
                if call.room is not None:
                    await call.room.wait()

    async def _ask_once(self, call: Call, decode: Callable[[bytes], T]) -> T:
        if self._permits is None:
            return await self._transport.request(call, decode)
        async with self._permits:
            return await self._transport.request(call, decode)

    async def get_session_usage(self, session_id: str, start_time: Time, end_time: Time) -> SessionUsageData | None:
        """Return what a session used in a range of time; ``None`` for a session that Netra does not know."""
        times = query(startTime=start_text(start_time), endTime=end_text(end_time))
        target = f"/usage/sessions/{segment(session_id, 'session_id')}{times}"
        call = Call("GET /usage/sessions/{id}", target, subject=session_id)
        return await self._ask(call, schema.decode_session_usage)

    async def get_tenant_usage(self, tenant_id: str, start_time: Time, end_time: Time) -> TenantUsageData | None:
        """Return what a tenant used in a range of time; ``None`` for a tenant that Netra does not know."""
        times = query(startTime=start_text(start_time), endTime=end_text(end_time))
        target = f"/usage/tenants/{segment(tenant_id, 'tenant_id')}{times}"
        call = Call("GET /usage/tenants/{id}", target, subject=tenant_id)
        return await self._ask(call, schema.decode_tenant_usage)

    async def list_traces(
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
        """Return one page of traces in a range of time. ``filters`` are conditions beyond the four ids of the SDK."""
        ids = {"trace_id": trace_id, "session_id": session_id, "user_id": user_id, "tenant_id": tenant_id}
        asked = trace_query(start_time, end_time, ids, filters, limit, cursor, direction, sort_field, sort_order)
        call = Call("POST /sdk/traces", "/sdk/traces", asked)
        return await self._ask(call, partial(schema.decode_traces, limit=limit or PAGE_LIMIT))

    async def list_spans_by_trace_id(
        self,
        trace_id: str,
        cursor: str | None = None,
        direction: Direction | None = "down",
        limit: int | None = None,
        span_name: str | None = None,
    ) -> SpansPage:
        """Return one page of the spans of a trace; ``span_name`` selects those of that name or kind."""
        asked = query(
            cursor=cursor, direction=one_of(direction, "up", "down"), limit=page_size(limit), spanName=span_name
        )
        target = f"/sdk/traces/{segment(trace_id, 'trace_id')}/spans{asked}"
        call = Call("GET /sdk/traces/{id}/spans", target, subject=trace_id, room=self._room)
        return await self._ask(call, partial(schema.decode_spans, trace_id=trace_id, limit=limit or PAGE_LIMIT))

    async def get_span(self, span_id: str) -> TraceSpan | None:
        """Return one span by its id; ``None`` if Netra has none."""
        target = f"/sdk/traces/spans/{segment(span_id, 'span_id')}"
        call = Call("GET /sdk/traces/spans/{id}", target, subject=span_id, on_404=schema.NO_SPAN)
        return await self._ask(call, schema.decode_span)

    async def iter_traces(
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
    ) -> AsyncIterator[TraceSummary]:
        """Yield all traces in a range of time, read in pages of ``limit``. Ends only when Netra reports the end."""
        pages = self.iter_trace_pages(
            start_time, end_time, trace_id, session_id, user_id, tenant_id, limit, cursor, direction,
            sort_field, sort_order, filters=filters,
        )  # fmt: skip
        async for page in pages:
            for trace in page.traces:
                yield trace

    async def iter_spans_by_trace_id(
        self,
        trace_id: str,
        cursor: str | None = None,
        direction: Direction | None = "down",
        limit: int | None = None,
        span_name: str | None = None,
    ) -> AsyncIterator[TraceSpan]:
        """Yield all spans of a trace, read in pages of ``limit``. Ends only when Netra reports the end."""
        pages = self.iter_span_pages(trace_id, cursor=cursor, direction=direction, limit=limit, span_name=span_name)
        async for page in pages:
            for span in page.spans:
                yield span

    def iter_trace_pages(
        self,
        start_time: Time,
        end_time: Time,
        trace_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        tenant_id: str | None = None,
        limit: int | None = PAGE_LIMIT,
        cursor: str | None = None,
        direction: Direction | None = "down",
        sort_field: str | None = None,
        sort_order: SortOrder | None = None,
        *,
        filters: Sequence[TraceFilter] = (),
    ) -> AsyncIterator[TracesPage]:
        """Yield the pages of `iter_traces`, with their unreadable items. Raises as `read_pages`."""

        async def fetch(at: str | None, size: int | None) -> TracesPage:
            return await self.list_traces(
                start_time, end_time, trace_id, session_id, user_id, tenant_id, size, at, direction,
                sort_field, sort_order, filters=filters,
            )  # fmt: skip

        return read_pages(fetch, "the trace list", cursor=cursor, limit=limit, backoff=self._backoff, clock=self._clock)

    def iter_span_pages(
        self,
        trace_id: str,
        *,
        limit: int | None = PAGE_LIMIT,
        cursor: str | None = None,
        direction: Direction | None = "down",
        span_name: str | None = None,
    ) -> AsyncIterator[SpansPage]:
        """Yield the pages of `iter_spans_by_trace_id`, with their unreadable items. Raises as `read_pages`."""

        async def fetch(at: str | None, size: int | None) -> SpansPage:
            return await self.list_spans_by_trace_id(trace_id, at, direction, size, span_name)

        return read_pages(
            fetch,
            f"the spans of trace {trace_id!r:.82}",
            cursor=cursor,
            limit=limit,
            backoff=self._backoff,
            clock=self._clock,
        )
