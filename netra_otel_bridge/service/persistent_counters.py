"""Export counters that persist across restarts.

The SDK assumes that a counter starts at 0 with the process. The counters of usage continue from their stored values: a
cumulative counter started at the origin of the ledger, and the first delta after a restart is dropped.
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


class PersistentCounters(MetricExporter):
    """Passes metrics to ``exporter``, and corrects the counters of usage, which started at ``origin_ns``."""

    def __init__(self, exporter: MetricExporter, origin_ns: Callable[[], int]) -> None:
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)
        self._exporter = exporter
        self._origin_ns = origin_ns
        self._seen: set[tuple[str, object]] = set()

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Export as `MetricExporter.export` does."""
        resources = [
            replace(
                resource,
                scope_metrics=[
                    replace(scope, metrics=[self._corrected(metric) for metric in scope.metrics])
                    for scope in resource.scope_metrics
                ],
            )
            for resource in metrics_data.resource_metrics
        ]
        return self._exporter.export(replace(metrics_data, resource_metrics=resources), timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush as `MetricExporter.force_flush` does."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Shut down as `MetricExporter.shutdown` does."""
        self._exporter.shutdown(timeout_millis, **kwargs)

    def _corrected(self, metric: Metric) -> Metric:
        data = metric.data
        if metric.name not in _NAMES or not isinstance(data, Sum):
            return metric
        points: list[NumberDataPoint] = list(data.data_points)
        if data.aggregation_temporality == AggregationTemporality.CUMULATIVE:
            origin_ns = self._origin_ns()
            points = [replace(point, start_time_unix_nano=min(origin_ns, point.time_unix_nano)) for point in points]
        else:
            points = [point for point in points if not self._is_first(metric.name, point)]
        return replace(metric, data=replace(data, data_points=points))

    def _is_first(self, name: str, point: NumberDataPoint) -> bool:
        key = name, frozenset((point.attributes or {}).items())
        first = key not in self._seen
        self._seen.add(key)
        return first
