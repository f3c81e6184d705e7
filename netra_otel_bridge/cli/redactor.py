"""The secrets of the command that runs, which nothing on stdout or stderr may show."""

from __future__ import annotations

from collections.abc import Iterable

from netra_otel_bridge.core.outside_text import MAX_CHARS, mask, safe_line

MIN_SECRET = 4
"""Minimum length of a secret. Replacing a shorter text would garble every line and hide nothing."""


class Redactor:
    """Replaces secrets in text with ``***``.

    Secrets can be added while it is in use, for example when a key is rotated.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self.use(secrets)

    def add(self, secret: str) -> None:
        """Redact this text too from now on, if it has at least `MIN_SECRET` characters."""
        if len(secret) >= MIN_SECRET:
            self._secrets.add(secret)

    def use(self, secrets: Iterable[str]) -> None:
        """Redact these instead of all texts so far."""
        self._secrets.clear()
        for secret in secrets:
            self.add(secret)

    def __call__(self, text: str) -> str:
        return mask(text, self._secrets)

    def line(self, text: str, max_chars: int = MAX_CHARS) -> str:
        """Return the text as one short line, with secrets replaced before it is cut."""
        return safe_line(text, self._secrets, max_chars)


redactor = Redactor()
"""Replaces the secrets of the command that runs, once it has read its settings."""
