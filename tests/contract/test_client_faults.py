"""The client against a scripted server with the faults of an API: delays, truncation, loops, rejections."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import ssl
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import trustme

from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.errors import (
    ConfigurationError,
    NetraCursorRefused,
    NetraError,
    NetraNotFound,
    NetraRateLimited,
    NetraRejected,
    NetraResponseTooLarge,
    NetraSchemaError,
    NetraUnauthorized,
    NetraUnavailable,
    NetraUntrusted,
    PaginationLoop,
    UsageError,
)
from netra_otel_bridge.core.model.netra import SpansPage
from netra_otel_bridge.source import AsyncNetraClient
from tests.support.examples import size
from tests.support.fake_clock import FakeClock
from tests.support.scripted_api import (
    Reply,
    Request,
    Script,
    ScriptedApi,
    gzip_reply,
    json_reply,
    page,
    reply,
    span,
    trace,
)
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.faults

KEY = "canary-key-7f3a91"
TRACE = "ab" * 16
PAGE = page([span(1), span(2)])
FROM, TO = "2026-04-30T00:00:00.000Z", "2026-05-01T00:00:00.000Z"


def make_client(api: ScriptedApi, clock: FakeClock | None = None, **options: Any) -> AsyncNetraClient:
    return AsyncNetraClient(api_key=KEY, endpoint=api.endpoint, clock=clock or FakeClock(), **options)


async def read(script: Script, clock: FakeClock | None = None, **options: Any) -> tuple[SpansPage, list[Request]]:
    """Return one page of spans from a server with this script, and the requests for it."""
    async with ScriptedApi(script) as api, make_client(api, clock, **options) as client:
        return await client.list_spans_by_trace_id(TRACE), api.requests


async def fail(script: Script, kind: type[NetraError], clock: FakeClock | None = None, **options: Any) -> Any:
    """Return the error of reading one page of spans, and the requests that led to it."""
    async with ScriptedApi(script) as api, make_client(api, clock, **options) as client:
        with pytest.raises(kind) as caught:
            await client.list_spans_by_trace_id(TRACE)
        assert KEY not in "".join(traceback.format_exception(caught.value))
        assert "\n" not in str(caught.value)
        return caught.value, api.requests


# 429 with Retry-After in seconds, as a date, 0, negative, enormous, junk, absent


@pytest.mark.parametrize(
    ("header", "asked_s"),
    [("7", 7), ("2.5", 2.5), ("0", 0), ("-5", 0), ("soon", 0), ("", 0), (None, 0), ("9" * 400, 30), ("86400", 30)],
)
async def test_throttled_waits_as_requested(
    header: str | None, asked_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """After a 429 the wait is at least the requested one and at most the cap, which is logged; then the request is sent again."""
    caplog.set_level(logging.WARNING)
    clock = FakeClock()
    throttled = reply(status=429, headers={} if header is None else {"Retry-After": header})
    got, requests = await read([throttled, json_reply(PAGE)], clock)
    assert len(got.spans) == 2
    assert [request.target for request in requests] == [requests[0].target] * 2
    assert asked_s <= sum(clock.waits) <= 30
    assert ("the configured maximum" in caplog.text) == (header in {"86400", "9" * 400})


async def test_throttled_until_a_date() -> None:
    """After a 429 with an HTTP date, the wait reaches that date."""
    clock = FakeClock()
    until = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC) + timedelta(seconds=12)
    headers = {"Retry-After": format_datetime(until, usegmt=True)}
    await read([reply(status=429, headers=headers), json_reply(PAGE)], clock)
    assert 12 <= sum(clock.waits) <= 30


async def test_throttled_to_the_end() -> None:
    """A 429 to the last attempt is its own error, and the number of attempts is bounded."""
    error, requests = await fail([json_reply({"message": "slow\ndown"}, status=429)], NetraRateLimited)
    assert len(requests) == 6
    assert error.status == 429
    assert "after 6 attempts: HTTP 429: slow down" in str(error)


async def test_throttled_holds_every_call() -> None:
    """One call's Retry-After pauses all calls of the client, and fewer are in flight afterwards."""
    clock = FakeClock()
    async with (
        ScriptedApi([reply(status=503, headers={"Retry-After": "9"}), json_reply(PAGE)]) as api,
        make_client(api, clock, backoff=Backoff(attempts=1), max_concurrency=8) as client,
    ):
        with pytest.raises(NetraUnavailable):
            await client.list_spans_by_trace_id(TRACE)
        assert clock.waits == []
        await client.list_spans_by_trace_id(TRACE)
    assert clock.waits == [9]


