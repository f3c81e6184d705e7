"""The rows of "The destination" in the table of faults: run the command, check its exit code and the oracle."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from tests.support.cli import Result
from tests.support.compare import Key
from tests.support.fake_destination import (
    CutAfterStoring,
    Decision,
    FakeDestination,
    Hang,
    PartialSuccess,
    Raw,
    Received,
    Reject,
)
from tests.support.judging_destination import JudgingDestination, span_ids
from tests.support.oracle import happened, stored_by
from tests.support.proxy import CLEAR, Link, Proxy
from tests.support.rig import Rig, recorded
from tests.support.waiting import afterwards

pytestmark = pytest.mark.faults

MIB = 1 << 20
TRANSPORTS = pytest.mark.parametrize("transport", ["grpc", "http"])


@pytest.fixture
def fake() -> Iterator[FakeDestination]:
    with FakeDestination() as server:
        yield server


def url(fake: FakeDestination, transport: str) -> str:
    return fake.grpc_url if transport == "grpc" else fake.http_url


def port(fake: FakeDestination, transport: str) -> int:
    return fake.grpc_port if transport == "grpc" else fake.http_port


def lane(result: Result) -> dict[str, Any]:
    (only,) = result.json["destinations"]
    return dict(only)


def assert_whole(rig: Rig, result: Result, fake: FakeDestination, *, repeats: int = 0) -> None:
    """Assert that everything arrived, with at most ``repeats`` repeats, and the report says so."""
    assert result.code == 0, result.err
    rig.oracle.assert_kept(stored_by(fake.stored), repeats=repeats)
    assert lane(result)["delivered"] == lane(result)["spans"] == len(rig.oracle)


def assert_held(rig: Rig, result: Result, fake: FakeDestination, code: int, *words: str) -> None:
    """Assert that it ended with ``code`` and one line that says why; no span is dead-lettered or counted as rejected."""
    assert result.code == lane(result)["exit"] == code, result.err
    for word in words:
        assert word in result.said
    verdict = rig.oracle.verdict(stored_by(fake.stored))
    happened("a span that is missing", verdict.missing)
    assert verdict.sound, verdict
    assert (lane(result)["refused"], lane(result)["dead_lettered"]) == (0, 0)


# down, slow, hanging


@TRANSPORTS
def test_down_for_a_while(rig: Rig, fake: FakeDestination, transport: str) -> None:
    """A destination that recovers within the back-off receives everything once."""
    with Proxy(port(fake, transport)) as proxy:
        proxy.refuse()
        with afterwards(lambda: rig.calls() > len(rig.oracle.trace_ids), proxy.listen, wait_s=0.5):
            result = rig.replay(proxy.instead_of(url(fake, transport)), NETRA_BRIDGE_ATTEMPTS="20")
        happened("a connection after the refusals", proxy.counts.connections)
    assert result.json["seconds"] >= 0.4
    assert_whole(rig, result, fake)


@TRANSPORTS
def test_slow(rig: Rig, fake: FakeDestination, transport: str) -> None:
    """Small, late writes at 200 kB/s take their time, and all of it arrives."""
    with Proxy(port(fake, transport)) as proxy:
        proxy.up = Link(latency_s=0.02, bytes_per_s=200_000, slice_bytes=700)
        result = rig.replay(proxy.instead_of(url(fake, transport)), NETRA_BRIDGE_BATCH_SPANS="10")
        happened("writes of a few bytes", proxy.counts.writes > 50)
    assert_whole(rig, result, fake)


@TRANSPORTS
def test_hanging(rig: Rig, fake: FakeDestination, transport: str) -> None:
    """Each call has a deadline: the batch is sent again, and the command does not hang."""
    fake.script(Hang())
    result = rig.replay(url(fake, transport), NETRA_BRIDGE_ATTEMPTS="6", OTEL_EXPORTER_OTLP_TIMEOUT="2")
    happened("a request that hung", len(fake.received) == 2)
    assert result.json["seconds"] >= 2
    assert_whole(rig, result, fake)


@TRANSPORTS
def test_hanging_to_the_last_attempt_is_an_error(rig: Rig, fake: FakeDestination, transport: str) -> None:
    """The number of attempts is bounded, then the exit code is 69."""
    fake.script(*[Hang()] * 50)
    result = rig.replay(url(fake, transport), OTEL_EXPORTER_OTLP_TIMEOUT="0.3")
    assert_held(rig, result, fake, 69)
    assert len(fake.received) <= 4


@TRANSPORTS
def test_down_to_the_end_records_nothing(rig: Rig, fake: FakeDestination, transport: str) -> None:
    """A batch without an answer does not count as delivered: the next replay sends everything, once."""
    fake.script(Reject(), Reject())
    to, state = url(fake, transport), ("--state", str(rig.state))
    assert_held(rig, rig.replay(to, *state), fake, 69)
    assert recorded(rig.state, rig.oracle.trace_ids) == {}
    assert_whole(rig, rig.replay(to, *state), fake)


# partial success


@TRANSPORTS
@pytest.mark.parametrize("refused", [1, 3, 7])
def test_partial_success_n_rejected(rig: Rig, fake: FakeDestination, transport: str, refused: int) -> None:
    """Rejected spans are counted, shown with their reason and not sent again; the exit code is 3."""
    fake.script(PartialSuccess(refused, "older than an hour"))
    result = rig.replay(url(fake, transport), NETRA_BRIDGE_BATCH_SPANS="16")
    assert result.code == lane(result)["exit"] == 3
    assert (lane(result)["refused"], lane(result)["delivered"]) == (refused, len(rig.oracle) - refused)
    assert "older than an hour" in result.err
    rig.oracle.assert_kept(stored_by(fake.stored))


@TRANSPORTS
def test_partial_success_with_0_is_a_warning(rig: Rig, fake: FakeDestination, transport: str) -> None:
    """All spans were accepted: the exit code is 0, and the server's words are shown."""
    fake.script(PartialSuccess(0, "names are long"))
    result = rig.replay(url(fake, transport))
    assert_whole(rig, result, fake)
    assert "names are long" in result.err


