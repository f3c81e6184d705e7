"""The client's interface: its requests, and its arguments, which are the SDK's."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from netra_otel_bridge.core.errors import BridgeError, ConfigurationError, UsageError
from netra_otel_bridge.core.model.query import TraceFilter
from netra_otel_bridge.source import AsyncNetraClient, NetraClient
from netra_otel_bridge.source.endpoint import base_url
from netra_otel_bridge.source.failures import Redactor
from tests.support.fake_clock import FakeClock
from tests.support.scripted_api import Reply, Request, ScriptedApi, json_reply, page, reply, span, trace
from tests.support.waiting import DEADLINE_S

FROM, TO = "2026-04-30T00:00:00.000Z", "2026-05-01T00:00:00.000Z"
SDK_ARGUMENTS = {
    "get_session_usage": "session_id start_time end_time",
    "get_tenant_usage": "tenant_id start_time end_time",
    "list_traces": "start_time end_time trace_id=None session_id=None user_id=None tenant_id=None limit=None "
    "cursor=None direction='down' sort_field=None sort_order=None",
    "list_spans_by_trace_id": "trace_id cursor=None direction='down' limit=None span_name=None",
    "iter_traces": "start_time end_time trace_id=None session_id=None user_id=None tenant_id=None limit=None "
    "cursor=None direction='down' sort_field=None sort_order=None",
    "iter_spans_by_trace_id": "trace_id cursor=None direction='down' limit=None span_name=None",
}
"""The arguments of ``Netra.usage`` in netra-sdk 1.2.2."""


@pytest.mark.parametrize("client", [AsyncNetraClient, NetraClient])
@pytest.mark.parametrize("name", SDK_ARGUMENTS)
def test_arguments_are_the_sdks(client: type, name: str) -> None:
    """Names, order and defaults of positional arguments are those of netra-sdk."""
    given = [
        parameter.name if parameter.default is inspect.Parameter.empty else f"{parameter.name}={parameter.default!r}"
        for parameter in inspect.signature(getattr(client, name)).parameters.values()
        if parameter.name != "self" and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    assert given == SDK_ARGUMENTS[name].split()


async def sent(method: str, *args: Any, answer: Reply, **options: Any) -> Request:
    """Return the request that a call makes."""
    async with (
        ScriptedApi([answer]) as api,
        AsyncNetraClient(api_key="k", endpoint=api.endpoint, headers={"x-team": "a"}, clock=FakeClock()) as client,
    ):
        await getattr(client, method)(*args, **options)
        return api.requests[0]


async def test_list_traces_request() -> None:
    """The trace query is what netra-sdk sends, with further filters after its own."""
    condition = TraceFilter("metadata", "gold", operator="contains", key="tier")
    request = await sent(
        "list_traces", FROM, TO, None, "s1", limit=5, cursor="c", sort_field="start_time", sort_order="asc",
        filters=[condition], answer=json_reply(page([trace(1)])),
    )  # fmt: skip
    assert (request.method, request.target) == ("POST", "/sdk/traces")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-api-key"] == "k"
    assert request.headers["x-team"] == "a"
    assert request.json == {
        "startTime": FROM,
        "endTime": TO,
        "filters": [
            {"field": "session_id", "operator": "equals", "type": "string", "value": "s1"},
            {"field": "metadata", "operator": "contains", "type": "string", "value": "gold", "key": "tier"},
        ],
        "pagination": {"limit": 5, "cursor": "c", "direction": "down"},
        "sortField": "start_time",
        "sortOrder": "asc",
    }


async def test_span_requests() -> None:
    """Spans of a trace, and one span."""
    request = await sent("list_spans_by_trace_id", "t/1", "c&d", limit=7, span_name="a b", answer=json_reply(page([])))
    assert request.target == "/sdk/traces/t%2F1/spans?cursor=c%26d&direction=down&limit=7&spanName=a%20b"
    assert request.method == "GET"
    request = await sent("get_span", "s1", answer=json_reply({"data": span(1)}))
    assert request.target == "/sdk/traces/spans/s1"


async def test_usage_requests() -> None:
    """Usage calls send ISO text unchanged, and datetimes in UTC with the end rounded up to the millisecond."""
    answer = json_reply({"data": {}})
    request = await sent("get_session_usage", "s/1", FROM, TO, answer=answer)
    times = "startTime=2026-04-30T00%3A00%3A00.000Z&endTime=2026-05-01T00%3A00%3A00.000Z"
    assert request.target == f"/usage/sessions/s%2F1?{times}"
    start = datetime(2026, 4, 30, 2, 0, 0, 999, tzinfo=timezone(timedelta(hours=2)))
    end = datetime(2026, 4, 30, 23, 59, 59, 999001, tzinfo=UTC)
    request = await sent("get_tenant_usage", "t", start, end, answer=answer)
    assert request.target == f"/usage/tenants/t?{times}"


async def test_a_span_that_is_not_there() -> None:
    """A 404 with JSON means that there is no span; with a web page it is not from the API."""
    gone = json_reply({"message": "not found"}, status=404)
    page_404 = reply(b"<html>", status=404, content_type="text/html")
    async with (
        ScriptedApi([gone, page_404]) as api,
        AsyncNetraClient(api_key="k", endpoint=api.endpoint, clock=FakeClock()) as client,
    ):
        assert await client.get_span("a") is None
        with pytest.raises(BridgeError, match="HTTP 404"):
            await client.get_span("a")


@pytest.mark.parametrize(
    "options",
    [
        {"session_id": "\udc80"},
        {"filters": [{"field": "has_error", "value": True}]},
        {"filters": TraceFilter("has_error", True)},
        {"filters": [TraceFilter("has_error", object())]},
        {"limit": 0},
        {"limit": "5"},
        {"limit": 101},
        {"limit": -1},
        {"direction": "left"},
        {"sort_order": "up"},
    ],
)
async def test_arguments_that_make_no_sense(options: dict[str, Any]) -> None:
    """Arguments that Netra would reject are rejected before anything is sent."""
    async with ScriptedApi([]) as api, AsyncNetraClient(api_key="k", endpoint=api.endpoint) as client:
        with pytest.raises(UsageError):
            await client.list_traces(FROM, TO, **options)
        for start, end in (("", TO), (FROM, ""), (datetime(2026, 1, 1), TO), (FROM, 5)):  # noqa: DTZ001
            with pytest.raises(UsageError):
                await client.list_traces(start, end)
        with pytest.raises(UsageError, match="trace_id"):
            await anext(client.iter_spans_by_trace_id(5))
        assert api.requests == []


async def test_stats_count_what_was_asked() -> None:
    """Calls by name, answers by status, retries and bytes."""
    body = json_reply(page([span(1)]))
    async with (
        ScriptedApi([reply(status=500), body]) as api,
        AsyncNetraClient(api_key="k", endpoint=api.endpoint, clock=FakeClock()) as client,
    ):
        await client.list_spans_by_trace_id("t")
        assert client.stats.calls == {"GET /sdk/traces/{id}/spans": 2}
        assert client.stats.statuses == {500: 1, 200: 1}
        assert client.stats.retries == 1
        assert client.stats.decoded_bytes == len(body.raw) - len(body.head)


async def test_after_closing() -> None:
    """Calls of a closed client raise an error that says so; it may be closed again."""
    async with ScriptedApi([json_reply(page([]))]) as api:
        client = AsyncNetraClient(api_key="k", endpoint=api.endpoint)
        await client.list_spans_by_trace_id("t")
        await client.aclose()
        await client.aclose()
        with pytest.raises(UsageError, match="closed"):
            await client.list_spans_by_trace_id("t")


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("https://netra.example/telemetry", "https://netra.example"),
        (" https://netra.example/telemetry/ ", "https://netra.example"),
        ("https://netra.example:8443/", "https://netra.example:8443"),
        ("https://netra.example/eu/telemetry", "https://netra.example/eu"),
        ("https://telemetry", "https://telemetry"),
        ("HTTPS://Netra.Example", "https://netra.example"),
    ],
)
def test_base_url(endpoint: str, base: str) -> None:
    """``/telemetry`` and slashes at the end are removed, as in netra-sdk."""
    assert base_url(endpoint, allow_insecure=False) == base


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"api_key": ""}, "NETRA_API_KEY"),
        ({"api_key": " \n"}, "NETRA_API_KEY"),
        ({"api_key": "k\nx: y"}, "NETRA_API_KEY"),
        ({"api_key": "schlüssel"}, "NETRA_API_KEY"),
        ({"endpoint": ""}, "NETRA_OTLP_ENDPOINT"),
        ({"endpoint": "netra.example"}, "NETRA_OTLP_ENDPOINT"),
        ({"endpoint": "ftp://netra.example"}, "NETRA_OTLP_ENDPOINT"),
        ({"endpoint": "https://"}, "NETRA_OTLP_ENDPOINT"),
        ({"endpoint": "https://netra.example:port"}, "NETRA_OTLP_ENDPOINT"),
        ({"endpoint": "https://u:canary@netra.example"}, "NETRA_OTLP_ENDPOINT"),
        ({"endpoint": "https://netra.example?key=canary"}, "NETRA_OTLP_ENDPOINT"),
        ({"headers": {"bad name": "canary"}}, "NETRA_HEADERS"),
        ({"headers": {"x": "canary\r\ny: z"}}, "NETRA_HEADERS"),
        ({"headers": {"Content-Length": "3"}}, "NETRA_HEADERS"),
        ({"headers": {"x-retries": 3}}, "NETRA_HEADERS"),
        ({"headers": [("x-team", "a")]}, "headers"),
        ({"api_key": None}, "NETRA_API_KEY"),
        ({"endpoint": None}, "NETRA_OTLP_ENDPOINT"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"dashboard_timeout": None}, "dashboard_timeout"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"rate_per_s": 0}, "rate_per_s"),
    ],
)
def test_configuration_errors(options: dict[str, Any], setting: str) -> None:
    """Each error names the setting, and none shows a value that may be secret."""
    with pytest.raises(ConfigurationError, match=setting) as caught:
        AsyncNetraClient(**{"api_key": "k", "endpoint": "https://netra.example", **options})
    assert "canary" not in str(caught.value)


def test_a_back_off_is_a_back_off() -> None:
    """A number of attempts is not accepted as a back-off."""
    for wrong in (3, 0):
        with pytest.raises(UsageError, match=r"give a Backoff\(...\)"):
            AsyncNetraClient(api_key="k", endpoint="https://netra.example", backoff=wrong)  # type: ignore[arg-type]


async def test_our_headers_win() -> None:
    """NETRA_HEADERS can neither replace the key nor request another encoding."""
    async with (
        ScriptedApi([json_reply(page([]))]) as api,
        AsyncNetraClient(
            api_key="k", endpoint=api.endpoint, headers={"X-Api-Key": "other", "accept-encoding": "br", "X-Extra": "1"}
        ) as client,
    ):
        await client.list_spans_by_trace_id("t")
        headers = api.requests[0].headers
    assert (headers["x-api-key"], headers["accept-encoding"], headers["x-extra"]) == ("k", "gzip", "1")


def test_redactor() -> None:
    """Lines are printable, bounded and free of secrets, even if truncation would leave half of one."""
    redactor = Redactor("secret", "Bearer secret-longer", "a")
    assert redactor.line("a\r\n\x1b[0m secret-longer\u202e secret") == r"a \x1b[0m ***\u202e ***"
    assert "sec" not in redactor.line("x" * 297 + "secret")
    assert len(redactor.line("x" * 1000)) == 300


async def test_a_copy_counts_its_own_calls() -> None:
    """`counting` counts the calls of its copy and of the copies of that, each once however often it is tried."""
    answers = [reply(status=503), json_reply(page([])), json_reply(page([])), json_reply(page([]))]
    async with (
        ScriptedApi(answers) as api,
        AsyncNetraClient(api_key="k", endpoint=api.endpoint, clock=FakeClock()) as client,
    ):
        counting = client.counting()
        await counting.within(1).list_traces(FROM, TO)
        await counting.list_traces(FROM, TO)
        await client.list_traces(FROM, TO)
        assert (counting.counted, client.counted, client.stats.calls.total()) == (2, 1, 4)


async def test_part_of_a_client_leaves_the_rest_to_others() -> None:
    """`within` bounds the calls of all its users together, and does not delay the client itself."""
    held = reply(b"{", length=100, end="hang")
    async with (
        ScriptedApi(lambda request: held if b"behind" in request.body else json_reply(page([]))) as api,
        AsyncNetraClient(api_key="k", endpoint=api.endpoint, timeout=DEADLINE_S) as client,
    ):
        part = client.within(2)
        calls = [asyncio.create_task(part.list_traces(FROM, TO, tenant_id="behind")) for _ in range(5)]
        while len(api.requests) < 2:
            await api.asked.wait()
            api.asked.clear()
        await client.list_traces(FROM, TO)
        assert sum(b"behind" in request.body for request in api.requests) == 2
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
