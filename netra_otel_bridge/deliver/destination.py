"""Define the protocols of destinations (`Destination`, `AnswersEmpty`, `Inspects`), and open one by its ``DEST``.

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

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from netra_otel_bridge.core.clock import Clock, SystemClock
from netra_otel_bridge.core.errors import ConfigurationError, UsageError
from netra_otel_bridge.core.model.outcome import Inspection, Outcome, SpanBatch
from netra_otel_bridge.core.outside_text import MASK, header_secrets
from netra_otel_bridge.deliver.adapters.entry_points import new_exporter
from netra_otel_bridge.deliver.adapters.exporter import ExporterDestination
from netra_otel_bridge.deliver.adapters.worker_thread import OneAtATime, StillRunning
from netra_otel_bridge.deliver.otlp.client import OtlpGrpcDestination, OtlpHttpDestination
from netra_otel_bridge.deliver.otlp.file import OtlpFileDestination
from netra_otel_bridge.deliver.otlp.settings import (
    TRACES_PATH,
    OtlpProtocol,
    read_headers,
    read_settings,
)

_log = logging.getLogger(__name__)
OPEN_S = 12.0
"""Seconds within which an exporter must be loaded and created."""
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


class Destination(Protocol):
    """Accepts batches of spans. It may also implement `AnswersEmpty` and `Inspects`.

    `send` returns an `Outcome` for everything that the destination does; it raises a `BridgeError` only where
    continuing would be unsafe (a full disk). Batches that are sent at the same time may be handled one by one or
    concurrently. `aclose` may be called twice; after it, nothing is sent.
    """

    @property
    def name(self) -> str:
        """Return the name of the destination in the state, in metrics and in messages."""

    async def send(self, batch: SpanBatch) -> Outcome:
        """Deliver one batch."""

    async def aclose(self) -> None:
        """Release threads, connections and files within seconds."""


@runtime_checkable
class AnswersEmpty(Protocol):
    """A destination whose server answers a request without spans as it answers any other.

    With such requests, `check` tests whether it is reachable and accepts the credentials, and how large requests may
    be, and `Sender` tests whether a connection is cut only for the size of a batch.
    """

    async def send_empty(self, size_bytes: int) -> Outcome:
        """Send a request without spans, of about ``size_bytes`` and no more; 0 sends the smallest possible one."""


@runtime_checkable
class Inspects(Protocol):
    """A destination that can tell, without being sent anything, whether it would accept spans. A file is one."""

    async def inspect(self) -> Inspection:
        """Inspect the destination without changing it. Raises a `BridgeError` if spans would not be accepted."""


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


def open_destination(
    what: DestinationSpec | str,
    *,
    name: str | None = None,
    deadline_s: float = 60.0,
    timeout_s: float | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] | None = None,
) -> Destination:
    """Make a destination ready to send. No connection is made before the first `send`.

    ``name`` replaces the one in the specification (a destination of the configuration file). ``deadline_s`` is the time
    limit of an exporter for one batch, ``timeout_s`` that of one OTLP request (default: ``OTEL_EXPORTER_OTLP_TIMEOUT``,
    else 10 s). ``environ`` has the variables of OTLP (default: those of the process); an exporter always reads those of
    the process. Raises `UsageError` or `ConfigurationError`.
    """
    spec = parse_destination(what) if isinstance(what, str) else what
    called = name or spec.name
    match spec:
        case FileSpec():
            return OtlpFileDestination(called, spec.path, deadline_s)
        case ExporterSpec():
            return ExporterDestination(
                called, new_exporter(spec.exporter), deadline_s, secrets=header_secrets(read_headers(os.environ))
            )
        case OtlpSpec():
            settings = read_settings(_or_process(environ), spec.protocol, spec.endpoint, spec.tls)
            if settings.in_the_clear():
                _log.warning(
                    "%s: the headers of OTEL_EXPORTER_OTLP_HEADERS are sent in plain text: use TLS, or send through a Collector",
                    called,
                )
            if timeout_s is not None:
                settings = replace(settings, timeout_s=timeout_s)
            if settings.protocol == "grpc":
                return OtlpGrpcDestination(called, settings)
            return OtlpHttpDestination(called, settings, clock or SystemClock())


async def open_async(
    what: DestinationSpec | str,
    *,
    name: str | None = None,
    deadline_s: float = OPEN_S,
    environ: Mapping[str, str] | None = None,
) -> Destination:
    """Open a destination from an event loop: an exporter is loaded and created on the thread on which it will export.

    Raises `ConfigurationError` also for an exporter that is not created within ``deadline_s`` seconds; it is abandoned.
    """
    spec = parse_destination(what) if isinstance(what, str) else what
    if not isinstance(spec, ExporterSpec):
        return open_destination(spec, name=name, environ=environ)
    called = name or spec.name
    calls: OneAtATime[Any] = OneAtATime(f"export {called}")
    try:
        exporter = await calls.call(spec, lambda: new_exporter(spec.exporter), deadline_s)
        secrets = header_secrets(read_headers(os.environ))
    except StillRunning:
        calls.close()
        raise ConfigurationError(
            f"the traces exporter {spec.exporter!r} was not set up in {deadline_s:g} s",
            hint="check what its package does on import, and its class on creation",
        ) from None
    except BaseException:
        calls.close()
        raise
    return ExporterDestination(called, exporter, secrets=secrets, calls=calls)


def identity(name: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the name under which the state records what a destination received.

    For ``otlp`` it is the address in ``environ`` (default: that of the process), for ``otlp-file:PATH`` the absolute
    path, for all others their own name. Raises `ConfigurationError`.
    """
    if name.startswith("otlp-file:"):
        return f"otlp-file:{Path(name.removeprefix('otlp-file:')).expanduser().absolute()}"
    if name != "otlp":
        return name
    settings = read_settings(_or_process(environ))
    if settings.protocol == "grpc":
        return f"otlp+{'grpcs' if settings.tls else 'grpc'}://{settings.endpoint}"
    return f"otlp+{settings.endpoint}"


def _or_process(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    return os.environ if environ is None else environ


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
    visible = f"{head.partition('://')[0]}://{MASK}@{rest}" if at else text
    return visible.partition("?")[0]
