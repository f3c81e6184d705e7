"""``usage tenant`` and ``usage session``: print usage in a time range."""

from __future__ import annotations

import typer
from rich import box
from rich.table import Table

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.numbers import cost, count
from netra_otel_bridge.cli.output import out
from netra_otel_bridge.core.errors import NotKnown
from netra_otel_bridge.core.model.netra import SessionUsageData, TenantUsageData
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import iso_ms


def tenant(
    tenant_id: str = typer.Argument(metavar="ID"),
    since: options.Since = None,
    from_: options.From = None,
    until: options.Until = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what a tenant used in a time range.

    It prints tokens, requests, sessions and cost.
    """
    bridge = options.start(config_file, verbose, quiet)
    window = bridge.window(since=since, from_=from_, until=until)
    with bridge.client() as client:
        usage = client.get_tenant_usage(tenant_id, iso_ms(window.start_ns), iso_ms(window.end_ns))
    if usage is None:
        raise NotKnown(f"Netra has no usage of tenant {tenant_id!r} in this range", hint="check the id and the range")
    _write(f"tenant {usage.tenant_id}", usage, window, as_json)


def session(
    session_id: str = typer.Argument(metavar="ID"),
    since: options.Since = None,
    from_: options.From = None,
    until: options.Until = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what a session used in a time range.

    It prints tokens, requests and cost.
    """
    bridge = options.start(config_file, verbose, quiet)
    window = bridge.window(since=since, from_=from_, until=until)
    with bridge.client() as client:
        usage = client.get_session_usage(session_id, iso_ms(window.start_ns), iso_ms(window.end_ns))
    if usage is None:
        raise NotKnown(f"Netra has no usage of session {session_id!r} in this range", hint="check the id and the range")
    _write(f"session {usage.session_id}", usage, window, as_json)


def _write(title: str, usage: TenantUsageData | SessionUsageData, window: Window, as_json: bool) -> None:
    if as_json:
        write_json(usage)
    else:
        write_usage(title, usage, window)


def write_usage(title: str, usage: TenantUsageData | SessionUsageData, window: Window) -> None:
    """Print usage as a small table."""
    out.print(f"{title}, {iso_ms(window.start_ns)} to {iso_ms(window.end_ns)}", markup=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    values = {"tokens": count(usage.token_count), "requests": count(usage.request_count)}
    if isinstance(usage, TenantUsageData):
        values["sessions"] = count(usage.session_count)
    values["cost"] = cost(usage.total_cost)
    for name in values:
        table.add_column(name, justify="right")
    table.add_row(*values.values())
    out.print(table)
