"""Serve the calls of the Netra API (``docs/netra-api.md``, "Calls"): from the parts of a request to a JSON body."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any

from netra_otel_bridge.emulator.api_format import ApiError, to_json_bytes, unpack_cursor
from netra_otel_bridge.emulator.arguments import read_body, read_filters, read_order, read_page, read_part, read_window
from netra_otel_bridge.emulator.filters import TRACE_FIELDS
from netra_otel_bridge.emulator.render import ORGANISATION_ID, Row
from netra_otel_bridge.emulator.store import Store, Trace
from netra_otel_bridge.emulator.summary import usage
from netra_otel_bridge.emulator.trace_query import SORT_FIELDS, Listing, TraceQuery, Windowing, slice_page


class Api:
    """Answers calls from one store. Every method returns the body of a 200 answer or raises `ApiError`."""

    def __init__(self, store: Store, windowing: Windowing = "traces") -> None:
        self._store = store
        self._listing = Listing(store, windowing)

    def traces(self, body: bytes) -> bytes:
        """Serve ``POST /sdk/traces``."""
        return _page(*self._listing.page(_trace_query(body)))

    def spans(self, trace_id: str, query: Mapping[str, str]) -> bytes:
        """Serve ``GET /sdk/traces/{trace_id}/spans``: all spans of the trace, by start, whatever window listed it.

        ``spanName`` keeps spans whose name or kind contains it, ignoring case. An unknown trace has no spans.
        """
        page = read_page(query)
        trace = self._store.get(trace_id)
        if trace is None:
            return _page([], more=False)
        rows = self._store.rows(trace)
        after = _span_cursor(page.cursor, rows) if page.cursor is not None else None
        wanted = query.get("spanName")
        if wanted:
            rows = [row for row in rows if _matches(row, wanted.lower())]
        if after is None and page.down and page.limit >= len(rows):
            return _page([row.body for row in rows], more=False)
        indices, more = slice_page([row.key for row in rows], after, forward=page.down, limit=page.limit)
        return _page([rows[index].body for index in indices], more=more)

    def span(self, span_id: str) -> bytes:
        """Serve ``GET /sdk/traces/spans/{span_id}``."""
        found = self._store.span(span_id)
        if found is None:
            raise ApiError(404, f"span {span_id!r} was not found")
        return b'{"data":' + found.body + b"}"

    def session_usage(self, session_id: str, query: Mapping[str, str]) -> bytes:
        """Serve ``GET /usage/sessions/{session_id}``: its spans that start in the range; no id if it is unknown."""
        window = read_window(query)
        traces = self._store.session_traces(session_id)
        rows = self._rows(traces or [], *window)
        total = usage(row for row in rows if row.columns.session_id == session_id)
        answer: dict[str, Any] = {} if traces is None else {"session_id": session_id}
        answer |= {"tokenCount": total.tokens, "requestsCount": total.requests, "totalCost": total.cost}
        return to_json_bytes({"data": answer})

    def tenant_usage(self, tenant_id: str, query: Mapping[str, str]) -> bytes:
        """Serve ``GET /usage/tenants/{tenant_id}`` likewise; ``sessionsCount`` counts sessions with spans there."""
        window = read_window(query)
        traces = self._store.tenant_traces(tenant_id)
        rows = self._rows(traces or [], *window)
        total = usage(row for row in rows if row.columns.tenant_id == tenant_id)
        answer: dict[str, Any] = {}
        if traces is not None:
            answer = {"tenant_id": tenant_id, "organisation_id": ORGANISATION_ID}
        answer |= {
            "tokenCount": total.tokens,
            "requestsCount": total.requests,
            "sessionsCount": total.sessions,
            "totalCost": total.cost,
        }
        return to_json_bytes({"data": answer})

    def _rows(self, traces: list[Trace], start_ns: int, end_ns: int) -> Iterator[Row]:
        for trace in traces:
            if trace.start_ns < end_ns and trace.latest_start_ns >= start_ns:
                yield from self._store.inside(trace, start_ns, end_ns)


def _page(items: list[bytes], more: bool) -> bytes:
    tail = b'],"pageInfo":{"hasNextPage":true}}}' if more else b'],"pageInfo":{"hasNextPage":false}}}'
    return b'{"data":{"data":[' + b",".join(items) + tail


def _trace_query(body: bytes) -> TraceQuery:
    given = read_body(body)
    page = read_page(read_part(given, "pagination"))
    sort_field, ascending = read_order(given, SORT_FIELDS)
    start_ns, end_ns = read_window(given)
    return TraceQuery(
        start_ns=start_ns,
        end_ns=end_ns,
        conditions=read_filters(given, TRACE_FIELDS),
        sort_field=sort_field,
        ascending=ascending,
        page=page,
    )


def _span_cursor(cursor: str, rows: list[Row]) -> tuple[int, str]:
    match unpack_cursor(cursor):
        case [int() as start_ns, str() as span_id]:
            index = bisect_left(rows, (start_ns, span_id), key=_row_key)
            if index < len(rows) and rows[index].span_id == span_id:
                return (start_ns, span_id)
    raise ApiError(400, "unknown cursor")


def _row_key(row: Row) -> tuple[int, str]:
    return row.key


def _matches(row: Row, wanted: str) -> bool:
    return wanted in row.name.lower() or wanted in row.columns.kind.lower() or wanted in row.columns.type.lower()
