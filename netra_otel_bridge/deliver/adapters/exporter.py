"""Any OpenTelemetry `SpanExporter` as a destination: its calls, its silence and its log mapped to an `Outcome`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from netra_otel_bridge.core.model.outcome import Delivered, Outcome, Retry, SpanBatch
from netra_otel_bridge.deliver.adapters.exporter_log import STOCK, Overheard, error_outcome, overhear
from netra_otel_bridge.deliver.adapters.worker_thread import OneAtATime, StillRunning
from netra_otel_bridge.deliver.answers import Verdict, masked, one_line, outcome, raised

CLOSE_DEADLINE_S = 5.0
"""What an exporter gets to flush and shut down; a process that ends does not wait longer for it."""
_log = logging.getLogger(__name__)


class ExporterDestination:
    """Sends batches through an exporter, called directly on a thread of its own.

    - Never two ``export`` calls at once on one instance. One that has not answered within ``deadline_s`` is `Retry`;
      the next `send` waits for it first, and takes its answer if it carried the same batch.
    - ``SUCCESS`` is `Delivered`. ``FAILURE`` is what the exporter logged meanwhile, read by `answers`; its records
      stay off the application's log handlers. What it logs on success is repeated without values.
    - An exception is `Refused` with its text: one span may be to blame. Exceptions about the connection or the
      machine (`OSError`, `grpc.RpcError`) are read by `answers`.
    - ``None``, or anything else that is not a `SpanExportResult`, is `Misconfigured`: this exporter can never say that
      spans arrived, so nothing may move on, and no span is to blame.

    ``shut_down`` says whether the exporter ends with the destination; one that its owner goes on using is only flushed.
    ``secrets`` are texts that are replaced by ``***`` in every reason. ``calls`` is the thread on which it was made.
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
        """Hand one batch to the exporter and say what became of it. Never raises for what the exporter does."""
        if self._closed:
            raise RuntimeError(f"the destination {self.name} is closed")
        try:
            answer = await self._calls.call(batch.spans, lambda: self._export(batch.spans), self._deadline_s)
        except StillRunning:
            return Retry(f"the exporter did not answer in {self._deadline_s:g} s")
        return masked(answer, self._secrets)

    async def aclose(self) -> None:
        """Flush and shut down the exporter, within `CLOSE_DEADLINE_S`; one that hangs is left behind."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._calls.call(object(), self._shut_down, CLOSE_DEADLINE_S)
        except StillRunning:
            _log.warning("%s: the exporter did not shut down in %g s and is left behind", self.name, CLOSE_DEADLINE_S)
        finally:
            self._calls.close()

    def _export(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """One ``export`` call, on the exporter's thread."""
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            with overhear(self._loggers) as heard:
                result: object = self._exporter.export(spans)
        except BrokenPipeError:
            return outcome(Verdict.MISCONFIGURED, "whoever read what the exporter writes has gone away")
        except BaseException as error:  # noqa: BLE001  the wall around foreign code, `SystemExit` included
            known = error_outcome(error)
            return known or outcome(Verdict.REFUSED, f"the exporter raised {raised(error)}")
        finally:
            detach(token)
        return self._outcome(result, heard)

    def _outcome(self, result: object, heard: Overheard) -> Outcome:
        if result is SpanExportResult.SUCCESS:
            return Delivered(one_line("; ".join(heard.forms)))
        if result is SpanExportResult.FAILURE:
            return heard.outcome()
        kind = "None" if result is None else f"a {type(result).__name__}"
        return outcome(Verdict.MISCONFIGURED, f"the exporter returned {kind} instead of a SpanExportResult")

    def _shut_down(self) -> Outcome:
        """``force_flush`` and ``shutdown``; neither can take the bridge down."""
        steps: list[tuple[str, Callable[[], object]]] = [
            ("force_flush", lambda: self._exporter.force_flush(int(CLOSE_DEADLINE_S * 1000)))
        ]
        if self._shuts_down:
            steps.append(("shutdown", lambda: self._exporter.shutdown()))
        for name, step in steps:
            try:
                with overhear(self._loggers):
                    step()
            except BaseException as error:  # noqa: BLE001  the wall around foreign code
                _log.warning("%s: the exporter's %s raised %s", self.name, name, type(error).__name__)
        return Delivered()


def _loggers_of(exporter: SpanExporter) -> tuple[str, ...]:
    """The beginnings of the logger names to listen to: the stock exporters', and the exporter's own package."""
    module = type(exporter).__module__
    package = module.partition(".")[0]
    return (STOCK, module if package == "opentelemetry" else package)
