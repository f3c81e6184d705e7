"""Each reader over HTTP, and each thing that goes wrong while it asks: it waits, or fails with an error; nothing is "missing"."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import (
    DestinationError,
    DestinationMisconfigured,
    DestinationUnauthorized,
    DestinationUnavailable,
)
from netra_otel_bridge.deliver import encode_span
from netra_otel_bridge.deliver.otlp.encode import encode_request, varint
from netra_otel_bridge.deliver.otlp.json import traces_data
from netra_otel_bridge.readback import tempo
from netra_otel_bridge.readback.address import Address
from netra_otel_bridge.readback.asking import Asker, Response
from netra_otel_bridge.readback.jaeger_http import JaegerHttpReader
from netra_otel_bridge.readback.patience import REFUSING_HINT, Again, Patience
from netra_otel_bridge.readback.phoenix import PhoenixReader
from netra_otel_bridge.readback.reader import NoSearch, TraceNotReturned
from netra_otel_bridge.readback.tempo import TempoReader
from tests.support.fake_clock import FakeClock
from tests.support.scripted_api import Reply, Request, ScriptedApi, json_reply, reply
from tests.support.server import free_ports
from tests.support.spans import make_span

pytestmark = pytest.mark.faults

SPAN = make_span(7, trace_id=0xABCD, attributes={"text": "ü"})
TRACE = f"{0xABCD:032x}"
SECRET = "s3cret-token"
PHOENIX_ROW = {
    "name": "span 7",
    "context": {"trace_id": TRACE, "span_id": f"{7:016x}"},
    "span_kind": "UNKNOWN",
    "parent_id": None,
    "start_time": "2025-05-11T21:46:40.123457+00:00",
    "end_time": "2025-05-11T21:46:40.124957+00:00",
    "status_code": "UNSET",
    "attributes": {"text": "ü"},
    "events": [],
}
Reader = JaegerHttpReader | TempoReader | PhoenixReader
READERS: tuple[type[Reader], ...] = (JaegerHttpReader, TempoReader, PhoenixReader)
NOT_FOUND = reply(b"404 page not found\n", status=404, content_type="text/plain")


def good(reader: type[Reader]) -> Callable[[Request], Reply]:
    """Return the answers of a store that has `SPAN`."""

    def answer(request: Request) -> Reply:
        if reader is JaegerHttpReader:
            return json_reply({"result": traces_data([SPAN])})
        if reader is TempoReader:
            if request.target.startswith("/api/v2"):
                return NOT_FOUND
            return reply(encode_request([SPAN], [encode_span(SPAN)]), content_type="application/protobuf")
        if "/spans" not in request.target:
            return json_reply({"data": [{"name": "default", "id": "p1"}], "next_cursor": None})
        return json_reply({"data": [PHOENIX_ROW], "next_cursor": None})

    return answer


def opened(reader: type[Reader], port: int, *, timeout_s: float = 5.0, clock: FakeClock | None = None) -> Reader:
    """Open a reader of a scripted store, with headers that hold a secret, and a clock that does not wait."""
    headers = {"authorization": f"Bearer {SECRET}"}
    address = Address(at=f"store://127.0.0.1:{port}", host="127.0.0.1", port=port, tls=False, headers=headers)
    return reader(address, clock=clock or FakeClock(), timeout_s=timeout_s)


async def span_ids(reader: Reader) -> list[str]:
    """Read the trace, and return the ids of its spans; close the reader."""
    try:
        data = TracesData.FromString(await reader.read(TRACE, 0))
    finally:
        await reader.aclose()
    return [span.span_id.hex() for one in data.resource_spans for scope in one.scope_spans for span in scope.spans]


@pytest.mark.parametrize("reader", READERS)
async def test_a_trace_is_read_with_the_headers(reader: type[Reader], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request carries the headers for reading, and none goes through a proxy, because the store is on loopback."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with ScriptedApi(good(reader)) as api:
        opened_reader = opened(reader, api.port)
        assert await span_ids(opened_reader) == [f"{7:016x}"]
        assert {request.headers["authorization"] for request in api.requests} == {f"Bearer {SECRET}"}
        assert opened_reader.calls == len(api.requests)


PASSING = {
    "429": reply(b"slow down", status=429, headers={"Retry-After": "7"}),
    "429 without a time": reply(b"slow down", status=429),
    "503": reply(b"starting", status=503, headers={"Retry-After": "7"}),
    "502 with a web page": reply(b"<html>bad gateway</html>", status=502, content_type="text/html"),
    "500": reply(b"it broke", status=500),
    "a cut body": reply(b'{"result"', length=900, end="close"),
    "a cut body in whole framing": reply(b'{"result": {"resourceSp', content_type="application/json"),
    "a reset": reply(b"", length=900, end="reset"),
    "damaged gzip": reply(b"\x1f\x8b\x08nonsense", headers={"Content-Encoding": "gzip"}),
    "no answer": Reply(b"", end="hang"),
    "a drip": Reply(reply(b"x" * 900).raw, step=1, pause_s=0.02),
}
SILENT = {"no answer", "a drip"}
"""Faults that end with a time-out."""


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("fault", PASSING)
async def test_what_passes_is_waited_for(reader: type[Reader], fault: str) -> None:
    """After two bad answers the good one counts; a time that the store names is waited for."""
    faults = [PASSING[fault]] * 2
    well = good(reader)
    clock = FakeClock()
    async with ScriptedApi(lambda request: faults.pop() if faults else well(request)) as api:
        timeout_s = 0.2 if fault in SILENT else 5.0
        assert await span_ids(opened(reader, api.port, timeout_s=timeout_s, clock=clock)) == [f"{7:016x}"]
    asked_s = 14.0 if b"Retry-After" in PASSING[fault].raw else 0.0
    assert clock.elapsed_s >= asked_s
    assert len(clock.waits) >= 2


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("fault", sorted(PASSING.keys() - SILENT))
async def test_what_does_not_pass_is_an_error(reader: type[Reader], fault: str) -> None:
    """At the deadline the error says that the store is not available, with exit code 69; never is a trace missing."""
    clock = FakeClock()
    async with ScriptedApi([PASSING[fault]]) as api:
        with pytest.raises(DestinationUnavailable) as raised:
            await span_ids(opened(reader, api.port, clock=clock))
    assert raised.value.exit_code == 69
    assert clock.elapsed_s <= 60.0
    assert_clear(raised.value, api.port)
    assert (raised.value.hint == REFUSING_HINT) == (fault[:3] in ("429", "503"))


FINAL: dict[str, tuple[Reply, type[DestinationError]]] = {
    "401": (reply(f"bad token {SECRET}".encode(), status=401), DestinationUnauthorized),
    "403": (reply(f"Bearer {SECRET} is not allowed".encode(), status=403), DestinationUnauthorized),
    "a redirect": (reply(b"", status=302, headers={"Location": "/login"}), DestinationMisconfigured),
    "a web page": (reply(b"<!doctype html><p>Hi", content_type="text/html"), DestinationMisconfigured),
    "a web page without its type": (reply(b"\n<!DOCTYPE html><p>Hi", content_type=""), DestinationMisconfigured),
    "another server's 404": (NOT_FOUND, DestinationMisconfigured),
    "a web page with 404": (reply(b"<html>no", status=404, content_type="text/html"), DestinationMisconfigured),
    "405": (reply(b"no", status=405), DestinationMisconfigured),
    "gRPC": (Reply(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x10\x00\x00"), DestinationMisconfigured),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("fault", FINAL)
async def test_what_waiting_does_not_mend_ends_at_once(reader: type[Reader], fault: str) -> None:
    """A redirect is not followed, a web page is no trace, and no message has the credentials that the store repeats."""
    answer, kind = FINAL[fault]
    clock = FakeClock()
    async with ScriptedApi([answer]) as api:
        with pytest.raises(kind) as raised:
            await span_ids(opened(reader, api.port, clock=clock))
        assert all("login" not in request.target for request in api.requests)
    assert clock.waits == []
    assert_clear(raised.value, api.port)


@pytest.mark.parametrize("reader", READERS)
async def test_nobody_there_is_noticed_early(reader: type[Reader]) -> None:
    """An address at which nothing ever answered is given up after ten seconds instead of sixty."""
    clock = FakeClock()
    (port,) = free_ports(1)
    with pytest.raises(DestinationUnavailable) as raised:
        await span_ids(opened(reader, port, clock=clock))
    assert clock.elapsed_s <= 10.0
    assert_clear(raised.value, port)


async def test_a_certificate_that_is_not_trusted_is_no_outage() -> None:
    """The error has exit code 78, and with the right CA the trace is read."""
    ca = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    async with ScriptedApi(good(JaegerHttpReader), tls=tls) as api:
        for pem, trusted in ((None, False), (ca.cert_pem.bytes(), True)):
            address = Address(at="store", host="127.0.0.1", port=api.port, tls=True, ca=pem)
            reader = JaegerHttpReader(address, clock=FakeClock())
            if trusted:
                assert await span_ids(reader) == [f"{7:016x}"]
            else:
                with pytest.raises(DestinationMisconfigured, match="certificate"):
                    await span_ids(reader)


async def test_fewer_at_once_after_a_429() -> None:
    """While the store says that it gets too many requests, fewer are in flight."""
    flying: list[int] = []
    now = 0
    throttled = 30

    async def attempt() -> None:
        nonlocal now, throttled
        now += 1
        flying.append(now)
        await asyncio.sleep(0)
        now -= 1
        if throttled:
            throttled -= 1
            raise Again(DestinationUnavailable("busy"), after_s=0.1, throttled=True)

    patience = Patience(16, FakeClock())
    await asyncio.gather(*(patience.ask(attempt) for _ in range(16)))
    assert max(flying) == 16
    assert max(flying[-16:]) < 8


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_body_is_bounded(compressed: bool) -> None:
    """A response above the limit is an error of that trace, and is not read to its end, compressed or not."""
    body = b"x" * 300_000
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    async with ScriptedApi([reply(gzip.compress(body) if compressed else body, headers=headers)]) as api:
        address = Address(at="store", host="127.0.0.1", port=api.port, tls=False)
        asker = Asker(address, 1, clock=FakeClock(), max_body_bytes=200_000)
        with pytest.raises(TraceNotReturned):
            await asker.get("/", (), Response.words.__get__, accept="*/*", what="trace a")
        await asker.aclose()


def assert_clear(error: DestinationError, port: int) -> None:
    """Assert that a message names the store and what to do, and has no credentials."""
    assert f"store://127.0.0.1:{port}" in error.message
    assert error.hint
    assert SECRET not in str(error)
    assert "\n" not in str(error)


def tempo_answers(**paths: Reply) -> Callable[[Request], Reply]:
    """Return the answers of a Tempo by the part of the path after ``/api``; other paths are not found."""

    def answer(request: Request) -> Reply:
        path = request.target.partition("?")[0].removeprefix("/api/").partition("traces")[0].rstrip("/") or "v1"
        return paths.get(path, NOT_FOUND)

    return answer


@pytest.mark.parametrize("with_batches", [True, False])
@pytest.mark.parametrize("base64_ids", [True, False])
async def test_tempo_may_answer_json_in_every_spelling(with_batches: bool, base64_ids: bool) -> None:
    """JSON is read with ``batches`` or ``resourceSpans``, and with ids in base64 or in hex."""
    document = traces_data([SPAN])
    if base64_ids:
        (span,) = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
        span |= {name: b64encode(bytes.fromhex(span[name])).decode() for name in ("traceId", "spanId")}
    if with_batches:
        (one,) = document["resourceSpans"]
        one["instrumentationLibrarySpans"] = one.pop("scopeSpans")
        document = {"batches": [one]}
    async with ScriptedApi(tempo_answers(v1=json_reply(document))) as api:
        assert await span_ids(opened(TempoReader, api.port)) == [f"{7:016x}"]


@pytest.mark.parametrize("as_json", [True, False])
async def test_tempo_notes_what_it_returns_in_part(as_json: bool) -> None:
    """A partial answer of ``/api/v2/traces`` is a note and no error, and its Tempo is known to keep every field."""
    if as_json:
        answer = json_reply({"trace": traces_data([SPAN]), "status": "PARTIAL", "message": "too large"})
    else:
        trace = encode_request([SPAN], [encode_span(SPAN)])
        wrapped = b"\x0a" + varint(len(trace)) + trace + b"\x12\x00" + b"\x18\x01" + b"\x22\x09too large"
        answer = reply(wrapped, content_type="application/protobuf")
    async with ScriptedApi(tempo_answers(v2=answer)) as api:
        reader = opened(TempoReader, api.port)
        assert isinstance(reader, TempoReader)
        assert reader.form.limits() != ()
        await reader.read(TRACE, 0)  # a trace that lacks spans is read again
        assert await span_ids(reader) == [f"{7:016x}"]
        assert reader.notes == ["Tempo returned 1 trace in part: too large"]
        assert reader.form.limits() == ()


async def test_notes_on_parts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of traces and of reasons, the notes say at least how many, and that there are other reasons."""
    monkeypatch.setattr(tempo, "_MAX_PARTIAL", 15)
    numbers = iter(range(100))

    def answer(_: Request) -> Reply:
        return json_reply({"trace": traces_data([SPAN]), "status": "PARTIAL", "message": f"too large {next(numbers)}"})

    async with ScriptedApi(answer) as api:
        reader = opened(TempoReader, api.port)
        assert isinstance(reader, TempoReader)
        for number in range(20):
            await reader.read(f"{number:032x}", 0)
        assert reader.notes[0] == "Tempo returned at least 1 trace in part: too large 0"
        assert reader.notes[10:] == ["Tempo returned at least 5 traces in part: for other reasons"]
        await reader.aclose()


