"""`probe` sends an empty request, then a large one, then one test span, and names what remains unknown."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import trustme
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from netra_otel_bridge.core.errors import ConfigurationError, DestinationUnavailable
from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Inspection,
    Outcome,
    PartlyRefused,
    Refused,
    Retry,
    SpanBatch,
    TooLarge,
)
from netra_otel_bridge.deliver import (
    ExporterDestination,
    ProbeResult,
    batch_of,
    destination_from,
    open_destination,
)
from netra_otel_bridge.deliver.answers import connection_outcome, grpc_outcome, http_outcome
from netra_otel_bridge.deliver.batching import MIN_BYTES
from netra_otel_bridge.deliver.exporter_words import words_outcome
from netra_otel_bridge.deliver.otlp.encode import encode_empty_request, encode_request
from netra_otel_bridge.deliver.probe import Sample, made_up_span, probe
from tests.support.cutting import cutting_server
from tests.support.exporters import ScriptedExporter, fails_saying
from tests.support.fake_destination import (
    Accept,
    Decision,
    FakeDestination,
    Hang,
    PartialSuccess,
    Raw,
    Received,
    Reject,
)
from tests.support.judging_destination import JudgingDestination
from tests.support.spans import make_span
from tests.support.waiting import DEADLINE_S

BATCH = batch_of((make_span(1),))
FULL_BYTES = 3_500_000
NOW_NS = time.time_ns()
DAY_OLD = Sample(NOW_NS - 86_400 * 10**9, NOW_NS, "24 h old")
HOUR_NS = 3_600 * 10**9
both = pytest.mark.parametrize("transport", ["grpc", "http"])


@pytest.fixture
def fake() -> Iterator[FakeDestination]:
    with FakeDestination() as server:
        yield server


def url(fake: FakeDestination, transport: str) -> str:
    return fake.grpc_url if transport == "grpc" else fake.http_url


async def probed(
    where: str,
    size_bytes: int = FULL_BYTES,
    sample: Sample | None = None,
    timeout_s: float | None = None,
    answer_s: float = 10,
) -> ProbeResult:
    destination = open_destination(where, timeout_s=timeout_s)
    try:
        result = await probe(destination, size_bytes, sample, answer_s)
    finally:
        await destination.aclose()
    assert "\n" not in result.said + result.unknown
    return result


def spans(received: Received) -> list[tuple[str, int]]:
    """Return the name and the start of each span of a request."""
    return [
        (span.name, span.start_time_unix_nano)
        for resource in received.request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@both
async def test_an_otlp_server_is_asked_with_nothing_and_then_with_size(fake: FakeDestination, transport: str) -> None:
    """The server is reachable, speaks OTLP, accepts the credentials and a full batch; no span is sent, and the unknown is named."""
    result = await probed(url(fake, transport))
    assert (result.ok, result.exit_code) == (True, 0)
    assert result.said == "it accepts a request of 3.5 MB without spans"
    assert "large or old spans" in result.unknown
    empty, full = fake.received
    assert empty.size_bytes == 0
    assert FULL_BYTES - 200 < full.size_bytes <= FULL_BYTES
    assert result.took_bytes == FULL_BYTES
    assert fake.stored_ids() == []


@pytest.mark.parametrize(
    ("transport", "least_bytes", "most_bytes"), [("grpc", 984_375, 984_375), ("http", 500_000, 1_000_000)]
)
async def test_a_limit_is_found_and_is_no_failure(transport: str, least_bytes: int, most_bytes: int) -> None:
    """The size that is named or found by halving is what the bridge will send; the line says what happens to larger spans."""
    with FakeDestination(max_message_bytes=1_000_000) as server:
        result = await probed(url(server, transport))
        assert (result.ok, result.exit_code) == (True, 0)
        assert result.took_bytes is not None
        assert least_bytes - 200 < result.took_bytes <= most_bytes
        assert "none of 3.5 MB (" in result.said
        assert "batches are split, and larger spans trimmed" in result.said
        assert server.stored_ids() == []
        sent = await probed(url(server, transport), sample=DAY_OLD)
        assert sent.said.count("none of 3.5 MB (") == 1, "a span is sent no larger than what is taken"
        assert len(server.stored_ids()) == 1
        assert sent.took_bytes is not None
        assert sent.took_bytes <= result.took_bytes


@both
@pytest.mark.parametrize(
    ("decision", "code", "said"),
    [
        (Reject(StatusCode.PERMISSION_DENIED, 403, "a firewall"), 77, "rejects the credentials: "),
        (Reject(StatusCode.UNIMPLEMENTED, 404, "not here"), 78, "not here"),
        (Reject(StatusCode.RESOURCE_EXHAUSTED, 429, "RATE_LIMITED"), 69, "(try again later)"),
        (Hang(), 69, ""),
    ],
)
async def test_a_size_that_would_hold_a_lane_is_a_failure(
    fake: FakeDestination, transport: str, decision: Decision, code: int, said: str
) -> None:
    """A server that accepts an empty request and fails for the size of a batch is a failed check."""
    fake.script(Accept(), decision)
    timeout_s = 0.5 if isinstance(decision, Hang) else DEADLINE_S
    result = await probed(url(fake, transport), sample=DAY_OLD, timeout_s=timeout_s)
    assert (result.ok, result.exit_code) == (False, code)
    assert result.said.startswith("it accepts an empty request; a request of 3.5 MB without spans: ")
    assert said in result.said
    assert len(fake.received) == 2


@both
async def test_a_refusal_of_what_holds_no_span_says_nothing_of_spans(fake: FakeDestination, transport: str) -> None:
    """Some servers require a span in each resource: that is no limit, and its meaning is unknown."""
    fake.script(Accept(), Reject(StatusCode.INVALID_ARGUMENT, 400, "no spans"))
    result = await probed(url(fake, transport))
    assert (result.ok, result.sure, result.took_bytes) == (True, False, None)
    assert "rejects a request of 3.5 MB without spans (" in result.said
    assert "whether it accepts spans at all" in result.unknown


async def test_what_is_compressed_is_not_easily_compressed(
    fake: FakeDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With gzip the server also receives a request of about the size that is named."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    assert (await probed(fake.http_url)).ok
    assert int(fake.received[1].headers["content-length"]) > FULL_BYTES / 2
    assert fake.received[1].size_bytes > FULL_BYTES - 200


@both
async def test_one_span_is_sent_where_that_is_wanted(fake: FakeDestination, transport: str) -> None:
    """The span has a new trace, the name of the bridge, the requested age, and the size of a full batch."""
    first, second = [await probed(url(fake, transport), sample=DAY_OLD) for _ in range(2)]
    assert first.ok
    assert first.said == "it accepts a request of 3.5 MB without spans; accepted a span of 3.5 MB, 24 h old"
    assert first.trace_id in first.unknown
    assert [trace for trace, _ in fake.stored_ids()] == [first.trace_id, second.trace_id]
    assert first.trace_id != second.trace_id
    sent = fake.received[2]
    assert spans(sent) == [("netra-otel-bridge check", DAY_OLD.start_ns)]
    (attribute,) = sent.request.resource_spans[0].resource.attributes
    assert (attribute.key, attribute.value.string_value) == ("service.name", "netra-otel-bridge")
    assert FULL_BYTES - 200 < sent.size_bytes <= FULL_BYTES
    assert first.took_bytes is not None
    assert sent.size_bytes <= first.took_bytes <= FULL_BYTES


@both
@pytest.mark.parametrize(
    "decision",
    [
        Reject(StatusCode.RESOURCE_EXHAUSTED, 413, "message larger than max"),
        Reject(StatusCode.INVALID_ARGUMENT, 400, "not so much of a span"),
        PartialSuccess(1, "not so much of a span"),
    ],
)
async def test_a_span_that_is_refused_is_sent_smaller(transport: str, decision: Decision) -> None:
    """Smaller spans are sent until one is accepted; both sizes are named, and only that span is kept."""

    def rule(received: Received) -> Decision | None:
        return decision if spans(received) and received.size_bytes > 400_000 else None

    with JudgingDestination(rule) as server:
        result = await probed(url(server, transport), sample=DAY_OLD)
        taken = [one.size_bytes for one in server.received if spans(one)]
        assert [rule(one) is None for one in server.received if spans(one)] == [False] * 4 + [True]
    assert (result.ok, result.exit_code) == (True, 0)
    assert "accepted a span of 218.7 kB, 24 h old, and none of 3.5 MB (" in result.said
    assert result.took_bytes is not None
    assert 0 <= result.took_bytes - taken[-1] < 30


@both
@pytest.mark.parametrize(
    "decision",
    [Reject(StatusCode.INVALID_ARGUMENT, 400, "too far in the past"), PartialSuccess(1, "too far in the past")],
)
async def test_a_span_that_is_refused_for_its_age(transport: str, decision: Decision) -> None:
    """Smaller ones are rejected too, and one of now is accepted: the cause is the age, and real spans would be dead letters."""

    def rule(received: Received) -> Decision | None:
        return decision if any(start_ns < NOW_NS - HOUR_NS for _, start_ns in spans(received)) else None

    with JudgingDestination(rule) as server:
        result = await probed(url(server, transport), sample=DAY_OLD)
        kept = [one for one in server.received if spans(one) and rule(one) is None]
    assert (result.ok, result.exit_code) == (False, 3)
    assert "even a span of 4.1 kB, 24 h old (" in result.said
    assert "too far in the past): it does not accept spans that old, but accepts new ones" in result.said
    assert [spans(one) for one in kept] == [[("netra-otel-bridge check", NOW_NS)]]
    assert result.trace_id == kept[0].request.resource_spans[0].scope_spans[0].spans[0].trace_id.hex()


@both
async def test_a_span_that_is_refused_whatever_its_size_and_age(transport: str) -> None:
    """The exit code is that of a lane whose spans are rejected."""

    def rule(received: Received) -> Decision | None:
        return Reject(StatusCode.INVALID_ARGUMENT, 400, "no tenant") if spans(received) else None

    with JudgingDestination(rule) as server:
        result = await probed(url(server, transport), sample=DAY_OLD)
        assert server.stored_ids() == []
    assert (result.ok, result.exit_code, result.trace_id) == (False, 3, None)
    assert "no tenant): it does not accept spans like these" in result.said
    assert ("OTEL_EXPORTER_OTLP_HEADERS" in result.said) == (transport == "http")


@both
@pytest.mark.parametrize(
    ("decision", "code"),
    [(Reject(StatusCode.UNAUTHENTICATED, 401, "spans want a key"), 77), (Reject(text="draining"), 69), (Hang(), 69)],
)
async def test_an_answer_to_the_span_that_ends_the_probe(
    fake: FakeDestination, transport: str, decision: Decision, code: int
) -> None:
    """The span is sent once; without an answer it is unknown whether it arrived."""
    fake.script(Accept(), Accept(), decision)
    result = await probed(url(fake, transport), sample=DAY_OLD, answer_s=1)
    assert (result.ok, result.exit_code) == (False, code)
    assert "; a span of 3.5 MB, 24 h old: " in result.said
    assert len(fake.received) == 3


class Picky:
    """A destination of a program that accepts spans up to a size and an age, and keeps them."""

    name = "picky"

    def __init__(self, limit_bytes: int, oldest_ns: int, refusal: Outcome) -> None:
        self.kept: list[ReadableSpan] = []
        self._limit_bytes, self._oldest_ns, self._refusal = limit_bytes, oldest_ns, refusal

    async def send(self, batch: SpanBatch) -> Outcome:
        fits = len(encode_request(batch.spans, batch.encoded)) <= self._limit_bytes
        if fits and all((span.start_time or 0) >= self._oldest_ns for span in batch.spans):
            self.kept += batch.spans
            return Delivered()
        return self._refusal

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release."""


