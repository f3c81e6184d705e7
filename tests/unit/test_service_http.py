"""``/livez``, ``/readyz``, ``/metrics``: their responses, and that no client blocks another."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from netra_otel_bridge.core.clock import HOUR_NS, NS_PER_S
from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.core.model.health import ClockHealth, LaneHealth, ServiceHealth, UsageHealth
from netra_otel_bridge.service import http
from netra_otel_bridge.service.http import MAX_CONNECTIONS, MAX_REQUEST_BYTES, HttpEndpoints
from tests.support.examples import size
from tests.support.fake_clock import FakeClock
from tests.support.health import NOW_NS, lane_health, service_health
from tests.support.waiting import DEADLINE_S, until

PAGE_BYTES = 32 * 2**20
"""More than the buffers of two sockets hold."""
HELD = lane_health(destination="tempo", problem="not reached:\n refused", problem_since_ns=NOW_NS - 60 * NS_PER_S)


class Rows:
    """A collector with ``count`` series. Collecting waits for ``go_on``; ``most_running`` collections ran at once."""

    def __init__(self, count: int = 3, *, waits: bool = False, help_text: str = "Rows") -> None:
        self.count, self.help_text = count, help_text
        self.running = self.most_running = 0
        self.go_on = threading.Event()
        if not waits:
            self.go_on.set()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        assert self.go_on.wait(DEADLINE_S)
        family = GaugeMetricFamily("rows", self.help_text, labels=["row"])
        for number in range(self.count):
            family.add_metric([f"{number:04}"], number)
        self.running -= 1
        return [family]


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response, read to the end of the connection."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Client:
    """Talks to the endpoints over sockets of its own."""

    host: str
    port: int

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def get(self, path: str, accept: str = "", method: str = "GET", body: str = "") -> Reply:
        return await self.send(
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )

    async def send(self, request: str) -> Reply:
        async with self.open() as (reader, writer):
            writer.write(request.encode())
            data = (await reader.read()).decode()
        head, _, rest = data.partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        return Reply(int(first.split()[1]), dict(line.split(": ", 1) for line in lines), rest)


async def ended(reading: Awaitable[bytes]) -> bytes:
    """Return what arrived before the connection closed; nothing if it was reset."""
    try:
        return await reading
    except ConnectionResetError:
        return b""


@asynccontextmanager
async def serving(
    health: Callable[[], ServiceHealth] = service_health, collector: Rows | None = None
) -> AsyncIterator[Client]:
    registry = CollectorRegistry()
    registry.register(collector or Rows())
    endpoints = HttpEndpoints("127.0.0.1", 0, health, registry, FakeClock())
    host, port = await endpoints.start()
    try:
        yield Client(host, port)
    finally:
        await endpoints.close()


async def test_livez_answers_whatever_the_lanes_do() -> None:
    """``/livez`` says that the process responds, whatever the state of the lanes."""

    def never() -> ServiceHealth:
        raise AssertionError

    async with serving(never) as client:
        reply = await client.get("/livez")
    assert (reply.status, reply.body) == (200, "ok\n")
    assert reply.headers["Server"] == "netra-otel-bridge"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("lanes", "status", "lines"),
    [
        ((lane_health(),), 200, ["otlp+grpc://127.0.0.1:4317: ok, lag 31 s"]),
        (
            (lane_health(destination="jaeger"), HELD),
            503,
            ["jaeger: ok, lag 31 s", "tempo: not reached: refused, since 2026-04-30T23:59:00.000Z, lag 31 s"],
        ),
        (
            (lane_health(destination="a", stopped=True, problem="refuses", problem_since_ns=NOW_NS),),
            503,
            ["a: stopped: refuses, since 2026-05-01T00:00:00.000Z, lag 31 s"],
        ),
        (
            (lane_health(destination="a", passes=0, watermark_ns=0),),
            503,
            ["a: the first pass is in progress, lag unknown"],
        ),
        ((lane_health(destination="a\ud800", watermark_ns=NOW_NS + 1),), 200, ["a\\ud800: ok, lag 0 s"]),
        ((lane_health(destination="a", watermark_ns=NOW_NS + HOUR_NS),), 200, ["a: ok, lag -3600 s"]),
    ],
)
async def test_readyz_has_a_line_for_each_lane(lanes: tuple[LaneHealth, ...], status: int, lines: list[str]) -> None:
    """200 if every lane follows live traffic without a problem, else 503 with the problem and its start."""
    async with serving(lambda: service_health(*lanes)) as client:
        reply = await client.get("/readyz")
    assert (reply.status, reply.body.splitlines()) == (status, [*lines, "usage: ok, polled 12 s ago"])


@pytest.mark.parametrize(
    ("usage", "status", "line"),
    [
        (
            UsageHealth(started_ns=NOW_NS, problem="", problem_since_ns=0, polled_ns=NOW_NS),
            200,
            "usage: ok, polled 0 s ago",
        ),
        (UsageHealth(started_ns=NOW_NS, problem="", problem_since_ns=0, polled_ns=0), 503, "usage: not polled yet"),
        (
            UsageHealth(
                started_ns=NOW_NS, problem="Netra is\ndown", problem_since_ns=NOW_NS, polled_ns=NOW_NS - 90 * NS_PER_S
            ),
            503,
            "usage: Netra is down, since 2026-05-01T00:00:00.000Z, polled 90 s ago",
        ),
    ],
)
async def test_readyz_where_usage_alone_is_polled(usage: UsageHealth, status: int, line: str) -> None:
    """Usage is ready once it was polled completely and nothing blocks the next poll."""
    health = ServiceHealth(now_ns=NOW_NS, clock=ClockHealth(NOW_NS), lanes=(), api_calls={}, api_retries=0, usage=usage)
    async with serving(lambda: health) as client:
        reply = await client.get("/readyz")
        document = json.loads((await client.get("/readyz", "application/json")).body)
    assert (reply.status, reply.body) == (status, f"{line}\n")
    assert document["usage"]["ok"] is (status == 200)


async def test_readyz_without_a_lane() -> None:
    """A service with nothing to follow is ready, and says so."""
    async with serving(
        lambda: ServiceHealth(now_ns=NOW_NS, clock=ClockHealth(NOW_NS), lanes=(), api_calls={}, api_retries=0)
    ) as client:
        reply = await client.get("/readyz")
        document = json.loads((await client.get("/readyz", "application/json")).body)
    assert (reply.status, reply.body) == (200, "ok, nothing to follow\n")
    clocks = {"ok": True, "offset_seconds": None, "problem": "", "problem_since": None}
    assert document == {"ready": True, "lanes": [], "usage": None, "clocks": clocks}


async def test_readyz_while_the_clocks_disagree() -> None:
    """A lane that depends on a clock that may be wrong is not ready, and a line says so."""
    clock = ClockHealth(NOW_NS, HOUR_NS, "Netra's clock is 3600 s ahead of this machine's", NOW_NS - 60 * NS_PER_S)
    async with serving(lambda: replace(service_health(), clock=clock)) as client:
        reply = await client.get("/readyz")
        document = json.loads((await client.get("/readyz", "application/json")).body)
    assert reply.status == 503
    assert reply.body.splitlines()[-1] == f"clocks: {clock.problem}, since 2026-04-30T23:59:00.000Z"
    assert document["clocks"] == {
        "ok": False, "offset_seconds": 3600, "problem": clock.problem, "problem_since": "2026-04-30T23:59:00.000Z",
    }  # fmt: skip


async def test_readyz_as_json() -> None:
    """JSON has the same, with the counts, for programs."""
    async with serving(lambda: service_health(lane_health(watermark_ns=0, problem="\ud800"), HELD)) as client:
        reply = await client.get("/readyz", "text/html, application/json;q=0.9")
    assert reply.status == 503
    assert reply.headers["Content-Type"] == "application/json"
    document = json.loads(reply.body)
    assert document["ready"] is False
    unknown, held = document["lanes"]
    assert (unknown["watermark"], unknown["lag_seconds"], unknown["problem"]) == (None, None, "\\ud800")
    assert held == {
        "destination": "tempo",
        "ok": False,
        "stopped": False,
        "problem": "not reached:\n refused",
        "lag_seconds": 31.0,
        "read": 50,
        "delivered": 47,
        "refused": 2,
        "dead_lettered": 1,
        "held_back": 6,
        "retries": 4,
        "arrival": {"verified": 40, "missing": 3, "changed": 5, "failures": 8},
        "problem_since": "2026-04-30T23:59:00.000Z",
        "watermark": "2026-04-30T23:59:29.000Z",
        "checkpoint": "2026-04-30T23:59:58.000Z",
    }


async def test_metrics_in_both_formats() -> None:
    """The format is Prometheus text, or OpenMetrics on request; a parser reads both."""
    async with serving() as client:
        text = await client.get("/metrics")
        open_text = await client.get("/metrics", "application/openmetrics-text;version=1.0.0;q=0.6,*/*;q=0.2")
    assert text.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert open_text.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert open_text.body.endswith("# EOF\n")
    for families in (text_families(text.body), openmetrics_families(open_text.body)):
        assert {(one.name, len(one.samples)) for one in families} == {("rows", 3)}


async def test_without_a_registry_there_is_no_metrics_page() -> None:
    """404 names the variable to set."""
    endpoints = HttpEndpoints("127.0.0.1", 0, service_health, None, FakeClock())
    client = Client(*await endpoints.start())
    reply = await client.get("/metrics")
    assert (reply.status, "OTEL_METRICS_EXPORTER" in reply.body) == (404, True)
    await endpoints.close()


async def test_index_and_unknown_pages() -> None:
    """``/`` and a 404 list the pages; the 404 repeats nothing of the request."""
    async with serving() as client:
        index = await client.get("/?a=b")
        assert index.status == 200
        assert [line.split()[0] for line in index.body.splitlines()] == ["/livez", "/readyz", "/metrics"]
        for path in ("/metrics/", "/nothing", "/%2e%2e/livez", "//livez"):
            reply = await client.get(path)
            assert (reply.status, reply.body) == (404, "not found; the pages are /livez, /readyz, /metrics\n")


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics"])
async def test_head_is_get_without_the_body(path: str) -> None:
    """HEAD has the status and headers of GET."""
    async with serving() as client:
        get, head = await client.get(path), await client.get(path, method="HEAD")
    assert head.body == ""
    for reply in (get, head):
        reply.headers.pop("Date")
    assert (head.status, head.headers) == (get.status, get.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_not_allowed(method: str) -> None:
    """405 names the supported methods, and does not wait for the body of the request."""
    async with serving() as client, asyncio.timeout(DEADLINE_S):
        reply = await client.get("/livez", method=method, body="x")
        assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")
        unsent = await client.send(f"{method} /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert unsent.status == 405


async def test_a_page_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """500 points to the log, which has one line a minute instead of one for each probe."""

    def broken() -> ServiceHealth:
        raise LookupError("no such lane")

    async with serving(broken) as client:
        for _ in range(3):
            reply = await client.get("/readyz")
            assert (reply.status, reply.body) == (500, "this page failed: LookupError; see the log\n")
        assert (await client.get("/livez")).status == 200
    assert [record.message for record in caplog.records] == ["/readyz failed: LookupError: no such lane"]


async def test_a_port_that_is_taken_is_an_error_of_the_configuration() -> None:
    """The message names the address and the variables that set it; two services never share a port."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        endpoints = HttpEndpoints("127.0.0.1", port, service_health, None, FakeClock())
        with pytest.raises(ConfigurationError) as error:
            await endpoints.start()
        await endpoints.close()
    assert str(error.value) == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use (OTEL_EXPORTER_PROMETHEUS_HOST and "
        "OTEL_EXPORTER_PROMETHEUS_PORT set the address; port 0 picks a free one)"
    )


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 300, "192.0.2.1", "::ffff:192.0.2.1"])
async def test_a_host_that_is_not_here_is_an_error_of_the_configuration(host: str) -> None:
    """Unknown names, invalid names and addresses of other machines are configuration errors."""
    endpoints = HttpEndpoints(host, 0, service_health, None, FakeClock())
    with pytest.raises(ConfigurationError, match=r"cannot listen on .*:0: [\w -]+ \(OTEL_EXPORTER_PROMETHEUS_HOST"):
        await endpoints.start()
    await endpoints.close()


