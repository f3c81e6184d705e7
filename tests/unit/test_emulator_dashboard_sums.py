"""Sums of the dashboard equal those of the usage calls, for any spans."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.emulator import Emulator, EmulatorOptions, Store
from netra_otel_bridge.emulator.api import Api
from netra_otel_bridge.emulator.api_format import ApiError
from netra_otel_bridge.emulator.dashboard import Dashboard
from netra_otel_bridge.emulator.measures import percentile
from netra_otel_bridge.emulator.otlp import read_document
from netra_otel_bridge.emulator.sessions import Sessions
from tests.support.dashboards import DAY, HOUR, MS, NOON_NS, asked
from tests.support.emulator import otlp_attributes, otlp_document, otlp_span

TENANTS, SESSIONS, MODELS = ("Acme", "Globex"), ("s-1", "s-2", None), ("gpt-4o", "claude-sonnet-4", "unpriced", None)
SPANS = st.lists(
    st.tuples(
        st.integers(1, 6),
        st.integers(0, 6 * HOUR)
        | st.builds(lambda hour, past: hour * HOUR + past, st.integers(1, 6), st.integers(-1, 1)),
        st.integers(0, 20_000),
        st.sampled_from(TENANTS),
        st.sampled_from(SESSIONS),
        st.sampled_from(MODELS),
        st.integers(0, 5000),
        st.booleans(),
        st.sampled_from(["GENERATION", "AGENT"]),
    ),
    max_size=25,
)


def stored(spans: Iterable[tuple[Any, ...]], *, one_tenant: bool = False) -> Store:
    """Store these spans; with ``one_tenant``, all spans of a trace have the same tenant."""
    store = Store()
    scopes = []
    for number, (trace, after_ns, latency_ms, tenant, session, model, tokens, failed, kind) in enumerate(spans, 1):
        attributes = {"netra.tenant_id": TENANTS[trace % 2] if one_tenant else tenant, "netra.span.type": kind}
        attributes |= {"netra.session_id": session} if session else {}
        attributes |= {"gen_ai.request.model": model, "gen_ai.usage.prompt_tokens": tokens} if model else {}
        span = otlp_span(trace, number, start_ns=NOON_NS + after_ns, duration_ns=latency_ms * MS, attributes=attributes)
        resource = {"attributes": otlp_attributes({"service.name": f"service-{trace % 3}"})}
        status = {"status": {"code": 2}} if failed else {}
        scopes.append({"resource": resource, "scopeSpans": [{"spans": [{**span, **status}]}]})
    assert store.ingest(read_document({"resourceSpans": scopes})) == []
    return store


def answered(store: Store, **query: Any) -> Any:
    """Return the data in a query's answer."""
    return json.loads(Dashboard(store).query(json.dumps(asked(**query)).encode()))["data"]


def tenant_is(tenant: str) -> list[dict[str, Any]]:
    return [{"field": "tenant_id", "operator": "equals", "type": "string", "value": tenant}]


MEASURED = {"Total Cost": "totalCost", "Total Tokens": "tokenCount", "Request Count": "requestsCount"}


@given(SPANS, st.sampled_from(["minute", "hour", "day"]), st.sampled_from([None, "service", "model_name"]))
def test_the_sum_over_steps_is_the_usage_of_the_range(
    spans: list[tuple[Any, ...]], step: str, dimension: str | None
) -> None:
    """Steps, split by dimension or not, add up to the usage of each tenant."""
    store = stored(spans)
    for tenant in TENANTS:
        usage = json.loads(Api(store).tenant_usage(tenant, DAY))["data"]
        for measure, field in MEASURED.items():
            found = answered(
                store,
                measure=measure,
                aggregation="Total Count",
                chart="Bar Time Series",
                step=step,
                dimension=dimension,
                filters=tenant_is(tenant),
            )
            points = found if dimension is None else [value for one in found["timeSeries"] for value in one["values"]]
            assert math.fsum(point["value"] for point in points) == pytest.approx(usage[field], abs=1e-9)


@given(SPANS)
def test_each_step_is_the_usage_of_its_own_range(spans: list[tuple[Any, ...]]) -> None:
    """An hour of the series equals the usage call for that hour."""
    store = stored(spans)
    series = answered(
        store, measure="Total Cost", aggregation="Sum", chart="Line Time Series", filters=tenant_is("Acme")
    )
    by_date = {point["date"]: point["value"] for point in series}
    for hour in range(12, 24):
        date = f"2026-11-22T{hour:02d}:00:00.000Z"
        end = DAY["endTime"] if hour == 23 else f"2026-11-22T{hour + 1:02d}:00:00.000Z"
        usage = json.loads(Api(store).tenant_usage("Acme", {"startTime": date, "endTime": end}))["data"]
        assert by_date.get(date, 0) == usage["totalCost"]


