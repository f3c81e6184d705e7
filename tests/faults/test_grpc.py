"""The rows of "The gRPC service" in the table of faults, with real processes: the bridge, a proxy, misbehaving clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from netra_otel_bridge.pipeline.memory_budget import BLOCKED_S
from netra_otel_bridge.v1 import bridge_pb2 as pb
from netra_otel_bridge.v1.bridge_pb2_grpc import BridgeServiceStub
from tests.support.child import Child
from tests.support.cli import CANARY
from tests.support.emulator import START_NS
from tests.support.http2 import RawCall
from tests.support.oracle import MS, happened, stored_by, written_to
from tests.support.proxy import CLEAR, Proxy
from tests.support.rig import Rig
from tests.support.rpc import CREDENTIALS, EVER, TOKEN, Refused, Subscription, count, refusal_of, refused, stamp
from tests.support.server import free_ports
from tests.support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.faults

MB = 1_000_000
MOST_ROUNDS = 8
UNNOTICED_S = 15.0
STOP_S = 20.0
"""The time that the systemd unit of the examples gives the service to stop; far less is usual."""
CUT = (grpc.aio.AioRpcError, TimeoutError)
"""The errors that end a cut stream for its client. grpcio 1.74 does not always notice a lost connection."""
STATUS = pb.GetStatusRequest()
READ = pb.ReadSpansRequest(range=EVER)
WHOLE_RANGE = pb.TimeRange(
    start_time=Timestamp(seconds=START_NS // 10**9 - 86_400), end_time=Timestamp(seconds=START_NS // 10**9 + 86_400)
)


class Bridge(Child):
    """``run`` in a process of its own, with the gRPC service at ``address``."""

    @property
    def address(self) -> str:
        found = re.search(r"gRPC at (\S+)", self.err)
        return found[1] if found else ""

    def cpu_s(self) -> float:
        """Return the CPU time that its threads have used."""
        fields = Path("/proc", str(self.pid), "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Return the memory that it uses now."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc", str(self.pid), "status").read_text())
        assert found
        return int(found[1]) * 1024


@contextmanager
def bridge(rig: Rig, *more: str, **env: str) -> Iterator[Bridge]:
    """Run a bridge that follows the last hour's live traffic to a file; settings are named without ``NETRA_BRIDGE_``."""
    given = {"GRPC_TOKEN": TOKEN, "GRPC_PORT": "0", **env}
    settings = {f"NETRA_BRIDGE_{name}": value for name, value in given.items()}
    environment = rig.environment(OTEL_EXPORTER_PROMETHEUS_PORT="0", **settings)
    arguments = rig.following(None, "--no-usage", *more)
    with Bridge(*arguments, directory=rig.directory, env=environment, secrets=(CANARY, TOKEN)) as child:
        child.until(lambda: child.address)
        yield child


@asynccontextmanager
async def client(address: str, **options: Any) -> AsyncIterator[Any]:
    """Yield a stub on a connection of its own."""
    given = {"grpc.use_local_subchannel_pool": 1, **{name.replace("__", "."): value for name, value in options.items()}}
    async with grpc.aio.insecure_channel(address, tuple(given.items())) as channel:
        yield BridgeServiceStub(channel)


