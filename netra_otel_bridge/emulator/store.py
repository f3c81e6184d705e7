"""The emulator's data: traces, each with its rendered spans.

There are two kinds of traces. Ingested traces are kept. A sample trace is a *recipe*, which creates the same spans each
time; their rendered form is cached up to a limit in bytes, so that a million spans fit into memory. A span that is
received again (same trace, same id) replaces the earlier one.

The store is not thread-safe: it belongs to the event loop that serves it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from netra_otel_bridge.core.clock import Clock, SystemClock
from netra_otel_bridge.emulator.api_format import epoch_iso
from netra_otel_bridge.emulator.otlp import read_protobuf, spans_of
from netra_otel_bridge.emulator.render import Row, row
from netra_otel_bridge.emulator.spans import Span
from netra_otel_bridge.emulator.summary import Summary, summarize

CACHE_BYTES = 512 * 1024 * 1024


class Recipe(Protocol):
    """A trace whose spans can be created again at any time."""

    @property
    def trace_id(self) -> str: ...
    @property
    def start_ns(self) -> int:
        """Return the start of the first span."""

    @property
    def latest_start_ns(self) -> int:
        """Return an upper bound of the starts of all spans."""

    @property
    def session_id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def count(self) -> int:
        """Return the number of spans."""

    def spans(self) -> list[Span]: ...


class Trace:
    """One trace; ``rows`` are ordered by start, or ``None`` while there is only the recipe."""

    __slots__ = ("id", "latest_start_ns", "recipe", "rows", "start_ns", "summary")

    def __init__(self, trace_id: str, start_ns: int, latest_start_ns: int) -> None:
        self.id = trace_id
        self.start_ns = start_ns
        self.latest_start_ns = latest_start_ns
        self.recipe: Recipe | None = None
        self.rows: list[Row] | None = None
        self.summary: Summary | None = None


class Store:
    """Traces by id, start, session and tenant. ``version`` grows with every change."""

    def __init__(self, *, cache_bytes: int = CACHE_BYTES, clock: Clock | None = None) -> None:
        self.version = 0
        self.span_count = 0
        self._clock = clock or SystemClock()
        self._traces: dict[str, Trace] = {}
        self._sessions: dict[str, dict[str, None]] = {}
        self._tenants: dict[str, dict[str, None]] = {}
        self._span_traces: dict[str, str] = {}
        self._locate: list[Callable[[str], str | None]] = []
        self._by_start: list[tuple[int, str]] | None = []
        self._extent_ns = 0
        self._cache: OrderedDict[str, int] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self._traces)

    def ingest(self, request: ExportTraceServiceRequest | bytes) -> list[str]:
        """Store the spans of a request; return the reason for each rejected span.

        Raises `OtlpError` if the bytes are not a request in protobuf.
        """
        message = read_protobuf(request) if isinstance(request, bytes) else request
        rejected: list[str] = []
        created_at = epoch_iso(self._clock.now_ns() // 1_000_000)
        changed: dict[str, list[Row]] = {}
        for span in spans_of(message):
            if isinstance(span, str):
                rejected.append(span)
            else:
                changed.setdefault(span.trace_id, []).append(row(span, created_at))
        for trace_id, rows in changed.items():
            self._merge(trace_id, rows)
        self.version += 1
        return rejected

    def add_recipes(self, recipes: Iterable[Recipe], locate: Callable[[str], str | None]) -> None:
        """Add traces that are created on demand; ``locate`` returns the id of the trace with a span id, or ``None``."""
        for recipe in recipes:
            trace = Trace(recipe.trace_id, recipe.start_ns, recipe.latest_start_ns)
            trace.recipe = recipe
            self._traces[trace.id] = trace
            self._extent_ns = max(self._extent_ns, trace.latest_start_ns - trace.start_ns)
            self._sessions.setdefault(recipe.session_id, {})[trace.id] = None
            self._tenants.setdefault(recipe.tenant_id, {})[trace.id] = None
            self.span_count += recipe.count
        self._locate.append(locate)
        self._by_start = None
        self.version += 1

    def warm(self) -> None:
        """Create as many traces as the cache can hold, so that no request has to wait for one."""
        for trace in self._traces.values():
            if self._cached_bytes > 0.99 * self._cache_bytes:
                break
            self.summary(trace)

    def get(self, trace_id: str) -> Trace | None:
        """Return the trace with this id (hex, any case), or ``None``."""
        return self._traces.get(trace_id.lower())

    def rows(self, trace: Trace) -> list[Row]:
        """Return the spans of ``trace``, by start. Those of a recipe are created and cached."""
        if trace.rows is None:
            assert trace.recipe is not None  # noqa: S101  (a trace has rows or a recipe)
            trace.rows = sorted((row(span) for span in trace.recipe.spans()), key=_row_key)
            self._cache_rows(trace)
        elif trace.recipe is not None:
            self._cache.move_to_end(trace.id)
        return trace.rows

    def summary(self, trace: Trace) -> Summary:
        """Return the summary of all spans of ``trace``."""
        if trace.summary is None:
            trace.summary = summarize(trace.id, self.rows(trace))
        return trace.summary

    def inside(self, trace: Trace, start_ns: int, end_ns: int) -> list[Row]:
        """Return the spans of ``trace`` that start in ``[start_ns, end_ns)``."""
        rows = self.rows(trace)
        if start_ns <= trace.start_ns and trace.latest_start_ns < end_ns:
            return rows
        low = bisect_left(rows, (start_ns, ""), key=_row_key)
        return rows[low : bisect_left(rows, (end_ns, ""), low, key=_row_key)]

    def summary_of(self, trace: Trace, inside: list[Row]) -> Summary:
        """Return the summary of these spans of ``trace`` (at least one)."""
        return self.summary(trace) if len(inside) == len(self.rows(trace)) else summarize(trace.id, inside)

    def span(self, span_id: str) -> Row | None:
        """Return the span with this id (hex, any case), or ``None``."""
        wanted = span_id.lower()
        owners = [self._span_traces.get(wanted), *(locate(wanted) for locate in self._locate)]
        for owner in owners:
            trace = self._traces.get(owner) if owner else None
            if trace is not None:
                return next((found for found in self.rows(trace) if found.span_id == wanted), None)
        return None

    def starting_in(self, start_ns: int, end_ns: int) -> Iterator[Trace]:
        """Yield traces whose first span starts in ``[start_ns, end_ns)``, by start."""
        index = self._index()
        for _, trace_id in index[bisect_left(index, (start_ns, "")) : bisect_left(index, (end_ns, ""))]:
            yield self._traces[trace_id]

    def touching(self, start_ns: int, end_ns: int) -> Iterator[Trace]:
        """Yield all traces with a span that starts in ``[start_ns, end_ns)``, and possibly some others."""
        for trace in self.starting_in(start_ns - self._extent_ns, end_ns):
            if trace.latest_start_ns >= start_ns:
                yield trace

    def session_traces(self, session_id: str) -> list[Trace] | None:
        """Return the traces with a span of this session; ``None`` for an unknown session."""
        return self._listed(self._sessions.get(session_id))

    def tenant_traces(self, tenant_id: str) -> list[Trace] | None:
        """Return the traces with a span of this tenant; ``None`` for an unknown tenant."""
        return self._listed(self._tenants.get(tenant_id))

    def _listed(self, ids: dict[str, None] | None) -> list[Trace] | None:
        return None if ids is None else [self._traces[trace_id] for trace_id in ids]

    def _index(self) -> list[tuple[int, str]]:
        if self._by_start is None:
            self._by_start = sorted((trace.start_ns, trace.id) for trace in self._traces.values())
        return self._by_start

    def _merge(self, trace_id: str, new: list[Row]) -> None:
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = self._traces[trace_id] = Trace(trace_id, 0, 0)
            merged: dict[str, Row] = {}
        else:
            merged = {found.span_id: found for found in self.rows(trace)}
            self._make_permanent(trace)
        before = len(merged)
        merged.update((found.span_id, found) for found in new)
        self.span_count += len(merged) - before
        trace.rows = sorted(merged.values(), key=_row_key)
        trace.summary = None
        trace.start_ns, trace.latest_start_ns = trace.rows[0].start_ns, trace.rows[-1].start_ns
        self._extent_ns = max(self._extent_ns, trace.latest_start_ns - trace.start_ns)
        self._by_start = None
        for found in new:
            self._span_traces[found.span_id] = trace_id
            if found.columns.session_id is not None:
                self._sessions.setdefault(found.columns.session_id, {})[trace_id] = None
            if found.columns.tenant_id is not None:
                self._tenants.setdefault(found.columns.tenant_id, {})[trace_id] = None

    def _cache_rows(self, trace: Trace) -> None:
        size = sum(len(found.body) for found in trace.rows or ())
        self._cache[trace.id] = size
        self._cached_bytes += size
        while self._cached_bytes > self._cache_bytes and len(self._cache) > 1:
            oldest, freed = self._cache.popitem(last=False)
            self._traces[oldest].rows = None
            self._cached_bytes -= freed

    def _make_permanent(self, trace: Trace) -> None:
        """Turn a sample trace into an ingested one, because it received spans."""
        if trace.recipe is not None:
            trace.recipe = None
            self._cached_bytes -= self._cache.pop(trace.id)


def _row_key(found: Row) -> tuple[int, str]:
    return found.key
