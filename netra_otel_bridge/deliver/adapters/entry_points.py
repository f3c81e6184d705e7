"""The stock exporters, found through their entry points."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from opentelemetry.sdk.trace.export import SpanExporter

from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.deliver.adapters.exporter_log import overhear
from netra_otel_bridge.deliver.answers import one_line, raised

_log = logging.getLogger(__name__)
GROUP = "opentelemetry_traces_exporter"


def exporter_class(name: str) -> Callable[..., SpanExporter]:
    """What the ``opentelemetry_traces_exporter`` entry point ``name`` stands for.

    Raises `ConfigurationError` naming those that are installed, or saying why this one does not load.
    """
    found: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise ConfigurationError(
            f"there is no traces exporter named {name!r}",
            hint=f"installed here: {', '.join(sorted(found)) or 'none'}; install the package that brings {name!r}",
        )
    try:
        loaded: Callable[..., SpanExporter] = found[name].load()
    except BaseException as error:
        raise ConfigurationError(
            f"the traces exporter {name!r} ({found[name].value}) cannot be loaded: {raised(error)}",
            hint="reinstall the package that brings it",
        ) from error
    return loaded


def new_exporter(name: str, **arguments: Any) -> SpanExporter:
    """An exporter made by its entry point. Raises `ConfigurationError` where it cannot be made from its settings.

    Whatever it raises is its own, `KeyboardInterrupt` included: call this on a thread that gets no signals. What it
    logs meanwhile is repeated without values: of a header that cannot be read it would show the key.
    """
    make = exporter_class(name)
    try:
        with overhear(("opentelemetry",)) as heard:
            exporter = make(**arguments)
    except BaseException as error:
        raise ConfigurationError(
            f"the traces exporter {name!r} cannot be set up: {raised(error)}",
            hint="look at its environment variables (OTEL_EXPORTER_...)",
        ) from error
    for form in heard.forms:
        _log.warning("%s: while it was set up, the exporter said: %s", name, one_line(form))
    if not callable(getattr(exporter, "export", None)):
        raise ConfigurationError(f"the entry point {name!r} of {GROUP} does not make a span exporter")
    return exporter
