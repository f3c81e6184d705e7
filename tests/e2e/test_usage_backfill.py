"""Past usage in a real Prometheus: a query at an old time returns the usage that the API reports up to then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.source import NetraClient
from tests.support.cli import CANARY, Result, environment, run
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.prometheus import Prometheus, promtool, running_prometheus

HOUR_S, DAY_S = 3600, 86400
END_S = int(time.time()) // DAY_S * DAY_S
FROM_S = END_S - 3 * DAY_S
"""Three whole days of UTC, up to the last midnight."""
METRICS = {
    "netra_usage_tokens_total": "token_count",
    "netra_usage_requests_total": "request_count",
    "netra_usage_cost_USD_total": "total_cost",
}


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    options = EmulatorOptions(
        port=0, seed=11, traces=300, spans_per_trace=5, end_ns=END_S * 10**9, range_ns=3 * DAY_S * 10**9, api_key=CANARY
    )
    with running_emulator(options) as emulator:
        yield emulator


def backfill(netra: ThreadedEmulator, *arguments: str, **env: str) -> Result:
    window = ("--from", iso_ms(FROM_S * 10**9), "--until", iso_ms(END_S * 10**9))
    return run(
        "usage", "backfill", *window, "--step", "1h", "--json", *arguments, env=environment(netra.endpoint, **env)
    )


def receiver(prometheus: Prometheus) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": prometheus.otlp_endpoint,
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
    }


def assert_holds_what_netra_says(prometheus: Prometheus, netra: ThreadedEmulator, tenants: list[str]) -> None:
    """Assert the sum since the start at past times, and the difference of two sums for the time between them."""
    with NetraClient(api_key=CANARY, endpoint=netra.endpoint) as client:
        for hours in (0, 1, 25, 72):
            at_s = FROM_S + hours * HOUR_S
            for metric, name in METRICS.items():
                found = [(labels["netra_tenant_id"], value) for labels, value in prometheus.query(metric, at_s)]
                assert sorted(tenant for tenant, _ in found) == sorted(tenants)
                for tenant, value in found:
                    usage = client.get_tenant_usage(tenant, iso_ms(FROM_S * 10**9), iso_ms(at_s * 10**9))
                    assert value == pytest.approx(getattr(usage, name)), (metric, tenant, hours)
        expr = "netra_usage_cost_USD_total - netra_usage_cost_USD_total offset 1d"
        for labels, value in prometheus.query(expr, END_S - DAY_S):
            yesterday = (iso_ms((END_S - 2 * DAY_S) * 10**9), iso_ms((END_S - DAY_S) * 10**9))
            usage = client.get_tenant_usage(labels["netra_tenant_id"], *yesterday)
            assert usage is not None
            assert value == pytest.approx(usage.total_cost)
            assert value > 0


def test_promtool_loads_the_file(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Blocks made from the file answer as the API does, with the requested labels."""
    file = tmp_path / "usage.om"
    result = backfill(netra, "--to", f"openmetrics:{file}", "--label", "job=netra-otel-bridge")
    assert result.code == 0
    promtool("tsdb", "create-blocks-from", "openmetrics", file, tmp_path / "data")
    with running_prometheus(tmp_path) as prometheus:
        assert_holds_what_netra_says(prometheus, netra, [one["tenant_id"] for one in result.json["tenants"]])
        ((labels, _),) = prometheus.query("group by (job) (netra_usage_tokens_total)", END_S)
        assert labels == {"job": "netra-otel-bridge"}


def test_the_otlp_receiver_takes_the_same(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """With a window for out-of-order samples the figures are the same, and sending them twice adds no series."""
    with running_prometheus(tmp_path, out_of_order="30d") as prometheus:
        tenants = []
        for _ in range(2):
            result = backfill(netra, "--to", "otlp", **receiver(prometheus))
            assert (result.code, result.json["samples"]) == (0, 3 * 73 * len(result.json["tenants"]))
            tenants = [one["tenant_id"] for one in result.json["tenants"]]
        assert_holds_what_netra_says(prometheus, netra, tenants)


def test_a_prometheus_that_takes_no_old_samples(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A Prometheus that rejects samples older than what it has means exit 3, and the hint names the setting."""
    with running_prometheus(tmp_path) as prometheus:
        latest = ("--from", iso_ms((END_S - 3600) * 10**9))
        assert backfill(netra, "--to", "otlp", *latest, **receiver(prometheus)).code == 0
        result = backfill(netra, "--to", "otlp", **receiver(prometheus))
        assert result.code == 3
        assert "out_of_order_time_window" in result.said
