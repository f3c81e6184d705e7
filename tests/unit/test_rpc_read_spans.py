"""ReadSpans over gRPC: content, size limits, and resuming."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from netra_otel_bridge.v1 import bridge_pb2 as pb
from netra_otel_bridge.v1.bridge_pb2_grpc import BridgeServiceStub
from tests.support.compare import spans_by_id
from tests.support.emulator import START_NS
from tests.support.examples import size
from tests.support.oracle import MS, Oracle, stored_by
from tests.support.rig import Rig, running_rig
from tests.support.rpc import CREDENTIALS, EVER, Served, count, refusal_of, serving, stamp
from tests.support.waiting import DEADLINE_S, SOON_S

TRACES = size(180, 600)
SMALL_WINDOW = (("grpc.http2.lookahead_bytes", 65_536), ("grpc.http2.bdp_probe", 0))
"""Options of a channel that takes little ahead of its reader."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_rig(tmp_path_factory.mktemp("spans")) as running:
        running.feed(TRACES, 3)
        yield running


@pytest.fixture
async def served(rig: Rig, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(rig, state=str(tmp_path / "state")) as running:
        yield running


async def read(served: Served, **request: Any) -> list[pb.ReadSpansResponse]:
    asked = pb.ReadSpansRequest(**request)
    async with asyncio.timeout(DEADLINE_S):
        return [answer async for answer in served.stub.ReadSpans(asked, metadata=CREDENTIALS)]


def keep(oracle: Oracle, answers: list[pb.ReadSpansResponse], **options: Any) -> None:
    oracle.assert_kept(stored_by(answer.traces_data for answer in answers), **options)


async def test_a_range_is_read_whole_and_exactly(rig: Rig, served: Served) -> None:
    """Every span comes once, in the order of the traces, in messages of at most 512 spans without problems."""
    answers = await read(served, range=EVER)
    keep(rig.oracle, answers)
    assert len(answers) >= TRACES * 3 / 512
    assert all(count(answer.traces_data) <= 512 and answer.resume_token for answer in answers)
    assert not any(answer.problems for answer in answers)
    place = {trace_id: number for number, trace_id in enumerate(rig.oracle.trace_ids)}
    places = [[place[key[0]] for key in spans_by_id(MessageToDict(answer.traces_data))] for answer in answers]
    assert all(max(one) <= min(next_) for one, next_ in pairwise(places))


async def test_a_part_of_the_range(rig: Rig, served: Served) -> None:
    """A range returns the traces that Netra lists in it, whole."""
    some = rig.oracle.trace_ids[10:20]
    starts = [rig.oracle.start_ns(rig.oracle.span_ids(trace_id)[0]) for trace_id in some]
    asked = pb.TimeRange(start_time=stamp(starts[0]), end_time=stamp(starts[-1] + MS))
    keep(rig.oracle, await read(served, range=asked), due=[key for one in some for key in rig.oracle.span_ids(one)])
    long_ago = pb.TimeRange(start_time=stamp(0), end_time=stamp(MS))
    assert sum(count(answer.traces_data) for answer in await read(served, range=long_ago)) == 0


async def test_a_trace_by_its_id(rig: Rig, served: Served) -> None:
    """A trace id returns its spans alone; its token resumes after the end; an unknown id is NOT_FOUND."""
    trace_id = rig.oracle.trace_ids[7]
    answers = await read(served, trace_id=trace_id)
    assert [key for answer in answers for key in spans_by_id(MessageToDict(answer.traces_data))] == rig.oracle.span_ids(
        trace_id
    )
    again = await read(served, trace_id=trace_id, resume_token=answers[-1].resume_token)
    assert sum(count(answer.traces_data) for answer in again) == 0
    for missing in ("f" * 32, "nobody's", "ü"):
        request = pb.ReadSpansRequest(trace_id=missing)
        given = await refusal_of(served.stub.ReadSpans(request, metadata=CREDENTIALS))
        assert (given.code, given.reason) == ("NOT_FOUND", "TRACE_NOT_FOUND")
    request = pb.ReadSpansRequest(trace_id="..")
    assert (await refusal_of(served.stub.ReadSpans(request, metadata=CREDENTIALS))).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("fault", ["html=100", "redirect=http://127.0.0.1:9/"])
async def test_what_is_no_netra_is_not_taken_for_a_trace_that_is_gone(rig: Rig, served: Served, fault: str) -> None:
    """A collector would drop the trace for good."""
    rig.netra.set_faults(fault)
    try:
        given = await refusal_of(served.stub.ReadSpans(pb.ReadSpansRequest(trace_id="a" * 32), metadata=CREDENTIALS))
    finally:
        rig.netra.set_faults()
    assert (given.code, given.reason) == ("FAILED_PRECONDITION", "NETRA_NOT_FOUND")


async def test_any_time_that_a_message_can_hold(served: Served) -> None:
    """An end after the last representable time means no end."""
    last = Timestamp(seconds=253_402_300_799, nanos=999_999_999)
    answers = await read(served, range=pb.TimeRange(start_time=EVER.start_time, end_time=last))
    assert sum(count(answer.traces_data) for answer in answers)
    request = pb.ReadSpansRequest(range=pb.TimeRange(start_time=last, end_time=last))
    assert (await refusal_of(served.stub.ReadSpans(request, metadata=CREDENTIALS))).code == "INVALID_ARGUMENT"


async def test_queries(rig: Rig, served: Served) -> None:
    """A query selects a tenant or traces by id; an unknown id is a problem, and the rest is returned."""
    tenant = [one for one in rig.oracle.trace_ids if one[0] == "a"]
    answers = await read(served, range=EVER, query=pb.TraceQuery(tenant_id="tenant-a"))
    keep(rig.oracle, answers, due=[key for one in tenant for key in rig.oracle.span_ids(one)])
    assert sum(count(answer.traces_data) for answer in answers) == 3 * len(tenant)
    ids = [rig.oracle.trace_ids[3], "f" * 32, rig.oracle.trace_ids[1]]
    answers = await read(served, range=EVER, query=pb.TraceQuery(trace_ids=ids))
    assert sum(count(answer.traces_data) for answer in answers) == 6
    assert any("f" * 32 in problem for answer in answers for problem in answer.problems)


async def test_profiles(rig: Rig, served: Served) -> None:
    """Raw has the recorded attributes; other profiles add their own."""
    names = {}
    for profile in (pb.PROFILE_RAW, pb.PROFILE_GENAI, pb.PROFILE_OPENINFERENCE, pb.PROFILE_BOTH):
        (answer,) = await read(served, trace_id=rig.oracle.trace_ids[0], profile=profile)
        scopes = [scope for resource in answer.traces_data.resource_spans for scope in resource.scope_spans]
        names[profile] = {attribute.key for scope in scopes for span in scope.spans for attribute in span.attributes}
    raw, genai, inference, both = names.values()
    assert raw < genai
    assert raw < inference
    assert both == genai | inference
    assert "gen_ai.usage.input_tokens" in genai - raw
    assert "llm.model_name" in inference - raw


async def test_cut_anywhere_and_resumed_nothing_is_lost_or_repeated(rig: Rig, served: Served) -> None:
    """Each token resumes at the next message, in another stream."""
    query = pb.TraceQuery(tenant_id="tenant-a")
    due = [key for one in rig.oracle.trace_ids if one[0] == "a" for key in rig.oracle.span_ids(one)]
    got: list[pb.ReadSpansResponse] = []
    token = ""
    while True:
        call = served.stub.ReadSpans(
            pb.ReadSpansRequest(range=EVER, query=query, resume_token=token), metadata=CREDENTIALS
        )
        answer = await call.read()
        if answer is grpc.aio.EOF:
            break
        call.cancel()
        got.append(answer)
        token = answer.resume_token
        assert len(got) <= len(due)
    keep(rig.oracle, got, due=due)
    assert len(got) > 3


async def test_a_token_that_is_not_of_this_request(rig: Rig, served: Served) -> None:
    """A token that is unreadable, or of another range, query, profile or trace, is rejected with its own reason."""
    token = (await read(served, trace_id=rig.oracle.trace_ids[0]))[-1].resume_token
    ranges = (await read(served, range=EVER, query=pb.TraceQuery(tenant_id="tenant-a")))[0].resume_token
    other = pb.TimeRange(start_time=EVER.start_time, end_time=stamp(START_NS))
    for request in (
        {"range": EVER, "resume_token": "garbage"},
        {"range": EVER, "resume_token": "ü" * 100},
        {"range": EVER, "resume_token": token},
        {"range": EVER, "resume_token": ranges},
        {"range": other, "query": pb.TraceQuery(tenant_id="tenant-a"), "resume_token": ranges},
        {
            "range": EVER,
            "query": pb.TraceQuery(tenant_id="tenant-a"),
            "profile": pb.PROFILE_BOTH,
            "resume_token": ranges,
        },
        {"trace_id": rig.oracle.trace_ids[1], "resume_token": token},
        {"range": EVER, "resume_token": ranges[:-2]},
    ):
        given = await refusal_of(served.stub.ReadSpans(pb.ReadSpansRequest(**request), metadata=CREDENTIALS))
        assert (given.code, given.reason) == ("INVALID_ARGUMENT", "RESUME_TOKEN_INVALID"), request
        assert given.hint


@pytest.mark.parametrize(
    "request_",
    [
        pb.ReadSpansRequest(),
        pb.ReadSpansRequest(trace_id=""),
        pb.ReadSpansRequest(range=pb.TimeRange()),
        pb.ReadSpansRequest(trace_id="a" * 32, query=pb.TraceQuery(tenant_id="t")),
        pb.ReadSpansRequest(range=EVER, profile=99),
        pb.ReadSpansRequest(range=EVER, max_message_bytes=1),
        pb.ReadSpansRequest(range=EVER, query=pb.TraceQuery(filters=[pb.TraceFilter()])),
    ],
    ids=str,
)
async def test_requests_that_make_no_sense(served: Served, request_: pb.ReadSpansRequest) -> None:
    """An invalid request is rejected with the cause."""
    given = await refusal_of(served.stub.ReadSpans(request_, metadata=CREDENTIALS))
    assert (given.code, given.reason) == ("INVALID_ARGUMENT", "ARGUMENT_INVALID")
    assert given.message


async def test_small_messages_hold_all_the_same(tmp_path: Path) -> None:
    """A client that accepts 64 KiB gets all spans and problems in messages of that size."""
    limit = 64 * 1024
    with running_rig(tmp_path) as rig:
        rig.feed(6, 40, padding=3_000)
        async with serving(rig) as served:
            options = (("grpc.max_receive_message_length", limit),)
            async with grpc.aio.insecure_channel(served.address, options) as channel:
                stub = BridgeServiceStub(channel)
                request = pb.ReadSpansRequest(range=EVER, max_message_bytes=limit)
                answers = [answer async for answer in stub.ReadSpans(request, metadata=CREDENTIALS)]
                request.query.trace_ids.extend(f"{number:032x}" for number in range(1, 401))
                lines = [answer.problems async for answer in stub.ReadSpans(request, metadata=CREDENTIALS)]
    assert str(rig.oracle.verdict(stored_by(answer.traces_data for answer in answers))) == "nothing is wrong"
    assert not any(answer.problems for answer in answers)
    assert len(answers) > 10
    assert len({line for some in lines for line in some}) == 400


@pytest.mark.parametrize("limit", [0, 2**20, 4 * 2**20])
async def test_a_span_of_3_mb(tmp_path: Path, limit: int) -> None:
    """A large span comes alone if it fits; else it is trimmed and reported; all other spans come too."""
    with running_rig(tmp_path) as rig:
        rig.feed(1, 3)
        rig.oracle.feed(rig.netra, big := rig.oracle.late(rig.oracle.trace_ids[0], padding=3_000_000))
        rig.oracle.feed(rig.netra, rig.oracle.late(rig.oracle.trace_ids[0], 2))
        async with serving(rig) as served:
            options = (("grpc.max_receive_message_length", limit),) if limit else ()
            async with grpc.aio.insecure_channel(served.address, options) as channel:
                request = pb.ReadSpansRequest(range=EVER, max_message_bytes=limit)
                call = BridgeServiceStub(channel).ReadSpans(request, metadata=CREDENTIALS)
                answers = [answer async for answer in call]
    sizes = [answer.ByteSize() for answer in answers]
    problems = [problem for answer in answers for problem in answer.problems]
    verdict = rig.oracle.verdict(stored_by(answer.traces_data for answer in answers))
    if limit == 2**20:
        assert verdict.missing == big
        assert max(sizes) <= limit
        assert len(problems) == 1
        assert f"span {big[0][1]}" in problems[0]
        assert [line.partition(":")[0] for line in verdict.altered] == [str(big[0])]
    else:
        assert (max(sizes) > 3_000_000, problems, str(verdict)) == (True, [], "nothing is wrong")


@pytest.mark.faults
async def test_a_client_that_stops_reading_pauses_the_reading_of_netra(tmp_path: Path) -> None:
    """Netra is read only a little ahead; the stalled stream ends at the limit; its token resumes there."""
    with running_rig(tmp_path) as rig:
        rig.feed(150, 4, padding=20_000)
        async with serving(rig, grpc_stall="1s") as served:
            async with grpc.aio.insecure_channel(served.address, SMALL_WINDOW) as channel:
                request = pb.ReadSpansRequest(range=EVER)
                call = BridgeServiceStub(channel).ReadSpans(request, metadata=CREDENTIALS)
                got = [await call.read()]
                calls = [0, rig.calls()]
                while calls[-1] != calls[-2]:
                    await asyncio.sleep(0.2)
                    calls.append(rig.calls())
                assert calls[-1] < 100
                await asyncio.sleep(1.2)  # longer than the stall: a client that reads nothing sees no event
                assert rig.calls() == calls[-1]
                given = await refusal_of(_rest(call, got))
            assert (given.code, given.reason) == ("ABORTED", "READER_STALLED")
            keep(rig.oracle, got + await read(served, range=EVER, resume_token=got[-1].resume_token))


async def test_a_reader_that_reads_nothing_gets_the_status(tmp_path: Path) -> None:
    """A stream whose first message is stuck ends at the limit with its status, and not only for the server."""
    with running_rig(tmp_path) as rig:
        rig.feed(1, 4, padding=500_000)
        async with serving(rig, grpc_stall="200ms") as served:
            async with grpc.aio.insecure_channel(served.address, SMALL_WINDOW) as channel:
                call = BridgeServiceStub(channel).ReadSpans(pb.ReadSpansRequest(range=EVER), metadata=CREDENTIALS)
                await call.initial_metadata()
                await asyncio.sleep(0.4)  # longer than the stall: a client that reads nothing sees no event
                async with asyncio.timeout(SOON_S):
                    given = await refusal_of(call)
            assert (given.code, given.reason) == ("ABORTED", "READER_STALLED")


async def _rest(call: Any, got: list[pb.ReadSpansResponse]) -> None:
    while True:
        got.append(await call.read())
