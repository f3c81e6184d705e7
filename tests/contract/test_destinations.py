"""Rules for every destination, and for OTLP over both transports, against a real server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from grpc import StatusCode
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Misconfigured,
    PartlyRefused,
    Refused,
    Retry,
    SpanBatch,
    TooLarge,
)
from netra_otel_bridge.deliver import Destination, ExporterDestination, batch_of, open_destination
from tests.support.exporters import ScriptedExporter
from tests.support.fake_destination import CutAfterStoring, FakeDestination, Hang, PartialSuccess, Raw, Reject
from tests.support.spans import make_span
from tests.support.stock import stock_request
from tests.support.waiting import DEADLINE_S

KINDS = ["grpc", "http", "console", "file", "exporter"]
Opener = Callable[[str], Destination]


@pytest.fixture
def fake() -> Iterator[FakeDestination]:
    with FakeDestination() as server:
        yield server


@pytest.fixture
def opened(fake: FakeDestination, tmp_path: Path) -> Opener:
    """Open each kind of destination against a receiver that accepts everything."""

    def open_kind(kind: str) -> Destination:
        match kind:
            case "grpc":
                return open_destination(fake.grpc_url)
            case "http":
                return open_destination(fake.http_url)
            case "file":
                return open_destination(f"otlp-file:{tmp_path}/spans.jsonl")
            case "exporter":
                return ExporterDestination("exporter", ScriptedExporter())
            case _:
                return open_destination(kind)

    return open_kind


def url(fake: FakeDestination, transport: str) -> str:
    return fake.grpc_url if transport == "grpc" else fake.http_url


def batch(*numbers: int) -> SpanBatch:
    return batch_of(tuple(make_span(number) for number in numbers or (1, 2)))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_that_is_taken_is_delivered_whatever_its_number(opened: Opener, kind: str) -> None:
    """Every destination returns `Delivered` repeatedly, and for batches sent at the same time."""
    destination = opened(kind)
    assert destination.name
    assert await destination.send(batch(1)) == Delivered()
    answers = await asyncio.gather(*(destination.send(batch(number)) for number in range(2, 12)))
    assert answers == [Delivered()] * 10
    await destination.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_closed_destination_takes_nothing(opened: Opener, kind: str) -> None:
    """Closing twice is harmless; sending afterwards is a mistake of the caller and raises."""
    destination = opened(kind)
    await destination.aclose()
    await destination.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await destination.send(batch())


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_what_arrives_is_what_was_sent(fake: FakeDestination, transport: str) -> None:
    """The request has exactly the content that the stock encoder makes of the batch, but for its flags."""
    destination = open_destination(url(fake, transport))
    sent = batch(1, 2, 3)
    assert await destination.send(sent) == Delivered()
    assert fake.stored == [stock_request(sent.spans)]
    assert fake.received[0].transport == transport
    await destination.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize(
    "decision",
    [Reject(StatusCode.UNAUTHENTICATED, 401, "no key"), Reject(StatusCode.PERMISSION_DENIED, 403, "not you")],
)
async def test_refused_credentials_are_told_apart(fake: FakeDestination, transport: str, decision: Reject) -> None:
    """401, 403, UNAUTHENTICATED and PERMISSION_DENIED mean wrong credentials."""
    fake.script(decision)
    destination = open_destination(url(fake, transport))
    answer = await destination.send(batch())
    assert isinstance(answer, Misconfigured)
    assert answer.unauthorized
    await destination.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_a_wait_that_is_asked_for_is_handed_on(fake: FakeDestination, transport: str) -> None:
    """RetryInfo and Retry-After become seconds, even if the words alone would mean "too large"."""
    fake.script(Reject(StatusCode.RESOURCE_EXHAUSTED, 429, "request too large for the rate", retry_after_s=7))
    destination = open_destination(url(fake, transport))
    answer = await destination.send(batch())
    assert isinstance(answer, Retry)
    assert answer.after_s == 7
    await destination.aclose()


async def test_a_binary_header_is_bytes(fake: FakeDestination, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metadata whose name marks it as binary for gRPC is sent as the bytes of its text."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-scope-bin=team%20a")
    destination = open_destination(url(fake, "grpc"))
    assert await destination.send(batch()) == Delivered()
    assert fake.received[0].headers["x-scope-bin"] == str(b"team a")
    await destination.aclose()


@pytest.mark.parametrize("kind", ["file"])
async def test_a_span_that_cannot_be_encoded_is_refused(opened: Opener, fake: FakeDestination, kind: str) -> None:
    """A span that cannot be encoded is its own fault and stays so: nothing is sent, and the next batch passes."""
    destination = opened(kind)
    poison = ReadableSpan("without ids")
    answer = await destination.send(SpanBatch((make_span(1), poison), (b"", b""), 100))
    assert isinstance(answer, Refused), answer
    assert fake.received == []
    assert await destination.send(batch(2)) == Delivered()
    await destination.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_a_servers_own_size_limit_is_too_large(transport: str) -> None:
    """A real gRPC server, and an HTTP server like that of the Collector, reject a message above their limit."""
    with FakeDestination(max_message_bytes=10_000) as fake:
        destination = open_destination(url(fake, transport))
        large = batch_of((make_span(1, attributes={"input": "x" * 20_000}),))
        assert isinstance(await destination.send(large), TooLarge)
        assert fake.received == []
        await destination.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_a_server_that_hangs_or_is_down_is_waited_for(fake: FakeDestination, transport: str) -> None:
    """No answer within the timeout, a lost answer, and no server at all are each `Retry`."""
    fake.script(Hang())
    destination = open_destination(url(fake, transport), timeout_s=0.3)
    assert isinstance(await destination.send(batch()), Retry)
    await destination.aclose()
    gone = open_destination("otlp+grpc://127.0.0.1:9" if transport == "grpc" else "otlp+http://127.0.0.1:9")
    answer = await gone.send(batch())
    assert isinstance(answer, Retry)
    assert "refused" in answer.reason
    await gone.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_an_answer_lost_after_storing_repeats_only_that_batch(fake: FakeDestination, transport: str) -> None:
    """The batch counts as not accepted; only that batch is stored twice, with the same ids."""
    fake.script(CutAfterStoring(), CutAfterStoring())
    destination = open_destination(url(fake, transport))
    sent = batch(1, 2)
    assert isinstance(await destination.send(sent), Retry)
    while not isinstance(await destination.send(sent), Delivered):
        pass
    assert len(fake.stored) > 1
    assert all(request == stock_request(sent.spans) for request in fake.stored)
    await destination.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_a_partial_success_is_counted_and_not_repeated(fake: FakeDestination, transport: str) -> None:
    """The number of rejected spans and the reason are reported; with none rejected it is a warning."""
    fake.script(PartialSuccess(1, "one span was too old"), PartialSuccess(0, "names are long"))
    destination = open_destination(url(fake, transport))
    assert await destination.send(batch(1, 2)) == PartlyRefused(1, "one span was too old")
    assert await destination.send(batch(3)) == Delivered("names are long")
    assert len(fake.received) == 2
    await destination.aclose()


REDIRECT = Raw(302, b"", {"Location": "/login"})
PAGE = Raw(200, b"<html>Sign in</html>", {"Content-Type": "text/html; charset=utf-8"})


@pytest.mark.parametrize("answer", [REDIRECT, PAGE, Raw(308, b"", {"Location": "https://127.0.0.1:9/v1/traces"})])
async def test_a_redirect_and_a_web_page_are_not_success(fake: FakeDestination, answer: Raw) -> None:
    """A login page in place of the server is a misconfiguration; no redirect is followed."""
    fake.script(answer)
    destination = open_destination(fake.http_url)
    assert isinstance(await destination.send(batch()), Misconfigured)
    assert len(fake.received) == 1
    await destination.aclose()


async def test_a_path_is_taken_as_given(fake: FakeDestination) -> None:
    """A wrong path is answered with 404, which no waiting repairs."""
    destination = open_destination(f"{fake.http_url}/api/otlp")
    answer = await destination.send(batch())
    assert isinstance(answer, Misconfigured)
    assert "404" in answer.reason
    await destination.aclose()


async def test_the_wrong_protocol_on_a_port_is_never_success(fake: FakeDestination) -> None:
    """gRPC to an HTTP port, or HTTP to a gRPC port, delivers nothing, and the reason says so."""
    swapped = [f"otlp+grpc://127.0.0.1:{fake.http_port}", f"otlp+http://127.0.0.1:{fake.grpc_port}"]
    for where in swapped:
        destination = open_destination(where, timeout_s=DEADLINE_S)
        assert isinstance(await destination.send(batch()), Misconfigured)
        await destination.aclose()
    assert fake.stored == []


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_otlp_reads_the_standard_variables(
    fake: FakeDestination, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``otlp`` reads protocol, endpoint and headers from the environment, and no header value is ever shown."""
    port = fake.grpc_port if transport == "grpc" else fake.http_port
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc" if transport == "grpc" else "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20canary-4711")
    fake.script(Reject(StatusCode.UNAUTHENTICATED, 401, "canary-4711 is not known here"))
    destination = open_destination("otlp")
    answer = await destination.send(batch())
    assert isinstance(answer, Misconfigured)
    assert "canary" not in answer.reason
    assert await destination.send(batch()) == Delivered()
    assert [received.headers["authorization"] for received in fake.received] == ["Bearer canary-4711"] * 2
    await destination.aclose()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_tls_delivers_to_a_server_that_is_trusted(
    transport: str, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OTEL_EXPORTER_OTLP_CERTIFICATE names the authority that is trusted."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
    with FakeDestination(certificate=authority.issue_cert("127.0.0.1")) as fake:
        destination = open_destination(url(fake, transport))
        assert await destination.send(batch()) == Delivered()
        await destination.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize("fault", ["untrusted", "expired", "another host"])
async def test_a_certificate_that_does_not_hold_is_a_misconfiguration(
    transport: str, fault: str, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is sent to a server with a wrong identity, and waiting does not help."""
    trusted = trustme.CA() if fault == "untrusted" else authority
    trusted.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
    until = datetime.now(UTC) + timedelta(days=-1 if fault == "expired" else 1)
    host = "127.0.0.2" if fault == "another host" else "127.0.0.1"
    certificate = authority.issue_cert(host, not_before=until - timedelta(days=9), not_after=until)
    with FakeDestination(certificate=certificate) as fake:
        destination = open_destination(url(fake, transport), timeout_s=DEADLINE_S)
        answer = await destination.send(batch())
        assert isinstance(answer, Misconfigured), answer
        assert not answer.unauthorized
        assert fake.received == []
        await destination.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_tls_to_a_plain_port_is_a_misconfiguration(fake: FakeDestination, transport: str) -> None:
    """OTLP to a plain port never falls back to plain text."""
    destination = open_destination(url(fake, transport).replace("://", "s://"), timeout_s=DEADLINE_S)
    answer = await destination.send(batch())
    assert isinstance(answer, Misconfigured), answer
    assert fake.received == []
    await destination.aclose()


async def test_an_answer_in_json_is_read(fake: FakeDestination) -> None:
    """Some servers answer protobuf with JSON: it means the same, partial success included; other content is not OTLP."""
    kind = {"Content-Type": "application/json"}
    partial = b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "quota"}}'
    fake.script(Raw(200, b"{}", kind), Raw(200, partial, kind), Raw(200, b"[1]", kind))
    destination = open_destination(fake.http_url)
    assert await destination.send(batch(1, 2)) == Delivered()
    assert await destination.send(batch(1, 2)) == PartlyRefused(2, "quota")
    assert isinstance(await destination.send(batch(1, 2)), Misconfigured)
    await destination.aclose()


async def test_plain_http_to_a_tls_port_is_a_misconfiguration(fake: FakeDestination) -> None:
    """The answer of a server written in Go is not a rejection of the spans."""
    fake.script(Raw(400, b"Client sent an HTTP request to an HTTPS server.", {"Content-Type": "text/plain"}))
    destination = open_destination(fake.http_url)
    assert isinstance(await destination.send(batch()), Misconfigured)
    await destination.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_a_warning_shows_no_credential(
    fake: FakeDestination, transport: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server may repeat a header in the warning of a partial success; it is shown masked."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20canary-4711")
    fake.script(PartialSuccess(0, "deprecated: canary-4711"), PartialSuccess(1, "quota of canary-4711"))
    destination = open_destination(url(fake, transport))
    assert await destination.send(batch()) == Delivered("deprecated: ***")
    assert await destination.send(batch()) == PartlyRefused(1, "quota of ***")
    assert "canary" not in caplog.text
    await destination.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_gzip_is_read_by_the_server(
    fake: FakeDestination, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With compression configured, the same spans arrive."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    destination = open_destination(url(fake, transport))
    sent = batch(1, 2, 3)
    assert await destination.send(sent) == Delivered()
    assert fake.stored == [stock_request(sent.spans)]
    await destination.aclose()
