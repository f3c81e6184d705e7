"""``traces list`` and ``traces show``: what Netra holds, in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.output import cost, count, duration, out, write_json
from netra_otel_bridge.clock import iso_ms
from netra_otel_bridge.convert import instant_ns, is_error, is_no_id
from netra_otel_bridge.errors import NotKnown
from netra_otel_bridge.model import TraceSpan, TraceSummary

app = typer.Typer(help="List traces, or draw one as a tree.", no_args_is_help=True)
BAR_WIDTH = 24


@app.command("list")
def list_traces(
    since: options.Since = None,
    from_: options.From = None,
    until: options.Until = None,
    tenant: options.Tenant = None,
    session: options.Session = None,
    user: options.User = None,
    filters: options.Filters = None,
    sort: Annotated[
        str, typer.Option(metavar="FIELD", help="start_time, total_cost, total_tokens, latency_ms ...")
    ] = "start_time",
    order: Annotated[str, typer.Option(metavar="asc|desc")] = "desc",
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at the most.")] = 20,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """List the traces of a range of time, the newest first."""
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
            sort_order=order,  # type: ignore[arg-type]  # the client says which words it takes
            filters=wanted.filters,
        ):
            found.append(trace)
            if len(found) == limit:
                break
    if as_json:
        write_json({"traces": found})
        return
    if not found:
        out.print("Netra lists no trace in this range.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("trace", "start", "name", "service", "tenant"):
        table.add_column(column, no_wrap=column == "trace", overflow="fold")
    for column in ("duration", "tokens", "cost"):
        table.add_column(column, justify="right")
    table.add_column("")
    for trace in found:
        table.add_row(
            trace.id,
            _short_time(trace.start_time),
            *(Text(value or "") for value in (trace.name, trace.service, trace.tenant_id)),
            duration(trace.latency_ms * 1e6) if trace.latency_ms is not None else "",
            count(trace.total_tokens),
            cost(trace.total_cost),
            Text("error", style="red") if trace.has_error else "",
        )
    out.print(table)


@app.command("show")
def show(
    trace_id: str = typer.Argument(metavar="TRACE_ID"),
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw one trace as a tree: durations, tokens, cost, errors."""
    bridge = options.start(config_file, verbose, quiet)
    with bridge.client() as client:
        spans = list(client.iter_spans_by_trace_id(trace_id, limit=100))
    if not spans:
        raise NotKnown(f"Netra holds no spans of trace {trace_id!r}", hint="netra-otel-bridge traces list --since 24h")
    if as_json:
        write_json({"trace_id": trace_id, "spans": spans})
    else:
        out.print(draw(trace_id, spans))


def draw(trace_id: str, spans: Sequence[TraceSpan]) -> Tree:
    """A trace as a tree. Spans whose parent is not in the trace stand at its root and say so; so does a ring of parents."""
    ordered = sorted(spans, key=lambda span: instant_ns(span.start_time_ms) or 0)
    begin = min((start for span in spans if (start := instant_ns(span.start_time_ms)) is not None), default=0)
    finish = max((end for span in spans if (end := instant_ns(span.end_time_ms)) is not None), default=begin)
    tokens = [span.total_tokens for span in spans if span.total_tokens is not None]
    costs = [span.total_cost for span in spans if span.total_cost is not None]
    title = Text.assemble(
        ("trace ", "bold"), (trace_id, "bold cyan"), f"  {len(spans)} spans  {duration(finish - begin)}"
    )
    if tokens:
        title.append(f"  {count(sum(tokens))} tokens")
    if costs:
        title.append(f"  {cost(sum(costs))}")
    tree = Tree(title, guide_style="dim")
    ids = {span.id for span in ordered}
    children: dict[str, list[TraceSpan]] = {}
    roots: list[TraceSpan] = []
    for span in ordered:
        if is_no_id(span.parent_span_id) or span.parent_span_id not in ids or span.parent_span_id == span.id:
            roots.append(span)
        else:
            children.setdefault(span.parent_span_id or "", []).append(span)
    drawn: set[str] = set()
    scale = (begin, max(finish - begin, 1))
    for span in (*roots, *ordered):
        if span.id not in drawn:
            _grow(tree, span, children, drawn, scale, orphan=not is_no_id(span.parent_span_id))
    return tree


def _grow(
    tree: Tree,
    root: TraceSpan,
    children: dict[str, list[TraceSpan]],
    drawn: set[str],
    scale: tuple[int, int],
    *,
    orphan: bool,
) -> None:
    """Add a span and all below it, without recursion: a trace can be a chain of thousands."""
    waiting = [(tree, root, orphan)]
    while waiting:
        branch, span, lost = waiting.pop()
        if span.id in drawn:
            continue
        drawn.add(span.id)
        twig = branch.add(_line(span, scale, lost))
        waiting += [(twig, child, False) for child in reversed(children.get(span.id, []))]


def _line(span: TraceSpan, scale: tuple[int, int], orphan: bool) -> Text:
    start, end = instant_ns(span.start_time_ms), instant_ns(span.end_time_ms)
    line = Text()
    if start is not None and end is not None and end >= start:
        line.append(_bar(start, end, scale), style="cyan")
        line.append(f" {duration(end - start):>9}  ", style="dim")
    line.append(span.name or "(no name)", style="bold red" if is_error(span) else "bold")
    line.append(f"  {span.kind}" if span.kind is not None else "", style="dim")
    if span.model_name:
        line.append(f"  {span.model_name}", style="magenta")
    if span.total_tokens is not None:
        line.append(f"  {count(span.total_tokens)} tokens")
    if span.total_cost is not None:
        line.append(f"  {cost(span.total_cost)}", style="green")
    if is_error(span):
        line.append("  error", style="red")
    if orphan:
        line.append(f"  (its parent {span.parent_span_id} is not in the trace)", style="yellow")
    return line


def _bar(start: int, end: int, scale: tuple[int, int]) -> str:
    begin, length = scale
    left = min((start - begin) * BAR_WIDTH // length, BAR_WIDTH - 1)
    width = max(1, min(-(-(end - start) * BAR_WIDTH // length), BAR_WIDTH - left))
    return "·" * left + "━" * width + "·" * (BAR_WIDTH - left - width)


def _short_time(value: str | float | None) -> str:
    ns = instant_ns(value)
    return iso_ms(ns)[:19].replace("T", " ") if ns is not None else str(value or "")


def most_interesting(traces: Iterable[TraceSummary]) -> TraceSummary | None:
    """The trace with the most tokens: the one worth drawing first."""
    return max(traces, key=lambda trace: trace.total_tokens or 0, default=None)
