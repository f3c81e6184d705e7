"""``usage backfill``: its output, its errors and exit codes, and that it never leaves a partial file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.otlp import read_document
from tests.support import cli
from tests.support.cli import CANARY, Result, environment, run
from tests.support.emulator import ThreadedEmulator, otlp_document, otlp_span, running_emulator
from tests.support.examples import size

DAY_S = 1_777_593_600
"""2026-05-01, UTC."""
FROM = ("--from", "2026-05-01", "--until", "2026-05-01T06:00:00Z")
ODD = 'a"b\\c\nd'


def generation(number: int, tenant: str, at_s: int, tokens: int) -> dict[str, Any]:
    """Return a span that Netra counts as ``tokens`` and one request."""
    attributes = {
        "netra.tenant_id": tenant,
        "netra.span.type": "GENERATION",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.prompt_tokens": tokens,
        "llm.usage.total_tokens": tokens,
    }
    return otlp_span(number, number, start_ns=(DAY_S + at_s) * 10**9, attributes=attributes)


@pytest.fixture
def netra() -> Iterator[ThreadedEmulator]:
    """Run a Netra with two tenants on 2026-05-01: one at 00:30, 02:30 and 05:59:59, one with an odd name at 01:00; a
    third is too late.
    """
    with running_emulator(EmulatorOptions(port=0, api_key=CANARY)) as emulator:
        fill(emulator)
        yield emulator


def fill(emulator: ThreadedEmulator) -> None:
    spans = [
        generation(1, "acme", 1800, 100),
        generation(2, "acme", 9000, 50),
        generation(3, "acme", 21599, 7),
        generation(4, ODD, 3600, 1000),
        generation(5, "late", 21600, 9),
    ]
    assert emulator.call(lambda: emulator.emulator.store.ingest(read_document(otlp_document(*spans)))) == []


def backfill(netra: ThreadedEmulator, *arguments: str, **env: str) -> Result:
    return run("usage", "backfill", *FROM, *arguments, env=environment(netra.endpoint, **env))


def tokens_in(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Return seconds since the start of the day and tokens, by tenant."""
    found: dict[str, list[tuple[float, float]]] = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            at: Any = sample.timestamp
            if family.name == "netra_usage_tokens":
                found.setdefault(sample.labels["netra_tenant_id"], []).append((float(at) - DAY_S, sample.value))
    return found