async def test_tempo_without_the_trace_is_asked_both_ways() -> None:
    """Until a trace was returned, both paths are asked, and ``/api/echo`` tells that it is a Tempo at all."""
    gone = reply(b"trace not found", status=404, content_type="text/plain")
    async with ScriptedApi(tempo_answers(v1=gone, v2=gone, echo=reply(b"echo"))) as api:
        assert await span_ids(opened(TempoReader, api.port)) == []
        assert [request.target.removesuffix(TRACE) for request in api.requests] == [
            "/api/v2/traces/", "/api/traces/", "/api/echo",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "words"),
    [(500, "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (4240476 vs. 4194304)"),
     (422, "trace exceeds max size (max bytes: 5000000)")],
)  # fmt: skip
async def test_tempo_cannot_return_one_trace(status: int, words: str) -> None:
    """A trace above a limit of Tempo's is an error of this trace, at once, with the settings that limit it."""
    clock = FakeClock()
    async with ScriptedApi(tempo_answers(v1=reply(words.encode(), status=status))) as api:
        with pytest.raises(TraceNotReturned, match="cannot return") as raised:
            await span_ids(opened(TempoReader, api.port, clock=clock))
    assert clock.waits == []
    for setting in ("max_recv_msg_size", "grpc_server_max_recv_msg_size", "max_bytes_per_trace"):
        assert setting in raised.value.hint


