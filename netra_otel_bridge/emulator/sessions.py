"""Serve the session calls of the dashboard: sessions by start or cost, totals of all sessions, one with its traces.

All use the spans of a session that start in the range and meet the filters, so requests and cost of a session equal
those of its usage call. Where Netra's format is unknown, the emulator uses a plausible one: durations are ``HH:MM:SS``,
the summary has the fields of `Sessions.summary`, and a trace of a session has the fields of the trace list.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from netra_otel_bridge.emulator.api_format import ApiError, epoch_iso, pack_cursor, to_json_bytes, unpack_cursor
from netra_otel_bridge.emulator.arguments import (
    read_body,
    read_filters,
    read_instant,
    read_order,
    read_page,
    read_part,
    read_window,
)
from netra_otel_bridge.emulator.dashboard import meets
from netra_otel_bridge.emulator.filters import Condition
from netra_otel_bridge.emulator.measures import average, total
from netra_otel_bridge.emulator.render import Row
from netra_otel_bridge.emulator.result_cache import ResultCache
from netra_otel_bridge.emulator.store import Store
from netra_otel_bridge.emulator.summary import summarize
from netra_otel_bridge.emulator.trace_query import slice_page

FILTER_FIELDS = frozenset({"tenant_id", "environment", "service", "user_id"})
SORT_FIELDS = frozenset({"session_id", "start_time", "totalRequests", "totalCost"})
_EVER_NS = 1 << 80
_Key = tuple[Any, str]


@dataclass(slots=True)
class Session:
    """Totals of one session in the range; ``costs`` is by model, ``""`` for spans without one."""

    id: str
    start_ns: int
    end_ns: int
    requests: int = 0
    tokens: int = 0
    costs: dict[str, list[float]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Add one span."""
        self.start_ns, self.end_ns = min(self.start_ns, row.start_ns), max(self.end_ns, row.end_ns)
        columns = row.columns
        if columns.counted:
            self.requests += 1
            self.tokens += columns.total_tokens or 0
            if columns.costs.total is not None:
                self.costs.setdefault(columns.model or "", []).append(columns.costs.total)

    @property
    def cost(self) -> float:
        """Return the total cost in US dollars."""
        return round(math.fsum(cost for costs in self.costs.values() for cost in costs), 10)

    def key(self, sort_field: str) -> _Key:
        """Return the sort key of the session in that order."""
        match sort_field:
            case "session_id":
                return (self.id, self.id)
            case "start_time":
                return (self.start_ns, self.id)
            case "totalRequests":
                return (self.requests, self.id)
            case _:
                return (self.cost, self.id)


