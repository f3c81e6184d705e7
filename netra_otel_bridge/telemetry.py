"""What the service measures of itself, as OpenTelemetry metrics, and where they go (``OTEL_METRICS_EXPORTER``).

Every instrument is observable: it reads `ServiceHealth` when it is collected, so that nothing is done for it while
spans are on their way.
"""

from __future__ import annotations

import inspect
import logging
import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from prometheus_client import CollectorRegistry, ProcessCollector

from netra_otel_bridge.clock import NS_PER_S
from netra_otel_bridge.convert.metrics import Instrument, Value
from netra_otel_bridge.deliver.overheard import overhear
from netra_otel_bridge.errors import ConfigurationError
from netra_otel_bridge.model import LaneHealth, ServiceHealth, UsageHealth
from netra_otel_bridge.outliving import OutlivingCounters
from netra_otel_bridge.version import __version__

SERVICE_NAME = "netra-otel-bridge"
METER = "netra_otel_bridge"
VARIABLE = "OTEL_METRICS_EXPORTER"
GROUP = "opentelemetry_metrics_exporter"
_OTLP = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_CLOSE_S = 3.0
_MAX_MS = 86_400_000.0
_log = logging.getLogger(__name__)

T = TypeVar("T")


def _by_lane(read: Callable[[LaneHealth], float]) -> Callable[[ServiceHealth], Iterator[Value]]:
    def values(health: ServiceHealth) -> Iterator[Value]:
        for lane in health.lanes:
            yield read(lane), {"destination": lane.destination}

    return values


def _age_by_lane(read: Callable[[LaneHealth], int]) -> Callable[[ServiceHealth], Iterator[Value]]:
    """Seconds since a time of the lane; none where there is no such time yet."""

    def values(health: ServiceHealth) -> Iterator[Value]:
        for lane in health.lanes:
            if at_ns := read(lane):
                yield max(0, health.now_ns - at_ns) / NS_PER_S, {"destination": lane.destination}

    return values


def _by_usage(read: Callable[[UsageHealth, int], float]) -> Callable[[ServiceHealth], Iterator[Value]]:
    """One value; none where usage is not polled."""

    def values(health: ServiceHealth) -> Iterator[Value]:
        if health.usage is not None:
            yield read(health.usage, health.now_ns), {}

    return values


def _api_calls(health: ServiceHealth) -> Iterator[Value]:
    for status, calls in health.api_calls.items():
        yield calls, {"http.response.status_code": str(status) if status else "none"}


def _build(_: ServiceHealth) -> Iterator[Value]:
    yield 1, {"version": __version__, "python": platform.python_version()}


INSTRUMENTS: tuple[Instrument[ServiceHealth], ...] = (
    Instrument(
        "netra_bridge.spans.read",
        "counter",
        "{span}",
        "Spans read from Netra and converted, for this destination",
        _by_lane(lambda lane: lane.read),
    ),
    Instrument(
        "netra_bridge.spans.delivered",
        "counter",
        "{span}",
        "Spans that the destination said it took",
        _by_lane(lambda lane: lane.delivered),
    ),
    Instrument(
        "netra_bridge.spans.refused",
        "counter",
        "{span}",
        "Spans that the destination refused without saying which (OTLP partial success); they are not sent again",
        _by_lane(lambda lane: lane.refused),
    ),
    Instrument(
        "netra_bridge.spans.dead_lettered",
        "counter",
        "{span}",
        "Spans and items that can never be delivered, kept in the state with the reason",
        _by_lane(lambda lane: lane.dead_lettered),
    ),
    Instrument(
        "netra_bridge.delivery.size",
        "counter",
        "By",
        "Encoded size of the spans that the destination took",
        _by_lane(lambda lane: lane.size_bytes),
    ),
    Instrument(
        "netra_bridge.delivery.retries",
        "counter",
        "{retry}",
        "Requests to the destination that had to be made again",
        _by_lane(lambda lane: lane.retries),
    ),
    Instrument(
        "netra_bridge.lane.up",
        "gauge",
        "1",
        "1 while nothing holds up the delivery to the destination, else 0; /readyz says what does",
        _by_lane(lambda lane: int(not lane.problem and not lane.stopped)),
    ),
    Instrument(
        "netra_bridge.lag",
        "gauge",
        "s",
        "How far the destination is behind: the time since the moment up to which live traffic was followed",
        _age_by_lane(lambda lane: lane.watermark_ns),
    ),
    Instrument(
        "netra_bridge.checkpoint.age",
        "gauge",
        "s",
        "The time since progress of the destination was last stored",
        _age_by_lane(lambda lane: lane.checkpoint_ns),
    ),
    Instrument(
        "netra_bridge.api.calls",
        "counter",
        "{call}",
        "Calls to Netra by the HTTP status of the answer; none stands for no answer",
        _api_calls,
    ),
    Instrument(
        "netra_bridge.api.retries",
        "counter",
        "{retry}",
        "Calls to Netra that had to be made again",
        lambda health: [(health.api_retries, {})],
    ),
    Instrument(
        "netra_bridge.usage.up",
        "gauge",
        "1",
        "1 while nothing keeps usage from being polled, else 0; /readyz says what does",
        _by_usage(lambda usage, _: int(not usage.problem)),
    ),
    Instrument(
        "netra_bridge.usage.age",
        "gauge",
        "s",
        "The time since all usage that was due was last asked for, or since the start",
        _by_usage(lambda usage, now_ns: max(0, now_ns - (usage.polled_ns or usage.started_ns)) / NS_PER_S),
    ),
    Instrument(
        "netra_bridge.build.info", "gauge", "1", "Always 1; its attributes say which version is running", _build
    ),
)


