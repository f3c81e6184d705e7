"""The dashboard calls: their requests, the values made from answers, and the meaning of a rejection."""

from __future__ import annotations

import asyncio
import json
import math
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.errors import (
    ConfigurationError,
    NetraError,
    NetraNotAllowed,
    NetraNotFound,
    NetraSchemaError,
    NetraUnauthorized,
    NetraUnavailable,
    PaginationLoop,
    UsageError,
)
from netra_otel_bridge.core.model.dashboards import (
    Bar,
    ChartType,
    DashboardData,
    Dimension,
    FilterConfig,
    Metrics,
    Point,
    SessionDetails,
    SessionFilterConfig,
    SessionStats,
    TimeRange,
)
from netra_otel_bridge.core.model.query import TraceFilter
from netra_otel_bridge.source import AsyncNetraClient, NetraClient
from netra_otel_bridge.source.body import CutAnswer
from netra_otel_bridge.source.charts import decode_chart
from tests.support.fake_clock import FakeClock
from tests.support.scripted_api import Reply, Request, Script, ScriptedApi, json_reply, reply
from tests.support.waiting import DEADLINE_S

KEY = "canary-key-7f3a91"
FROM, TO = "2026-04-30T00:00:00.000Z", "2026-05-01T00:00:00.000Z"
COST = Metrics("Total Cost", "Sum")
DAY = FilterConfig(FROM, TO, "hour")
RANGE = {"startTime": FROM, "endTime": TO}
SERIES = [{"date": FROM, "value": 1.5}, {"date": TO, "value": None}]
LINES = {
    "timeSeries": [
        {"date": FROM, "values": [{"dimension": "gpt-4o", "value": 1}, {"dimension": None, "value": "2.5"}]},
        {"date": TO, "values": [{"dimension": "gpt-4o", "value": 3}]},
    ],
    "dimensions": ["o3", "gpt-4o", None],
}
BARS = [{"dimension": "checkout", "value": 7}, {"dimension": None, "value": 0}]


def make_client(api: ScriptedApi, **options: Any) -> AsyncNetraClient:
    return AsyncNetraClient(
        api_key=KEY, endpoint=api.endpoint, **{"clock": FakeClock(), "backoff": Backoff(attempts=3)} | options
    )


async def ask(
    answer: Any, chart_type: ChartType = "Number", by: Dimension | None = None, asked: FilterConfig = DAY
) -> tuple[DashboardData, Request]:
    """Return the chart from a server with this answer, and the request for it."""
    async with ScriptedApi([json_reply(answer)]) as api, make_client(api) as client:
        return await client.dashboard.query_data("Spans", chart_type, COST, asked, by), api.requests[-1]


def sessions(*ids: str, more: bool = False, **fields: Any) -> dict[str, Any]:
    """Return a page of sessions, each with its id as its cursor."""
    items = [{"session_id": one, "totalRequests": 3, "totalCost": 0.25, "cursor": f"c-{one}", **fields} for one in ids]
    return {"data": {"sessions": items, "pageInfo": {"hasNextPage": more}}}


# Requests


async def test_query_on_the_wire() -> None:
    """A query without options contains what the SDK sends, and nothing else."""
    _, request = await ask({"data": {"value": 1}})
    assert (request.method, request.target) == ("POST", "/public/dashboard/query-data")
    assert request.headers["x-api-key"] == KEY
    assert request.json == {
        "scope": "Spans",
        "chartType": "Number",
        "metrics": {"measure": "Total Cost", "aggregation": "Sum"},
        "filter": {**RANGE, "groupBy": "hour"},
    }


