"""Usage readings as OpenTelemetry metrics with the times they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from netra_otel_bridge.convert.metrics import TENANT_ID
from netra_otel_bridge.convert.openmetrics import USAGE_COUNTERS, UsageCounter, UsageReading

_SCOPE = InstrumentationScope("netra_otel_bridge")


def usage_metrics(
    readings: Sequence[UsageReading],
    start_ns: int,
    attributes: Mapping[str, str],
    resource: Resource,
) -> MetricsData:
    """The three usage counters, with a point for each reading: monotonic sums, cumulative since ``start_ns``.

    A reading at ``start_ns`` itself is the reset that the data model has for the start of a sum: 0 at the start time.
    """
    metrics = [
        Metric(
            name=counter.name,
            description=counter.description,
            unit=counter.unit,
            data=Sum(
                data_points=[_point(counter, one, start_ns, attributes) for one in readings],
                aggregation_temporality=AggregationTemporality.CUMULATIVE,
                is_monotonic=True,
            ),
        )
        for counter in USAGE_COUNTERS
    ]
    of_scope = ScopeMetrics(scope=_SCOPE, metrics=metrics, schema_url="")
    return MetricsData([ResourceMetrics(resource=resource, scope_metrics=[of_scope], schema_url="")])


def _point(
    counter: UsageCounter, reading: UsageReading, start_ns: int, attributes: Mapping[str, str]
) -> NumberDataPoint:
    return NumberDataPoint(
        attributes={**attributes, TENANT_ID: reading.tenant_id},
        start_time_unix_nano=start_ns,
        time_unix_nano=reading.time_ns,
        value=counter.read(reading.total),
    )