@given(SPANS)
def test_traces_and_spans_cost_the_same(spans: list[tuple[Any, ...]]) -> None:
    """Sums over traces equal the usage if each trace has one tenant."""
    store = stored(spans, one_tenant=True)
    for measure in ("Total Cost", "Total Tokens"):
        for tenant in TENANTS:
            how = {"measure": measure, "aggregation": "Sum", "filters": tenant_is(tenant)}
            assert answered(store, scope="Traces", **how) == {
                "value": pytest.approx(answered(store, **how)["value"], abs=1e-9)
            }


@given(SPANS)
def test_sessions_cost_what_their_usage_says(spans: list[tuple[Any, ...]]) -> None:
    """Sessions equal their usage in the list, in the summary, and in their traces."""
    store = stored(spans)
    sessions = Sessions(store)
    items = json.loads(sessions.stats(json.dumps(DAY).encode()))["data"]["sessions"]
    for item in items:
        usage = json.loads(Api(store).session_usage(item["session_id"], DAY))["data"]
        assert (item["totalRequests"], item["totalCost"]) == (usage["requestsCount"], usage["totalCost"])
        traces = json.loads(sessions.details(item["session_id"], DAY))["data"]["traces"]
        assert sum(trace["total_tokens"] or 0 for trace in traces) == usage["tokenCount"]
    summary = json.loads(sessions.summary(json.dumps({"filter": DAY}).encode()))["data"]
    assert summary["totalSessions"] == len({span[4] for span in spans} - {None}) == len(items)
    assert summary["totalCost"] == pytest.approx(sum(item["totalCost"] for item in items), abs=1e-9)
    assert summary["totalCost"] == pytest.approx(sum(one["cost"] for one in summary["costByModel"]), abs=1e-9)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=200))
def test_percentiles_are_those_of_the_standard_library(values: list[int]) -> None:
    """Percentiles use the inclusive method: the minimum is the 0th, the maximum the 100th."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    for percent in (50, 90, 95, 99):
        assert percentile(values, percent / 100) == pytest.approx(cuts[percent - 1])


def test_what_is_kept_follows_the_store() -> None:
    """A session that grows between two listings is listed with its new values."""
    store = stored([(1, 0, 5, "Acme", "s-1", "gpt-4o", 1000, False, "GENERATION")])
    sessions, body = Sessions(store), json.dumps(DAY).encode()
    (before,) = json.loads(sessions.stats(body))["data"]["sessions"]
    assert json.loads(sessions.stats(body))["data"]["sessions"] == [before]
    usage = '[{"model": "r", "cost_in_usd": 0.5}]'
    more = otlp_span(1, 99, start_ns=NOON_NS, attributes={"netra.session_id": "s-1", "netra.usage": usage})
    store.ingest(read_document(otlp_document(more)))
    (after,) = json.loads(sessions.stats(body))["data"]["sessions"]
    assert after["totalCost"] == pytest.approx(before["totalCost"] + 0.5)


NAMES = ("scope", "chartType", "metrics", "filter", "dimension")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "filters", "field", "startTime", "measure"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_a_query_is_answered_or_refused(parts: dict[str, Any]) -> None:
    """Any JSON in place of a part of the query gives 400 or an answer."""
    body = json.dumps({**asked("Total Cost", "Sum"), **parts}).encode()
    try:
        status = 200 if Dashboard(Store()).query(body) else 500
    except ApiError as error:
        status = error.status
    assert status in (200, 400)


@pytest.mark.faults
async def test_a_month_by_the_hour_is_quick() -> None:
    """A query over 100,000 spans takes well under a second; here a fifth of both."""
    options = EmulatorOptions(
        port=0, seed=1, traces=2000, end_ns=NOON_NS + 12 * HOUR, range_ns=30 * 24 * HOUR, warm=True
    )
    async with Emulator(options) as emulator:
        window = {"startTime": "2026-10-24T00:00:00Z", "endTime": DAY["endTime"]}
        took_s = []
        for _ in range(3):
            began = time.process_time()
            found = answered(
                emulator.store,
                measure="Total Cost",
                aggregation="Sum",
                chart="Line Time Series",
                dimension="model_name",
                filters=tenant_is("Globex"),
                window=window,
            )
            took_s.append(time.process_time() - began)
        assert len(found["timeSeries"]) > 200
        assert min(took_s) < 0.15
