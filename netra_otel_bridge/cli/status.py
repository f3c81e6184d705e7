"""``status``: the progress of each destination, its lag, and what it rejected."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.numbers import count, duration, of_traces, size
from netra_otel_bridge.cli.output import cell, out
from netra_otel_bridge.core.clock import CLOCK_OFF_NS
from netra_otel_bridge.core.model.progress import LaneStatus, Reconciliation
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.state import StateStatus, read_status

COLUMNS = ("destination", "followed to", "lag", "delivered", "rejected", "dead-lettered", "size")
DIFFERING = 20
"""Maximum number of tenants with differing spend to list, largest difference first."""


def status(
    state: options.State = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Show the progress of each destination.

    It lists what was delivered, the lag, and what was rejected and why. It reads only the state, not Netra.
    """
    configured = options.configure(config_file, verbose, quiet, state=state)
    found = read_status(configured.state_directory())
    now_ns = configured.clock.now_ns()
    if as_json:
        write_json(_document(found, now_ns))
    else:
        _print(found, now_ns)
    return 0


def _document(found: StateStatus, now_ns: int) -> dict[str, Any]:
    return {
        "state": str(found.directory),
        "owner_pid": found.owner,
        "destinations": [
            {
                "name": lane.destination,
                "source": lane.source,
                "watermark": _time(lane.watermark_ns),
                "lag_seconds": round((now_ns - lane.watermark_ns) / 1e9, 3) if lane.watermark_ns else None,
                "delivered": lane.delivered,
                "refused": lane.refused,
                "dead_lettered": lane.dead_lettered,
                "held_back": lane.held_back,
                "given_up": lane.given_up,
                "bytes": lane.size_bytes,
                "traces": lane.traces,
                "updated": _time(lane.updated_ns),
                "problem": lane.problem or None,
                "problem_since": _time(lane.problem_since_ns),
                "reasons": [{"reason": reason, "count": number} for reason, number in lane.reasons],
                "reconciliation": [
                    {
                        "tenant_id": one.tenant_id,
                        "from": iso_ms(one.window.start_ns),
                        "until": iso_ms(one.window.end_ns),
                        "replayed_tokens": one.replayed_tokens,
                        "replayed_cost": one.replayed_cost,
                        "reported_tokens": one.reported_tokens,
                        "reported_cost": one.reported_cost,
                    }
                    for one in lane.reconciled
                ],
            }
            for lane in found.lanes
        ],
    }


def _print(found: StateStatus, now_ns: int) -> None:
    owner = f"in use (pid {found.owner})" if found.owner else "not in use"
    out.print(f"{found.directory}: {owner}", soft_wrap=True, markup=False)
    if not found.lanes:
        out.print("Nothing has been delivered yet.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(COLUMNS[0], overflow="fold")
    table.add_column(COLUMNS[1])
    for column in COLUMNS[2:]:
        table.add_column(column, justify="right")
    for lane in found.lanes:
        lag_ns = now_ns - lane.watermark_ns
        lag = f"{'-' if lag_ns < 0 else ''}{duration(abs(lag_ns))}" if lane.watermark_ns else ""
        counts = (lane.delivered, lane.refused, lane.dead_lettered)
        style = "red" if lane.problem else None
        table.add_row(
            cell(lane.destination), _time(lane.watermark_ns) or "", lag, *map(count, counts),
            size(lane.size_bytes), style=style,
        )  # fmt: skip
    out.print(table)
    for lane in found.lanes:
        _print_problems(lane, now_ns, working=found.owner is not None)
        _print_spend(lane)


def _print_problems(lane: LaneStatus, now_ns: int, *, working: bool) -> None:
    if lane.watermark_ns > now_ns + CLOCK_OFF_NS:
        out.print(
            f"{lane.destination}: followed to a time in the future: the clock of Netra or of this machine was or is wrong; "
            "once both agree, `run` moves it back",
            soft_wrap=True,
            markup=False,
        )
    if lane.problem:
        since = duration((now_ns if working else lane.updated_ns) - lane.problem_since_ns)
        waits = f"failing for {since}" if working else f"had been failing for {since} when the bridge stopped"
        out.print(f"{lane.destination}: {waits}: {lane.problem}", soft_wrap=True, markup=False)
    if lane.held_back or lane.given_up:
        given_up = f", given up on: {of_traces(lane.given_up)}" if lane.given_up else ""
        out.print(
            f"{lane.destination}: held back because they cannot be read: {of_traces(lane.held_back)}{given_up}; "
            "see netra-otel-bridge state held-back",
            soft_wrap=True,
            markup=False,
        )
    for reason, number in lane.reasons:
        out.print(f"{lane.destination}: {number:,} dead-lettered: {reason}", soft_wrap=True, markup=False)


def _print_spend(lane: LaneStatus) -> None:
    """Print one line for all tenants whose spend agrees with Netra's, and one for each that differs."""
    agreed = [one for one in lane.reconciled if one.agrees]
    if agreed:
        tenants = "1 tenant agrees" if len(agreed) == 1 else f"{len(agreed):,} tenants agrees"
        hours = _hours(Window(min(one.window.start_ns for one in agreed), max(one.window.end_ns for one in agreed)))
        out.print(f"{lane.destination}: spend of {tenants} with Netra, {hours}", soft_wrap=True, markup=False)
    differing = sorted((one for one in lane.reconciled if not one.agrees), key=_difference, reverse=True)
    for one in differing[:DIFFERING]:
        out.print(
            f"{lane.destination}: spend of tenant {one.tenant_id} differs: replayed {_spend(one.replayed_tokens, one.replayed_cost)}, "
            f"Netra reports {_spend(one.reported_tokens, one.reported_cost)}, {_hours(one.window)}",
            soft_wrap=True,
            markup=False,
        )
    if len(differing) > DIFFERING:
        out.print(
            f"{lane.destination}: spend of {len(differing) - DIFFERING:,} more tenants differs; --json lists all",
            soft_wrap=True,
            markup=False,
        )


def _difference(one: Reconciliation) -> tuple[float, float]:
    return abs(one.replayed_cost - one.reported_cost), abs(one.replayed_tokens - one.reported_tokens)


def _spend(tokens: float, cost: float) -> str:
    return f"{tokens:,} tokens and ${cost:,.6f}"


def _hours(window: Window) -> str:
    return f"{iso_ms(window.start_ns)[:16]}Z to {iso_ms(window.end_ns)[:16]}Z"


def _time(ns: int) -> str | None:
    return iso_ms(ns) if ns else None
