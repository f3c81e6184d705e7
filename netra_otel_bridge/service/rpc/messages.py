"""Convert between protobuf messages and the bridge's values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from netra_otel_bridge.core.clock import NS_PER_MS, NS_PER_S
from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.health import ArrivalHealth, LaneHealth, ServiceHealth, UsageHealth
from netra_otel_bridge.core.model.outcome import SpanBatch
from netra_otel_bridge.core.model.query import TraceFilter, TraceQuery, Window
from netra_otel_bridge.core.model.readback import BESIDE, SUMMED, Finding, Kind, StoreReport, VerifyReport
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.core.time_text import LAST_NS
from netra_otel_bridge.deliver import trimmed_to
from netra_otel_bridge.deliver.otlp.encode import encode_request, varint
from netra_otel_bridge.readback.verify import VerifyProgress
from netra_otel_bridge.service.rpc.errors import invalid, plain, status_error
from netra_otel_bridge.v1 import bridge_pb2 as pb

_PROFILES = {
    pb.PROFILE_UNSPECIFIED: None,
    pb.PROFILE_RAW: "raw",
    pb.PROFILE_GENAI: "genai",
    pb.PROFILE_OPENINFERENCE: "openinference",
    pb.PROFILE_BOTH: "both",
}
_TYPES = {"text": "string", "number": "number", "flag": "boolean", "list": "arrayOptions"}
DEFAULT_MESSAGE_BYTES = 4 * 2**20
MIN_MESSAGE_BYTES = 64 * 1024
_FINDINGS: dict[Kind, pb.FindingKind.ValueType] = {
    "cut": pb.FINDING_KIND_CUT,
    "changed": pb.FINDING_KIND_CHANGED,
    "missing": pb.FINDING_KIND_MISSING,
    "dead_lettered": pb.FINDING_KIND_DEAD_LETTERED,
    "refused": pb.FINDING_KIND_REFUSED,
    "unreadable": pb.FINDING_KIND_UNREADABLE,
    "pending": pb.FINDING_KIND_PENDING,
    "duplicated": pb.FINDING_KIND_DUPLICATED,
    "foreign": pb.FINDING_KIND_FOREIGN,
    "hidden": pb.FINDING_KIND_HIDDEN,
}
_TRACES_DATA = {pb.ReadSpansResponse: b"\x0a", pb.FollowSpansResponse: b"\x12"}
"""The encoded tag of the field ``traces_data``."""


def encoded(message: Any) -> bytes:
    """Encode a message."""
    body: bytes = message.SerializeToString()
    return body


def with_spans(response: pb.ReadSpansResponse | pb.FollowSpansResponse, batch: SpanBatch) -> bytes:
    """Encode ``response`` with the spans of ``batch`` as its ``traces_data``.

    The encoded spans are reused: ``TracesData`` has the wire format of an export request.
    """
    if not batch.spans:
        return response.SerializeToString()
    body = encode_request(batch.spans, batch.encoded)
    return b"".join((_TRACES_DATA[type(response)], varint(len(body)), body, response.SerializeToString()))


def fitted(batch: SpanBatch, limit_bytes: int) -> tuple[SpanBatch | None, str]:
    """Trim a batch of one span to ``limit_bytes``. Return it (``None`` if impossible) and a line that says so."""
    smaller = trimmed_to(batch, limit_bytes)
    context = batch.spans[0].context
    what = "left out" if smaller is None else "trimmed, the longest values first"
    return smaller, (
        f"trace {context.trace_id:032x}: span {context.span_id:016x} has {batch.size_bytes} bytes, "
        f"the client accepts {limit_bytes}; it was {what}"
    )


def timestamp(ns: int) -> Timestamp | None:
    """Return a time as a message; ``None`` for 0, which means no time."""
    return Timestamp(seconds=ns // NS_PER_S, nanos=ns % NS_PER_S) if ns else None


def nanoseconds(when: Timestamp, name: str) -> int:
    """Return a message as a time, at most `LAST_NS`. Raises `StatusError` if it is before 1970 or invalid."""
    if not (0 <= when.seconds <= 253_402_300_799 and 0 <= when.nanos < NS_PER_S):
        raise invalid(f"{name} is not a time from 1970 on")
    return min(when.seconds * NS_PER_S + when.nanos, LAST_NS)


def time_range(message: pb.TimeRange, now_ns: int) -> Window:
    """Return the range in whole milliseconds, its start rounded down and its end rounded up. Raises `StatusError`."""
    if not message.HasField("start_time"):
        raise invalid("range.start_time is missing")
    start_ns = nanoseconds(message.start_time, "range.start_time") // NS_PER_MS * NS_PER_MS
    end_ns = nanoseconds(message.end_time, "range.end_time") if message.HasField("end_time") else now_ns
    end_ns = -(-end_ns // NS_PER_MS) * NS_PER_MS
    if start_ns >= end_ns:
        raise invalid("the range is empty", hint="start_time must lie before end_time, which is now if it is left out")
    return Window(start_ns, end_ns)


def range_message(window: Window) -> pb.TimeRange:
    """Return a range as a message."""
    return pb.TimeRange(start_time=timestamp(window.start_ns), end_time=timestamp(window.end_ns))


def trace_query(message: pb.TraceQuery) -> TraceQuery:
    """Return the query of a message. Raises `StatusError`."""
    return TraceQuery(
        tenant_id=message.tenant_id or None,
        session_id=message.session_id or None,
        user_id=message.user_id or None,
        trace_ids=tuple(message.trace_ids),
        filters=tuple(map(_filter, message.filters)),
    )


def _filter(message: pb.TraceFilter) -> TraceFilter:
    kind = message.WhichOneof("value")
    if not message.field or kind is None:
        raise invalid("a filter has no field or no value")
    if kind == "number" and not math.isfinite(message.number):
        raise invalid(f"the filter on {message.field[:80]!r} has {message.number}, which is not a number")
    value: Any = list(message.list.values) if kind == "list" else getattr(message, kind)
    operator = message.operator or ("any_of" if kind == "list" else "equals")
    return TraceFilter(message.field, value, operator, message.type or _TYPES[kind], message.key or None)


def profile(value: int) -> str | None:
    """Return the name of a profile, ``None`` for the configured one. Raises `StatusError`."""
    if value not in _PROFILES:
        raise invalid(f"there is no profile {value}")
    return _PROFILES[pb.Profile.ValueType(value)]


def message_bytes(asked: int) -> int:
    """Return the largest message that a client accepts. Raises `StatusError`."""
    if asked and asked < MIN_MESSAGE_BYTES:
        raise invalid(f"max_message_bytes is {asked}, but must be at least {MIN_MESSAGE_BYTES}")
    return asked or DEFAULT_MESSAGE_BYTES


def problem(error: BridgeError | None) -> pb.Problem | None:
    """Return an error as part of a response."""
    if error is None:
        return None
    status = status_error(error)
    return pb.Problem(reason=status.reason, message=status.message, hint=status.hint)


def replay_progress(report: LaneReport) -> pb.ReplayProgress:
    """Return the progress of a replay at one destination."""
    return pb.ReplayProgress(
        name=report.name,
        traces=report.traces,
        spans=report.spans,
        delivered=report.delivered,
        refused=report.refused,
        dead_lettered=report.dead_lettered,
        kept=report.kept,
        skipped=report.skipped,
        unreadable=report.unreadable,
        missing=report.missing,
        held_back=report.held_back,
        size_bytes=report.size_bytes,
        windows=report.windows,
        retries=report.retries,
        problems=map(plain, report.problems),
        error=problem(report.error),
        exit_code=report.exit_code,
    )


def verify_progress(progress: VerifyProgress) -> pb.VerifyProgress:
    """Return how far a verification is."""
    return pb.VerifyProgress(
        traces=progress.traces,
        spans=progress.spans,
        intact=progress.intact,
        waiting=progress.waiting,
        looked_for=progress.looked_for,
    )


def finding(found: Finding) -> pb.Finding:
    """Return a finding as a message."""
    return pb.Finding(
        kind=_FINDINGS[found.kind],
        count=found.count,
        what=plain(found.what),
        hint=plain(found.hint),
        samples=[pb.SpanSample(trace_id=plain(trace_id), span_id=span_id) for trace_id, span_id in found.samples],
    )


def summary(report: VerifyReport, store: StoreReport) -> pb.VerifySummary:
    """Return the result of one store as a message."""
    return pb.VerifySummary(
        destination=store.name,
        at=store.at,
        range=range_message(report.window) if report.window is not None else None,
        traces=store.traces,
        spans=store.spans,
        **{kind: getattr(store, kind) for kind in (*SUMMED, *BESIDE)},
        looked_for=store.looked_for,
        notes=map(plain, store.notes),
        netra_calls=report.netra_calls,
        read_back_calls=store.read_back_calls,
        exit_code=store.exit_code,
    )


def status(health: ServiceHealth, subscriptions: Iterable[LaneHealth], version: str) -> pb.GetStatusResponse:
    """Return the status of the server as a message."""
    return pb.GetStatusResponse(
        version=version,
        now=timestamp(health.now_ns),
        ready=health.ready,
        lanes=map(_lane, health.lanes),
        subscriptions=map(_lane, subscriptions),
        usage=_usage(health.usage),
        api_calls=health.api_calls,
        api_retries=health.api_retries,
    )


def _lane(health: LaneHealth) -> pb.LaneStatus:
    return pb.LaneStatus(
        name=health.destination,
        stopped=health.stopped,
        problem=plain(health.problem),
        problem_since_time=timestamp(health.problem_since_ns),
        watermark_time=timestamp(health.watermark_ns),
        checkpoint_time=timestamp(health.checkpoint_ns),
        passes=health.passes,
        read=health.read,
        delivered=health.delivered,
        refused=health.refused,
        dead_lettered=health.dead_lettered,
        held_back=health.held_back,
        size_bytes=health.size_bytes,
        retries=health.retries,
        arrival=_arrival(health.arrival),
    )


def _arrival(health: ArrivalHealth | None) -> pb.ArrivalStatus | None:
    if health is None:
        return None
    return pb.ArrivalStatus(
        verified=health.verified, missing=health.missing, changed=health.changed, failures=health.failures
    )


def _usage(health: UsageHealth | None) -> pb.UsageStatus | None:
    if health is None:
        return None
    return pb.UsageStatus(
        problem=plain(health.problem),
        problem_since_time=timestamp(health.problem_since_ns),
        polled_time=timestamp(health.polled_ns),
    )
