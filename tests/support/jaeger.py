"""A real Jaeger on loopback, for as long as a test needs it."""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tests.support.backends import JAEGER, binary_or_skip

READY_S = 30.0
STOP_S = 1.0
"""It keeps nothing, and would wait 10 s for clients to leave."""
_CONFIG = """
service:
  extensions: [jaeger_storage, jaeger_query, healthcheckv2]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry: {{metrics: {{level: none}}}}
extensions:
  healthcheckv2: {{use_v2: true, http: {{endpoint: "127.0.0.1:{health}"}}}}
  jaeger_query:
    storage: {{traces: mem}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{query_grpc}"}}
  jaeger_storage: {{backends: {{mem: {{memory: {{max_traces: 100000}}}}}}}}
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
exporters:
  jaeger_storage_exporter: {{trace_storage: mem}}
"""


class Jaeger:
    """A context manager. Entering starts the server and waits until it is ready; leaving ends that process alone.

    ``otlp_grpc`` and ``otlp_http`` are addresses as ``DEST``, ``query_url`` is where traces are read back.
    """

    def __init__(self) -> None:
        self._ports = dict(zip(("health", "query", "query_grpc", "grpc", "http"), free_ports(5), strict=True))
        self.otlp_grpc = f"otlp+grpc://127.0.0.1:{self._ports['grpc']}"
        self.otlp_http = f"otlp+http://127.0.0.1:{self._ports['http']}"
        self.query_url = f"http://127.0.0.1:{self._ports['query']}"
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def trace(self, trace_id: int | str, spans: int = 1, within_s: float = 10.0) -> dict[str, Any]:
        """A trace as OTLP JSON (a ``TracesData``, ids in hex), as soon as it has at least ``spans`` spans.

        What there is after ``within_s`` seconds is returned as it is; no trace at all is ``{"resourceSpans": []}``.
        """
        name = trace_id if isinstance(trace_id, str) else f"{trace_id:032x}"
        until = time.monotonic() + within_s
        while True:
            found = self._read(name)
            count = sum(
                len(scope.get("spans", ())) for resource in found["resourceSpans"] for scope in resource["scopeSpans"]
            )
            if count >= spans or time.monotonic() > until:
                return found
            time.sleep(0.02)

    def _read(self, name: str) -> dict[str, Any]:
        data: dict[str, Any] = {"resourceSpans": []}
        try:
            with urllib.request.urlopen(f"{self.query_url}/api/v3/traces/{name}", timeout=10) as response:
                for line in response.read().splitlines():
                    data["resourceSpans"] += json.loads(line)["result"].get("resourceSpans", [])
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:
                    raise
        return data

    def log(self) -> str:
        """What the server has logged so far."""
        return Path(self._log.name).read_text(errors="replace") if self._log is not None else ""

    def __enter__(self) -> Jaeger:
        binary = binary_or_skip(JAEGER)
        self._directory = tempfile.TemporaryDirectory(prefix="jaeger-")
        config = Path(self._directory.name) / "config.yaml"
        config.write_text(_CONFIG.format(**self._ports))
        self._log = (Path(self._directory.name) / "log").open("wb")
        self._process = subprocess.Popen(
            [binary, "--config", config], stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
        )
        until = time.monotonic() + READY_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > until:
                log = self.log()
                self.stop()
                raise RuntimeError(f"jaeger did not become ready in {READY_S:g} s; its log:\n{log}")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports['health']}/status", timeout=1) as response:
                return response.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def stop(self) -> None:
        """End the process; entered again, a new one takes the same ports and knows nothing of what was sent before."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None
        self._directory.cleanup()


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody uses at this moment, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