async def test_query_with_everything() -> None:
    """Conditions, a named metric, a custom dimension, and datetimes rounded outwards to milliseconds."""
    start = datetime(2026, 4, 30, 12, 0, 0, 1, tzinfo=UTC)
    asked = FilterConfig(
        start, start, "day", [TraceFilter("tenant_id", "acme"), TraceFilter("metadata", "a", type="object", key="k")]
    )
    metrics = Metrics("Custom", "p95", "queue_depth")
    async with ScriptedApi([json_reply({"data": []})]) as api, make_client(api) as client:
        await client.dashboard.query_data("Custom", "Pie", metrics, asked, Dimension("custom", "region"))
    assert api.requests[0].json == {
        "scope": "Custom",
        "chartType": "Pie",
        "metrics": {"measure": "Custom", "aggregation": "p95", "metricName": "queue_depth"},
        "filter": {
            "startTime": "2026-04-30T12:00:00.000Z",
            "endTime": "2026-04-30T12:00:00.001Z",
            "groupBy": "day",
            "filters": [
                {"field": "tenant_id", "operator": "equals", "type": "string", "value": "acme"},
                {"field": "metadata", "operator": "equals", "type": "object", "value": "a", "key": "k"},
            ],
        },
        "dimension": {"field": "region"},
    }


async def test_enumerations_of_the_sdk_pass_as_their_texts() -> None:
    """A script with the SDK's enumerations, which are strings, sends the same request."""

    class Word(str, Enum):  # noqa: UP042  as the SDK declares them
        SCOPE, CHART, STEP, SUM = "Traces", "Number", "day", "Sum"

    words: Any = Word
    asked = FilterConfig(FROM, TO, words.STEP)
    async with ScriptedApi([json_reply({"data": {"value": 4}})]) as api, make_client(api) as client:
        got = await client.dashboard.query_data(words.SCOPE, words.CHART, Metrics("Latency", words.SUM), asked)
    assert got.number == 4
    sent = api.requests[0].json
    assert (sent["scope"], sent["chartType"], sent["filter"]["groupBy"]) == ("Traces", "Number", "day")
    assert sent["metrics"] == {"measure": "Latency", "aggregation": "Sum"}


async def test_arguments_that_make_no_sense_are_not_sent() -> None:
    """Words outside fixed sets, empty times and ids, and text that is not Unicode are rejected before sending."""
    wrong: Any = "Tuples"
    async with ScriptedApi([json_reply({})]) as api, make_client(api) as client:
        board = client.dashboard
        for call in (
            board.query_data(wrong, "Number", COST, DAY),
            board.query_data("Spans", wrong, COST, DAY),
            board.query_data("Spans", "Number", COST, FilterConfig(FROM, TO, wrong)),
            board.query_data("Spans", "Number", COST, FilterConfig("", TO, "day")),
            board.query_data("Spans", "Number", COST, FilterConfig(datetime(2026, 5, 1), TO, "day")),  # noqa: DTZ001
            board.query_data("Spans", "Pie", COST, DAY, Dimension("custom")),
            board.query_data("Spans", "Pie", COST, DAY, Dimension("\ud800")),
            board.get_session_stats(FROM, ""),
            board.get_session_stats(FROM, TO, limit=101),
            board.get_session_stats(FROM, TO, sort_field=wrong),
            board.get_session_stats(FROM, TO, sort_order=wrong),
            board.get_session_summary(SessionFilterConfig("", TO)),
            board.get_session_details(""),
            board.get_session_details("../models"),
            board.get_session_details("s", start_time=""),
        ):
            with pytest.raises(UsageError):
                await call
    assert api.requests == []
    with pytest.raises(ConfigurationError):
        AsyncNetraClient(api_key=KEY, endpoint="https://netra.example", dashboard_timeout=0)


# Charts


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda data: {"timeRange": RANGE, "data": data},
        lambda data: {"data": {"timeRange": RANGE, "data": data}},
        lambda data: {"timeRange": RANGE, "data": {"data": data, "more": 1}},
    ],
)
async def test_each_shape_however_wrapped(wrapped: Any) -> None:
    """Series, series by dimension, bars and a number are read, with the range, wherever ``data`` begins."""
    by_model = Dimension("model_name")
    time_range = TimeRange(start_time=FROM, end_time=TO)
    got, _ = await ask(wrapped(SERIES), "Line Time Series")
    assert got == DashboardData(time_range=time_range, series=[Point(FROM, 1.5), Point(TO, None)])
    got, request = await ask(wrapped(LINES), "Bar Time Series", by_model)
    assert request.json["dimension"] == {"field": "model_name"}
    assert got == DashboardData(
        time_range=time_range,
        dimension_series={"o3": [], "gpt-4o": [Point(FROM, 1), Point(TO, 3)], None: [Point(FROM, 2.5)]},
    )
    assert list(got.dimension_series or ()) == ["o3", "gpt-4o", None]
    for kind in ("Horizontal Bar", "Vertical Bar", "Pie"):
        got, _ = await ask(wrapped(BARS), kind, Dimension("service"))
        assert got == DashboardData(time_range=time_range, bars=[Bar("checkout", 7), Bar(None, 0)])
    got, _ = await ask(wrapped({"value": "12.5", "unit": "ms"}))
    assert got == DashboardData(time_range=time_range, number=12.5)


