"""A real Prometheus on loopback, for as long as a test needs it."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.backends import PROMETHEUS, PROMTOOL, binary_or_skip
from tests.support.server import Server, free_ports

JOB = "netra-otel-bridge"
Labels = dict[str, str]


class PrometheusError(AssertionError):
    """Prometheus did not answer a query, or promtool found a fault; the message is theirs."""


class Prometheus(Server):
    """A server with the configuration in the file ``config``; its data is in ``data`` and stays there.

    ``url`` is the address for queries, ``otlp_endpoint`` is a value for ``OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`` (HTTP,
    protobuf). Times are Unix seconds.
    """

    backend, ready_s, grace_s = PROMETHEUS, 60.0, 10.0

    def __init__(self, config: Path, data: Path) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.otlp_endpoint = f"{self.url}/api/v1/otlp/v1/metrics"
        self._ready_url = f"{self.url}/-/ready"
        self._config, self._data, self._port = config, data, port

    def _arguments(self, directory: Path) -> list[str]:
        return [
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._data}",
            "--storage.tsdb.retention.time=10y",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--web.enable-otlp-receiver",
        ]

    def query(self, expr: str, time: float | None = None) -> list[tuple[Labels, float]]:
        """Evaluate an expression at one time, by default now; a scalar has no labels.

        Raise `PrometheusError` if it does not parse or cannot be evaluated.
        """
        found = self._get("query", query=expr, **({} if time is None else {"time": repr(time)}))
        if found["resultType"] == "scalar":
            return [({}, float(found["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in found["result"]]

    def query_range(
        self, expr: str, start: float, end: float, step: float
    ) -> list[tuple[Labels, list[tuple[float, float]]]]:
        """Evaluate an expression from ``start`` to ``end``, each ``step``; return times and values by series."""
        found = self._get("query_range", query=expr, start=repr(start), end=repr(end), step=repr(step))
        return [(one["metric"], [(at, float(text)) for at, text in one["values"]]) for one in found["result"]]

    def targets(self) -> list[dict[str, Any]]:
        """Return its targets, with ``scrapeUrl``, ``health`` (``up``, ``down``, ``unknown``) and ``lastError``."""
        targets: list[dict[str, Any]] = self._get("targets")["activeTargets"]
        return targets

    def rules(self) -> list[dict[str, Any]]:
        """Return its rules, with ``name``, ``query``, ``health`` (``ok``, ``err``, ``unknown``) and ``lastError``.
        Alerts also have ``state`` (``inactive``, ``pending``, ``firing``) and ``alerts``, whose annotations are filled
        in.
        """
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, **parameters: str) -> Any:
        request = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise PrometheusError(f"{error.read().decode(errors='replace')} {parameters}") from None


@contextmanager
def running_prometheus(
    directory: Path,
    *,
    scrape: Sequence[str] = (),
    rules: Sequence[Path] = (),
    out_of_order: str | None = None,
    scrape_interval: str = "1s",
) -> Iterator[Prometheus]:
    """Run a Prometheus that keeps its data in ``directory/data`` and scrapes ``scrape`` (``HOST:PORT`` or a URL of it).

    The first scrape comes after some 6 s. Blocks that are already in ``directory/data`` are served. ``rules`` are files
    of rules, evaluated at each scrape. ``out_of_order`` is the greatest age of a sample that comes after newer ones
    (``30d``).
    """
    targets = [urllib.parse.urlsplit(one).netloc if "://" in one else one for one in scrape]
    config: dict[str, Any] = {
        "global": {"scrape_interval": scrape_interval, "evaluation_interval": scrape_interval},
        "rule_files": [str(path.resolve()) for path in rules],
        "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": targets}]}],
    }
    if out_of_order is not None:
        config["storage"] = {"tsdb": {"out_of_order_time_window": out_of_order}}
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    with Prometheus(file, directory / "data") as server:
        yield server


def promtool(*arguments: str | Path) -> str:
    """Return what promtool prints; raise `PrometheusError` with it unless promtool exits with 0."""
    done = subprocess.run(
        [binary_or_skip(PROMTOOL), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise PrometheusError(f"promtool {' '.join(map(str, arguments))}: {done.stdout}")
    return done.stdout