# too large


@TRANSPORTS
def test_too_large_is_split_before_sending_by_encoded_size(rig: Rig, fake: FakeDestination, transport: str) -> None:
    """Batches stay below gRPC's default limit of 4 MiB, so nothing is rejected."""
    rig.feed(6, 10, padding=200_000)
    result = rig.replay(url(fake, transport))
    assert_whole(rig, result, fake)
    sizes = [received.size_bytes for received in fake.received]
    assert max(sizes) < 4 * MIB
    happened("more than one batch, for their size alone", len(sizes) > 1)


@TRANSPORTS
def test_too_large_is_halved_on_rejection(rig: Rig, transport: str) -> None:
    """Under a limit that no one announced, batches are halved until they fit, and each span arrives once."""
    with FakeDestination(max_message_bytes=20_000) as fake:
        result = rig.replay(url(fake, transport))
        assert_whole(rig, result, fake)
        sizes = stored_by(fake.stored).sizes
    happened("a batch that was split", len(sizes) > 1 and max(sizes) < len(rig.oracle))


@TRANSPORTS
@pytest.mark.parametrize("http", [413, 400])
def test_too_large_by_413_or_by_400_with_these_words(rig: Rig, transport: str, http: int) -> None:
    """Each of these answers means that the request is too large."""
    text = "http: request body too large" if transport == "http" else "received message larger than max (9 vs. 5)"
    code = grpc.StatusCode.RESOURCE_EXHAUSTED if transport == "grpc" else grpc.StatusCode.INVALID_ARGUMENT

    def large(received: Received) -> Decision | None:
        return Reject(code, http, text) if len(span_ids(received)) > 5 else None

    with JudgingDestination(large) as fake:
        assert_whole(rig, rig.replay(url(fake, transport)), fake)
        sizes = stored_by(fake.stored).sizes
        happened("a batch that was split", len(fake.received) > len(sizes) and max(sizes) <= 5)


# throttled


