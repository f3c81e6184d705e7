"""Make text from outside safe for a message: one printable line of bounded length, without secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MAX_CHARS = 400
"""A server may respond with a whole web page; one line of it is enough to act on."""
MASK = "***"
_SECRET_CHARS = 4
"""Minimum length of a secret. Replacing a shorter text would garble every line and hide nothing."""


def one_line(text: str, max_chars: int = MAX_CHARS) -> str:
    """Return the text as one short line; characters that are not printable (``ESC``, bidi marks) are escaped."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def error_line(error: BaseException) -> str:
    """Return the type and text of an exception of code outside the bridge, whose ``__str__`` may itself fail."""
    try:
        words = str(error)
    except Exception:  # noqa: BLE001  the wall around foreign code
        words = ""
    return one_line(f"{type(error).__name__}: {words}" if words else type(error).__name__)


def mask(text: str, secrets: Iterable[str]) -> str:
    """Mask every secret in the text, the longest first, because one may contain another."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def header_secrets(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets in headers: each value, and the token after a scheme such as ``Bearer``."""
    parts = (part for value in headers.values() for part in (value, value.rpartition(" ")[2]))
    return tuple(part for part in parts if len(part) >= _SECRET_CHARS)
