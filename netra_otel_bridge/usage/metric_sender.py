"""Send metrics through any OpenTelemetry `MetricExporter`, and turn its result and its log into an actionable error."""

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
from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    PartlyRefused,
    Refused,
    Retry,
    TooLarge,
)
from netra_otel_bridge.deliver.adapters.exporter_log import STOCK_LOGGERS, capture_log, error_outcome
from netra_otel_bridge.deliver.adapters.worker_thread import OneAtATime, StillRunning
from netra_otel_bridge.deliver.answers import Verdict, outcome, shown

CLOSE_DEADLINE_S = 5.0
"""The time that a shutdown may take."""
_log = logging.getLogger(__name__)


class MetricSender:
    """Sends metrics through an exporter, one request at a time, until one fails.

    ``name`` is the exporter's name in messages. Stock exporters retry for some seconds on their own; a request that may
    still succeed after that is retried according to ``backoff``. ``secrets`` never appear in messages.
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
        self._loggers = (STOCK_LOGGERS, module if package == "opentelemetry" else package)
        self._calls: OneAtATime[Outcome] = OneAtATime(f"export {name}")

    async def send(self, metrics: MetricsData) -> None:
        """Send one request. Raises `DestinationError`."""
        for attempt in range(self._backoff.attempts):
            if attempt:
                await self._clock.sleep(self._backoff.delay_s(attempt - 1))
            result = await self._export_within_deadline(metrics)
            if isinstance(result, Delivered):
                return
            error = self._error(result)
            if not isinstance(result, Retry):
                break
        raise error

    async def aclose(self) -> None:
        """Shut down the exporter within `CLOSE_DEADLINE_S`; abandon it if it hangs."""
        try:
            await self._calls.call(object(), self._shut_down, CLOSE_DEADLINE_S)
        except StillRunning:
            _log.warning(
                "%s: the exporter did not shut down within %g s and was abandoned", self._name, CLOSE_DEADLINE_S
            )
        finally:
            self._calls.close()

    async def _export_within_deadline(self, metrics: MetricsData) -> Outcome:
        try:
            result = await self._calls.call(metrics, lambda: self._export(metrics), self._deadline_s)
        except StillRunning:
            return Retry(f"the exporter did not return within {self._deadline_s:g} s")
        return shown(result, self._secrets)

    def _export(self, metrics: MetricsData) -> Outcome:
        """Call ``export`` once, on the exporter's thread."""
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            with capture_log(self._loggers) as log:
                result: object = self._exporter.export(metrics)
        except Exception as error:  # noqa: BLE001  the wall around foreign code
            return error_outcome(error) or outcome(
                Verdict.REFUSED, f"the exporter raised {type(error).__name__}: {error}"
            )
        finally:
            detach(token)
        if result is MetricExportResult.SUCCESS:
            return Delivered()
        if result is MetricExportResult.FAILURE:
            return log.outcome()
        return outcome(Verdict.MISCONFIGURED, f"the exporter returned {result!r} instead of a MetricExportResult")

    def _error(self, failure: PartlyRefused | Retry | TooLarge | Refused | Misconfigured) -> DestinationError:
        match failure:
            case Retry(reason):
                return DestinationUnavailable(
                    f"{self._name}: {reason}",
                    hint="once it is back, run the same command again: it sends the same samples",
                )
            case Misconfigured(reason, unauthorized=True):
                return DestinationUnauthorized(
                    f"{self._name}: rejects the credentials: {reason}", hint="set OTEL_EXPORTER_OTLP_METRICS_HEADERS"
                )
            case Misconfigured(reason):
                return DestinationMisconfigured(
                    f"{self._name}: {reason}", hint="check the address, the protocol (grpc or http/protobuf) and TLS"
                )
        return DestinationRefuses(
            f"{self._name}: rejected: {failure.reason}",
            hint="it may not accept samples this old: in Prometheus, set storage.tsdb.out_of_order_time_window so that "
            "it reaches back to the start of the range, or write --to openmetrics:FILE",
        )

    def _shut_down(self) -> Outcome:
        try:
            with capture_log(self._loggers):
                self._exporter.shutdown()
        except Exception as error:  # noqa: BLE001  the wall around foreign code
            _log.warning("%s: the exporter's shutdown raised %s", self._name, type(error).__name__)
        return Delivered()
