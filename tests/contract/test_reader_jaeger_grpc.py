"""The reader of Jaeger over gRPC, and each thing that goes wrong while it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
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
from netra_otel_bridge.deliver.otlp.encode import encode_request
from netra_otel_bridge.readback import jaeger_grpc
from netra_otel_bridge.readback.address import Address
from netra_otel_bridge.readback.jaeger_grpc import JaegerGrpcReader
from netra_otel_bridge.readback.reader import TraceNotReturned
from tests.support.fake_clock import FakeClock
from tests.support.server import free_ports
from tests.support.spans import make_span

TRACE = f"{0xABCD:032x}"
SECRET = "s3cret-token"
CHUNKS = [
    encode_request([span], [encode_span(span)]) for span in (make_span(number, trace_id=0xABCD) for number in (1, 2))
]


@dataclass
class Jaeger:
    """A scripted query service: each call takes the next of ``answers``, and the last is repeated.

    An answer is a list of chunks, or a status with its words, which may follow ``chunks_before``.
    """

    answers: Sequence[list[bytes] | tuple[grpc.StatusCode, str]]
    chunks_before: int = 0
    requests: list[bytes] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    port: int = 0

    async def call(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[bytes]:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, tuple):
            for chunk in CHUNKS[: self.chunks_before]:
                yield chunk
            await context.abort(*answer)
        else:
            for chunk in answer:
                yield chunk

    @asynccontextmanager
    async def serving(self, ca: trustme.CA | None = None) -> AsyncIterator[Jaeger]:
        handler = grpc.unary_stream_rpc_method_handler(self.call)
        server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
        methods = {"GetTrace": handler, "FindTraces": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("jaeger.api_v3.QueryService", methods),))
        if ca is None:
            self.port = server.add_insecure_port("127.0.0.1:0")
        else:
            cert = ca.issue_cert("127.0.0.1")
            pair = (cert.private_key_pem.bytes(), cert.cert_chain_pems[0].bytes())
            self.port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        await server.start()
        try:
            yield self
        finally:
            await server.stop(None)


@asynccontextmanager
async def reading(
    port: int, *, clock: FakeClock | None = None, tls: bool = False, ca: bytes | None = None, timeout_s: float = 5.0
) -> AsyncIterator[JaegerGrpcReader]:
    """Open a reader with a header that holds a secret, and a clock that does not wait."""
    headers = {"X-Token": SECRET}
    address = Address(
        at=f"jaeger+grpc://127.0.0.1:{port}", host="127.0.0.1", port=port, tls=tls, headers=headers, ca=ca
    )
    reader = JaegerGrpcReader(address, clock=clock or FakeClock(), timeout_s=timeout_s)
    try:
        yield reader
    finally:
        await reader.aclose()


def numbers(data: bytes) -> list[int]:
    """Return the last bytes of the ids of the spans in a ``TracesData``."""
    traces = TracesData.FromString(data)
    return [span.span_id[-1] for one in traces.resource_spans for scope in one.scope_spans for span in scope.spans]


async def test_chunks_are_joined() -> None:
    """A trace is asked for without Jaeger's adjustments, with the headers; its chunks are one ``TracesData``."""
    async with Jaeger([CHUNKS]).serving() as jaeger, reading(jaeger.port) as reader:
        assert numbers(await reader.read(TRACE, 0)) == [1, 2]
        assert jaeger.requests == [b"\x0a\x20" + TRACE.encode() + b"\x20\x01"]
        assert jaeger.metadata[0]["x-token"] == SECRET
        assert reader.calls == 1


@pytest.mark.parametrize(
    "answer",
    [[], (grpc.StatusCode.NOT_FOUND, "none"), (grpc.StatusCode.UNKNOWN, "cannot retrieve trace: trace not found")],
)
async def test_a_trace_that_is_not_there(answer: list[bytes] | tuple[grpc.StatusCode, str]) -> None:
    """An empty stream and NOT_FOUND are an empty result, and so are the words of versions before 2."""
    async with Jaeger([answer]).serving() as jaeger, reading(jaeger.port) as reader:
        assert await reader.read(TRACE, 0) == b""


PASSING = [
    (grpc.StatusCode.UNAVAILABLE, "starting"),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests"),
    (grpc.StatusCode.INTERNAL, "it broke"),
    (grpc.StatusCode.UNKNOWN, "storage is away"),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "slow"),
    (grpc.StatusCode.ABORTED, "again"),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault[0].name)
