"""The client's dashboard calls against the emulator: every number equals that of the usage calls and the traces."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.errors import NetraNotAllowed, NetraRejected
from netra_otel_bridge.core.model.dashboards import (
    ChartType,
    Dimension,
    FilterConfig,
    GroupBy,
    Metrics,
    SessionFilterConfig,
)
from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.query import TraceFilter
from netra_otel_bridge.emulator import Emulator, EmulatorOptions
from netra_otel_bridge.source import AsyncNetraClient
from tests.support.examples import spread

KEY = "emulated-key"
END = datetime(2026, 5, 1, tzinfo=UTC)
START = END - timedelta(days=1)
END_NS = int(END.timestamp()) * 1_000_000_000
COST, TOKENS, REQUESTS = Metrics("Total Cost", "Sum"), Metrics("Total Tokens", "Sum"), Metrics("Request Count", "Sum")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    options = EmulatorOptions(port=0, seed=3, traces=60, spans_per_trace=8, end_ns=END_NS, api_key=KEY)
    async with Emulator(options) as running:
        yield running


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[AsyncNetraClient]:
    async with AsyncNetraClient(api_key=KEY, endpoint=emulator.endpoint, backoff=Backoff(attempts=2)) as made:
        yield made


@pytest.fixture
async def traces(client: AsyncNetraClient) -> list[TraceSummary]:
    return [trace async for trace in client.iter_traces(START, END)]


def day(step: GroupBy = "hour", tenant: str | None = None) -> FilterConfig:
    return FilterConfig(START, END, step, [TraceFilter("tenant_id", tenant)] if tenant else None)


@pytest.mark.parametrize("step", ["minute", "hour", "day"])
async def test_the_past_of_a_tenant(client: AsyncNetraClient, traces: list[TraceSummary], step: GroupBy) -> None:
    """The steps of a tenant's cost and tokens add up to its usage, for any step."""
    for tenant in {trace.tenant_id for trace in traces if trace.tenant_id}:
        usage = await client.get_tenant_usage(tenant, START, END)
        assert usage is not None
        for metrics, total in ((COST, usage.total_cost), (TOKENS, usage.token_count)):
            got = await client.dashboard.query_data("Spans", "Line Time Series", metrics, day(step, tenant))
            assert sum(point.value or 0 for point in got.series or ()) == pytest.approx(total, rel=1e-9)
            assert got.time_range is not None


async def test_one_figure_in_every_shape(client: AsyncNetraClient) -> None:
    """A cost is the same as one number, over time, by model, and by model over time."""
    board, by_model = client.dashboard, Dimension("model_name")
    number = (await board.query_data("Spans", "Number", COST, day())).number
    assert number
    bars = (await board.query_data("Spans", "Pie", COST, day(), by_model)).bars or []
    assert len(bars) > 1
    assert sum(bar.value or 0 for bar in bars) == pytest.approx(number, rel=1e-9)
    got = await board.query_data("Spans", "Bar Time Series", COST, day(), by_model)
    lines = got.dimension_series or {}
    assert {name: pytest.approx(sum(point.value or 0 for point in points)) for name, points in lines.items()} == {
        bar.dimension: bar.value for bar in bars
    }


@pytest.mark.parametrize(("metrics", "chart_type"), spread(3, [
    *(Metrics("Latency", aggregation) for aggregation in ("Average", "p50", "p90", "p95", "p99")),
    Metrics("Error Rate", "Percentage"), Metrics("PII Count", "Total Count"), Metrics("Violations", "Total Count"),
    Metrics("Request Count", "Total Count"),
], ["Number", "Vertical Bar", "Line Time Series"]))  # fmt: skip
async def test_what_operators_ask_first(client: AsyncNetraClient, metrics: Metrics, chart_type: ChartType) -> None:
    """Charts of latency, errors, PII and violations work for spans and traces, and by service."""
    for scope in ("Spans", "Traces"):
        by = None if chart_type == "Number" else Dimension("service")
        got = await client.dashboard.query_data(scope, chart_type, metrics, day(), by)
        assert (got.number, got.bars, got.dimension_series) != (None, None, None)


async def test_sessions_by_cost(client: AsyncNetraClient, traces: list[TraceSummary]) -> None:
    """Every session is listed once, the most expensive first, with its own usage, for any page size."""
    expected = {trace.session_id for trace in traces if trace.session_id}
    for limit in (1, 7, 100):
        listed = client.dashboard.iter_session_stats(START, END, None, "totalCost", "desc", limit=limit)
        got = [session async for session in listed]
        assert Counter(one.session_id for one in got) == Counter(expected)
    costs = [one.total_cost or 0 for one in got]
    assert costs == sorted(costs, reverse=True)
    usage = await client.get_session_usage(got[0].session_id, START, END)
    assert usage is not None
    assert got[0].total_cost == pytest.approx(usage.total_cost, rel=1e-9)
    assert got[0].total_requests == usage.request_count
    assert got[0].unreadable == ()
    tenant = next(trace.tenant_id for trace in traces if trace.session_id == got[0].session_id)
    assert tenant
    condition = TraceFilter("tenant_id", [tenant], "any_of", "arrayOptions")
    own = [one.session_id async for one in client.dashboard.iter_session_stats(START, END, [condition])]
    assert set(own) == {trace.session_id for trace in traces if trace.tenant_id == tenant and trace.session_id}
    assert await client.dashboard.get_session_summary(SessionFilterConfig(START, END, [condition]))


async def test_one_session_and_prices(client: AsyncNetraClient, traces: list[TraceSummary]) -> None:
    """A session has all of its traces; the price list may be limited to one model."""
    session_id = next(trace.session_id for trace in traces if trace.session_id)
    details = await client.dashboard.get_session_details(session_id, START, END)
    assert details is not None
    assert len(details.traces) == sum(trace.session_id == session_id for trace in traces)
    prices = await client.dashboard.get_model_pricing()
    name = prices[0]["name"]
    assert name in {one["name"] for one in await client.dashboard.get_model_pricing(name)}


async def test_refused(client: AsyncNetraClient, emulator: Emulator) -> None:
    """A missing dashboard API differs from a rejected request, and usage calls still work."""
    with pytest.raises(NetraRejected):
        await client.dashboard.query_data("Spans", "Number", Metrics("Total Cost", "p101"), day())  # type: ignore[arg-type]
    emulator.set_faults("no-dashboard")
    for call in (
        client.dashboard.query_data("Spans", "Number", COST, day()),
        client.dashboard.get_session_stats(START, END),
        client.dashboard.get_session_summary(SessionFilterConfig(START, END)),
        client.dashboard.get_session_details("s"),
        client.dashboard.get_model_pricing(),
    ):
        with pytest.raises(NetraNotAllowed):
            await call
    assert [trace async for trace in client.iter_traces(START, END)]
