"""The dashboard calls of the emulator: shapes, measures, filters, and rejected queries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from netra_otel_bridge.emulator import Emulator, EmulatorOptions
from tests.support.dashboards import COST, DAY, MS, NOON_NS, asked, fill
from tests.support.emulator import EVER, Client, otlp_span

QUERY, STATS, SUMMARY = (f"/public/dashboard/{name}" for name in ("query-data", "sessions/stats", "sessions/summary"))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Run an emulator with the two traces of `fill`."""
    async with Emulator() as emulator, Client(emulator.url) as client:
        await fill(client)
        yield client


async def data(client: Client, measure: str, aggregation: str, **how: Any) -> Any:
    """Return the data in a query's answer."""
    answer = await client.json("POST", QUERY, json=asked(measure, aggregation, **how))
    assert answer["timeRange"] == how.get("window", DAY)
    return answer["data"]


async def test_a_series_has_the_steps_that_have_a_value(client: Client) -> None:
    """Each step is named by its start in UTC; an empty step is left out."""
    series = await data(client, "Total Cost", "Sum", chart="Line Time Series")
    assert series == [
        {"date": "2026-11-22T12:00:00.000Z", "value": COST},
        {"date": "2026-11-22T13:00:00.000Z", "value": COST},
        {"date": "2026-11-22T14:00:00.000Z", "value": 0.5},
    ]
    assert await data(client, "Total Cost", "Sum", chart="Bar Time Series", step="day") == [
        {"date": "2026-11-22T00:00:00.000Z", "value": 0.507}
    ]
    minutes = await data(client, "Request Count", "Total Count", chart="Line Time Series", step="minute")
    assert [(point["date"][11:16], point["value"]) for point in minutes] == [("12:59", 1), ("13:00", 1), ("14:00", 1)]


async def test_a_series_by_dimension(client: Client) -> None:
    """Spans without environment appear under the empty one."""
    assert await data(client, "Total Cost", "Total Count", chart="Line Time Series", dimension="environment") == {
        "timeSeries": [
            {"date": "2026-11-22T12:00:00.000Z", "values": [{"dimension": "prod", "value": COST}]},
            {"date": "2026-11-22T13:00:00.000Z", "values": [{"dimension": "prod", "value": COST}]},
            {"date": "2026-11-22T14:00:00.000Z", "values": [{"dimension": "", "value": 0.5}]},
        ],
        "dimensions": ["", "prod"],
    }


@pytest.mark.parametrize("chart", ["Horizontal Bar", "Vertical Bar", "Pie"])
async def test_bars_and_pies(client: Client, chart: str) -> None:
    """Bars are ordered by value, largest first."""
    assert await data(client, "Total Cost", "Sum", chart=chart, dimension="model_name") == [
        {"dimension": "r", "value": 0.5},
        {"dimension": "gpt-4o", "value": 2 * COST},
    ]


@pytest.mark.parametrize(
    ("scope", "measure", "aggregation", "expected"),
    [
        ("Spans", "Latency", "Average", 1350),
        ("Spans", "Latency", "p50", 650),
        ("Spans", "Latency", "Median (p50)", 650),
        ("Spans", "Latency", "p90", 3100),
        ("Spans", "Error Rate", "Percentage", 25),
        ("Spans", "PII Count", "Total Count", 2),
        ("Spans", "Violations", "Total Count", 1),
        ("Spans", "Request Count", "Total Count", 3),
        ("Spans", "Total Cost", "Sum", 0.507),
        ("Spans", "Total Cost", "Average", 0.169),
        ("Spans", "Total Tokens", "Sum", 2200),
        ("Spans", "Total Tokens", "p99", 1100),
        ("Spans", "Time to First Token", "p95", 250),
        ("Traces", "Latency", "Average", 2050),
        ("Traces", "Error Rate", "Percentage", 50),
        ("Traces", "PII Count", "Total Count", 2),
        ("Traces", "Violations", "Total Count", 1),
        ("Traces", "Request Count", "Total Count", 2),
        ("Traces", "Total Cost", "Total Count", 0.507),
        ("Traces", "Total Tokens", "Average", 2200),
        ("Traces", "Time to First Token", "Average", 350),
    ],
)
async def test_every_measure(client: Client, scope: str, measure: str, aggregation: str, expected: float) -> None:
    """Unknown values are in no average; a trace's first token counts from the start of the trace."""
    answer = await data(client, measure, aggregation, scope=scope)
    assert answer == {"value": pytest.approx(expected)}


