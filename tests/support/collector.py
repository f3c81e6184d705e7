"""A real OpenTelemetry Collector on loopback with a batch processor, and the server that it exports to.

It is Jaeger 2, a distribution of the Collector, run without its storage and with an ``otlphttp`` exporter.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.backends import JAEGER
from tests.support.compare import Key, Normal
from tests.support.server import Server, free_ports

_CONFIG = """
service:
  extensions: [healthcheckv2]
  pipelines:
    traces: {{receivers: [otlp], processors: [batch], exporters: [otlphttp]}}
  telemetry: {{metrics: {{level: none}}}}
extensions:
  healthcheckv2: {{use_v2: true, http: {{endpoint: "127.0.0.1:{health}"}}}}
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
processors:
  batch: {{timeout: 100ms, send_batch_size: 300, send_batch_max_size: 700}}
exporters:
  otlphttp: {{endpoint: "{sink}", encoding: json, compression: none}}
"""


class Collector(Server):
    """A Collector. ``otlp_grpc`` and ``otlp_http`` are addresses to use as ``DEST``. It changes no span, but batches anew."""

    backend, ready_s, grace_s = JAEGER, 30.0, 5.0
    not_kept: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._ports = dict(zip(("health", "grpc", "http"), free_ports(3), strict=True))
        self.otlp_grpc = f"otlp+grpc://127.0.0.1:{self._ports['grpc']}"
        self.otlp_http = f"otlp+http://127.0.0.1:{self._ports['http']}"
        self._ready_url = f"http://127.0.0.1:{self._ports['health']}/status"
        self._sink: Sink | None = None

    def trace(self, trace_id: int | str, spans: int = 1, within_s: float = 30.0) -> dict[str, Any]:
        """Return the sink's spans of a trace, as a ``TracesData``, once there are at least ``spans`` of them.

        After ``within_s`` seconds, return whatever there is. A span that came twice is there twice.
        """
        assert self._sink is not None
        name = trace_id if isinstance(trace_id, str) else f"{trace_id:032x}"
        until = time.monotonic() + within_s
        while True:
            found = [one for document in list(self._sink.documents) for one in _only(document, name)]
            count = sum(len(scope["spans"]) for resource in found for scope in resource["scopeSpans"])
            if count >= spans or time.monotonic() > until:
                return {"resourceSpans": found}
            time.sleep(0.02)

    def as_kept(self, sent: dict[Key, Normal]) -> dict[Key, Normal]:
        """Return the spans unchanged: a Collector keeps all of what was sent."""
        return sent

    def stop(self) -> None:
        """End the Collector, which first sends what it still has, and then the sink."""
        super().stop()
        if self._sink is not None:
            self._sink.stop()
            self._sink = None

    def _arguments(self, directory: Path) -> list[str]:
        self._sink = Sink()
        config = directory / "config.yaml"
        config.write_text(_CONFIG.format(sink=self._sink.url, **self._ports))
        return ["--config", str(config)]


class Sink:
    """An OTLP server over HTTP that accepts only JSON; ``documents`` are the requests that it accepted, in order."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        documents = self.documents

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
                if taken:
                    documents.append(json.loads(body))
                self.send_response(200 if taken else 400)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="sink", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting requests."""
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


def _only(document: dict[str, Any], trace_id: str) -> list[dict[str, Any]]:
    """Return the ``resourceSpans`` of a request, with only the spans of one trace."""
    return [
        {
            **resource,
            "scopeSpans": [
                {**scope, "spans": [span for span in scope["spans"] if span["traceId"] == trace_id]}
                for scope in resource["scopeSpans"]
            ],
        }
        for resource in document["resourceSpans"]
    ]
