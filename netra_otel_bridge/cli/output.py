"""What commands print: results on stdout, everything else on stderr; JSON where it is asked for."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec
from rich.console import Console

from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.report import LaneReport, ReplayEstimate, ReplayReport
from netra_otel_bridge.core.time_text import iso_ms

WIDTH_OF_FILES = 140
"""Columns where stdout is no terminal: tables are then for a log or a mail, and nothing in them is cut."""


def console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, emoji=False, width=None if stream.isatty() else WIDTH_OF_FILES)


out = console()
err = console(stderr=True)


def write_json(document: Any) -> None:
    """One JSON document on stdout."""
    try:
        text = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    except (OverflowError, UnicodeEncodeError):  # an integer beyond 64 bits, a byte of the arguments that is no UTF-8
        text = json.dumps(msgspec.to_builtins(document), indent=2)
    sys.stdout.write(text + "\n")


def write_error(error: BridgeError, *, as_json: bool) -> int:
    """One line on stderr; with ``--json`` also a document on stdout, unless the error comes with a report."""
    code = error.exit_code
    if isinstance(error.report, ReplayReport):
        code = error.report.exit_code
    elif as_json:
        write_json({"error": {"type": type(error).__name__, "message": str(error)}, "exit_code": code})
    sys.stderr.write(f"netra-otel-bridge: {error}\n")
    return code


def wants_json(argv: list[str]) -> bool:
    return "--json" in argv


def report_json(report: ReplayReport) -> dict[str, Any]:
    """The ``--json`` report of ``replay``, as ``docs/cli.md`` gives it."""
    window = report.window
    return {
        "window": {"from": iso_ms(window.start_ns), "until": iso_ms(window.end_ns)} if window is not None else None,
        "destinations": [_lane_json(lane) for lane in report.destinations],
        "api_calls": report.api_calls,
        "retries": report.retries,
        "seconds": round(report.seconds, 3),
        "notes": report.notes,
        "exit_code": report.exit_code,
    }


def _lane_json(lane: LaneReport) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": lane.name,
        "traces": lane.traces,
        "spans": lane.spans,
        "delivered": lane.delivered,
        "refused": lane.refused,
        "dead_lettered": lane.dead_lettered,
        "kept": lane.kept,
        "skipped": lane.skipped,
        "changed": lane.changed,
        "trimmed": lane.trimmed,
        "unreadable": lane.unreadable,
        "missing": lane.missing,
        "bytes": lane.size_bytes,
        "retries": lane.retries,
        "verified": lane.verified,
        "exit": lane.exit_code,
    }
    if lane.problems:
        document["problems"] = lane.problems
    if lane.error is not None:
        document["error"] = {"type": type(lane.error).__name__, "message": str(lane.error)}
    return document


def estimate_json(estimate: ReplayEstimate) -> dict[str, Any]:
    """The ``--json`` document of ``replay --dry-run``."""
    return {
        "dry_run": True,
        "window": {"from": iso_ms(estimate.window.start_ns), "until": iso_ms(estimate.window.end_ns)},
        "traces": estimate.traces,
        "sampled_traces": estimate.sampled_traces,
        "spans": estimate.spans,
        "bytes": estimate.size_bytes,
        "api_calls": estimate.api_calls,
        "seconds": round(estimate.seconds, 3),
        "exit_code": 0,
    }


def size(size_bytes: float) -> str:
    """``512 B``, ``3.4 kB``, ``12.0 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000 or unit == "GB":
            break
        size_bytes /= 1000
    return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"


def cost(value: float | None) -> str:
    """US dollars; small sums keep their digits."""
    if value is None:
        return ""
    return f"${value:,.2f}" if value >= 100 else f"${value:.4f}" if value >= 0.01 or value == 0 else f"${value:.2g}"


def duration(ns: float) -> str:
    """``840 µs``, ``12.3 ms``, ``4.21 s``, ``3m12s``, ``9h05m``, ``3d04h``."""
    if ns < 1_000_000:
        return f"{ns / 1000:.0f} µs"
    if ns < 1_000_000_000:
        return f"{ns / 1_000_000:.1f} ms"
    seconds = ns / 1_000_000_000
    if seconds < 120:
        return f"{seconds:.2f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes}m{int(seconds % 60):02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m" if minutes < 2880 else f"{minutes // 1440}d{minutes // 60 % 24:02d}h"


def count(value: float | None) -> str:
    return "" if value is None else f"{value:,}"
