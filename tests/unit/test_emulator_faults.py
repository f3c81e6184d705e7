"""Every fault does what its row in the table says, and only to reading calls."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.emulator import FAULTS, Emulator, EmulatorOptions
from tests.support.emulator import EVER, START_NS, Client, otlp_span
from tests.support.waiting import until

TRACE = f"{1:032x}"
SPANS = f"/sdk/traces/{TRACE}/spans"


@asynccontextmanager
async def faulty(*faults: str) -> AsyncIterator[Client]:
    """Run an emulator with these faults and one trace of 25 spans."""
    async with Emulator(EmulatorOptions(port=0, faults=faults)) as emulator, Client(emulator.url) as client:
        await client.send(*(otlp_span(1, n, start_ns=START_NS + n) for n in range(1, 26)))
        yield client


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 429, 500, 502, 503, 504])
async def test_the_first_n_calls_get_an_error_status(status: int) -> None:
    """After N calls the fault ends; ingestion is never affected."""
    async with faulty(f"status-{status}=2") as client:
        assert [(await client.raw("GET", SPANS))[0] for _ in range(3)] == [status, status, 200]


async def test_faults_apply_in_the_order_given() -> None:
    """Each fault counts the calls that reach it."""
    async with faulty("status-500=1", "status-429=2", "retry-after=-7 weeks") as client:
        answers = [await client.raw("GET", SPANS) for _ in range(4)]
        assert [answer[0] for answer in answers] == [500, 429, 429, 200]
        assert [answer[1].get("Retry-After") for answer in answers] == [None, "-7 weeks", "-7 weeks", None]


async def test_a_key_can_be_revoked() -> None:
    """After N calls every call is 401."""
    async with faulty("unauthorized-after=1") as client:
        assert [(await client.raw("GET", SPANS))[0] for _ in range(3)] == [200, 401, 401]


async def test_not_the_api_at_all() -> None:
    """A login page with status 200; a redirect to another address."""
    async with faulty("html=1", "redirect=http://127.0.0.1:1/login") as client:
        status, headers, body = await client.raw("GET", SPANS)
        assert (status, headers["Content-Type"]) == (200, "text/html")
        assert body.startswith(b"<!doctype html>")
        status, headers, _ = await client.raw("GET", SPANS)
        assert (status, headers["Location"]) == (302, "http://127.0.0.1:1/login")


async def test_truncated_json_is_sound_http() -> None:
    """The length is right, but the document is cut."""
    async with faulty("truncated-json=1") as client:
        status, _, body = await client.raw("GET", SPANS)
        assert status == 200
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)
        assert len((await client.spans(TRACE))["data"]) == 20


async def test_a_connection_breaks_in_the_body_or_before_it() -> None:
    """Half a body of the announced length; a reset connection."""
    async with faulty("cut-body=1") as client:
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.raw("GET", SPANS)
        assert (await client.raw("GET", SPANS))[0] == 200
    async with faulty("reset") as client:
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await client.raw("GET", SPANS)


async def walk(client: Client, pages: int) -> tuple[list[str], list[str]]:
    """Return ids and cursors of this many pages."""
    ids: list[str] = []
    cursors: list[str] = []
    for _ in range(pages):
        page = await client.spans(TRACE, limit=5, **({"cursor": cursors[-1]} if cursors else {}))
        assert page["pageInfo"]["hasNextPage"]
        ids += [item["id"] for item in page["data"]]
        cursors.append(page["data"][-1]["cursor"])
    return ids, cursors


@pytest.mark.parametrize("length", [1, 2, 3])
async def test_cursors_cycle(length: int) -> None:
    """Cursors repeat with this period, and the list never ends."""
    async with faulty(f"cursor-loop={length}") as client:
        _, cursors = await walk(client, 9)
        assert len(set(cursors)) == length
        assert cursors == (cursors[:length] * 9)[:9]


async def test_a_cursor_expires_once() -> None:
    """The second request with a cursor is rejected, the third is not."""
    async with faulty("cursor-expired=2") as client:
        cursor = (await client.spans(TRACE, limit=5))["data"][-1]["cursor"]
        statuses = [(await client.raw("GET", SPANS, params={"cursor": cursor}))[0] for _ in range(3)]
        assert statuses == [200, 400, 200]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("empty-page-has-next", {"data": [], "pageInfo": {"hasNextPage": True}}),
        ("has-next-string", {"pageInfo": {"hasNextPage": "true"}}),
        ("has-next-missing", {"pageInfo": {}}),
    ],
)
async def test_paging_information_is_wrong(fault: str, expected: dict[str, Any]) -> None:
    """Only the first page is changed, of traces and of spans."""
    async with faulty(f"{fault}=1") as client:
        first = await client.spans(TRACE)
        assert {key: first[key] for key in expected} == expected
        assert (await client.spans(TRACE))["pageInfo"] == {"hasNextPage": True}
    async with faulty(fault) as client:
        assert (await client.traces())["pageInfo"] != {"hasNextPage": False}


async def test_shapes_are_wrong() -> None:
    """``data`` as a list; a number and a text before the items; items reversed."""
    async with faulty("wrong-shape") as client:
        assert isinstance((await client.json("GET", SPANS))["data"], list)
    async with faulty("bad-item") as client:
        assert (await client.spans(TRACE, limit=1))["data"][:2] == [42, "not an object"]
    async with faulty("reorder") as client:
        ids, _ = await walk(client, 4)
        assert ids[:5] == [f"{n:016x}" for n in (5, 4, 3, 2, 1)]
        assert sorted(ids) == [f"{n:016x}" for n in range(1, 21)]


async def test_every_tenth_span_has_broken_attributes() -> None:
    """The choice of broken spans is the same each time."""
    async with faulty("bad-span-json") as client:
        for _ in range(2):
            items = (await client.spans(TRACE, limit=100))["data"]
            assert [n for n, item in enumerate(items) if item["attributes"] != "{}"] == [0, 10, 20]


async def test_compression_and_its_accidents() -> None:
    """Compressed if accepted; cut in the middle or in the trailer; an encoding that was not accepted."""
    async with (
        faulty("gzip=1", "gzip-cut=1", "gzip-trailer-cut=1") as client,
        aiohttp.ClientSession(auto_decompress=False) as plain,
    ):
        async with plain.get(client.url + SPANS, headers={"Accept-Encoding": "identity"}) as response:
            assert "Content-Encoding" not in response.headers
            whole = await response.read()
        bodies = []
        for _ in range(3):
            async with plain.get(client.url + SPANS, headers={"Accept-Encoding": "gzip"}) as response:
                assert response.headers["Content-Encoding"] == "gzip"
                bodies.append(await response.read())
        assert gzip.decompress(bodies[0]) == whole
        for cut in bodies[1:]:
            with pytest.raises(EOFError):
                gzip.decompress(cut)
    async with faulty("encoding=br") as client:
        with pytest.raises(aiohttp.ClientError):
            await client.raw("GET", SPANS)


async def test_a_gzip_bomb_is_small_and_valid() -> None:
    """Eight MiB of blanks in a few kB."""
    async with faulty("gzip-bomb=8") as client, aiohttp.ClientSession(auto_decompress=False) as plain:
        async with plain.get(client.url + SPANS) as response:
            body = await response.read()
        assert len(body) < 20_000
        assert gzip.decompress(body) == b" " * (8 << 20)
        assert zlib.decompressobj(31).decompress(body, 10) == b" " * 10


async def test_a_huge_body_has_the_size_asked_for_or_no_end() -> None:
    """An endless body ends only when the reader closes the connection."""
    async with faulty("huge-body=300000") as client:
        assert 300_000 <= len((await client.raw("GET", SPANS))[2]) < 400_000
    async with (
        faulty("huge-body") as client,
        aiohttp.ClientSession() as session,
        session.get(client.url + SPANS) as response,
    ):
        assert await response.content.readexactly(17) == b'{"data":{"data":['
        await response.content.readexactly(2_000_000)


async def test_slow_and_silent_answers() -> None:
    """One byte at a time; no answer at all."""
    async with faulty("slow-body=0.001") as client:
        assert json.loads((await client.raw("GET", SPANS, params={"limit": "1"}))[2])["data"]
    async with Emulator(EmulatorOptions(port=0, faults=("hang=1",))) as emulator, Client(emulator.url) as client:
        hanging = asyncio.create_task(client.raw("GET", SPANS))
        await until(lambda: emulator.calls["spans"])
        await asyncio.wait({hanging}, timeout=0.2)
        assert not hanging.done()
        hanging.cancel()
        assert (await client.raw("GET", SPANS))[0] == 200


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_the_dashboard_can_be_refused(status: int) -> None:
    """All dashboard calls are rejected, with 403 by default, and no other calls."""
    async with faulty("no-dashboard" if status == 403 else f"no-dashboard={status}") as client:
        for path in ("query-data", "sessions/stats", "sessions/summary"):
            answer = await client.json("POST", f"/public/dashboard/{path}", json={}, status=status)
            assert answer["error"]["message"]
        await client.json("GET", "/public/dashboard/session/x", status=status)
        await client.json("GET", "/sdk/models", status=status)
        await client.json("GET", "/usage/tenants/x", params=EVER)
        await client.traces()


async def test_usage_can_shrink_and_grow() -> None:
    """Tokens and requests stay whole numbers; dashboard answers and errors are not changed."""
    llm = {"netra.span.type": "GENERATION", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.prompt_tokens": 1001}
    owner = {"netra.session_id": "s", "netra.tenant_id": "t"}
    body = {
        "scope": "Spans",
        "chartType": "Number",
        "metrics": {"measure": "Total Tokens", "aggregation": "Sum"},
        "filter": {**EVER, "groupBy": "day"},
    }
    async with Emulator() as emulator, Client(emulator.url) as client:
        await client.send(*(otlp_span(1, n, attributes={**llm, **owner}) for n in (1, 2, 3)))
        for path in ("/usage/tenants/t", "/usage/sessions/s"):
            for faults, expected in (
                ((), (3003, 3, 0.0075075)),
                (("usage-factor=0.5",), (1502, 2, 0.00375375)),
                (("usage-factor=2",), (6006, 6, 0.015015)),
                (("usage-factor=0",), (0, 0, 0)),
            ):
                emulator.set_faults(*faults)
                found = (await client.json("GET", path, params=EVER))["data"]
                assert (found["tokenCount"], found["requestsCount"], found["totalCost"]) == pytest.approx(expected)
                assert isinstance(found["tokenCount"], int)
                answer = await client.json("POST", "/public/dashboard/query-data", json=body)
                assert answer["data"] == {"value": 3003}
            await client.json("GET", path, status=400)


async def test_faults_can_be_changed_while_running() -> None:
    """`set_faults` starts and ends faults at any time."""
    async with Emulator() as emulator, Client(emulator.url) as client:
        emulator.set_faults("status-503")
        await client.traces(status=503)
        emulator.set_faults()
        await client.traces()
        assert emulator.status == {503: 1, 200: 1}


@pytest.mark.parametrize(
    "fault",
    [
        "no-such",
        "status-500=many",
        "redirect",
        "retry-after",
        "cursor-loop=0",
        "no-dashboard=200",
        "usage-factor",
        "usage-factor=less",
        "usage-factor=nan",
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(fault: str) -> None:
    """The error has the name of the fault."""
    with pytest.raises(UsageError, match=fault.partition("=")[0]):
        Emulator(EmulatorOptions(port=0, faults=(fault,)))


async def test_every_fault_is_documented_and_leaves_ingest_alone() -> None:
    """Every fault has a help text for `--help`."""
    arguments = {"redirect": "=http://127.0.0.1:1", "retry-after": "=1", "gzip-bomb": "=1", "usage-factor": "=2"}
    for name, entry in FAULTS.items():
        assert entry.doc
        async with faulty(name + arguments.get(name, "")) as client:
            answer = await client.json("POST", "/v1/traces", json={"resourceSpans": []})
            assert answer == {}
    assert EVER
