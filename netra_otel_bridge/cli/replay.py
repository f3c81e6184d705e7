"""``replay``: copy a time range once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from netra_otel_bridge.bridge.stores import stores_of
from netra_otel_bridge.cli import checkpoint, options, policy
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.numbers import count, of_traces, size
from netra_otel_bridge.cli.output import cell, err, out
from netra_otel_bridge.cli.reports import estimate_json, report_json
from netra_otel_bridge.cli.signals import run
from netra_otel_bridge.core.errors import BridgeError, UsageError
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.report import LaneReport, ReplayEstimate, ReplayReport
from netra_otel_bridge.core.outside_text import escaped
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.state import StateStore

if TYPE_CHECKING:
    from netra_otel_bridge.bridge.bridge import Bridge


COLUMNS = ("destination", "traces", "spans", "delivered", "rejected", "dead-lettered", "skipped", "size")


def replay(
    since: options.Since = None,
    from_: options.From = None,
    until: options.Until = None,
    to: options.To = None,
    tenant: options.Tenant = None,
    session: options.Session = None,
    user: options.User = None,
    trace: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this trace (repeatable).")] = None,
    filters: options.Filters = None,
    profile: Annotated[
        str | None, typer.Option(metavar="raw|genai|openinference|both", help="Attributes to add to spans.")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(metavar="N", help="Concurrent calls to Netra.")] = None,
    window: Annotated[
        str | None, typer.Option(metavar="1h", help="Length of the windows in which traces are listed.")
    ] = None,
    state: options.State = None,
    reread: Annotated[
        bool, typer.Option("--reread", help="Read the range again and send what Netra did not list the first time.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", hidden=True, help="The old name of --reread.")] = False,
    verify_at: Annotated[
        list[str] | None,
        typer.Option(
            "--verify-at",
            metavar="AT",
            help="When all is sent, read it back there, as verify does: AT, or DEST=AT (repeatable).",
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="With --verify-at: send what is missing or cut again, and verify once more."),
    ] = False,
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Send the dead letters again; read nothing from Netra.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate size and duration from a sample; send nothing.")
    ] = False,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Copy a time range once.

    The traces of the range go to one or more destinations. If it is interrupted, run the same command again to resume.
    """
    bridge = options.start(
        config_file,
        verbose,
        quiet,
        to=tuple(to) if to else None,
        profile=profile,
        concurrency=concurrency,
        window=window,
        state=state,
    )
    policy.warn(bridge.settings)
    if as_json:
        refuse_console(bridge, bridge.destinations())
    if verify_at and (dead_letters or dry_run):
        raise UsageError(
            "--verify-at reads back what a replay sent", hint="omit --dry-run and --dead-letters, or use verify"
        )
    wanted = options.query(tenant, session, user, filters, trace)
    if dry_run and not dead_letters:
        _write_estimate(run(bridge.aestimate(since=since, from_=from_, until=until, query=wanted)), as_json)
        return 0
    if dead_letters and (dry_run or since or from_ or until):
        raise UsageError(
            "--dead-letters sends dead letters from the state, so it takes no time range",
            hint="omit --since, --from, --until and --dry-run",
        )
    if repair and not verify_at:
        raise UsageError("--repair does not know where to look for what is missing", hint="add --verify-at AT")
    if verify:
        err.print("--verify is called --reread now; `verify` reads a destination back")
    from netra_otel_bridge.cli import arrival  # it loads all of the bridge, which --help does not need

    stores = stores_of(bridge.destinations(), verify_at or ())
    arrival.check(bridge, stores)
    whole = None if dead_letters else bridge.window(since=since, from_=from_, until=until)
    typed = None if dead_letters else f"{since} {from_} {until}"
    show = err.is_terminal and not quiet
    with checkpoint.opened(bridge, wanted, typed) as store:
        flag = checkpoint.flag(bridge, store)
        try:
            report = _with_progress(bridge, whole, wanted, store, reread or verify, show=show)
        except BridgeError as error:
            if isinstance(error.report, ReplayReport):
                write_report(error.report, as_json=as_json, state_flag=flag)
            raise
        if dead_letters and store.has_dead_letters() and not any(lane.spans for lane in report.destinations):
            raise UsageError(
                "all stored dead letters belong to other destinations",
                hint=f"list them with netra-otel-bridge status{flag}, and name one with --to",
            )
        if stores and whole is not None:
            if as_json:
                write_problems(report)
            else:
                write_report(report, as_json=False, state_flag=flag)
            return arrival.verify(
                bridge, stores, whole, wanted, store, report, repair=repair, show=show, as_json=as_json
            )
    write_report(report, as_json=as_json, state_flag=flag)
    return report.exit_code


def refuse_console(bridge: Bridge, targets: Sequence[str]) -> None:
    """Raise `UsageError` if a destination would write into the JSON document on stdout."""
    named = bridge.settings.destinations
    if any(named.get(one, one).strip() in ("console", "exporter:console", "otlp-file:/dev/stdout") for one in targets):
        raise UsageError("--json and the destination console would both write to stdout", hint="omit one of them")


