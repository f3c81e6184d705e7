"""Counters of usage outlive the process: exporters are told when they began, and no restart counts anything twice."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)

from netra_otel_bridge.service.persistent_counters import PersistentCounters

ORIGIN_NS = 1_790_000_000 * 10**9
USAGE, OWN = "netra.usage.tokens", "netra_bridge.spans.delivered"


class Kept(MetricExporter):
    """Keeps what it is given."""

    def __init__(self, temporality: AggregationTemporality) -> None:
        super().__init__({ObservableCounter: temporality})
        self.exported: list[dict[str, list[tuple[float, int]]]] = []
        self.shut = False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: Any) -> MetricExportResult:
        metrics = metrics_data.resource_metrics[0].scope_metrics[0].metrics
        self.exported.append(
            {one.name: [(it.value, it.start_time_unix_nano) for it in one.data.data_points] for one in metrics}  # type: ignore[union-attr]
        )
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:
        self.shut = True


def process(kept: Kept, *values: float) -> None:
    """One process whose counters are at each of ``values`` as they are exported."""
    exporter = PersistentCounters(kept, lambda: ORIGIN_NS)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    now = iter(values)
    at = [0.0]
    for name in (USAGE, OWN):
        provider.get_meter("m").create_observable_counter(
            name, [lambda _: [Observation(at[0], {"netra.tenant.id": "a"})]]
        )
    for at[0] in now:
        provider.force_flush()
    reader._exporter.shutdown()


def test_a_cumulative_counter_began_at_the_origin() -> None:
    """Not with this process: a backend that goes by the start would take every restart for a reset."""
    kept = Kept(AggregationTemporality.CUMULATIVE)
    process(kept, 70.0, 75.0)
    assert [one[USAGE] for one in kept.exported] == [[(70.0, ORIGIN_NS)], [(75.0, ORIGIN_NS)]]
    assert all(start_ns != ORIGIN_NS for one in kept.exported for _, start_ns in one[OWN])
    assert kept.shut


def test_the_first_delta_is_no_change() -> None:
    """The counter was there before the process: only what comes after counts."""
    kept = Kept(AggregationTemporality.DELTA)
    process(kept, 70.0, 75.0, 76.0)
    process(kept, 76.0, 80.0)
    assert [value for one in kept.exported for value, _ in one[USAGE]] == [5.0, 1.0, 4.0]
    assert [value for one in kept.exported for value, _ in one[OWN]] == [70.0, 5.0, 1.0, 76.0, 4.0]


@pytest.mark.parametrize("temporality", list(AggregationTemporality))
def test_the_exporter_still_chooses(temporality: AggregationTemporality) -> None:
    """Cumulative or delta is what the exporter was set up for."""
    kept = Kept(temporality)
    assert PersistentCounters(kept, lambda: 0)._preferred_temporality[ObservableCounter] is temporality
