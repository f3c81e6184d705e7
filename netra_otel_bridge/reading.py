"""Reading Netra as lanes and streams do: the traces of a window in order, and all spans of a trace within a budget."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any

from netra_otel_bridge.clock import iso_ms
from netra_otel_bridge.errors import NetraCursorRefused, NetraError, NetraNotFound, NetraRejected, NetraResponseTooLarge
from netra_otel_bridge.held import Share
from netra_otel_bridge.model import TraceQuery, TracesPage, TraceSpan, UnreadableItem, Window
from netra_otel_bridge.source import AsyncNetraClient

PAGE_LIMIT = 100
RESTARTS = 3
"""How often a listing, or a trace, is begun again because its cursor expired."""
SKIPPED_AT_LEAST = 10
"""Traces that may be gone or too large before it counts: then, and above a tenth, it is not the traces' fault."""


SEVERAL = 4
"""Empty windows in a row, after which it is asked whether as many again are empty too, with one call."""
WIDEST = 720
"""Windows that are asked about at once, at most."""


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


@dataclass(frozen=True, slots=True)
class Stretch:
    """A window to list, or several in a row, of which it is known that they are empty."""

    window: Window
    windows: int = 1
    is_empty: bool = False


class Stretches:
    """The windows of a pass, in order, for one or several that list them; times without traces are passed in few calls.

    After `SEVERAL` windows that were empty, ``may_hold`` is asked about the next ones together: about twice as many each
    time, and once it said yes, about half as many each time. What it said yes to is listed window by window: so traces
    are always summed up within the same bounds. Where it is refused, it is asked about half as many at most from then on;
    where it fails in another way, no more.
    """

    def __init__(self, windows: Iterable[Window], may_hold: Callable[[Window], Awaitable[bool]]) -> None:
        self._due = deque(windows)
        self._may_hold = may_hold
        self._widest = WIDEST
        self._empty = 0
        self._together = 1
        self._narrowing = False
        self._choosing = asyncio.Lock()

    async def next(self) -> Stretch | None:
        """The next; ``None`` behind the last."""
        async with self._choosing:
            while len(row := self._row()) > 1:
                whole = Window(row[0].start_ns, row[-1].end_ns)
                is_empty = await self._is_empty(whole)
                self._narrowing = self._narrowing or not is_empty
                self._ask(len(row) // 2 if self._narrowing else 2 * len(row))
                if is_empty:
                    for _ in row:
                        self._due.popleft()
                    return Stretch(whole, len(row), is_empty=True)
            return Stretch(self._due.popleft()) if self._due else None

    def listed(self, *, found: bool) -> None:
        """A window was listed to its end, and there was something in it or not."""
        self._empty = 0 if found else self._empty + 1
        if self._empty < SEVERAL:
            self._together = 1
        elif self._together == 1:
            self._narrowing = False
            self._ask(SEVERAL)

    def _ask(self, together: int) -> None:
        """So many windows are asked about next time; fewer than `SEVERAL` are listed."""
        together = min(together, self._widest)
        self._together = together if together >= SEVERAL else 1
        if self._together == 1:
            self._empty = 0

    def _row(self) -> list[Window]:
        """The windows that are due next, but for those behind a gap."""
        row: list[Window] = []
        for window in islice(self._due, self._together):
            if row and window.start_ns != row[-1].end_ns:
                break
            row.append(window)
        return row

    async def _is_empty(self, window: Window) -> bool:
        try:
            return not await self._may_hold(window)
        except NetraError as error:
            self._widest = self._together // 2 if isinstance(error, NetraRejected) else 1
            return False


async def list_all(client: AsyncNetraClient, stretches: Stretches, query: TraceQuery) -> AsyncIterator[TracesPage]:
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


async def read_spans(
    client: AsyncNetraClient, trace_id: str, share: Share, unreadable: Callable[[Sequence[UnreadableItem]], None]
) -> list[TraceSpan]:
    """All spans of a trace, each once; a cursor that expires starts the trace again.

    It waits for ``share`` to have room, and adds to it what it holds. ``unreadable`` is told of items that are no spans.
    """
    for _ in range(RESTARTS):
        try:
            return await _read_spans(client, trace_id, share, unreadable)
        except NetraCursorRefused:
            continue
    return await _read_spans(client, trace_id, share, unreadable)


async def _read_spans(
    client: AsyncNetraClient, trace_id: str, share: Share, unreadable: Callable[[Sequence[UnreadableItem]], None]
) -> list[TraceSpan]:
    spans: dict[str, TraceSpan] = {}
    await share.room()
    async for page in client.iter_span_pages(trace_id, limit=PAGE_LIMIT):
        unreadable(page.unreadable)
        for span in page.spans:
            spans.setdefault(span.id, span)
        share.add(_size_bytes(page.spans))
        await share.room()
    return list(spans.values())


class Skipped:
    """Traces that Netra listed and that cannot be read: gone since, or with a span larger than any answer may be."""

    def __init__(self) -> None:
        self._count = 0

    def note(self, error: NetraNotFound | NetraResponseTooLarge, listed: int) -> str:
        """One more, of so many ``listed``; returns why. Raises ``error`` where this is not the API, or they are too many."""
        self._count += 1
        gone = isinstance(error, NetraNotFound)
        if (gone and error.status != HTTPStatus.NOT_FOUND) or self._count > max(SKIPPED_AT_LEAST, listed // 10):
            raise error
        return "it is gone since Netra listed it" if gone else f"it cannot be read: {error.message}"


def _size_bytes(spans: Iterable[TraceSpan]) -> int:
    """Roughly what spans hold in memory: their JSON columns twice, before and after conversion, and their fields."""
    return sum(
        2000 + 2 * sum(len(text) for text in (span.attributes, span.events) if isinstance(text, str)) for span in spans
    )