def _with_progress(
    bridge: Bridge, whole: Window | None, query: TraceQuery, store: StateStore, reread: bool, *, show: bool
) -> ReplayReport:
    """Replay ``whole``, or send dead letters again, with a progress bar for each destination."""
    windows = None if whole is None else -(-(whole.end_ns - whole.start_ns) // bridge.settings.window_ns)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} windows  {task.fields[done]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=not show, transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def advance(lane: LaneReport) -> None:
            if lane.name not in bars:
                bars[lane.name] = progress.add_task(escaped(lane.name), total=windows, done="")
            done = f"{lane.traces:,} traces  {lane.delivered:,} spans  {size(lane.size_bytes)}"
            progress.update(bars[lane.name], completed=lane.windows, done=done)

        if whole is None:
            return run(bridge.aresend(query=query, state=store, on_progress=advance))
        start, end = iso_ms(whole.start_ns), iso_ms(whole.end_ns)
        return run(bridge.areplay(from_=start, until=end, query=query, state=store, reread=reread, on_progress=advance))


def write_report(report: ReplayReport, *, as_json: bool, state_flag: str = "") -> None:
    """Print the report of a replay as a table or a JSON document; problems with single spans go to stderr.

    ``state_flag`` is the option that other commands need to use the state of this replay.
    """
    write_problems(report)
    if as_json:
        write_json(report_json(report))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(COLUMNS[0], overflow="fold")
    for column in COLUMNS[1:]:
        table.add_column(column, justify="right")
    for lane in report.destinations:
        counts = (lane.traces, lane.spans, lane.delivered, lane.refused, lane.dead_lettered, lane.skipped)
        style = "red" if lane.error else "yellow" if lane.exit_code else None
        table.add_row(cell(lane.name), *map(count, counts), size(lane.size_bytes), style=style)
    out.print(table)
    delivered = sum(lane.delivered for lane in report.destinations)
    rate = f", {delivered / report.seconds:,.0f} spans/s" if report.seconds and delivered else ""
    window = report.window
    what = "dead letters" if window is None else f"{iso_ms(window.start_ns)} to {iso_ms(window.end_ns)}"
    out.print(
        f"{what}: {report.api_calls:,} API calls, {report.retries:,} retries, {report.seconds:.1f} s{rate}",
        soft_wrap=True,
    )
    if report.notes:
        notes = ", ".join(f"{note} {number:,}" for note, number in report.notes.items())
        out.print(f"noted while converting: {notes}", soft_wrap=True)
    _write_hints(report, state_flag)


def write_problems(report: ReplayReport) -> None:
    """Print the problems with single spans, and all errors but the one that the replay raises, to stderr."""
    raised = next((lane.error for lane in report.destinations if lane.error is not None), None)
    for lane in report.destinations:
        for problem in lane.problems:
            err.print(f"{lane.name}: {problem}", soft_wrap=True, markup=False)
        if lane.error not in (None, raised):
            err.print(str(lane.error), soft_wrap=True, markup=False)


def _write_hints(report: ReplayReport, state_flag: str) -> None:
    """Print notes on the figures and next steps, one per line."""
    for lane in report.destinations:
        if lane.final_windows:
            out.print(
                f"{lane.name}: {lane.final_windows:,} windows are final and were not listed again",
                soft_wrap=True,
                markup=False,
            )
        if lane.skipped and not lane.delivered and not lane.final_windows:
            again = f"netra-otel-bridge state reset --to {lane.name}{state_flag}"
            out.print(
                f"{lane.name} already received all of it; to send it again: {again}", soft_wrap=True, markup=False
            )
        if lane.verified:
            out.print(f"{lane.name}: {lane.verified:,} spans were read a second time", soft_wrap=True, markup=False)
        if kept := lane.dead_lettered + lane.kept:
            before = f", {lane.kept:,} of them from earlier runs" if lane.kept else ""
            out.print(
                f"{lane.name}: {kept:,} dead letters are stored{before}; see them with netra-otel-bridge state "
                f"dead-letters{state_flag}, send them again with netra-otel-bridge replay --dead-letters --to {lane.name}"
                f"{state_flag}",
                soft_wrap=True,
                markup=False,
            )
        if lane.held_back:
            out.print(
                f"{lane.name}: held back because they could not be read: {of_traces(lane.held_back)}; see "
                f"netra-otel-bridge state held-back{state_flag}; the same replay tries again",
                soft_wrap=True,
                markup=False,
            )
    if report.window is None and not any(lane.spans or lane.error for lane in report.destinations):
        out.print("These destinations have no dead letters.")
    listed = any(lane.listed or lane.final_windows or lane.error for lane in report.destinations)
    if report.window is not None and not listed:
        out.print("Netra has no traces in this range.")


def _write_estimate(estimate: ReplayEstimate, as_json: bool) -> None:
    if as_json:
        write_json(estimate_json(estimate))
        return
    about = "" if estimate.sampled_traces == estimate.traces else "about "
    out.print(
        f"{iso_ms(estimate.window.start_ns)} to {iso_ms(estimate.window.end_ns)}: {estimate.traces:,} traces, "
        f"{about}{estimate.spans:,} spans, {size(estimate.size_bytes)}, {estimate.api_calls:,} API calls, "
        f"{max(estimate.seconds, 0.1):,.1f} s of reading (estimated from {estimate.sampled_traces:,} traces). "
        "Nothing was sent.",
        soft_wrap=True,
    )
    if estimate.keys is not None:
        policy.write_kept(estimate.keys, estimate.sampled_traces)
