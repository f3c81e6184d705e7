"""The client against the emulator: every call, every page, and every fault of the emulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.errors import (
    NetraCursorRefused,
    NetraError,
    NetraNotFound,
    NetraRateLimited,
    NetraRejected,
    NetraResponseTooLarge,
    NetraSchemaError,
    NetraUnauthorized,
    NetraUnavailable,
    PaginationLoop,
)
from netra_otel_bridge.core.model.query import TraceFilter
from netra_otel_bridge.emulator import FAULTS, Emulator, EmulatorOptions
from netra_otel_bridge.source import AsyncNetraClient, NetraClient
from tests.support.examples import size
from tests.support.fake_clock import FakeClock
from tests.support.waiting import DEADLINE_S

KEY = "emulated-key"
END = datetime(2026, 5, 1, tzinfo=UTC)
START = END - timedelta(days=1)
END_NS = int(END.timestamp()) * 1_000_000_000
TRACES, SPANS = 45, size(5, 12)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    options = EmulatorOptions(port=0, seed=1, traces=TRACES, spans_per_trace=SPANS, end_ns=END_NS, api_key=KEY)
    async with Emulator(options) as running:
        yield running


@pytest.fixture
async def client(request: pytest.FixtureRequest, emulator: Emulator) -> AsyncIterator[AsyncNetraClient]:
    """Return a client that loses patience only where the response never ends."""
    never_ends = any(fault in request.node.name for fault in ("hang", "slow-body"))
    async with AsyncNetraClient(
        api_key=KEY,
        endpoint=emulator.endpoint,
        timeout=1 if never_ends else DEADLINE_S,
        clock=FakeClock(),
        backoff=Backoff(attempts=4),
        max_response_bytes=1 << 22,
    ) as made:
        yield made


async def trace_ids(client: AsyncNetraClient, limit: int | None) -> list[str]:
    return [trace.id async for trace in client.iter_traces(START, END, limit=limit, sort_field="start_time")]


@pytest.mark.parametrize("limit", [None, 1, 7, 100])
async def test_every_trace_once(client: AsyncNetraClient, emulator: Emulator, limit: int | None) -> None:
    """A listing has every trace once for any page size, in no more requests than that needs."""
    ids = await trace_ids(client, limit)
    assert len(ids) == len(set(ids)) == TRACES
    assert emulator.calls["traces"] in {-(-TRACES // (limit or 20)), -(-TRACES // (limit or 20)) + 1}


async def test_every_span_once(client: AsyncNetraClient) -> None:
    """All spans of all traces are read, several traces at once, each with all its fields."""

    async def spans_of(trace_id: str) -> int:
        pages = [page async for page in client.iter_span_pages(trace_id, limit=5)]
        spans = [span for page in pages for span in page.spans]
        assert {span.trace_id for span in spans} == {trace_id}
        assert not [span for span in spans if span.unreadable]
        assert not [page for page in pages if page.unreadable]
        assert len({span.id for span in spans}) == len(spans)
        return len(spans)

    counts = await asyncio.gather(*(spans_of(trace_id) for trace_id in await trace_ids(client, 100)))
    assert sum(counts) >= TRACES
    assert client.stats.statuses.keys() == {200}


async def test_one_of_each(client: AsyncNetraClient) -> None:
    """Filters, single spans, and the usage of known and unknown sessions and tenants work."""
    trace = (await client.list_traces(START, END, limit=1)).traces[0]
    assert [found.id for found in (await client.list_traces(START, END, trace.id)).traces] == [trace.id]
    condition = TraceFilter("trace_id", trace.id)
    assert [found.id async for found in client.iter_traces(START, END, filters=[condition])] == [trace.id]
    span = (await client.list_spans_by_trace_id(trace.id, limit=1)).spans[0]
    found = await client.get_span(span.id)
    assert found is not None
    assert (found.id, found.attributes) == (span.id, span.attributes)
    assert await client.get_span("0123456789abcdef") is None
    assert trace.session_id
    assert trace.tenant_id
    session = await client.get_session_usage(trace.session_id, START, END)
    tenant = await client.get_tenant_usage(trace.tenant_id, START, END)
    assert session is not None
    assert tenant is not None
    assert tenant.token_count >= session.token_count > 0
    assert tenant.total_cost >= session.total_cost > 0
    assert await client.get_session_usage("nobody/knows", START, END) is None
    assert await client.get_tenant_usage("nobody", START, END) is None


async def test_synchronous_client(emulator: Emulator) -> None:
    """The blocking client lists the same traces."""

    def listed() -> list[str]:
        with NetraClient(api_key=KEY, endpoint=emulator.endpoint) as client:
            return [trace.id for trace in client.iter_traces(START, END)]

    assert len(set(await asyncio.to_thread(listed))) == TRACES


async def test_wrong_key(emulator: Emulator) -> None:
    """Another key is rejected."""
    async with AsyncNetraClient(api_key="other", endpoint=emulator.endpoint) as client:
        with pytest.raises(NetraUnauthorized):
            await client.list_traces(START, END)


ENDS: dict[str, type[NetraError] | None] = {
    "status-400": NetraRejected,
    "status-401": NetraUnauthorized,
    "status-403": NetraUnauthorized,
    "status-404": NetraNotFound,
    "status-408": NetraUnavailable,
    "status-429": NetraRateLimited,
    "status-500": NetraUnavailable,
    "status-502": NetraUnavailable,
    "status-503": NetraUnavailable,
    "status-504": NetraUnavailable,
    "retry-after=5": None,
    "unauthorized-after=1": NetraUnauthorized,
    "html": NetraNotFound,
    "redirect=http://127.0.0.1:9/": NetraNotFound,
    "truncated-json": NetraUnavailable,
    "cursor-loop=1": PaginationLoop,
    "cursor-loop=2": PaginationLoop,
    "cursor-expired=1": NetraCursorRefused,
    "empty-page-has-next": PaginationLoop,
    "has-next-string": NetraSchemaError,
    "has-next-missing": NetraSchemaError,
    "wrong-shape": NetraSchemaError,
    "bad-item": NetraSchemaError,
    "reorder": None,
    "bad-span-json": None,
    "cut-body": NetraUnavailable,
    "reset": NetraUnavailable,
    "hang": NetraUnavailable,
    "slow-body=0.1": NetraUnavailable,
    "huge-body": NetraResponseTooLarge,
    "gzip": None,
    "gzip-cut": NetraUnavailable,
    "gzip-trailer-cut": NetraUnavailable,
    "gzip-bomb=64": NetraResponseTooLarge,
    "encoding=br": NetraUnavailable,
    "no-dashboard": None,
    "date=60": None,
    "usage-factor=2": None,
}
"""The error of a listing in pages of 7 while a fault lasts; ``None`` if it is read to its end."""


PASSES = [
    "status-408=2", "status-429=2", "status-500=2", "status-502=2", "status-503=2", "status-504=2", "truncated-json=2",
    "empty-page-has-next=2", "has-next-string=2", "has-next-missing=2", "wrong-shape=2", "cut-body=2", "reset=2",
    "hang=1", "gzip=2", "gzip-cut=2", "gzip-trailer-cut=2",
]  # fmt: skip
"""Faults that are over before the client gives up."""


def test_every_fault_is_met() -> None:
    """The table above names every fault of the emulator."""
    assert {name.partition("=")[0] for name in ENDS} == set(FAULTS)


@pytest.mark.parametrize("fault", PASSES)
async def test_a_fault_that_passes(client: AsyncNetraClient, emulator: Emulator, fault: str) -> None:
    """A fault that is over in time costs requests and no trace."""
    emulator.set_faults(fault)
    ids = await trace_ids(client, 7)
    assert len(ids) == len(set(ids)) == TRACES


@pytest.mark.parametrize("fault", ENDS)
async def test_a_fault_that_lasts(client: AsyncNetraClient, emulator: Emulator, fault: str) -> None:
    """A lasting fault ends a listing with its own error, or not at all; when it ends, everything is listed."""
    emulator.set_faults(fault)
    kind = ENDS[fault]
    if kind is None:
        assert len(set(await trace_ids(client, 7))) == TRACES
    else:
        with pytest.raises(kind):
            await trace_ids(client, 7)
    assert sum(client.stats.calls.values()) <= 12
    emulator.set_faults()
    assert len(set(await trace_ids(client, 7))) == TRACES
