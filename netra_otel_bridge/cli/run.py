"""``run``: follow live traffic, poll usage, and serve health pages, metrics and gRPC until stopped."""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated

import typer

from netra_otel_bridge.cli import options, policy
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.signals import run_until_signaled
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.service.rpc.enabled import is_enabled
from netra_otel_bridge.service.service import Service

OPEN_FILES = 65_536


def run(
    to: options.To = None,
    tenant: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only traces of this tenant (repeatable).")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="Start point for a new destination (default: now).")
    ] = None,
    poll: Annotated[str | None, typer.Option(metavar="30s", help="Time between polls.")] = None,
    settle: Annotated[
        str | None, typer.Option(metavar="30s", help="Leave traces younger than this for a later poll.")
    ] = None,
    verify_at: Annotated[
        list[str] | None,
        typer.Option(
            "--verify-at",
            metavar="[DEST=]AT",
            help="Read a sample back from here, all the time: jaeger+grpc://HOST:16685 ... (repeatable).",
        ),
    ] = None,
    no_traces: Annotated[
        bool, typer.Option("--no-traces", help="Do not follow traces; no destination is needed.")
    ] = False,
    no_usage: Annotated[bool, typer.Option("--no-usage", help="Do not poll usage.")] = False,
    state: options.State = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Follow live traffic and poll usage until stopped.

    New traces go to one or more destinations. SIGTERM or Ctrl-C stops the command gracefully, a second one at once.
    """
    if no_traces and to:
        raise UsageError(
            "--no-traces sends no traces, so it cannot be combined with --to",
            hint="OTEL_METRICS_EXPORTER sets where metrics go",
        )
    bridge, redactor = options.start_service(
        config_file,
        verbose,
        quiet,
        to=tuple(to) if to else None,
        poll=poll,
        settle=settle,
        verify_at=tuple(verify_at) if verify_at else None,
        state=state,
    )
    policy.warn(bridge.settings)
    if no_traces and no_usage and not is_enabled(bridge.settings):
        raise UsageError(
            "--no-traces and --no-usage leave nothing to do",
            hint="omit one of them, or set NETRA_BRIDGE_GRPC_TOKEN to serve only gRPC",
        )
    queries = tuple(TraceQuery(tenant_id=one) for one in tenant or ()) or (TraceQuery(),)
    service = Service(
        bridge,
        queries=queries,
        since=since,
        traces=not no_traces,
        usage=not no_usage,
        on_new_key=redactor.add,
    )
    _raise_open_file_limit()
    run_until_signaled(service.run)
    if as_json:
        write_json({"destinations": [asdict(lane) for lane in service.health().lanes], "exit_code": 0})
    return 0


def _raise_open_file_limit() -> None:
    """Raise the limit on open files, up to `OPEN_FILES`: each connection needs one, and the default limit is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
