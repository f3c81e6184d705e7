"""The dashboard query: a measure over spans or traces, by time, by dimension, or as a number.

Only spans that start in the range ``[startTime, endTime)`` count; if a trace crosses a bound, only its spans inside do
(as netra-sdk documents for the one-session call). A span belongs to the step in which it starts, a trace to the step of
its first span. Steps are whole UTC minutes, hours and days, named by their start, which may be before the range. A step
or dimension without a value is left out. Spans without environment, service or model appear under the dimension ``""``;
a trace appears under each of its models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from netra_otel_bridge.emulator.api_format import ApiError, epoch_iso, to_json_bytes
from netra_otel_bridge.emulator.arguments import read_body, read_filters, read_part, read_window
from netra_otel_bridge.emulator.filters import METADATA, Condition
from netra_otel_bridge.emulator.measures import AGGREGATIONS, SPAN_VALUES, TRACE_VALUES, Aggregate, Number, Part
from netra_otel_bridge.emulator.render import Row
from netra_otel_bridge.emulator.store import Store

STEPS_NS = {"minute": 60 * 10**9, "hour": 3600 * 10**9, "day": 86400 * 10**9}
SERIES, BARS, NUMBER = "series", "bars", "number"
CHARTS = {
    "Line Time Series": SERIES,
    "Bar Time Series": SERIES,
    "Horizontal Bar": BARS,
    "Vertical Bar": BARS,
    "Pie": BARS,
    "Number": NUMBER,
}
DIMENSIONS = ("environment", "service", "model_name")
_Values = dict[tuple[int, str], list[Number]]

SPAN_FIELDS: dict[str, Callable[[Row], Any]] = {
    "tenant_id": lambda row: row.columns.tenant_id,
    "user_id": lambda row: row.columns.user_id,
    "session_id": lambda row: row.columns.session_id,
    "environment": lambda row: row.columns.environment,
    "service": lambda row: row.columns.service,
    "model_name": lambda row: row.columns.model,
    "total_cost": lambda row: row.columns.costs.total,
    "latency": SPAN_VALUES["Latency"],
    METADATA: lambda row: row.columns.metadata or {},
}
TRACE_FIELDS = frozenset({*SPAN_FIELDS, "models"} - {"model_name"})


@dataclass(frozen=True, slots=True)
class _Query:
    spans: bool
    chart: str
    measure: str
    aggregate: Aggregate
    start_ns: int
    end_ns: int
    step_ns: int
    conditions: tuple[Condition, ...]
    dimension: str


def meets(row: Row, conditions: Iterable[Condition]) -> bool:
    """Return whether a span meets all conditions."""
    for condition in conditions:
        found = SPAN_FIELDS[condition.field](row)
        if not condition.meets(found.get(condition.key) if condition.field == METADATA else found):
            return False
    return True


class Dashboard:
    """Answers dashboard queries from one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def query(self, body: bytes) -> bytes:
        """Serve ``POST /public/dashboard/query-data``. Raises `ApiError` 400 for an invalid query."""
        query = _read_query(body)
        values = self._span_values(query) if query.spans else self._trace_values(query)
        answer = {
            "timeRange": {
                "startTime": epoch_iso(query.start_ns // 1_000_000),
                "endTime": epoch_iso(query.end_ns // 1_000_000),
            },
            "data": _chart(query, values),
        }
        return to_json_bytes(answer)

    def _span_values(self, query: _Query) -> _Values:
        value_of, step_ns, conditions = SPAN_VALUES[query.measure], query.step_ns, query.conditions
        dimension_of = SPAN_FIELDS[query.dimension] if query.dimension else None
        values: _Values = {}
        for trace in self._store.touching(query.start_ns, query.end_ns):
            for row in self._store.inside(trace, query.start_ns, query.end_ns):
                value = value_of(row)
                if value is not None and (not conditions or meets(row, conditions)):
                    dimension = dimension_of(row) or "" if dimension_of else ""
                    step = row.start_ns // step_ns if step_ns else 0
                    values.setdefault((step, dimension), []).append(value)
        return values

    def _trace_values(self, query: _Query) -> _Values:
        value_of = TRACE_VALUES[query.measure]
        values: _Values = {}
        for part in self._parts(query.start_ns, query.end_ns):
            value = value_of(part)
            if value is not None and all(condition.holds(part.summary) for condition in query.conditions):
                step = part.summary.start_ns // query.step_ns if query.step_ns else 0
                for dimension in _trace_dimensions(part, query.dimension):
                    values.setdefault((step, dimension), []).append(value)
        return values

    def _parts(self, start_ns: int, end_ns: int) -> Iterator[Part]:
        for trace in self._store.touching(start_ns, end_ns):
            inside = self._store.inside(trace, start_ns, end_ns)
            if inside:
                yield Part(inside, self._store.summary_of(trace, inside))


def _trace_dimensions(part: Part, dimension: str) -> list[str]:
    if not dimension:
        return [""]
    if dimension == "model_name":
        return part.summary.item.models or [""]
    return [getattr(part.summary.item, dimension) or ""]


def _chart(query: _Query, values: _Values) -> Any:
    aggregated = {key: query.aggregate(found) for key, found in sorted(values.items())}
    if query.chart == NUMBER:
        return {"value": aggregated[0, ""] if aggregated else query.aggregate([])}
    if query.chart == BARS:
        bars = [{"dimension": dimension, "value": value} for (_, dimension), value in aggregated.items()]
        return sorted(bars, key=lambda bar: bar["value"], reverse=True)
    dates = {step: epoch_iso(step * query.step_ns // 1_000_000) for step, _ in aggregated}
    if not query.dimension:
        return [{"date": dates[step], "value": value} for (step, _), value in aggregated.items()]
    steps: dict[int, list[dict[str, Any]]] = {}
    for (step, dimension), value in aggregated.items():
        steps.setdefault(step, []).append({"dimension": dimension, "value": value})
    return {
        "timeSeries": [{"date": dates[step], "values": found} for step, found in steps.items()],
        "dimensions": sorted({dimension for _, dimension in aggregated}),
    }


def _read_query(body: bytes) -> _Query:
    given = read_body(body)
    metrics, bounds, split = (read_part(given, name) for name in ("metrics", "filter", "dimension"))
    scope = _one_of(given, "scope", ("Spans", "Traces"))
    chart = CHARTS[_one_of(given, "chartType", CHARTS)]
    measure = _one_of(metrics, "measure", AGGREGATIONS)
    aggregation = _one_of(metrics, "aggregation", AGGREGATIONS[measure])
    dimension = _one_of(split, "field", DIMENSIONS) if split else ""
    step = _one_of(bounds, "groupBy", STEPS_NS) if chart == SERIES or "groupBy" in bounds else ""
    if chart == BARS and not dimension:
        raise ApiError(400, f"a {given['chartType']} chart needs a dimension")
    if chart == NUMBER and dimension:
        raise ApiError(400, "a Number chart takes no dimension")
    start_ns, end_ns = read_window(bounds)
    return _Query(
        spans=scope == "Spans",
        chart=chart,
        measure=measure,
        aggregate=AGGREGATIONS[measure][aggregation],
        start_ns=start_ns,
        end_ns=end_ns,
        step_ns=STEPS_NS[step] if chart == SERIES else 0,
        conditions=read_filters(bounds, SPAN_FIELDS if scope == "Spans" else TRACE_FIELDS),
        dimension=dimension,
    )


def _one_of(given: Mapping[str, Any], name: str, known: Iterable[str]) -> str:
    value = given.get(name)
    if not isinstance(value, str) or value not in known:
        raise ApiError(400, f"{name} {value!r:.40} is not one of: {', '.join(known)}")
    return value