async def test_a_stop_wakes_the_wait() -> None:
    """Cancelling a call that waits for Retry-After ends it at once."""
    async with (
        ScriptedApi([reply(status=429, headers={"Retry-After": "20"})]) as api,
        AsyncNetraClient(api_key=KEY, endpoint=api.endpoint) as client,
    ):
        call = asyncio.create_task(client.list_spans_by_trace_id(TRACE))
        await asyncio.wait_for(api.asked.wait(), DEADLINE_S)
        await asyncio.sleep(0.05)
        began = time.monotonic()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert time.monotonic() - began < 20 / 2, "half of the wait that Netra asks for"


# 500/502/503/504 bursts, refused, reset, time-out in head or body


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520])
async def test_server_errors_are_tried_again(status: int) -> None:
    """A burst of 5xx is survived, including web pages of gateways; the waits are jittered and bounded."""
    clock = FakeClock()
    burst = [reply(b"<html>oops</html>", status=status, content_type="text/html")] * 4
    got, requests = await read([*burst, json_reply(PAGE)], clock)
    assert len(got.spans) == 2
    assert len(requests) == 5
    assert all(0 <= wait <= 0.25 * 2**n for n, wait in enumerate(clock.waits))


async def test_server_errors_to_the_end() -> None:
    """A 5xx to the last attempt is a retryable error, not the end of the data."""
    error, requests = await fail([reply(b'{"error": "database"}', status=500)], NetraUnavailable)
    assert len(requests) == 6
    assert error.retryable
    assert f"GET /sdk/traces/{{id}}/spans for {TRACE} at 127.0.0.1:" in str(error)
    assert "HTTP 500: database" in str(error)


async def test_an_error_in_the_middle_never_ends_a_listing() -> None:
    """A 5xx from the second page on is raised by the iterator after the first page's items."""
    first = json_reply(page([trace(1)], more=True))
    async with ScriptedApi([first, reply(status=503)]) as api, make_client(api) as client:
        traces = client.iter_traces(FROM, TO)
        assert (await anext(traces)).id == trace(1)["id"]
        with pytest.raises(NetraUnavailable):
            await anext(traces)


