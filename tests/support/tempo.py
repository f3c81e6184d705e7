"""A real Tempo on loopback, with its default limits, for as long as a test needs it."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.backends import TEMPO
from tests.support.compare import Key, Normal
from tests.support.server import Server, free_ports

_CONFIG = """
server:
  {{http_listen_address: 127.0.0.1, http_listen_port: {query}, grpc_listen_address: 127.0.0.1, grpc_listen_port: {own}}}
distributor:
  receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}}}
ingester: {{lifecycler: {{min_ready_duration: 0s}}}}
storage: {{trace: {{backend: local, local: {{path: {directory}/blocks}}, wal: {{path: {directory}/wal}}}}}}
usage_report: {{reporting_enabled: false}}
"""
"""The limits are Tempo's defaults: 15 MB/s with bursts of 20 MB, 5 MB a trace, 10,000 live traces, 4 MiB a gRPC message."""
_SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")


class Tempo(Server):
    """A Tempo. ``otlp_grpc`` and ``otlp_http`` are addresses to use as ``DEST``, ``read_at`` as ``AT``; the tests
    themselves read traces and metrics from ``query_url``.

    With ``search`` it also indexes attributes, which it does not by default. It is killed at the end: it holds nothing
    that is needed, and an orderly stop would sleep 30 s for clients to leave.
    """

    backend, ready_s, grace_s = TEMPO, 60.0, 0.0
    not_kept = ("flags", "resource_schema", "scope_schema")
    """Fields that its version of OTLP does not have yet."""

    def __init__(self, *, search: bool = False) -> None:
        self._search = search
        self._ports = dict(zip(("query", "own", "grpc", "http"), free_ports(4), strict=True))
        self.otlp_grpc = f"otlp+grpc://127.0.0.1:{self._ports['grpc']}"
        self.otlp_http = f"otlp+http://127.0.0.1:{self._ports['http']}"
        self.query_url = f"http://127.0.0.1:{self._ports['query']}"
        self.read_at = f"tempo+{self.query_url}"
        self._ready_url = f"{self.query_url}/ready"

    def trace(self, trace_id: int | str, spans: int = 1, within_s: float = 10.0) -> dict[str, Any]:
        """Return a trace as OTLP JSON (ids in base64) once it has at least ``spans`` spans.

        Tempo 1.5 answers with ``batches`` of ``instrumentationLibrarySpans``, 2.x with ``batches`` of ``scopeSpans``;
        `compare.spans_by_id` reads every form. After ``within_s`` seconds, return whatever there is; no trace at all is
        ``{}``. Raise `urllib.error.HTTPError` for a trace above 4 MiB, which Tempo stores and cannot return.
        """
        name = trace_id if isinstance(trace_id, str) else f"{trace_id:032x}"
        until = time.monotonic() + within_s
        while True:
            found = self._read(name)
            if _count(found) >= spans or time.monotonic() > until:
                return found
            time.sleep(0.02)

    def as_kept(self, sent: dict[Key, Normal]) -> dict[Key, Normal]:
        """Return spans as Tempo keeps them: a value of bytes, which its version of OTLP does not have yet, becomes empty."""
        return {key: _without_bytes(normal) for key, normal in sent.items()}

    def metric(self, metric: str, **labels: str) -> float:
        """Return a counter or gauge of its own, summed over all samples that have these labels; 0 if there is none."""
        with urllib.request.urlopen(f"{self.query_url}/metrics", timeout=10) as response:
            samples = map(_SAMPLE.match, response.read().decode().splitlines())
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        return sum(
            float(sample["value"])
            for sample in samples
            if sample and sample["name"] == metric and wanted <= set((sample["labels"] or "").split(","))
        )

    def _arguments(self, directory: Path) -> list[str]:
        config = directory / "config.yaml"
        config.write_text(_CONFIG.format(directory=directory, **self._ports))
        return ["-target=all", f"-config.file={config}", f"-search.enabled={str(self._search).lower()}"]

    def _read(self, name: str) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.query_url}/api/traces/{name}", headers={"Accept": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                found: dict[str, Any] = json.load(response)
                return found
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:
                    raise
        return {}


def _without_bytes(value: Any) -> Any:
    match value:
        case ("bytes", bytes()):
            return ("none", None)
        case dict():
            return {key: _without_bytes(item) for key, item in value.items()}
        case tuple() | list():
            return type(value)(_without_bytes(item) for item in value)
    return value


def _count(trace: dict[str, Any]) -> int:
    return sum(
        len(scope.get("spans", ()))
        for resource in trace.get("resourceSpans") or trace.get("batches") or ()
        for scope in resource.get("scopeSpans") or resource.get("instrumentationLibrarySpans") or ()
    )
