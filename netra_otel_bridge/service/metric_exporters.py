"""Metric readers and exporters, as ``OTEL_METRICS_EXPORTER`` and related variables configure them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, PeriodicExportingMetricReader
from prometheus_client import CollectorRegistry, ProcessCollector

from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.deliver.adapters.entry_points import create, installed, load
from netra_otel_bridge.service.persistent_counters import PersistentCounters

VARIABLE = "OTEL_METRICS_EXPORTER"
GROUP = "opentelemetry_metrics_exporter"
_OTLP = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_MAX_MS = 86_400_000.0


def metric_readers(
    environ: Mapping[str, str], origin_ns: Callable[[], int] = lambda: 0
) -> tuple[list[MetricReader], CollectorRegistry | None]:
    """Return the readers of ``OTEL_METRICS_EXPORTER`` (default: ``prometheus``) and the registry for ``/metrics``.

    ``prometheus`` makes that registry and starts no server; without it the registry is ``None``. ``otlp`` uses
    ``OTEL_EXPORTER_OTLP_METRICS_PROTOCOL`` or ``OTEL_EXPORTER_OTLP_PROTOCOL``, by default gRPC. ``none`` must be the
    only name. Any other name is an entry point of `GROUP`. Exporters read their own variables. The counters of usage
    are exported as started at ``origin_ns``. Raises `ConfigurationError` with the name of the variable and what is
    installed.
    """
    names = list(dict.fromkeys(name.strip() for name in environ.get(VARIABLE, "").split(",") if name.strip()))
    names = names or ["prometheus"]
    if names == ["none"]:
        return [], None
    if "none" in names:
        raise ConfigurationError(f"{VARIABLE}: none excludes all other names", hint="remove it, or all others")
    makers = [(name, _maker(name, environ)) for name in names if name != "prometheus"]
    interval_ms = _milliseconds(environ, "OTEL_METRIC_EXPORT_INTERVAL")
    timeout_ms = _milliseconds(environ, "OTEL_METRIC_EXPORT_TIMEOUT")
    readers = [_make_reader(name, maker, origin_ns, interval_ms, timeout_ms) for name, maker in makers]
    if "prometheus" not in names:
        return readers, None
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return [_prometheus_reader(registry), *readers], registry


def _prometheus_reader(registry: CollectorRegistry) -> MetricReader:
    """Return a reader for ``registry``. Before 0.63 the exporter supported only the process-wide registry."""
    if "registry" in inspect.signature(PrometheusMetricReader).parameters:
        return PrometheusMetricReader(registry=registry, scope_info_enabled=False)
    reader = PrometheusMetricReader()
    registry.register(reader._collector)
    return reader


def metric_exporter(name: str, environ: Mapping[str, str], origin: str = VARIABLE) -> MetricExporter:
    """Return the exporter of this name; messages say that the name was set in ``origin``.

    Raises `ConfigurationError`.
    """
    made = _set_up(name, _maker(name, environ, origin), origin)
    if not isinstance(made, MetricExporter):
        raise ConfigurationError(f"{origin}: {name!r} does not provide a metric exporter", hint="use otlp")
    return made


def _maker(name: str, environ: Mapping[str, str], origin: str = VARIABLE) -> Callable[[], Any]:
    """Load the entry point of an exporter: a class of metric readers or of exporters."""
    found = installed(GROUP)
    wanted = _otlp_protocol(environ) if name == "otlp" else name
    if wanted not in found:
        known = sorted({"prometheus", "none", *found} | ({"otlp"} if {*_OTLP.values()} & found.keys() else set()))
        package = wanted.replace("_", "-")
        install = f"opentelemetry-exporter-{package}" if name == "otlp" else f"the package that provides {name!r}"
        raise ConfigurationError(
            f"{origin}: {name!r} is not installed", hint=f"installed: {', '.join(known)}; or install {install}"
        )
    return load(found[wanted], f"{origin}: {name!r}")


def _otlp_protocol(environ: Mapping[str, str]) -> str:
    for variable in ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if value := environ.get(variable, "").strip():
            if value not in _OTLP:
                raise ConfigurationError(f"{variable}: expected {' or '.join(_OTLP)}")
            return _OTLP[value]
    return _OTLP["grpc"]


def _milliseconds(environ: Mapping[str, str], variable: str) -> float | None:
    text = environ.get(variable, "").strip()
    try:
        value = float(text) if text else None
    except ValueError:
        value = 0.0
    if value is not None and not 1 <= value <= _MAX_MS:
        raise ConfigurationError(f"{variable}: expected milliseconds, from 1 to {_MAX_MS:g}")
    return value


def _make_reader(
    name: str,
    maker: Callable[[], Any],
    origin_ns: Callable[[], int],
    interval_ms: float | None,
    timeout_ms: float | None,
) -> MetricReader:
    """Make the reader of an entry point; an exporter receives the values every ``interval_ms`` (default: a minute)."""

    def reader() -> Any:
        made = maker()
        if isinstance(made, MetricExporter):
            return PeriodicExportingMetricReader(PersistentCounters(made, origin_ns), interval_ms, timeout_ms)
        return made

    made = _set_up(name, reader, VARIABLE)
    if not isinstance(made, MetricReader):
        raise ConfigurationError(f"{VARIABLE}: {name!r} provides neither a metric reader nor a metric exporter")
    return made


def _set_up(name: str, maker: Callable[[], Any], origin: str) -> Any:
    """Create a reader or exporter. Messages give only the type of an error, because its text may contain a token."""
    return create(maker, name, f"{origin}: {name!r}", describe=lambda error: type(error).__name__)