class Sessions:
    """Answers the session calls from one store; grouped sessions are cached until the store changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._grouped: ResultCache[dict[str, Session]] = ResultCache(store)
        self._orders: ResultCache[list[_Key]] = ResultCache(store)

    def stats(self, body: bytes) -> bytes:
        """Serve ``POST /public/dashboard/sessions/stats``: a page of sessions, latest first by default."""
        given = read_body(body)
        page = read_page(read_part(given, "pagination"))
        sort_field, ascending = read_order(given, SORT_FIELDS)
        selection = (*read_window(given), _conditions(given))
        sessions = self._sessions(*selection)
        keys = self._orders.get(
            (repr(selection), sort_field), lambda: sorted(session.key(sort_field) for session in sessions.values())
        )
        after = None if page.cursor is None else _cursor_key(page.cursor, sort_field, sessions)
        try:
            indices, more = slice_page(keys, after, forward=ascending == page.down, limit=page.limit)
        except TypeError as error:
            raise ApiError(400, "unknown cursor") from error
        items = [_item(sessions[keys[index][1]], pack_cursor([sort_field, *keys[index]])) for index in indices]
        return to_json_bytes({"data": {"sessions": items, "pageInfo": {"hasNextPage": more}}})

    def summary(self, body: bytes) -> bytes:
        """Serve ``POST /public/dashboard/sessions/summary``: ``averageLatency`` is that of sessions, in ms."""
        bounds = read_part(read_body(body), "filter")
        sessions = self._sessions(*read_window(bounds), _conditions(bounds)).values()
        costs: dict[str, list[float]] = {}
        for session in sessions:
            for model, amounts in session.costs.items():
                costs.setdefault(model, []).extend(amounts)
        by_model = sorted(((total(amounts), model) for model, amounts in costs.items()), reverse=True)
        answer = {
            "totalSessions": len(sessions),
            "totalRequests": sum(session.requests for session in sessions),
            "totalTokens": sum(session.tokens for session in sessions),
            "totalCost": round(math.fsum(session.cost for session in sessions), 10),
            "averageLatency": average([(session.end_ns - session.start_ns) // 1_000_000 for session in sessions]),
            "costByModel": [{"model": model, "cost": cost} for cost, model in by_model],
        }
        return to_json_bytes({"data": answer})

    def details(self, session_id: str, query: Mapping[str, str]) -> bytes:
        """Serve ``GET /public/dashboard/session/{session_id}``.

        Both bounds are optional. An unknown session is null.
        """
        start_ns = read_instant(query, "startTime") if query.get("startTime") else -_EVER_NS
        end_ns = read_instant(query, "endTime") if query.get("endTime") else _EVER_NS
        if end_ns < start_ns:
            raise ApiError(400, "endTime is before startTime")
        traces = self._store.session_traces(session_id)
        if traces is None:
            return to_json_bytes({"data": None})
        summaries = []
        for trace in traces:
            rows = [row for row in self._store.inside(trace, start_ns, end_ns) if row.columns.session_id == session_id]
            if rows:
                summaries.append(summarize(trace.id, rows))
        summaries.sort(key=lambda summary: (summary.start_ns, summary.item.id))
        return to_json_bytes({"data": {"sessionId": session_id, "traces": [summary.item for summary in summaries]}})

    def _sessions(self, start_ns: int, end_ns: int, conditions: tuple[Condition, ...]) -> dict[str, Session]:
        def group() -> dict[str, Session]:
            sessions: dict[str, Session] = {}
            for row in self._rows(start_ns, end_ns, conditions):
                session_id = row.columns.session_id
                if session_id is not None:
                    session = sessions.get(session_id)
                    if session is None:
                        session = sessions[session_id] = Session(session_id, row.start_ns, row.end_ns)
                    session.add(row)
            return sessions

        return self._grouped.get((start_ns, end_ns, repr(conditions)), group)

    def _rows(self, start_ns: int, end_ns: int, conditions: tuple[Condition, ...]) -> Iterator[Row]:
        for trace in self._store.touching(start_ns, end_ns):
            for row in self._store.inside(trace, start_ns, end_ns):
                if not conditions or meets(row, conditions):
                    yield row


def _conditions(given: Mapping[str, Any]) -> tuple[Condition, ...]:
    conditions = read_filters(given, FILTER_FIELDS)
    for condition in conditions:
        if condition.operator != "any_of":
            raise ApiError(400, f"filter {condition.field}: sessions can only be filtered with any_of")
    return conditions


def _cursor_key(cursor: str, sort_field: str, sessions: dict[str, Session]) -> _Key:
    match unpack_cursor(cursor):
        case [str() as field_of, value, str() as session_id] if field_of == sort_field and session_id in sessions:
            return (value, session_id)
        case _:
            raise ApiError(400, "unknown cursor")


def _item(session: Session, cursor: str) -> dict[str, Any]:
    minutes, seconds = divmod((session.end_ns - session.start_ns) // 1_000_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    return {
        "session_id": session.id,
        "session_start_time": epoch_iso(session.start_ns // 1_000_000),
        "totalRequests": session.requests,
        "totalCost": session.cost,
        "session_duration": f"{hours:02d}:{minutes:02d}:{seconds:02d}",
        "cursor": cursor,
    }
