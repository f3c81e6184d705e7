"""The service's own metrics: values, exporters, and their documentation."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, InMemoryMetricReader, MetricExporter
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from netra_otel_bridge import __version__
from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.core.model.health import ServiceHealth
from netra_otel_bridge.service import metric_exporters
from netra_otel_bridge.service.metric_exporters import metric_readers
from netra_otel_bridge.service.own_metrics import INSTRUMENTS
from netra_otel_bridge.service.telemetry import Telemetry
from tests.support.cli import ROOT
from tests.support.health import NOW_NS, lane_health, service_health
from tests.support.waiting import SOON_S, wait_until

PAGE = ROOT / "docs" / "operations.md"
Samples = dict[tuple[str, str], float]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the machine's variables, which exporters read."""
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def page(registry: CollectorRegistry | None) -> str:
    assert registry is not None
    return generate_latest(registry).decode()


def samples(text: str) -> Samples:
    """Return the bridge's own series: (name, the value of its first label) and value."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("netra_bridge_")
    }


def shown(health: Callable[[], ServiceHealth]) -> str:
    readers, registry = metric_readers({})
    service = Telemetry(health, readers)
    try:
        return page(registry)
    finally:
        service.close()


def test_the_page_shows_each_lane() -> None:
    """Counters, ages and states by destination; calls to Netra by status."""
    held = lane_health(
        destination="tempo",
        problem="down",
        problem_since_ns=NOW_NS,
        watermark_ns=NOW_NS - NS_PER_S // 2,
        arrival=None,
    )
    text = shown(lambda: service_health(lane_health(destination="jaeger"), held))
    found = samples(text)
    jaeger = {name: value for (name, label), value in found.items() if label == "jaeger"}
    assert jaeger == {
        "netra_bridge_spans_read_total": 50,
        "netra_bridge_spans_delivered_total": 47,
        "netra_bridge_spans_refused_total": 2,
        "netra_bridge_spans_dead_lettered_total": 1,
        "netra_bridge_traces_held_back": 6,
        "netra_bridge_delivery_size_bytes_total": 12_345,
        "netra_bridge_delivery_retries_total": 4,
        "netra_bridge_lane_up": 1,
        "netra_bridge_lag_seconds": 31,
        "netra_bridge_checkpoint_age_seconds": 2,
        "netra_bridge_verified_total": 40,
        "netra_bridge_missing_total": 3,
        "netra_bridge_changed_total": 5,
        "netra_bridge_verify_failures_total": 8,
    }
    assert ("netra_bridge_verified_total", "tempo") not in found
    assert found["netra_bridge_lane_up", "tempo"] == 0
    assert found["netra_bridge_lag_seconds", "tempo"] == 0.5
    assert found["netra_bridge_api_calls_total", "200"] == 7
    assert found["netra_bridge_api_calls_total", "none"] == 1
    assert found["netra_bridge_api_retries_total", ""] == 1
    assert f'version="{__version__}"' in text
    assert re.search(rf'target_info{{.*service_name="netra-otel-bridge",service_version="{__version__}"', text)
    for process in ("process_resident_memory_bytes", "process_open_fds"):
        assert process in text


def test_each_figure_says_what_it_is() -> None:
    """HELP is the description of the instrument, TYPE is its kind."""
    text = shown(service_health)
    for instrument in INSTRUMENTS:
        assert f" {instrument.description}\n" in text
    kinds = re.findall(r"^# TYPE netra_bridge_\w+ (\w+)$", text, flags=re.MULTILINE)
    assert sorted(kinds) == sorted(instrument.kind for instrument in INSTRUMENTS)


def test_what_is_not_known_yet_is_not_shown_and_a_negative_lag_is() -> None:
    """Before the first pass there is no lag value, rather than 0 or 56 years; one below zero is shown as it is."""
    unknown = lane_health(destination="new", watermark_ns=0, checkpoint_ns=0)
    ahead = lane_health(destination="ahead", watermark_ns=NOW_NS + 3600 * NS_PER_S, checkpoint_ns=NOW_NS + NS_PER_S)
    found = samples(shown(lambda: service_health(unknown, ahead)))
    assert ("netra_bridge_lag_seconds", "new") not in found
    assert ("netra_bridge_checkpoint_age_seconds", "new") not in found
    assert found["netra_bridge_lag_seconds", "ahead"] == -3600
    assert found["netra_bridge_checkpoint_age_seconds", "ahead"] == 0


def test_figures_are_read_when_they_are_asked_for() -> None:
    """Each collection reads the present health, and nothing runs in between."""
    asked = 0

    def health() -> ServiceHealth:
        nonlocal asked
        asked += 1
        return service_health(lane_health(read=asked * 1000))

    readers, registry = metric_readers({})
    service = Telemetry(health, readers)
    assert asked == 0
    first, second = samples(page(registry)), samples(page(registry))
    lane = ("netra_bridge_spans_read_total", "otlp+grpc://127.0.0.1:4317")
    assert second[lane] > first[lane] > 0
    service.close()
    service.close()


def test_two_services_in_one_process_do_not_mix() -> None:
    """Each service has its own registry."""
    made = []
    for name in ("a", "b"):
        readers, registry = metric_readers({"OTEL_METRICS_EXPORTER": "prometheus"})
        health = service_health(lane_health(destination=name))
        made.append((Telemetry(lambda health=health: health, readers), registry))
    for (service, registry), name in zip(made, "ab", strict=True):
        lags = [label for metric, label in samples(page(registry)) if metric == "netra_bridge_lag_seconds"]
        assert lags == [name]
        service.close()


def test_the_documentation_lists_each_instrument() -> None:
    """``docs/operations.md`` has a row for each, with its Prometheus name, its attributes and its description."""
    rows = [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("| `netra_bridge.")
    ]
    families = {
        sample.name: (family.documentation, ", ".join(sorted(sample.labels)))
        for family in text_string_to_metric_families(shown(service_health))
        for sample in family.samples
        if sample.name.startswith("netra_bridge_")
    }
    listed = {
        prometheus: (says.removesuffix("."), ", ".join(sorted(attributes.replace(".", "_").split(", "))))
        for _, prometheus, attributes, says in rows
    }
    assert listed == families
    assert [row[0] for row in rows] == [instrument.name for instrument in INSTRUMENTS]
    named = set(re.findall(r"netra_bridge_\w+", PAGE.read_text("utf-8")))
    assert named == set(families)


def test_the_page_starts_no_server_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page listens on no port of its own, as the exporter's entry point would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", str(free.getsockname()[1]))
    metric_readers({"OTEL_METRICS_EXPORTER": "prometheus,prometheus"})
    with socket.socket() as free:
        free.bind(("127.0.0.1", int(os.environ["OTEL_EXPORTER_PROMETHEUS_PORT"])))


@pytest.mark.parametrize(
    ("variable", "readers", "has_page"),
    [("", 1, True), (" , ", 1, True), ("none", 0, False), ("prometheus, prometheus", 1, True)],
)
def test_where_figures_go_by_default(variable: str, readers: int, has_page: bool) -> None:
    """The default is the page, unless the variable is ``none``."""
    made, registry = metric_readers({"OTEL_METRICS_EXPORTER": variable})
    assert (len(made), registry is not None) == (readers, has_page)
    Telemetry(service_health, made).close()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"OTEL_METRICS_EXPORTER": "prom"}, "OTEL_METRICS_EXPORTER: 'prom' is not installed (installed: console, none, ot"),
        ({"OTEL_METRICS_EXPORTER": "none,console"}, "OTEL_METRICS_EXPORTER: none excludes all other names"),
        (
            {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "carrier pigeon"},
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: expected grpc or http/protobuf",
        ),
        (
            {"OTEL_METRICS_EXPORTER": "console", "OTEL_METRIC_EXPORT_INTERVAL": "1m"},
            "OTEL_METRIC_EXPORT_INTERVAL: expected milliseconds",
        ),
        (
            {"OTEL_METRICS_EXPORTER": "console", "OTEL_METRIC_EXPORT_TIMEOUT": "-1"},
            "OTEL_METRIC_EXPORT_TIMEOUT: expected milliseconds",
        ),
        ({"OTEL_METRICS_EXPORTER": "console", "OTEL_METRIC_EXPORT_INTERVAL": "nan"}, "OTEL_METRIC_EXPORT_INTERVAL"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_an_error_of_the_configuration(environ: dict[str, str], message: str) -> None:
    """The message names the variable and the installed exporters."""
    with pytest.raises(ConfigurationError) as error:
        metric_readers(environ)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_otlp_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the package to install: the stock OTLP exporters are separate."""
    monkeypatch.setattr("netra_otel_bridge.deliver.adapters.entry_points.entry_points", lambda group: ())
    with pytest.raises(ConfigurationError, match="install opentelemetry-exporter-otlp-proto-http") as error:
        metric_readers({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
    assert "installed: none, prometheus;" in str(error.value)


class Chatty(ConsoleMetricExporter):
    """Logs a token in its constructor."""

    def __init__(self) -> None:
        super().__init__()
        logging_of_a_library().warning("Header format invalid! %s", "authorization=canary-token")


def logging_of_a_library() -> logging.Logger:
    return logging.getLogger("opentelemetry.util.re")


def fails() -> MetricExporter:
    raise ValueError("authorization=canary-token")


def makes_nothing() -> None:
    return None


def stands_for(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Install an entry point ``mine`` for ``value``."""
    mine = EntryPoint("mine", value, metric_exporters.GROUP)
    monkeypatch.setattr("netra_otel_bridge.deliver.adapters.entry_points.entry_points", lambda group: (mine,))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (f"{__name__}:fails", "'mine' failed to start: ValueError"),
        (f"{__name__}:makes_nothing", "'mine' provides neither a metric reader nor a metric exporter"),
        ("no.such.module:x", "failed to load: ModuleNotFoundError: No module named 'no'"),
    ],
)
def test_an_entry_point_that_makes_no_reader(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    """The message names the cause, without a token."""
    stands_for(monkeypatch, value)
    with pytest.raises(ConfigurationError, match=re.escape(message)) as error:
        metric_readers({"OTEL_METRICS_EXPORTER": "mine"})
    assert "canary-token" not in str(error.value)


def test_what_an_exporter_says_while_it_is_made_shows_no_token(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The format of the log message is repeated, without its values."""
    stands_for(monkeypatch, f"{__name__}:Chatty")
    logging_of_a_library()
    readers, _ = metric_readers({"OTEL_METRICS_EXPORTER": "mine"})
    assert "mine: the exporter logged on creation: Header format invalid! %s" in caplog.text
    assert "canary-token" not in caplog.text
    readers[0].shutdown()


def test_an_entry_point_may_make_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader is used as it is, beside the page."""
    stands_for(monkeypatch, "opentelemetry.sdk.metrics.export:InMemoryMetricReader")
    readers, registry = metric_readers({"OTEL_METRICS_EXPORTER": "mine,prometheus"})
    assert registry is not None
    memory = next(reader for reader in readers if isinstance(reader, InMemoryMetricReader))
    service = Telemetry(service_health, readers)
    data = memory.get_metrics_data()
    assert data is not None
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    assert {(one.name, one.unit) for one in metrics} == {(one.name, one.unit) for one in INSTRUMENTS}
    service.close()


CONSOLE = """
from netra_otel_bridge.service.metric_exporters import metric_readers
from netra_otel_bridge.service.telemetry import Telemetry
from tests.support.health import service_health
from tests.support.waiting import SOON_S, wait_until
readers, registry = metric_readers({"OTEL_METRICS_EXPORTER": "console"})
assert registry is None
Telemetry(service_health, readers).close()
"""


@pytest.mark.faults
def test_the_console_gets_the_last_figures_at_the_end() -> None:
    """Closing collects once more, so that the last interval is not lost."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CONSOLE],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert json.loads(done.stdout)["resource_metrics"]
    assert '"netra_bridge.spans.delivered"' in done.stdout
    assert done.stderr == ""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Run an OTLP/HTTP server; yield its address and the bodies that it received."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()
        serving.join()


def test_otlp_gets_the_figures(collector: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are exported every interval and at the end, with a resource that the operator may extend."""
    address, bodies = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod")
    readers, _ = metric_readers(
        {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
        }
    )
    service = Telemetry(service_health, readers)
    wait_until(lambda: len(bodies) >= 2)
    before = len(bodies)
    service.close()
    assert len(bodies) > before >= 2
    message = ExportMetricsServiceRequest.FromString(bodies[-1])
    resource = {one.key: one.value.string_value for one in message.resource_metrics[0].resource.attributes}
    assert resource["service.name"] == "netra-otel-bridge"
    assert resource["service.version"] == __version__
    assert resource["deployment.environment.name"] == "prod"
    metrics = message.resource_metrics[0].scope_metrics[0].metrics
    delivered = next(one for one in metrics if one.name == "netra_bridge.spans.delivered")
    assert delivered.sum.is_monotonic
    assert [point.as_int for point in delivered.sum.data_points] == [47]


class Stuck(InMemoryMetricReader):
    """Hangs in shutdown."""

    release = threading.Event()

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        self.release.wait()


def test_an_exporter_that_does_not_end_holds_up_no_stop() -> None:
    """Closing ends at its timeout, even if the exporter ignores it."""
    service = Telemetry(service_health, [Stuck()])
    begun = time.monotonic()
    service.close(timeout_s=0.3)
    assert time.monotonic() - begun < SOON_S
    Stuck.release.set()


STOCK_TIMEOUT_S = 10.0
"""The default timeout of a request of OpenTelemetry's exporters, after which they retry."""


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_collector_that_hangs_holds_up_no_stop(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing ends at its timeout without a response."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        readers, _ = metric_readers({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol})
        service = Telemetry(service_health, readers)
        begun = time.monotonic()
        service.close(timeout_s=0.5)
        assert time.monotonic() - begun < STOCK_TIMEOUT_S


def test_a_figure_that_cannot_be_read_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """The page still has all other metrics, and the log names the error."""

    def broken() -> ServiceHealth:
        raise LookupError

    text = shown(broken)
    assert samples(text) == {}
    assert "process_open_fds" in text
    assert "Callback failed" in caplog.text
