"""Sample traffic is the same for the same seed, and looks like the recording."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netra_otel_bridge.emulator import Emulator, EmulatorOptions, Store
from netra_otel_bridge.emulator.api import Api
from netra_otel_bridge.emulator.otlp import read_document
from netra_otel_bridge.emulator.sample_traffic import Traffic
from tests.support.emulator import EVER, START_NS, Client, otlp_document, otlp_span

HOUR_NS = 3_600_000_000_000


def traffic(seed: int = 7, traces: int = 60, spans: int = 10) -> Store:
    made = Traffic(seed=seed, traces=traces, spans_per_trace=spans, end_ns=START_NS, range_ns=HOUR_NS)
    store = Store()
    store.add_recipes(made.recipes(), made.locate)
    return store


def bodies(store: Store) -> list[bytes]:
    return [row.body for trace in store.starting_in(0, START_NS) for row in store.rows(trace)]


def items(store: Store) -> list[dict[str, Any]]:
    return [json.loads(body) for body in bodies(store)]


def test_the_same_seed_makes_the_same_bytes() -> None:
    """Spans depend only on the seed, also when they are made again; another seed gives others."""
    first = traffic(traces=120)
    assert bodies(first) == bodies(traffic(traces=120))
    assert not {item["id"] for item in items(first)} & {item["id"] for item in items(traffic(seed=8))}
    small = Store(cache_bytes=1)
    made = Traffic(seed=7, traces=120, spans_per_trace=10, end_ns=START_NS, range_ns=HOUR_NS)
    small.add_recipes(made.recipes(), made.locate)
    assert bodies(small) == bodies(small) == bodies(first)


@pytest.mark.parametrize(("traces", "spans"), [(60, 1), (60, 2), (60, 3), (60, 10), (60, 37), (100, 8), (100, 20)])
def test_traces_have_the_shape_asked_for(traces: int, spans: int) -> None:
    """The number of spans, one root, known parents, all times in the range, children inside their trace."""
    store = traffic(traces=traces, spans=spans)
    assert store.span_count == traces * spans
    for trace in store.starting_in(0, START_NS):
        rows = store.rows(trace)
        assert len(rows) == spans
        ids = {row.span_id for row in rows}
        assert [row.span_id for row in rows if not row.parent_id] == [rows[0].span_id]
        assert all(row.parent_id in ids for row in rows[1:])
        assert START_NS - HOUR_NS <= trace.start_ns == rows[0].start_ns
        assert rows[-1].start_ns <= trace.latest_start_ns
        assert max(row.end_ns for row in rows) == rows[0].end_ns < START_NS


def test_the_traffic_is_varied() -> None:
    """All types, tenants, sessions, models, errors, events and links occur; span size equals the recording's."""
    found = items(traffic(traces=400))
    usual = {"SPAN", "AGENT", "EMBEDDING", "CLIENT", "TOOL", "GENERATION"}
    assert {item["kind"] for item in found} == {*usual, "INTERNAL", "GUARDRAIL", "HANDOFF"}
    assert len({item["tenant_id"] for item in found}) > 2
    assert len({item["session_id"] for item in found}) == 100
    assert len({item["model_name"] for item in found}) > 4
    assert any(item["has_error"] for item in found)
    assert any(item["events"] != "[]" for item in found)
    assert any(item["links"] != "[]" for item in found)
    assert 2000 < sum(map(len, bodies(traffic()))) / 600 < 3500


@pytest.mark.parametrize(("traces", "spans"), [(5, 4), (100, 8)])
async def test_every_span_can_be_asked_for_by_its_id(traces: int, spans: int) -> None:
    """A span's trace is computed from its id, without an index."""
    options = EmulatorOptions(port=0, seed=3, traces=traces, spans_per_trace=spans)
    async with Emulator(options) as emulator, Client(emulator.url) as client:
        for trace in (await client.traces(pagination={"limit": 5}))["data"]:
            for item in (await client.spans(trace["id"]))["data"]:
                assert (await client.json("GET", f"/sdk/traces/spans/{item['id']}"))["data"] == item
        await client.json("GET", "/sdk/traces/spans/ffffffffffffffff", status=404)
        await client.json("GET", "/sdk/traces/spans/not-hex", status=404)


def test_usage_of_sample_traffic_is_the_sum_of_its_traces() -> None:
    """The usage of a tenant is the sum of its traces."""
    store = traffic()
    api = Api(store)
    query = {**EVER, "pagination": {"limit": 100}}
    traces = json.loads(api.traces(json.dumps(query).encode()))["data"]["data"]
    for tenant in {trace["tenant_id"] for trace in traces}:
        mine = [trace for trace in traces if trace["tenant_id"] == tenant]
        usage = json.loads(api.tenant_usage(tenant, EVER))["data"]
        assert usage["tokenCount"] == sum(trace["total_tokens"] or 0 for trace in mine)
        assert usage["totalCost"] == pytest.approx(sum(trace["total_cost"] or 0 for trace in mine))
        assert usage["sessionsCount"] == len({trace["session_id"] for trace in mine})


def test_a_sample_trace_can_grow() -> None:
    """A span sent to a sample trace is added to its spans."""
    store = traffic(traces=2)
    trace = next(store.starting_in(0, START_NS))
    late = otlp_span(int(trace.id, 16), 99, start_ns=trace.start_ns + 5)
    assert store.ingest(read_document(otlp_document(late))) == []
    assert len(store.rows(trace)) == 11
    assert store.span_count == 21


def test_the_cache_is_bounded() -> None:
    """Spans beyond the cache are made again, and answers stay the same."""
    store = traffic(traces=50)
    whole = sum(map(len, bodies(store)))
    bounded = Store(cache_bytes=whole // 5)
    made = Traffic(seed=7, traces=50, spans_per_trace=10, end_ns=START_NS, range_ns=HOUR_NS)
    bounded.add_recipes(made.recipes(), made.locate)
    bounded.warm()
    bodies(bounded)
    kept = [trace for trace in bounded.starting_in(0, START_NS) if trace.rows is not None]
    assert 0 < len(kept) <= 10
