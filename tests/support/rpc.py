"""The gRPC service in this process, and what its clients need: credentials, decoded errors, a subscription."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from netra_otel_bridge import Bridge
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.service.service import Service
from netra_otel_bridge.v1 import bridge_pb2 as pb
from netra_otel_bridge.v1 import bridge_pb2_grpc
from tests.support.cli import CANARY
from tests.support.rig import Rig
from tests.support.waiting import DEADLINE_S

TOKEN = "rpc-canary-93d2"
CREDENTIALS = (("authorization", f"Bearer {TOKEN}"),)
EVER = pb.TimeRange(start_time=Timestamp(seconds=1_577_836_800), end_time=Timestamp(seconds=4_102_444_800))
"""A time range that holds everything: from 2020 to 2100."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The error that rejected a call; ``retry_s`` is that of its RetryInfo."""

    code: str
    reason: str
    message: str
    hint: str
    retry_s: float | None
    domain: str


def refused(error: grpc.RpcError) -> Refused:
    """Decode an error. Its details must carry the same code and text."""
    trailers: Any = error.trailing_metadata()
    details = next((value for key, value in trailers or () if key == "grpc-status-details-bin"), b"")
    status = Status.FromString(details)
    code: grpc.StatusCode = error.code()
    assert not details or (status.code, status.message) == (code.value[0], error.details())
    info, retry = ErrorInfo(), RetryInfo()
    retry_s = None
    for detail in status.details:
        detail.Unpack(info)
        if detail.Unpack(retry):
            retry_s = retry.retry_delay.seconds + retry.retry_delay.nanos / 10**9
    return Refused(code.name, info.reason, str(error.details()), info.metadata.get("hint", ""), retry_s, info.domain)


async def refusal_of(call: Any) -> Refused:
    """Return the error of a call that must be rejected, whatever it answers before."""
    try:
        if hasattr(call, "read"):
            while await call.read() is not grpc.aio.EOF:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return refused(error)
    raise AssertionError("the call was answered")


async def answered(served: Served) -> bool:
    """Return whether the server accepts a call now, rather than reject it because other calls fill its limit."""
    try:
        await served.stub.GetStatus(pb.GetStatusRequest(), metadata=CREDENTIALS)
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False
    return True


async def full(served: Served) -> bool:
    """Return whether the server rejects a call now because other calls fill its limit."""
    return not await answered(served)


@dataclass
class Served:
    """A running service, with a client of it. ``stop`` tells it to stop; ``ended`` is its task."""

    service: Service
    address: str
    stop: asyncio.Event
    ended: asyncio.Task[None]
    channel: grpc.aio.Channel
    stub: bridge_pb2_grpc.BridgeServiceAsyncStub = field(init=False)

    def __post_init__(self) -> None:
        self.stub = bridge_pb2_grpc.BridgeServiceStub(self.channel)


@asynccontextmanager
async def serving(
    rig: Rig,
    *,
    traces: bool = False,
    usage: bool = False,
    queries: tuple[TraceQuery, ...] = (TraceQuery(),),
    credentials: grpc.ChannelCredentials | None = None,
    **settings: Any,
) -> AsyncIterator[Served]:
    """Run ``run`` in this process with its gRPC service, against the rig's Netra; settings are those of `Bridge`."""
    given: dict[str, Any] = {
        "api_key": CANARY,
        "state": str(rig.state),
        "to": f"otlp-file:{rig.file}",
        "profile": "raw",
        "window": "7d",
        "poll": "100ms",
        "settle": "0s",
        "attempts": 2,
        "http_port": 0,
        "grpc_port": 0,
        "grpc_token": TOKEN,
    }
    options = {name: value for name, value in {**given, **settings}.items() if value is not None}
    service = Service(Bridge(environ={}, endpoint=rig.endpoint, **options), queries=queries, traces=traces, usage=usage)
    stop = asyncio.Event()
    ended = asyncio.create_task(service.run(stop))
    try:
        while not service.grpc_address and not ended.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if ended.done():
            await ended
        address = service.grpc_address
        async with (
            grpc.aio.insecure_channel(address)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials) as channel
        ):
            yield Served(service, address, stop, ended, channel)
    finally:
        stop.set()
        await asyncio.wait({ended})
    await ended


class Subscription:
    """A client of FollowSpans, opened by its first call. ``received`` holds the acknowledged spans."""

    def __init__(self, stub: Any, name: str = "mine", **start: Any) -> None:
        self.call = stub.FollowSpans(metadata=CREDENTIALS)
        self.received: list[TracesData] = []
        self._start = pb.FollowStart(subscription=name, **start)
        self._opened = False

    async def batch(self) -> pb.FollowSpansResponse:
        """Return the next batch, unacknowledged. Raise ``AioRpcError`` if the stream ended with an error, ``EOFError`` if with OK."""
        if not self._opened:
            self._opened = True
            await self.call.write(pb.FollowSpansRequest(start=self._start))
        batch = await self.call.read()
        if batch is grpc.aio.EOF:
            raise EOFError
        response: pb.FollowSpansResponse = batch
        return response

    async def ack(self, number: int) -> None:
        """Acknowledge a batch by its number."""
        await self.call.write(pb.FollowSpansRequest(ack=pb.FollowAck(batch=number)))

    async def take(self, spans: int, timeout_s: float = DEADLINE_S) -> list[TracesData]:
        """Acknowledge batches until exactly this many spans have come; fail if there are more."""
        taken = 0
        async with asyncio.timeout(timeout_s):
            while taken < spans:
                batch = await self.batch()
                taken += count(batch.traces_data)
                self.received.append(batch.traces_data)
                await self.ack(batch.batch)
        assert taken == spans
        return self.received


def count(data: TracesData) -> int:
    """Return how many spans a ``TracesData`` holds."""
    return sum(len(scope.spans) for resource in data.resource_spans for scope in resource.scope_spans)


def stamp(ns: int) -> Timestamp:
    """Return a time as a message."""
    return Timestamp(seconds=ns // 10**9, nanos=ns % 10**9)
