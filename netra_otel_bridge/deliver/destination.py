"""Open a destination by its ``DEST``, whose forms `netra_otel_bridge.deliver.names` lists."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from netra_otel_bridge.core.clock import Clock, SystemClock
from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.core.outside_text import header_secrets
from netra_otel_bridge.deliver.adapters.entry_points import new_exporter
from netra_otel_bridge.deliver.adapters.exporter import ExporterDestination
from netra_otel_bridge.deliver.adapters.worker_thread import OneAtATime, StillRunning
from netra_otel_bridge.deliver.names import DestinationSpec, ExporterSpec, FileSpec, OtlpSpec, parse_destination
from netra_otel_bridge.deliver.otlp.client import OtlpGrpcDestination, OtlpHttpDestination
from netra_otel_bridge.deliver.otlp.file import OtlpFileDestination
from netra_otel_bridge.deliver.otlp.settings import read_headers, read_settings
from netra_otel_bridge.deliver.protocols import Destination

_log = logging.getLogger(__name__)
OPEN_S = 12.0
"""Seconds within which an exporter must be loaded and created."""


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
            settings = read_settings(os.environ if environ is None else environ, spec.protocol, spec.endpoint, spec.tls)
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