async def test_refused_connection() -> None:
    """A port without a listener is tried again, then reported in one clear line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    clock = FakeClock()
    async with AsyncNetraClient(api_key=KEY, endpoint=f"http://127.0.0.1:{port}", clock=clock) as client:
        with pytest.raises(NetraUnavailable, match=r"after 6 attempts: no connection \(Connect") as caught:
            await client.list_spans_by_trace_id(TRACE)
    assert len(clock.waits) == 5
    assert "NETRA_OTLP_ENDPOINT" in caught.value.hint


async def test_unknown_host_name() -> None:
    """A name that does not resolve says so."""
    client = AsyncNetraClient(
        api_key=KEY, endpoint="https://netra.invalid", clock=FakeClock(), backoff=Backoff(attempts=2)
    )
    async with client:
        with pytest.raises(NetraUnavailable, match=r"at netra\.invalid:443 failed after 2 attempts: its name cannot"):
            await client.list_spans_by_trace_id(TRACE)


@pytest.mark.parametrize("bytes_sent", [0, 9, 40, 200])
@pytest.mark.parametrize("end", ["reset", "close"])
async def test_reset_and_closed_connections(bytes_sent: int, end: Any) -> None:
    """A request is sent again if its connection ends before, in, or after the head of the answer."""
    whole = json_reply(PAGE)
    got, requests = await read([Reply(whole.raw[:bytes_sent], end=end), Reply(whole.raw[:bytes_sent], end=end), whole])
    assert len(got.spans) == 2
    assert len(requests) >= 3


@pytest.mark.parametrize("bytes_sent", [0, 30, 150], ids=["nothing", "in the head", "in the body"])
async def test_time_out(bytes_sent: int) -> None:
    """If a server stops in head or body, the deadline ends the attempt, and the next one succeeds."""
    whole = json_reply(PAGE)
    got, requests = await read([Reply(whole.raw[:bytes_sent], end="hang"), whole], timeout=0.5)
    assert len(got.spans) == 2
    assert len(requests) == 2


async def test_time_out_to_the_end() -> None:
    """The error of a deadline names the seconds and the variable that sets them."""
    error, _ = await fail([Reply(b"", end="hang")], NetraUnavailable, timeout=0.1, backoff=Backoff(attempts=2))
    assert "no complete response within 0.1 s (NETRA_USAGE_TIMEOUT" in str(error)


async def test_not_http() -> None:
    """A peer that speaks another protocol is an error of one line."""
    error, _ = await fail([Reply(b"220 smtp ready\r\n\r\n", end="close")], NetraUnavailable)
    assert "not HTTP" in str(error)


# truncated JSON, short body, gzip cut anywhere (also in its trailer)


async def test_truncated_json_is_read_again() -> None:
    """JSON that ends early inside a complete HTTP answer is discarded and requested again."""
    body = json.dumps(PAGE).encode()
    cuts = [reply(body[:size]) for size in (0, 1, len(body) // 2, len(body) - 1)]
    got, requests = await read([*cuts, reply(body)])
    assert len(got.spans) == 2
    assert len(requests) == 5


async def test_truncated_json_to_the_end() -> None:
    """JSON that is truncated every time means that Netra is unavailable, not that the page is empty."""
    error, requests = await fail([reply(b'{"data": {"data": [')], NetraUnavailable)
    assert len(requests) == 6
    assert "not complete JSON" in str(error)


async def test_short_body_is_read_again() -> None:
    """A page with fewer bytes than its Content-Length is discarded and requested again."""
    body = json.dumps(PAGE).encode()
    got, requests = await read([reply(body, length=len(body) + 5, end="close"), reply(body)])
    assert len(got.spans) == 2
    assert len(requests) == 2


async def test_gzip_is_asked_for_and_read() -> None:
    """Only gzip is requested."""
    got, requests = await read([gzip_reply(PAGE)])
    assert len(got.spans) == 2
    assert requests[0].headers["accept-encoding"] == "gzip"


async def test_gzip_cut_anywhere_is_read_again() -> None:
    """A gzip body cut at any byte, even in its trailer, is discarded, although the HTTP answer is complete."""
    packed = gzip.compress(json.dumps(PAGE).encode(), mtime=0)
    whole = reply(packed, headers={"Content-Encoding": "gzip"})
    cuts = iter(range(len(packed)))

    def script(request: Request) -> Reply:
        return reply(packed[: next(cuts)], headers={"Content-Encoding": "gzip"})

    async with ScriptedApi(script) as api, make_client(api, backoff=Backoff(attempts=1)) as client:
        for _ in range(len(packed)):
            with pytest.raises(NetraUnavailable):
                await client.list_spans_by_trace_id(TRACE)
    got, requests = await read([reply(packed[:-1], headers={"Content-Encoding": "gzip"}), whole])
    assert len(got.spans) == 2
    assert len(requests) == 2


async def test_gzip_with_a_wrong_checksum_is_read_again() -> None:
    """A trailer that does not match its data means a damaged body."""
    packed = bytearray(gzip.compress(json.dumps(PAGE).encode()))
    packed[-6] ^= 1
    _, requests = await read([reply(bytes(packed), headers={"Content-Encoding": "gzip"}), json_reply(PAGE)])
    assert len(requests) == 2


# wrong shape: page / item / unknown extras


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ([], "$ is a list"),
        (7, "$ is a number"),
        ({}, "$.data is missing"),
        ({"data": None}, "$.data is null"),
        ({"data": {}}, "$.data.data is missing"),
        ({"data": {"data": None, "pageInfo": {"hasNextPage": False}}}, "$.data.data is null"),
        ({"data": {"data": {}, "pageInfo": {"hasNextPage": False}}}, "$.data.data is an object"),
        ({"data": {"data": []}}, "$.data.pageInfo is missing"),
        ({"data": {"data": [], "pageInfo": {}}}, "$.data.pageInfo.hasNextPage is missing"),
        ({"data": {"data": [], "pageInfo": {"hasNextPage": "false"}}}, "$.data.pageInfo.hasNextPage is a string"),
        ({"data": {"data": [], "pageInfo": {"hasNextPage": None}}}, "$.data.pageInfo.hasNextPage is null"),
        ({"data": {"data": [], "pageInfo": {"hasNextPage": 0}}}, "$.data.pageInfo.hasNextPage is a number"),
        ({"error": "internal", "code": 7}, "$.data is missing"),
    ],
)
async def test_wrong_shape_of_a_page(body: Any, where: str) -> None:
    """A page of the wrong shape is an error with the JSON path after a few attempts, never an empty page."""
    error, requests = await fail([json_reply(body)], NetraSchemaError)
    assert len(requests) == 3
    assert where in str(error)


async def test_wrong_shape_that_passes() -> None:
    """A wrong shape for a moment, as during a deployment, is survived."""
    got, _ = await read([json_reply({"data": None}), json_reply(PAGE)])
    assert len(got.spans) == 2


async def test_wrong_shape_of_an_item() -> None:
    """An item that is not a span is reported with its path; the other items are kept."""
    items = [span(number) for number in range(1, 20)]
    got, _ = await read([json_reply(page([*items[:3], "poison", *items[3:]]))])
    assert [item.id for item in got.spans] == [item["id"] for item in items]
    assert [(bad.path, bad.reason) for bad in got.unreadable] == [("$.data.data[3]", "it is a string, not an object")]


async def test_more_than_a_tenth_of_bad_items() -> None:
    """More than 10 % bad items: the API has changed, and the page is rejected."""
    items = [span(1), span(2), span(3), {"name": "no id"}, None]
    error, _ = await fail([json_reply(page(items))], NetraSchemaError)
    assert "2 of 5 items cannot be read, first $.data.data[3]" in str(error)


async def test_unknown_extras_are_ignored() -> None:
    """Unknown fields are not an error anywhere, not even one named like a field of ours."""
    body = page([span(1, flavour={"a": [1]}, unreadable=["id"])])
    body["data"]["pageInfo"]["total"] = 7
    body["trace"] = None
    got, _ = await read([json_reply(body)])
    assert got.unreadable == ()
    assert got.spans[0].unreadable == ()


# cursor that repeats or cycles (length 1, 2, 7), is refused or has expired


@pytest.mark.parametrize("length", [1, 2, 7])
async def test_cursor_cycle(length: int) -> None:
    """Cursors that cycle end in PaginationLoop after one round, with no request storm."""

    def script(request: Request) -> Reply:
        cursor = request.json["pagination"].get("cursor", "c0")
        return json_reply(page([trace(1 + int(cursor[1:]) % length)], more=True))

    async with ScriptedApi(script) as api, make_client(api) as client:
        with pytest.raises(PaginationLoop, match="repeated an earlier cursor"):
            async for _ in client.iter_traces(FROM, TO):
                pass
        assert len(api.requests) == length + 1


async def test_cursor_that_stays_where_the_caller_began() -> None:
    """The caller's first cursor counts as used."""
    async with ScriptedApi([json_reply(page([trace(5)], more=True))]) as api, make_client(api) as client:
        with pytest.raises(PaginationLoop):
            async for _ in client.iter_traces(FROM, TO, cursor="c5"):
                pass
        assert len(api.requests) == 1


