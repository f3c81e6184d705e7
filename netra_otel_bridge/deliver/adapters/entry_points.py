"""Load exporters of other packages through their entry points, and create them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from opentelemetry.sdk.trace.export import SpanExporter

from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.core.outside_text import error_line, safe_line
from netra_otel_bridge.deliver.adapters.exporter_log import capture_log

_log = logging.getLogger(__name__)
GROUP = "opentelemetry_traces_exporter"


def installed(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name."""
    return {entry.name: entry for entry in entry_points(group=group)}


def load(entry: EntryPoint, what: str) -> Callable[..., Any]:
    """Import the class or function of an entry point. ``what`` begins the message of the `ConfigurationError`."""
    try:
        loaded: Callable[..., Any] = entry.load()
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        raise ConfigurationError(
            f"{what} ({entry.value}) failed to load: {error_line(error)}",
            hint="reinstall the package that provides it",
        ) from error
    return loaded


def create(
    make: Callable[..., Any],
    name: str,
    what: str,
    arguments: dict[str, Any] | None = None,
    describe: Callable[[BaseException], str] = error_line,
) -> Any:
    """Call ``make`` with the ``arguments``. ``what`` begins the message of the `ConfigurationError` if it raises.

    Log messages of the exporter are repeated under its ``name`` but without values, which could contain the key from a
    header that it cannot parse.
    """
    try:
        with capture_log(("opentelemetry",)) as log:
            made = make(**(arguments or {}))
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        raise ConfigurationError(
            f"{what} failed to start: {describe(error)}", hint="check its environment variables (OTEL_EXPORTER_...)"
        ) from error
    for template in log.templates:
        _log.warning("%s: the exporter logged on creation: %s", name, safe_line(template))
    return made


def _is_ctrl_c(error: BaseException) -> bool:
    """Return whether a user interrupts the command; on any other thread it is the code that raises it."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def exporter_class(name: str) -> Callable[..., SpanExporter]:
    """Load the ``opentelemetry_traces_exporter`` entry point called ``name``.

    Raises `ConfigurationError`, which lists the installed ones or says why this one does not load.
    """
    found = installed(GROUP)
    if name not in found:
        raise ConfigurationError(
            f"there is no traces exporter named {name!r}",
            hint=f"installed here: {', '.join(sorted(found)) or 'none'}; install the package that provides {name!r}",
        )
    return load(found[name], f"the traces exporter {name!r}")


def new_exporter(name: str, **arguments: Any) -> SpanExporter:
    """Create the traces exporter called ``name``. Raises `ConfigurationError` if its settings do not allow that."""
    made = create(exporter_class(name), name, f"the traces exporter {name!r}", arguments)
    if not callable(getattr(made, "export", None)):
        raise ConfigurationError(f"the entry point {name!r} of {GROUP} does not create a span exporter")
    exporter: SpanExporter = made
    return exporter
