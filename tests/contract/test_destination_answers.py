"""Each answer of a real server ("What they answer" in docs/backends.md) is understood, over each way to send.

The stock exporters run the same rows. Where they cannot tell what the server said, ``STOCK_CANNOT_TELL`` says how it is
reported, and docs/answers.md tells users.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Misconfigured,
    PartlyRefused,
    Refused,
    Retry,
    TooLarge,
)
from netra_otel_bridge.deliver import Destination, batch_of, open_destination
from tests.support.converted import TRACE_ID, convert
from tests.support.fake_destination import FakeDestination, PartialSuccess, Raw, Reject
from tests.support.scripted_api import ScriptedApi, reply
from tests.support.spans import make_span
from tests.support.waiting import SOON_S
from tests.support.watchdog import LoopWatch

BATCH = batch_of((make_span(1), make_span(2)))
RATE = "RATE_LIMITED: ingestion rate limit (15000000 bytes) exceeded while adding {} bytes"
RATE_3 = (
    "RATE_LIMITED: ingestion rate limit (local: 15000000 bytes/s, global: 0 bytes/s, burst: 20000000 bytes) exceeded "
    "while adding 3000000 bytes for user single-tenant. consider increasing the limit or reducing ingestion rate."
)
NEVER = (
    "RATE_LIMITED: batch size (25000213 bytes) exceeds ingestion limit (local: 15000000 bytes/s, global: 0 bytes/s, "
    "burst: 20000000 bytes) while adding 25000213 bytes for user single-tenant. consider reducing batch size"
)
LIVE = (
    "LIVE_TRACES_EXCEEDED: max live traces exceeded for tenant single-tenant: per-user traces limit (local: 10000 "
    "global: 0 actual local: 10000) exceeded"
)
FULL = (
    "TRACE_TOO_LARGE: max size of trace (5000000) exceeded while adding 1207 bytes to trace ab for tenant single-tenant"
)


@dataclass(frozen=True)
class Row:
    """An answer over gRPC (``code``) and over HTTP (``http``), each with ``text``, and its meaning.

    ``after_s`` is the wait that follows, whether or not the server ``asks`` for one; ``only`` names the servers that
    answer so.
    """

    name: str
    code: StatusCode
    http: int
    text: str
    outcome: type
    after_s: float | None = None
    only: str = "grpc http"
    asks: bool = True

    def decision(self) -> Reject:
        return Reject(self.code, self.http, self.text, retry_after_s=self.after_s if self.asks else None)


S = StatusCode
ROWS = [
    Row("a gRPC message over 4 MiB", S.RESOURCE_EXHAUSTED, 413,
        "grpc: received message larger than max (5000224 vs. 4194304)", TooLarge),
    Row("an HTTP body over 20 MiB", S.INVALID_ARGUMENT, 400, "http: request body too large", TooLarge, only="http"),
    Row("faster than Tempo 3.0 allows", S.RESOURCE_EXHAUSTED, 429, RATE_3, Retry, 5.0),
    Row("faster than Tempo 1.5 allows", S.RESOURCE_EXHAUSTED, 500, RATE.format(3_000_000), Retry),
    Row("more at once than Tempo 3.0 ever allows", S.RESOURCE_EXHAUSTED, 429, NEVER, TooLarge, 5.0),
    Row("more at once than Tempo 1.5 ever allows", S.RESOURCE_EXHAUSTED, 500, RATE.format(25_000_213), TooLarge),
    Row("one trace beyond 5 MB", S.FAILED_PRECONDITION, 500, FULL, Refused),
    Row("more traces at a time than Tempo 1.5 holds", S.FAILED_PRECONDITION, 500, LIVE, Retry, 5.0, asks=False),
    Row("more between its parts than Tempo 1.5 takes", S.RESOURCE_EXHAUSTED, 500,
        "grpc: received message after decompression larger than max (4194305 vs. 4194304)", TooLarge),
    Row("a span with a zero trace id, Tempo 3.0", S.INVALID_ARGUMENT, 400, "trace ids must be 128 bit", Refused),
    Row("a span with a zero trace id, Tempo 1.5", S.INVALID_ARGUMENT, 500, "trace ids must be 128 bit", Refused),
    Row("an 8-byte trace id", S.INTERNAL, 400, "invalid TraceID length", Refused),
    Row("an 8-byte trace id, Tempo 1.5", S.INTERNAL, 400, "invalid length for TraceID", Refused),
    Row("no span id, Tempo 3.0", S.INVALID_ARGUMENT, 400, "span ids must be 64 bit and not all zero", Refused),
    Row("too large, as Rust says it", S.OUT_OF_RANGE, 413,
        "Error, decoded message length too large: found 5000224 bytes, the limit is: 4194304 bytes", TooLarge),
    Row("too large, as Java says it", S.RESOURCE_EXHAUSTED, 413,
        "gRPC message exceeds maximum size 4194304: 5000224", TooLarge),
    Row("too large, as .NET says it", S.RESOURCE_EXHAUSTED, 413,
        "Received message exceeds the maximum configured message size.", TooLarge),
    Row("the words of too large with a wait", S.RESOURCE_EXHAUSTED, 429, "request too large for the rate", Retry, 7.0),
    Row("exhausted without a word", S.RESOURCE_EXHAUSTED, 429, "", Retry),
    Row("exhausted by memory", S.RESOURCE_EXHAUSTED, 503, "data refused due to high memory usage", Retry),
    Row("draining", S.UNAVAILABLE, 503, "draining", Retry),
    Row("draining, with a wait", S.UNAVAILABLE, 503, "draining", Retry, 3.0),
    Row("a time-out of its own", S.DEADLINE_EXCEEDED, 504, "slow", Retry),
    Row("out of a range", S.OUT_OF_RANGE, 503, "offset", Retry),
    Row("starting", S.UNKNOWN, 500, "database is starting", Retry),
    Row("no key", S.UNAUTHENTICATED, 401, "no key", Misconfigured),
    Row("a key that may not", S.PERMISSION_DENIED, 403, "not you", Misconfigured),
    Row("no such service", S.UNIMPLEMENTED, 404, "unknown service", Misconfigured),
    Row("another method", S.UNIMPLEMENTED, 405, "method not allowed", Misconfigured),
]  # fmt: skip
CASES = [(transport, row) for row in ROWS for transport in row.only.split()]
IDS = [f"{row.name}, {transport}" for transport, row in CASES]
STOCK_CANNOT_TELL: dict[str, type] = {
    "an HTTP body over 20 MiB": Refused,
    "more at once than Tempo 3.0 ever allows": Retry,
    "more at once than Tempo 1.5 ever allows": Retry,
    "one trace beyond 5 MB": Retry,
    "a span with a zero trace id, Tempo 1.5": Retry,
    "more between its parts than Tempo 1.5 takes": Retry,
}
"""Rows that the stock HTTP exporter, which passes on the status and not the body, reports as something else."""


@pytest.fixture
def fake() -> Iterator[FakeDestination]:
    with FakeDestination() as server:
        yield server


def direct(fake: FakeDestination, transport: str) -> Destination:
    return open_destination(fake.grpc_url if transport == "grpc" else fake.http_url)


def stock(fake: FakeDestination, transport: str, monkeypatch: pytest.MonkeyPatch) -> Destination:
    port = fake.grpc_port if transport == "grpc" else fake.http_port
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    return open_destination(f"exporter:otlp_proto_{transport}", deadline_s=20)


@pytest.mark.parametrize(("transport", "row"), CASES, ids=IDS)
async def test_an_answer_is_mapped_at_once_and_without_retries(fake: FakeDestination, transport: str, row: Row) -> None:
    """Each answer means one outcome, with the words of the server, after exactly one request; the next batch passes."""
    fake.script(row.decision())
    destination = direct(fake, transport)
    begun = time.monotonic()
    answer: Any = await destination.send(BATCH)
    assert type(answer) is row.outcome, answer
    assert row.text[:300] in answer.reason
    if isinstance(answer, Retry):
        assert answer.after_s == row.after_s
    if isinstance(answer, Misconfigured):
        assert answer.unauthorized == (row.http in (401, 403))
    assert time.monotonic() - begun < (row.after_s or SOON_S)
    assert len(fake.received) == 1
    assert await destination.send(BATCH) == Delivered()
    await destination.aclose()


@pytest.mark.parametrize(("transport", "row"), CASES, ids=IDS)
async def test_the_stock_exporters_answer_alike_where_they_can_tell(
    fake: FakeDestination, transport: str, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over gRPC all agree; over HTTP as far as the status tells. No rejected span counts as delivered."""
    fake.script(*[row.decision()] * 8)
    destination = stock(fake, transport, monkeypatch)
    answer = await destination.send(BATCH)
    expected = STOCK_CANNOT_TELL.get(row.name, row.outcome) if transport == "http" else row.outcome
    assert type(answer) is expected, answer
    await destination.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_what_the_stock_exporters_hide(
    fake: FakeDestination, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stock exporters return SUCCESS for a partial success, and over HTTP for a redirect and a web page; our own
    sender notices each.

    Version 1.41 follows a redirect, and reports the answer from there.
    """
    hidden: list[tuple[PartialSuccess | Raw, type]] = [(PartialSuccess(1, "too old"), PartlyRefused)]
    if transport == "http":
        hidden += [
            (Raw(302, b"", {"Location": "/login"}), Misconfigured),
            (Raw(200, b"<html>Sign in</html>", {"Content-Type": "text/html"}), Misconfigured),
        ]
    for decision, outcome in hidden:
        fake.script(decision, decision)
        exporter, own = stock(fake, transport, monkeypatch), direct(fake, transport)
        made_of_it = type(await exporter.send(BATCH))
        followed = isinstance(decision, Raw) and decision.status == 302 and made_of_it is Misconfigured
        assert made_of_it is Delivered or followed
        assert type(await own.send(BATCH)) is outcome
        await exporter.aclose()
        await own.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_only_the_stock_exporters_call_a_parent_local(
    fake: FakeDestination, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both protocols carry flags with the sampled bit alone; the stock exporters say "local" for the same span."""
    batch = batch_of((convert(parent_span_id="1" * 16, links=[{"trace_id": TRACE_ID, "span_id": "1" * 16}]),))
    for destination, flags in ((direct(fake, transport), 0x1), (stock(fake, transport, monkeypatch), 0x100)):
        assert await destination.send(batch) == Delivered()
        await destination.aclose()
        sent = fake.stored.pop().resource_spans[0].scope_spans[0].spans[0]
        assert [sent.flags, *(link.flags for link in sent.links)] == [flags, flags]


def test_the_documentation_says_what_the_stock_exporters_cannot_tell() -> None:
    """docs/answers.md has each row of the table above, and what the exporters hide."""
    text = " ".join((Path(__file__).parents[2] / "docs" / "answers.md").read_text().split())
    for row in STOCK_CANNOT_TELL:
        assert row in text, row
    for words in ("partial success", "a redirect", "a web page"):
        assert words in text.partition("## The stock exporters")[2], words


async def test_exhausted_without_a_word_is_too_large_where_the_size_says_so() -> None:
    """Above the default 4 MiB of gRPC, an answer without words means the size; words about a rate still mean to wait."""
    large = batch_of((make_span(1, attributes={"input": "x" * (5 << 20)}),))
    with FakeDestination(max_message_bytes=8 << 20) as fake:
        destination = direct(fake, "grpc")
        for text, outcome in (("", TooLarge), ("quota exceeded", Retry), ("RATE_LIMITED", Retry)):
            fake.script(Reject(S.RESOURCE_EXHAUSTED, 429, text))
            assert type(await destination.send(large)) is outcome
        fake.script(Reject(S.RESOURCE_EXHAUSTED, 429, "", retry_after_s=2))
        assert type(await destination.send(large)) is Retry
        await destination.aclose()


@pytest.mark.parametrize(
    "content_type", ["text/plain; charset=utf-8", "application/json", "application/x-protobuf", ""]
)
async def test_http_errors_of_any_content_are_read(fake: FakeDestination, content_type: str) -> None:
    """A status in protobuf, the plain words of proxies, and a body that does not match its type are read."""
    headers = {"Content-Type": content_type} if content_type else {}
    fake.script(
        Raw(400, b"http: request body too large\n", headers),
        Raw(413, b"\xff\xfe", headers),
        Raw(502, b"Bad Gateway", headers),
        Raw(429, b"", {**headers, "Retry-After": "4"}),
    )
    destination = direct(fake, "http")
    outcomes: list[Any] = [await destination.send(BATCH) for _ in range(4)]
    assert [type(one) for one in outcomes] == [TooLarge, TooLarge, Retry, Retry]
    assert outcomes[3].after_s == 4
    await destination.aclose()


@pytest.mark.parametrize("status", [200, 500])
async def test_a_compressed_answer_is_read_only_as_far_as_needed(status: int) -> None:
    """A bomb of 64 MiB is inflated up to what is read of an answer, and blocks the loop for 0.1 s at most."""
    bomb = gzip.compress(b" " * (64 << 20), 1)
    answer = reply(bomb, status=status, headers={"Content-Encoding": "gzip"})
    async with ScriptedApi([answer]) as api, LoopWatch() as watch:
        destination = open_destination(f"otlp+{api.url}")
        outcome = await destination.send(BATCH)
        await destination.aclose()
    assert isinstance(outcome, Misconfigured if status == 200 else Retry)
    assert watch.blocked_s < 0.1


@pytest.mark.parametrize("answer", [b"[" * 60_000, b"\xff\xfe{", b"7" * 6000])
async def test_a_success_that_is_no_json_is_not_otlp(answer: bytes) -> None:
    """A success whose JSON is too deep, not UTF-8, or a number of thousands of digits, is not of an OTLP server."""
    async with ScriptedApi([reply(answer)]) as api:
        destination = open_destination(f"otlp+{api.url}")
        outcome = await destination.send(BATCH)
        await destination.aclose()
    assert isinstance(outcome, Misconfigured)
    assert "not OTLP" in outcome.reason


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize(
    ("template", "outcome"),
    [
        ("grpc: received message larger than max ({} vs. 4194304)", TooLarge),
        ("request larger than max {}", TooLarge),
        (RATE.replace("15000000", "{}"), Retry),
        (RATE, TooLarge),
    ],
)
async def test_words_with_thousands_of_digits_are_read(
    fake: FakeDestination, transport: str, template: str, outcome: type
) -> None:
    """A number with 5,000 digits, which Python refuses to convert, is the largest one, and no defect of anybody."""
    text = template.format(*["9" * 5000] * template.count("{}"), *["1"] * 2)
    fake.script(Reject(S.RESOURCE_EXHAUSTED, 429 if "RATE" in text else 413, text))
    destination = direct(fake, transport)
    assert type(await destination.send(BATCH)) is outcome
    await destination.aclose()
