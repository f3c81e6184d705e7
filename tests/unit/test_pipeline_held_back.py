"""A trace that cannot be read is held back, and delays no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import NetraRejected, NetraUnavailable
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary
from netra_otel_bridge.core.model.outcome import Retry, SpanBatch
from netra_otel_bridge.core.time_text import parse_time_ns
from netra_otel_bridge.emulator.faults import JSON, Answer, Call, Fault
from netra_otel_bridge.pipeline import converting, slow
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.state import held_traces
from tests.support import cli
from tests.support.examples import size, some
from tests.support.fake_clock import FakeClock
from tests.support.in_process import Decision, Life, Netra, Peer, accept, keys_of
from tests.support.oracle import MS, Oracle, written_to
from tests.support.rig import OnPage, Rig, running_rig
from tests.support.streams import stored
from tests.support.waiting import SOON_S

pytestmark = pytest.mark.faults

TRACES = size(16, 40)
HTML = (("Content-Type", "text/html"),)


class SpansFail(Fault):
    """A fault of the spans call of the chosen traces, or of all; ``struck`` counts."""

    def __init__(self, answer: Answer, *trace_ids: str) -> None:
        self.struck = 0
        self._answer = answer
        self._trace_ids = trace_ids

    def instead(self, call: Call, /) -> Answer | None:
        if call.name == "spans" and (not self._trace_ids or any(one in call.path for one in self._trace_ids)):
            self.struck += 1
            return self._answer
        return None


def answer(status: int, body: bytes = b'{"message": "broken"}', headers: Any = (("Content-Type", JSON),)) -> Answer:
    return Answer(status, body, headers)


KINDS = {
    "500": answer(500),
    "400": answer(400),
    "403": answer(403),
    "404": answer(404),
    "405": answer(405),
    "410": answer(410),
    "429": answer(429),
    "302": answer(302, headers=(("Location", "http://127.0.0.1:9/"),)),
    "a web page": answer(200, b"<html>", HTML),
    "no JSON": answer(200, b"{"),
    "another shape": answer(200, b'{"data": {"data": 5, "pageInfo": {"hasNextPage": false}}}'),
    "three items that are no spans": answer(200, b'{"data": {"data": [1, 2, 3], "pageInfo": {"hasNextPage": false}}}'),
    "an empty page": answer(200, b'{"data": {"data": [], "pageInfo": {"hasNextPage": false}}}'),
    "an empty page that promises more": answer(200, b'{"data": {"data": [], "pageInfo": {"hasNextPage": true}}}'),
    "JSON that is nested 1,200 deep": answer(
        200, b'{"data": {"data": [{"id": ' + b"[" * 1200 + b"]" * 1200 + b'}], "pageInfo": {"hasNextPage": false}}}'
    ),
}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with running_rig(tmp_path) as running:
        running.feed(TRACES, 3)
        yield running


def replay(rig: Rig, **env: str) -> cli.Result:
    return rig.replay(None, "--state", str(rig.state), NETRA_BRIDGE_ATTEMPTS="1", **env)


def held_back(rig: Rig, *arguments: str) -> cli.Result:
    return cli.run("state", "held-back", *arguments, "--state", str(rig.state), env=rig.environment())


def due(rig: Rig, *bad: str) -> list[Any]:
    return [key for key in rig.oracle.issued if key[0] not in bad]


@pytest.mark.parametrize("kind", KINDS)
def test_a_replay_delivers_every_other_trace(rig: Rig, kind: str) -> None:
    """The replay ends with 3 and names the trace; once it can be read, the same replay delivers it and nothing else."""
    bad = rig.oracle.trace_ids[4]
    fault = SpansFail(KINDS[kind], bad)
    rig.spoil(fault)
    result = replay(rig)
    (lane,) = result.json["destinations"]
    assert (result.code, lane["held_back"], lane["delivered"]) == (3, 1, (TRACES - 1) * 3)
    assert any(bad in problem for problem in lane["problems"])
    rig.oracle.assert_kept(written_to(rig.file), due=due(rig, bad))
    (stored_trace,) = held_traces(rig.state)
    assert (stored_trace.held.summary.id, stored_trace.held.attempts) == (bad, 2), "a replay tries it twice"
    assert fault.struck >= 2
    rig.spoil()
    result = replay(rig)
    (lane,) = result.json["destinations"]
    assert (result.code, lane["held_back"], lane["delivered"]) == (0, 0, 3)
    assert held_traces(rig.state) == []
    rig.oracle.assert_kept(written_to(rig.file))


@pytest.mark.parametrize("kind", some(3, ["404", "500", "an empty page", "400", "429", "410", "another shape"]))
@pytest.mark.parametrize("first", [0, 15])
def test_many_bad_traces_stop_no_other(rig: Rig, kind: str, first: int) -> None:
    """However many fail in a row, before or after one is read, the others arrive, and the next replay sends the rest."""
    rig.feed(45 - TRACES, 3, start_ns=rig.oracle.start_ns(next(iter(rig.oracle.issued))) + 10**12)
    bad = rig.oracle.trace_ids[first : first + 20]
    rig.spoil(SpansFail(KINDS[kind], *bad))
    result = replay(rig, NETRA_BRIDGE_CONCURRENCY="1")
    (lane,) = result.json["destinations"]
    assert (result.code, lane["held_back"], lane["missing"]) == (3, 20, 0)
    rig.oracle.assert_kept(written_to(rig.file), due=due(rig, *bad))
    assert {one.held.summary.id for one in held_traces(rig.state)} == set(bad)
    rig.spoil()
    assert replay(rig).code == 0
    rig.oracle.assert_kept(written_to(rig.file))


@pytest.mark.parametrize("kind", ["404", "an empty page"])
def test_a_trace_that_netra_no_longer_lists_was_deleted(rig: Rig, kind: str) -> None:
    """It is missing, whether it goes before the first attempt or while it is held back; no state keeps it."""
    first, second = rig.oracle.trace_ids[4:6]
    lists: list[str] = [second]

    def page(name: str, page: dict[str, Any]) -> None:
        if name == "traces" and len(page["data"]["data"]) == 1:
            page["data"]["data"] = [one for one in page["data"]["data"] if one["id"] in lists]

    rig.spoil(SpansFail(KINDS[kind], first, second), OnPage(page))
    result = replay(rig)
    (lane,) = result.json["destinations"]
    assert (result.code, lane["missing"], lane["held_back"]) == (3, 1, 1)
    lists.clear()
    result = replay(rig)
    (lane,) = result.json["destinations"]
    assert (result.code, lane["missing"], lane["held_back"]) == (3, 2, 0)
    assert any(second in problem and "deleted" in problem for problem in lane["problems"])
    assert held_traces(rig.state) == []


def test_a_rate_limit_is_of_everything(rig: Rig) -> None:
    """A 429 to every call of spans from some point on holds nothing back, and the replay ends with 75."""

    class Limited(Fault):
        calls = 0

        def instead(self, call: Call, /) -> Answer | None:
            self.calls += call.name == "spans"
            return answer(429) if call.name == "spans" and self.calls > 5 else None

    rig.spoil(Limited())
    assert replay(rig).code == 75
    assert held_traces(rig.state) == []
    rig.spoil()
    assert replay(rig).code == 0
    rig.oracle.assert_kept(written_to(rig.file))


def test_a_trace_that_recovers_during_the_replay_is_not_held_back(rig: Rig) -> None:
    """The attempt at the end of the replay delivers it."""
    bad = rig.oracle.trace_ids[4]

    class Once(SpansFail):
        def instead(self, call: Call, /) -> Answer | None:
            return None if self.struck else super().instead(call)

    rig.spoil(Once(answer(500), bad))
    result = replay(rig)
    assert (result.code, result.json["destinations"][0]["held_back"]) == (0, 0)
    rig.oracle.assert_kept(written_to(rig.file))


def test_without_a_state_the_same_replay_resumes(rig: Rig) -> None:
    """The checkpoint of a replay without a state stays until nothing is held back."""
    bad = rig.oracle.trace_ids[4]
    rig.spoil(SpansFail(answer(500), bad))
    assert rig.replay(NETRA_BRIDGE_ATTEMPTS="1").code == 3
    rig.spoil()
    result = rig.replay()
    assert (result.code, result.json["destinations"][0]["delivered"]) == (0, 3)
    rig.oracle.assert_kept(written_to(rig.file))


@pytest.mark.parametrize("first", [0, 10])
def test_when_every_trace_fails_it_is_not_the_traces(rig: Rig, first: int) -> None:
    """The replay fails with the error, holds nothing back, and delivers what it had read."""
    bad = rig.oracle.trace_ids[first:]
    rig.spoil(SpansFail(answer(500), *bad))
    result = replay(rig, NETRA_BRIDGE_CONCURRENCY="1")
    assert result.code == (69 if not first else 3)
    assert len(held_traces(rig.state)) == (0 if not first else TRACES - first)
    assert len({key for key, _ in written_to(rig.file)}) == first * 3
    rig.spoil()
    assert replay(rig).code == 0
    rig.oracle.assert_kept(written_to(rig.file))


def test_a_key_that_is_revoked_holds_no_trace_back(rig: Rig) -> None:
    """Every call is rejected: it is the key, and the replay ends with 77."""

    class Revoked(Fault):
        calls = 0

        def instead(self, call: Call, /) -> Answer | None:
            self.calls += call.name == "spans"
            return answer(403) if self.calls > 5 else None

    rig.spoil(Revoked())
    assert replay(rig).code == 77
    assert held_traces(rig.state) == []
    rig.spoil()
    assert replay(rig).code == 0
    rig.oracle.assert_kept(written_to(rig.file))


def test_one_window_that_cannot_be_listed_stops_no_other(rig: Rig) -> None:
    """A replay delivers all other minutes and ends with the error, which names the range; then it sends the rest."""
    bad_ns = rig.oracle.start_ns(next(iter(rig.oracle.issued)))
    rig.feed(10, 3, start_ns=bad_ns + 3 * 3600 * NS_PER_S)
    rig.feed(10, 3, start_ns=bad_ns - 3 * 3600 * NS_PER_S)

    async def listed(self: AsyncNetraClient, start: Any, end: Any, *args: Any, **kwargs: Any) -> Any:
        if parse_time_ns(start, 0) <= bad_ns < parse_time_ns(end, 0):
            raise NetraUnavailable("POST /sdk/traces failed: HTTP 500", status=500)
        return await list_traces(self, start, end, *args, **kwargs)

    list_traces = AsyncNetraClient.list_traces
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(AsyncNetraClient, "list_traces", listed)
        result = replay(rig)
    assert result.code == 69
    assert "listing traces from 20" in result.err
    sent = {key for key, _ in written_to(rig.file)}
    starts = {key: rig.oracle.start_ns(key) for key in rig.oracle.issued}
    assert {key for key, ns in starts.items() if abs(ns - bad_ns) > 60 * NS_PER_S} <= sent
    assert len(sent) < len(starts)
    assert replay(rig).code == 0
    rig.oracle.assert_kept(written_to(rig.file))


def test_a_listing_that_fails_delivers_what_was_read(rig: Rig) -> None:
    """Traces of the pages before the failure arrive, and are recorded."""
    first = rig.oracle.trace_ids[: TRACES // 2]

    def page(name: str, page: dict[str, Any]) -> None:
        if name == "traces":
            page["data"]["data"] = [one for one in page["data"]["data"] if one["id"] in first]
            page["data"]["pageInfo"]["hasNextPage"] = True

    class SecondPage(Fault):
        def instead(self, call: Call, /) -> Answer | None:
            return answer(500) if call.name == "traces" and call.cursor else None

    rig.spoil(OnPage(page), SecondPage())
    assert replay(rig).code == 69
    assert {key[0] for key, _ in written_to(rig.file)} == set(first)
    rig.spoil()
    result = replay(rig)
    assert (result.code, result.json["destinations"][0]["delivered"]) == (0, TRACES // 2 * 3)


def test_an_operator_sees_retries_and_gives_up(rig: Rig) -> None:
    """``state held-back`` lists the reason; a trace that was given up on is not tried, until it is retried."""
    bad = rig.oracle.trace_ids[4]
    fault = SpansFail(answer(500), bad)
    rig.spoil(fault)
    replay(rig)
    listed = held_back(rig)
    assert bad in listed.out
    assert "HTTP 500: broken" in listed.out
    status = cli.run("status", "--state", str(rig.state), env=rig.environment())
    assert "held back because they cannot be read: 1 trace;" in status.out
    given_up = held_back(rig, "--give-up", bad, "--json")
    assert [one["given_up"] for one in given_up.json["held_back"]] == [True]
    before = fault.struck
    assert (replay(rig).code, fault.struck) == (0, before)
    assert held_back(rig, "--retry", "nobody").code == 2
    assert held_back(rig, "--retry").code == 0
    assert (replay(rig).code, fault.struck) == (3, before + 2)
    rig.spoil()
    assert replay(rig).code == 0
    assert "No trace is held back." in held_back(rig).out
    rig.oracle.assert_kept(written_to(rig.file))


class Broken(Netra):
    """A Netra that counts the attempts to read the spans of its ``bad`` traces."""

    tried = 0

    async def list_spans_by_trace_id(self, trace_id: str, *args: Any, **kwargs: Any) -> Any:
        self.tried += trace_id in self.bad
        return await super().list_spans_by_trace_id(trace_id, *args, **kwargs)


async def test_live_traffic_goes_on_and_pauses_grow(tmp_path: Path) -> None:
    """A bad trace is tried after a minute, then after two, and so on; others arrive meanwhile, and it does at last."""
    clock = FakeClock()
    oracle = Oracle(start_ns=clock.now_ns() - 3600 * NS_PER_S // MS * MS)
    oracle.traces(12, 2)
    netra, peer = Broken(stored(oracle), clock), Peer()
    bad = oracle.trace_ids[0]
    netra.bad = {bad}
    life = Life(tmp_path / "state", netra, peer, clock, clock.now_ns() - 7200 * NS_PER_S, 10 * NS_PER_S)
    tries = []
    for _ in range(60):
        assert await life.poll()
        tries.append(netra.tried)
    assert life.follower.health().held_back == 1
    assert life.follower.health().problem == ""
    pauses_s = [10 * tries.count(number) for number in (1, 2, 3)]
    assert all(pause_s <= waited_s <= pause_s + 20 for pause_s, waited_s in zip((60, 120, 240), pauses_s, strict=True))
    assert peer.sent.keys == {key for key in oracle.issued if key[0] != bad}
    netra.bad = set()
    for _ in range(120):
        assert await life.poll()
    oracle.assert_kept(peer.sent)
    assert life.follower.health().held_back == 0
    await life.stop()


async def test_a_control_that_cannot_be_read_itself_stops_nothing(tmp_path: Path) -> None:
    """Of the traces that were delivered before, some are broken now: a new one that breaks is still held back."""
    clock = FakeClock()
    oracle = Oracle(start_ns=clock.now_ns() - 3600 * NS_PER_S // MS * MS)
    oracle.traces(8, 1)
    store = stored(oracle)
    netra, peer = Broken(store, clock), Peer()
    life = Life(tmp_path / "state", netra, peer, clock, clock.now_ns() - 7200 * NS_PER_S, 10 * NS_PER_S)
    assert await life.poll()
    oracle.feed(store, oracle.traces(1, 1, start_ns=clock.now_ns() - 120 * NS_PER_S))
    netra.bad = {oracle.trace_ids[0], oracle.trace_ids[-1]}
    for _ in range(5):
        assert await life.poll()
    assert (life.follower.health().held_back, life.follower.health().problem) == (1, "")
    await life.stop()


async def test_netra_that_rejects_the_question_is_judged_by_what_it_reads(tmp_path: Path) -> None:
    """Netra rejects the range before its retention, and each listing of one trace: a bad trace is held back all the same."""
    clock = FakeClock()

    class Choosy(Broken):
        async def list_traces(self, start_time: Any, *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("trace_id") or start_time.startswith("1970"):
                raise NetraRejected("HTTP 400: startTime is before retention", status=400)
            return await super().list_traces(start_time, *args, **kwargs)

    oracle = Oracle(start_ns=clock.now_ns() - 3600 * NS_PER_S // MS * MS)
    oracle.traces(8, 1)
    netra, peer = Choosy(stored(oracle), clock), Peer()
    netra.bad = set(oracle.trace_ids[:3])
    life = Life(tmp_path / "state", netra, peer, clock, clock.now_ns() - 7200 * NS_PER_S, 10 * NS_PER_S)
    for _ in range(3):
        assert await life.poll()
    assert (life.follower.health().held_back, life.follower.health().problem) == (3, "")
    assert peer.sent.keys == {key for key in oracle.issued if key[0] not in netra.bad}
    await life.stop()


class Hanging(Broken):
    """A Netra that does not answer for the spans of ``hangs`` until it is set right; ``ended`` counts failed calls."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.hangs: set[str] = set()
        self.right = asyncio.Event()

    async def list_spans_by_trace_id(self, trace_id: str, *args: Any, **kwargs: Any) -> Any:
        if trace_id in self.hangs:
            self.tried += 1
            await self.right.wait()
            if trace_id in self.hangs:
                raise NetraUnavailable("no complete response within 10 s")
        return await super().list_spans_by_trace_id(trace_id, *args, **kwargs)

    async def end(self) -> None:
        """End the calls that hang."""
        self.right.set()
        await asyncio.sleep(0.05)
        self.right.clear()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set slow traces aside after a tenth of a second."""
    monkeypatch.setattr(slow, "PATIENCE_S", 0.1)
    monkeypatch.setattr(slow, "LOOK_S", 0.02)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("hanging", [1, 6])
async def test_a_trace_that_hangs_delays_no_poll(tmp_path: Path, hanging: int) -> None:
    """Polls go on while it is read apart, its failures count as attempts, and it arrives once Netra answers."""
    clock = FakeClock()
    oracle = Oracle(start_ns=clock.now_ns() - 3600 * NS_PER_S // MS * MS)
    oracle.traces(8, 1)
    store = stored(oracle)
    netra, peer = Hanging(store, clock), Peer()
    netra.hangs = set(oracle.trace_ids[:hanging])
    life = Life(tmp_path / "state", netra, peer, clock, clock.now_ns() - 7200 * NS_PER_S, 10 * NS_PER_S)
    for _ in range(4):
        oracle.feed(store, oracle.traces(1, 1, start_ns=clock.now_ns() - 60 * NS_PER_S))
        began = time.monotonic()
        assert await life.poll()
        assert time.monotonic() - began < SOON_S
        assert peer.sent.keys == {key for key in oracle.issued if key[0] not in netra.hangs}
    assert (life.follower.health().held_back, life.follower.health().problem) == (hanging, "")
    assert netra.tried == hanging + min(hanging, slow.FEW), "once in a pass, and once apart"
    await netra.end()
    assert await life.poll()
    attempts = [held.attempts for held in life.recorder.held_back.values()]
    assert attempts.count(2) == min(hanging, slow.FEW)
    netra.hangs = set()
    for _ in range(60):
        await netra.end()
        assert await life.poll()
    oracle.assert_kept(peer.sent)
    assert life.follower.health().held_back == 0
    await life.stop()


@pytest.mark.usefixtures("impatient")
async def test_a_netra_that_hangs_for_everything_holds_nothing_back(tmp_path: Path) -> None:
    """If nothing else can be read either, the pass waits for it and fails."""
    clock = FakeClock()
    oracle = Oracle(start_ns=clock.now_ns() - 3600 * NS_PER_S // MS * MS)
    oracle.traces(3, 1)
    store = stored(oracle)
    netra, peer = Hanging(store, clock), Peer()
    life = Life(tmp_path / "state", netra, peer, clock, clock.now_ns() - 7200 * NS_PER_S, 10 * NS_PER_S)
    assert await life.poll()
    oracle.feed(store, oracle.traces(2, 1, start_ns=clock.now_ns() - 60 * NS_PER_S))
    netra.hangs = set(oracle.trace_ids)
    polling = asyncio.create_task(life.poll())
    await asyncio.sleep(0.5)
    await netra.end()
    assert await polling
    assert life.follower.health().held_back == 0
    assert "no complete response" in life.follower.health().problem
    netra.hangs = set()
    assert await life.poll()
    oracle.assert_kept(peer.sent)
    await life.stop()


async def test_a_trace_that_the_destination_fails_for_stops_no_other(tmp_path: Path) -> None:
    """It is held back with the destination's words, alone in a pass too, and arrives once it is accepted."""
    clock = FakeClock()
    oracle = Oracle(start_ns=clock.now_ns() - 3600 * NS_PER_S // MS * MS)
    oracle.traces(8, 2)
    store = stored(oracle)
    bad = {oracle.trace_ids[3]}

    def judge(batch: SpanBatch) -> Decision:
        if bad & {key[0] for key in keys_of(batch)}:
            return Decision(Retry("HTTP 500: index out of range", answered=True), stores=False)
        return Decision()

    peer = Peer(judge=judge)
    life = Life(tmp_path / "state", Netra(store, clock), peer, clock, clock.now_ns() - 7200 * NS_PER_S, 10 * NS_PER_S)
    for _ in range(80):
        assert await life.poll()
        assert peer.sent.keys == {key for key in oracle.issued if key[0] not in bad}
        assert (life.follower.health().held_back, life.follower.health().problem) == (1, "")
    (held,) = life.recorder.held_back.values()
    assert "HTTP 500: index out of range" in held.reason
    assert 3 <= held.attempts <= 6
    bad.clear()
    for _ in range(400):
        assert await life.poll()
        if not life.follower.health().held_back:
            break
    for _ in range(20):
        assert await life.poll()
    oracle.assert_kept(peer.sent)
    assert life.follower.health().held_back == 0
    await life.stop()


async def test_a_destination_that_fails_for_everything_holds_nothing_back(tmp_path: Path) -> None:
    """While every request fails, the lane waits, however few traces there are; afterwards it delivers all."""
    clock = FakeClock()
    oracle = Oracle(start_ns=clock.now_ns() - 3600 * NS_PER_S // MS * MS)
    oracle.traces(1, 1)
    store = stored(oracle)
    down = Decision(Retry("HTTP 500", answered=True), stores=False)
    peer = Peer(judge=lambda _: down)
    life = Life(tmp_path / "state", Netra(store, clock), peer, clock, clock.now_ns() - 7200 * NS_PER_S, 10 * NS_PER_S)
    for _ in range(5):
        oracle.feed(store, oracle.traces(2, 1, start_ns=clock.now_ns() - 60 * NS_PER_S))
        assert await life.poll()
        assert life.follower.health().held_back == 0
        assert "HTTP 500" in life.follower.health().problem
    peer.judge = accept
    for _ in range(3):
        assert await life.poll()
    oracle.assert_kept(peer.sent)
    assert life.follower.health().problem == ""
    await life.stop()


@pytest.mark.faults
@pytest.mark.parametrize("step", some(1, ["encode", "convert"]))
def test_a_large_trace_that_fails_in_a_later_part_is_held_back(
    rig: Rig, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its earlier parts delivered is recorded; the next replay sends the rest of it, and nothing twice."""
    rig.feed(1, 1300, start_ns=rig.oracle.start_ns(next(iter(rig.oracle.issued))) + 10**12)
    large = rig.oracle.trace_ids[-1]
    broken = int(rig.oracle.span_ids(large)[1200][1], 16)
    convert, encode = SpanConverter.convert, converting.encode_span

    def fails_to_convert(self: SpanConverter, span: TraceSpan, trace: TraceSummary | None) -> ReadableSpan:
        if int(span.id, 16) == broken:
            raise ValueError("a defect of conversion")
        return convert(self, span, trace)

    def fails_to_encode(span: ReadableSpan) -> bytes:
        if span.context.span_id == broken:
            raise ValueError("a defect of encoding")
        return encode(span)

    with monkeypatch.context() as patched:
        if step == "convert":
            patched.setattr(SpanConverter, "convert", fails_to_convert)
        else:
            patched.setattr(converting, "encode_span", fails_to_encode)
        result = replay(rig)
    (lane,) = result.json["destinations"]
    assert (result.code, lane["held_back"]) == (3, 1)
    verdict = rig.oracle.verdict(written_to(rig.file))
    assert verdict.sound
    assert TRACES * 3 < len(written_to(rig.file)) < len(rig.oracle)
    assert {key[0] for key in verdict.missing} == {large}
    assert replay(rig).code == 0
    rig.oracle.assert_kept(written_to(rig.file))