@pytest.mark.parametrize("status", [400, 410, 422])
async def test_cursor_refused(status: int) -> None:
    """A rejected cursor of this listing is its own error, so that the window can be listed again."""
    expired = json_reply({"message": "cursor expired"}, status=status)
    async with ScriptedApi([json_reply(page([trace(1)], more=True)), expired]) as api, make_client(api) as client:
        with pytest.raises(NetraCursorRefused, match="cursor expired") as caught:
            async for _ in client.iter_traces(FROM, TO):
                pass
        assert len(api.requests) == 2
    assert caught.value.status == status


async def test_request_refused() -> None:
    """Any other 4xx is the request's fault: one attempt, and the server's message in one bounded line."""
    words = "bad \x1b[31mfield\r\n" + "x" * 500
    error, requests = await fail([json_reply({"message": [words]}, status=400)], NetraRejected)
    assert not isinstance(error, NetraCursorRefused)
    assert len(requests) == 1
    assert "HTTP 400: bad \\x1b[31mfield xxx" in str(error)
    assert len(str(error)) < 420


# hasNextPage true with an empty page, missing, a string


async def test_has_next_page_with_an_empty_page() -> None:
    """An empty page that promises more is neither the end nor a busy loop: three attempts with back-off, then an error."""
    clock = FakeClock()
    first = json_reply(page([trace(1)], more=True))
    async with ScriptedApi([first, json_reply(page([], more=True))]) as api, make_client(api, clock) as client:
        with pytest.raises(PaginationLoop, match=r"hasNextPage is true, but the page was empty 3 times"):
            async for _ in client.iter_traces(FROM, TO):
                pass
        cursors = [request.json["pagination"].get("cursor") for request in api.requests]
    assert cursors == [None, "c1", "c1", "c1"]
    assert len(clock.waits) == 2