def connection(address: str) -> socket.socket:
    """Open a connection that sends nothing."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=DEADLINE_S)


async def status(stub: Any) -> Any:
    return await stub.GetStatus(STATUS, metadata=CREDENTIALS)


async def read_all(stub: Any, request: pb.ReadSpansRequest = READ) -> list[TracesData]:
    return [answer.traces_data async for answer in stub.ReadSpans(request, metadata=CREDENTIALS)]


def recent(rig: Rig, traces: int, spans: int = 4, **options: Any) -> None:
    """Feed traces of the last minute, which `run` follows."""
    start_ns = (time.time_ns() - 60_000 * MS) // MS * MS
    rig.feed(traces, spans, start_ns=start_ns, every_ns=MS, **options)


def hour_ago() -> Any:
    return stamp(time.time_ns() - 3_600_000 * MS)


def follow(name: str) -> pb.FollowSpansRequest:
    return pb.FollowSpansRequest(start=pb.FollowStart(subscription=name, start_time=hour_ago()))


@pytest.mark.parametrize("token", [None, "wrong", CANARY])
async def test_no_token_wrong_token(rig: Rig, token: str | None) -> None:
    """Without the right token every call is rejected, and a replay that the caller asks for does not start."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with bridge(rig) as child:
        async with client(child.address) as stub:
            for call in (
                stub.GetStatus(STATUS, metadata=metadata),
                stub.ReadSpans(READ, metadata=metadata),
                stub.StartReplay(pb.StartReplayRequest(range=WHOLE_RANGE), metadata=metadata),
                stub.VerifySpans(pb.VerifySpansRequest(range=WHOLE_RANGE), metadata=metadata),
                stub.FollowSpans(metadata=metadata),
            ):
                assert (await refusal_of(call)).code == "UNAUTHENTICATED"
            listed = await stub.ListReplays(pb.ListReplaysRequest(), metadata=CREDENTIALS)
            assert list(listed.replays) == []


@pytest.mark.parametrize("missing", ["TLS", "a token"])
def test_a_bind_beyond_loopback(rig: Rig, missing: str) -> None:
    """Without TLS or without a token, the process exits at once with 78, says what to set, and never opens a port."""
    (port,) = free_ports(1)
    env = {"NETRA_BRIDGE_GRPC_HOST": "0.0.0.0", "NETRA_BRIDGE_GRPC_PORT": str(port)}
    if missing == "TLS":
        env["NETRA_BRIDGE_GRPC_TOKEN"] = TOKEN
    with rig.follower(None, "--no-usage", **env) as child:
        ended = child.wait()
    assert ended.code == 78
    assert "NETRA_BRIDGE_GRPC_" in ended.said
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=2)


