"""What is expected of a store, from Netra: the checksums are those that a replay records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge import Bridge, StateStore
from netra_otel_bridge.convert import otlp_trace_id
from netra_otel_bridge.core.errors import NetraUnavailable, NotKnown
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.emulator.faults import JSON, Answer, Call, Fault
from netra_otel_bridge.pipeline import fetching
from netra_otel_bridge.pipeline.expected_netra import ExpectedFromNetra, ListedTraces, SentFromNetra
from netra_otel_bridge.readback.expected import ExpectedTrace
from netra_otel_bridge.readback.expected_state import ExpectedFromState
from netra_otel_bridge.readback.sent_ids import SentIds
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.state import read_status
from tests.support.rig import OnPage, Rig, running_rig

TRACES, SPANS = 12, 5


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with running_rig(tmp_path) as made:
        made.feed(TRACES, SPANS)
        yield made


@pytest.fixture
def copied(rig: Rig) -> Rig:
    """Copy everything to a file, with a state."""
    assert rig.replay(None, "--state", str(rig.state)).code == 0
    return rig


class Sources:
    """The sources of one bridge."""

    def __init__(self, rig: Rig, client: AsyncNetraClient, store: StateStore) -> None:
        self.bridge = Bridge(environ=rig.environment(), window="1d")
        self.client = client
        from_, until = rig.range()[1::2]
        self.window: Window = self.bridge.window(from_=from_, until=until)
        self._seen = store.lane("", "")
        self._seen.start_pass()

    def listed(self, *queries: TraceQuery, at_random: int | None = None) -> ListedTraces:
        wanted = queries or (TraceQuery(),)
        return ListedTraces(self.client, self.window, 6 * 3600 * 10**9, wanted, self._seen.first_listed, at_random)

    def expected(self, listed: ListedTraces | None = None) -> ExpectedFromNetra:
        return ExpectedFromNetra(
            self.client,
            self.bridge.converter(),
            self.window,
            listed if listed is not None else self.listed(),
            SentIds(),
            held_bytes=10**6,
            concurrency=4,
        )

    def sent(self, ids: SentIds) -> SentFromNetra:
        return SentFromNetra(self.client, self.bridge.converter(), self.window, ids, 10**6)


@pytest.fixture
async def sources(rig: Rig) -> Any:
    bridge = Bridge(environ=rig.environment())
    with StateStore.temporary(bridge.clock) as store:
        async with bridge.async_client(attempts=1) as client:
            yield Sources(rig, client, store)


async def traces_of(one: ExpectedFromNetra | ExpectedFromState) -> dict[str, ExpectedTrace]:
    found = [trace async for chunk in one for trace in chunk]
    assert len({trace.trace_id for trace in found}) == len(found)
    return {trace.trace_id: trace for trace in found}


def entries(trace: ExpectedTrace) -> set[bytes]:
    return {trace.spans[at : at + 12] for at in range(0, len(trace.spans), 12)}


@pytest.mark.parametrize("part_spans", [2, 1000])
async def test_checksums_are_those_of_a_replay(
    copied: Rig, sources: Sources, monkeypatch: pytest.MonkeyPatch, part_spans: int
) -> None:
    """Each trace has the spans, carriers and start that a replay with the same settings records, in parts too."""
    monkeypatch.setattr(fetching, "PART_SPANS", part_spans)
    (lane,) = read_status(copied.state).lanes
    with sources.bridge.open_state(copied.state) as store:
        answered = store.answered(lane.destination, None, otlp_trace_id)
        recorded = await traces_of(ExpectedFromState(answered, sources.window, SentIds()))
    one = sources.expected()
    from_netra = await traces_of(one)
    assert len(from_netra) == TRACES
    assert from_netra.keys() == recorded.keys()
    for trace_id, trace in from_netra.items():
        known = recorded[trace_id]
        assert (entries(trace), trace.carriers, trace.start_ns) == (entries(known), known.carriers, known.start_ns)
    assert one.findings() == []


async def test_what_cannot_be_read_is_pending_and_what_is_no_span_unreadable(rig: Rig, sources: Sources) -> None:
    """One trace that Netra cannot show counts as one, and ends nothing; an item that is no span counts as one."""
    bad, odd, *_ = dict.fromkeys(trace_id for trace_id, _ in rig.oracle.issued)

    def spoil(name: str, page: dict[str, Any]) -> None:
        if name == "spans" and any((odd, item["id"]) in rig.oracle.issued for item in page["data"]["data"]):
            page["data"]["data"].append("no span")

    rig.spoil(_SpansFail(bad), OnPage(spoil))
    one = sources.expected()
    found = await traces_of(one)
    assert len(found) == TRACES - 1
    assert bad not in found
    assert [(it.kind, it.count, it.samples) for it in one.findings()] == [
        ("unreadable", 1, ((odd, ""),)),
        ("pending", 1, ((bad, ""),)),
    ]


class _SpansFail(Fault):
    def __init__(self, trace_id: str) -> None:
        self._trace_id = trace_id

    def instead(self, call: Call, /) -> Answer | None:
        if call.name == "spans" and self._trace_id in call.path:
            return Answer(500, b'{"message": "broken"}', (("Content-Type", JSON),))
        return None


async def test_when_netra_fails_for_everything_that_is_the_error(rig: Rig, sources: Sources) -> None:
    """A Netra that is down says nothing about any trace."""
    rig.spoil(_SpansFail(""))
    with pytest.raises(NetraUnavailable):
        await traces_of(sources.expected())


async def test_traces_are_listed_once_for_all_queries(rig: Rig, sources: Sources) -> None:
    """A trace that two queries find comes once; an id that Netra does not list is known afterwards."""
    first, second, *_ = dict.fromkeys(trace_id for trace_id, _ in rig.oracle.issued)
    listed = sources.listed(TraceQuery(trace_ids=(first, second)), TraceQuery(trace_ids=(second, "f" * 32)))
    one = sources.expected(listed)
    assert set(await traces_of(one)) == {first, second}
    assert listed.unlisted == {"f" * 32}
    assert [(it.kind, it.count) for it in one.findings()] == [("pending", 1)]


async def test_a_sample_is_read_and_all_are_counted(rig: Rig, sources: Sources) -> None:
    """Only the chosen traces are read from Netra."""
    listed = sources.listed(at_random=3)
    before = rig.calls()
    assert len(await traces_of(sources.expected(listed))) == 3
    assert listed.seen == TRACES
    assert len([ids async for ids in sources.listed(at_random=3).ids()]) <= 1
    assert rig.calls() - before < 60


async def test_spans_are_converted_again_by_their_ids(rig: Rig, sources: Sources) -> None:
    """A trace is found by the id under which it was sent; one that Netra does not have is not known."""
    trace_id = next(iter(rig.oracle.issued))[0]
    ids = SentIds()
    sent = sources.sent(ids)
    spans = await sent.spans(ids.sent(trace_id))
    assert {f"{span_id:016x}" for span_id in spans} == {key[1] for key in rig.oracle.issued if key[0] == trace_id}
    assert sent.calls >= 2
    with pytest.raises(NotKnown, match="no longer lists"):
        await sent.spans("f" * 32)