async def test_the_first_chunk_of_a_stream_tells_its_first_token(client: Client) -> None:
    """Without a recorded time to the first token, the first chunk counts."""
    chunks = [
        {"name": "llm.content.completion.chunk", "timeUnixNano": str(NOON_NS + after_ms * MS)} for after_ms in (80, 90)
    ]
    await client.send(otlp_span(9, 9, start_ns=NOON_NS, events=[{"name": "x", "timeUnixNano": "1"}, *chunks]))
    window = {"startTime": DAY["startTime"], "endTime": "2026-11-22T12:30:00.000Z"}
    assert await data(client, "Time to First Token", "p50", window=window) == {"value": 80}


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [(0.25, 250), ("0.25", 250), ("-4.76837158203125e-07", 0), ("nan", None), ("soon", None), (True, None)],
)
async def test_the_recorded_time_to_the_first_token(client: Client, recorded: Any, shown: float | None) -> None:
    """The seconds are text in Python and a number in JavaScript; what is no time is not counted."""
    recording = {"gen_ai.performance.time_to_first_token": recorded}
    await client.send(otlp_span(9, 9, start_ns=NOON_NS, attributes=recording))
    window = {"startTime": DAY["startTime"], "endTime": "2026-11-22T12:30:00.000Z"}
    assert await data(client, "Time to First Token", "p50", window=window) == {"value": shown}


async def test_nothing_at_all(client: Client) -> None:
    """Without values the sum is 0 and the average is null."""
    empty = {"startTime": "2026-11-21T00:00:00.000Z", "endTime": "2026-11-22T00:00:00.000Z"}
    assert await data(client, "Total Tokens", "Sum", window=empty) == {"value": 0}
    assert await data(client, "Latency", "p95", window=empty) == {"value": None}
    assert await data(client, "Latency", "p95", chart="Line Time Series", window=empty) == []
    by_service = await data(client, "Latency", "p95", chart="Line Time Series", dimension="service", window=empty)
    assert by_service == {"timeSeries": [], "dimensions": []}
    assert await data(client, "Total Cost", "Sum", chart="Pie", dimension="service", window=empty) == []


@pytest.mark.parametrize(
    ("scope", "condition", "expected"),
    [
        ("Spans", {"field": "tenant_id", "value": "Acme"}, 2),
        ("Spans", {"field": "user_id", "operator": "not_equals", "value": "alice"}, 2),
        ("Spans", {"field": "session_id", "operator": "starts_with", "value": "s-"}, 2),
        ("Spans", {"field": "session_id", "value": "s-2"}, 1),
        ("Spans", {"field": "environment", "operator": "any_of", "type": "arrayOptions", "value": ["prod"]}, 2),
        ("Spans", {"field": "service", "operator": "contains", "value": "hop"}, 3),
        ("Spans", {"field": "model_name", "operator": "none_of", "type": "arrayOptions", "value": ["r"]}, 2),
        ("Spans", {"field": "total_cost", "operator": "greater_than", "type": "number", "value": 0.1}, 1),
        ("Spans", {"field": "latency", "operator": "less_equal_to", "type": "number", "value": 300}, 2),
        ("Spans", {"field": "metadata", "type": "object", "key": "plan", "value": "gold"}, 0),
        ("Traces", {"field": "tenant_id", "value": "Acme"}, 1),
        ("Traces", {"field": "models", "operator": "any_of", "type": "arrayOptions", "value": ["r", "x"]}, 1),
        ("Traces", {"field": "latency", "operator": "greater_equal_to", "type": "number", "value": 100}, 2),
        ("Traces", {"field": "metadata", "type": "object", "key": "plan", "value": "gold"}, 1),
    ],
)
async def test_filters(client: Client, scope: str, condition: dict[str, Any], expected: int) -> None:
    """Every documented field filters spans or traces."""
    assert await data(client, "Request Count", "Total Count", scope=scope, filters=[condition]) == {"value": expected}


async def test_a_trace_that_crosses_a_bound_is_its_spans_inside(client: Client) -> None:
    """A trace that crosses a bound is in both windows, with different sums and latencies."""
    early = {"startTime": DAY["startTime"], "endTime": "2026-11-22T13:00:00.000Z"}
    late = {"startTime": "2026-11-22T13:00:00.000Z", "endTime": "2026-11-22T14:00:00.000Z"}
    for window, tokens, latency in ((early, 1100, 4000), (late, 1100, 1000), (DAY, 2200, 4000)):
        mine = [{"field": "models", "value": "gpt-4o"}]
        assert await data(client, "Total Tokens", "Sum", scope="Traces", window=window, filters=mine) == {
            "value": tokens
        }
        assert await data(client, "Latency", "p50", scope="Traces", window=window, filters=mine) == {"value": latency}


