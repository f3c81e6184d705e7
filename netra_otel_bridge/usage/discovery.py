"""Find tenants and sessions by listing traces."""

from __future__ import annotations

import logging
from functools import partial

from netra_otel_bridge.core.errors import NotKnown
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.tasks import all_of
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.pipeline.listing import LISTERS, list_all, may_hold
from netra_otel_bridge.pipeline.windows import WindowQueue, split
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.endpoint import reaches_its_path

_log = logging.getLogger(__name__)
LOOK_BACK_PAGES = 200
"""Pages that a poll may list to find the tenants of the period's past, when metering begins."""
MAX_LISTED = 100_000
"""Traces of which it is remembered that they were listed."""


async def find_tenants(client: AsyncNetraClient, whole: Window, window_ns: int) -> list[str]:
    """The tenants of all traces of a range, sorted. Raises `NetraError`, and `NotKnown` where there is none."""

    tenants: set[str] = set()
    stretches = WindowQueue(split(whole, window_ns), partial(may_hold, client, queries=[TraceQuery()]))

    async def collect() -> None:
        async for page in list_all(client, stretches, TraceQuery()):
            tenants.update(trace.tenant_id for trace in page.traces if trace.tenant_id)

    await all_of(collect() for _ in range(LISTERS))
    for tenant in [one for one in tenants if not reaches_its_path(one)]:
        _log.warning("tenant %r is left out: its usage cannot be asked for, as its id is a relative path", tenant)
        tenants.remove(tenant)
    if not tenants:
        raise NotKnown(
            f"no trace from {iso_ms(whole.start_ns)} to {iso_ms(whole.end_ns)} has a tenant",
            hint="check the range, or name tenants with --tenant",
        )
    return sorted(tenants)