@TRANSPORTS
@pytest.mark.parametrize("http", [429, 503])
def test_throttled_waits_as_requested_and_sends_the_same_batch(
    rig: Rig, fake: FakeDestination, transport: str, http: int
) -> None:
    """RetryInfo and Retry-After set the wait; the words "too large" in the text change nothing."""
    fake.script(Reject(grpc.StatusCode.RESOURCE_EXHAUSTED, http, "too large for the rate", retry_after_s=0.6))
    result = rig.replay(url(fake, transport), NETRA_BRIDGE_ATTEMPTS="4")
    assert_whole(rig, result, fake)
    assert 0.6 <= result.json["seconds"] < 6
    assert [one.request for one in fake.received][:2] == [fake.stored[0]] * 2


@TRANSPORTS
@pytest.mark.parametrize("http", [429, 500])
def test_slow_down_without_details_is_not_too_large(rig: Rig, fake: FakeDestination, transport: str, http: int) -> None:
    """RESOURCE_EXHAUSTED in other words means to wait: the batch is never split, never dead-lettered."""
    fake.script(Reject(grpc.StatusCode.RESOURCE_EXHAUSTED, http, "RATE_LIMITED: ingestion rate limit"))
    result = rig.replay(url(fake, transport), NETRA_BRIDGE_ATTEMPTS="4")
    assert_whole(rig, result, fake)
    happened("the same batch twice", [one.request for one in fake.received] == [fake.stored[0]] * 2)


# poison


def poisoned(keys: list[Key], reject: Reject) -> JudgingDestination:
    """Make the server reject each request that has one of these spans in it."""
    ids = {span_id for _, span_id in keys}
    return JudgingDestination(lambda received: reject if ids & set(span_ids(received)) else None)


@TRANSPORTS
@pytest.mark.parametrize(
    "reject",
    [
        Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "trace ids must be 128 bit"),
        Reject(grpc.StatusCode.INTERNAL, 400, "invalid TraceID length"),
    ],
    ids=lambda reject: reject.text,
)
def test_400_invalid_argument_is_bisected_and_only_the_poison_is_dead(rig: Rig, transport: str, reject: Reject) -> None:
    """Two poisoned spans among hundreds are named with the reason, the rest is delivered once, and the exit code is 3."""
    rig.feed(100, 4)
    poison = [rig.oracle.span_ids(rig.oracle.trace_ids[number])[2] for number in (3, 80)]
    with poisoned(poison, reject) as fake:
        result = rig.replay(url(fake, transport))
        sent = stored_by(fake.stored)
    assert result.code == lane(result)["exit"] == 3
    rig.oracle.assert_kept(sent, due=rig.oracle.issued.keys() - set(poison))
    assert not sent.keys & set(poison)
    assert lane(result)["delivered"] == len(rig.oracle) - 2
    for _, span_id in poison:
        assert re.search(rf"{span_id}.*{reject.text}", result.err)
    assert len(fake.received) < 60, "two binary searches"
    happened("a batch that was split", len(sent.sizes) > 5)


@TRANSPORTS
def test_more_than_20_percent_rejected_stops(rig: Rig, transport: str) -> None:
    """If the destination does not accept these spans, the command stops early and says so."""
    rig.feed(150, 4)
    with poisoned(list(rig.oracle.issued), Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "no spans today")) as fake:
        result = rig.replay(url(fake, transport), NETRA_BRIDGE_BATCH_SPANS="4")
    assert result.code == 3
    assert "no spans today" in result.said
    assert "nothing more was sent" in result.said
    assert len(fake.received) < 400, "of some 650 spans"
    assert lane(result)["delivered"] == 0


# misconfigured