async def test_a_trace_stands_under_each_of_its_models(client: Client) -> None:
    """A trace belongs to the step in which it starts."""
    traces = await data(client, "Total Tokens", "Sum", scope="Traces", chart="Line Time Series", dimension="model_name")
    assert traces["timeSeries"] == [
        {"date": "2026-11-22T12:00:00.000Z", "values": [{"dimension": "gpt-4o", "value": 2200}]}
    ]
    assert await data(client, "Request Count", "Total Count", scope="Traces", chart="Pie", dimension="service") == [
        {"dimension": "shop", "value": 2}
    ]


SOUND = asked("Total Cost", "Sum", chart="Line Time Series")


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": "Custom"},
        {"scope": None},
        {"chartType": "Donut"},
        {"metrics": {"measure": "Audio Duration", "aggregation": "Sum"}},
        {"metrics": {"measure": "Latency", "aggregation": "Sum"}},
        {"metrics": {"measure": "Error Rate", "aggregation": "Average"}},
        {"metrics": {"measure": "Total Cost"}},
        {"metrics": []},
        {"filter": {**DAY, "groupBy": "week"}},
        {"filter": DAY},
        {"filter": {"groupBy": "hour", **DAY, "startTime": "noon"}},
        {"filter": {"groupBy": "hour", "startTime": DAY["endTime"], "endTime": DAY["startTime"]}},
        {"filter": {"groupBy": "hour", **DAY, "filters": {"field": "service"}}},
        {"filter": {"groupBy": "hour", **DAY, "filters": [{"field": "has_error", "value": True}]}},
        {"filter": {"groupBy": "hour", **DAY, "filters": [{"field": "models", "value": "gpt-4o"}]}},
        {"filter": {"groupBy": "hour", **DAY, "filters": [{"field": "service", "operator": "like", "value": "x"}]}},
        {"filter": None},
        {"dimension": {"field": "tenant_id"}},
        {"dimension": "service"},
        {"chartType": "Pie"},
        {"chartType": "Number", "dimension": {"field": "service"}},
        {"scope": "Traces", "filter": {"groupBy": "hour", **DAY, "filters": [{"field": "model_name", "value": "r"}]}},
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    """Invalid queries get 400, with the reason where the SDKs look for it."""
    await client.json("POST", QUERY, json=SOUND)
    answer = await client.json("POST", QUERY, json={**SOUND, **wrong}, status=400)
    assert answer["error"]["message"]


async def test_prices(client: Client) -> None:
    """The price list has all entries or that of one model; tokens at these prices give the cost."""
    everything = (await client.json("GET", "/sdk/models"))["data"]
    assert "gpt-4o-mini" in [entry["name"] for entry in everything]
    (entry,) = (await client.json("GET", "/sdk/models", params={"name": "gpt-4o-2024-08-06"}))["data"]
    assert entry["name"] == "gpt-4o"
    prices = {price["usage_type"]: price["price"] for price in entry["prices"]}
    assert 1000 * prices["input"] + 100 * prices["output"] == pytest.approx(COST)
    assert (await client.json("GET", "/sdk/models", params={"name": "nothing"}))["data"] == []


async def test_methods_keys_and_counts() -> None:
    """Dashboard calls check method (405) and key (401) like all others, and are counted by name."""
    calls = {
        QUERY: ("POST", "query_data"),
        STATS: ("POST", "session_stats"),
        SUMMARY: ("POST", "session_summary"),
        "/public/dashboard/session/a%2Fb": ("GET", "session_details"),
        "/sdk/models": ("GET", "models"),
    }
    async with (
        Emulator(EmulatorOptions(port=0, api_key="s3cret")) as emulator,
        Client(emulator.url) as stranger,
        Client(emulator.url, {"x-api-key": "s3cret"}) as client,
    ):
        await client.send(otlp_span(1, 1, attributes={"netra.session_id": "a/b"}))
        for path, (method, name) in calls.items():
            await stranger.json(method, path, status=401)
            await client.json("GET" if method == "POST" else "POST", path, status=405)
            body = {"json": {**SOUND, **EVER}} if method == "POST" else {}
            answer = await client.json(method, path, **body)
            assert answer["data"] is not None
            assert emulator.calls[name] == 3
        await client.json("GET", "/public/dashboard", status=404)
        await client.json("GET", "/public/dashboard/session/", status=404)