async def test_nothing_is_not_null() -> None:
    """Empty lists are empty charts; a null or NaN value is ``None``, and so is a missing range."""
    assert (await ask({"data": []}, "Line Time Series"))[0] == DashboardData(series=[])
    assert (await ask({"data": []}, "Line Time Series", Dimension("service")))[0] == DashboardData(dimension_series={})
    assert (await ask({"data": []}, "Pie"))[0] == DashboardData(bars=[])
    assert (await ask({"data": {"value": None}}))[0] == DashboardData()
    assert (await ask({"data": {"value": math.nan}}))[0] == DashboardData()


@pytest.mark.parametrize(
    ("answer", "chart_type", "path"),
    [
        ([], "Number", r"\$ is a list"),
        ({"data": None}, "Number", r"\$\.data is null"),
        ({"data": []}, "Number", r"\$\.data is a list"),
        ({"message": "no"}, "Number", r"\$\.value is missing"),
        ({"data": {"value": "12 ms"}}, "Number", r"\$\.data\.value is a string, where a number"),
        ({"data": {"data": {"value": True}}}, "Number", r"\$\.data\.data\.value is a boolean"),
        ({"data": None}, "Pie", r"\$\.data is null, where a list"),
        ({"data": SERIES}, "Pie", r"\$\.data\[0\]\.dimension is missing"),
        ({"data": {"value": 1}}, "Pie", r"\$\.data is an object, where a list"),
        ({"data": [{"dimension": {}, "value": 1}]}, "Pie", r"\$\.data\[0\]\.dimension is an object, where a string"),
        ({"data": [{"dimension": "a"}]}, "Pie", r"\$\.data\[0\]\.value is missing"),
        ({"data": ["a"]}, "Pie", r"\$\.data\[0\] is a string, where an object"),
        ({"data": BARS}, "Line Time Series", r"\$\.data\[0\]\.date is missing"),
        ({"data": [{"date": "", "value": 1}]}, "Line Time Series", r"\$\.data\[0\]\.date is a string, where a time"),
        ({"data": LINES}, "Line Time Series", r"\$\.data\.timeSeries\[0\]\.value is missing"),
        ({"data": {"error": 1}}, "Line Time Series", r"\$\.data\.timeSeries is missing"),
    ],
)
async def test_another_shape_is_an_error(answer: Any, chart_type: ChartType, path: str) -> None:
    """After three attempts, any other shape than the requested chart is an error that names the place."""
    with pytest.raises(NetraSchemaError, match=path):
        await ask(answer, chart_type)


async def test_a_plain_series_is_no_series_by_dimension() -> None:
    """A requested dimension that is missing is an error that says so."""
    with pytest.raises(NetraSchemaError, match=r"\$\.data\[0\]\.values is missing"):
        await ask({"data": SERIES}, "Line Time Series", Dimension("service"))


NUMBERS = st.none() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
DATES = st.datetimes().map(datetime.isoformat)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(DATES, st.lists(st.tuples(st.none() | TEXTS, NUMBERS, st.booleans())))))
def test_every_point_of_every_dimension_is_read(steps: list[tuple[str, list[tuple[str | None, Any, bool]]]]) -> None:
    """No point is lost, moved or changed, for any dimensions and any form of numbers."""
    rows = [
        {
            "date": date,
            "values": [
                {"dimension": name, "value": json.dumps(value) if quoted and value is not None else value}
                for name, value, quoted in values
            ],
        }
        for date, values in steps
    ]
    body = json.dumps({"data": {"timeSeries": rows}}).encode()
    got = decode_chart(body, "Line Time Series", by_dimension=True).dimension_series or {}
    expected = {(name, date, value) for date, values in steps for name, value, _ in values}
    assert {(name, point.date, point.value) for name, points in got.items() for point in points} == expected
    assert sum(map(len, got.values())) == sum(len(values) for _, values in steps)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "value", "values", "date", "dimension", "timeSeries", "timeRange", "dimensions"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from(["Number", "Pie", "Line Time Series"]), st.booleans())