async def test_tempo_may_have_no_search() -> None:
    """Tempo 1.5 answers 404 to a search that is switched off; the error says how to switch it on."""
    async with ScriptedApi(lambda _: reply(b"404 page not found", status=404, content_type="text/plain")) as api:
        reader = opened(TempoReader, api.port)
        assert isinstance(reader, TempoReader)
        with pytest.raises(NoSearch) as raised:
            await reader.find("shop", 1_700_000_000 * NS_PER_S, 1_700_000_001 * NS_PER_S)
        assert "-search.enabled" in raised.value.hint
        await reader.aclose()


async def test_tempo_searches_in_parts_as_long_as_it_allows() -> None:
    """A range that is refused as too long is divided; ids without leading zeros are filled up."""
    spans: list[int] = []

    def answer(request: Request) -> Reply:
        query = parse_qs(urlsplit(request.target).query)
        length = int(query["end"][0]) - int(query["start"][0])
        if length > 3660:
            words = f"range specified by start and end exceeds 1h1m0s. received start={query['start'][0]}"
            return reply(words.encode(), status=400, content_type="text/plain")
        spans.append(length)
        assert query["tags"] == ['service.name="my service"']
        return json_reply({"traces": [{"traceID": f"a{len(spans)}"}]})

    async with ScriptedApi(answer) as api:
        reader = opened(TempoReader, api.port)
        assert isinstance(reader, TempoReader)
        found = await reader.find("my service", 1_700_000_000 * NS_PER_S, 1_700_014_000 * NS_PER_S)
        assert found == {f"a{number}".zfill(32) for number in range(1, len(spans) + 1)}
        assert sum(spans) == 14_000
        assert await reader.find("my service", 0, 1_700_000_000 * NS_PER_S) is None
        await reader.aclose()


