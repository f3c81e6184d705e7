"""FollowSpans: acknowledged batches are not sent again; others are sent to the next client of the subscription."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from netra_otel_bridge.core.clock import SystemClock
from netra_otel_bridge.core.model.outcome import SpanBatch
from netra_otel_bridge.emulator.otlp import read_document
from netra_otel_bridge.pipeline.lane import TraceLane
from netra_otel_bridge.pipeline.stream import SpanStream
from netra_otel_bridge.service.rpc.errors import StatusError
from netra_otel_bridge.service.rpc.follow_spans import Subscriptions
from netra_otel_bridge.v1 import bridge_pb2 as pb
from netra_otel_bridge.v1.bridge_pb2_grpc import BridgeServiceStub
from tests.support.compare import Key
from tests.support.emulator import otlp_document, otlp_span
from tests.support.examples import size, some
from tests.support.health import lane_health
from tests.support.http2 import RawCall
from tests.support.oracle import MS, stored_by
from tests.support.rig import Rig, running_rig
from tests.support.rpc import CREDENTIALS, EVER, Served, Subscription, count, refusal_of, refused, serving, stamp
from tests.support.waiting import DEADLINE_S, until

TRACES, SPANS = 6, 4
ALL = TRACES * SPANS


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with running_rig(tmp_path) as running:
        recent(running, TRACES)
        yield running


@pytest.fixture
async def served(rig: Rig) -> AsyncIterator[Served]:
    async with serving(rig, batch_spans=SPANS) as running:
        yield running


def recent(rig: Rig, traces: int, **options: Any) -> list[Key]:
    """Feed traces of the last minute."""
    start_ns = (time.time_ns() - 60_000 * MS) // MS * MS
    keys = rig.oracle.traces(traces, SPANS, start_ns=start_ns, **options)
    rig.oracle.feed(rig.netra, keys)
    return keys


def hour_ago() -> Any:
    return stamp(time.time_ns() - 3_600_000 * MS)


def opened(served: Served, name: str = "mine", **start: Any) -> Subscription:
    return Subscription(served.stub, name, **{"start_time": hour_ago(), **start})


async def silent(subscription: Subscription, seconds: float = 0.5) -> bool:
    """Return whether nothing arrives for so long; the stream is abandoned."""
    try:
        async with asyncio.timeout(seconds):
            await subscription.batch()
    except TimeoutError:
        return True
    return False


def keep(rig: Rig, *subscriptions: Subscription, **options: Any) -> None:
    rig.oracle.assert_kept(stored_by(data for one in subscriptions for data in one.received), **options)


async def streams(served: Served) -> list[Any]:
    status = await served.stub.GetStatus(pb.GetStatusRequest(), metadata=CREDENTIALS)
    return list(status.subscriptions)


async def test_everything_comes_once_and_new_traces_after_it(rig: Rig, served: Served) -> None:
    """Batches count from 1; late spans and new traces come as they arrive; the status shows the stream."""
    mine = opened(served)
    await mine.take(ALL)
    recent(rig, 2)
    rig.oracle.feed(rig.netra, rig.oracle.late(rig.oracle.trace_ids[0]))
    await mine.take(2 * SPANS + 1)
    keep(rig, mine)
    (lane,) = await streams(served)
    assert (lane.name, lane.delivered, lane.problem) == ("grpc:mine", ALL + 2 * SPANS + 1, "")
    assert await silent(mine)


async def test_the_next_batch_waits_for_the_acknowledgement(served: Served) -> None:
    """One batch is in flight at a time."""
    mine = opened(served)
    batch = await mine.batch()
    assert (batch.batch, count(batch.traces_data)) == (1, SPANS)
    waiting = asyncio.create_task(mine.batch())
    await asyncio.sleep(0.1)  # only time shows that a batch does not arrive
    assert not waiting.done()
    await mine.ack(1)
    assert (await waiting).batch == 2


@pytest.mark.parametrize("wrong", [0, 2, 2**64 - 1])
async def test_an_acknowledgement_of_another_batch(served: Served, wrong: int) -> None:
    """A wrong acknowledgement ends the stream and acknowledges nothing."""
    mine = opened(served)
    await mine.batch()
    await mine.ack(wrong)
    given = await refusal_of(mine.call)
    assert (given.code, given.reason) == ("INVALID_ARGUMENT", "ACK_UNEXPECTED")
    assert await opened(served).take(ALL)


async def test_acknowledged_twice_or_before_anything_was_sent(served: Served) -> None:
    """A second acknowledgement, or one before any batch, ends the stream."""
    mine = opened(served)
    assert (await mine.batch()).batch == 1
    await mine.ack(1)
    await mine.ack(1)
    given = await refusal_of(mine.call)
    assert given.reason == "ACK_UNEXPECTED"
    early = opened(served, "early", start_time=stamp(time.time_ns()))
    await early.call.write(pb.FollowSpansRequest(start=early._start))
    await early.ack(0)
    assert (await refusal_of(early.call)).reason == "ACK_UNEXPECTED"


@pytest.mark.parametrize("how", ["cancel", "half-close", "reset", "restart"])
async def test_resumed_after(rig: Rig, how: str) -> None:
    """After any end of the stream, and after a restart, the next stream brings the unacknowledged batch again."""
    async with serving(rig, batch_spans=SPANS) as served:
        mine = opened(served)
        await mine.take(2 * SPANS)
        unanswered = await mine.batch()
        if how == "cancel":
            mine.call.cancel()
        elif how == "half-close":
            await mine.call.done_writing()
            assert await mine.call.code() == grpc.StatusCode.OK
        elif how == "reset":
            await served.channel.close()
        else:
            served.stop.set()
            assert (await refusal_of(mine.call)).reason == "SHUTTING_DOWN"
        if how != "restart":
            async with grpc.aio.insecure_channel(served.address) as channel:
                again = Subscription(BridgeServiceStub(channel))
                await again.take(ALL - 2 * SPANS)
                keep(rig, mine, again)
    if how == "restart":
        async with serving(rig, batch_spans=SPANS) as served:
            again = Subscription(served.stub)
            await again.take(ALL - 2 * SPANS)
            assert await silent(again)
        keep(rig, mine, again)
    assert stored_by([unanswered.traces_data]).keys <= stored_by(again.received).keys


@pytest.mark.parametrize("ahead_s", [120, 10**9, 200 * 10**9])
async def test_no_subscription_begins_in_the_future(served: Served, ahead_s: int) -> None:
    """A start in the future is rejected: it is stored, and nothing would be delivered until then."""
    later = opened(served, start_time=Timestamp(seconds=int(time.time()) + ahead_s))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await later.batch()
    assert refused(raised.value).code == "INVALID_ARGUMENT"
    assert "future" in refused(raised.value).message


async def test_another_client_takes_over(rig: Rig, served: Served) -> None:
    """The previous client is told; the new one gets what was not acknowledged; many in a row leave one stream."""
    first = opened(served)
    await first.take(SPANS)
    await first.batch()
    second = opened(served)
    await second.take(SPANS)
    given = await refusal_of(first.call)
    assert (given.code, given.reason, given.retry_s) == ("ABORTED", "TAKEN_OVER", 10.0)
    for _ in range(20):
        another = opened(served)
        await another.call.write(pb.FollowSpansRequest(start=another._start))
    last = opened(served)
    await last.take(ALL - 2 * SPANS)
    keep(rig, first, second, last)
    assert len(await streams(served)) == 1


class SlowLane:
    """A lane that ends once ``may_end`` is set. ``open`` lanes have not ended; there were at most ``most`` at a time."""

    stopped = None
    open = 0
    most = 0
    may_end = asyncio.Event()

    async def run(self, since_ns: int | None) -> None:
        cls = type(self)
        cls.open += 1
        cls.most = max(cls.most, cls.open)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.shield(asyncio.create_task(self._end()))

    async def _end(self) -> None:
        await self.may_end.wait()
        type(self).open -= 1

    def health(self) -> Any:
        return lane_health()


class Stream:
    """The context that gRPC passes to a handler."""

    async def send_initial_metadata(self, _: Any) -> None:
        pass

    async def requests(self) -> AsyncIterator[pb.FollowSpansRequest]:
        yield pb.FollowSpansRequest(start=pb.FollowStart(subscription="mine"))
        await asyncio.Event().wait()


@pytest.fixture
def follow() -> Any:
    """Open the stream of one more client of a subscription whose lanes end slowly; return its task."""
    SlowLane.open = SlowLane.most = 0
    SlowLane.may_end = asyncio.Event()

    @asynccontextmanager
    async def lane(*_: Any) -> AsyncIterator[SlowLane]:
        yield SlowLane()

    subscriptions = Subscriptions(lane, 60 * 10**9, SystemClock())

    async def opens() -> asyncio.Task[None]:
        stream: Any = Stream()
        task = asyncio.create_task(subscriptions.follow(stream.requests(), stream))
        await asyncio.sleep(0.05)
        return task

    return opens


async def test_a_subscription_has_one_lane_at_any_time(follow: Any) -> None:
    """A client that leaves while it waits to take over does not let the next one start before the lane has ended."""
    first = await follow()
    await until(lambda: SlowLane.open)
    waiting = await follow()
    waiting.cancel()
    last = await follow()
    SlowLane.may_end.set()
    with pytest.raises(StatusError, match="another client"):
        await first
    await until(lambda: SlowLane.open)
    assert (SlowLane.open, SlowLane.most) == (1, 1)
    last.cancel()
    await asyncio.wait({waiting, last})


async def test_a_stream_ends_after_its_lane(follow: Any) -> None:
    """This holds if the stream is cancelled a second time, as by a client that leaves while the service stops."""
    task = await follow()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.05)
    assert not task.done()
    SlowLane.may_end.set()
    await asyncio.wait({task})
    assert (task.cancelled(), SlowLane.open) == (True, 0)


async def test_subscriptions_are_independent(rig: Rig, served: Served) -> None:
    """Each subscription gets everything, or what its query selects."""
    one, other = opened(served, "one"), opened(served, "other")
    tenant = f"tenant-{rig.oracle.trace_ids[0][0]}"
    due = [key for t in rig.oracle.trace_ids if t[0] == tenant[-1] for key in rig.oracle.span_ids(t)]
    part = opened(served, "part", query=pb.TraceQuery(tenant_id=tenant))
    await asyncio.gather(one.take(ALL), other.take(ALL), part.take(len(due)))
    keep(rig, one)
    keep(rig, other)
    keep(rig, part, due=due)
    assert [lane.name for lane in await streams(served)] == ["grpc:one", "grpc:other", "grpc:part"]


async def test_a_subscription_begins_now_unless_it_says_otherwise(rig: Rig, served: Served) -> None:
    """The start time counts only the first time."""
    mine = Subscription(served.stub, "now")
    assert await silent(mine)
    assert await silent(opened(served, "now"))
    fresh = rig.oracle.traces(1, SPANS, start_ns=(time.time_ns() + 500 * MS) // MS * MS)
    rig.oracle.feed(rig.netra, fresh)
    again = Subscription(served.stub, "now")
    await again.take(SPANS)
    keep(rig, again, due=fresh)


@pytest.mark.parametrize("name", ["", "a" * 65, "a/b", "a b", "grpc:x", "ä", "x\n"])
async def test_names_that_no_subscription_may_have(served: Served, name: str) -> None:
    """An invalid start is rejected before anything is stored."""
    assert (await refusal_of(opened(served, name).batch())).reason == "ARGUMENT_INVALID"
    assert await streams(served) == []


async def test_messages_in_the_wrong_order(served: Served) -> None:
    """A leading ack or a second start is rejected."""
    call = served.stub.FollowSpans(metadata=CREDENTIALS)
    await call.write(pb.FollowSpansRequest(ack=pb.FollowAck(batch=1)))
    assert (await refusal_of(call)).reason == "ARGUMENT_INVALID"
    mine = opened(served)
    await mine.batch()
    await mine.call.write(pb.FollowSpansRequest(start=mine._start))
    assert (await refusal_of(mine.call)).reason == "ARGUMENT_INVALID"
    empty = served.stub.FollowSpans(metadata=CREDENTIALS)
    await empty.done_writing()
    assert await empty.code() == grpc.StatusCode.OK


async def test_a_client_that_does_not_acknowledge(rig: Rig) -> None:
    """A stalled stream ends at the limit, and the next stream gets the batch; a stream without a start ends too."""
    async with serving(rig, batch_spans=SPANS, grpc_stall="500ms") as served:
        mine = opened(served)
        await mine.batch()
        given = await refusal_of(mine.call)
        assert (given.code, given.reason) == ("ABORTED", "READER_STALLED")
        mute = served.stub.FollowSpans(metadata=CREDENTIALS)
        await mute.wait_for_connection()
        assert (await refusal_of(mute)).reason == "READER_STALLED"
        again = opened(served)
        await again.take(ALL)
        keep(rig, again)


async def test_netra_away_holds_the_stream_and_says_so(rig: Rig, served: Served) -> None:
    """The stream recovers by itself; meanwhile the status names the problem, and other calls succeed."""
    rig.netra.set_faults("status-503=100000")
    mine = opened(served)
    taking = asyncio.create_task(mine.take(ALL))

    async def is_told() -> bool:
        return any("503" in lane.problem for lane in await streams(served))

    await until(is_told)
    assert not taking.done()
    rig.netra.set_faults()
    await taking
    keep(rig, mine)


async def test_a_span_that_is_too_large_for_the_client_is_cut_and_named(rig: Rig, served: Served) -> None:
    """A span that is too large comes alone, trimmed and reported; the others come unchanged."""
    rig.oracle.feed(rig.netra, big := rig.oracle.late(rig.oracle.trace_ids[0], padding=3_000_000))
    mine = opened(served, max_message_bytes=65_536)
    problems: list[str] = []
    sizes: list[int] = []
    async with asyncio.timeout(DEADLINE_S):
        while sum(map(count, mine.received)) < ALL + 1:
            batch = await mine.batch()
            mine.received.append(batch.traces_data)
            problems += batch.problems
            sizes.append(batch.ByteSize())
            await mine.ack(batch.batch)
    assert max(sizes) <= 65_536
    assert [f"span {big[0][1]}" in problem for problem in problems] == [True]
    verdict = rig.oracle.verdict(stored_by(mine.received))
    assert verdict.missing == big
    assert len(verdict.altered) == 1


async def test_spans_that_the_client_never_takes(rig: Rig, served: Served) -> None:
    """A span that cannot be trimmed ends the stream with what to change."""
    start_ns = (time.time_ns() - 60_000 * MS) // MS * MS
    names = "".join(f"{number:05d}" for number in range(size(14_000, 30_000)))
    spans = [otlp_span(77, 7700 + number, start_ns=start_ns + number, name=names) for number in range(150)]
    rig.netra.ingest(read_document(otlp_document(*spans)))
    mine = opened(served, max_message_bytes=65_536)
    given = await refusal_of(mine.take(10**6))
    assert (given.code, given.reason) == ("FAILED_PRECONDITION", "DESTINATION_REFUSES")


@pytest.mark.faults
async def test_1000_subscriptions_leave_nothing_behind(rig: Rig, served: Served) -> None:
    """No threads, descriptors or tasks are left, however the streams ended."""

    async def open_and_close(number: int) -> None:
        if number % 20 == 0:
            start = pb.FollowSpansRequest(start=pb.FollowStart(subscription=f"s{number % 7}", start_time=hour_ago()))
            raw = await asyncio.to_thread(RawCall, served.address, "FollowSpans", start, half_closes=False)
            raw.close(reset=number % 40 == 0)
            return
        one = opened(served, f"s{number % 7}")
        await one.call.write(pb.FollowSpansRequest(start=one._start))
        if number % 3 == 0:
            await one.call.read()
        one.call.cancel()

    def held() -> tuple[int, int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), len(asyncio.all_tasks())

    for number in range(20):
        await open_and_close(number)
    before = held()
    for number in range(1000):
        await open_and_close(number)

    async def given_back() -> bool:
        return not await streams(served) and all(now <= was + 3 for now, was in zip(held(), before, strict=True))

    await until(given_back, every_s=0.05)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Memory is released without the garbage collector, which rarely runs in a service."""
    gc.collect()
    gc.freeze()  # so that `gc.get_objects` returns only what comes from now on
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("ended", some(1, ["reset", "stalled", "closed"]))
@pytest.mark.parametrize("method", ["ReadSpans", "FollowSpans"])
async def test_what_a_stream_held_is_released_when_it_ends(rig: Rig, method: str, ended: str) -> None:
    """Spans of an ended call are released without the collector, and not kept for a client that never reads the status."""
    recent(rig, 60, padding=20_000)
    rig.feed(8, size(20, 100), padding=20_000)

    def held() -> int:
        return sum(type(one) in (SpanBatch, SpanStream, TraceLane) for one in gc.get_objects())

    async with serving(rig, grpc_stall="200ms" if ended == "stalled" else "60s") as served:
        before = held()
        calls = []
        for number in range(8):
            start = pb.FollowSpansRequest(start=pb.FollowStart(subscription=f"s{number}", start_time=hour_ago()))
            request = pb.ReadSpansRequest(range=EVER) if method == "ReadSpans" else start
            call = await asyncio.to_thread(RawCall, served.address, method, request, half_closes=method == "ReadSpans")
            calls.append(call)
        await until(lambda: held() > before, every_s=0.1)
        now, previous = held(), -1
        while ended != "stalled" and now != previous:  # a call that cannot write holds the same from look to look
            await asyncio.sleep(0.1)
            now, previous = held(), now
        if ended != "stalled":
            for call in calls:
                call.close(reset=ended == "reset")
        await until(lambda: held() <= before + 2, every_s=0.1)
        for call in calls:
            call.close()
