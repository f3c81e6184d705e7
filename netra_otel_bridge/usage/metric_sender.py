"""Any OpenTelemetry `MetricExporter`, called directly: its answer and its log as an error that says what to do."""

from __future__ import annotations

import logging

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from netra_otel_bridge.core.clock import Backoff, Clock
from netra_otel_bridge.core.errors import (
    DestinationError,
    DestinationMisconfigured,
    DestinationRefuses,
    DestinationUnauthorized,
    DestinationUnavailable,
)
from netra_otel_bridge.core.model.outcome import Delivered, Misconfigured, Outcome, Retry
from netra_otel_bridge.deliver.adapters.exporter_log import STOCK, error_outcome, overhear
from netra_otel_bridge.deliver.adapters.worker_thread import OneAtATime, StillRunning
from netra_otel_bridge.deliver.answers import Verdict, masked, outcome

CLOSE_DEADLINE_S = 5.0
_log = logging.getLogger(__name__)


class MetricSender:
    """Sends metrics through an exporter, one request after another, until each is taken or one is not.

    ``name`` is how messages call it. Stock exporters try again themselves for some seconds; what then still may pass is
    sent again as ``backoff`` says. ``secrets`` are texts that no message may hold.
    """

    def __init__(
        self,
        name: str,
        exporter: MetricExporter,
        *,
        backoff: Backoff,
        clock: Clock,
        secrets: tuple[str, ...] = (),
        deadline_s: float = 60.0,
    ) -> None:
        self._name = name
        self._exporter = exporter
        self._backoff = backoff
        self._clock = clock
        self._secrets = secrets
        self._deadline_s = deadline_s
        module = type(exporter).__module__
        package = module.partition(".")[0]
        self._loggers = (STOCK, module if package == "opentelemetry" else package)
        self._calls: OneAtATime[Outcome] = OneAtATime(f"export {name}")

    async def send(self, metrics: MetricsData) -> None:
        """Hand over one request. Raises `DestinationError`."""
        for attempt in range(self._backoff.attempts):
            if attempt:
                await self._clock.sleep(self._backoff.delay_s(attempt - 1))
            answer = await self._answer(metrics)
            if isinstance(answer, Delivered):
                return
            if not isinstance(answer, Retry):
                break
        raise self._error(answer)

    async def aclose(self) -> None:
        """Shut the exporter down, within `CLOSE_DEADLINE_S`; one that hangs is left behind."""
        try:
            await self._calls.call(object(), self._shut_down, CLOSE_DEADLINE_S)
        except StillRunning:
            _log.warning("%s: the exporter did not shut down in %g s and is left behind", self._name, CLOSE_DEADLINE_S)
        finally:
            self._calls.close()

    async def _answer(self, metrics: MetricsData) -> Outcome:
        try:
            answer = await self._calls.call(metrics, lambda: self._export(metrics), self._deadline_s)
        except StillRunning:
            return Retry(f"the exporter did not answer in {self._deadline_s:g} s")
        return masked(answer, self._secrets)

    def _export(self, metrics: MetricsData) -> Outcome:
        """One ``export`` call, on the exporter's thread."""
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            with overhear(self._loggers) as heard:
                result: object = self._exporter.export(metrics)
        except Exception as error:  # noqa: BLE001  the wall around foreign code
            known = error_outcome(error)
            return known or outcome(Verdict.REFUSED, f"the exporter raised {type(error).__name__}: {error}")
        finally:
            detach(token)
        if result is MetricExportResult.SUCCESS:
            return Delivered()
        if result is MetricExportResult.FAILURE:
            return heard.outcome()
        return outcome(Verdict.MISCONFIGURED, f"the exporter returned {result!r} instead of a MetricExportResult")

    def _error(self, answer: Outcome) -> DestinationError:
        match answer:
            case Retry(reason):
                return DestinationUnavailable(
                    f"{self._name}: {reason}", hint="when it is back, run the same command: samples are the same again"
                )
            case Misconfigured(reason, unauthorized=True):
                return DestinationUnauthorized(
                    f"{self._name}: refuses the credentials: {reason}", hint="set OTEL_EXPORTER_OTLP_METRICS_HEADERS"
                )
            case Misconfigured(reason):
                return DestinationMisconfigured(
                    f"{self._name}: {reason}", hint="check the address, the protocol (grpc or http/protobuf) and TLS"
                )
        return DestinationRefuses(
            f"{self._name}: refused: {getattr(answer, 'reason', '')}",
            hint="it may take no samples of that time: in Prometheus, make storage.tsdb.out_of_order_time_window longer "
            "than the range is old, or write --to openmetrics:FILE",
        )

    def _shut_down(self) -> Outcome:
        try:
            with overhear(self._loggers):
                self._exporter.shutdown()
        except Exception as error:  # noqa: BLE001  the wall around foreign code
            _log.warning("%s: the exporter's shutdown raised %s", self._name, type(error).__name__)
        return Delivered()