async def test_empty_page_that_fills() -> None:
    """An empty page that promises more is requested again until the items are there."""
    pages = [page([], more=True), page([], more=True), page([trace(1)], more=True), page([], more=False)]
    async with ScriptedApi([json_reply(body) for body in pages]) as api, make_client(api) as client:
        got = [item.id async for item in client.iter_traces(FROM, TO)]
    assert got == [trace(1)["id"]]


async def test_has_next_page_missing_or_a_string() -> None:
    """A full page without a readable hasNextPage is neither last nor followed: a few attempts, then an error."""
    for info in ({}, {"hasNextPage": "true"}):
        body = {"data": {"data": [trace(1)], "pageInfo": info}}
        async with ScriptedApi([json_reply(body)]) as api, make_client(api) as client:
            with pytest.raises(NetraSchemaError, match=r"\$\.data\.pageInfo\.hasNextPage"):
                async for _ in client.iter_traces(FROM, TO):
                    pass
            assert len(api.requests) == 3


async def test_last_item_without_a_cursor() -> None:
    """A page that promises more without a cursor is an error, not the end."""
    body = page([trace(1), trace(2, cursor=None)], more=True)
    async with ScriptedApi([json_reply(body)]) as api, make_client(api) as client:
        traces = client.iter_traces(FROM, TO)
        assert [(await anext(traces)).id for _ in range(2)] == [trace(1)["id"], trace(2)["id"]]
        with pytest.raises(NetraSchemaError, match="but the last item has no cursor"):
            await anext(traces)
        assert len(api.requests) == 1


# key expired or revoked in the middle (401/403)


