"""Build the JSON documents of ``replay`` and ``verify``, which ``docs/cli.md`` documents."""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.core.model.readback import BESIDE, SUMMED, Finding, StoreReport, VerifyReport
from netra_otel_bridge.core.model.report import LaneReport, ReplayEstimate, ReplayReport
from netra_otel_bridge.core.time_text import iso_ms


def report_json(report: ReplayReport) -> dict[str, Any]:
    """Return the ``--json`` report of ``replay``."""
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
        "held_back": lane.held_back,
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
    """Return the ``--json`` document of ``replay --dry-run``."""
    document = {
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
    if estimate.keys is not None:
        document["keys"] = {"kept": dict(estimate.keys.kept), "dropped": dict(estimate.keys.dropped)}
    return document


def verify_json(report: VerifyReport) -> dict[str, Any]:
    """Return the ``--json`` report of ``verify``."""
    window = report.window
    return {
        "window": {"from": iso_ms(window.start_ns), "until": iso_ms(window.end_ns)} if window is not None else None,
        "destinations": [_store_json(store) for store in report.destinations],
        "netra_calls": report.netra_calls,
        "read_back_calls": report.read_back_calls,
        "seconds": round(report.seconds, 3),
        "exit_code": report.exit_code,
    }


def _store_json(store: StoreReport) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": store.name,
        "at": store.at,
        "traces": store.traces,
        "spans": store.spans,
        **{kind: getattr(store, kind) for kind in (*SUMMED[:4], *BESIDE, *SUMMED[4:])},
        "looked_for": store.looked_for,
        "findings": [_finding_json(finding) for finding in store.findings],
        "notes": store.notes,
        "exit": store.exit_code,
    }
    if store.error is not None:
        document["error"] = {"type": type(store.error).__name__, "message": str(store.error)}
    return document


def _finding_json(finding: Finding) -> dict[str, Any]:
    document: dict[str, Any] = {"kind": finding.kind, "count": finding.count, "what": finding.what}
    if finding.hint:
        document["hint"] = finding.hint
    document["samples"] = [{"trace_id": trace_id, "span_id": span_id} for trace_id, span_id in finding.samples]
    return document