@given(
    size_bytes=st.integers(1_000, 200_000),
    limit_bytes=st.integers(0, 200_000),
    oldest_ns=st.sampled_from([0, NOW_NS - HOUR_NS, NOW_NS + HOUR_NS]),
    refusal=st.sampled_from([TooLarge("too large"), Refused("no"), PartlyRefused(1, "no")]),
)
async def test_at_most_one_span_is_taken_and_what_is_said_of_it_is_so(
    size_bytes: int, limit_bytes: int, oldest_ns: int, refusal: Outcome
) -> None:
    """At most one span is accepted; one of the requested age has at least half the largest possible size."""
    picky = Picky(limit_bytes, oldest_ns, refusal)
    result = await probe(picky, size_bytes, DAY_OLD)
    assert len(picky.kept) == (result.trace_id is not None)
    assert result.exit_code == (0 if result.ok else 3)
    if result.ok:
        assert result.took_bytes is not None
        assert picky.kept[0].start_time == DAY_OLD.start_ns
        assert result.took_bytes > min(size_bytes, limit_bytes) / 2 - 100
    elif oldest_ns <= DAY_OLD.start_ns:
        assert limit_bytes < max(size_bytes, MIN_BYTES)


@given(st.integers(1_000, 300_000))
def test_what_is_made_up_has_the_size_that_is_asked_for(size_bytes: int) -> None:
    """A made-up span is never larger and hardly smaller than requested; the request without spans has none."""
    request, batch = encode_empty_request(size_bytes), made_up_span(NOW_NS, size_bytes)
    assert size_bytes - 100 < len(request) <= size_bytes
    assert size_bytes - 100 < len(encode_request(batch.spans, batch.encoded)) <= batch.size_bytes <= size_bytes
    (resource,) = ExportTraceServiceRequest.FromString(request).resource_spans
    assert list(resource.scope_spans) == []


