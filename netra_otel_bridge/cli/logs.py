"""Logs on stderr: one line for each record, as text for people or as JSON for a log store."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, TextIO

from rich.text import Text

from netra_otel_bridge.cli.output import err
from netra_otel_bridge.cli.redactor import Redactor, redactor
from netra_otel_bridge.core.clock import NS_PER_S, Clock, SystemClock
from netra_otel_bridge.core.json_text import write_json
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.outside_text import escaped, escaped_json
from netra_otel_bridge.core.time_text import iso_ms

Form = Literal["text", "json"]
PACKAGE = "netra_otel_bridge"
_MAX_DEPTH = 6
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY = 7


def configure(
    level: int = logging.WARNING,
    form: Form = "text",
    stream: TextIO | None = None,
    *,
    redactor: Redactor = redactor,
    stamped: bool = False,
    clock: Clock | None = None,
) -> None:
    """Write the package's log to ``stream``, by default stderr; lines appear above a progress bar.

    A text line is ``level: message``. ``stamped`` puts the time in front of it; in systemd's journal, which adds its
    own times, it puts the priority there instead (``<4>``, sd-daemon(3)). A JSON line is one object: ``time`` (RFC
    3339), ``level``, ``logger``, ``message``, the fields of ``extra={"netra": {...}}``, and ``exception`` if there is
    one. Warnings of other libraries are logged in the same form, each at most once a minute.
    """
    journal = stamped and under_journal(stream or sys.stderr, os.environ)
    line: Callable[[logging.LogRecord], str] = (
        JsonLine(redactor) if form == "json" else TextLine(redactor, stamped=stamped and not journal, priority=journal)
    )
    logger = logging.getLogger(PACKAGE)
    logger.handlers = [LineHandler(line, stream, console=form == "text")]
    logger.setLevel(level)
    logger.propagate = False
    others = LineHandler(line, stream, console=form == "text")
    others.setLevel(max(level, logging.WARNING))
    others.addFilter(_OncePerMinute(clock or SystemClock()))
    logging.lastResort = others


def under_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether ``stream`` is systemd's journal, by ``JOURNAL_STREAM`` of systemd.exec(5)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class LineHandler(logging.Handler):
    """Writes a record as one line. Errors of the stream are ignored, because there is nowhere left to report them."""

    def __init__(self, line: Callable[[logging.LogRecord], str], stream: TextIO | None, *, console: bool) -> None:
        super().__init__()
        self._line = line
        self._stream = stream
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = self._line(record)
        try:
            if self._console and self._stream is None:
                err.print(Text(text), soft_wrap=True, style="dim" if record.levelno < logging.WARNING else None)
            else:
                stream = self._stream or sys.stderr
                stream.write(text + "\n")
                stream.flush()
        except (OSError, ValueError):
            return


class TextLine:
    """Formats a record as ``level: message``, with control characters escaped."""

    def __init__(self, redactor: Redactor, *, stamped: bool = False, priority: bool = False) -> None:
        self._redactor = redactor
        self._stamped = stamped
        self._priority = priority

    def __call__(self, record: logging.LogRecord) -> str:
        prefix = f"<{_priority(record.levelno)}>" if self._priority else f"{_time(record)} " if self._stamped else ""
        exception = _exception(record)
        message = f"{_message(record)}: {exception}" if exception else _message(record)
        return f"{prefix}{record.levelname.lower()}: {escaped(self._redactor(message))}"


class JsonLine:
    """Formats a record as one JSON object, whatever it contains. Extra fields never overwrite the standard ones."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redactor(_message(record)),
        }
        exception = _exception(record)
        if exception:
            document["exception"] = self._redactor(exception)
        fields = self._plain(getattr(record, "netra", None))
        if isinstance(fields, dict):
            document = {**document, **{name: value for name, value in fields.items() if name not in document}}
        return escaped_json(write_json(document))

    def _plain(self, value: object, depth: int = 0) -> Any:
        """Return ``value`` in JSON types. Other types, and values nested too deeply, become their Python text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self._redactor(value)
        if depth < _MAX_DEPTH:
            if isinstance(value, Mapping):
                return {self._redactor(_text(key)): self._plain(item, depth + 1) for key, item in value.items()}
            if isinstance(value, list | tuple | set | frozenset):
                return [self._plain(item, depth + 1) for item in value]
        return self._redactor(_text(value))


class _OncePerMinute(logging.Filter):
    """Passes each warning of another library at most once a minute; logger and unformatted text identify it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._limit = LogLimit(clock)

    def filter(self, record: logging.LogRecord) -> bool:
        times = self._limit.due((record.name, _text(record.msg)))
        if times:
            record.msg, record.args = f"{_message(record)}{times}", None
        return times is not None


def _time(record: logging.LogRecord) -> str:
    return iso_ms(int(record.created * NS_PER_S))


def _message(record: logging.LogRecord) -> str:
    """Return the record's text, or its unformatted text if its arguments do not fit."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  a value's __str__ may raise anything, and the line must still be written
        return _text(record.msg)


def _exception(record: logging.LogRecord) -> str:
    """Return ``Type: message`` of the logged exception, or an empty text."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return ""
    text = _text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  a value's __str__ may raise anything, and the line must still be written
        return f"a {type(value).__name__} that cannot be shown"


def _priority(level: int) -> int:
    """Return the syslog(3) priority for a level of `logging`."""
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG_PRIORITY)