def test_whatever_comes_is_read_or_refused(value: object, chart_type: ChartType, by_dimension: bool) -> None:
    """Any JSON gives a chart of the requested type, or the one typed error."""
    try:
        got = decode_chart(json.dumps(value).encode(), chart_type, by_dimension)
    except (NetraSchemaError, CutAnswer):
        return
    there = [name for name in ("series", "dimension_series", "bars") if getattr(got, name) is not None]
    wanted = {"Number": [], "Pie": ["bars"]}.get(chart_type, ["dimension_series" if by_dimension else "series"])
    assert there == wanted


# Sessions, one session, prices


async def test_a_page_of_sessions() -> None:
    """Requests are the SDK's, with pages of 20 by default; odd fields are named, and items without an id set aside."""
    answer = sessions("a", session_start_time=FROM, session_duration=4200, unknown=1)
    answer["data"]["sessions"] += [{"session_id": "b", "totalCost": "0.5", "totalRequests": []}, {"totalCost": 1}]
    async with ScriptedApi([json_reply(answer)]) as api, make_client(api) as client:
        page = await client.dashboard.get_session_stats(FROM, TO)
        await client.dashboard.get_session_stats(
            FROM,
            TO,
            [TraceFilter("tenant_id", ["acme", "globex"], "any_of", "arrayOptions")],
            5,
            "c-a",
            "totalCost",
            "desc",
        )
    assert page.sessions == [
        SessionStats(
            session_id="a",
            session_start_time=FROM,
            total_requests=3,
            total_cost=0.25,
            session_duration=4200,
            cursor="c-a",
        ),
        SessionStats(session_id="b", total_cost=0.5, unreadable=("total_requests",)),
    ]
    assert (page.has_next_page, page.next_cursor) == (False, None)
    assert [(item.path, item.reason) for item in page.unreadable] == [("$.data.sessions[2]", "it has no session_id")]
    plain, full = (request.json for request in api.requests)
    assert {request.target for request in api.requests} == {"/public/dashboard/sessions/stats"}
    assert plain == {**RANGE, "pagination": {"limit": 20}}
    assert full == {
        **RANGE,
        "filters": [{"field": "tenant_id", "operator": "any_of", "type": "arrayOptions", "value": ["acme", "globex"]}],
        "pagination": {"limit": 5, "cursor": "c-a"},
        "sortField": "totalCost",
        "sortOrder": "desc",
    }


async def test_all_sessions() -> None:
    """Cursors are followed to the end that Netra reports, and a repeated cursor ends the listing."""

    def three(request: Request) -> Reply:
        at = request.json["pagination"].get("cursor", "c-0")
        number = int(at.removeprefix("c-")) + 1
        return json_reply(sessions(str(number), more=number < 3))

    async with ScriptedApi(three) as api, make_client(api) as client:
        got = [one.session_id async for one in client.dashboard.iter_session_stats(FROM, TO, sort_field="totalCost")]
        assert got == ["1", "2", "3"]
        assert {request.json["sortField"] for request in api.requests} == {"totalCost"}
        assert {request.json["pagination"]["limit"] for request in api.requests} == {100}
    async with ScriptedApi([json_reply(sessions("a", more=True))]) as api, make_client(api) as client:
        with pytest.raises(PaginationLoop, match="the session list"):
            [one async for one in client.dashboard.iter_session_pages(FROM, TO)]
        assert len(api.requests) == 2
    async with ScriptedApi([json_reply({"data": {"sessions": []}})]) as api, make_client(api) as client:
        with pytest.raises(NetraSchemaError, match=r"\$\.data\.pageInfo is missing"):
            [one async for one in client.dashboard.iter_session_stats(FROM, TO)]


