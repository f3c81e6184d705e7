"""Convert single columns of a Netra span to OpenTelemetry values: ids, times, kind, status.

No function raises: each returns ``None`` for a value that it cannot read, and the caller keeps the original text.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date
from functools import lru_cache
from typing import Any

from opentelemetry.trace import SpanKind
from opentelemetry.trace.status import StatusCode

from netra_otel_bridge.core.json_text import int_text, read_json
from netra_otel_bridge.core.model.netra import (
    Instant,
    JsonText,
    Number,
    TraceSpan,
)

MAX_NS = 2**63 - 1
LONGEST_NS = 100 * 365 * 86_400 * 10**9
"""Longest duration of a span, a hundred years. Beyond it, the end is a mistake: an unset or wrapped counter."""
_MS_DIGITS = 13
"""Digits of epoch milliseconds from 2001 to 2286: the form that Netra's SDK documents, read without a regex."""
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DIGITS = re.compile(r"([+-]?)(\d{1,40})(?:\.(\d*))?")
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?\s*(?:([Zz])|([+-])(\d\d):?(\d\d)?)?"
)
RECENT_SPANS = 256
"""Spans whose ids are remembered for their children. To remember more costs more than to read an id again."""
_HEX = re.compile(r"[0-9a-fA-F]+")


@lru_cache(maxsize=4096)
def trace_id(text: str) -> tuple[int, bool]:
    """Return a trace id, and whether it is the application's own or derived by SHA-256.

    Its own are 32 hex digits, a UUID, or the 16 hex digits of older tracers, which are the lower half.
    """
    compact = text.replace("-", "") if len(text) == 36 else text
    if len(compact) in (32, 16) and _HEX.fullmatch(compact):
        value = int(compact, 16)
        if value:
            return value, True
    return _derived(text, 16), False


def otlp_trace_id(text: str) -> str:
    """Return the id of a trace as it is sent, in 32 hex digits."""
    return f"{trace_id(text)[0]:032x}"


@lru_cache(maxsize=RECENT_SPANS)
def span_id(text: str) -> tuple[int, bool]:
    """Return a span id, and whether it is the application's own (16 hex digits) or derived by SHA-256."""
    if len(text) == 16 and _HEX.fullmatch(text):
        value = int(text, 16)
        if value:
            return value, True
    return _derived(text, 8), False


def span_id_value(text: str) -> int:
    """Return the span id as it is sent. Texts with the same value name the same span."""
    return span_id(text)[0]


def is_no_id(text: str | None) -> bool:
    """Return whether a parent column means "no parent": absent, empty, or zeros."""
    return text is None or not text.strip("0- ")


def _derived(text: str, length: int) -> int:
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest()
    return int.from_bytes(digest[:length], "big") or 1


def instant_ns(value: Instant | None) -> int | None:
    """Return a time from the API in nanoseconds since the epoch, or ``None`` if it cannot be read.

    Numbers are milliseconds; from 10^14 on (the year 5138) microseconds, from 10^17 on nanoseconds. Text is digits in
    the same units, or ISO 8601 with ``Z``, an offset, or neither (UTC). A negative time stays negative.
    """
    if isinstance(value, str):
        whole, _, fraction = value.partition(".")
        ns_digits = whole + fraction.ljust(6, "0")
        if len(whole) == _MS_DIGITS and len(ns_digits) == _MS_DIGITS + 6 and ns_digits.isdecimal():
            return int(ns_digits)
        text = value.strip()
    elif value is None or isinstance(value, bool):
        return None
    elif isinstance(value, int):
        text = str(value) if -(10**40) < value < 10**40 else ""
    else:
        text = format(value, ".6f") if abs(value) < 1e40 else ""
    digits = _DIGITS.fullmatch(text)
    if digits is None:
        return _iso_ns(text)
    sign, whole, fraction = digits.groups()
    units = int(whole)
    places = 6 if units < 10**14 else 3 if units < 10**17 else 0
    ns: int = units * 10**places + (int((fraction or "")[:places].ljust(places, "0")) if places else 0)
    return -ns if sign == "-" else ns


def _iso_ns(text: str) -> int | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, _, sign, offset_h, offset_m = match.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    seconds = ((days * 24 + int(hour)) * 60 + int(minute)) * 60 + int(second or 0)
    if sign:
        offset = int(offset_h) * 3600 + int(offset_m or 0) * 60
        seconds += offset if sign == "-" else -offset
    return seconds * 10**9 + int((fraction or "0")[:9].ljust(9, "0"))


