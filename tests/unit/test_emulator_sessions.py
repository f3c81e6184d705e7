"""The session calls of the dashboard: list with pages, summary, and one session with its traces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from netra_otel_bridge.emulator import Emulator
from tests.support.dashboards import COST, DAY, LLM, NOON_NS, RERANK, fill
from tests.support.emulator import Client, otlp_span

STATS, SUMMARY = "/public/dashboard/sessions/stats", "/public/dashboard/sessions/summary"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Run an emulator with the two traces of `fill`."""
    async with Emulator() as emulator, Client(emulator.url) as client:
        await fill(client)
        yield client


async def listed(client: Client, **query: Any) -> list[dict[str, Any]]:
    """Return all sessions, reading one per page."""
    sessions: list[dict[str, Any]] = []
    while True:
        paging = {"limit": 1, **({"cursor": sessions[-1]["cursor"]} if sessions else {})}
        page = (await client.json("POST", STATS, json={**DAY, "pagination": paging, **query}))["data"]
        assert len(page["sessions"]) <= 1
        sessions += page["sessions"]
        if not page["pageInfo"]["hasNextPage"]:
            return sessions


async def test_sessions_are_listed_page_by_page(client: Client) -> None:
    """A shared trace counts in each session by its own spans; the latest session is first."""
    bob, alice = await listed(client)
    assert {**alice, "cursor": ""} == {
        "session_id": "s-1",
        "session_start_time": "2026-11-22T12:59:59.000Z",
        "totalRequests": 1,
        "totalCost": COST,
        "session_duration": "00:00:04",
        "cursor": "",
    }
    assert (bob["session_id"], bob["session_start_time"]) == ("s-2", "2026-11-22T13:00:01.000Z")
    assert await listed(client, filters=[{"field": "user_id", "operator": "any_of", "value": ["bob"]}]) == [bob]
    assert await listed(client, filters=[{"field": "tenant_id", "operator": "any_of", "value": ["x"]}]) == []


async def test_sessions_are_sorted(client: Client) -> None:
    """Sessions are sorted by each field in both orders; ties are ordered by id."""
    await client.send(otlp_span(3, 9, start_ns=NOON_NS, attributes={**RERANK, "netra.session_id": "a"}))
    await client.send(otlp_span(4, 10, start_ns=NOON_NS, attributes={**LLM, "netra.session_id": "a"}))
    expected = {
        "session_id": ["a", "s-1", "s-2"],
        "start_time": ["a", "s-1", "s-2"],
        "totalRequests": ["s-1", "s-2", "a"],
        "totalCost": ["s-1", "s-2", "a"],
    }
    for field, ids in expected.items():
        up = await listed(client, sortField=field, sortOrder="asc")
        assert [session["session_id"] for session in up] == ids
        assert [session["session_id"] for session in await listed(client, sortField=field)] == ids[::-1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"startTime": None},
        {"sortField": "colour"},
        {"sortOrder": "up"},
        {"pagination": {"limit": 101}},
        {"pagination": {"cursor": "nonsense"}},
        {"pagination": {"cursor": "WyJzdGFydF90aW1lIiwiYSIsInMtMSJd"}},
        {"filters": [{"field": "session_id", "operator": "any_of", "value": ["s-1"]}]},
        {"filters": [{"field": "user_id", "operator": "equals", "value": "bob"}]},
    ],
)
async def test_a_listing_of_sessions_that_makes_no_sense_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    """A cursor of another order is rejected too."""
    assert (await client.json("POST", STATS, json={**DAY, **wrong}, status=400))["error"]["message"]


async def test_sessions_are_summed(client: Client) -> None:
    """Spans without a session are in no sum."""
    summary = await client.json("POST", SUMMARY, json={"filter": DAY})
    assert summary["data"] == {
        "totalSessions": 2,
        "totalRequests": 2,
        "totalTokens": 2200,
        "totalCost": 0.007,
        "averageLatency": 2500,
        "costByModel": [{"model": "gpt-4o", "cost": 0.007}],
    }
    bob = {"filter": {**DAY, "filters": [{"field": "user_id", "operator": "any_of", "value": ["bob"]}]}}
    assert (await client.json("POST", SUMMARY, json=bob))["data"]["totalSessions"] == 1
    assert (await client.json("POST", SUMMARY, json={}, status=400))["error"]["message"]


async def test_one_session(client: Client) -> None:
    """A session has only its own spans, as traces; bounds are optional; an unknown session is null."""
    path = "/public/dashboard/session/s-1"
    whole = (await client.json("GET", path))["data"]
    assert whole["sessionId"] == "s-1"
    (trace,) = whole["traces"]
    assert (trace["id"], trace["total_tokens"], trace["latency_ms"]) == (f"{1:032x}", 1100, 4000)
    assert (await client.json("GET", path, params=DAY))["data"] == whole
    later = await client.json("GET", path, params={"startTime": "2026-11-22T12:59:59.050Z"})
    assert [trace["latency_ms"] for trace in later["data"]["traces"]] == [300]
    earlier = await client.json("GET", path, params={"endTime": "2026-11-22T12:00:00.000Z"})
    assert earlier["data"] == {"sessionId": "s-1", "traces": []}
    assert (await client.json("GET", "/public/dashboard/session/nobody"))["data"] is None
    assert (await client.json("GET", path, params={"startTime": "noon"}, status=400))["error"]["message"]
