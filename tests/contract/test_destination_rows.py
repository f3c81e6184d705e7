"""The table "The destination" of the faults, row by row: from a batch to an answer, against real servers on loopback.

Each test's name begins with its row. Time between tries is the fake clock's, unless a row is about time.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from grpc import StatusCode
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from netra_otel_bridge.core.clock import Backoff, SystemClock
from netra_otel_bridge.core.errors import (
    DestinationMisconfigured,
    DestinationRefuses,
    DestinationUnauthorized,
    DestinationUnavailable,
)
from netra_otel_bridge.deliver import (
    Answer,
    Batcher,
    Destination,
    ExporterDestination,
    Sender,
    dead_letter_of,
    encode_span,
    open_destination,
    span_of,
)
from tests.support.batches import item, whole
from tests.support.exporters import ScriptedExporter, waits_for
from tests.support.fake_clock import FakeClock
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
from tests.support.spans import make_span
from tests.support.waiting import DEADLINE_S, SOON_S, until

pytestmark = pytest.mark.faults

TRANSPORTS = ["grpc", "http"]
both = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture
def fake() -> Iterator[FakeDestination]:
    with FakeDestination() as server:
        yield server


def opened(fake: FakeDestination, transport: str, timeout_s: float = 5.0) -> Destination:
    return open_destination(fake.grpc_url if transport == "grpc" else fake.http_url, timeout_s=timeout_s)


class Lane:
    """A sender and its reports; ``clock`` moves only by its delays."""

    def __init__(self, destination: Destination, *, patient: bool = False, attempts: int = 4) -> None:
        self.destination = destination
        self.clock = FakeClock()
        self.answer: Answer[None] = Answer()
        self.reasons: list[str] = []
        self.warnings: list[str] = []
        self.sender = Sender(
            destination,
            backoff=Backoff(attempts=attempts, uniform=lambda low, high: low),
            clock=self.clock,
            on_retry=lambda reason, delay_s: self.reasons.append(reason),
            patient=patient,
            on_warning=self.warnings.append,
        )

    async def send(self, spans: Sequence[ReadableSpan]) -> Answer[None]:
        await self.sender.send(whole(spans), self.answer)
        return self.answer

    async def __aenter__(self) -> Lane:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.destination.aclose()


def spans(count: int, traces: int = 8, **fields: object) -> list[ReadableSpan]:
    return [make_span(n, trace_id=1 + n % traces, **fields) for n in range(1, count + 1)]  # type: ignore[arg-type]


def ids(members: list[ReadableSpan]) -> list[tuple[str, str]]:
    return sorted((f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}") for span in members)


def dead(answer: Answer[None]) -> list[ReadableSpan]:
    return [one.span for one in answer.dead]


@both
async def test_down_a_lane_that_waits_delivers_when_the_server_comes_up(transport: str) -> None:
    """On the real clock, a lane waits for refused connections, and delivers within seconds of the start of the server."""
    with FakeDestination() as before:
        ports = {"grpc_port": before.grpc_port, "http_port": before.http_port}
        where = before.grpc_url if transport == "grpc" else before.http_url
    waits: list[str] = []
    recovered: list[bool] = []
    destination = open_destination(where, timeout_s=2)
    sender = Sender(
        destination,
        backoff=Backoff(first_s=0.05, max_s=0.2),
        clock=SystemClock(),
        on_retry=lambda reason, delay_s: waits.append(reason),
        patient=True,
        on_recovered=lambda: recovered.append(True),
    )
    answer = Answer()
    sending = asyncio.create_task(sender.send(whole(spans(20)), answer))
    await until(lambda: waits)
    assert all("refused" in reason for reason in waits)
    assert not sending.done()
    with FakeDestination(**ports) as fake:
        await asyncio.wait_for(sending, SOON_S)
        assert sorted(fake.stored_ids()) == ids(spans(20))
    assert answer.delivered == 20
    assert recovered == [True]
    await destination.aclose()


@both
async def test_hanging_each_call_has_a_deadline_and_the_batch_is_kept(fake: FakeDestination, transport: str) -> None:
    """No answer within the timeout means to wait; the next attempt delivers the same batch."""
    fake.script(Hang(), Hang())
    async with Lane(opened(fake, transport, timeout_s=0.5)) as lane:
        answer = await lane.send(spans(3))
    assert answer.delivered == 3
    assert len(lane.reasons) == 2
    assert sorted(fake.stored_ids()) == ids(spans(3))


@both
@pytest.mark.parametrize("counts", [[1], [3, 0, 7], [10, 1, 9]])
async def test_partial_success_is_counted_shown_and_not_retried(
    fake: FakeDestination, transport: str, counts: list[int]
) -> None:
    """With odd counts, all of a batch, or a warning with 0, each batch is sent once, and every span has an answer.

    If all are rejected, it is known which ones, so they are dead-lettered.
    """
    fake.script(*[PartialSuccess(count, f"quota {count}") for count in counts])
    async with Lane(opened(fake, transport)) as lane:
        for _ in counts:
            await lane.send(spans(10))
    answer = lane.answer
    assert len(fake.received) == len(counts)
    assert answer.delivered == 10 * len(counts) - sum(counts)
    assert answer.refused == sum(count for count in counts if count < 10)
    assert [dead.reason for dead in answer.dead] == ["quota 10"] * 10 * counts.count(10)
    assert len(answer.accepted) + len(answer.dead) == 10 * len(counts)
    shown = [f"{count} of 10 spans of a batch were rejected: quota {count}" for count in counts if 0 < count < 10]
    assert [one for one in answer.problems if "of a batch" in one] == shown
    assert lane.warnings == ["quota 0"] * counts.count(0)


@both
async def test_too_large_batches_are_split_before_sending(fake: FakeDestination, transport: str) -> None:
    """Batches are split by encoded size: a server with the default limit of gRPC, 4 MiB, rejects nothing."""
    members = spans(60, attributes={"input": "x" * 200_000})
    batcher: Batcher[None] = Batcher()
    async with Lane(opened(fake, transport)) as lane:
        for span in members:
            if full := batcher.add(item(span)):
                await lane.sender.send(full, lane.answer)
        if last := batcher.flush():
            await lane.sender.send(last, lane.answer)
    assert len(fake.received) == len(fake.stored) == 4
    assert max(received.size_bytes for received in fake.received) <= 3_500_000
    assert sorted(fake.stored_ids()) == ids(members)


@both
async def test_too_large_is_halved_on_refusal_and_learnt(transport: str) -> None:
    """A server with a smaller limit rejects one request of each size, then none; nothing is retried in a loop."""
    members = spans(200, attributes={"input": "x" * 1000})
    with FakeDestination(max_message_bytes=30_000) as fake:
        async with Lane(opened(fake, transport)) as lane:
            answer = await lane.send(members)
            batcher = Batcher()
            batcher.limit(lane.sender.limit_bytes)
            later = [full for span in members if (full := batcher.add(item(span)))]
        assert sorted(fake.stored_ids()) == ids(members)
        assert all(received.size_bytes <= 30_000 for received in fake.received)
    assert (answer.delivered, answer.dead, answer.trimmed) == (200, [], 0)
    assert lane.reasons == []
    assert later
    assert max(batch.request.size_bytes for batch in later) <= 30_000


@both
async def test_too_large_a_single_span_is_trimmed(transport: str) -> None:
    """The span's largest content is cut and named; its other content, ids and times stay."""
    large = make_span(2, attributes={"input": "x" * 300_000, "user": "u-1"})
    with FakeDestination(max_message_bytes=100_000) as fake:
        async with Lane(opened(fake, transport)) as lane:
            answer = await lane.send([make_span(1), large, make_span(3)])
        stored = [
            span
            for request in fake.stored
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
    assert (answer.delivered, answer.trimmed, answer.dead) == (3, 1, [])
    assert any(one.span is large for one in answer.accepted)
    (cut,) = (span for span in stored if span.span_id[-1] == 2)
    values = {item.key: item.value for item in cut.attributes}
    assert 40_000 < len(values["input"].string_value) < 100_000
    assert values["user"].string_value == "u-1"
    assert values["netra.bridge.notes"].array_value.values[0].string_value == "trimmed:input"
    assert cut.start_time_unix_nano == large.start_time


@both
async def test_too_large_a_single_span_without_long_content_is_dead_lettered(transport: str) -> None:
    """A span that cannot be made to fit is dead-lettered whole; the others arrive."""
    wide = make_span(2, attributes={f"key {n}": n for n in range(10_000)})
    with FakeDestination(max_message_bytes=100_000) as fake:
        async with Lane(opened(fake, transport)) as lane:
            answer = await lane.send([make_span(1), wide, make_span(3)])
        assert len(fake.stored_ids()) == 2
    assert [one.span is wide for one in answer.dead] == [True]
    assert "too large" in answer.dead[0].reason or "larger than max" in answer.dead[0].reason
    assert answer.delivered == 2


@both
@pytest.mark.parametrize("http", [429, 503])
async def test_throttled_waits_as_told_with_the_same_batch(fake: FakeDestination, transport: str, http: int) -> None:
    """RetryInfo and Retry-After delay as long as asked, at most the cap; nothing is dead-lettered or split."""
    said = "received message larger than max, slow down"
    fake.script(*[Reject(StatusCode.RESOURCE_EXHAUSTED, http, said, retry_after_s=wait) for wait in (5, 86_400, 0)])
    async with Lane(opened(fake, transport)) as lane:
        answer = await lane.send(spans(4))
    assert lane.clock.waits == [5, 30, 0]
    assert (answer.delivered, answer.dead) == (4, [])
    assert len({received.request.SerializeToString() for received in fake.received}) == 1


@both
async def test_throttled_without_a_wait_nothing_is_given_up(fake: FakeDestination, transport: str) -> None:
    """Tempo 1.5 answers RATE_LIMITED without RetryInfo, over HTTP as a 500: it is retried, then the lane ends without loss."""
    text = "RATE_LIMITED: ingestion rate limit (15000000 bytes) exceeded while adding 3000000 bytes"
    fake.script(*[Reject(StatusCode.RESOURCE_EXHAUSTED, 500, text)] * 4)
    async with Lane(opened(fake, transport), attempts=4) as lane:
        with pytest.raises(DestinationUnavailable, match="RATE_LIMITED"):
            await lane.send(spans(4))
    assert lane.answer == Answer()
    assert len(fake.received) == 4


def refuses(bad: Callable[[Received], bool], decision: Decision) -> JudgingDestination:
    return JudgingDestination(lambda received: decision if bad(received) else None)


@both
@pytest.mark.parametrize("http", [400, 500])
async def test_invalid_argument_bisects_to_the_poison_and_delivers_the_rest(transport: str, http: int) -> None:
    """One poisoned span fails its whole request: it alone is dead, and its dead letter can be sent again after a repair."""
    members = spans(300)
    poison = {7, 8, 260}
    names = {f"{number:016x}" for number in poison}
    bad = Reject(StatusCode.INVALID_ARGUMENT, http, "trace ids must be 128 bit")
    with refuses(lambda received: bool(names & set(span_ids(received))), bad) as fake:
        async with Lane(opened(fake, transport)) as lane:
            answer = await lane.send(members)
            rest = [span for span in members if span.context.span_id not in poison]
            assert sorted(fake.stored_ids()) == ids(rest)
            assert ids(dead(answer)) == ids([span for span in members if span.context.span_id in poison])
            assert {"trace ids must be 128 bit" in one.reason for one in answer.dead} == {True}
            assert len(fake.received) < 60
            fake.rule = lambda received: None
            letters = [dead_letter_of(one.span, one.reason) for one in answer.dead]
            await lane.send([span_of(one) for one in letters])
            assert sorted(fake.stored_ids()) == ids(members)


@both
async def test_one_trace_too_large_takes_no_other_with_it(transport: str) -> None:
    """After TRACE_TOO_LARGE, what fits of the trace is delivered, the rest is dead in few requests; other traces arrive."""
    full = Reject(StatusCode.FAILED_PRECONDITION, 500, "TRACE_TOO_LARGE: max size of trace (5000000) exceeded")
    members = spans(2000, traces=4)
    trace = f"{3:032x}"
    server: JudgingDestination

    def beyond(received: Received) -> bool:
        kept = sum(trace_id == trace for trace_id, _ in server.stored_ids())
        return kept + len([span for span in _traces(received) if span == trace]) > 100 and trace in _traces(received)

    with refuses(beyond, full) as server:
        async with Lane(opened(server, transport)) as lane:
            for begin in range(0, 2000, 500):
                await lane.send(members[begin : begin + 500])
        stored = server.stored_ids()
        requests = len(server.received)
    others = [span for span in members if span.context.trace_id != 3]
    assert sorted(one for one in stored if one[0] != trace) == ids(others)
    assert len([one for one in stored if one[0] == trace]) == 100
    assert len(lane.answer.dead) == 400
    assert len(lane.answer.accepted) + len(lane.answer.dead) == 2000
    assert requests < 50


def _traces(received: Received) -> list[str]:
    return [
        span.trace_id.hex()
        for resource in received.request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


async def test_an_exporter_that_raises_bisects_to_the_poison() -> None:
    """An exception is treated as the fault of one span until that span is found: the others arrive, each once."""

    class Fragile(ScriptedExporter):
        def export(self, batch: object) -> SpanExportResult:
            self.steps = [ValueError("span 33")] if any(s.context.span_id == 33 for s in batch) else []  # type: ignore[attr-defined]
            return super().export(batch)  # type: ignore[arg-type]

    exporter = Fragile()
    members = spans(100)
    async with Lane(ExporterDestination("mine", exporter)) as lane:
        answer = await lane.send(members)
    assert [(one.span.context.span_id, "span 33" in one.reason) for one in answer.dead] == [(33, True)]
    delivered = [span for call in exporter.calls if all(s.context.span_id != 33 for s in call) for span in call]
    assert ids(delivered) == ids([span for span in members if span.context.span_id != 33])


@both
async def test_more_than_a_fifth_refused_stops(transport: str) -> None:
    """If the destination does not accept this kind of span, the lane ends before it loses more."""
    bad = Reject(StatusCode.INVALID_ARGUMENT, 400, "no")
    with refuses(lambda received: any(int(name, 16) % 3 == 0 for name in span_ids(received)), bad) as fake:
        async with Lane(opened(fake, transport)) as lane:
            with pytest.raises(DestinationRefuses):
                await lane.send(spans(900))
        assert len(lane.answer.accepted) == len(fake.stored_ids())
    assert len(lane.answer.dead) == 100


MISCONFIGURED = [
    ("401 UNAUTHENTICATED", Reject(StatusCode.UNAUTHENTICATED, 401, "no key"), DestinationUnauthorized),
    ("403 PERMISSION_DENIED", Reject(StatusCode.PERMISSION_DENIED, 403, "not you"), DestinationUnauthorized),
    ("404 UNIMPLEMENTED", Reject(StatusCode.UNIMPLEMENTED, 404, "unknown service"), DestinationMisconfigured),
    ("302", Raw(302, b"", {"Location": "/login"}), DestinationMisconfigured),
    ("200 with HTML", Raw(200, b"<html>", {"Content-Type": "text/html"}), DestinationMisconfigured),
]
CASES = [
    (transport, decision, error)
    for _, decision, error in MISCONFIGURED
    for transport in (["http"] if isinstance(decision, Raw) else TRANSPORTS)
]


@pytest.mark.parametrize(("transport", "decision", "error"), CASES)
async def test_misconfigured_holds_and_nothing_is_dead_lettered(
    fake: FakeDestination, transport: str, decision: Decision, error: type
) -> None:
    """A lane that may end does so at once; a patient one asks again after its longest delay until it is repaired."""
    fake.script(decision)
    async with Lane(opened(fake, transport)) as lane:
        with pytest.raises(error):
            await lane.send(spans(3))
    assert lane.answer == Answer()
    fake.script(*[decision] * 3)
    async with Lane(opened(fake, transport), patient=True) as lane:
        answer = await lane.send(spans(3))
    assert lane.clock.waits == [30.0] * 3
    assert (answer.delivered, answer.dead, answer.problems) == (3, [], [])
    assert sorted(fake.stored_ids()) == ids(spans(3))


@both
@pytest.mark.parametrize("fault", ["untrusted", "expired", "another host"])
async def test_misconfigured_tls_holds_and_never_falls_back_to_plain_text(
    transport: str, fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For an untrusted or expired certificate or a wrong host, the lane ends with the cause, and nothing was sent."""
    authority = trustme.CA()
    (trustme.CA() if fault == "untrusted" else authority).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
    until = datetime.now(UTC) + timedelta(days=-1 if fault == "expired" else 1)
    host = "127.0.0.2" if fault == "another host" else "127.0.0.1"
    certificate = authority.issue_cert(host, not_before=until - timedelta(days=9), not_after=until)
    with FakeDestination(certificate=certificate) as fake:
        async with Lane(opened(fake, transport, timeout_s=DEADLINE_S)) as lane:
            with pytest.raises(DestinationMisconfigured):
                await lane.send(spans(3))
        assert fake.received == []
    assert lane.answer == Answer()


@both
async def test_reply_lost_after_storing_repeats_that_batch_alone(fake: FakeDestination, transport: str) -> None:
    """At most the batch in flight comes again, with the same ids and bytes; batches before and after come once."""
    members = spans(30)
    fake.script(Reject(text="wait"), CutAfterStoring())
    async with Lane(opened(fake, transport)) as lane:
        for begin in (0, 10, 20):
            await lane.send(members[begin : begin + 10])
    stored = [request.SerializeToString() for request in fake.stored]
    assert len(set(stored)) == 3
    assert stored.count(stored[0]) == len(stored) - 2 > 1
    assert lane.answer.delivered == 30
    assert sorted(set(fake.stored_ids())) == ids(members)


async def test_an_exporter_that_hangs_is_waited_for_and_never_called_twice_at_once() -> None:
    """The exporter's final answer counts, so nothing is sent twice."""
    wake = threading.Event()
    exporter = ScriptedExporter(waits_for(wake))
    lane = Lane(ExporterDestination("mine", exporter, deadline_s=0.05), attempts=50)
    sending = asyncio.create_task(lane.send(spans(3)))
    await until(lambda: lane.reasons)
    wake.set()
    answer = await sending
    assert (answer.delivered, len(exporter.calls), exporter.most_at_once) == (3, 1, 1)
    assert lane.reasons
    await lane.destination.aclose()


async def test_an_exporter_that_returns_none_is_misconfigured() -> None:
    """Such an exporter can never say that spans arrived: nothing is recorded, and no span is at fault."""
    lane = Lane(ExporterDestination("mine", ScriptedExporter(lambda: None)))
    with pytest.raises(DestinationMisconfigured, match="returned None"):
        await lane.send(spans(3))
    assert lane.answer == Answer()
    await lane.destination.aclose()


async def test_an_exporter_that_keeps_references_gets_spans_that_never_change() -> None:
    """A batch keeps its content after the exporter received it, even if it was split and a span trimmed meanwhile."""
    exporter = ScriptedExporter(ValueError("request too large"), ValueError("no"))
    members = spans(8, attributes={"input": "x" * 5_000})
    before = [encode_span(span) for span in members]
    async with Lane(ExporterDestination("mine", exporter)) as lane:
        await lane.send(members)
    assert [encode_span(span) for span in exporter.calls[0]] == before
    assert all(isinstance(call, tuple) for call in exporter.calls)


@both
async def test_a_reason_shows_no_credential(
    fake: FakeDestination, transport: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No dead letter, problem, error or log line shows the key, although the server repeats it everywhere."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20canary-4711")
    said = "canary-4711 may not"
    async with Lane(opened(fake, transport)) as lane:
        fake.script(
            PartialSuccess(1, said),
            Reject(StatusCode.UNAVAILABLE, 503, said),
            Reject(StatusCode.INVALID_ARGUMENT, 400, said),
            PartialSuccess(0, said),
        )
        for _ in range(3):
            await lane.send(spans(1))
        fake.script(Reject(StatusCode.UNAUTHENTICATED, 401, said))
        with pytest.raises(DestinationUnauthorized) as raised:
            await lane.send(spans(1))
    letters = [dead_letter_of(one.span, one.reason) for one in lane.answer.dead]
    everything = repr([lane.answer.problems, letters, lane.reasons, raised.value.message, str(raised.value)])
    assert "***" in everything
    assert "canary" not in everything + caplog.text