async def test_tempo_with_traceql_alone_is_searched_with_it() -> None:
    """A Tempo that refuses tags is asked in TraceQL, and a limit that it refuses is lowered."""

    def answer(request: Request) -> Reply:
        query = parse_qs(urlsplit(request.target).query)
        if "tags" in query:
            return reply(b"invalid request: use q", status=400, content_type="text/plain")
        if int(query["limit"][0]) > 100:
            return reply(b"limit 1500 exceeds max limit 100", status=400, content_type="text/plain")
        assert query["q"] == ['{ resource.service.name = "a\\"b" }']
        return json_reply({"traces": [{"traceID": "ab"}]})

    async with ScriptedApi(answer) as api:
        reader = opened(TempoReader, api.port)
        assert isinstance(reader, TempoReader)
        assert await reader.find('a"b', 0, NS_PER_S) == {"ab".zfill(32)}
        await reader.aclose()


async def test_phoenix_is_read_page_by_page_and_project_by_project() -> None:
    """All pages count; the project that had a trace before is asked first; a page that repeats is an error."""
    rows = [{**PHOENIX_ROW, "context": {"trace_id": TRACE, "span_id": f"{number:016x}"}} for number in (1, 2, 3)]

    def answer(request: Request) -> Reply:
        url = urlsplit(request.target)
        if url.path == "/v1/projects":
            projects = [{"name": "a", "id": "p1"}, {"name": "b", "id": "p2"}]
            return json_reply({"data": projects, "next_cursor": None})
        if url.path != "/v1/projects/p2/spans":
            return json_reply({"data": [], "next_cursor": None})
        place = int(parse_qs(url.query).get("cursor", ["0"])[0])
        return json_reply({"data": rows[place : place + 1], "next_cursor": str(place + 1) if place < 2 else endless})

    endless: str | None = None
    async with ScriptedApi(answer) as api:
        reader = opened(PhoenixReader, api.port)
        assert (
            TracesData.FromString(await reader.read(TRACE, 0)).resource_spans[0].scope_spans[0].spans[2].span_id[-1]
            == 3
        )
        before = reader.calls
        await reader.read(TRACE, 0)
        assert reader.calls - before == 3
        endless = "1"
        with pytest.raises(TraceNotReturned, match="repeat"):
            await reader.read(TRACE, 0)
        await reader.aclose()


