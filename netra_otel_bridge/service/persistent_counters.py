"""Counters that outlive the process, as exporters are to be told of them.

The SDK takes it that a counter starts at 0 with the process. Those of usage go on where they were: a cumulative one has
counted since the origin of the ledger, and of a delta the first one after a start is no change at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    Sum,
)

from netra_otel_bridge.usage.instruments import USAGE_COUNTERS

_NAMES = frozenset(counter.name for counter in USAGE_COUNTERS)


class OutlivingCounters(MetricExporter):
    """Hands everything to ``exporter``, the counters of usage as what they are; ``origin_ns`` is when they began."""

    def __init__(self, exporter: MetricExporter, origin_ns: Callable[[], int]) -> None:
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)
        self._exporter = exporter
        self._origin_ns = origin_ns
        self._seen: set[tuple[str, object]] = set()

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """As `MetricExporter.export`."""
        resources = [
            replace(
                resource,
                scope_metrics=[
                    replace(scope, metrics=[self._as_it_is(metric) for metric in scope.metrics])
                    for scope in resource.scope_metrics
                ],
            )
            for resource in metrics_data.resource_metrics
        ]
        return self._exporter.export(replace(metrics_data, resource_metrics=resources), timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """As `MetricExporter.force_flush`."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """As `MetricExporter.shutdown`."""
        self._exporter.shutdown(timeout_millis, **kwargs)

    def _as_it_is(self, metric: Metric) -> Metric:
        data = metric.data
        if metric.name not in _NAMES or not isinstance(data, Sum):
            return metric
        points: list[NumberDataPoint] = list(data.data_points)
        if data.aggregation_temporality == AggregationTemporality.CUMULATIVE:
            origin_ns = self._origin_ns()
            points = [replace(it, start_time_unix_nano=min(origin_ns, it.time_unix_nano)) for it in points]
        else:
            points = [point for point in points if not self._is_first(metric.name, point)]
        return replace(metric, data=replace(data, data_points=points))

    def _is_first(self, name: str, point: NumberDataPoint) -> bool:
        key = name, frozenset((point.attributes or {}).items())
        first = key not in self._seen
        self._seen.add(key)
        return first
