"""What Netra's dashboards say of the last hour: latency, errors, findings, and the sessions that cost most.

Not every key or installation allows these calls. Where they are refused that is said once, and asked again an hour later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from heapq import nlargest

from netra_otel_bridge.core.clock import HOUR_NS, Clock
from netra_otel_bridge.core.errors import NetraNotAllowed
from netra_otel_bridge.core.model.dashboards import Aggregation, Bar, Dimension, FilterConfig, Measure, Metrics, Scope
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.usage.view import ChartFigure

WINDOW_NS = HOUR_NS
"""What the figures are over: the hour before."""
REFUSED_S = 3600.0
MAX_SESSION_PAGES = 10
"""Pages of a hundred sessions in which those that are wanted are looked for."""
MAX_VALUES = 50
"""Values of a dimension that are shown: the largest figures."""
DIMENSIONS: tuple[tuple[str, str, Scope], ...] = (
    ("service", "service", "Traces"),
    ("environment", "environment", "Traces"),
    ("model", "model_name", "Spans"),
)
"""What figures are split by: the name here, Netra's field, and whether they are of traces or of spans. What was used is of
spans in each case."""
_USED = ("cost", "tokens", "requests")
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
"""The gauge, its quantile, the factor from Netra's unit to the gauge's, and Netra's measure and aggregation."""
_log = logging.getLogger(__name__)


class LastHour:
    """Asks one source for the figures of the last hour."""

    def __init__(self, client: AsyncNetraClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._refused_s: float | None = None
        self._cut: set[str] = set()

    async def figures(self, now_ns: int) -> tuple[ChartFigure, ...]:
        """The figures of the last hour; none where the calls are not allowed. Raises `NetraError`."""
        if self._is_refused():
            return ()
        asked = FilterConfig(iso_ms(now_ns - WINDOW_NS), iso_ms(now_ns), "hour")
        found: list[ChartFigure] = []
        try:
            for dimension, field, scope in DIMENSIONS:
                for name, quantile, factor, measure, aggregation in MEASURES:
                    metrics = Metrics(measure, aggregation)
                    data = await self._client.dashboard.query_data(
                        "Spans" if name in _USED else scope, "Horizontal Bar", metrics, asked, Dimension(field)
                    )
                    bars = data.bars or []
                    self._left_out(dimension, len(bars) - MAX_VALUES)
                    for value, figure in _largest(bars):
                        found.append(ChartFigure(name, dimension, value, figure * factor, quantile))
        except NetraNotAllowed as error:
            self._refuse(error)
            return ()
        return tuple(found)

    async def top_sessions(self, count: int, now_ns: int, wanted: Callable[[str], bool]) -> list[str] | None:
        """Those sessions among the dearest of the last hour that are ``wanted``, at most ``count``; ``None`` where the call is
        not allowed. Raises `NetraError`."""
        if self._is_refused():
            return None
        start, end = iso_ms(now_ns - WINDOW_NS), iso_ms(now_ns)
        found: dict[str, None] = {}
        pages = 0
        try:
            async for page in self._client.dashboard.iter_session_pages(
                start, end, sort_field="totalCost", sort_order="desc", limit=100
            ):
                found |= dict.fromkeys(one.session_id for one in page.sessions if wanted(one.session_id))
                pages += 1
                if len(found) >= count or pages == MAX_SESSION_PAGES:
                    break
        except NetraNotAllowed as error:
            self._refuse(error)
            return None
        return list(found)[:count]

    def _left_out(self, dimension: str, count: int) -> None:
        if count > 0 and dimension not in self._cut:
            self._cut.add(dimension)
            _log.warning("of Netra's dashboards, the %d largest values by %s are shown", MAX_VALUES, dimension)

    def _is_refused(self) -> bool:
        return self._refused_s is not None and self._clock.monotonic() - self._refused_s < REFUSED_S

    def _refuse(self, error: NetraNotAllowed) -> None:
        if self._refused_s is None:
            _log.warning("going on without Netra's dashboards, with the usage calls alone: %s", error)
        self._refused_s = self._clock.monotonic()


def _largest(bars: list[Bar]) -> Iterator[tuple[str, float]]:
    values = ((bar.dimension, float(bar.value)) for bar in bars if bar.dimension and bar.value is not None)
    yield from nlargest(MAX_VALUES, values, key=lambda one: one[1])
