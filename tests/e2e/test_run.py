"""The service against real servers: Jaeger is down for a while, Tempo continues, and both end up with everything."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.otlp import read_document
from tests.support import cli
from tests.support.emulator import ThreadedEmulator, otlp_document, otlp_span, running_emulator
from tests.support.jaeger import Jaeger, free_ports
from tests.support.tempo import Tempo

S = 10**9
PREFIX = 0xE2E0 << 112
"""Trace ids of this file, in servers that other tests use too."""


@pytest.fixture(scope="module")
def tempo() -> Iterator[Tempo]:
    with Tempo() as server:
        yield server


def feed(netra: ThreadedEmulator, trace: int, *numbers: int) -> None:
    """Feed spans of a trace that begin about now."""
    now = time.time_ns() - 2 * S
    spans = [
        otlp_span(PREFIX + trace, 1000 * trace + n, start_ns=now + n * 1000, parent=n and 1000 * trace) for n in numbers
    ]
    assert netra.call(lambda: netra.emulator.store.ingest(read_document(otlp_document(*spans)))) == []


def ids(found: dict[str, Any]) -> list[str]:
    """Return the span ids of a trace as Jaeger or Tempo returns it, in order, repeats included."""
    resources = found.get("resourceSpans") or found.get("batches") or []
    scopes = [
        scope
        for resource in resources
        for scope in resource.get("scopeSpans") or resource.get("instrumentationLibrarySpans") or []
    ]
    return sorted(span["spanId"] for scope in scopes for span in scope["spans"])


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)


class Service:
    """``run`` in a process of its own."""

    def __init__(self, endpoint: str, state: Path, *to: str) -> None:
        (self.port,) = free_ports(1)
        arguments = ["run", "--since", "1h", "--poll", "300ms", "--settle", "0s", "--state", str(state)]
        for one in to:
            arguments += ["--to", one]
        env = cli.environment(endpoint, OTEL_EXPORTER_PROMETHEUS_PORT=str(self.port))
        self.process: subprocess.Popen[str] = cli.start(*arguments, env=env)

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> cli.Result:
        self.process.send_signal(signal.SIGTERM)
        return cli.ended(self.process)


def test_jaeger_is_down_for_a_while_and_tempo_is_not_delayed(tmp_path: Path, tempo: Tempo) -> None:
    """Each destination has its own progress: Jaeger, up again, gets what it missed, and both have each span once."""
    with running_emulator(EmulatorOptions(port=0, api_key=cli.CANARY)) as netra, Jaeger() as jaeger:
        service = Service(netra.endpoint, tmp_path / "state", jaeger.otlp_grpc, tempo.otlp_grpc)
        try:
            feed(netra, 1, 0, 1)
            until(service.ready)
            assert len(ids(jaeger.trace(PREFIX + 1, 2))) == len(ids(tempo.trace(PREFIX + 1, 2))) == 2
            jaeger.stop()
            feed(netra, 2, 0, 1, 2)
            feed(netra, 1, 2)
            assert len(ids(tempo.trace(PREFIX + 2, 3))) == len(ids(tempo.trace(PREFIX + 1, 3))) == 3
            until(lambda: not service.ready())
            said = cli.run("status", "--state", str(tmp_path / "state"), "--json", env=cli.environment(netra.endpoint))
            held, going = sorted(said.json["destinations"], key=lambda one: one["name"] == tempo.otlp_grpc)
            assert held["problem"]
            assert (going["problem"], going["delivered"], held["delivered"]) == (None, 6, 2)
            with jaeger:
                until(service.ready, 90)
                assert len(ids(jaeger.trace(PREFIX + 2, 3))) == 3
                assert len(ids(jaeger.trace(PREFIX + 1, 1))) == 1, "the late span; the others went with the old process"
                end = service.stop()
        finally:
            service.process.kill()
        assert end.code == 0, end.err
        for trace, spans in ((1, 3), (2, 3)):
            found = ids(tempo.trace(PREFIX + trace, spans))
            assert len(found) == len(set(found)) == spans
        said = cli.run("status", "--state", str(tmp_path / "state"), "--json", env=cli.environment(netra.endpoint))
        assert [one["delivered"] for one in said.json["destinations"]] == [6, 6]
        assert json.dumps(said.json).count(cli.CANARY) == 0
        waits = [line for line in end.err.splitlines() if "retrying" in line]
        assert 1 <= len(waits) <= 3, end.err
