"""FollowSpans: a client as a destination, which acknowledges each batch."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from traceback import clear_frames
from typing import Any, Protocol
from weakref import WeakValueDictionary

from netra_otel_bridge.core.clock import NS_PER_S, Clock
from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.health import LaneHealth
from netra_otel_bridge.core.model.outcome import Delivered, Outcome, Retry, SpanBatch, TooLarge
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.deliver import Destination
from netra_otel_bridge.pipeline.route import LaneOptions
from netra_otel_bridge.service.rpc import messages
from netra_otel_bridge.service.rpc.errors import Code, StatusError, invalid, stalled, status_error
from netra_otel_bridge.service.rpc.limits import Context, next_message, write
from netra_otel_bridge.v1 import bridge_pb2 as pb

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
PREFIX = "grpc:"
"""The state lists a subscription among the destinations, as ``grpc:NAME``."""
AHEAD_NS = 60 * NS_PER_S
"""The largest tolerated lead of a client's clock."""
FETCHERS = 4
BATCH_BYTES = 2**20
HELD_BYTES = 4 * 2**20
"""Maximum bytes held for one client of FollowSpans, from reading until its acknowledgement."""
_FRAME_BYTES = 1024


def lane_options(options: LaneOptions) -> LaneOptions:
    """Return the limits of a lane to one of many clients: small batches, and few pages in memory."""
    return replace(
        options,
        fetchers=min(options.fetchers, FETCHERS),
        batch_bytes=min(options.batch_bytes, BATCH_BYTES),
        held_bytes=min(options.held_bytes, HELD_BYTES),
    )


class Lane(Protocol):
    """A lane that follows live traffic. ``stopped`` is the error that stopped it for good, if any."""

    stopped: BridgeError | None

    async def run(self, since_ns: int | None) -> None:
        """Follow until cancelled; return once stopped."""

    def health(self) -> LaneHealth:
        """Return the lane's current health."""


OpenLane = Callable[[Destination, TraceQuery, str | None], AbstractAsyncContextManager[Lane]]
"""Opens a lane to a destination: for the traces of a query, in a profile."""


class Subscriber:
    """The client of one stream as a `Destination`: one batch at a time, delivered once the client acknowledges it.

    ``failure`` is set to the error when the client misbehaves, which ends the stream.
    """

    def __init__(self, name: str, context: Context, limit_bytes: int, stall_s: float) -> None:
        self.name = name
        self.failure: asyncio.Future[StatusError] = asyncio.get_running_loop().create_future()
        self._context = context
        self._limit_bytes = limit_bytes
        self._stall_s = stall_s
        self._batch = 0
        self._acknowledged: asyncio.Future[bool] | None = None
        self._gone = False

    async def send(self, batch: SpanBatch) -> Outcome:
        """Write the batch and wait for its acknowledgement. A client that is late or gone ends the stream."""
        problem = ""
        if batch.size_bytes > self._limit_bytes - _FRAME_BYTES:
            smaller = None
            if len(batch.spans) == 1:
                smaller, problem = messages.fitted(batch, self._limit_bytes - _FRAME_BYTES)
            if smaller is None:
                reason = f"a batch of {batch.size_bytes} bytes; max_message_bytes is {self._limit_bytes}"
                return TooLarge(reason, self._limit_bytes)
            batch = smaller
        if self._gone:
            return Retry("the client disconnected")
        self._batch += 1
        self._acknowledged = asyncio.get_running_loop().create_future()
        late = partial(stalled, f"batch {self._batch} was not acknowledged", self._stall_s)
        try:
            await self._write(batch, problem, late)
            async with asyncio.timeout(self._stall_s):
                acknowledged = await self._acknowledged
        except Exception:  # noqa: BLE001  late, or whatever a broken connection raises: the batch was not acknowledged
            self.fail(late())
            return Retry("the client did not answer")
        return Delivered() if acknowledged else Retry("the client disconnected")

    async def _write(self, batch: SpanBatch, problem: str, late: Callable[[], StatusError]) -> None:
        response = pb.FollowSpansResponse(batch=self._batch, problems=[problem] if problem else [])
        message = messages.with_spans(response, batch)
        await write(self._context, message, self._stall_s, late)

    def acknowledge(self, request: pb.FollowSpansRequest) -> None:
        """Record an acknowledgement. Any message other than an ``ack`` of the latest batch ends the stream."""
        number = request.ack.batch
        if request.WhichOneof("message") != "ack":
            self.fail(invalid("a message after the first is not an `ack`"))
        elif self._acknowledged is None or self._acknowledged.done() or number != self._batch:
            message = f"batch {number} was acknowledged, but {self._batch} was sent last"
            self.fail(invalid(message, hint="acknowledge each batch once, by its number", reason="ACK_UNEXPECTED"))
        else:
            self._acknowledged.set_result(True)

    def fail(self, error: StatusError) -> None:
        """End the stream with ``error``."""
        self._gone = True
        if not self.failure.done():
            self.failure.set_result(error)

    def leave(self) -> None:
        """Expect no more acknowledgements."""
        self._gone = True
        if self._acknowledged is not None and not self._acknowledged.done():
            self._acknowledged.set_result(False)

    async def aclose(self) -> None:
        """Do nothing: the stream is the client's."""


