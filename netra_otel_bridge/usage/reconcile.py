"""Compare the cost of the spans that a destination received with what Netra's usage calls report for the same hours."""

from __future__ import annotations

import logging
from functools import partial

import msgspec

from netra_otel_bridge.core.clock import HOUR_NS, MINUTE_NS
from netra_otel_bridge.core.errors import NetraError, NetraUnauthorized
from netra_otel_bridge.core.model.progress import Reconciliation
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.endpoint import reaches_its_path
from netra_otel_bridge.state import LaneState

LATE_NS = 10 * MINUTE_NS
"""The delay after the end of an hour that was followed live until it is compared: later polls still find late spans."""
_log = logging.getLogger(__name__)


async def reconcile(
    client: AsyncNetraClient, recorder: Recorder, now_ns: int, period: Window
) -> tuple[Reconciliation, ...]:
    """Compare each tenant of a lane over the hours of ``period``, the current one, that the lane covers (`covered`).

    The result replaces the previous one in the state. If no whole hour is covered, nothing is requested or stored. If
    the lane follows only some traces, only tenants that it follows completely are compared. A tenant unknown to Netra
    counts as unused; a tenant whose usage call fails is skipped. Raises `StateError`, and `NetraError` if all calls
    fail or the key is rejected.
    """
    lane = recorder.lane
    hours = covered(lane, period)
    if hours is None:
        return ()
    start, end = iso_ms(hours.start_ns), iso_ms(hours.end_ns)
    found: list[Reconciliation] = []
    error: NetraError | None = None
    for tenant_id in _tenants(lane, period):
        try:
            usage = await client.get_tenant_usage(tenant_id, start, end)
        except NetraUnauthorized:
            raise
        except NetraError as failure:
            error = failure
            continue
        tokens, cost = lane.tenant_cost(tenant_id, hours)
        found.append(
            Reconciliation(
                tenant_id=tenant_id,
                window=hours,
                replayed_tokens=tokens,
                replayed_cost=cost,
                reported_tokens=usage.token_count if usage is not None else 0,
                reported_cost=usage.total_cost if usage is not None else 0.0,
                asked_ns=now_ns,
            )
        )
    if error is not None:
        if not found:
            raise error
        _log.warning("cannot compare delivered spans with Netra's usage for every tenant: %s", error)
    await recorder.write(partial(lane.reconcile, found))
    return tuple(found)


def covered(lane: LaneState, period: Window) -> Window | None:
    """Return the whole UTC hours of ``period`` for which the destination received all spans, or ``None``.

    They end `LATE_NS` before the watermark or, if nothing was followed, with the last finished window. They reach back
    to the first gap between finished windows and what was followed.
    """
    ranges = [one.window for one in lane.finished()]
    since_ns, watermark_ns = lane.since_ns(), lane.watermark_ns()
    if since_ns is not None and watermark_ns is not None:
        ranges.append(Window(since_ns, watermark_ns))
    ends_ns = watermark_ns if watermark_ns is not None else max((one.end_ns for one in ranges), default=0)
    start_ns = ends_ns
    for one in sorted(ranges, key=lambda it: it.end_ns, reverse=True):
        if one.end_ns >= start_ns:
            start_ns = min(start_ns, one.start_ns)
    start_ns = max(start_ns, period.start_ns, lane.summed_from_ns() or 0)
    end_ns = min(ends_ns - (LATE_NS if watermark_ns is not None else 0), period.end_ns)
    hours = Window(-(-start_ns // HOUR_NS) * HOUR_NS, end_ns // HOUR_NS * HOUR_NS)
    return hours if hours.start_ns < hours.end_ns else None


def _tenants(lane: LaneState, period: Window) -> list[str]:
    """Return the tenants to compare: those of delivered spans, or those that the lane's queries follow completely.

    Leave out ids that cannot be part of a URL.
    """
    tenants = lane.tenants(period)
    if lane.query:
        queries = msgspec.json.decode(lane.query, type=list[TraceQuery])
        tenants = sorted({one.tenant_id for one in queries if one.tenant_id and one == TraceQuery(one.tenant_id)})
    return [tenant_id for tenant_id in tenants if reaches_its_path(tenant_id)]
