"""``run``: follow live traffic, poll usage and serve others, until told to stop."""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated

import typer

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.output import write_json
from netra_otel_bridge.cli.signals import on_signals
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.service.rpc.enabled import is_enabled
from netra_otel_bridge.service.service import Service

FILES = 65_536


def run(
    to: options.To = None,
    tenant: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only this tenant's traces; may be given again.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="Where a destination starts that was never followed; default: now.")
    ] = None,
    poll: Annotated[str | None, typer.Option(metavar="30s", help="Time between two polls.")] = None,
    settle: Annotated[str | None, typer.Option(metavar="30s", help="Leave out traces younger than this.")] = None,
    no_traces: Annotated[bool, typer.Option("--no-traces", help="Follow no traces; no destination is needed.")] = False,
    no_usage: Annotated[bool, typer.Option("--no-usage", help="Poll no usage.")] = False,
    state: options.State = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Follow live traffic to one or several destinations and poll usage, until SIGTERM."""
    if no_traces and to:
        raise UsageError(
            "--no-traces sends nothing, so it takes no --to", hint="OTEL_METRICS_EXPORTER says where metrics go"
        )
    bridge, redactor = options.start_service(
        config_file,
        verbose,
        quiet,
        to=tuple(to) if to else None,
        poll=poll,
        settle=settle,
        state=state,
    )
    if no_traces and no_usage and not is_enabled(bridge.settings):
        raise UsageError(
            "--no-traces and --no-usage leave nothing to do",
            hint="leave one of them out, or set NETRA_BRIDGE_GRPC_TOKEN to serve gRPC alone",
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
    _let_many_connect()
    asyncio.run(_serve(service))
    if as_json:
        write_json({"destinations": [asdict(lane) for lane in service.health().lanes], "exit_code": 0})
    return 0


def _let_many_connect() -> None:
    """Open as many files as the machine lets the process, up to `FILES`: connections are files, and the usual limit is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(service: Service) -> None:
    """Run the service; SIGTERM or SIGINT stops it in order, a second one at once."""
    stop = asyncio.Event()
    on_signals(stop.set)
    await service.run(stop)
