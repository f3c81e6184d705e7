"""``verify``: read a destination back and account for every span."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.numbers import count
from netra_otel_bridge.cli.output import cell, err, out
from netra_otel_bridge.cli.reports import verify_json
from netra_otel_bridge.cli.signals import run
from netra_otel_bridge.core.errors import BridgeError, UsageError
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.core.model.readback import BESIDE, SUMMED, Finding, Kind, StoreReport, VerifyReport
from netra_otel_bridge.core.outside_text import escaped
from netra_otel_bridge.core.time_text import iso_ms

if TYPE_CHECKING:
    from netra_otel_bridge.readback.verify import VerifyProgress

SHOWN_SAMPLES = 2
_WORDS = {"dead_lettered": "dead-lettered"}
COLUMNS = ("destination", "traces", "spans", *(_WORDS.get(kind, kind) for kind in (*SUMMED, *BESIDE)))
ALWAYS: tuple[Kind, ...] = ("intact", "cut", "changed", "missing")
"""Counts that the table always has; others only if one of them is not 0."""
_BAD = ("cut", "changed", "missing", "duplicated", "hidden")


def verify(
    to: Annotated[
        list[str], typer.Option("--to", metavar="DEST", help="Where the spans were sent: as --to of replay and run.")
    ],
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="AT",
            help="Where to read them back: jaeger+grpc://HOST:16685, tempo+http://HOST:3200, phoenix+http://HOST:6006 ... A file is its own.",
        ),
    ] = None,
    since: options.Since = None,
    from_: options.From = None,
    until: options.Until = None,
    tenant: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only traces of this tenant (repeatable).")
    ] = None,
    trace: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this trace (repeatable).")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Verify only N traces, chosen at random.")
    ] = None,
    no_search: Annotated[
        bool, typer.Option("--no-search", help="Do not look whether the search of the store shows the traces.")
    ] = False,
    state: options.State = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Read a destination back and account for every span.

    Nothing is written anywhere. What was sent is known from the state; without one it is compared with Netra.
    """
    if len(to) > 1:
        raise UsageError(
            f"--to is given {len(to)} times, and verify reads one destination back", hint="run it once for each"
        )
    bridge = options.start(config_file, verbose, quiet, state=state)
    queries = [TraceQuery(tenant_id=one, trace_ids=tuple(trace or ())) for one in tenant or (None,)]
    with progress(show=err.is_terminal and not quiet) as advance:
        work = bridge.averify(
            to[0],
            at=at,
            since=since,
            from_=from_,
            until=until,
            query=queries,
            at_random=sample,
            search=not no_search,
            on_progress=advance,
        )
        report, error = outcome(work)
    if as_json:
        write_json(verify_json(report))
    else:
        write_report(report)
    if error is not None:
        raise error
    return report.exit_code


def outcome(work: Coroutine[None, None, VerifyReport]) -> tuple[VerifyReport, BridgeError | None]:
    """Run a verification. Return its report, and the error that ended it, if any. Raises an error without a report."""
    try:
        return run(work), None
    except BridgeError as error:
        if isinstance(error.report, VerifyReport):
            return error.report, error
        raise


@contextmanager
def progress(*, show: bool) -> Iterator[Callable[[VerifyProgress], None]]:
    """Show a line for each store while the block runs, and yield what updates it."""
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=err, disable=not show, transient=True) as lines:
        tasks: dict[str, TaskID] = {}

        def advance(now: VerifyProgress) -> None:
            if now.name not in tasks:
                tasks[now.name] = lines.add_task("")
            more = f"; {now.waiting:,} traces wait to be read again" if now.waiting else ""
            more += f"; searching for {now.looked_for:,} traces" if now.looked_for else ""
            text = f"{now.name}: {now.traces:,} traces, {now.intact:,} of {now.spans:,} spans intact{more}"
            lines.update(tasks[now.name], description=escaped(text))

        yield advance


def write_report(report: VerifyReport) -> None:
    """Print a verdict for each store, a table of the counts, the findings, and what the proof rests on."""
    for store in report.destinations:
        word, style = (
            ("failed", "red") if store.error else ("ok", "green") if not store.exit_code else ("wrong", "yellow")
        )
        out.print(f"[{style}]{word:6}[/] ", end="")
        out.print(f"{store.name} at {store.at}: {_verdict(store)}", soft_wrap=True, markup=False)
    shown = [
        kind for kind in (*SUMMED, *BESIDE) if kind in ALWAYS or any(getattr(it, kind) for it in report.destinations)
    ]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("destination", overflow="fold")
    for column in ("traces", "spans", *shown):
        table.add_column(_WORDS.get(column, column), justify="right")
    for store in report.destinations:
        counts = (getattr(store, kind) for kind in ("traces", "spans", *shown))
        table.add_row(cell(store.name), *map(count, counts))
    out.print(table)
    for store in report.destinations:
        for finding in store.findings:
            _write_finding(store, finding, named=len(report.destinations) > 1)
        for note in store.notes:
            out.print(f"{store.name}: {note}", soft_wrap=True, markup=False)
    window = report.window
    range_ = "" if window is None else f"{iso_ms(window.start_ns)} to {iso_ms(window.end_ns)}: "
    alone = "" if report.netra_calls else " (proved from the state alone)"
    out.print(
        f"{range_}{_calls(report.read_back_calls)} to read back, {_calls(report.netra_calls)} to Netra{alone}, "
        f"{report.seconds:.1f} s",
        soft_wrap=True,
    )


def _calls(number: int) -> str:
    return f"{number:,} {'call' if number == 1 else 'calls'}"


def _verdict(store: StoreReport) -> str:
    """Return one line on a store."""
    if store.error is not None:
        return f"could not be verified: {store.error.message}"
    if not store.exit_code:
        return f"all {store.spans:,} spans are intact" if store.spans else "there are no spans in this range"
    wrong = [f"{getattr(store, kind):,} {kind}" for kind in _BAD if getattr(store, kind)]
    never = store.dead_lettered + store.refused + store.unreadable + store.pending
    if never:
        wrong.append(f"{never:,} not delivered")
    return f"{store.intact:,} of {store.spans:,} spans are intact: {', '.join(wrong)}"


def _write_finding(store: StoreReport, finding: Finding, *, named: bool) -> None:
    where = f"{store.name}: " if named else ""
    number = f"{finding.count:,}"
    if finding.kind not in ("unreadable", "pending"):
        number = "1 span" if finding.count == 1 else f"{number} spans"
    kind = _WORDS.get(finding.kind, finding.kind)
    out.print(f"{where}{kind}, {number}: {finding.what}", soft_wrap=True, markup=False)
    if finding.hint:
        out.print(f"  {finding.hint}", soft_wrap=True, markup=False)
    for trace_id, span_id in finding.samples[:SHOWN_SAMPLES]:
        span = f" span {span_id}" if span_id else ""
        out.print(f"  for example trace {trace_id}{span}", soft_wrap=True, markup=False)
