"""Read the last hour from Netra's dashboards: spend, latency, errors, findings, and the most expensive sessions.

Some keys and installations do not allow these calls. A warning is then logged once, and the calls are tried again an
hour later.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from heapq import nlargest

from netra_otel_bridge.core.clock import HOUR_NS, Clock
from netra_otel_bridge.core.errors import NetraNotAllowed
from netra_otel_bridge.core.model.dashboards import (
    Aggregation,
    Bar,
    Dimension,
    FilterConfig,
    Measure,
    Metrics,
    Scope,
    SessionStatsPage,
)
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.pages import PAGE_LIMIT, with_restarts
from netra_otel_bridge.usage.view import ChartValue

WINDOW_NS = HOUR_NS
"""The range that the values cover, up to now."""
RETRY_S = 3600.0
"""The time until calls that Netra did not allow are tried again."""
MAX_SESSION_PAGES = 10
"""Maximum number of pages, of a hundred sessions each, that are searched for the wanted sessions."""
MAX_VALUES = 50
"""Maximum number of values of a dimension that are exported: the largest ones."""
DIMENSIONS: tuple[tuple[str, str, Scope], ...] = (
    ("service", "service", "Traces"),
    ("environment", "environment", "Traces"),
    ("model", "model_name", "Spans"),
)
"""Dimension, Netra's field, and Netra's scope. Measures of usage always have the scope ``Spans``."""
_USAGE = ("cost", "tokens", "requests")
MEASURES: tuple[tuple[str, str, float, Measure, Aggregation], ...] = (
    ("latency", "0.5", 1e-3, "Latency", "p50"),
    ("latency", "0.9", 1e-3, "Latency", "p90"),
    ("latency", "0.95", 1e-3, "Latency", "p95"),
    ("latency", "0.99", 1e-3, "Latency", "p99"),
    ("error.ratio", "", 1e-2, "Error Rate", "Percentage"),
    ("cost", "", 1.0, "Total Cost", "Total Count"),
    ("tokens", "", 1.0, "Total Tokens", "Total Count"),
    ("requests", "", 1.0, "Request Count", "Total Count"),
    ("pii", "", 1.0, "PII Count", "Total Count"),
    ("violations", "", 1.0, "Violations", "Total Count"),
)
"""Gauge, quantile, factor from Netra's unit to the gauge's, Netra's measure, and its aggregation."""
_log = logging.getLogger(__name__)


class DashboardCharts:
    """Reads the dashboards of one source."""

    def __init__(self, client: AsyncNetraClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._denied_s: float | None = None
        self._truncated: set[str] = set()

    async def read(self, now_ns: int) -> tuple[ChartValue, ...]:
        """Return the values of the last hour; none if Netra does not allow the calls. Raises `NetraError`."""
        if self._is_denied():
            return ()
        filters = FilterConfig(iso_ms(now_ns - WINDOW_NS), iso_ms(now_ns), "hour")
        found: list[ChartValue] = []
        try:
            for dimension, field, scope in DIMENSIONS:
                for name, quantile, factor, measure, aggregation in MEASURES:
                    data = await self._client.dashboard.query_data(
                        "Spans" if name in _USAGE else scope,
                        "Horizontal Bar",
                        Metrics(measure, aggregation),
                        filters,
                        Dimension(field),
                    )
                    bars = data.bars or []
                    if len(bars) > MAX_VALUES:
                        self._warn_truncated(dimension)
                    for dimension_value, value in _largest(bars):
                        found.append(ChartValue(name, dimension, dimension_value, value * factor, quantile))
        except NetraNotAllowed as error:
            self._note_denied(error)
            return ()
        return tuple(found)

    async def costliest_sessions(self, count: int, now_ns: int, wanted: Callable[[str], bool]) -> list[str] | None:
        """Return at most ``count`` of the ``wanted`` sessions, the most expensive of the last hour first.

        Return ``None`` if Netra does not allow the call. Raises `NetraError`.
        """
        if self._is_denied():
            return None

        def read(_cursor: str | None) -> AsyncIterator[SessionStatsPage]:
            return self._client.dashboard.iter_session_pages(
                iso_ms(now_ns - WINDOW_NS), iso_ms(now_ns), sort_field="totalCost", sort_order="desc", limit=PAGE_LIMIT
            )

        found: dict[str, None] = {}
        pages = 0
        try:
            async for page in with_restarts(read):
                found |= dict.fromkeys(one.session_id for one in page.sessions if wanted(one.session_id))
                pages += 1
                if len(found) >= count or pages == MAX_SESSION_PAGES:
                    break
        except NetraNotAllowed as error:
            self._note_denied(error)
            return None
        return list(found)[:count]

    def _warn_truncated(self, dimension: str) -> None:
        if dimension not in self._truncated:
            self._truncated.add(dimension)
            _log.warning("Netra's dashboards: only the %d largest values by %s are exported", MAX_VALUES, dimension)

    def _is_denied(self) -> bool:
        return self._denied_s is not None and self._clock.monotonic() - self._denied_s < RETRY_S

    def _note_denied(self, error: NetraNotAllowed) -> None:
        if self._denied_s is None:
            _log.warning("Netra rejects dashboard calls; continuing with the usage calls alone: %s", error)
        self._denied_s = self._clock.monotonic()


def _largest(bars: list[Bar]) -> Iterator[tuple[str, float]]:
    values = ((bar.dimension, float(bar.value)) for bar in bars if bar.dimension and bar.value is not None)
    yield from nlargest(MAX_VALUES, values, key=lambda one: one[1])
