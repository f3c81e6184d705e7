"""Formats of the API: JSON, times, cursors and errors."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder()


def to_json(value: Any) -> str:
    """Return compact JSON text. A float keeps its fraction (``1.0``), so that it is parsed as a float again."""
    return _ENCODER.encode(value).decode()


def to_json_bytes(value: Any) -> bytes:
    """Return compact JSON in UTF-8."""
    return _ENCODER.encode(value)


def epoch_ms(ns: int) -> str:
    """Return epoch milliseconds as text, exact to 1 ns (``1795349300072.557212``), without a zero fraction."""
    ms, rest = divmod(ns, 1_000_000)
    return f"{ms}.{rest:06d}" if rest else str(ms)


def epoch_iso(ms: int) -> str:
    """Return ISO 8601 UTC with milliseconds, as the API writes its times; the last possible year is 9999."""
    seconds, rest = divmod(ms, 1000)
    try:
        return f"{_second(seconds)}.{rest:03d}Z"
    except (ValueError, OverflowError, OSError):
        return "9999-12-31T23:59:59.999Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def pack_cursor(parts: list[Any]) -> str:
    """Return an opaque cursor: URL-safe base64 of a JSON list."""
    return base64.urlsafe_b64encode(_ENCODER.encode(parts)).decode().rstrip("=")


def unpack_cursor(text: str) -> list[Any] | None:
    """Return the list in a cursor of `pack_cursor`, or ``None`` if the text is not such a cursor."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        parts = msgspec.json.decode(raw)
    except (binascii.Error, ValueError):
        return None
    return parts if isinstance(parts, list) else None


class ApiError(Exception):
    """An error response, in the shape that the SDKs expect: ``{"error": {"code", "message"}}``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
