"""Status, usage and replays over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from netra_otel_bridge.service.rpc import handlers as rpc_service
from netra_otel_bridge.service.rpc import replays
from netra_otel_bridge.v1 import bridge_pb2 as pb
from tests.support.emulator import START_NS, otlp_document, otlp_span
from tests.support.fake_destination import Hang, Received, Reject
from tests.support.http2 import RawCall
from tests.support.judging_destination import JudgingDestination, span_ids
from tests.support.oracle import stored_by, written_to
from tests.support.rig import Rig, running_rig
from tests.support.rpc import CREDENTIALS, EVER, Served, answered, full, refusal_of, serving
from tests.support.waiting import DEADLINE_S, until

RUNNING, DONE = pb.REPLAY_STATE_RUNNING, pb.REPLAY_STATE_DONE
FAILED, CANCELLED = pb.REPLAY_STATE_FAILED, pb.REPLAY_STATE_CANCELLED
TRACES, SPANS = 12, 4
NOWHERE = "otlp+grpc://127.0.0.1:9"
DAY_S = 86_400
DAYS = pb.TimeRange(
    start_time=Timestamp(seconds=START_NS // 10**9 - DAY_S), end_time=Timestamp(seconds=START_NS // 10**9 + DAY_S)
)


class Pausing(JudgingDestination):
    """A destination that accepts three requests, then blocks until it is released."""

    def __init__(self) -> None:
        super().__init__(self._pause)
        self.goes_on = False
        self.paused = False

    def _pause(self, _: Received) -> Hang | None:
        self.paused = len(self.received) >= 3 and not self.goes_on
        return Hang() if self.paused else None

    async def until_paused(self) -> int:
        """Wait until it blocks; return the number of spans that it has."""
        async with asyncio.timeout(DEADLINE_S):
            while not self.paused:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return len(stored_by(self.stored))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with running_rig(tmp_path) as running:
        running.feed(TRACES, SPANS)
        yield running


@pytest.fixture
async def served(rig: Rig) -> AsyncIterator[Served]:
    async with serving(rig) as running:
        yield running


async def start(served: Served, **request: Any) -> pb.Replay:
    asked = pb.StartReplayRequest(**{"range": DAYS, **request})
    replay: pb.Replay = (await served.stub.StartReplay(asked, metadata=CREDENTIALS)).replay
    return replay


async def watched(served: Served, replay: pb.Replay) -> list[pb.Replay]:
    async with asyncio.timeout(DEADLINE_S):
        call = served.stub.WatchReplay(pb.WatchReplayRequest(replay_id=replay.id), metadata=CREDENTIALS)
        return [answer.replay async for answer in call]


async def cancelled(served: Served, replay: pb.Replay) -> pb.Replay:
    request = pb.CancelReplayRequest(replay_id=replay.id)
    answer: pb.Replay = (await served.stub.CancelReplay(request, metadata=CREDENTIALS)).replay
    return answer


async def listed(served: Served) -> list[pb.Replay]:
    return list((await served.stub.ListReplays(pb.ListReplaysRequest(), metadata=CREDENTIALS)).replays)


async def test_a_replay_copies_everything_and_tells_of_it(rig: Rig, served: Served) -> None:
    """A replay starts at once, can be watched to its end, stays in the list, and delivers every span once."""
    replay = await start(served)
    assert (replay.state, replay.range, replay.HasField("ended_time")) == (RUNNING, DAYS, False)
    last = (await watched(served, replay))[-1]
    (progress,) = last.destinations
    assert (last.state, progress.name, progress.exit_code) == (DONE, f"otlp-file:{rig.file}", 0)
    assert (progress.traces, progress.spans, progress.delivered) == (TRACES, TRACES * SPANS, TRACES * SPANS)
    assert last.started_time.ToNanoseconds() <= last.ended_time.ToNanoseconds()
    assert not last.HasField("error")
    assert await listed(served) == [last]
    assert await watched(served, replay) == [last]
    assert await cancelled(served, replay) == last
    rig.oracle.assert_kept(written_to(rig.file))
    assert list((rig.state / "replays").iterdir()) == []


async def test_to_start_the_same_again_finds_it(rig: Rig) -> None:
    """Equal requests share one replay and id; other requests are limited in number."""

    def since(seconds: int) -> pb.TimeRange:
        start_time = Timestamp(seconds=DAYS.start_time.seconds + seconds)
        return pb.TimeRange(start_time=start_time, end_time=DAYS.end_time)

    everything = pb.TraceQuery(filters=[pb.TraceFilter(field="environment", text="rig")])
    async with serving(rig, to=NOWHERE, attempts=100) as served:
        first = await start(served)
        assert (await start(served, destinations=[NOWHERE, NOWHERE])).id == first.id
        others = [
            await start(served, query=everything),
            await start(served, verify=True),
            await start(served, range=since(1)),
        ]
        assert len({first.id, *(other.id for other in others)}) == 4
        assert [one.id for one in await listed(served)] == [one.id for one in (*others[::-1], first)]
        request = pb.StartReplayRequest(range=since(2))
        given = await refusal_of(served.stub.StartReplay(request, metadata=CREDENTIALS))
        assert (given.code, given.reason, given.retry_s) == ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", 30.0)
        assert (await start(served)).id == first.id
        assert (await cancelled(served, first)).state == CANCELLED
        assert (await start(served, range=since(2))).state == RUNNING


async def test_cancelled_it_goes_on_where_it_was(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """When CancelReplay returns, progress is recorded and watchers know; nothing is sent twice."""
    monkeypatch.setattr("netra_otel_bridge.pipeline.delivering.DRAIN_S", 0.2)
    with Pausing() as fake:
        async with serving(rig, to=fake.grpc_url, batch_spans=4) as served:
            replay = await start(served)
            call = served.stub.WatchReplay(pb.WatchReplayRequest(replay_id=replay.id), metadata=CREDENTIALS)
            before = await fake.until_paused()
            last = await cancelled(served, replay)
            assert (last.state, last.destinations[0].delivered) == (CANCELLED, before)
            assert [answer.replay async for answer in call][-1] == last
            fake.goes_on = True
            again = await start(served)
            assert again.id == replay.id
            (progress,) = (await watched(served, again))[-1].destinations
            assert (progress.delivered, progress.skipped) == (TRACES * SPANS - before, before)
        assert 0 < before < len(rig.oracle)
        rig.oracle.assert_kept(stored_by(fake.stored))


async def test_after_a_restart_it_resumes_where_it_stopped(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restarted server does not know the replay but has its checkpoint: started again, it resumes under the same id."""
    monkeypatch.setattr("netra_otel_bridge.pipeline.delivering.DRAIN_S", 0.2)
    with Pausing() as fake:
        async with serving(rig, to=fake.grpc_url, batch_spans=4) as served:
            replay = await start(served)
            before = await fake.until_paused()
        fake.goes_on = True
        async with serving(rig, to=fake.grpc_url, batch_spans=4) as served:
            request = pb.WatchReplayRequest(replay_id=replay.id)
            given = await refusal_of(served.stub.WatchReplay(request, metadata=CREDENTIALS))
            assert (given.code, given.reason) == ("NOT_FOUND", "REPLAY_NOT_FOUND")
            assert "start it again" in given.hint
            again = await start(served)
            assert again.id == replay.id
            (progress,) = (await watched(served, again))[-1].destinations
            assert progress.delivered == TRACES * SPANS - before
        assert 0 < before < len(rig.oracle)
        rig.oracle.assert_kept(stored_by(fake.stored))