async def test_phoenix_names_a_project_that_it_does_not_have() -> None:
    """The project at the end of the address must exist; what is before it is the path of Phoenix."""
    async with ScriptedApi([reply(b"Project with name mine not found", status=404)]) as api:
        address = Address(at="store", host="127.0.0.1", port=api.port, tls=False, base="/s/team/mine")
        with pytest.raises(DestinationMisconfigured, match="no project 'mine'"):
            await span_ids(PhoenixReader(address))
        assert api.requests[0].target.startswith("/s/team/v1/projects/mine/spans?")


async def test_jaeger_streams_results() -> None:
    """Results that come as several objects are joined, and an error among them is no trace."""
    line = json.dumps({"result": traces_data([SPAN])})
    async with ScriptedApi([reply(f"{line}\n{line}\n".encode())]) as api:
        assert await span_ids(opened(JaegerHttpReader, api.port)) == [f"{7:016x}"] * 2
    broken = reply(f'{line}\n{{"error": {{"message": "it broke"}}}}\n'.encode())
    async with ScriptedApi([broken]) as api:
        with pytest.raises(DestinationUnavailable, match="it broke"):
            await span_ids(opened(JaegerHttpReader, api.port))


@pytest.mark.parametrize("status", [200, 204])
async def test_jaeger_never_answers_with_nothing(status: int) -> None:
    """An empty body is no trace that is missing: the store cannot be asked, with exit code 69."""
    async with ScriptedApi([reply(b"", status=status)]) as api:
        with pytest.raises(DestinationUnavailable, match="empty") as raised:
            await span_ids(opened(JaegerHttpReader, api.port, clock=FakeClock()))
    assert raised.value.exit_code == 69
    assert_clear(raised.value, api.port)


async def test_jaeger_without_the_trace_says_so_in_json() -> None:
    """Only Jaeger's own 404 means that there is no such trace."""
    none = json_reply({"error": {"httpCode": 404, "message": "No traces found"}}, status=404)
    async with ScriptedApi([none]) as api:
        reader = opened(JaegerHttpReader, api.port)
        assert isinstance(reader, JaegerHttpReader)
        assert await reader.find("assistant", 0, NS_PER_S) == set()
        assert await span_ids(reader) == []
