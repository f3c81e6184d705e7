"""What an exporter says while it exports: stock exporters answer SUCCESS or FAILURE and log the reason."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from netra_otel_bridge.core.model.outcome import Outcome
from netra_otel_bridge.deliver.answers import connection_outcome, grpc_outcome, retry_info_s, words_outcome

STOCK = "opentelemetry.exporter"
"""The loggers of the stock exporters all begin so."""
_ENCODER = f"{STOCK}.otlp.proto.common"
"""The stock encoder, whose log repeats the attribute values that it drops."""


@dataclass(slots=True)
class Overheard:
    """What was said in one ``export`` call.

    ``answer`` is the last answer that is known by its code or its exception; ``words`` are the log records' texts,
    ``forms`` the same without the values in them, which may be content of spans.
    """

    answer: Outcome | None = None
    words: list[str] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)

    def outcome(self) -> Outcome:
        """The outcome of a call that ended in FAILURE."""
        if self.answer is not None:
            return self.answer
        return words_outcome("; ".join(self.words) or "the exporter failed and did not say why")


class _Listener(logging.Filter):
    """Takes the records of a thread that listens, and lets those of all others pass.

    A filter of the logger itself and the first one, because the stock exporters' own ``DuplicateFilter`` drops what
    repeats within 20 seconds before any handler sees it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        heard: Overheard | None = getattr(_thread, "heard", None)
        if heard is None:
            return True
        if record.levelno < logging.WARNING:
            return False
        heard.words.append(str(record.msg) if record.name.startswith(_ENCODER) else record.getMessage())
        heard.forms.append(str(record.msg))
        answer = _known(record)
        if answer is not None:
            heard.answer = answer
        return False


def _known(record: logging.LogRecord) -> Outcome | None:
    """The outcome that the exception says: the one being handled while the record is made, or one logged as a value.

    The exporter of 1.41 logs the gRPC code without its details; the exception at hand has both.
    """
    errors = [sys.exception(), *(record.args if isinstance(record.args, tuple) else ())]
    known = (error_outcome(error) for error in errors if isinstance(error, BaseException))
    return next((outcome for outcome in known if outcome is not None), None)


def error_outcome(error: BaseException) -> Outcome | None:
    """The outcome of an exception about the connection; ``None`` for any other exception.

    ``requests``' exceptions are `OSError`: the surroundings are at fault, not the spans.
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
    """What really happened: ``requests`` and ``urllib3`` wrap it in up to four exceptions, each with a longer text."""
    inner = (*error.args, getattr(error, "reason", None), error.__cause__)
    wrapped = next((item for item in inner if isinstance(item, BaseException)), None)
    return error if wrapped is None else _innermost(wrapped)


_thread = threading.local()
_listener = _Listener()


@contextmanager
def overhear(prefixes: tuple[str, ...]) -> Iterator[Overheard]:
    """Collect what loggers under ``prefixes`` say in this thread; none of it reaches a handler.

    A logger that is made only during the call is heard from the next call on.
    """
    for name, logger in tuple(logging.root.manager.loggerDict.items()):
        if name.startswith(prefixes) and isinstance(logger, logging.Logger) and _listener not in logger.filters:
            logger.filters.insert(0, _listener)
    heard = Overheard()
    _thread.heard = heard
    try:
        yield heard
    finally:
        _thread.heard = None
