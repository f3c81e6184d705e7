"""``traces list`` and ``traces show``: print traces in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import typer
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.numbers import cost, count, duration
from netra_otel_bridge.cli.output import cell, out
from netra_otel_bridge.convert import instant_ns, is_error, is_metered, is_no_id, span_id_value
from netra_otel_bridge.core.errors import NotKnown
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary
from netra_otel_bridge.core.time_text import iso_ms

BAR_WIDTH = 24


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
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("trace", "start", "name", "service", "tenant"):
        table.add_column(column, no_wrap=column in ("trace", "start"), overflow="fold")
    for column in ("duration", "tokens", "cost"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for trace in found:
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


def show(
    trace_id: str = typer.Argument(metavar="TRACE_ID"),
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw one trace as a tree.

    Each span has its duration, tokens, cost and errors.
    """
    bridge = options.start(config_file, verbose, quiet)
    with bridge.client() as client:
        spans = list(client.iter_spans_by_trace_id(trace_id, limit=100))
    if not spans:
        raise NotKnown(f"Netra has no spans of trace {trace_id!r}", hint="netra-otel-bridge traces list --since 24h")
    if as_json:
        write_json({"trace_id": trace_id, "spans": spans})
    else:
        out.print(draw(trace_id, spans))


def draw(trace_id: str, spans: Sequence[TraceSpan]) -> Group:
    """Return a trace as a tree beside its timeline.

    A span whose parent is not in the trace is drawn at the root, with a note. A cycle of parents is drawn there too.
    """
    starts = [start for span in spans if (start := instant_ns(span.start_time_ms)) is not None]
    ends = [end for span in spans if (end := instant_ns(span.end_time_ms)) is not None]
    begin = min(starts, default=0)
    finish = max(ends, default=begin)
    metered = [span for span in spans if is_metered(span)]
    tokens = [span.total_tokens for span in metered if span.total_tokens is not None]
    costs = [span.total_cost for span in metered if span.total_cost is not None]
    title = Text.assemble(
        ("trace ", "bold"), cell(trace_id, "bold cyan"), f"  {len(spans)} spans  {duration(finish - begin)}"
    )
    title.append(f"  {count(sum(tokens))} tokens" if tokens else "")
    title.append(f"  {cost(sum(costs))}" if costs else "")
    grid = Table.grid(padding=(0, 2))
    for name in ("time", "duration", "span", "kind", "model", "tokens", "cost", "notes"):
        grid.add_column(
            name, justify="right" if name in ("duration", "tokens", "cost") else "left", no_wrap=name != "notes"
        )
    for span, guide in _tree(spans):
        grid.add_row(*_cells(span, guide, (begin, max(finish - begin, 1)), {span_id_value(one.id) for one in spans}))
    return Group(title, grid)


def _tree(spans: Sequence[TraceSpan]) -> Iterator[tuple[TraceSpan, str]]:
    """Yield each span once, parents before children, with the guide lines that precede its name."""
    ordered = sorted(spans, key=lambda span: instant_ns(span.start_time_ms) or 0)
    ids = {span_id_value(span.id) for span in ordered}
    children: dict[int, list[TraceSpan]] = {}
    roots: list[TraceSpan] = []
    for span in ordered:
        parent = None if span.parent_span_id is None else span_id_value(span.parent_span_id)
        if parent is None or parent not in ids or parent == span_id_value(span.id):
            roots.append(span)
        else:
            children.setdefault(parent, []).append(span)
    drawn: set[str] = set()
    waiting = [(span, "", "") for span in reversed((*roots, *ordered))]
    while waiting:
        span, guide, below = waiting.pop()
        if span.id in drawn:
            continue
        drawn.add(span.id)
        yield span, guide
        offspring = children.get(span_id_value(span.id), [])
        for child in reversed(offspring):
            last = child is offspring[-1]
            waiting.append((child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))


def _cells(span: TraceSpan, guide: str, scale: tuple[int, int], ids: set[int]) -> tuple[Text, ...]:
    start, end = instant_ns(span.start_time_ms), instant_ns(span.end_time_ms)
    timed = start is not None and end is not None and end >= start
    parent = span.parent_span_id
    lost = parent is not None and not is_no_id(parent) and span_id_value(parent) not in ids
    notes = Text()
    notes.append("error  " if is_error(span) else "", style="red")
    notes.append(cell(f"parent {parent} is not in the trace" if lost else None, "yellow"))
    return (
        Text(_bar(start or 0, end or 0, scale) if timed else "", style="cyan"),
        Text(duration((end or 0) - (start or 0)) if timed else "", style="dim"),
        Text.assemble((guide, "dim"), cell(span.name or "(no name)", "bold red" if is_error(span) else "bold")),
        cell(span.kind, "dim"),
        cell(span.model_name, "magenta"),
        Text(count(span.total_tokens)),
        Text(cost(span.total_cost), style="green"),
        notes,
    )


def _bar(start: int, end: int, scale: tuple[int, int]) -> str:
    begin, length = scale
    left = min((start - begin) * BAR_WIDTH // length, BAR_WIDTH - 1)
    width = max(1, min(-(-(end - start) * BAR_WIDTH // length), BAR_WIDTH - left))
    return "·" * left + "━" * width + "·" * (BAR_WIDTH - left - width)


def _short_time(value: str | float | None) -> str:
    ns = instant_ns(value)
    return iso_ms(ns)[:19].replace("T", " ") if ns is not None else str(value or "")


def most_interesting(traces: Iterable[TraceSummary]) -> TraceSummary | None:
    """Return the trace with the most tokens, which shows the most when drawn; ``None`` if there is none."""
    return max(traces, key=lambda trace: trace.total_tokens or 0, default=None)