@pytest.mark.parametrize("status", [401, 403])
async def test_unauthorized(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """A rejected key takes one request and has its own exit code, and nothing printed shows the key."""
    caplog.set_level(logging.DEBUG)
    body = json_reply({"message": f"key {KEY} is not valid"}, status=status)
    async with ScriptedApi([body]) as api, make_client(api, headers={"Authorization": "Bearer s3cr3t"}) as client:
        with pytest.raises(NetraUnauthorized) as caught:
            await client.list_spans_by_trace_id(TRACE)
        assert len(api.requests) == 1
        assert api.requests[0].headers["x-api-key"] == KEY
        printed = [repr(client), str(client), repr(caught.value), str(caught.value), caplog.text]
    chained = [caught.value.__cause__, caught.value.__context__]
    assert chained == [None, None]
    assert caught.value.exit_code == 77
    assert "key *** is not valid" in str(caught.value)
    assert not [text for text in printed if KEY in text or "s3cr3t" in text]


@pytest.mark.parametrize("bad", [Reply(b"junk\r\n\r\n", end="close"), Reply(b"", end="reset")])
async def test_errors_carry_no_request(bad: Reply) -> None:
    """Our errors do not refer to aiohttp's, which contain the request's headers."""
    error, _ = await fail([bad], NetraUnavailable, backoff=Backoff(attempts=1))
    assert error.__cause__ is None
    assert error.__context__ is None


# a byte every 0.4 s


async def test_a_byte_at_a_time() -> None:
    """The deadline of the whole request ends a dripping body; a read timeout would never fire."""
    drip = Reply(json_reply(PAGE).raw, step=1, pause_s=0.1)
    began = time.monotonic()
    await fail([drip], NetraUnavailable, timeout=0.3, backoff=Backoff(attempts=1))
    assert 0.25 < time.monotonic() - began < len(drip.raw) * drip.pause_s / 2


# gzip bomb, huge or endless body, unasked encodings


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_gzip_bomb(encoding: str) -> None:
    """A body that inflates a thousandfold is rejected at the cap, with flat memory, and requested once."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size(64, 300))) + packer.flush()
    tracemalloc.start()
    try:
        error, requests = await fail(
            [reply(bomb, headers={"Content-Encoding": encoding})], NetraResponseTooLarge, max_response_bytes=4 << 20
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(requests) == 1
    assert peak < 16 << 20
    assert "more than 4194304 decoded bytes" in str(error)


async def test_huge_body_by_its_length() -> None:
    """A body with a Content-Length beyond the cap is rejected unread."""
    await fail([reply(b"{", length=1 << 40, end="hang")], NetraResponseTooLarge)


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Connection: close"])
async def test_endless_body(framing: str) -> None:
    """An endless body is rejected at the cap."""
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n" if "chunked" in framing else b" " * 0x10000
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{framing}\r\n\r\n".encode()
    await fail([Reply(head + piece * 64, end="hang")], NetraResponseTooLarge, max_response_bytes=1 << 20)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
async def test_unasked_encoding(encoding: str) -> None:
    """An encoding that was not requested is an error that names it."""
    error, requests = await fail([reply(b"\x00", headers={"Content-Encoding": encoding})], NetraUnavailable)
    assert len(requests) == 1
    assert repr(encoding) in str(error)


async def test_a_page_that_is_too_large_is_requested_in_smaller_ones() -> None:
    """A page beyond the cap is requested again with a quarter of the items, down to one; a larger item is an error."""

    def script(request: Request) -> Reply:
        limit = int(request.target.rpartition("limit=")[2])
        return json_reply(page([span(number, name="x" * 1000) for number in range(limit)]))

    for cap_bytes, items, requests in ((40_000, 25, 2), (2_000, 1, 4)):
        async with ScriptedApi(script) as api, make_client(api, max_response_bytes=cap_bytes) as client:
            assert [len(got.spans) async for got in client.iter_span_pages(TRACE, limit=100)] == [items]
            assert len(api.requests) == requests
    async with ScriptedApi(script) as api, make_client(api, max_response_bytes=1_000) as client:
        with pytest.raises(NetraResponseTooLarge):
            _ = [got async for got in client.iter_span_pages(TRACE, limit=100)]
        assert len(api.requests) == 4


# redirects, plain http to another host, proxy variables


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    """The key is not sent to the target of a redirect."""
    async with ScriptedApi([json_reply(PAGE)]) as other:
        location = {"Location": f"{other.url}/login?token=t0ps3cret"}
        error, requests = await fail([reply(status=status, headers=location)], NetraNotFound)
        assert other.requests == []
    assert len(requests) == 1
    assert "a redirect to http://127.0.0.1; none is followed" in str(error)
    assert "t0ps3cret" not in str(error)


async def test_plain_http_to_another_host() -> None:
    """Plain http is accepted for loopback, and elsewhere only with ``allow_insecure``."""
    for host in ("netra.example", "10.0.0.1", "127.0.0.1.evil.example", "localhost.evil.example"):
        with pytest.raises(ConfigurationError, match="plain http") as caught:
            AsyncNetraClient(api_key=KEY, endpoint=f"http://{host}/telemetry")
        assert KEY not in str(caught.value)
        AsyncNetraClient(api_key=KEY, endpoint=f"http://{host}/telemetry", allow_insecure=True)
    for host in ("localhost", "127.0.0.1", "127.8.8.8", "[::1]"):
        AsyncNetraClient(api_key=KEY, endpoint=f"http://{host}:9/telemetry")


async def test_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxies, meant for other programs, do not receive the key."""
    async with ScriptedApi([json_reply(page([]))]) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        got, _ = await read([json_reply(PAGE)])
        assert len(got.spans) == 2
        assert proxy.requests == []


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (200, "text/html; charset=utf-8", b"<html>sign in</html>"),
        (200, "application/json", b"  <!doctype html>"),
        (404, "application/json", b'{"message": "Cannot GET /sdk"}'),
        (405, "text/plain", b"Method Not Allowed"),
    ],
)
async def test_not_the_api(status: int, content_type: str, body: bytes) -> None:
    """A web page, 404 or 405 is from something else: one attempt, and the hint names the setting."""
    error, requests = await fail([reply(body, status=status, content_type=content_type)], NetraNotFound)
    assert len(requests) == 1
    assert "NETRA_OTLP_ENDPOINT" in error.hint
    assert error.exit_code == 78