async def test_5_mib_message_random_bytes_unknown_method(rig: Rig) -> None:
    """Each is rejected or disconnected, however often it comes; Netra is not asked for anything, and memory does not grow."""
    noise = random.Random(6)

    def garbage(address: str, head: bytes) -> None:
        with contextlib.suppress(OSError), connection(address) as line:
            line.sendall(head + noise.randbytes(20_000))
            line.shutdown(socket.SHUT_WR)
            while line.recv(4096):
                pass

    with bridge(rig, "--poll", "1h") as child:
        async with grpc.aio.insecure_channel(child.address, (("grpc.max_send_message_length", -1),)) as channel:
            stub: Any = BridgeServiceStub(channel)
            large = pb.ReadSpansRequest(trace_id="x" * (5 * 2**20))
            unknown = channel.unary_unary("/netra_otel_bridge.v1.BridgeService/Shutdown")

            async def round_of_each() -> None:
                assert (await refusal_of(stub.ReadSpans(large, metadata=CREDENTIALS))).code == "RESOURCE_EXHAUSTED"
                assert (await refusal_of(stub.GetStatus(large, metadata=CREDENTIALS))).code == "RESOURCE_EXHAUSTED"
                assert (await refusal_of(unknown(b"\x0a\xff", metadata=CREDENTIALS))).code == "UNIMPLEMENTED"
                for head in (b"", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
                    await asyncio.to_thread(garbage, child.address, head)

            await until(lambda: _first_poll(stub))
            for _ in range(3):
                await round_of_each()
            calls, memory = rig.calls(), child.memory_bytes()
            for _ in range(10):
                await round_of_each()
            assert rig.calls() == calls
            assert child.memory_bytes() < memory + 12 * MB
            assert (await status(stub)).version


async def _first_poll(stub: Any) -> bool:
    return bool((await status(stub)).ready)


async def test_200_clients_idle_and_half_open(rig: Rig) -> None:
    """A replay beside these clients keeps at least nine tenths of the throughput that it has without them.

    Both sides take turns, and the medians of three rounds each are compared. There are more rounds if that falls short,
    because others may use the machine.
    """
    rig.feed(400, 8)
    costs: dict[bool, list[float]] = {False: [], True: []}
    with bridge(rig, "--poll", "1h", CONCURRENCY="4") as child:
        async with client(child.address) as stub:
            await _replay_cost(rig, child, stub, 0)
            for number in range(1, 1 + 2 * MOST_ROUNDS):
                crowded = number % 4 in (0, 1)
                with ExitStack() as crowd:
                    if crowded:
                        await _crowd(crowd, child, stub)
                    costs[crowded].append(await _replay_cost(rig, child, stub, number))
                await until(lambda: _opened(stub, 0))
                if number % 2 == 0 and number >= 6 and median(costs[False]) >= 0.9 * median(costs[True]):
                    return
    raise AssertionError(f"seconds of its processor without and with a crowd: {costs}")


async def _crowd(crowd: ExitStack, child: Bridge, stub: Any) -> None:
    """Open connections that send nothing, calls whose request never comes, and subscriptions without events."""
    for _ in range(70):
        crowd.enter_context(connection(child.address))
        crowd.enter_context(RawCall(child.address, "GetStatus", half_closes=False))
    for place in range(60):
        start = pb.FollowSpansRequest(start=pb.FollowStart(subscription=f"idle-{place}"))
        crowd.enter_context(RawCall(child.address, "FollowSpans", start, half_closes=False))
    await until(lambda: _opened(stub, 60, polled=True))


async def _replay_cost(rig: Rig, child: Bridge, stub: Any, number: int) -> float:
    """Return the CPU time of a replay of everything; each ``number`` is another replay."""
    start_time = Timestamp(seconds=WHOLE_RANGE.start_time.seconds + number)
    request = pb.StartReplayRequest(range=pb.TimeRange(start_time=start_time, end_time=WHOLE_RANGE.end_time))
    before = child.cpu_s()
    started = await stub.StartReplay(request, metadata=CREDENTIALS)
    watch = pb.WatchReplayRequest(replay_id=started.replay.id)
    last = [answer.replay async for answer in stub.WatchReplay(watch, metadata=CREDENTIALS)][-1]
    assert last.destinations[0].delivered == len(rig.oracle)
    return child.cpu_s() - before


async def _opened(stub: Any, streams: int, *, polled: bool = False) -> bool:
    subscriptions = (await status(stub)).subscriptions
    return len(subscriptions) == streams and all(lane.passes for lane in subscriptions if polled)


async def test_calls_are_capped_and_those_that_stall_make_room(rig: Rig) -> None:
    """Above ``grpc_calls``, a client is told when to come again; clients that read no answer do not keep it out for long."""
    recent(rig, 60, padding=20_000)
    with bridge(rig, GRPC_CALLS="8", GRPC_STALL="5s") as child:
        async with client(child.address) as stub:
            with ExitStack() as crowd:
                for number in range(8):
                    crowd.enter_context(
                        RawCall(child.address, "FollowSpans", follow(f"stalls-{number}"), half_closes=False)
                    )
                given = await until(lambda: _turned_away(stub))
                assert (given.code, given.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS")
                assert given.retry_s

                async def has_room() -> bool:
                    return not await _turned_away(stub)

                await until(has_room)
                rig.oracle.assert_kept(stored_by(await read_all(stub)))


async def _turned_away(stub: Any) -> Refused | None:
    """Return how a call is rejected now; ``None`` if it is answered."""
    try:
        await status(stub)
    except grpc.aio.AioRpcError as error:
        return refused(error)
    return None


@pytest.mark.parametrize("method", ["ReadSpans", "FollowSpans", "WatchReplay"])
async def test_a_client_that_stops_reading(rig: Rig, method: str) -> None:
    """Memory is bounded, lanes and other clients continue, and the stream ends; a client that reads again learns why."""
    recent(rig, 60, padding=20_000)
    with bridge(rig, GRPC_STALL="1500ms") as child:
        async with client(child.address, grpc__http2__lookahead_bytes=65_536, grpc__http2__bdp_probe=0) as stub:
            started = await stub.StartReplay(pb.StartReplayRequest(range=WHOLE_RANGE), metadata=CREDENTIALS)
            await read_all(stub)
            requests = {
                "ReadSpans": lambda _: READ,
                "FollowSpans": lambda number: follow(f"stalls-{number}"),
                "WatchReplay": lambda _: pb.WatchReplayRequest(replay_id=started.replay.id),
            }
            before = child.memory_bytes()
            with ExitStack() as crowd:
                for number in range(20):
                    request = requests[method](number)
                    crowd.enter_context(RawCall(child.address, method, request, half_closes=method != "FollowSpans"))
                passes = (await status(stub)).lanes[0].passes
                recent(rig, 3)
                rig.oracle.assert_kept(stored_by(await read_all(stub)))
                await until(lambda: _delivered(rig), every_s=0.2)
                assert (await status(stub)).lanes[0].passes > passes
                child.peak_bytes = child.memory_bytes()
                await until(lambda: _opened(stub, 0))
                assert child.peak_bytes < before + 20 * 8 * MB
            if method == "WatchReplay":
                return
            if method == "ReadSpans":
                call = stub.ReadSpans(READ, metadata=CREDENTIALS)
            else:
                call = stub.FollowSpans(metadata=CREDENTIALS)
                await call.write(follow("slow"))
            assert count((await call.read()).traces_data)
            await asyncio.sleep(3)  # twice the stall: a client that reads nothing sees no event
            given = await refusal_of(call)
            assert (given.code, given.reason) == ("ABORTED", "READER_STALLED")


def _delivered(rig: Rig) -> bool:
    live = {key for key in rig.oracle.issued if rig.oracle.start_ns(key) > time.time_ns() - 3_600_000 * MS}
    return live <= written_to(rig.file).keys


async def test_200_clients_of_which_half_stop_reading(rig: Rig) -> None:
    """The half that keeps reading receives everything exactly once."""
    recent(rig, 25)
    live = [key for key in rig.oracle.issued if rig.oracle.start_ns(key) > time.time_ns() - 3_600_000 * MS]
    with bridge(rig) as child, ExitStack() as crowd:
        for number in range(50):
            crowd.enter_context(RawCall(child.address, "ReadSpans", READ))
            crowd.enter_context(RawCall(child.address, "FollowSpans", follow(f"stalls-{number}"), half_closes=False))
        async with contextlib.AsyncExitStack() as clients:
            stubs = [await clients.enter_async_context(client(child.address)) for _ in range(100)]

            async def followed(stub: Any, name: str) -> list[TracesData]:
                return await Subscription(stub, name, start_time=hour_ago()).take(len(live), 2 * DEADLINE_S)

            reading = [read_all(stub) for stub in stubs[:50]]
            following = [followed(stub, f"reads-{number}") for number, stub in enumerate(stubs[50:])]
            got = await asyncio.gather(*reading, *following)
        happened("streams that wait for their readers", child.running)
    for one in got[:50]:
        rig.oracle.assert_kept(stored_by(one))
    for one in got[50:]:
        rig.oracle.assert_kept(stored_by(one), due=live)


async def test_many_clients_that_stop_in_large_traces_use_little_memory_together(rig: Rig) -> None:
    """Streams whose clients stopped reading are ended: together they hold little memory, and a client that reads receives everything."""
    rig.feed(10, 100, padding=20_000)
    with bridge(rig, "--poll", "1h") as running:
        async with client(running.address, grpc__max_receive_message_length=-1) as stub:
            before = running.memory_bytes()
            stopped = [await asyncio.to_thread(RawCall, running.address, "ReadSpans", READ) for _ in range(20)]
            began = time.monotonic()
            async with asyncio.timeout(2 * DEADLINE_S):
                received = await read_all(stub)
            happened("some that had stopped", time.monotonic() - began > BLOCKED_S)
            grown = running.memory_bytes() - before
            for call in stopped:
                call.close()
    rig.oracle.assert_kept(stored_by(received))
    assert grown < 300 * MB, f"{grown / MB:.0f} MB"


async def test_slow_clients_of_a_huge_trace_delay_no_other(rig: Rig) -> None:
    """Slow readers accept each message in time, but take minutes in all; a quick reader receives everything meanwhile."""
    rig.feed(1, 400, padding=100_000)
    rig.feed(100, 4)
    with bridge(rig, "--poll", "1h") as running:
        async with client(running.address, grpc__max_receive_message_length=-1) as stub:
            begun: set[int] = set()

            async def read_slowly(number: int) -> None:
                async for _ in stub.ReadSpans(READ, metadata=CREDENTIALS):
                    begun.add(number)
                    await asyncio.sleep(
                        0.5
                    )  # flow control frees room for several messages at once: far less than a stall

            slow = [asyncio.create_task(read_slowly(number)) for number in range(4)]
            await until(lambda: len(begun) == len(slow))
            async with asyncio.timeout(DEADLINE_S):
                received = await read_all(stub)
            happened("readers that are slow", not any(one.done() for one in slow))
            for one in slow:
                one.cancel()
    rig.oracle.assert_kept(stored_by(received))


def test_a_second_process_on_the_same_port(rig: Rig) -> None:
    """The second process exits at once with 78 and names the address and the setting; the first one is not disturbed."""
    with bridge(rig) as first:
        port = first.address.rpartition(":")[2]
        env = rig.environment(
            OTEL_EXPORTER_PROMETHEUS_PORT="0", NETRA_BRIDGE_GRPC_TOKEN=TOKEN, NETRA_BRIDGE_GRPC_PORT=port
        )
        arguments = ("run", "--no-usage", "--state", str(rig.directory / "another-state"), "--to", "console")
        with Child(*arguments, directory=rig.directory, env=env) as second:
            ended = second.wait(20)
        assert ended.code == 78
        assert f"127.0.0.1:{port}" in ended.said
        assert "NETRA_BRIDGE_GRPC_PORT" in ended.said
        with grpc.insecure_channel(first.address) as channel:
            assert BridgeServiceStub(channel).GetStatus(STATUS, metadata=CREDENTIALS).version


async def test_a_stream_that_is_cut_at_random(rig: Rig) -> None:
    """Streams resumed with tokens, or opened again, add up to exactly everything: a token repeats nothing, each cut
    repeats at most one batch.
    """
    recent(rig, 150, 4, padding=2_000)
    live = [key for key in rig.oracle.issued if rig.oracle.start_ns(key) > time.time_ns() - 3_600_000 * MS]
    dice = random.Random(6)
    with bridge(rig, BATCH_SPANS="32") as child, Proxy(int(child.address.rpartition(":")[2])) as proxy:
        read: list[TracesData] = []
        token, cuts, ended = "", 0, False
        while not ended:
            proxy.down = replace(CLEAR, limit_bytes=dice.randrange(200, 400_000))
            async with client(f"127.0.0.1:{proxy.port}") as stub:
                request = pb.ReadSpansRequest(range=EVER, resume_token=token)
                call = stub.ReadSpans(request, metadata=CREDENTIALS)
                try:
                    while (answer := await asyncio.wait_for(call.read(), UNNOTICED_S)) is not grpc.aio.EOF:
                        read.append(answer.traces_data)
                        token = answer.resume_token
                    ended = True
                except CUT:
                    cuts += 1
        happened("cuts of ReadSpans", cuts > 2 and proxy.counts.resets >= cuts)
        rig.oracle.assert_kept(stored_by(read))

        followed: list[TracesData] = []
        cuts = 0
        while not set(live) <= stored_by(followed).keys:
            proxy.down = replace(CLEAR, limit_bytes=dice.randrange(200, 400_000))
            async with client(f"127.0.0.1:{proxy.port}") as stub:
                mine = Subscription(stub, "cut", start_time=hour_ago())
                try:
                    while not set(live) <= stored_by(followed).keys:
                        batch = await asyncio.wait_for(mine.batch(), UNNOTICED_S)
                        followed.append(batch.traces_data)
                        await mine.ack(batch.batch)
                except CUT:
                    cuts += 1
        happened("cuts of FollowSpans", cuts > 2)
        rig.oracle.assert_kept(stored_by(followed), repeats=32 * cuts, due=live)


def test_reflection_is_enough_for_a_client_without_the_generated_modules(rig: Rig) -> None:
    """Like grpcurl, a client can build its messages from what the service says of itself, and gets the same spans as others."""
    with bridge(rig, GRPC_REFLECTION="true") as child, grpc.insecure_channel(child.address) as plain:
        channel = grpc.intercept_channel(plain, _Token())
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        service = pool.FindServiceByName("netra_otel_bridge.v1.BridgeService")
        assert {method.name for method in service.methods} == {
            method.name for method in pb.DESCRIPTOR.services_by_name["BridgeService"].methods
        }

        def made(name: str) -> tuple[Any, Any]:
            method = service.FindMethodByName(name)
            return GetMessageClass(method.input_type), GetMessageClass(method.output_type)

        path = f"/{service.full_name}"
        request, response = made("GetStatus")
        answer = channel.unary_unary(f"{path}/GetStatus", request.SerializeToString, response.FromString)(request())
        assert answer.lanes[0].name == f"otlp-file:{rig.file}"
        request, response = made("ReadSpans")
        asked = request()
        asked.range.start_time.seconds = EVER.start_time.seconds
        stream = channel.unary_stream(f"{path}/ReadSpans", request.SerializeToString, response.FromString)(asked)
        rig.oracle.assert_kept(stored_by(one.traces_data for one in stream))


class _Token(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    """An interceptor that adds the token to each call, as ``grpcurl -H`` does."""

    def _with_token(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(details._replace(metadata=CREDENTIALS), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_stream = _with_token


@pytest.mark.parametrize("stalled", [False, True])
async def test_sigterm_with_open_streams(rig: Rig, stalled: bool) -> None:
    """Each stream is told that the service shuts down and when to come again; the process exits 0 in seconds, stalled
    readers or not.
    """
    recent(rig, 80, padding=20_000)
    with bridge(rig) as child, ExitStack() as crowd:
        async with client(child.address, grpc__http2__lookahead_bytes=65_536, grpc__http2__bdp_probe=0) as stub:
            if stalled:
                for number in range(10):
                    crowd.enter_context(RawCall(child.address, "ReadSpans", READ))
                    start = follow(f"stalls-{number}")
                    crowd.enter_context(RawCall(child.address, "FollowSpans", start, half_closes=False))
            reading = stub.ReadSpans(READ, metadata=CREDENTIALS)
            assert await reading.read()
            following = Subscription(stub, "mine", start_time=hour_ago())
            batch = await following.batch()
            await following.ack(batch.batch)
            await following.batch()
            began = time.monotonic()
            child.signal(signal.SIGTERM)
            for given in await asyncio.gather(refusal_of(reading), refusal_of(following.call)):
                assert (given.code, given.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
                assert given.retry_s
            ended = await asyncio.to_thread(child.wait)
            assert (ended.code, time.monotonic() - began < STOP_S) == (0, True)
            assert "all acknowledged spans are recorded" in ended.err
    with bridge(rig, GRPC_PORT=child.address.rpartition(":")[2]) as child:
        async with client(child.address) as stub:
            again = await Subscription(stub, "mine").batch()
            first = stored_by([batch.traces_data]).keys
            assert not first & stored_by([again.traces_data]).keys


async def test_the_state_is_lost_while_a_client_follows(rig: Rig) -> None:
    """The bridge ends as it does without clients: it says which file is lost, and what to do."""
    recent(rig, 4)
    with bridge(rig) as running:
        async with client(running.address) as stub:
            following = Subscription(stub, "mine", start_time=hour_ago())
            await following.batch()
            (rig.state / "state.db").unlink()
            recent(rig, 4)
            ended = await asyncio.to_thread(running.wait)
            with pytest.raises(CUT):
                await following.call.read()
    assert ended.code == 75, ended.err
    assert f"{rig.state / 'state.db'}: it was deleted while" in ended.err