async def test_a_watch_whose_client_does_not_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call of a watcher that does not read ends at the limit, and makes room for another."""
    long = pb.Replay(state=RUNNING, destinations=[pb.ReplayProgress(problems=["x" * 1000] * 200)])
    async with serving(rig, to=NOWHERE, attempts=100, grpc_calls=1, grpc_stall="2s") as served:
        replay = await start(served)
        monkeypatch.setattr(replays.Replay, "message", lambda _: long)
        request = pb.WatchReplayRequest(replay_id=replay.id)
        with await asyncio.to_thread(RawCall, served.address, "WatchReplay", request):
            await until(lambda: full(served))
            await until(lambda: answered(served))


async def test_dead_letters_are_counted_named_and_kept(rig: Rig) -> None:
    """If a destination rejects some spans, the replay is done with exit code 3, and the dead letters are kept."""
    poison = rig.oracle.span_ids(rig.oracle.trace_ids[3])[1]
    reject = Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "not this one")
    with JudgingDestination(lambda received: reject if poison[1] in span_ids(received) else None) as fake:
        async with serving(rig, to=fake.grpc_url) as served:
            last = (await watched(served, await start(served)))[-1]
        sent = stored_by(fake.stored)
    (progress,) = last.destinations
    assert (last.state, progress.dead_lettered, progress.delivered) == (DONE, 1, TRACES * SPANS - 1)
    assert progress.exit_code == 3
    assert any("not this one" in problem for problem in progress.problems)
    assert rig.oracle.verdict(sent).missing == [poison]
    assert list((rig.state / "replays").iterdir())


async def test_a_destination_that_fails(rig: Rig) -> None:
    """The failed replay names the destination, the cause and the next step; the other destination has everything."""
    async with serving(rig, to=f"{NOWHERE},otlp-file:{rig.file}") as served:
        last = (await watched(served, await start(served)))[-1]
    by_name = {progress.name: progress for progress in last.destinations}
    failed = by_name[NOWHERE]
    assert (last.state, failed.error.reason, failed.exit_code) == (FAILED, "DESTINATION_UNAVAILABLE", 69)
    assert failed.error.message
    assert by_name[f"otlp-file:{rig.file}"].delivered == TRACES * SPANS
    rig.oracle.assert_kept(written_to(rig.file))


async def test_netra_that_fails(rig: Rig) -> None:
    """The reason is that of Netra's error."""
    async with serving(rig) as served:
        rig.netra.set_faults("unauthorized-after=0")
        last = (await watched(served, await start(served)))[-1]
        assert last.state == FAILED
        reasons = {last.error.reason, *(progress.error.reason for progress in last.destinations)}
        assert "NETRA_UNAUTHORIZED" in reasons