async def test_sessions_summed() -> None:
    """The summary is Netra's own object, whatever it contains; anything but an object is an error."""
    summary = {"totalSessions": 4, "costByModel": [{"model": "o3", "cost": 1}]}
    script = [json_reply({"data": summary}), json_reply({"data": []})]
    asked = SessionFilterConfig(FROM, TO, [TraceFilter("service", ["web"], "any_of", "arrayOptions")])
    async with ScriptedApi(script) as api, make_client(api) as client:
        assert await client.dashboard.get_session_summary(asked) == summary
        with pytest.raises(NetraSchemaError, match=r"\$\.data is a list"):
            await client.dashboard.get_session_summary(SessionFilterConfig(FROM, TO))
    assert api.requests[0].target == "/public/dashboard/sessions/summary"
    condition = {"field": "service", "operator": "any_of", "type": "arrayOptions", "value": ["web"]}
    assert api.requests[0].json == {"filter": {**RANGE, "filters": [condition]}}
    assert api.requests[1].json == {"filter": RANGE}


async def test_one_session() -> None:
    """A session has its id and its traces as received; an unknown one is ``None``; bounds may be left out."""
    known = {"data": {"sessionId": "a/b", "traces": [{"id": "t", "tools": []}], "more": 1}}
    script = [
        json_reply(known),
        json_reply({"data": {}}),
        json_reply({"data": None}),
        json_reply({"data": {"sessionId": 1}}),
    ]
    async with ScriptedApi(script) as api, make_client(api) as client:
        got = await client.dashboard.get_session_details("a/b", FROM, TO)
        assert got == SessionDetails(session_id="a/b", traces=[{"id": "t", "tools": []}])
        assert await client.dashboard.get_session_details("nobody") is None
        assert await client.dashboard.get_session_details("nobody") is None
        with pytest.raises(NetraSchemaError, match=r"\$\.data\.traces is missing"):
            await client.dashboard.get_session_details("1")
    assert api.requests[0].target == (
        "/public/dashboard/session/a%2Fb?startTime=2026-04-30T00%3A00%3A00.000Z&endTime=2026-05-01T00%3A00%3A00.000Z"
    )
    assert api.requests[1].target == "/public/dashboard/session/nobody"


async def test_prices() -> None:
    """The price list of all models or of one, as received."""
    prices = [{"name": "gpt-4o", "prices": []}]
    async with ScriptedApi([json_reply({"data": prices})]) as api, make_client(api) as client:
        assert await client.dashboard.get_model_pricing() == prices
        assert await client.dashboard.get_model_pricing("gpt 4o") == prices
    assert [request.target for request in api.requests] == ["/sdk/models", "/sdk/models?name=gpt%204o"]


# Rejections and failures

