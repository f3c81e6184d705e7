"""Each example runs as its first lines say, against an emulator."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import yaml

from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.otlp import read_document
from tests.support.emulator import ThreadedEmulator, otlp_document, otlp_span, running_emulator

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SPANS = 30 * 7
LIMIT_S = 120


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    """Run a Netra with 30 traces of 7 spans, from the last day."""
    with running_emulator(EmulatorOptions(port=0, seed=7, traces=30, spans_per_trace=7)) as emulator:
        yield emulator


@pytest.fixture
def environment(netra: ThreadedEmulator, tmp_path: Path) -> dict[str, str]:
    """Return a user's environment: the address of Netra, and nothing else."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NETRA_", "OTEL_"))}
    netra_is = {"NETRA_API_KEY": "any", "NETRA_OTLP_ENDPOINT": netra.endpoint, "XDG_STATE_HOME": str(tmp_path)}
    return {**clean, **netra_is, "PYTHONPATH": str(ROOT)}


def command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]


def run(words: list[str], place: Path, environment: dict[str, str], code: int = 0) -> str:
    """Run a program and return its output; it must exit with ``code``."""
    done = subprocess.run(
        words, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S
    )
    assert done.returncode == code, done.stdout
    return done.stdout


@contextmanager
def started(words: list[str], place: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Start a program that runs until it is stopped; after `LIMIT_S` kill it, which ends its output."""
    process = subprocess.Popen(
        ["timeout", "-s", "KILL", str(LIMIT_S), *words],
        cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_every_example_says_how_to_run_it() -> None:
    """The first lines of an example name the command to run it, and what it needs."""
    for path in EXAMPLES.glob("*.py"):
        opening = path.read_text("utf-8").partition('"""')[2].partition('"""')[0]
        assert "Run it with NETRA_API_KEY" in opening
    assert "pip install ./examples/custom_destination" in (EXAMPLES / "custom_destination/pyproject.toml").read_text()


@pytest.mark.faults
def test_a_script_replays_into_an_exporter(environment: dict[str, str], tmp_path: Path) -> None:
    """The script prints a line for each span, and one about all."""
    lines = run(command("script_replay.py"), tmp_path, environment).splitlines()
    assert len(lines) == SPANS + 1
    assert lines[-1].startswith(f"{SPANS} spans in ")


@pytest.mark.faults
def test_a_script_reads_usage(environment: dict[str, str], tmp_path: Path) -> None:
    """The script prints a line for each tenant."""
    said = run(command("script_usage.py"), tmp_path, environment)
    assert re.search(r"^Globex: [\d,]+ tokens in \d+ sessions, \$\d+\.\d\d$", said, flags=re.MULTILINE)


@pytest.mark.faults
def test_a_scheduled_job_sends_what_is_new(
    environment: dict[str, str], tmp_path: Path, netra: ThreadedEmulator
) -> None:
    """The first run copies everything, the next one nothing; after an outage the next run catches up."""
    job = command("scheduled_job.py", "otlp-file:spans.jsonl")
    netra.set_faults("status-503")
    try:
        said = run([*job], tmp_path, {**environment, "NETRA_BRIDGE_ATTEMPTS": "1"}, code=69)
    finally:
        netra.set_faults()
    assert len(said.splitlines()) == 1
    assert f"{SPANS} spans delivered, 0 skipped" in run(job, tmp_path, environment)
    assert f"0 spans delivered, {SPANS} skipped" in run(job, tmp_path, environment)
    assert sum(len(ids) for ids in map(span_ids, (tmp_path / "spans.jsonl").read_text().splitlines())) == SPANS


def span_ids(line: str) -> set[str]:
    return set(re.findall(r'"spanId":"(\w+)"', line))


@pytest.mark.faults
def test_a_collector_follows_until_it_is_told_to_stop(environment: dict[str, str], tmp_path: Path) -> None:
    """The program prints what costs something, and ends with SIGTERM; a second run has nothing to send."""
    costs = 0
    with started(command("python_collector.py"), tmp_path, {**environment, "NETRA_BRIDGE_POLL": "1s"}) as collector:
        assert collector.stdout is not None
        for line in collector.stdout:
            assert set(json.loads(line)) == {"name", "tenant", "usd"}
            costs += 1
            if costs == 10:
                collector.send_signal(signal.SIGTERM)
        assert collector.wait() == 0
    assert costs >= 10
    assert (tmp_path / "collector-state" / "state.db").exists()


def ask(url: str) -> Any:
    with urlopen(url, timeout=LIMIT_S) as answer:
        return json.load(answer)


@pytest.mark.faults
def test_a_service_shows_a_tenants_traces(environment: dict[str, str], tmp_path: Path) -> None:
    """The service shows the tenant's traces, the spans of one, and its usage; another tenant's trace is not there."""
    serve = [
        sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "fastapi_tenant:app", "--port", "0", "--no-use-colors"
    ]  # fmt: skip
    with started(serve, tmp_path, environment) as service:
        assert service.stdout is not None
        found = (re.search(r"running on (http://[\d.:]+)", line) for line in service.stdout)
        base = next(match[1] for match in found if match) + "/tenants"
        listed = ask(f"{base}/Globex/traces?hours=26")["traces"]
        assert listed
        assert {"id", "name", "started", "ms", "tokens", "cost", "error"} == set(listed[0])
        spans = ask(f"{base}/Globex/traces/{listed[0]['id']}")
        assert len(spans) == 7
        assert len([span for span in spans if span["parent"] is None]) == 1
        assert ask(f"{base}/Globex/usage?hours=26")["tokens"] > 0
        for path in (f"Initech/traces/{listed[0]['id']}", f"Globex/traces/{'0' * 31}1", "Nobody/usage"):
            with pytest.raises(HTTPError, match="404"):
                ask(f"{base}/{path}")
        service.send_signal(signal.SIGTERM)
        assert service.wait() in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


@pytest.mark.faults
def test_a_service_shows_a_tenant_its_own_spans_alone(environment: dict[str, str], tmp_path: Path) -> None:
    """If two tenants share a trace, each sees only its own spans."""
    options = EmulatorOptions(port=0)
    serve = [
        sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "fastapi_tenant:app", "--port", "0", "--no-use-colors"
    ]  # fmt: skip
    with running_emulator(options) as shared:
        for number, tenant in ((1, "Globex"), (2, "Initech"), (3, "Globex")):
            span = otlp_span(0xA, number, attributes={"netra.tenant_id": tenant}, name=f"of {tenant}")
            assert shared.call(lambda one=span: shared.emulator.store.ingest(read_document(otlp_document(one)))) == []
        with started(serve, tmp_path, {**environment, "NETRA_OTLP_ENDPOINT": shared.endpoint}) as service:
            assert service.stdout is not None
            found = (re.search(r"running on (http://[\d.:]+)", line) for line in service.stdout)
            base = next(match[1] for match in found if match) + "/tenants"
            seen = {tenant: ask(f"{base}/{tenant}/traces/{0xA:032x}") for tenant in ("Globex", "Initech")}
            with pytest.raises(HTTPError, match="404"):
                ask(f"{base}/Umbrella/traces/{0xA:032x}")
            service.send_signal(signal.SIGTERM)
            service.wait()
    assert [span["name"] for span in seen["Globex"]] == ["of Globex"] * 2
    assert [span["name"] for span in seen["Initech"]] == ["of Initech"]


@pytest.mark.faults
def test_a_custom_destination_is_found_by_its_name(environment: dict[str, str], tmp_path: Path) -> None:
    """With the metadata that its installation creates, the command sends to it."""
    package = EXAMPLES / "custom_destination"
    points = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    installed = tmp_path / "installed" / "span_lines-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: span-lines\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in each.items()) for group, each in points.items())
    )
    path = os.pathsep.join([str(ROOT), str(installed.parent), str(package)])
    replay = [sys.executable, "-m", "netra_otel_bridge", "replay", "--since", "25h", "--to", "exporter:span-lines"]
    run(replay, tmp_path, {**environment, "PYTHONPATH": path, "SPAN_LINES_FILE": "lines.txt"})
    assert len(set((tmp_path / "lines.txt").read_text("utf-8").splitlines())) == SPANS


@pytest.mark.faults
def test_commands_of_alerts_name_the_state_of_the_unit() -> None:
    """Commands that read or change a state name the state directory of the unit, so they can be pasted as they are."""
    unit = (EXAMPLES / "systemd" / "netra-otel-bridge.service").read_text("utf-8")
    directory = re.search(r"^StateDirectory=(\S+)$", unit, flags=re.MULTILINE)
    assert directory is not None
    rules = yaml.safe_load((EXAMPLES / "prometheus" / "netra-alerts.yml").read_text("utf-8"))
    texts = [rule["annotations"]["description"] for group in rules["groups"] for rule in group["rules"]]
    commands = [command for text in texts for command in re.findall(r"`netra-otel-bridge ([^`]+)`", text)]
    stateful = [one for one in commands if one.startswith(("state ", "status", "replay"))]
    assert len(stateful) == 5
    assert [one for one in stateful if f"--state /var/lib/{directory[1]}" not in one] == []