@TRANSPORTS
@pytest.mark.parametrize(
    ("decision", "code"),
    [
        (Reject(grpc.StatusCode.UNAUTHENTICATED, 401, "who are you"), 77),
        (Reject(grpc.StatusCode.PERMISSION_DENIED, 403, "not you"), 77),
        (Reject(grpc.StatusCode.UNIMPLEMENTED, 404, "no such service"), 78),
    ],
    ids=["401 UNAUTHENTICATED", "403 PERMISSION_DENIED", "404 UNIMPLEMENTED"],
)
def test_401_403_404_unauthenticated_permission_denied_unimplemented(
    rig: Rig, fake: FakeDestination, transport: str, decision: Decision, code: int
) -> None:
    """These are errors of configuration: nothing is dead-lettered or retried, and the exit code says which kind it is."""
    fake.script(*[decision] * 50)
    assert_held(rig, rig.replay(url(fake, transport), NETRA_BRIDGE_ATTEMPTS="6"), fake, code)
    assert len(fake.received) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Raw(302, b"", {"Location": "http://127.0.0.1:9/login"}),
        Raw(200, b"<html>Sign in</html>", {"Content-Type": "text/html"}),
    ],
    ids=["302", "200 with HTML"],
)
def test_302_200_with_html(rig: Rig, fake: FakeDestination, answer: Raw) -> None:
    """A login page does not count as success."""
    fake.script(*[answer] * 50)
    assert_held(rig, rig.replay(fake.http_url, NETRA_BRIDGE_ATTEMPTS="6"), fake, 78)
    assert len(fake.received) == 1


@TRANSPORTS
@pytest.mark.parametrize("fault", ["untrusted", "expired", "wrong host", "no TLS there"])
def test_tls_untrusted_expired_wrong_host_never_falls_back_to_plain_text(
    rig: Rig, transport: str, fault: str, tmp_path: Path
) -> None:
    """The command exits with 78, and does not send a byte of a span."""
    authority = trustme.CA()
    trusted = trustme.CA() if fault == "untrusted" else authority
    trusted.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    until = datetime.now(UTC) + timedelta(days=-1 if fault == "expired" else 1)
    host = "127.0.0.2" if fault == "wrong host" else "127.0.0.1"
    issued = authority.issue_cert(host, not_before=until - timedelta(days=9), not_after=until)
    with FakeDestination(certificate=None if fault == "no TLS there" else issued) as fake:
        to = url(fake, transport).replace("grpc:", "grpcs:").replace("http:", "https:")
        result = rig.replay(to, OTEL_EXPORTER_OTLP_CERTIFICATE=str(tmp_path / "ca.pem"), OTEL_EXPORTER_OTLP_TIMEOUT="2")
        assert_held(rig, result, fake, 78)
        assert fake.received == []


# reply lost


@TRANSPORTS
def test_reply_lost_after_storing(rig: Rig, fake: FakeDestination, transport: str) -> None:
    """At most that batch comes again, with the same ids and the same content."""
    fake.script(CutAfterStoring())
    result = rig.replay(url(fake, transport), NETRA_BRIDGE_BATCH_SPANS="10", NETRA_BRIDGE_ATTEMPTS="4")
    assert_whole(rig, result, fake, repeats=10)
    happened("a duplicate", rig.oracle.verdict(stored_by(fake.stored)).repeated.total() == 10)
    assert fake.stored[0] == fake.stored[1]


@TRANSPORTS
def test_replies_dropped_on_the_wire(rig: Rig, fake: FakeDestination, transport: str) -> None:
    """If the network loses the answer to a stored batch, that batch comes again, and no other."""
    with Proxy(port(fake, transport)) as proxy:
        proxy.down = Link(drop=transport == "http", limit_bytes=None if transport == "http" else 60, end="stall")

        def clear() -> None:
            proxy.down = CLEAR
            proxy.reset()

        counts = proxy.counts
        with afterwards(lambda: fake.stored and (counts.dropped_bytes or counts.stalls), clear, wait_s=0.45):
            result = rig.replay(
                proxy.instead_of(url(fake, transport)),
                NETRA_BRIDGE_BATCH_SPANS="10",
                NETRA_BRIDGE_ATTEMPTS="20",
                OTEL_EXPORTER_OTLP_TIMEOUT="0.4",
            )
    assert result.code == 0, result.err
    sent = stored_by(fake.stored)
    verdict = rig.oracle.assert_kept(sent, repeats=10 * len(fake.received))
    happened("a duplicate", verdict.repeated)
    assert len(verdict.repeated) <= 10, "only the one batch that was in flight"
