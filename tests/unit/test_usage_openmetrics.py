"""Usage as OpenMetrics text and as OpenTelemetry metrics: the names, formats and times that servers read."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from netra_otel_bridge.usage import openmetrics
from netra_otel_bridge.usage.backfill import UsageReading
from netra_otel_bridge.usage.backfill_output import usage_metrics
from netra_otel_bridge.usage.counters import COUNTERS
from netra_otel_bridge.usage.totals import UsageTotals

DAY_NS = 86_400_000_000_000
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
TIMES_MS = st.integers(0, 4_000_000_000_000)
VALUES = st.integers(0, 2**60) | st.floats(0, 1e15, allow_subnormal=True)


def prometheus_page() -> str:
    """Return the three counters as the stock Prometheus exporter writes them in OpenMetrics."""
    registry = CollectorRegistry()
    if "registry" in inspect.signature(PrometheusMetricReader).parameters:
        reader = PrometheusMetricReader(registry=registry, scope_info_enabled=False, disable_target_info=True)
    else:
        reader = PrometheusMetricReader(disable_target_info=True)
        registry.register(reader._collector)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    for counter in COUNTERS:
        made = provider.get_meter("test").create_counter(counter.name, counter.unit, counter.description)
        made.add(3, {"netra.tenant.id": 'a"b\\c\nd'})
    page: str = generate_latest(registry).decode()
    provider.shutdown()
    return page


def test_names_are_those_of_the_prometheus_page() -> None:
    """Metadata, metric names and the tenant's label equal those that the stock exporter writes."""
    label_set = openmetrics.label_set({openmetrics.tenant_label(): 'a"b\\c\nd'})
    expected = "".join(
        f"{openmetrics.metadata(counter)}{openmetrics.family(counter)}_total{label_set} 3.0\n" for counter in COUNTERS
    )
    assert expected in prometheus_page()
    assert [openmetrics.family(counter) for counter in COUNTERS] == [
        "netra_usage_tokens", "netra_usage_requests", "netra_usage_cost_USD",
    ]  # fmt: skip


@given(tenant=TEXTS, job=TEXTS, value=VALUES, at_ms=TIMES_MS)
def test_what_is_written_is_what_is_read(tenant: str, job: str, value: Any, at_ms: int) -> None:
    """An OpenMetrics parser returns any value, time and label text unchanged."""
    counter = COUNTERS[2]
    labels = {"job": job, openmetrics.tenant_label(): tenant}
    line = openmetrics.sample(counter, openmetrics.label_set(labels), value, at_ms * 1_000_000)
    (family,) = text_string_to_metric_families(openmetrics.metadata(counter) + line + openmetrics.END)
    (sample,) = family.samples
    assert (family.type, family.unit, family.name) == ("counter", "USD", "netra_usage_cost_USD")
    assert (sample.labels, float(sample.value)) == (labels, float(value))
    timestamp: Any = sample.timestamp
    assert round(float(timestamp) * 1000) == at_ms


@given(at_ms=st.integers(2**40, 2**31 * 1000 - 1))
def test_prometheus_reads_the_same_millisecond(at_ms: int) -> None:
    """Prometheus multiplies the seconds by 1000 as a float and truncates; times from 2005 to 2038 survive that."""
    line = openmetrics.sample(COUNTERS[0], "", 1, at_ms * 1_000_000)
    assert math.trunc(float(line.split()[-1]) * 1000) == at_ms


@pytest.mark.parametrize(
    ("name", "fits"),
    [("job", True), ("_a1", True), ("1a", False), ("a.b", False), ("", False), ("__name__", False), ("a\n", False)],
)
def test_names_of_labels(name: str, fits: bool) -> None:
    """Label names have letters, digits and underscores; Prometheus reserves a leading double underscore."""
    assert openmetrics.is_label(name) is fits


def test_otlp_points_have_the_times_of_the_past() -> None:
    """Points are monotonic sums, cumulative from 0 at the start of the range, with the tenant and more attributes."""
    readings = [
        UsageReading("a", DAY_NS, UsageTotals()),
        UsageReading("a", 2 * DAY_NS, UsageTotals(5, 2, 0.25)),
        UsageReading("b", 2 * DAY_NS, UsageTotals(7, 1, 1.5)),
    ]
    encoded = encode_metrics(usage_metrics(readings, DAY_NS, {"team": "x"}, Resource({"service.name": "s"})))
    metrics = encoded.resource_metrics[0].scope_metrics[0].metrics
    assert [(one.name, one.unit) for one in metrics] == [(one.name, one.unit) for one in COUNTERS]
    assert all(one.sum.is_monotonic and one.sum.aggregation_temporality == 2 for one in metrics)
    for metric, values in zip(metrics, ([0, 5, 7], [0, 2, 1], [0.0, 0.25, 1.5]), strict=True):
        points = metric.sum.data_points
        assert [point.as_int or point.as_double for point in points] == values
        assert [point.time_unix_nano for point in points] == [DAY_NS, 2 * DAY_NS, 2 * DAY_NS]
        assert {point.start_time_unix_nano for point in points} == {DAY_NS}
        attributes = [{one.key: one.value.string_value for one in point.attributes} for point in points]
        assert attributes == [{"team": "x", "netra.tenant.id": tenant} for tenant in "aab"]
