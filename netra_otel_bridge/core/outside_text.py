"""Make words of others fit for a message: one printable line of bounded length, without secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MAX_CHARS = 400
"""A server may answer with a whole web page; one line of it is enough to act on."""
MASK = "***"
_SECRET_CHARS = 4
"""A shorter text is no secret: to replace it would garble every line and hide nothing."""


def one_line(text: str, max_chars: int = MAX_CHARS) -> str:
    """Return the text as one short line; characters that are not printable (``ESC``, bidi marks) are escaped."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def error_line(error: BaseException) -> str:
    """Return the type and the words of an exception of someone else's code, which may fail even to give its words."""
    try:
        words = str(error)
    except Exception:  # noqa: BLE001  the wall around foreign code
        words = ""
    return one_line(f"{type(error).__name__}: {words}" if words else type(error).__name__)


def mask(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret in the text, the longest first, because one may contain another."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def header_secrets(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return what must never be shown of headers: each value, and the token after a scheme such as ``Bearer``."""
    parts = (part for value in headers.values() for part in (value, value.rpartition(" ")[2]))
    return tuple(part for part in parts if len(part) >= _SECRET_CHARS)