REFUSALS = {
    "401": reply(b'{"error": {"message": "no"}}', status=401),
    "403": reply(b'{"error": {"message": "no"}}', status=403),
    "404": reply(b'{"message": "Cannot POST"}', status=404),
    "405": reply(status=405),
    "redirect": reply(status=302, headers={"Location": "https://login.example/?token=1"}),
    "web page": reply(b"<html></html>", content_type="text/html"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_is_of_the_call_and_not_of_the_key(refusal: Reply) -> None:
    """A rejected dashboard call is sent once, and raises its own error, which says what to do instead."""
    async with ScriptedApi([refusal]) as api, make_client(api) as client:
        board = client.dashboard
        for call in (
            board.query_data("Spans", "Number", COST, DAY),
            board.get_session_stats(FROM, TO),
            anext(board.iter_session_stats(FROM, TO)),
            board.get_session_summary(SessionFilterConfig(FROM, TO)),
            board.get_session_details("s"),
            board.get_model_pricing(),
        ):
            before = len(api.requests)
            with pytest.raises(NetraNotAllowed, match="the usage calls do not need them") as caught:
                await call
            assert len(api.requests) == before + 1
            assert (caught.value.exit_code, caught.value.retryable) == (77, False)
            assert not isinstance(caught.value, NetraUnauthorized | NetraNotFound)
            assert KEY not in str(caught.value)
            assert "\n" not in str(caught.value)
        with pytest.raises((NetraUnauthorized, NetraNotFound)):
            await client.get_tenant_usage("acme", FROM, TO)


async def test_a_refusal_in_the_middle_of_a_listing() -> None:
    """A permission revoked between two pages is reported as such, not as a rejected cursor."""
    script: Script = [json_reply(sessions("a", more=True)), REFUSALS["403"]]
    async with ScriptedApi(script) as api, make_client(api) as client:
        listing = client.dashboard.iter_session_stats(FROM, TO)
        assert (await anext(listing)).session_id == "a"
        with pytest.raises(NetraNotAllowed):
            await anext(listing)


@pytest.mark.parametrize("failure", [reply(status=500), reply(status=429), Reply(b"", end="reset"), reply(b'{"dat')])
async def test_failures_that_pass_are_tried_again(failure: Reply) -> None:
    """A dashboard call is retried like any other."""
    script = [failure, failure, json_reply({"data": {"value": 1}})]
    async with ScriptedApi(script) as api, make_client(api) as client:
        assert (await client.dashboard.query_data("Spans", "Number", COST, DAY)).number == 1
        assert client.stats.calls == {"POST /public/dashboard/query-data": 3}
        assert client.stats.retries == 2


async def test_a_deadline_of_its_own() -> None:
    """A dashboard call may take longer than others, but not forever; the hint names the remedy."""
    answer = json_reply({"data": {"value": 1}, "session_id": None})
    slow = Reply(answer.raw, step=len(answer.raw) // 2, pause_s=0.15)
    once = Backoff(attempts=1)
    async with ScriptedApi([slow]) as api, make_client(api, timeout=0.1, backoff=once) as client:
        assert (await client.dashboard.query_data("Spans", "Number", COST, DAY)).number == 1
        with pytest.raises(NetraUnavailable, match=r"within 0\.1 s .*NETRA_USAGE_TIMEOUT"):
            await client.get_tenant_usage("acme", FROM, TO)
    async with ScriptedApi([slow]) as api, make_client(api, dashboard_timeout=0.1, backoff=once) as client:
        with pytest.raises(NetraUnavailable, match=r"within 0\.1 s \(request a shorter time range"):
            await client.dashboard.query_data("Spans", "Number", COST, DAY)


async def test_one_budget() -> None:
    """Dashboard calls share the budget with each other and with the client's other calls."""
    async with ScriptedApi([json_reply({"data": {"value": 1}})]) as api, make_client(api, max_concurrency=2) as client:
        await asyncio.gather(*(client.dashboard.query_data("Spans", "Number", COST, DAY) for _ in range(20)))
        assert api.connections <= 2
        assert len(api.requests) == 20


# The synchronous client


def everything(request: Request) -> Reply:
    """Answer each call; there are two pages of sessions."""
    if request.target.endswith("/query-data"):
        return json_reply({"data": {"value": 7}})
    if request.target.endswith("/sessions/stats"):
        second = "cursor" in request.json["pagination"]
        return json_reply(sessions("b" if second else "a", more=not second))
    if request.target.endswith("/sessions/summary"):
        return json_reply({"data": {"totalSessions": 2}})
    if request.target.startswith("/sdk/models"):
        return json_reply({"data": [{"name": "o3"}]})
    return reply(status=403)


async def test_synchronously() -> None:
    """Each call of the asynchronous dashboard works from a blocking thread, and raises its errors there."""
    async with ScriptedApi(everything) as api:

        def use() -> None:
            with NetraClient(api_key=KEY, endpoint=api.endpoint, dashboard_timeout=DEADLINE_S) as client:
                board = client.dashboard
                assert board.query_data("Spans", "Number", COST, DAY).number == 7
                assert board.get_session_stats(FROM, TO, limit=1).next_cursor == "c-a"
                assert [one.session_id for one in board.iter_session_stats(FROM, TO)] == ["a", "b"]
                assert [len(page.sessions) for page in board.iter_session_pages(FROM, TO, limit=1)] == [1, 1]
                assert board.get_session_summary(SessionFilterConfig(FROM, TO)) == {"totalSessions": 2}
                assert board.get_model_pricing("o3") == [{"name": "o3"}]
                with pytest.raises(NetraError) as caught:
                    board.get_session_details("s", FROM)
                assert type(caught.value) is NetraNotAllowed
            with pytest.raises(UsageError, match="closed"):
                board.get_model_pricing()

        await asyncio.to_thread(use)