async def test_what_passes_is_waited_for(fault: tuple[grpc.StatusCode, str]) -> None:
    """After two failures, each after a chunk, the trace is read once, and nothing of it twice."""
    clock = FakeClock()
    async with (
        Jaeger([fault, fault, CHUNKS], chunks_before=1).serving() as jaeger,
        reading(jaeger.port, clock=clock) as reader,
    ):
        assert numbers(await reader.read(TRACE, 0)) == [1, 2]
    assert len(clock.waits) >= 2


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault[0].name)
async def test_what_does_not_pass_is_an_error(fault: tuple[grpc.StatusCode, str]) -> None:
    """At the deadline the error says that the store is not available; never is the trace missing."""
    clock = FakeClock()
    async with Jaeger([fault]).serving() as jaeger, reading(jaeger.port, clock=clock) as reader:
        with pytest.raises(DestinationUnavailable, match=fault[1]) as raised:
            await reader.read(TRACE, 0)
        assert raised.value.exit_code == 69
        assert_clear(raised.value, jaeger.port)
    assert clock.elapsed_s <= 60.0
    assert ("rate limit" in raised.value.hint) == (fault[0] is grpc.StatusCode.RESOURCE_EXHAUSTED)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ((grpc.StatusCode.UNAUTHENTICATED, f"bad token {SECRET}"), DestinationUnauthorized),
        ((grpc.StatusCode.PERMISSION_DENIED, f"not for {SECRET}"), DestinationUnauthorized),
        ((grpc.StatusCode.UNIMPLEMENTED, "unknown service"), DestinationMisconfigured),
    ],
    ids=lambda value: value[0].name if isinstance(value, tuple) else value.__name__,
)
async def test_what_waiting_does_not_mend_ends_at_once(
    fault: tuple[grpc.StatusCode, str], kind: type[DestinationError]
) -> None:
    """The message names the store and what to do, without the credentials that the server repeats."""
    clock = FakeClock()
    async with Jaeger([fault]).serving() as jaeger, reading(jaeger.port, clock=clock) as reader:
        with pytest.raises(kind) as raised:
            await reader.read(TRACE, 0)
        assert_clear(raised.value, jaeger.port)
    assert clock.waits == []


async def test_no_answer_is_an_error() -> None:
    """A call ends at its time-out, and the reader gives up at its deadline."""
    (port,) = free_ports(1)
    clock = FakeClock()
    async with reading(port, clock=clock) as reader:
        with pytest.raises(DestinationUnavailable) as raised:
            await reader.read(TRACE, 0)
        assert_clear(raised.value, port)
    assert clock.elapsed_s <= 10.0


async def test_a_certificate_that_is_not_trusted_is_no_outage() -> None:
    """The error has exit code 78, and with the right CA the trace is read; so is plain text to a server with TLS."""
    ca = trustme.CA()
    async with Jaeger([CHUNKS]).serving(ca) as jaeger:
        async with reading(jaeger.port, tls=True, ca=ca.cert_pem.bytes()) as reader:
            assert numbers(await reader.read(TRACE, 0)) == [1, 2]
        async with reading(jaeger.port, tls=True, ca=trustme.CA().cert_pem.bytes()) as reader:
            with pytest.raises(DestinationMisconfigured, match=r"(?i)certificate"):
                await reader.read(TRACE, 0)


async def test_a_trace_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace beyond the limit is an error of that trace, whether in one message or in many."""
    monkeypatch.setattr(jaeger_grpc, "MAX_TRACE_BYTES", len(CHUNKS[0]) + 10)
    async with Jaeger([CHUNKS]).serving() as jaeger, reading(jaeger.port) as reader:
        with pytest.raises(TraceNotReturned, match="too large"):
            await reader.read(TRACE, 0)
    large = (grpc.StatusCode.RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (270000000 vs. 268435456)")
    async with Jaeger([large]).serving() as jaeger, reading(jaeger.port) as reader:
        with pytest.raises(TraceNotReturned, match="too large"):
            await reader.read(TRACE, 0)


async def test_a_search_has_a_limit() -> None:
    """A search returns the ids of the traces; ``None`` if they are as many as it may return; its depth is halved if refused."""
    too_deep = (grpc.StatusCode.UNKNOWN, "search depth must be greater than 0 and less than max traces")
    async with Jaeger([CHUNKS]).serving() as jaeger, reading(jaeger.port) as reader:
        assert await reader.find("assistant", NS_PER_S, 2 * NS_PER_S + 5) == {TRACE}
        query = b"\x0a\x09assistant\x22\x04\x08\x01\x10\x00\x2a\x04\x08\x02\x10\x05\x48\x01\x40\xdc\x0b"
        assert jaeger.requests == [b"\x0a" + bytes([len(query)]) + query]
    async with Jaeger([too_deep] * 10 + [CHUNKS]).serving() as jaeger, reading(jaeger.port) as reader:
        assert await reader.find("assistant", 0, NS_PER_S) is None
    async with Jaeger([too_deep]).serving() as jaeger, reading(jaeger.port) as reader:
        with pytest.raises(DestinationUnavailable, match="search depth"):
            await reader.find("assistant", 0, NS_PER_S)


def assert_clear(error: DestinationError, port: int) -> None:
    """Assert that a message names the store and what to do, and has no credentials."""
    assert f"jaeger+grpc://127.0.0.1:{port}" in error.message
    assert error.hint
    assert SECRET not in str(error)
