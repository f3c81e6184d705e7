"""Answer trace queries: select, sort and page traces.

A cursor contains the sort key and the id of its item. The next page starts at the first item that compares greater, so
items that arrive between two pages never shift the rest. Direction ``up`` walks the same order backwards, starting at
the end.

``windowing`` determines what the range applies to. With ``traces``, a trace is listed in the window where its first
span starts, with the totals of all its spans. With ``spans``, it is listed in every window where one of its spans
starts, with the totals of the spans inside (``docs/netra-api.md``, "Dashboard calls"). The range is half open either
way.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any, Literal

from netra_otel_bridge.emulator.api_format import ApiError, pack_cursor, to_json_bytes, unpack_cursor
from netra_otel_bridge.emulator.arguments import Page
from netra_otel_bridge.emulator.filters import Condition
from netra_otel_bridge.emulator.result_cache import ResultCache
from netra_otel_bridge.emulator.store import Store
from netra_otel_bridge.emulator.summary import Summary

Windowing = Literal["traces", "spans"]
Key = tuple[bool, Any, str]
"""``(is null, value, id)``: in ascending order, nulls come after all values."""

SORT_FIELDS = frozenset(
    {
        "start_time", "end_time", "latency_ms", "latency", "name", "kind", "service", "environment", "session_id",
        "user_id", "tenant_id", "has_error", "has_pii", "has_violation", "prompt_tokens", "completion_tokens",
        "cached_tokens", "total_tokens", "prompt_tokens_cost", "completion_tokens_cost", "cached_tokens_cost",
        "total_cost",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """A valid trace query. Times are in nanoseconds, the range is half open."""

    start_ns: int
    end_ns: int
    conditions: tuple[Condition, ...]
    sort_field: str
    ascending: bool
    page: Page


def slice_page(keys: list[Any], after: Any | None, *, forward: bool, limit: int) -> tuple[range, bool]:
    """Return the indices of a page of the ascending list ``keys``, in walking order, and whether more items follow."""
    if forward:
        low = 0 if after is None else bisect_right(keys, after)
        high = min(low + limit, len(keys))
        return range(low, high), high < len(keys)
    high = len(keys) if after is None else bisect_left(keys, after)
    low = max(0, high - limit)
    return range(high - 1, low - 1, -1), low > 0


class Listing:
    """Answers trace queries from one store; recent listings are cached until the store changes."""

    def __init__(self, store: Store, windowing: Windowing) -> None:
        self._store = store
        self._windowing = windowing
        self._cache: ResultCache[list[Key]] = ResultCache(store)

    def page(self, query: TraceQuery) -> tuple[list[bytes], bool]:
        """Return a page's items as JSON, and whether more follow. Raises `ApiError` for the cursor of another query."""
        keys = self._keys(query)
        after = self._cursor_key(query) if query.page.cursor is not None else None
        forward = query.ascending == query.page.down
        try:
            indices, more = slice_page(keys, after, forward=forward, limit=query.page.limit)
        except TypeError as error:
            raise ApiError(400, "unknown cursor") from error
        return [self._item(query, keys[index]) for index in indices], more

    def _keys(self, query: TraceQuery) -> list[Key]:
        name = (query.start_ns, query.end_ns, repr(query.conditions), query.sort_field)
        return self._cache.get(name, lambda: self._list(query))

    def _list(self, query: TraceQuery) -> list[Key]:
        window = (query.start_ns, query.end_ns)
        if self._windowing == "traces" and not query.conditions and query.sort_field == "start_time":
            return [(False, trace.start_ns, trace.id) for trace in self._store.starting_in(*window)]
        traces = self._store.starting_in if self._windowing == "traces" else self._store.touching
        summaries = (self._summary(trace.id, *window) for trace in traces(*window))
        return sorted(
            _key(summary, query.sort_field)
            for summary in summaries
            if summary is not None and all(condition.holds(summary) for condition in query.conditions)
        )

    def _summary(self, trace_id: str, start_ns: int, end_ns: int) -> Summary | None:
        """Return the summary of the whole trace, or of its spans inside the window; ``None`` without spans there."""
        trace = self._store.get(trace_id)
        if trace is None:
            return None
        if self._windowing == "traces" or (start_ns <= trace.start_ns and trace.latest_start_ns < end_ns):
            return self._store.summary(trace)
        inside = self._store.inside(trace, start_ns, end_ns)
        return self._store.summary_of(trace, inside) if inside else None

    def _item(self, query: TraceQuery, key: Key) -> bytes:
        null, value, trace_id = key
        summary = self._summary(trace_id, query.start_ns, query.end_ns)
        assert summary is not None  # noqa: S101  (the listing is of this version of the store)
        cursor = pack_cursor([query.sort_field, null, value, trace_id])
        return to_json_bytes(summary.item)[:-1] + b',"cursor":"' + cursor.encode() + b'"}'

    def _cursor_key(self, query: TraceQuery) -> Key:
        match unpack_cursor(query.page.cursor or ""):
            case [query.sort_field, bool() as null, value, str() as trace_id] if self._store.get(trace_id):
                return (null, value, trace_id)
            case _:
                raise ApiError(400, "unknown cursor")


def _key(summary: Summary, field: str) -> Key:
    value: Any
    if field == "start_time":
        value = summary.start_ns
    elif field == "end_time":
        value = summary.end_ns
    else:
        value = getattr(summary.item, "latency_ms" if field == "latency" else field)
    return (value is None, "" if value is None else value, summary.item.id)
