"""Parse the ``DEST`` of a destination, and give it the name that the state knows. Nothing is opened.

    otlp                           the server that OTEL_EXPORTER_OTLP_* name
    otlp+grpc://HOST:PORT          OTLP over gRPC, plain text; otlp+grpcs:// with TLS
    otlp+http://HOST:PORT[/PATH]   OTLP over HTTP, protobuf; otlp+https:// with TLS
    console                        each span as indented JSON for people, on stdout
    otlp-file:PATH                 OTLP JSON, one TracesData a line
    exporter:NAME                  any opentelemetry_traces_exporter entry point, made without arguments

A path is used as given, like that of ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``; without one, or with ``/`` alone, it is
``/v1/traces``. The default port is that of OTLP (4317, 4318), or 443 with TLS. Everything else (headers, certificates,
compression, timeout) comes from the ``OTEL_EXPORTER_OTLP_*`` variables. A URL must not contain credentials, because it
appears in logs, metrics and the state.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.outside_text import MASK
from netra_otel_bridge.deliver.otlp.settings import TRACES_PATH, OtlpProtocol, read_settings

FORMS = (
    "a destination is otlp, otlp+grpc://HOST:PORT, otlp+grpcs://HOST:PORT, otlp+http://HOST:PORT[/PATH], "
    "otlp+https://HOST:PORT[/PATH], console, otlp-file:PATH, exporter:NAME, "
    "or the name of a destination in the configuration file"
)
_SCHEMES: dict[str, tuple[OtlpProtocol, bool, int]] = {
    "otlp+grpc": ("grpc", False, 4317),
    "otlp+grpcs": ("grpc", True, 443),
    "otlp+http": ("http/protobuf", False, 4318),
    "otlp+https": ("http/protobuf", True, 443),
}


@dataclass(frozen=True, slots=True)
class OtlpSpec:
    """OTLP. ``endpoint`` is ``HOST:PORT`` for gRPC, a URL for HTTP, or ``None`` if the environment has all settings."""

    name: str
    protocol: OtlpProtocol | None = None
    endpoint: str | None = None
    tls: bool = False


@dataclass(frozen=True, slots=True)
class FileSpec:
    """Lines of OTLP JSON in a file."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class ExporterSpec:
    """An exporter by the name of its entry point; ``console`` is one of them."""

    name: str
    exporter: str


DestinationSpec = OtlpSpec | FileSpec | ExporterSpec


def is_otlp_server(text: str) -> bool:
    """Return whether a ``DEST`` names a server that is sent OTLP."""
    return text.strip().partition("://")[0] in (*_SCHEMES, "otlp")


def parse_destination(text: str) -> DestinationSpec:
    """Parse a ``DEST``; its ``name`` is the text itself. Nothing is opened.

    Raises `UsageError` for a text that has none of the forms.
    """
    name = text.strip()
    kind, separator, rest = name.partition(":")
    if name == "otlp":
        return OtlpSpec(name)
    if name == "console":
        return ExporterSpec(name, "console")
    if kind == "otlp-file" and rest:
        return FileSpec(name, Path(rest).expanduser())
    if kind == "exporter" and rest:
        return ExporterSpec(name, rest)
    if kind in _SCHEMES and separator:
        return _from_url(name, kind)
    raise UsageError(f"{_shown(name)} is not a destination", hint=FORMS)


def identity(name: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the name under which the state records what a destination received.

    For ``otlp`` it is the address in ``environ`` (default: that of the process), for ``otlp-file:PATH`` the absolute
    path, for all others their own name. Raises `ConfigurationError`.
    """
    if name.startswith("otlp-file:"):
        return f"otlp-file:{Path(name.removeprefix('otlp-file:')).expanduser().absolute()}"
    if name != "otlp":
        return name
    settings = read_settings(os.environ if environ is None else environ)
    if settings.protocol == "grpc":
        return f"otlp+{'grpcs' if settings.tls else 'grpc'}://{settings.endpoint}"
    return f"otlp+{settings.endpoint}"


def _from_url(text: str, scheme: str) -> OtlpSpec:
    """Parse ``otlp+SCHEME://HOST[:PORT][/PATH]``."""
    protocol, tls, default_port = _SCHEMES[scheme]
    shown = _shown(text)
    if not text.startswith(f"{scheme}://"):
        raise UsageError(f"{shown} has no address", hint=f"write {scheme}://HOST:{default_port}")
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise UsageError(f"{shown} has a bad address: {error}", hint=f"write {scheme}://HOST:PORT") from None
    if "@" in url.netloc:
        raise UsageError(
            f"{shown} contains a user name or password", hint="put credentials into OTEL_EXPORTER_OTLP_HEADERS"
        )
    if url.query or url.fragment:
        raise UsageError(f"{shown} has a query", hint="put tokens into OTEL_EXPORTER_OTLP_HEADERS")
    if not host or any(c.isspace() for c in host) or port == 0 or url.netloc.endswith(":"):
        raise UsageError(f"{shown} has no usable host and port", hint=f"write {scheme}://HOST:{default_port}")
    if protocol == "grpc" and url.path not in ("", "/"):
        raise UsageError(f"{shown} has a path, but gRPC uses none", hint=f"write {scheme}://HOST:PORT")
    address = f"[{host}]" if ":" in host else host
    endpoint = f"{address}:{port or default_port}"
    if protocol == "http/protobuf":
        path = url.path if url.path not in ("", "/") else TRACES_PATH
        endpoint = f"{'https' if tls else 'http'}://{endpoint}{path}"
    return OtlpSpec(text, protocol, endpoint, tls)


def _shown(text: str) -> str:
    """Return a text in quotes, as a message may show it."""
    return repr(without_secrets(text))


def without_secrets(text: str) -> str:
    """Return a ``DEST`` that cannot be parsed, with everything removed that could be a password or a token."""
    head, at, rest = text.rpartition("@")
    scheme, separator, _ = head.partition("://")
    visible = f"{scheme if separator else ''}{separator}{MASK}@{rest}" if at else text
    return visible.partition("?")[0]