@both
async def test_a_certificate_that_is_not_trusted(transport: str) -> None:
    """The line says so and names the variable that makes it trusted; with it set, the check passes."""
    authority = trustme.CA()
    with FakeDestination(certificate=authority.issue_cert("127.0.0.1")) as server:
        result = await probed(url(server, transport))
        assert (result.ok, result.exit_code) == (False, 78)
        assert "CERTIFICATE_VERIFY_FAILED" in result.said
        assert "set OTEL_EXPORTER_OTLP_CERTIFICATE to" in result.said
        with authority.cert_pem.tempfile() as path, pytest.MonkeyPatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", path)
            assert (await probed(url(server, transport), sample=DAY_OLD)).ok


@both
@pytest.mark.parametrize(
    ("days", "host", "hint"), [(-1, "127.0.0.1", "renew it"), (1, "127.0.0.2", "for another host")]
)
async def test_a_certificate_that_no_authority_would_mend(
    transport: str, days: int, host: str, hint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The hint says that it has expired or is for another host."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
    until = datetime.now(UTC) + timedelta(days=days)
    certificate = authority.issue_cert(host, not_before=until - timedelta(days=9), not_after=until)
    with FakeDestination(certificate=certificate) as server:
        result = await probed(url(server, transport))
    assert (result.ok, result.exit_code) == (False, 78)
    assert hint in result.said
    assert "CA to trust" not in result.said


async def test_a_grpc_server_that_wants_a_client_certificate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The server only closes the connection; the cause is found, and with a certificate the request is answered."""
    authority = trustme.CA()
    server_is, client_is = authority.issue_cert("127.0.0.1"), authority.issue_cert("client@example.org")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client_is.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    client_is.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
    chain = b"".join(pem.bytes() for pem in server_is.cert_chain_pems)
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_secure_port(
        "127.0.0.1:0",
        grpc.ssl_server_credentials([(server_is.private_key_pem.bytes(), chain)], authority.cert_pem.bytes(), True),
    )
    server.start()
    try:
        refused = await probed(f"otlp+grpcs://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(tmp_path / "client.pem"))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(tmp_path / "key.pem"))
        answered = await probed(f"otlp+grpcs://127.0.0.1:{port}")
    finally:
        server.stop(None)
    assert (refused.ok, refused.exit_code) == (False, 78)
    assert "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _CLIENT_KEY" in refused.said
    assert "UNIMPLEMENTED" in answered.said


async def test_a_tls_server_that_only_closes_is_waited_for() -> None:
    """A proxy without a server also closes, after the handshake in every version: that is `Retry`."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    tls.set_alpn_protocols(["h2"])

    async def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(end, "127.0.0.1", 0, ssl=tls)
    with authority.cert_pem.tempfile() as path, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", path)
        result = await probed(f"otlp+grpcs://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    server.close()
    assert (result.ok, result.exit_code) == (False, 69)


@both
def test_an_authority_that_is_no_pem(transport: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error comes when the destination is created, for both transports."""
    (tmp_path / "ca.pem").write_text("not a certificate")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
    with pytest.raises(ConfigurationError, match=r"certificates for .* cannot be used"):
        open_destination(f"otlp+{transport}s://127.0.0.1:4317")


@pytest.mark.parametrize(
    ("where", "warns"),
    [
        ("otlp+http://collector.example", True), ("otlp+grpc://192.0.2.7:4317", True), ("otlp+grpcs://192.0.2.7", False),
        ("otlp+http://127.0.0.2", False), ("otlp+grpc://[::1]:4317", False), ("otlp+http://localhost:4318", False),
    ],
)  # fmt: skip
async def test_headers_in_plain_text_to_another_machine_are_warned_of(
    where: str, warns: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning is logged once, when the destination is created, without the key; without headers there is none."""
    await open_destination(where).aclose()
    assert caplog.messages == []
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20canary-4711")
    await open_destination(where).aclose()
    assert len(caplog.messages) == warns
    assert "canary" not in caplog.text


@both
@pytest.mark.parametrize(
    ("decision", "code", "said"),
    [
        (Reject(StatusCode.UNAUTHENTICATED, 401, "no key"), 77, "rejects the credentials"),
        (Reject(StatusCode.PERMISSION_DENIED, 403, "not you"), 77, "not you"),
        (Reject(StatusCode.UNIMPLEMENTED, 404, "unknown service"), 78, "unknown service"),
        (Reject(StatusCode.UNAVAILABLE, 503, "draining"), 69, "draining"),
        (Reject(StatusCode.RESOURCE_EXHAUSTED, 429, "RATE_LIMITED"), 69, "RATE_LIMITED"),
        (Hang(), 69, ""),
    ],
)
async def test_what_is_wrong_is_said_with_the_exit_code_that_a_lane_would_have(
    fake: FakeDestination, transport: str, decision: Reject | Hang, code: int, said: str
) -> None:
    """There is one line, one request, and no second attempt."""
    fake.script(decision)
    result = await probed(url(fake, transport), timeout_s=0.3 if isinstance(decision, Hang) else DEADLINE_S)
    assert (result.ok, result.exit_code) == (False, code)
    assert said in result.said
    assert result.said
    assert "\n" not in result.said + result.unknown
    assert len(fake.received) == 1


@both
async def test_nothing_listens(transport: str) -> None:
    """A server that cannot be reached is unavailable: exit code 69."""
    result = await probed(f"otlp+{transport}://127.0.0.1:9")
    assert (result.ok, result.exit_code) == (False, 69)
    assert "refused" in result.said


async def test_a_login_page_is_not_ok(fake: FakeDestination) -> None:
    """A web page or a redirect also answers a request without spans."""
    fake.script(Raw(200, b"<html>", {"Content-Type": "text/html"}), Raw(302, b"", {"Location": "/login"}))
    for said in ("web page", "redirect"):
        result = await probed(fake.http_url)
        assert (result.ok, result.exit_code) == (False, 78)
        assert said in result.said


@both
async def test_a_server_that_takes_no_empty_request_is_reached_and_the_rest_is_unknown(
    fake: FakeDestination, transport: str
) -> None:
    """The server answered and did not reject the credentials; only a span would tell whether it accepts spans."""
    fake.script(Reject(StatusCode.INVALID_ARGUMENT, 400, "no spans"))
    result = await probed(url(fake, transport))
    assert (result.ok, result.sure) == (True, False)
    assert "no spans" in result.said
    assert "whether it accepts spans at all" in result.unknown


@both
@pytest.mark.parametrize("before", [0, 1, 2])
async def test_a_key_that_is_repeated_by_the_server_is_not_shown(
    fake: FakeDestination, transport: str, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed line is masked like every reason, whichever request is answered so."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20canary-4711")
    fake.script(*[Accept()] * before, Reject(StatusCode.UNAUTHENTICATED, 401, "canary-4711 is not known"))
    result = await probed(url(fake, transport), sample=DAY_OLD)
    assert not result.ok
    assert "canary" not in repr(result)
    assert "***" in result.said


async def test_a_file_is_looked_at_and_neither_made_nor_repaired(tmp_path: Path) -> None:
    """Probing creates no file and leaves a torn end alone; the first batch repairs both."""
    fresh, torn = tmp_path / "fresh.jsonl", tmp_path / "torn.jsonl"
    torn.write_bytes(b'{"resourceSp')
    for path in (fresh, torn):
        result = await probed(f"otlp-file:{path}")
        assert (result.ok, result.exit_code) == (True, 0)
        assert "room" in result.unknown
    assert os.listdir(tmp_path) == ["torn.jsonl"]
    assert torn.read_bytes() == b'{"resourceSp'


async def test_a_directory_that_went_away_is_said(tmp_path: Path) -> None:
    """A destination that was good when it was opened is inspected again."""
    (tmp_path / "there").mkdir()
    destination = open_destination(f"otlp-file:{tmp_path}/there/spans.jsonl")
    (tmp_path / "there").rmdir()
    result = await probe(destination)
    assert (result.ok, result.exit_code) == (False, 78)
    assert f"no directory {tmp_path}/there" in result.said
    await destination.aclose()


async def test_a_named_pipe_is_not_opened(tmp_path: Path) -> None:
    """A waiting reader would see it end, so it is unknown whether there is one: the result is not sure."""
    os.mkfifo(tmp_path / "pipe")
    result = await probed(f"otlp-file:{tmp_path}/pipe")
    assert (result.ok, result.sure) == (True, False)
    assert "whether anyone reads it (check --send" in result.unknown


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="there is no /proc")
async def test_a_place_where_no_file_can_be_made() -> None:
    """The mode of the directory permits it, for root, but the file system does not."""
    result = await probed("otlp-file:/proc/x.jsonl")
    assert (result.ok, result.exit_code) == (False, 78)


@pytest.mark.parametrize("unnamed", [True, False])
async def test_a_file_is_tried_where_the_system_has_none_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unnamed: bool
) -> None:
    """The file is created and removed again."""
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    assert (await probed(f"otlp-file:{tmp_path}/spans.jsonl")).ok
    assert os.listdir(tmp_path) == []


async def test_success_of_an_exporter_is_no_proof() -> None:
    """The exporter received no span and may not have connected: the line says so, and it can still be used."""
    exporter = ScriptedExporter()
    destination = ExporterDestination("mine", exporter)
    result = await probe(destination)
    assert result.ok
    assert "no proof" in result.said
    assert "whether spans would arrive" in result.unknown
    assert exporter.calls == [()]
    await destination.send(BATCH)
    assert exporter.calls[1] == BATCH.spans
    await destination.aclose()


async def test_a_span_through_an_exporter_is_no_proof_either() -> None:
    """The span is passed on, and the line names the trace to look for."""
    exporter = ScriptedExporter()
    destination = ExporterDestination("mine", exporter)
    result = await probe(destination, 10_000, DAY_OLD)
    assert result.said == "it returns SUCCESS for a span of 10.0 kB, 24 h old, which is no proof"
    assert result.trace_id is not None
    assert result.trace_id in result.unknown
    assert [len(call) for call in exporter.calls] == [0, 1]
    await destination.aclose()


async def test_an_exporter_that_fails_with_a_span_is_found_out() -> None:
    """An exporter that fails for a span, but not for an empty batch, is a failed check."""
    exporter = ScriptedExporter(SpanExportResult.SUCCESS, fails_saying("Failed to export: UNAVAILABLE"))
    destination = ExporterDestination("mine", exporter)
    result = await probe(destination, 10_000, DAY_OLD)
    assert (result.ok, result.exit_code) == (False, 69)
    await destination.aclose()


async def test_a_span_in_a_file_is_its_last_line(tmp_path: Path) -> None:
    """The span is appended whole, and the content of the file stays."""
    path = tmp_path / "spans.jsonl"
    path.write_text("{}\n")
    result = await probed(f"otlp-file:{path}", 10_000, DAY_OLD)
    assert result.said == "it can be written; accepted a span of 10.0 kB, 24 h old"
    first, last = path.read_text().splitlines()
    assert first == "{}"
    assert json.loads(last)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] == result.trace_id