@pytest.mark.parametrize("name", ["jaeger", NOWHERE, "console", "otlp-file:/etc/passwd", ""])
async def test_only_destinations_of_the_configuration(rig: Rig, served: Served, name: str) -> None:
    """Callers cannot choose destinations that the configuration does not name."""
    request = pb.StartReplayRequest(range=DAYS, destinations=[name])
    given = await refusal_of(served.stub.StartReplay(request, metadata=CREDENTIALS))
    assert (given.code, given.reason) == ("INVALID_ARGUMENT", "DESTINATION_UNKNOWN")
    assert f"otlp-file:{rig.file}" in given.hint
    assert await listed(served) == []


@pytest.mark.parametrize("method", ["WatchReplay", "CancelReplay"])
async def test_a_replay_that_is_not_there(served: Served, method: str) -> None:
    """Any unknown id is NOT_FOUND, also one that is a path."""
    for replay_id in ("", "0" * 16, "../../etc", "x" * 5000):
        request = getattr(pb, f"{method}Request")(replay_id=replay_id)
        given = await refusal_of(getattr(served.stub, method)(request, metadata=CREDENTIALS))
        assert (given.code, given.reason) == ("NOT_FOUND", "REPLAY_NOT_FOUND")
        assert len(given.message) < 200


async def test_the_list_does_not_grow_for_ever(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list keeps the latest replays that ended."""
    monkeypatch.setattr(replays, "MAX_KEPT", 3)
    begun = []
    for number in range(6):
        begun.append(await start(served, query=pb.TraceQuery(tenant_id=f"t{number}")))
        await watched(served, begun[-1])
    assert [replay.id for replay in await listed(served)][:3] == [replay.id for replay in begun[:2:-1]]
    assert len(await listed(served)) <= 4


async def test_usage_that_netra_does_not_answer_in_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call ends with Netra's reason before its own deadline."""
    monkeypatch.setattr(rpc_service, "NETRA_S", 0.3)
    async with serving(rig) as served:
        rig.netra.set_faults("hang=1000")
        request = pb.GetTenantUsageRequest(tenant_id="Globex", range=EVER)
        given = await refusal_of(served.stub.GetTenantUsage(request, metadata=CREDENTIALS))
    assert (given.code, given.reason, given.retry_s) == ("UNAVAILABLE", "NETRA_UNAVAILABLE", 30.0)


async def test_the_usage_of_tenants_and_sessions(rig: Rig, served: Served) -> None:
    """Every field has the value of Netra's API and of the command."""
    mine = {"netra.tenant_id": "Globex", "netra.session_id": "s-1", "gen_ai.usage.prompt_tokens": 30}
    spans = [
        otlp_span(9, 900 + n, attributes={**mine, "llm.request.type": "chat", "gen_ai.request.model": "gpt-4o"})
        for n in range(2)
    ]
    rig.netra.ingest(rig_document(spans))
    tenant = await served.stub.GetTenantUsage(
        pb.GetTenantUsageRequest(tenant_id="Globex", range=EVER), metadata=CREDENTIALS
    )
    session = await served.stub.GetSessionUsage(
        pb.GetSessionUsageRequest(session_id="s-1", range=EVER), metadata=CREDENTIALS
    )
    assert (tenant.tenant_id, tenant.organisation_id, tenant.token_count) == ("Globex", "org-local", 60)
    assert (tenant.request_count, tenant.session_count) == (2, 1)
    assert (session.session_id, session.token_count, session.request_count) == ("s-1", 60, 2)
    assert tenant.total_cost == session.total_cost > 0


def rig_document(spans: list[dict[str, Any]]) -> Any:
    from netra_otel_bridge.emulator.otlp import read_document

    return read_document(otlp_document(*spans))


async def test_usage_of_nobody(served: Served) -> None:
    """An unknown name is NOT_FOUND with its own reason; a missing name or range is INVALID_ARGUMENT."""
    for kind in ("tenant", "session"):
        request = getattr(pb, f"Get{kind.title()}UsageRequest")
        call = getattr(served.stub, f"Get{kind.title()}Usage")
        given = await refusal_of(call(request(**{f"{kind}_id": "nobody", "range": EVER}), metadata=CREDENTIALS))
        assert (given.code, given.reason) == ("NOT_FOUND", f"{kind.upper()}_NOT_FOUND")
        given = await refusal_of(call(request(range=EVER), metadata=CREDENTIALS))
        assert (given.code, given.reason) == ("INVALID_ARGUMENT", "ARGUMENT_INVALID")
        given = await refusal_of(call(request(**{f"{kind}_id": "x"}), metadata=CREDENTIALS))
        assert (given.code, given.reason) == ("INVALID_ARGUMENT", "ARGUMENT_INVALID")


@pytest.mark.parametrize(
    ("fault", "code", "reason", "waits"),
    [
        ("status-503=9", "UNAVAILABLE", "NETRA_UNAVAILABLE", True),
        ("status-429=9", "UNAVAILABLE", "NETRA_RATE_LIMITED", True),
        ("unauthorized-after=0", "FAILED_PRECONDITION", "NETRA_UNAUTHORIZED", False),
        ("html", "FAILED_PRECONDITION", "NETRA_NOT_FOUND", False),
        ("wrong-shape", "INTERNAL", "NETRA_ANSWER", False),
        ("status-400=9", "INVALID_ARGUMENT", "ARGUMENT_INVALID", False),
    ],
)
async def test_what_netra_answers_is_told(
    rig: Rig, served: Served, fault: str, code: str, reason: str, waits: bool
) -> None:
    """The status names the failure of Netra, and the next call succeeds."""
    rig.netra.set_faults(fault)
    request = pb.ReadSpansRequest(range=EVER)
    given = await refusal_of(served.stub.ReadSpans(request, metadata=CREDENTIALS))
    assert (given.code, given.reason, given.retry_s is not None) == (code, reason, waits)
    rig.netra.set_faults()
    assert [answer async for answer in served.stub.ReadSpans(request, metadata=CREDENTIALS)]


async def test_the_status_of_a_service_that_does_all(rig: Rig) -> None:
    """The status has lanes, usage and calls to Netra; parts that are switched off are absent."""
    async with serving(rig, traces=True, usage=True) as served:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                status = await served.stub.GetStatus(pb.GetStatusRequest(), metadata=CREDENTIALS)
                if status.ready:
                    break
                await asyncio.sleep(0.05)
        assert [lane.name for lane in status.lanes] == [f"otlp-file:{rig.file}"]
        assert status.lanes[0].passes > 0
        assert status.usage.polled_time.seconds > 0
        assert status.api_calls[200] > 0
        assert status.version
