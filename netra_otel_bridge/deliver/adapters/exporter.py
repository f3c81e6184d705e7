"""A `SpanExporter` as a destination: its return value, its log or its timeout becomes an `Outcome`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from netra_otel_bridge.core.model.outcome import Delivered, Outcome, SpanBatch
from netra_otel_bridge.deliver.adapters.exporter_log import STOCK_LOGGERS, LogCapture, capture_log, error_outcome
from netra_otel_bridge.deliver.adapters.worker_thread import OneAtATime, StillRunning
from netra_otel_bridge.deliver.answers import Verdict, defect_outcome, no_answer, outcome, shown

CLOSE_DEADLINE_S = 5.0
"""Seconds within which an exporter must flush and shut down; a process that exits waits no longer."""
_log = logging.getLogger(__name__)


class ExporterDestination:
    """Sends batches through an exporter, called directly on a thread of its own.

    - There are never two ``export`` calls at once on one instance. A call that has not returned within ``deadline_s`` is
      `Retry`; the next `send` waits for it first, and uses its answer if it was for the same batch.
    - ``SUCCESS`` is `Delivered`. For ``FAILURE``, `answers` reads what the exporter logged during the call; these records
      do not reach the log handlers of the application. Its messages on success are repeated without values.
    - An exception is `Refused` with its text, because one span may be at fault. Exceptions about the connection or the
      machine (`OSError`, `grpc.RpcError`) are read by `answers`.
    - ``None``, or anything else but a `SpanExportResult`, is `Misconfigured`: such an exporter never
      confirms that spans arrived, so the lane cannot continue, and no span is at fault.

    ``shut_down`` says whether the exporter ends with the destination; an exporter that its owner still uses is only
    flushed. ``secrets`` are replaced by ``***`` in every reason. ``calls`` is the thread on which the exporter was created.
    """

    def __init__(
        self,
        name: str,
        exporter: SpanExporter,
        deadline_s: float = 60.0,
        *,
        secrets: Sequence[str] = (),
        shut_down: bool = True,
        calls: OneAtATime[Any] | None = None,
    ) -> None:
        self.name = name
        self._exporter = exporter
        self._deadline_s = deadline_s
        self._secrets = tuple(secrets)
        self._loggers = _loggers_of(exporter)
        self._calls: OneAtATime[Outcome] = calls or OneAtATime(f"export {name}")
        self._shuts_down = shut_down
        self._closed = False

    async def send(self, batch: SpanBatch) -> Outcome:
        """Pass one batch to the exporter and return the outcome. Never raises, whatever the exporter does."""
        if self._closed:
            raise RuntimeError(f"the destination {self.name} is closed")
        try:
            answer = await self._calls.call(batch.spans, lambda: self._export(batch.spans), self._deadline_s)
        except StillRunning:
            return no_answer("the exporter did not return", self._deadline_s)
        return shown(answer, self._secrets)

    async def aclose(self) -> None:
        """Flush and shut down the exporter, within `CLOSE_DEADLINE_S`; one that hangs is abandoned."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._calls.call(object(), self._shut_down, CLOSE_DEADLINE_S)
        except StillRunning:
            _log.warning("%s: the exporter did not shut down in %g s and is abandoned", self.name, CLOSE_DEADLINE_S)
        finally:
            self._calls.close()

    def _export(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """Call ``export`` once, on the thread of the exporter."""
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            with capture_log(self._loggers) as log:
                result: object = self._exporter.export(spans)
        except BrokenPipeError:
            return outcome(Verdict.MISCONFIGURED, "the reader of the exporter's output has closed it")
        except BaseException as error:  # noqa: BLE001  the wall around foreign code, `SystemExit` included
            return error_outcome(error) or defect_outcome("the exporter", error)
        finally:
            detach(token)
        return self._outcome(result, log)

    def _outcome(self, result: object, log: LogCapture) -> Outcome:
        if result is SpanExportResult.SUCCESS:
            return Delivered("; ".join(log.templates))
        if result is SpanExportResult.FAILURE:
            return log.outcome()
        kind = "None" if result is None else f"a {type(result).__name__}"
        reason = f"the exporter returned {kind} instead of a SpanExportResult"
        return outcome(Verdict.MISCONFIGURED, reason, hint="its export must return a SpanExportResult")

    def _shut_down(self) -> Outcome:
        """Call ``force_flush`` and ``shutdown``; neither can end the bridge."""
        steps: list[tuple[str, Callable[[], object]]] = [
            ("force_flush", lambda: self._exporter.force_flush(int(CLOSE_DEADLINE_S * 1000)))
        ]
        if self._shuts_down:
            steps.append(("shutdown", lambda: self._exporter.shutdown()))
        for name, step in steps:
            try:
                with capture_log(self._loggers):
                    step()
            except BaseException as error:  # noqa: BLE001  the wall around foreign code
                _log.warning("%s: the exporter's %s raised %s", self.name, name, type(error).__name__)
        return Delivered()


def _loggers_of(exporter: SpanExporter) -> tuple[str, ...]:
    """Return the prefixes of the loggers to capture: the stock exporters, and the package of this exporter."""
    module = type(exporter).__module__
    package = module.partition(".")[0]
    return (STOCK_LOGGERS, module if package == "opentelemetry" else package)