async def test_idle_connections_keep_nobody_out() -> None:
    """Above `MAX_CONNECTIONS` the oldest connection is closed, so a probe is answered at once."""
    async with serving() as client, AsyncExitStack() as stack, asyncio.timeout(DEADLINE_S):
        idle = [(await stack.enter_async_context(client.open()))[0] for _ in range(MAX_CONNECTIONS + 20)]
        assert (await client.get("/livez")).status == 200
        for reader in idle[:21]:
            assert await reader.read() == b""
        assert not any(reader.at_eof() for reader in idle[21:])


@pytest.mark.parametrize(
    ("begin", "more"), [(b"", b""), (b"GET /li", b"x"), (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n", b"x")]
)
async def test_a_request_that_does_not_end_is_cut(begin: bytes, more: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not extend the deadline, which runs from the start of the connection."""
    monkeypatch.setattr(http, "DEADLINE_S", 0.3)
    async with serving() as client, asyncio.timeout(DEADLINE_S), client.open() as (reader, writer):
        writer.write(begin)
        reading = asyncio.ensure_future(reader.read())
        while not reading.done():
            writer.write(more)
            await asyncio.sleep(0.05)
        assert await ended(reading) == b""


async def test_a_client_that_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that the client does not read is dropped at the deadline."""
    monkeypatch.setattr(http, "DEADLINE_S", 0.3)
    async with serving(collector=Rows(help_text=PAGE_BYTES * "x")) as client, asyncio.timeout(DEADLINE_S):
        async with client.open() as (reader, writer):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asyncio.sleep(0.5)  # beyond the deadline: a client that reads nothing sees no event
            assert len(await ended(reader.read())) < PAGE_BYTES
        monkeypatch.setattr(http, "DEADLINE_S", DEADLINE_S)
        assert len((await client.get("/metrics")).body) > PAGE_BYTES


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /livez HTTP/1.1\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + 3 * (b"A: " + 7000 * b"x" + b"\r\n") + b"\r\n",
        b"GET /livez HTTP/1.1\r\n" + b"".join(b"A%d: x\r\n" % number for number in range(20_000)) + b"\r\n",
    ],
)
async def test_a_request_beyond_the_limit_is_not_read(request_bytes: bytes) -> None:
    """The limit holds for one long line, for a few long ones and for many short ones."""
    assert len(request_bytes) > MAX_REQUEST_BYTES
    async with serving() as client, asyncio.timeout(DEADLINE_S):
        async with client.open() as (reader, writer):
            writer.write(request_bytes)
            answer = await ended(reader.read())
        assert answer[9:13] in (b"", b"400 ")
        assert (await client.get("/livez")).status == 200


@pytest.mark.parametrize("garbage", ["\x16\x03\x01\x02\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\nx\r\n\r\n"])
async def test_what_is_not_http_is_answered_shortly(garbage: str, caplog: pytest.LogCaptureFixture) -> None:
    """400 repeats nothing of the request; only the debug log has a line, at most once a minute."""
    caplog.set_level(logging.DEBUG, "netra_otel_bridge")
    async with serving() as client:
        for _ in range(3):
            reply = await client.send(garbage)
            assert (reply.status, reply.body) == (400, "not a readable HTTP request\n")
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert caplog.records[0].exc_info is None


async def test_a_second_request_in_a_connection_is_not_answered() -> None:
    """A connection serves one request; pipelined ones are dropped."""
    async with serving() as client:
        reply = await client.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
    assert reply.body == "ok\n"


async def test_metrics_are_made_beside_the_event_loop_one_page_after_the_other() -> None:
    """Probes are answered while a slow page is rendered; two concurrent requests for it both get it whole."""
    rows = Rows(waits=True)
    async with serving(collector=rows) as client:
        pages = [asyncio.ensure_future(client.get("/metrics")) for _ in range(2)]
        await until(lambda: rows.running)
        assert (await client.get("/livez")).status == 200
        assert not any(page.done() for page in pages)
        rows.go_on.set()
        first, second = await asyncio.gather(*pages)
    assert first.body == second.body
    assert rows.most_running == 1


async def test_the_event_loop_runs_while_a_page_of_thousands_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many series block the loop for much less than the time that the page takes, at least in the best of some rounds.

    On a busy machine the loop's thread also waits for a processor.
    """
    monkeypatch.setattr(http, "DEADLINE_S", DEADLINE_S)
    rows, longest_s = size(25_000, 50_000), 0.0

    async def beat() -> None:
        nonlocal longest_s
        while True:
            begun = time.monotonic()
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.monotonic() - begun)

    shares: list[float] = []
    async with serving(collector=Rows(rows)) as client:
        while not shares or (min(shares) >= 0.5 and len(shares) < 10):
            longest_s = 0.0
            beating = asyncio.ensure_future(beat())
            begun = time.monotonic()
            reply = await client.get("/metrics")
            shares.append(longest_s / (time.monotonic() - begun))
            beating.cancel()
            assert reply.body.count("\n") == rows + 2
    assert min(shares) < 0.5


async def test_closing_ends_what_is_open_and_frees_the_port() -> None:
    """Closing ends in time with a page in progress and an idle connection; closing again does nothing."""
    rows = Rows(waits=True)
    registry = CollectorRegistry()
    registry.register(rows)
    endpoints = HttpEndpoints("127.0.0.1", 0, service_health, registry, FakeClock())
    client = Client(*await endpoints.start())
    async with asyncio.timeout(DEADLINE_S), client.open() as (reader, _):
        page = asyncio.ensure_future(client.get("/metrics"))
        await until(lambda: rows.running)
        closing = asyncio.ensure_future(endpoints.close())
        await asyncio.sleep(0.05)
        rows.go_on.set()
        await closing
        await endpoints.close()
        assert await reader.read() == b""
        assert (await page).status == 200
    with pytest.raises(ConnectionRefusedError):
        await client.get("/livez")
    again = HttpEndpoints(client.host, client.port, service_health, None, FakeClock())
    assert await again.start() == (client.host, client.port)
    await again.close()


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9464", "127.0.0.1", "127.0.0.1:80", "127.0.0.2", "[::1]", "[::1]:9464", "localhost:"],
)
async def test_a_request_that_names_loopback_is_answered(host: str) -> None:
    """On loopback, every name of loopback is a name of this server, with any port."""
    async with serving() as client:
        assert (await client.send(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n")).status == 200


@pytest.mark.parametrize(
    "head",
    ["Host: evil.example", "Host: evil.example:9464", "Host: 127.0.0.1.evil.example", "Host: localhost.evil.example",
     "Host: localhost@evil.example", "Host: [::2]", "Host: 192.0.2.1", "Host:", "Accept: x",
     "Host: localhost\r\nHost: evil.example", "Host: evil.example\r\nHost: localhost"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/livez", "/nope"])
async def test_a_request_that_names_another_host_reads_nothing(head: str, path: str) -> None:
    """On loopback, a name that resolves here (DNS rebinding), no name or several read no page."""
    async with serving() as client:
        reply = await client.send(f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n")
    assert reply.status in (400, 421)
    assert "rows" not in reply.body
    assert "lag" not in reply.body
    if reply.status == 421:
        assert "ask for localhost" in reply.body


async def test_an_address_that_others_reach_has_no_names() -> None:
    """On other addresses any name may be in front, such as that of a pod; there the network decides who reads."""
    endpoints = HttpEndpoints("0.0.0.0", 0, service_health, CollectorRegistry(), FakeClock())
    _, port = await endpoints.start()
    try:
        assert (await Client("127.0.0.1", port).send("GET /livez HTTP/1.1\r\nHost: pod-7\r\n\r\n")).status == 200
    finally:
        await endpoints.close()