async def test_a_file_that_cannot_take_the_span_is_found_out() -> None:
    """A full disk is noticed only when something is written."""
    result = await probed("otlp-file:/dev/full", 10_000, DAY_OLD)
    assert (result.ok, result.exit_code) == (False, 69)
    assert "No space left" in result.said


async def test_the_console_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """No span was passed on."""
    assert (await probed("console")).ok
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("step", "ok", "code"),
    [
        (fails_saying("Failed to export: UNAUTHENTICATED"), False, 77),
        (fails_saying("Failed to export: UNAVAILABLE"), False, 69),
        (fails_saying("server answered 404"), False, 78),
        (None, False, 78),
        (ConnectionRefusedError(111, "Connection refused"), False, 69),
        (IndexError("list index out of range"), True, 0),
        (RuntimeError("no licence"), False, 3),
        (SystemExit(4), False, 3),
        (SpanExportResult.SUCCESS, True, 0),
    ],
)
async def test_an_exporter_that_fails_on_nothing_says_why(step: object, ok: bool, code: int) -> None:
    """A failure is reported; an exception that an empty batch may have caused leaves the result unsure."""

    class Returns(ScriptedExporter):
        def export(self, spans: object) -> SpanExportResult:  # type: ignore[override]  # any answer, None included
            return super().export(spans) if callable(step) or step is not None else None  # type: ignore[arg-type,return-value]

    destination = ExporterDestination("mine", Returns(step))
    result = await probe(destination)
    assert (result.ok, result.exit_code) == (ok, code)
    await destination.aclose()


