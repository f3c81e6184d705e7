"""Read ``OTEL_EXPORTER_OTLP_*``, the settings of an OTLP destination, as the OpenTelemetry SDK for Python does.

A variable for traces (``OTEL_EXPORTER_OTLP_TRACES_...``) overrides the general one, and a ``DEST`` overrides both.
Timeouts are in seconds, as in the SDK for Python (10 is the specification's default of 10,000 milliseconds).
"""

from __future__ import annotations

import re
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from netra_otel_bridge.config.parsers import parse_headers
from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.core.hosts import is_loopback

OtlpProtocol = Literal["grpc", "http/protobuf"]
TRACES_PATH = "/v1/traces"
_DEFAULT_ENDPOINTS: dict[OtlpProtocol, str] = {
    "grpc": "http://localhost:4317",
    "http/protobuf": "http://localhost:4318",
}
_MAX_TIMEOUT_S = 3600.0
_HEADER_VALUE = re.compile(r"[\t -~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpSettings:
    """The address of an OTLP server, and how to send to it.

    ``endpoint`` is ``HOST:PORT`` for gRPC and a URL for HTTP. ``headers`` contain credentials, so no repr shows them.
    ``ca``, ``key`` and ``certificate`` are PEM; without ``ca`` the system's CAs are trusted.
    """

    protocol: OtlpProtocol
    endpoint: str
    tls: bool
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 10.0
    gzip: bool = False
    ca: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)

    def in_the_clear(self) -> bool:
        """Return whether headers are sent in plain text to another machine, not to ``localhost`` or a loopback address."""
        if self.tls or not self.headers:
            return False
        host = urlsplit(self.endpoint if "://" in self.endpoint else f"//{self.endpoint}").hostname or ""
        return not is_loopback(host) and not host.endswith(".localhost")

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS context for HTTP, and for examining a gRPC server; ``None`` for plain text. Raises `ConfigurationError`."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
            if self.certificate and self.key:
                _load_chain(context, self.certificate, self.key)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigurationError(
                f"the certificates for {self.endpoint} cannot be used: {error}",
                hint="OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY name PEM files",
            ) from error
        return context


def read_settings(
    environ: Mapping[str, str],
    protocol: OtlpProtocol | None = None,
    endpoint: str | None = None,
    tls: bool | None = None,
) -> OtlpSettings:
    """Read the settings from ``environ``; arguments (from a ``DEST``) override it.

    Raises `ConfigurationError`, which names the variable and never its value.
    """
    chosen = protocol or _protocol(environ)
    if endpoint is None:
        endpoint, tls = _endpoint(environ, chosen)
    key, certificate = _pem(environ, "CLIENT_KEY"), _pem(environ, "CLIENT_CERTIFICATE")
    if (key is None) != (certificate is None):
        raise ConfigurationError(
            "OTEL_EXPORTER_OTLP_CLIENT_KEY and OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE go together", hint="set both"
        )
    return OtlpSettings(
        protocol=chosen,
        endpoint=endpoint,
        tls=bool(tls),
        headers=read_headers(environ),
        timeout_s=_timeout(environ),
        gzip=_compression(environ),
        ca=_pem(environ, "CERTIFICATE"),
        key=key,
        certificate=certificate,
    )


def _variable(environ: Mapping[str, str], suffix: str) -> tuple[str, str] | None:
    """Return the name and value of the variable for traces, else of the general one."""
    for name in (f"OTEL_EXPORTER_OTLP_TRACES_{suffix}", f"OTEL_EXPORTER_OTLP_{suffix}"):
        value = environ.get(name, "").strip()
        if value:
            return name, value
    return None


def _protocol(environ: Mapping[str, str]) -> OtlpProtocol:
    found = _variable(environ, "PROTOCOL")
    if found is None or found[1] == "grpc":
        return "grpc"
    if found[1] == "http/protobuf":
        return "http/protobuf"
    raise ConfigurationError(f"{found[0]} is {found[1]!r}", hint="use grpc or http/protobuf")


def _endpoint(environ: Mapping[str, str], protocol: OtlpProtocol) -> tuple[str, bool]:
    name, value = _variable(environ, "ENDPOINT") or ("", _DEFAULT_ENDPOINTS[protocol])
    if "@" in value.partition("://")[2].partition("/")[0]:
        raise ConfigurationError(
            f"{name} contains a user name or password", hint="put credentials into OTEL_EXPORTER_OTLP_HEADERS"
        )
    if "://" not in value:
        if protocol == "http/protobuf":
            raise ConfigurationError(f"{name} is not a URL", hint="write http://HOST:PORT")
        insecure = _variable(environ, "INSECURE")
        return value, not (insecure is not None and insecure[1].lower() == "true")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{name} is not a URL: {error}", hint="write http://HOST:PORT") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{name} is not a URL", hint="write http://HOST:PORT or https://HOST:PORT")
    tls = parts.scheme == "https"
    if protocol == "grpc":
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{host}:{port or (443 if tls else 4317)}", tls
    if name == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":
        return value, tls
    return value.rstrip("/") + TRACES_PATH, tls


def read_headers(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the headers to send, with decoded values. Raises `ConfigurationError`, which repeats none of them."""
    found = _variable(environ, "HEADERS")
    if found is None:
        return {}
    try:
        headers = {name: value.reveal() for name, value in parse_headers(found[1]).items()}
    except ValueError:
        headers = None
    if headers is None or not all(map(_HEADER_VALUE.fullmatch, headers.values())):
        raise ConfigurationError(f"{found[0]} cannot be read", hint="write name=value,name2=value2")
    return headers


def _timeout(environ: Mapping[str, str]) -> float:
    found = _variable(environ, "TIMEOUT")
    if found is None:
        return 10.0
    try:
        seconds = float(found[1])
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MAX_TIMEOUT_S:
        raise ConfigurationError(f"{found[0]} is {found[1]!r}", hint="use a number of seconds up to 3600, such as 10")
    return seconds


def _compression(environ: Mapping[str, str]) -> bool:
    found = _variable(environ, "COMPRESSION")
    if found is None or found[1] == "none":
        return False
    if found[1] == "gzip":
        return True
    raise ConfigurationError(f"{found[0]} is {found[1]!r}", hint="use gzip or none")


def _pem(environ: Mapping[str, str], suffix: str) -> bytes | None:
    found = _variable(environ, suffix)
    if found is None:
        return None
    try:
        return Path(found[1]).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{found[0]}: {found[1]} cannot be read: {error.strerror}") from error


def _load_chain(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a client certificate into a context; `ssl` reads one only from files."""
    with tempfile.NamedTemporaryFile(suffix=".pem") as both:
        both.write(key + b"\n" + certificate)
        both.flush()
        context.load_cert_chain(both.name)