async def test_ids_cannot_reach_another_path() -> None:
    """An id is one quoted path segment; one with parts of a relative path is rejected before sending."""
    async with ScriptedApi([json_reply(PAGE)]) as api, make_client(api) as client:
        await client.list_spans_by_trace_id("a/b?c=d#e%2F \udc80é..")
        for bad in ("..", ".", "../x", "a/../../usage", "a\\..\\b", ""):
            with pytest.raises(UsageError):
                await client.list_spans_by_trace_id(bad)
        assert [request.target for request in api.requests] == [
            "/sdk/traces/a%2Fb%3Fc%3Dd%23e%252F%20%5Cudc80%C3%A9../spans?direction=down"
        ]


# TLS


async def test_tls_with_a_known_authority() -> None:
    """https works with the given certificate authorities."""
    ca = trustme.CA()
    async with (
        ScriptedApi([json_reply(PAGE)], tls=server_tls(ca, "127.0.0.1")) as api,
        make_client(api, ssl_context=client_tls(ca)) as client,
    ):
        assert len((await client.list_spans_by_trace_id(TRACE)).spans) == 2


@pytest.mark.parametrize(
    ("context", "cause"),
    [
        (lambda ca: None, "its TLS certificate is not accepted"),
        (lambda ca: client_tls(trustme.CA()), "its TLS certificate is not accepted"),
    ],
)
async def test_tls_untrusted(context: Callable[[trustme.CA], ssl.SSLContext | None], cause: str) -> None:
    """An untrusted certificate is a configuration error: one attempt, one clear line."""
    ca = trustme.CA()
    async with (
        ScriptedApi([json_reply(PAGE)], tls=server_tls(ca, "127.0.0.1")) as api,
        make_client(api, ssl_context=context(ca)) as client,
    ):
        with pytest.raises(NetraUntrusted, match=cause) as caught:
            await client.list_spans_by_trace_id(TRACE)
        assert api.requests == []
    assert caught.value.exit_code == 78
    assert "attempts" not in str(caught.value)


async def test_tls_for_another_host() -> None:
    """A certificate of another host is rejected."""
    ca = trustme.CA()
    async with (
        ScriptedApi([json_reply(PAGE)], tls=server_tls(ca, "other.example")) as api,
        make_client(api, ssl_context=client_tls(ca)) as client,
    ):
        with pytest.raises(NetraUntrusted, match="is not accepted"):
            await client.list_spans_by_trace_id(TRACE)


async def test_tls_where_there_is_none() -> None:
    """https to a port that speaks plain http says so."""
    async with ScriptedApi([Reply(b"HTTP/1.1 400 Bad Request\r\n\r\n", end="close")]) as api:
        client = AsyncNetraClient(api_key=KEY, endpoint=f"https://127.0.0.1:{api.port}", clock=FakeClock())
        async with client:
            with pytest.raises(NetraUntrusted, match="does it speak https"):
                await client.list_spans_by_trace_id(TRACE)


def server_tls(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


def client_tls(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


# huge attributes, deep nesting, 10^5-digit integers, lone surrogates, NUL, NaN


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ("name", b'"\\ud800x"', "\\ud800x"),
        ("name", b'"a\\u0000b"', "a\0b"),
        ("total_cost", b"NaN", None),
        ("total_cost", b"1e999", None),
        ("total_cost", b'"0.25"', 0.25),
        ("total_tokens", b"18446744073709551617", 2**64 + 1),
        ("total_tokens", b"9" * 100_000, None),
        ("start_time_ms", b"9" * 100_000, "9" * 100_000),
        ("attributes", b'"' + b"x" * 1_000_000 + b'"', "x" * 1_000_000),
        ("kind", b"3", 3),
        ("has_error", b'"true"', True),
        ("has_error", b"0", False),
        ("has_error", b'"maybe"', None),
        ("session_id", b"12345", "12345"),
        ("session_id", b"{}", None),
    ],
)
async def test_odd_values(field: str, raw: bytes, value: object) -> None:
    """Values that strict parsers reject, or of another type, are read if possible and named otherwise."""
    plain = json.dumps(page([span(1), span(2, **{field: "PLACE"})])).encode()
    got, _ = await read([reply(plain.replace(b'"PLACE"', raw))])
    assert [item.id for item in got.spans] == [span(1)["id"], span(2)["id"]]
    assert getattr(got.spans[1], field) == value
    assert got.spans[1].unreadable == (() if value is not None else (field,))


async def test_deep_nesting() -> None:
    """Nesting too deep for Python is a schema error, not a crash."""
    body = b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    error, _ = await fail([reply(body)], NetraSchemaError)
    assert "nested too deeply" in str(error)