@pytest.mark.parametrize(
    ("answer", "ok", "code", "said"),
    [
        (None, False, 78, "its send returned NoneType"),
        (ConnectionRefusedError("away"), False, 69, "away"),
        (IndexError("no spans"), True, 0, "accepts no request without spans"),
    ],
)
async def test_a_destination_of_ones_own_that_is_odd_has_a_line(answer: object, ok: bool, code: int, said: str) -> None:
    """The line says what its ``send`` did."""

    class Odd:
        name = "odd"

        async def send(self, batch: SpanBatch) -> Outcome:
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[return-value]

        async def aclose(self) -> None:
            """Do nothing: there is nothing to release."""

    result = await probe(destination_from(Odd()))
    assert (result.ok, result.exit_code) == (ok, code)
    assert said in result.said


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http_outcome(502, b"bad gateway", ""), "it responds but fails"),
        (http_outcome(503, b"", ""), "try again later"),
        (grpc_outcome(StatusCode.RESOURCE_EXHAUSTED, ""), "try again later"),
        (connection_outcome("no connection to h:1: Connection refused", connected=False), "check that it is running"),
        (words_outcome("Failed to export, UNAVAILABLE"), "check that it is running"),
        (http_outcome(404, b"not here", ""), "check the address"),
        (grpc_outcome(StatusCode.UNAVAILABLE, "certificate has expired"), "is not valid now"),
        (http_outcome(422, b"x-mlflow-experiment-id is required", ""), "OTEL_EXPORTER_OTLP_HEADERS"),
        (http_outcome(401, b"no key", ""), "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_a_hint_fits_the_answer(answer: Outcome, words: str) -> None:
    """The hint says who has to look where."""
    assert not isinstance(answer, Delivered)
    assert words in answer.hint


@pytest.mark.parametrize(
    ("words", "connected", "cut"),
    [
        ("ServerDisconnectedError: Server disconnected", True, True),
        ("ClientOSError: [Errno 104] Connection reset by peer", True, True),
        ("no connection to h:1: Connection reset by peer", False, False),
        ("UNAVAILABLE: failed to connect to all addresses; recvmsg:Connection reset by peer", True, False),
        ("TimeoutError: ", True, False),
    ],
)
def test_only_a_connection_that_was_there_is_cut(words: str, connected: bool, cut: bool) -> None:
    """A server that cannot be reached says nothing about the size of a request."""
    answer = connection_outcome(words, connected=connected)
    assert isinstance(answer, Retry)
    assert answer.cut == cut


async def test_the_size_at_which_a_connection_is_cut_is_found() -> None:
    """A connection that is cut is no failure, because batches are halved; the line names the accepted size, and the setting."""
    async with cutting_server(1_000_000) as (where, _):
        found = await probed(where)
    assert (found.ok, found.sure, found.exit_code) == (True, True, 0)
    assert found.took_bytes is not None
    assert 800_000 < found.took_bytes <= 1_000_000
    assert "the connection is cut at 3.5 MB (" in found.said
    assert "lower batch_bytes" in found.said
    async with cutting_server(0) as (where, asked):
        cut = await probed(where)
    assert (cut.ok, cut.exit_code, len(asked)) == (False, 69, 20)


class Queue:
    """A destination of a program whose server answers requests without spans, up to a size."""

    name = "queue"

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.asked: list[int] = []

    async def send(self, batch: SpanBatch) -> Outcome:
        fits = batch.size_bytes <= self._limit_bytes
        return Delivered() if fits else TooLarge("beyond its quota", self._limit_bytes)

    async def send_empty(self, size_bytes: int) -> Outcome:
        self.asked.append(size_bytes)
        return Delivered() if size_bytes <= self._limit_bytes else TooLarge("beyond its quota", self._limit_bytes)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release."""


class Shelf(Queue):
    """A destination of a program that can be looked at."""

    def __init__(self, found: object) -> None:
        super().__init__(FULL_BYTES)
        self._found = found

    async def inspect(self) -> Inspection:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found  # type: ignore[return-value]


async def test_a_destination_of_a_program_that_answers_empty_requests_is_asked_as_otlp_is() -> None:
    """The destination's largest request is found, and with a span its answer counts."""
    given = Queue(1_000_000)
    destination = destination_from(given)
    result = await probe(destination)
    assert (result.ok, result.exit_code, result.took_bytes) == (True, 0, 1_000_000 - 1_000_000 // 64)
    assert given.asked == [0, 3_500_000, 1_000_000 - 1_000_000 // 64]
    assert "it accepts a request of 984.4 kB without spans, and none of 3.5 MB (beyond its quota)" in result.said
    sent = await probe(destination, sample=DAY_OLD)
    assert "; accepted a span of 984.4 kB, 24 h old" in sent.said
    assert "no proof" not in sent.said


@pytest.mark.parametrize(
    ("found", "ok", "sure", "code", "said"),
    [
        (Inspection("it has room", "for how long"), True, True, 0, "it has room"),
        (Inspection("it is locked", sure=False), True, False, 0, "it is locked"),
        (DestinationUnavailable("it is full", hint="make room"), False, True, 69, "it is full (make room)"),
        (ValueError("odd"), False, True, 78, "its inspect raised ValueError: odd"),
        (None, False, True, 78, "its inspect returned NoneType; return an Inspection"),
    ],
)
async def test_a_destination_of_a_program_that_can_be_inspected_is_not_sent_to(
    found: object, ok: bool, sure: bool, code: int, said: str
) -> None:
    """The line shows what its inspection finds; a failure has the exit code of its error."""
    shelf = Shelf(found)
    result = await probe(destination_from(shelf))
    assert (result.ok, result.sure, result.exit_code, result.said) == (ok, sure, code, said)
    assert shelf.asked == []