def test_a_file_of_openmetrics(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Each tenant in the traces gets counters with labels: 0 at the start, then one sample at the end of each step."""
    file = tmp_path / "usage.om"
    result = backfill(netra, "--to", f"openmetrics:{file}", "--step", "2h", "--label", "job=netra", "--json")
    assert result.code == 0
    assert tokens_in(file) == {
        "acme": [(0, 0), (7200, 100), (14400, 150), (21600, 157)],
        ODD: [(0, 0), (7200, 1000), (14400, 1000), (21600, 1000)],
    }
    families = list(text_string_to_metric_families(file.read_text()))
    assert [one.name for one in families] == ["netra_usage_tokens", "netra_usage_requests", "netra_usage_cost_USD"]
    assert {sample.labels["job"] for family in families for sample in family.samples} == {"netra"}
    document = result.json
    assert (document["samples"], document["step"], document["differing"], document["exit_code"]) == (24, "2h", [], 0)
    assert document["window"] == {"from": "2026-05-01T00:00:00.000Z", "until": "2026-05-01T06:00:00.000Z"}
    totals = {one["tenant_id"]: (one["token_count"], one["request_count"]) for one in document["tenants"]}
    assert totals == {"acme": (157, 3), ODD: (1000, 1)}
    costs = {sample.labels["netra_tenant_id"]: sample.value for sample in families[2].samples}
    assert costs == {one["tenant_id"]: one["total_cost"] for one in document["tenants"]}
    assert min(costs.values()) > 0
    assert result.err == "tenants: 2, steps of 2h: 3, calls to Netra: up to about 8\n"
    assert list(tmp_path.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o600


def test_named_tenants_and_quiet(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Only named tenants appear, in their order, without listing traces; the file is replaced; stderr is empty."""
    file = tmp_path / "usage.om"
    file.write_text("old")
    result = backfill(netra, "--to", f"openmetrics:{file}", "--tenant", ODD, "--tenant", "acme", "-q")
    assert (result.code, result.err) == (0, "")
    assert list(tokens_in(file)) == [ODD, "acme"]
    assert len(tokens_in(file)["acme"]) == 7
    assert result.out.splitlines()[-1].strip() == f"promtool tsdb create-blocks-from openmetrics {file} DIR"
    assert "traces" not in netra.call(lambda: netra.emulator.calls)


def test_a_tenant_that_nobody_knows(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The command exits with 1, names the tenant and writes no file."""
    result = backfill(netra, "--to", f"openmetrics:{tmp_path}/x.om", "--tenant", "acme", "--tenant", "ghost")
    assert (result.code, list(tmp_path.iterdir())) == (1, [])
    assert "tenant 'ghost'" in result.said


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "no destination is set (pass --to openmetrics:FILE, otlp, or exporter:NAME)"),
        (("--to", "otlp-file:x"), 2, "'otlp-file:x' does not accept past usage"),
        (("--to", "openmetrics:"), 2, "does not accept past usage"),
        (("--to", "otlp", "--step", "1ms"), 2, "must be at least a second"),
        (("--to", "otlp", "--step", "soon"), 2, "'soon' is not a duration"),
        (("--to", "otlp", "--label", "x"), 2, "'x' is not NAME=VALUE"),
        (("--to", "openmetrics:x", "--label", "a.b=c"), 2, "'a.b' is not a valid label name"),
        (("--to", "openmetrics:x", "--label", "netra_tenant_id=c"), 2, "already in use"),
        (("--to", "otlp", "--label", "a=b", "--label", "a=c"), 2, "already in use"),
        (("--to", "otlp", "--until", "2100-01-01"), 2, "in the future"),
        (("--to", "otlp", "--from", "1970-01-01", "--step", "1m"), 2, "more than 1,000,000 samples"),
        (("--to", "openmetrics:/nowhere/x.om"), 78, "no file can be written in /nowhere"),
        (("--to", "openmetrics:/dev/null"), 78, "is not a file"),
        (("--to", "exporter:nope"), 78, "--to: 'nope' is not installed"),
    ],
)
def test_what_is_rejected_at_once(netra: ThreadedEmulator, arguments: tuple[str, ...], code: int, message: str) -> None:
    """Bad flags exit with 2, a missing file or package with 78; Netra is not called."""
    result = backfill(netra, *arguments)
    assert (result.code, result.out) == (code, "")
    assert message in result.said
    assert not netra.call(lambda: netra.emulator.calls)


@pytest.mark.parametrize("code", [69, 77])
def test_a_netra_that_fails_leaves_no_file(netra: ThreadedEmulator, tmp_path: Path, code: int) -> None:
    """The command exits with the usual codes, and an existing file stays unchanged."""
    file = tmp_path / "usage.om"
    file.write_text("old")
    url = netra.endpoint if code == 77 else "http://127.0.0.1:9/telemetry"
    env = environment(url, **({"NETRA_API_KEY": "nk-wrong"} if code == 77 else {}))
    result = run("usage", "backfill", *FROM, "--to", f"openmetrics:{file}", "--tenant", "acme", env=env)
    assert (result.code, file.read_text(), list(tmp_path.iterdir())) == (code, "old", [file])


@pytest.mark.faults
def test_killed_in_the_middle_it_leaves_no_file(tmp_path: Path) -> None:
    """SIGTERM exits with 75; even SIGKILL leaves no file, because the partial files have no name."""
    with running_emulator(EmulatorOptions(port=0, api_key=CANARY, latency_s=0.05)) as netra:
        fill(netra)
        for number, code in ((signal.SIGTERM, 75), (signal.SIGKILL, -signal.SIGKILL)):
            arguments = ("--step", "10m", "--to", f"openmetrics:{tmp_path}/x.om", "--tenant", "acme")
            env = environment(netra.endpoint, NETRA_BRIDGE_CONCURRENCY="1")
            before = netra.call(lambda: netra.emulator.calls.total())
            process = cli.start("usage", "backfill", *FROM, *arguments, env=env)
            while netra.call(lambda: netra.emulator.calls.total()) < before + 4:
                time.sleep(0.02)
            process.send_signal(number)
            assert cli.ended(process).code == code
            assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
def test_a_disk_that_takes_no_more(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """If the parts fit but the whole does not, the command exits with 69 and the reason, and leaves no partial file."""
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000));"
        "from netra_otel_bridge.cli import main; main()"
    )
    arguments = ("usage", "backfill", *FROM, "--step", "1m", "--tenant", "acme", "--to", f"openmetrics:{tmp_path}/x.om")
    done = subprocess.run(
        [sys.executable, "-c", limited, *arguments],
        env=environment(netra.endpoint), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    result = cli.checked(Result(done.returncode, done.stdout, done.stderr))
    assert (result.code, list(tmp_path.iterdir())) == (69, [])
    assert "x.om cannot be written: File too large" in result.said


class MetricsServer:
    """An OTLP/HTTP receiver for metrics that returns the given statuses, then 200."""

    def __init__(self, *statuses: int, body: bytes = b"") -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.seen_headers: list[dict[str, str]] = []
        self._statuses = list(statuses)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer._statuses.pop(0) if outer._statuses else 200
                outer.seen_headers.append(dict(self.headers))
                if status == 200:
                    outer.requests.append(ExportMetricsServiceRequest.FromString(sent))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) if status != 200 else 0))
                self.end_headers()
                self.wfile.write(body if status != 200 else b"")

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}/v1/metrics"

    def __enter__(self) -> MetricsServer:
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def points(self, name: str) -> list[tuple[str, int, float]]:
        """Return tenant, seconds since the start of the day and value, in order of arrival."""
        return [
            (
                {one.key: one.value.string_value for one in point.attributes}["netra.tenant.id"],
                point.time_unix_nano // 10**9 - DAY_S,
                point.as_int or point.as_double,
            )
            for request in self.requests
            for metric in request.resource_metrics[0].scope_metrics[0].metrics
            if metric.name == name
            for point in metric.sum.data_points
        ]


def otlp(server: MetricsServer, **more: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": server.endpoint,
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
        **more,
    }


def test_otlp_has_the_original_times(netra: ThreadedEmulator) -> None:
    """Sums since the start of the range arrive in batches, in order of time, from the service that is configured."""
    step_s = size(20, 10)
    readings = 21600 // step_s + 1
    with MetricsServer() as server:
        result = backfill(
            netra, "--to", "otlp", "--step", f"{step_s}s", "--tenant", "acme", "--label", "team=x", "--json",
            **otlp(server, OTEL_SERVICE_NAME="past"),
        )  # fmt: skip
    assert (result.code, result.json["samples"], result.json["to"]) == (0, 3 * readings, "otlp")
    points = server.points("netra.usage.tokens")
    assert [at for _, at, _ in points] == list(range(0, 21601, step_s))
    told = (0, 1800, 1800 + step_s, 9000 + step_s, 21600)
    assert [value for _, at, value in points if at in told] == [0, 0, 100, 150, 157]
    assert len(server.requests) == -(-readings // 500)
    for request in server.requests:
        attributes = {one.key: one.value.string_value for one in request.resource_metrics[0].resource.attributes}
        assert attributes == {"service.name": "past"}
        for metric in request.resource_metrics[0].scope_metrics[0].metrics:
            assert {point.start_time_unix_nano for point in metric.sum.data_points} == {DAY_S * 10**9}


def test_otlp_that_is_away_for_a_moment(netra: ThreadedEmulator) -> None:
    """A failed request is sent again and arrives once."""
    with MetricsServer(503) as server:
        result = backfill(netra, "--to", "otlp", "--tenant", "acme", "-q", **otlp(server))
    assert (result.code, result.err) == (0, "")
    assert [at for _, at, _ in server.points("netra.usage.requests")] == list(range(0, 21601, 3600))


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (400, b"out of order sample", 3, "out_of_order_time_window"),
        (401, b"", 77, "rejects the credentials"),
        (404, b"", 78, "check the address"),
    ],
)
def test_otlp_that_rejects(netra: ThreadedEmulator, status: int, body: bytes, code: int, message: str) -> None:
    """The error has a hint and no token, and nothing more is sent."""
    with MetricsServer(*[status] * 9, body=body + b" Bearer " + CANARY.encode()) as server:
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{CANARY}"}
        result = backfill(netra, "--to", "otlp", "--tenant", "acme", **otlp(server, **headers))
    assert result.code == code
    assert message in result.said
    assert len(server.seen_headers) == 1
    assert CANARY in server.seen_headers[0]["authorization"]


@pytest.mark.faults
def test_any_exporter(netra: ThreadedEmulator) -> None:
    """``exporter:console`` prints the metrics."""
    result = cli.ended(
        cli.start("usage", "backfill", *FROM, "--to", "exporter:console", env=environment(netra.endpoint))
    )
    assert result.code == 0
    printed, _ = json.JSONDecoder().raw_decode(result.out)
    names = [one["name"] for one in printed["resource_metrics"][0]["scope_metrics"][0]["metrics"]]
    assert names == ["netra.usage.tokens", "netra.usage.requests", "netra.usage.cost"]
