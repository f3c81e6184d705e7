"""The emulator answers the calls of the Netra API in the documented shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from netra_otel_bridge.emulator import Emulator, EmulatorOptions
from tests.support.emulator import EVER, START_NS, Client, otlp_span

LLM = {
    "llm.request.type": "chat",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.usage.prompt_tokens": 1000,
    "gen_ai.usage.completion_tokens": 100,
    "gen_ai.usage.cache_read_input_tokens": 400,
}
ALICE = {"netra.session_id": "s-1", "netra.user_id": "alice", "netra.tenant_id": "Acme"}
BOB = {"netra.session_id": "s-2", "netra.user_id": "bob", "netra.tenant_id": "Acme"}
RESOURCE = {"service.name": "shop", "deployment.environment": "prod"}
SECOND_NS = 1_000_000_000


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Three traces: an agent that repeats its child's tokens, a failed call with a custom field, a priced tool."""
    async with Emulator() as emulator, Client(emulator.url) as client:
        await client.send(
            otlp_span(
                1, 1, name="agent", duration_ns=5 * SECOND_NS, attributes={**ALICE, **LLM, "netra.span.type": "AGENT"}
            ),
            otlp_span(1, 2, parent=1, start_ns=START_NS + SECOND_NS, kind=3, name="chat", attributes={**ALICE, **LLM}),
            resource=RESOURCE,
        )
        await client.send(
            otlp_span(
                2,
                3,
                start_ns=START_NS + 60 * SECOND_NS,
                name="broken",
                status={"code": 2, "message": "no"},
                attributes={**BOB, "netra.custom.plan": "gold"},
            ),
            resource={"service.name": "desk"},
        )
        await client.send(
            otlp_span(
                3,
                4,
                start_ns=START_NS + 120 * SECOND_NS,
                name="rerank",
                attributes={"netra.span.type": "TOOL", "netra.usage": '[{"model": "r", "cost_in_usd": 0.5}]'},
            ),
            resource=RESOURCE,
        )
        yield client


async def test_a_trace_sums_only_spans_that_count(client: Client) -> None:
    """Tokens and cost go over GENERATION, EMBEDDING and USAGE spans: the agent's repetition adds nothing."""
    page = await client.traces(sortOrder="asc")
    first = page["data"][0]
    assert (first["prompt_tokens"], first["completion_tokens"], first["cached_tokens"]) == (1000, 100, 400)
    assert first["total_tokens"] == 1100
    assert first["prompt_tokens_cost"] == pytest.approx(600 * 2.5e-6)
    assert first["cached_tokens_cost"] == pytest.approx(400 * 1.25e-6)
    assert first["completion_tokens_cost"] == pytest.approx(100 * 1e-5)
    assert first["total_cost"] == pytest.approx(0.003)
    assert (first["kind"], first["name"], first["latency_ms"]) == ("AGENT", "agent", 5000)
    assert (first["session_id"], first["environment"], first["service"]) == ("s-1", "prod", "shop")
    assert first["models"] == ["gpt-4o-2024-08-06"]
    assert first["start_time"] == "2026-11-22T12:08:20.000Z"


async def test_unknown_is_null_and_not_zero(client: Client) -> None:
    """A trace without token counts has none; a stated cost counts on any span."""
    _, failed, tool = (await client.traces(sortOrder="asc"))["data"]
    assert failed["total_tokens"] is None
    assert failed["total_cost"] is None
    assert failed["has_error"] is True
    assert tool["total_cost"] == 0.5
    assert tool["total_tokens"] is None


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"field": "trace_id", "value": f"{2:032x}"}, ["broken"]),
        ({"field": "session_id", "value": "s-1"}, ["agent"]),
        ({"field": "user_id", "operator": "not_equals", "value": "alice"}, ["broken", "rerank"]),
        ({"field": "tenant_id", "operator": "is_null", "value": None}, ["rerank"]),
        ({"field": "tenant_id", "operator": "is_not_null"}, ["agent", "broken"]),
        ({"field": "name", "operator": "contains", "value": "RO"}, ["broken"]),
        ({"field": "name", "operator": "not_contains", "value": "e"}, []),
        ({"field": "name", "operator": "starts_with", "value": "re"}, ["rerank"]),
        ({"field": "name", "operator": "ends_with", "value": "t"}, ["agent"]),
        (
            {"field": "environment", "operator": "any_of", "type": "arrayOptions", "value": ["prod", "x"]},
            ["agent", "rerank"],
        ),
        ({"field": "service", "operator": "none_of", "type": "arrayOptions", "value": ["desk"]}, ["agent", "rerank"]),
        ({"field": "has_error", "type": "boolean", "value": True}, ["broken"]),
        ({"field": "has_error", "type": "boolean", "value": "false"}, ["agent", "rerank"]),
        ({"field": "has_pii", "type": "boolean", "value": True}, []),
        ({"field": "has_violation", "type": "boolean", "value": False}, ["agent", "broken", "rerank"]),
        ({"field": "models", "operator": "contains", "value": "gpt-4o"}, ["agent"]),
        ({"field": "models", "operator": "any_of", "type": "arrayOptions", "value": ["r"]}, ["rerank"]),
        ({"field": "total_cost", "operator": "greater_than", "type": "number", "value": 0.01}, ["rerank"]),
        ({"field": "total_cost", "operator": "less_equal_to", "type": "number", "value": "0.01"}, ["agent"]),
        ({"field": "latency", "operator": "greater_equal_to", "type": "number", "value": 5000}, ["agent"]),
        ({"field": "latency", "operator": "less_than", "type": "number", "value": 5000}, ["broken", "rerank"]),
        ({"field": "metadata", "type": "object", "key": "plan", "value": "gold"}, ["broken"]),
    ],
)
async def test_filters(client: Client, condition: dict[str, object], expected: list[str]) -> None:
    """Every documented field and operator selects the right traces."""
    page = await client.traces(filters=[condition], sortOrder="asc")
    assert [trace["name"] for trace in page["data"]] == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("start_time", ["agent", "broken", "rerank"]),
        ("latency_ms", ["broken", "rerank", "agent"]),
        ("name", ["agent", "broken", "rerank"]),
        ("total_cost", ["agent", "rerank", "broken"]),
        ("total_tokens", ["agent", "broken", "rerank"]),
        ("has_error", ["agent", "rerank", "broken"]),
        ("environment", ["agent", "rerank", "broken"]),
        ("service", ["broken", "agent", "rerank"]),
    ],
)
async def test_sort_fields_in_both_orders(client: Client, field: str, expected: list[str]) -> None:
    """Ascending order puts nulls last; descending, the default, is its exact reverse."""
    ascending = await client.traces(sortField=field, sortOrder="asc")
    assert [trace["name"] for trace in ascending["data"]] == expected
    default = await client.traces(sortField=field)
    assert [trace["name"] for trace in default["data"]] == expected[::-1]


