"""Options that commands share, and the settings and logging that they set up."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer

from netra_otel_bridge.bridge.configured import Configured
from netra_otel_bridge.cli import logs
from netra_otel_bridge.cli.redactor import Redactor, redactor
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.query import TraceFilter, TraceQuery

if TYPE_CHECKING:
    from netra_otel_bridge.bridge.bridge import Bridge

_Kind = TypeVar("_Kind", bound=Configured)

ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="YAML file with settings.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more to stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Log only errors to stderr.")]

To = Annotated[
    list[str] | None,
    typer.Option(
        "--to", metavar="DEST", help="otlp+grpc://HOST:PORT, otlp+http://HOST:PORT, otlp-file:PATH, console ..."
    ),
]
State = Annotated[str | None, typer.Option("--state", metavar="DIR", help="Directory that stores progress.")]
Since = Annotated[str | None, typer.Option(metavar="T", help="Start: a duration before now (90m, 24h, 7d) or a time.")]
From = Annotated[
    str | None, typer.Option("--from", metavar="T", help="Start: 2026-05-01T12:00:00Z or 2026-05-01 (UTC).")
]
Until = Annotated[str | None, typer.Option(metavar="T", help="End, exclusive (default: now).")]
Tenant = Annotated[str | None, typer.Option(metavar="ID", help="Only traces of this tenant.")]
Session = Annotated[str | None, typer.Option(metavar="ID", help="Only traces of this session.")]
User = Annotated[str | None, typer.Option(metavar="ID", help="Only traces of this user.")]
Filters = Annotated[
    list[str] | None,
    typer.Option("--filter", metavar="FIELD=VALUE", help="Only traces with this value (repeatable)."),
]


_TEXT_FIELDS = ("trace_id", "session_id", "user_id", "tenant_id", "name", "environment", "service")
_FLAG_FIELDS = ("has_error", "has_pii", "has_violation")
_NUMBER_FIELDS = ("total_cost", "latency")


class Configuration(Configured):
    """The settings of a command; error messages name the flag."""

    given_as = "flag"


def configure(config_file: Path | None, verbose: bool, quiet: bool, **flags: Any) -> Configuration:
    """Return the configuration from flags, environment and file, and set up the log on stderr.

    It is enough for a command that only reads settings or the state.
    """
    return _start(Configuration, logging.WARNING, config_file, verbose, quiet, flags)[0]


def start(config_file: Path | None, verbose: bool, quiet: bool, **flags: Any) -> Bridge:
    """Return the bridge for the flags, environment and file, and set up the log on stderr."""
    return _start(_bridge_type(), logging.WARNING, config_file, verbose, quiet, flags)[0]


def start_service(config_file: Path | None, verbose: bool, quiet: bool, **flags: Any) -> tuple[Bridge, Redactor]:
    """Start as a service, which logs timestamps and more lines.

    Add secrets that appear later to the returned redactor.
    """
    return _start(_bridge_type(), logging.INFO, config_file, verbose, quiet, flags, stamped=True)


def _bridge_type() -> type[Bridge]:
    """Import the bridge, with all its clients, only for a command that reads Netra or sends spans."""
    from netra_otel_bridge.bridge.bridge import Bridge

    class FlagBridge(Configuration, Bridge):
        """A bridge whose settings come from flags."""

    return FlagBridge


def _start(
    kind: type[_Kind],
    usual: int,
    config_file: Path | None,
    verbose: bool,
    quiet: bool,
    flags: dict[str, Any],
    *,
    stamped: bool = False,
) -> tuple[_Kind, Redactor]:
    level = logging.ERROR if quiet else logging.DEBUG if verbose else usual
    logs.configure(level, stamped=stamped)
    if not verbose:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    configured = kind(config_file=config_file, environ=os.environ, **flags)
    settings = configured.settings
    secrets = [
        secret.reveal()
        for secret in (
            settings.api_key,
            settings.grpc_token,
            settings.user_hash_key,
            *settings.headers.values(),
            *settings.read_back_headers.values(),
        )
        if secret is not None
    ]
    redactor.use(secrets)
    logs.configure(level, cast(logs.Form, settings.log_format), stamped=stamped)
    return configured, redactor


def query(
    tenant: str | None,
    session: str | None,
    user: str | None,
    filters: list[str] | None,
    traces: list[str] | None = None,
) -> TraceQuery:
    """Return the trace query for the options. Raises `UsageError`."""
    return TraceQuery(tenant, session, user, tuple(traces or ()), tuple(map(parse_filter, filters or ())))


def parse_filter(text: str) -> TraceFilter:
    """Parse ``FIELD=VALUE`` into a condition; the field determines its operator and type. Raises `UsageError`."""
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise UsageError(f"--filter {text!r} is not FIELD=VALUE")
    if name in _TEXT_FIELDS:
        return TraceFilter(name, value)
    if name in _FLAG_FIELDS:
        if value.lower() not in ("true", "false"):
            raise UsageError(f"--filter {name} must be true or false, not {value!r}")
        return TraceFilter(name, value.lower() == "true", type="boolean")
    if name in _NUMBER_FIELDS:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UsageError(f"--filter {name} must be a number, not {value!r}")
        return TraceFilter(name, number, type="number")
    if name == "models":
        return TraceFilter(name, [value], operator="any_of", type="arrayOptions")
    if name.startswith("metadata.") and name != "metadata.":
        return TraceFilter("metadata", value, type="object", key=name.removeprefix("metadata."))
    known = ", ".join((*_TEXT_FIELDS, *_FLAG_FIELDS, *_NUMBER_FIELDS, "models", "metadata.KEY"))
    raise UsageError(f"--filter: unknown field {name!r}", hint=f"known: {known}")