class Telemetry:
    """Shows figures to ``readers`` until `close`: those of the service itself (`INSTRUMENTS`), and others by `show`.

    They come from no instance, unless ``OTEL_RESOURCE_ATTRIBUTES`` names one: with the one that the SDK makes up for each
    process, every restart would begin new series.

    What figures are read off is asked for once for each instrument and collection, on the readers' own threads: it MUST
    be safe to call on any thread and take microseconds.
    """

    def __init__(self, health: Callable[[], ServiceHealth], readers: Sequence[MetricReader]) -> None:
        resource = Resource({"service.name": SERVICE_NAME, "service.version": __version__})
        self._provider = MeterProvider(
            metric_readers=readers,
            resource=resource.merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
        )
        self.meter = self._provider.get_meter(METER, __version__)
        self._closed = False
        self.show(INSTRUMENTS, health)

    def show(
        self,
        instruments: Iterable[Instrument[T]],
        source: Callable[[], T],
        collected: Callable[[Mapping[str, str]], None] = lambda _: None,
    ) -> None:
        """Read ``instruments`` off what ``source`` returns; ``collected`` is told the attributes of each value that is read."""
        for instrument in instruments:
            _observe(self.meter, instrument, source, collected)

    def close(self, timeout_s: float = _CLOSE_S) -> None:
        """Hand the last figures to exporters, and end; after ``timeout_s`` an exporter that hangs is left behind.

        Blocks. May be called twice.
        """
        if self._closed:
            return
        self._closed = True
        ending = threading.Thread(target=self._shut_down, args=(timeout_s,), name="metrics end", daemon=True)
        ending.start()
        ending.join(timeout_s)

    def _shut_down(self, timeout_s: float) -> None:
        try:
            self._provider.shutdown(timeout_millis=timeout_s * 1000)
        except Exception as error:  # noqa: BLE001  the SDK raises a bare Exception, and nothing is left to be done
            _log.warning("the last metrics may not have arrived: %s", type(error).__name__)


def _observe(
    meter: Meter, instrument: Instrument[T], source: Callable[[], T], collected: Callable[[Mapping[str, str]], None]
) -> None:
    def observations(_: CallbackOptions) -> Iterator[Observation]:
        for value, attributes in instrument.read(source()):
            yield Observation(value, attributes)
            collected(attributes)

    make = meter.create_observable_counter if instrument.kind == "counter" else meter.create_observable_gauge
    make(instrument.name, [observations], instrument.unit, instrument.description)


