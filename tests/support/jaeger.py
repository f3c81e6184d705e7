"""A real Jaeger on loopback, for as long as a test needs it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.backends import JAEGER
from tests.support.compare import Key, Normal
from tests.support.server import Server, free_ports

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
  jaeger_storage: {{backends: {{mem: {backend}}}}}
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
exporters:
  jaeger_storage_exporter: {{trace_storage: mem}}
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A span on Jaeger's pages. Times are in microseconds; ``texts`` are its attributes that are texts."""

    name: str
    service: str
    parent: str
    start_us: int
    texts: dict[str, str]
    logs: int

    @classmethod
    def of(cls, span: dict[str, Any], processes: dict[str, Any]) -> Shown:
        """Read a span of ``/api/traces``."""
        parents = [one["spanID"] for one in span["references"] if one["refType"] == "CHILD_OF"]
        texts = {tag["key"]: tag["value"] for tag in span["tags"] if tag["type"] == "string"}
        service = processes[span["processID"]]["serviceName"]
        return cls(
            span["operationName"], service, "".join(parents[:1]), span["startTime"], texts, len(span["logs"] or ())
        )

    def differences(self, sent: Normal) -> list[str]:
        """Return the fields that are not as in a span that was sent."""
        texts = {key: value for key, (kind, value) in sent["attributes"].items() if kind == "string"}
        expected = {
            "name": sent["name"],
            "service": sent["resource"].get("service.name", ("", ""))[1],
            "parent": sent["parent_id"],
            "start_us": sent["start_ns"] // 1000,
            "texts": texts,
            "logs": len(sent["events"]),
        }
        shown = {field: getattr(self, field) for field in expected}
        shown["texts"] = {key: self.texts.get(key) for key in texts}
        return [field for field in expected if shown[field] != expected[field]]


class Jaeger(Server):
    """A Jaeger server. ``otlp_grpc`` and ``otlp_http`` are addresses to use as ``DEST``, ``read_at`` and
    ``read_at_http`` as ``AT``; the tests themselves read traces from ``query_url``.

    It holds the latest ``max_traces`` in memory, or, with ``badger``, all in Jaeger's own model. It keeps nothing, and
    would wait 10 s for clients to leave. When entered again, it no longer has the earlier spans.
    """

    backend, ready_s, grace_s = JAEGER, 30.0, 1.0
    not_kept: tuple[str, ...] = ()

    def __init__(self, *, max_traces: int = 100_000, badger: bool = False) -> None:
        self._backend = "{badger: {ephemeral: true}}" if badger else f"{{memory: {{max_traces: {max_traces}}}}}"
        self._ports = dict(zip(("health", "query", "query_grpc", "grpc", "http"), free_ports(5), strict=True))
        self.otlp_grpc = f"otlp+grpc://127.0.0.1:{self._ports['grpc']}"
        self.otlp_http = f"otlp+http://127.0.0.1:{self._ports['http']}"
        self.query_url = f"http://127.0.0.1:{self._ports['query']}"
        self.read_at = f"jaeger+grpc://127.0.0.1:{self._ports['query_grpc']}"
        self.read_at_http = f"jaeger+{self.query_url}"
        self._ready_url = f"http://127.0.0.1:{self._ports['health']}/status"

    def trace(self, trace_id: int | str, spans: int = 1, within_s: float = 10.0) -> dict[str, Any]:
        """Return a trace as OTLP JSON (a ``TracesData``, ids in hex) once it has at least ``spans`` spans.

        Jaeger returns the events of a span in an order of its own; they are sorted here by time and name. After
        ``within_s`` seconds, return whatever there is; no trace at all is ``{"resourceSpans": []}``.
        """
        name = trace_id if isinstance(trace_id, str) else f"{trace_id:032x}"
        until = time.monotonic() + within_s
        while True:
            found = self._read(name)
            listed = [
                span
                for resource in found["resourceSpans"]
                for scope in resource["scopeSpans"]
                for span in scope.get("spans", ())
            ]
            for span in listed:
                span.get("events", []).sort(key=lambda event: (int(event["timeUnixNano"]), event["name"]))
            if len(listed) >= spans or time.monotonic() > until:
                return found
            time.sleep(0.02)

    def as_kept(self, sent: dict[Key, Normal]) -> dict[Key, Normal]:
        """Return spans as Jaeger shows them: events sorted as in `trace`, and a span without duration 1 ns long.

        `compare` ignores its warnings, which are attributes of its own.
        """
        return {
            key: {
                **span,
                "end_ns": max(span["end_ns"], span["start_ns"] + 1),
                "events": sorted(span["events"], key=lambda event: event[:2]),
            }
            for key, span in sent.items()
        }

    def page(self, trace_id: int | str) -> dict[str, Shown]:
        """Return the spans of a trace by id as the pages show them, through ``/api/traces``.

        Raise `urllib.error.HTTPError` if the pages cannot: that API carries less than ``/api/v3``.
        """
        name = trace_id if isinstance(trace_id, str) else f"{trace_id:032x}"
        (trace,) = self._ask(f"/api/traces/{name}")
        return {span["spanID"]: Shown.of(span, trace["processes"]) for span in trace["spans"]}

    def search(self, service: str, first_ns: int, last_ns: int) -> set[str]:
        """Return the ids of the traces that a search of the pages for a service finds, as 32 hex digits."""
        query = {"service": service, "start": first_ns // 1000 - 1, "end": last_ns // 1000 + 1, "limit": 1500}
        found = self._ask(f"/api/traces?{urllib.parse.urlencode(query)}")
        return {f"{trace['traceID']:0>32}" for trace in found}

    def _ask(self, path: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.query_url}{path}", timeout=30) as response:
            found: list[dict[str, Any]] = json.load(response)["data"]
            return found

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

    def _arguments(self, directory: Path) -> list[str]:
        config = directory / "config.yaml"
        config.write_text(_CONFIG.format(backend=self._backend, **self._ports))
        return ["--config", str(config)]
