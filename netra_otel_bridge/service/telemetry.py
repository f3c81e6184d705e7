"""The meter provider of the service, with its own metrics and those of usage.

Every instrument is observable: its value is read when it is collected, so it costs nothing while spans are processed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from netra_otel_bridge.core.model.health import ServiceHealth
from netra_otel_bridge.service.own_metrics import INSTRUMENTS
from netra_otel_bridge.usage.instruments import Instrument
from netra_otel_bridge.version import __version__

SERVICE_NAME = "netra-otel-bridge"
METER = "netra_otel_bridge"
_CLOSE_S = 3.0
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Telemetry:
    """Exposes metrics to ``readers`` until `close`.

    The metrics are those of the service itself (`INSTRUMENTS`), and those added by `show`.

    The resource has no ``service.instance.id`` unless ``OTEL_RESOURCE_ATTRIBUTES`` sets one: the SDK makes up a new one
    for each process, and every restart would start new series.

    A source of values is called once for each instrument and collection, on the readers' threads: it MUST be
    thread-safe and return within microseconds.
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
        """Read ``instruments`` from ``source``; ``collected`` is called with the attributes of each value read."""
        for instrument in instruments:
            _observe(self.meter, instrument, source, collected)

    def close(self, timeout_s: float = _CLOSE_S) -> None:
        """Export the last values and shut down; abandon an exporter that hangs for ``timeout_s``.

        Blocks. May be called twice.
        """
        if self._closed:
            return
        self._closed = True
        ending = threading.Thread(target=self._shut_down, args=(timeout_s,), name="metrics shutdown", daemon=True)
        ending.start()
        ending.join(timeout_s)

    def _shut_down(self, timeout_s: float) -> None:
        try:
            self._provider.shutdown(timeout_millis=timeout_s * 1000)
        except Exception as error:  # noqa: BLE001  the SDK raises a bare Exception, and nothing is left to do
            _log.warning("the last metrics may not have been exported: %s", type(error).__name__)


def _observe(
    meter: Meter, instrument: Instrument[T], source: Callable[[], T], collected: Callable[[Mapping[str, str]], None]
) -> None:
    def observations(_: CallbackOptions) -> Iterator[Observation]:
        for value, attributes in instrument.read(source()):
            yield Observation(value, attributes)
            collected(attributes)

    make = meter.create_observable_counter if instrument.kind == "counter" else meter.create_observable_gauge
    make(instrument.name, [observations], instrument.unit, instrument.description)