def metric_readers(
    environ: Mapping[str, str], origin_ns: Callable[[], int] = lambda: 0
) -> tuple[list[MetricReader], CollectorRegistry | None]:
    """The readers that ``OTEL_METRICS_EXPORTER`` names (default: ``prometheus``), and what ``/metrics`` is to show.

    ``prometheus`` is a registry for the service's own page, and starts no server; without it there is no registry.
    ``otlp`` follows ``OTEL_EXPORTER_OTLP_METRICS_PROTOCOL`` or ``OTEL_EXPORTER_OTLP_PROTOCOL``, gRPC by default;
    ``none`` stands alone; any other name is an entry point of `GROUP`. Exporters read their own variables, and are told
    that the counters of usage began at ``origin_ns``. Raises `ConfigurationError` naming the variable, and what is installed.
    """
    names = list(dict.fromkeys(name.strip() for name in environ.get(VARIABLE, "").split(",") if name.strip()))
    names = names or ["prometheus"]
    if names == ["none"]:
        return [], None
    if "none" in names:
        raise ConfigurationError(f"{VARIABLE}: none stands alone", hint="remove it, or all other names")
    makers = [(name, _maker(name, environ)) for name in names if name != "prometheus"]
    interval_ms = _milliseconds(environ, "OTEL_METRIC_EXPORT_INTERVAL")
    timeout_ms = _milliseconds(environ, "OTEL_METRIC_EXPORT_TIMEOUT")
    readers = [_made(name, maker, origin_ns, interval_ms, timeout_ms) for name, maker in makers]
    if "prometheus" not in names:
        return readers, None
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return [_prometheus_reader(registry), *readers], registry


def _prometheus_reader(registry: CollectorRegistry) -> MetricReader:
    """A reader that ``registry`` shows. Before 0.63 the exporter knew the process-wide registry only."""
    if "registry" in inspect.signature(PrometheusMetricReader).parameters:
        return PrometheusMetricReader(registry=registry, scope_info_enabled=False)
    reader = PrometheusMetricReader()
    registry.register(reader._collector)
    return reader


def metric_exporter(name: str, environ: Mapping[str, str], origin: str = VARIABLE) -> MetricExporter:
    """The exporter that a name of ``OTEL_METRICS_EXPORTER`` stands for; ``origin`` is where messages say it was given.

    Raises `ConfigurationError`.
    """
    made = _set_up(name, _maker(name, environ, origin), origin)
    if not isinstance(made, MetricExporter):
        raise ConfigurationError(f"{origin}: {name!r} makes no metric exporter", hint="take otlp")
    return made


def _maker(name: str, environ: Mapping[str, str], origin: str = VARIABLE) -> Callable[[], Any]:
    """What the exporter's entry point stands for: a class of metric readers or of exporters."""
    found: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=GROUP)}
    wanted = _otlp_protocol(environ) if name == "otlp" else name
    if wanted not in found:
        known = sorted({"prometheus", "none", *found} | ({"otlp"} if {*_OTLP.values()} & found.keys() else set()))
        package = wanted.replace("_", "-")
        install = f"opentelemetry-exporter-{package}" if name == "otlp" else f"the package that brings {name!r}"
        raise ConfigurationError(
            f"{origin}: {name!r} is not installed", hint=f"there is {', '.join(known)}; or install {install}"
        )
    try:
        maker: Callable[[], Any] = found[wanted].load()
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{origin}: {name!r} ({found[wanted].value}) cannot be loaded: {type(error).__name__}: {error}",
            hint="reinstall the package that brings it",
        ) from error
    return maker


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


def _made(
    name: str,
    maker: Callable[[], Any],
    origin_ns: Callable[[], int],
    interval_ms: float | None,
    timeout_ms: float | None,
) -> MetricReader:
    """The reader that an entry point makes; an exporter is given the figures each ``interval_ms`` (default: a minute)."""

    def reader() -> Any:
        made = maker()
        if isinstance(made, MetricExporter):
            return PeriodicExportingMetricReader(OutlivingCounters(made, origin_ns), interval_ms, timeout_ms)
        return made

    made = _set_up(name, reader, VARIABLE)
    if not isinstance(made, MetricReader):
        raise ConfigurationError(f"{VARIABLE}: {name!r} makes neither a metric reader nor a metric exporter")
    return made


def _set_up(name: str, maker: Callable[[], Any], origin: str) -> Any:
    """What ``maker`` makes.

    What is logged meanwhile is repeated without values: of a header that cannot be read it would show the token.
    """
    try:
        with overhear(("opentelemetry",)) as heard:
            made = maker()
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{origin}: {name!r} cannot be set up: {type(error).__name__}",
            hint="look at its environment variables (OTEL_EXPORTER_...)",
        ) from error
    for form in heard.forms:
        _log.warning("%s: while it was set up, the exporter said: %s", name, form)
    return made
