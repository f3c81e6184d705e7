"""``status``: what was delivered where, how far behind each destination is, what was refused and why."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.output import count, duration, out, size, write_json
from netra_otel_bridge.clock import iso_ms
from netra_otel_bridge.model import LaneStatus
from netra_otel_bridge.state import StateStatus, read_status


def status(
    state: options.State = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Say of each destination what it has had, how far behind it is, and what it refused; reads the state alone."""
    bridge = options.start(config_file, verbose, quiet, state=state)
    found = read_status(bridge.state_directory())
    now_ns = bridge.clock.now_ns()
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
                "bytes": lane.size_bytes,
                "traces": lane.traces,
                "updated": _time(lane.updated_ns),
                "problem": lane.problem or None,
                "problem_since": _time(lane.problem_since_ns),
                "reasons": [{"reason": reason, "count": number} for reason, number in lane.reasons],
            }
            for lane in found.lanes
        ],
    }


def _print(found: StateStatus, now_ns: int) -> None:
    owner = f"a bridge works with it (pid {found.owner})" if found.owner else "no bridge works with it"
    out.print(f"{found.directory}: {owner}", soft_wrap=True, markup=False)
    if not found.lanes:
        out.print("Nothing was delivered yet.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("destination", overflow="fold")
    table.add_column("followed to")
    for column in ("behind", "delivered", "refused", "dead-lettered", "size"):
        table.add_column(column, justify="right")
    for lane in found.lanes:
        behind = duration(now_ns - lane.watermark_ns) if lane.watermark_ns else ""
        counts = (lane.delivered, lane.refused, lane.dead_lettered)
        style = "red" if lane.problem else None
        table.add_row(
            Text(lane.destination), _time(lane.watermark_ns) or "", behind, *map(count, counts),
            size(lane.size_bytes), style=style,
        )  # fmt: skip
    out.print(table)
    for lane in found.lanes:
        _print_problems(lane, now_ns, working=found.owner is not None)


def _print_problems(lane: LaneStatus, now_ns: int, *, working: bool) -> None:
    if lane.problem:
        since = duration((now_ns if working else lane.updated_ns) - lane.problem_since_ns)
        waits = f"waiting for {since}" if working else f"when it was stopped it had waited for {since}"
        out.print(f"{lane.destination}: {waits}: {lane.problem}", soft_wrap=True, markup=False)
    for reason, number in lane.reasons:
        out.print(f"{lane.destination}: {number:,} dead-lettered: {reason}", soft_wrap=True, markup=False)


def _time(ns: int) -> str | None:
    return iso_ms(ns) if ns else None
