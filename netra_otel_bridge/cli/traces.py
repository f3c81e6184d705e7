"""``traces list`` and ``traces show``: print traces in the terminal.

What converts and draws spans is imported by the command that needs it, so that ``--help`` is fast.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.numbers import cost, count, duration
from netra_otel_bridge.cli.output import cell, out
from netra_otel_bridge.core.errors import NotKnown, UsageError
from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.time_text import iso_ms


def list_traces(
    since: options.Since = None,
    from_: options.From = None,
    until: options.Until = None,
    tenant: options.Tenant = None,
    session: options.Session = None,
    user: options.User = None,
    filters: options.Filters = None,
    sort: Annotated[
        str, typer.Option(metavar="FIELD", help="Sort by start_time, total_cost, total_tokens or latency_ms.")
    ] = "start_time",
    order: Annotated[str, typer.Option(metavar="asc|desc", help="Sort order.")] = "desc",
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Maximum number of traces.")] = 20,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """List the traces of a time range, newest first."""
    bridge = options.start(config_file, verbose, quiet)
    window = bridge.window(since=since, from_=from_, until=until)
    wanted = options.query(tenant, session, user, filters)
    found: list[TraceSummary] = []
    with bridge.client() as client:
        for trace in client.iter_traces(
            iso_ms(window.start_ns),
            iso_ms(window.end_ns),
            session_id=wanted.session_id,
            user_id=wanted.user_id,
            tenant_id=wanted.tenant_id,
            limit=min(limit, 100),
            sort_field=sort,
            sort_order=order,  # type: ignore[arg-type]  # the client rejects other words
            filters=wanted.filters,
        ):
            found.append(trace)
            if len(found) == limit:
                break
    if as_json:
        write_json({"traces": found})
        return
    if not found:
        out.print("Netra has no traces in this range.")
        return
    from netra_otel_bridge.cli.trace_tree import withheld
    from netra_otel_bridge.convert import read_list

    reading = read_list(found, bridge.converter("raw"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("trace", "start", "name", "service", "tenant"):
        table.add_column(column, no_wrap=column in ("trace", "start"), overflow="fold")
    for column in ("duration", "tokens", "cost"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for trace in reading.traces:
        table.add_row(
            *(
                cell(value)
                for value in (trace.id, _short_time(trace.start_time), trace.name, trace.service, trace.tenant_id)
            ),
            duration(trace.latency_ms * 1e6) if trace.latency_ms is not None else "",
            count(trace.total_tokens),
            cost(trace.total_cost),
            Text("error", style="red") if trace.has_error else "",
        )
    out.print(table)
    for line in withheld(reading.withheld):
        out.print(line)


def show(
    trace_id: str = typer.Argument(metavar="TRACE_ID"),
    messages: Annotated[
        bool, typer.Option("--messages", help="Print the conversation: who said what, tools, documents.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="With --messages: print long texts whole.")] = False,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw one trace as a tree, or print its conversation.

    In the tree, each span has its duration, tokens, cost, and what is known of it: model, tools, documents, errors.
    """
    if full and not messages:
        raise UsageError("--full goes with --messages", hint="--json prints everything, too")
    bridge = options.start(config_file, verbose, quiet)
    with bridge.client() as client:
        spans = list(client.iter_spans_by_trace_id(trace_id, limit=100))
    if not spans:
        raise NotKnown(f"Netra has no spans of trace {trace_id!r}", hint="netra-otel-bridge traces list --since 24h")
    from netra_otel_bridge.convert import read_spans

    trace = read_spans(spans, bridge.converter("raw"))
    if as_json:
        from netra_otel_bridge.cli.calls_json import calls_json

        write_json({"trace_id": trace_id, "spans": spans, "calls": calls_json(trace)})
    elif messages:
        from netra_otel_bridge.cli.conversation import Conversation

        out.print(Conversation(trace_id, trace, full=full))
    else:
        from netra_otel_bridge.cli.trace_tree import TraceTree

        out.print(TraceTree(trace_id, trace))


def _short_time(value: str | float | None) -> str:
    from netra_otel_bridge.convert import instant_ns

    ns = instant_ns(value)
    return iso_ms(ns)[:19].replace("T", " ") if ns is not None else str(value or "")


def most_interesting(traces: Iterable[TraceSummary]) -> TraceSummary | None:
    """Return the trace with the most tokens, which shows the most when drawn; ``None`` if there is none."""
    return max(traces, key=lambda trace: trace.total_tokens or 0, default=None)