class _Session:
    """One open stream of a subscription; ``taken_over`` is set when another client opens the subscription."""

    def __init__(self) -> None:
        self.taken_over = asyncio.Event()
        self.lane: Lane | None = None


class Subscriptions:
    """Handles FollowSpans. A subscription has one client: the one that opened it last."""

    def __init__(self, open_lane: OpenLane, stall_ns: int, clock: Clock) -> None:
        self._open_lane = open_lane
        self._clock = clock
        self._stall_s = stall_ns / NS_PER_S
        self._sessions: dict[str, _Session] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def health(self) -> list[LaneHealth]:
        """Return the health of the open subscriptions, in the order of their names."""
        return [session.lane.health() for _, session in sorted(self._sessions.items()) if session.lane is not None]

    async def follow(self, requests: AsyncIterator[pb.FollowSpansRequest], context: Context) -> None:
        """Serve one client until it leaves. Raises `StatusError`, `BridgeError`."""
        opening = await next_message(
            requests, self._stall_s, partial(stalled, "the client sent nothing", self._stall_s)
        )
        if opening is None:
            return
        if opening.WhichOneof("message") != "start":
            raise invalid("the first message is not `start`")
        start = opening.start
        if not NAME.fullmatch(start.subscription):
            raise invalid("the name of a subscription consists of 1 to 64 letters, digits, '.', '_' or '-'")
        since_ns = messages.nanoseconds(start.start_time, "start_time") if start.HasField("start_time") else None
        if since_ns is not None and since_ns > self._clock.now_ns() + AHEAD_NS:
            raise invalid("start_time is in the future", hint="leave it out to start now")
        name = PREFIX + start.subscription
        query, profile = messages.trace_query(start.query), messages.profile(start.profile)
        subscriber = Subscriber(name, context, messages.message_bytes(start.max_message_bytes), self._stall_s)
        session = _Session()
        before = self._sessions.get(name)
        self._sessions[name] = session
        if before is not None:
            before.taken_over.set()
        turn = self._turns.setdefault(name, asyncio.Lock())
        try:
            async with turn, self._open_lane(subscriber, query, profile) as session.lane:
                await context.send_initial_metadata(())
                await _serve(session, session.lane, subscriber, requests, since_ns)
        finally:
            if self._sessions.get(name) is session:
                del self._sessions[name]


async def _serve(
    session: _Session,
    lane: Lane,
    subscriber: Subscriber,
    requests: AsyncIterator[pb.FollowSpansRequest],
    since_ns: int | None,
) -> None:
    """Follow until the client leaves or another takes over; then record what was acknowledged."""
    following = asyncio.create_task(lane.run(since_ns))
    acknowledging = asyncio.create_task(_acknowledge(subscriber, requests))
    replaced = asyncio.create_task(session.taken_over.wait())
    # The results differ in type, and a Future of one type is not a Future of another.
    ways_to_end: tuple[asyncio.Future[object], ...] = (following, acknowledging, replaced, subscriber.failure)  # type: ignore[assignment]
    try:
        await asyncio.wait(ways_to_end, return_when=asyncio.FIRST_COMPLETED)
        if replaced.done():
            raise StatusError(
                Code.ABORTED,
                "TAKEN_OVER",
                "another client opened this subscription",
                hint="do not reconnect: clients take a shared subscription from each other; give each its own",
                retry_s=10.0,
            )
        if subscriber.failure.done():
            raise subscriber.failure.result().without_traceback()
        for way in (following, acknowledging):
            if way.done():
                way.result()
        if lane.stopped is not None:
            raise status_error(lane.stopped)
    finally:
        tasks = {following, acknowledging, replaced}
        for task in tasks:
            task.cancel()
        subscriber.leave()
        await _wait_for_all(tasks)
        for task in tasks:
            _clear_frames(task)


async def _wait_for_all(tasks: Set[asyncio.Future[Any]]) -> None:
    """Wait until all cancelled tasks have ended, even if this wait is cancelled meanwhile."""
    cancelled = False
    while any(not task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


def _clear_frames(task: asyncio.Future[Any]) -> None:
    """Clear the frames of a cancelled task: in Python 3.11 those of a task group form a cycle that holds all spans.

    Other errors are left alone: their tracebacks may include frames that are still running.
    """
    if task.cancelled():
        try:
            task.result()
        except asyncio.CancelledError as ended:
            clear_frames(ended.__traceback__)


async def _acknowledge(subscriber: Subscriber, requests: AsyncIterator[pb.FollowSpansRequest]) -> None:
    """Forward the client's acknowledgements until it closes its side."""
    async for request in requests:
        subscriber.acknowledge(request)