async def test_the_window_is_half_open_and_goes_by_the_first_span(client: Client) -> None:
    """A trace that starts at startTime is listed; one that starts at endTime is not."""
    window = {"startTime": "2026-11-22T12:08:20.000Z", "endTime": "2026-11-22T12:09:20.000Z"}
    assert [trace["name"] for trace in (await client.traces(window=window))["data"]] == ["agent"]
    window = {"startTime": "2026-11-22T12:08:20.500Z", "endTime": "2026-11-22T12:09:20.001Z"}
    assert [trace["name"] for trace in (await client.traces(window=window))["data"]] == ["broken"]


@pytest.mark.parametrize(
    "body",
    [
        {**EVER, "pagination": {"limit": 0}},
        {**EVER, "pagination": {"limit": 101}},
        {**EVER, "pagination": {"limit": "many"}},
        {**EVER, "pagination": {"limit": True}},
        {**EVER, "pagination": {"direction": "left"}},
        {**EVER, "pagination": {"cursor": "nonsense"}},
        {**EVER, "pagination": {"cursor": "WyJzdGFydF90aW1lIixmYWxzZSwxLCJmZmZmIl0"}},
        {**EVER, "sortField": "colour"},
        {**EVER, "sortOrder": "sideways"},
        {**EVER, "filters": [{"field": "colour", "value": "red"}]},
        {**EVER, "filters": [{"field": "name", "operator": "like", "value": "x"}]},
        {**EVER, "filters": [{"field": "name", "type": "colour", "value": "x"}]},
        {**EVER, "filters": [{"field": "metadata", "value": "x"}]},
        {**EVER, "filters": [{"field": "latency", "operator": "less_than", "value": "x"}]},
        {**EVER, "filters": [7]},
        {"startTime": "yesterday", "endTime": EVER["endTime"]},
        {"startTime": EVER["endTime"], "endTime": EVER["startTime"]},
        {"startTime": EVER["startTime"]},
        [],
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(client: Client, body: object) -> None:
    """Invalid requests get 400, with the message where the SDKs look for it."""
    answer = await client.json("POST", "/sdk/traces", json=body, status=400)
    assert answer["error"]["message"]


async def test_spans_come_whole_and_can_be_searched(client: Client) -> None:
    """Spans are ordered by start and filtered by part of a name or kind; an unknown trace has none."""
    trace_id = f"{1:032x}"
    assert [span["name"] for span in (await client.spans(trace_id))["data"]] == ["agent", "chat"]
    assert [span["name"] for span in (await client.spans(trace_id, spanName="CHA"))["data"]] == ["chat"]
    assert [span["name"] for span in (await client.spans(trace_id, spanName="generation"))["data"]] == ["chat"]
    assert await client.spans(f"{9:032x}") == {"data": [], "pageInfo": {"hasNextPage": False}}
    assert (await client.spans(trace_id, limit="101", status=400))["error"]["message"]
    assert (await client.spans(trace_id, cursor="nonsense", status=400))["error"]["message"]


async def test_one_span(client: Client) -> None:
    """One span is the same item as in the list; an unknown one is 404."""
    listed = (await client.spans(f"{1:032x}"))["data"][1]
    assert (await client.json("GET", f"/sdk/traces/spans/{2:016x}"))["data"] == listed
    await client.json("GET", f"/sdk/traces/spans/{99:016x}", status=404)


async def test_usage_of_a_session_and_a_tenant(client: Client) -> None:
    """Requests count spans with a cost; sessions count those with a span in the range."""
    session = await client.json("GET", "/usage/sessions/s-1", params=EVER)
    assert session == {"data": {"session_id": "s-1", "tokenCount": 1100, "requestsCount": 1, "totalCost": 0.003}}
    tenant = await client.json("GET", "/usage/tenants/Acme", params=EVER)
    assert tenant["data"] == {
        "tenant_id": "Acme",
        "organisation_id": "org-local",
        "tokenCount": 1100,
        "requestsCount": 1,
        "sessionsCount": 2,
        "totalCost": 0.003,
    }


async def test_usage_counts_spans_that_start_in_the_range(client: Client) -> None:
    """A known session without usage in the range has zeros and its id; an unknown one has no id."""
    window = {"startTime": "2026-11-22T12:08:20.000Z", "endTime": "2026-11-22T12:08:20.500Z"}
    session = await client.json("GET", "/usage/sessions/s-1", params=window)
    assert session["data"] == {"session_id": "s-1", "tokenCount": 0, "requestsCount": 0, "totalCost": 0.0}
    assert "session_id" not in (await client.json("GET", "/usage/sessions/nobody", params=EVER))["data"]
    unknown = await client.json("GET", "/usage/tenants/no%20one", params=EVER)
    assert unknown["data"] == {"tokenCount": 0, "requestsCount": 0, "sessionsCount": 0, "totalCost": 0.0}


async def test_unknown_paths_and_methods(client: Client) -> None:
    """Unknown paths and wrong methods get 404 and 405 in JSON."""
    for path in ("/", "/public/dashboard/query", "/sdk/traces/a/b/spans", "/sdk/models/a", "/usage/tenants/"):
        await client.json("POST", path, status=404)
    await client.json("GET", "/sdk/traces", status=405)


async def test_the_key_guards_every_call() -> None:
    """Without the key every path is 401 in JSON; ingestion accepts the key as a bearer token too."""
    async with Emulator(EmulatorOptions(port=0, api_key="s3cret")) as emulator:
        async with Client(emulator.url, {"x-api-key": "wrong"}) as client:
            for method, path in (("POST", "/sdk/traces"), ("POST", "/telemetry/v1/traces"), ("GET", "/nowhere")):
                assert (await client.json(method, path, status=401))["error"]["message"]
        async with Client(emulator.url, {"x-api-key": "s3cret"}) as client:
            await client.send(otlp_span(1, 1))
            assert len((await client.traces())["data"]) == 1
        async with Client(emulator.url, {"Authorization": "Bearer s3cret"}) as client:
            await client.send(otlp_span(2, 2))
            await client.traces(status=401)


async def test_spans_windowing_lists_a_trace_in_each_window_that_it_touches() -> None:
    """Listed by spans, a trace that crosses a bound has, in each window, the totals of its spans inside."""
    async with Emulator(EmulatorOptions(port=0, windowing="spans")) as emulator, Client(emulator.url) as client:
        await client.send(
            otlp_span(1, 1, name="root", attributes=LLM),
            otlp_span(1, 2, parent=1, start_ns=START_NS + 10 * SECOND_NS, name="late", attributes=LLM),
        )
        early = {"startTime": "2026-11-22T12:08:20.000Z", "endTime": "2026-11-22T12:08:25.000Z"}
        late = {"startTime": "2026-11-22T12:08:25.000Z", "endTime": "2026-11-22T12:08:40.000Z"}
        after = {"startTime": "2026-11-22T12:08:40.000Z", "endTime": "2026-11-22T12:09:40.000Z"}
        (whole,) = (await client.traces(window=EVER))["data"]
        (first,) = (await client.traces(window=early))["data"]
        (second,) = (await client.traces(window=late))["data"]
        assert (await client.traces(window=after))["data"] == []
        assert [t["total_tokens"] for t in (whole, first, second)] == [2200, 1100, 1100]
        assert [t["name"] for t in (whole, first, second)] == ["root", "root", "late"]
        assert second["start_time"] == "2026-11-22T12:08:30.000Z"
        assert len((await client.spans(first["id"]))["data"]) == 2


async def test_calls_and_statuses_are_counted() -> None:
    """API calls are counted by name; ingestion is not counted."""
    async with Emulator() as emulator, Client(emulator.url) as client:
        await client.send(otlp_span(1, 1))
        await client.traces()
        await client.spans(f"{1:032x}")
        await client.json("GET", f"/sdk/traces/spans/{9:016x}", status=404)
        await client.json("GET", "/usage/sessions/x", params=EVER)
        await client.json("GET", "/usage/tenants/x", params=EVER)
        assert emulator.calls == {"traces": 1, "spans": 1, "span": 1, "session_usage": 1, "tenant_usage": 1}
        assert emulator.status == {200: 4, 404: 1}
