"""Hold the address of a store: where it is, what to send along, and whom to trust."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from netra_otel_bridge.core.errors import (
    ConfigurationError,
    DestinationError,
    DestinationMisconfigured,
    DestinationUnauthorized,
)
from netra_otel_bridge.core.hosts import is_loopback
from netra_otel_bridge.core.outside_text import header_secrets, safe_line

ErrorT = TypeVar("ErrorT", bound=DestinationError)
_NAME = re.compile(r"[0-9A-Za-z_.-]+")
_VALUE = re.compile(r"[\t -~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The address of a store. ``at`` is the text that the user wrote, which contains no credentials.

    ``base`` is the path before the API's own paths, without a slash at its end. ``headers`` contain credentials, so no
    repr shows them. ``ca`` is PEM; without it the system's CAs are trusted.
    """

    at: str
    host: str
    port: int
    tls: bool
    base: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: bytes | None = field(default=None, repr=False)

    @property
    def authority(self) -> str:
        """Return ``HOST:PORT``, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the URL of ``base``."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.base}"

    @property
    def is_loopback(self) -> bool:
        """Return whether it is this machine."""
        return is_loopback(self.host) or self.host.endswith(".localhost")

    def ssl_context(self) -> ssl.SSLContext:
        """Return the TLS context for HTTP. Raises `ConfigurationError`."""
        try:
            return ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigurationError(
                f"the CA certificates for {self.at} cannot be used: {error}", hint="name a PEM file"
            ) from error

    def line(self, words: str) -> str:
        """Return words of a server or a library as one line that may be shown."""
        return safe_line(words, header_secrets(self.headers))

    def failed(self, kind: type[ErrorT], words: str, hint: str) -> ErrorT:
        """Return the error of a store that could not be asked; ``words`` say why."""
        return kind(f"{self.at} cannot be read back: {self.line(words)}", hint=hint)

    def unauthorized(self, words: str) -> DestinationUnauthorized:
        """Return the error of a store that rejects the credentials, or that there are none."""
        return self.failed(
            DestinationUnauthorized, words, "put credentials for reading into NETRA_BRIDGE_READ_BACK_HEADERS"
        )

    def untrusted(self, words: str) -> DestinationMisconfigured:
        """Return the error of a failed TLS handshake."""
        return self.failed(
            DestinationMisconfigured,
            words,
            "check whether it speaks TLS, the host name in its certificate, and the certificate of the CA to trust",
        )


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise `ConfigurationError`, which repeats none of them, unless HTTP and gRPC can carry the headers."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ConfigurationError(
                "a header for reading back cannot be sent", hint="write name=value in ASCII, without line breaks"
            )


def read_ca(ca_file: str | None) -> bytes | None:
    """Return the content of a file with CA certificates. Raises `ConfigurationError`."""
    if ca_file is None:
        return None
    try:
        return Path(ca_file).expanduser().read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the CA certificates in {ca_file} cannot be read: {error.strerror or error}", hint="name a PEM file"
        ) from error