def latency_ns(value: Number | None) -> int | None:
    """Return ``latency_ms`` in nanoseconds; ``None`` if it is absent, negative, above `LONGEST_NS` or not a number."""
    if value is None or not 0 <= value <= LONGEST_NS // 1_000_000:
        return None
    return value * 1_000_000 if isinstance(value, int) else round(value * 1_000_000)


NETRA_KINDS = {
    "SPAN": SpanKind.INTERNAL,
    "USAGE": SpanKind.INTERNAL,
    "TOOL": SpanKind.INTERNAL,
    "AGENT": SpanKind.INTERNAL,
    "GUARDRAIL": SpanKind.INTERNAL,
    "HANDOFF": SpanKind.INTERNAL,
    "GENERATION": SpanKind.CLIENT,
    "EMBEDDING": SpanKind.CLIENT,
}
"""OpenTelemetry kind of each Netra span type (table in ``docs/mapping.md``)."""

_OTEL_KINDS = {
    "INTERNAL": SpanKind.INTERNAL,
    "SERVER": SpanKind.SERVER,
    "CLIENT": SpanKind.CLIENT,
    "PRODUCER": SpanKind.PRODUCER,
    "CONSUMER": SpanKind.CONSUMER,
    "UNSPECIFIED": SpanKind.INTERNAL,
}
_OTLP_NUMBERS = {
    "0": SpanKind.INTERNAL,
    "1": SpanKind.INTERNAL,
    "2": SpanKind.SERVER,
    "3": SpanKind.CLIENT,
    "4": SpanKind.PRODUCER,
    "5": SpanKind.CONSUMER,
}


_KNOWN_KINDS: dict[str | int | None, tuple[SpanKind, str | None]] = {
    **{word: (kind, word) for word, kind in NETRA_KINDS.items()},
    **{word: (kind, None) for word, kind in _OTEL_KINDS.items()},
}


def span_kind(value: str | int | None) -> tuple[SpanKind | None, str | None]:
    """Return the OpenTelemetry kind, and Netra's type if the column names one; ``(None, None)`` for an unknown word."""
    if value in _KNOWN_KINDS:
        return _KNOWN_KINDS[value]
    text = (int_text(value) if isinstance(value, int) else value or "").strip().upper()
    if text in NETRA_KINDS:
        return NETRA_KINDS[text], text
    return _OTEL_KINDS.get(text.removeprefix("SPAN_KIND_")) or _OTLP_NUMBERS.get(text), None


def is_known_kind(value: str | int | None) -> bool:
    """Return whether a kind is missing, or one of Netra's or OpenTelemetry's."""
    return value in (None, "") or span_kind(value)[0] is not None


_STATUS = {
    "OK": StatusCode.OK,
    "SUCCESS": StatusCode.OK,
    "1": StatusCode.OK,
    "ERROR": StatusCode.ERROR,
    "FAILED": StatusCode.ERROR,
    "FAILURE": StatusCode.ERROR,
    "2": StatusCode.ERROR,
    "UNSET": StatusCode.UNSET,
    "0": StatusCode.UNSET,
    "": StatusCode.UNSET,
}


def status(value: JsonText | int | None) -> tuple[StatusCode | None, str | None]:
    """Return code and message of a ``status`` column in any of its forms; the code is ``None`` for an unknown word."""
    if isinstance(value, str):
        known = _STATUS.get(value)
        if known is not None:
            return known, None
        if value.lstrip().startswith("{"):
            value = read_json(value)
            if value is None:
                return None, None
    if isinstance(value, dict):
        code = _first(value, "code", "status_code", "statusCode")
        message = _first(value, "message", "description")
        if value and code is None and message is None:
            return None, None
        return _status_code(code), message if isinstance(message, str) and message else None
    return _status_code(value), None


def is_error(span: TraceSpan) -> bool:
    """Return whether Netra's column or the recorded status says that the span failed."""
    return bool(span.has_error) or status(span.status)[0] is StatusCode.ERROR


def _status_code(value: Any) -> StatusCode | None:
    if value is None:
        return StatusCode.UNSET
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = int_text(value) if isinstance(value, int) else value
    return _STATUS.get(text.strip().upper().removeprefix("STATUS_CODE_"))


def _first(value: dict[str, Any], *keys: str) -> Any:
    return next((value[key] for key in keys if value.get(key) is not None), None)
