"""Read the reason of a failure from the log: stock exporters return SUCCESS or FAILURE, and log why."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from netra_otel_bridge.core.model.outcome import Outcome
from netra_otel_bridge.deliver.answers import (
    UNREACHABLE_HINT,
    Verdict,
    connection_outcome,
    grpc_outcome,
    outcome,
)
from netra_otel_bridge.deliver.exporter_words import words_outcome
from netra_otel_bridge.deliver.rpc_status import retry_info_s

STOCK_LOGGERS = "opentelemetry.exporter"
"""The names of the loggers of all stock exporters begin with this."""
_ENCODER = f"{STOCK_LOGGERS}.otlp.proto.common"
"""The stock encoder, whose log repeats the attribute values that it drops."""


@dataclass(slots=True)
class LogCapture:
    """The log of one ``export`` call.

    ``answer`` is the last outcome that was recognized by its code or its exception. ``messages`` are the texts of the
    log records, ``templates`` the same texts without the values in them, which may be content of spans.
    """

    answer: Outcome | None = None
    messages: list[str] = field(default_factory=list)
    templates: list[str] = field(default_factory=list)

    def outcome(self) -> Outcome:
        """Return the outcome of a call that ended in FAILURE."""
        if self.answer is not None:
            return self.answer
        words = "; ".join(self.messages)
        if not words:
            return outcome(Verdict.RETRY, "the exporter failed and did not say why", hint=UNREACHABLE_HINT)
        return words_outcome(words)


class _CaptureFilter(logging.Filter):
    """Captures the records of a thread in `capture_log`, and passes those of all other threads.

    It is the first filter of the logger itself, because the ``DuplicateFilter`` of the stock exporters drops repeats
    within 20 seconds before any handler sees them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        capture: LogCapture | None = getattr(_thread, "capture", None)
        if capture is None:
            return True
        if record.levelno < logging.WARNING:
            return False
        capture.messages.append(str(record.msg) if record.name.startswith(_ENCODER) else record.getMessage())
        capture.templates.append(str(record.msg))
        answer = _known(record)
        if answer is not None:
            capture.answer = answer
        return False


def _known(record: logging.LogRecord) -> Outcome | None:
    """Return the outcome of the exception being handled while the record is made, or of one logged as a value.

    The exporter of 1.41 logs the gRPC code without its details; the exception has both.
    """
    errors = [sys.exception(), *(record.args if isinstance(record.args, tuple) else ())]
    known = (error_outcome(error) for error in errors if isinstance(error, BaseException))
    return next((outcome for outcome in known if outcome is not None), None)


def error_outcome(error: BaseException) -> Outcome | None:
    """Return the outcome of an exception about the connection, ``None`` for any other exception.

    The exceptions of ``requests`` are `OSError`: the environment is at fault, not the spans.
    """
    if isinstance(error, grpc.Call):
        metadata = {key: value for key, value in error.trailing_metadata() or ()}  # noqa: C416  as in `otlp`
        return grpc_outcome(error.code(), error.details() or "", retry_info_s(metadata))
    if isinstance(error, grpc.RpcError):
        return connection_outcome(f"{type(error).__name__}: {error}")
    if not isinstance(error, OSError):
        return None
    cause = _innermost(error)
    return connection_outcome(f"{type(cause).__name__}: {cause}")


def _innermost(error: BaseException) -> BaseException:
    """Return the original exception: ``requests`` and ``urllib3`` wrap it in up to four, each with a longer text."""
    inner = (*error.args, getattr(error, "reason", None), error.__cause__)
    wrapped = next((item for item in inner if isinstance(item, BaseException)), None)
    return error if wrapped is None else _innermost(wrapped)


_thread = threading.local()
_filter = _CaptureFilter()


@contextmanager
def capture_log(prefixes: tuple[str, ...]) -> Iterator[LogCapture]:
    """Capture what loggers whose names begin with ``prefixes`` log in this thread; none of it reaches a handler.

    A logger that is created during the call is captured from the next call on.
    """
    for name, logger in tuple(logging.root.manager.loggerDict.items()):
        if name.startswith(prefixes) and isinstance(logger, logging.Logger) and _filter not in logger.filters:
            logger.filters.insert(0, _filter)
    capture = LogCapture()
    _thread.capture = capture
    try:
        yield capture
    finally:
        _thread.capture = None
