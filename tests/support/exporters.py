"""Exporters that misbehave, each in one way, and record their calls."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult


class ScriptedExporter(SpanExporter):
    """An exporter that follows a script: each ``export`` returns a value, raises an exception or calls a function.

    After the script it returns ``SUCCESS``. ``most_at_once`` is the largest number of ``export`` calls that ran at the
    same time, ``threads`` are the threads they ran in.
    """

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.calls: list[tuple[ReadableSpan, ...]] = []
        self.threads: set[str] = set()
        self.most_at_once = 0
        self.flushed = 0
        self.shut_down = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.calls.append(tuple(spans))
            self.threads.add(threading.current_thread().name)
            step = self.steps.pop(0) if self.steps else SpanExportResult.SUCCESS
        try:
            if isinstance(step, BaseException):
                raise step
            return step() if callable(step) else step
        finally:
            with self._lock:
                self._at_once -= 1

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        self.flushed += 1
        return True

    def shutdown(self) -> None:
        self.shut_down += 1


_log = logging.getLogger("opentelemetry.exporter.test")


def fails_saying(message: str, *args: object) -> Callable[[], object]:
    """Return a step that logs an error, as stock exporters do, and returns ``FAILURE``."""

    def step() -> SpanExportResult:
        _log.error(message, *args)
        return SpanExportResult.FAILURE

    return step


def waits_for(event: threading.Event, result: object = SpanExportResult.SUCCESS) -> Callable[[], object]:
    """Return a step that hangs until ``event`` is set."""

    def step() -> object:
        event.wait(30)
        return result

    return step
