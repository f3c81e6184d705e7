"""Make text from outside safe to show: without secrets, on one line, and without characters that act on a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MAX_CHARS = 400
"""A server may respond with a whole web page; one line of it is enough to act on."""
MASK = "***"
_CUT = "…"
_SECRET_CHARS = 4
"""Minimum length of a secret. Replacing a shorter text would garble every line and hide nothing."""
_ACTS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
"""Control characters (C0, C1), breaks of lines, marks of direction, invisible characters, lone surrogates.

The joiners U+200C and U+200D stay: Persian and emoji need them.
"""
_ACTS_IN_JSON = re.compile(_ACTS.pattern.replace(r"\x00-\x1f", "", 1))
"""Without C0, which JSON escapes itself; the line breaks between its members stay."""


def safe_line(text: str, secrets: Iterable[str] = (), max_chars: int = MAX_CHARS) -> str:
    """Return the text as one short line that may be shown: secrets masked first, because a cut one is not found."""
    line = escaped(" ".join(mask(text, secrets).split()))
    return line if len(line) <= max_chars else line[: max_chars - 1] + _CUT


def escaped(text: str) -> str:
    r"""Return the text with every character that acts on a terminal or a line as ``\n``, ``\x1b``, ``\u202e``."""
    return (
        _ACTS.sub(lambda found: ascii(found[0])[1:-1], text) if not text.isascii() or not text.isprintable() else text
    )


def escaped_json(text: str) -> str:
    r"""Return a JSON text, with the same value, in which C1 characters, marks of direction and the like are ``\uXXXX``."""
    return _ACTS_IN_JSON.sub(_json_escape, text) if not text.isascii() or "\x7f" in text else text


def error_words(error: BaseException) -> str:
    """Return the type and text of an exception of code outside the bridge, whose ``__str__`` may itself fail."""
    try:
        words = str(error)
    except Exception:  # noqa: BLE001  the wall around foreign code
        words = ""
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def error_line(error: BaseException) -> str:
    """Return `error_words` as one short line. For text that may repeat a secret, use `safe_line`."""
    return safe_line(error_words(error))


def mask(text: str, secrets: Iterable[str]) -> str:
    """Mask every secret in the text, the longest first, because one may contain another.

    A part of a secret at the end is masked too: a server, a limit on what is read, or `error_line` (which knows no
    secrets, and ends with "…") has cut the text there.
    """
    longest_first = sorted(filter(None, secrets), key=len, reverse=True)
    for secret in longest_first:
        text = text.replace(secret, MASK)
    whole = text.rstrip(_CUT)
    cut = max((_cut_chars(whole, secret) for secret in longest_first), default=0)
    return whole[: len(whole) - cut] + MASK if cut else text


def header_secrets(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets in headers: each value, and the token after a scheme such as ``Bearer``."""
    parts = (part for value in headers.values() for part in (value, value.rpartition(" ")[2]))
    return tuple(part for part in parts if len(part) >= _SECRET_CHARS)


def _cut_chars(text: str, secret: str) -> int:
    """Return the length of the longest end of the text that begins ``secret``, if it is long enough to tell."""
    longest = min(len(secret) - 1, len(text))
    return next((size for size in range(longest, _SECRET_CHARS - 1, -1) if text.endswith(secret[:size])), 0)


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
