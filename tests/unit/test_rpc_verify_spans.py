"""VerifySpans over gRPC: what the service delivered is read back from a store that the test scripts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from netra_otel_bridge.bridge import verify as bridge_verify
from netra_otel_bridge.core.errors import (
    BridgeError,
    DestinationMisconfigured,
    DestinationUnauthorized,
    DestinationUnavailable,
)
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.readback import search, waiting
from netra_otel_bridge.readback.reader import TraceNotReturned
from netra_otel_bridge.service.rpc import messages
from netra_otel_bridge.v1 import bridge_pb2 as pb
from tests.support.http2 import RawCall
from tests.support.rig import Rig, running_rig
from tests.support.rpc import Served, answered, full, serving, stamp
from tests.support.scripted_store import stored
from tests.support.verifying import Store, change, cut, opened, refusal, verified, whole
from tests.support.waiting import DEADLINE_S, until

TRACES, SPANS = 6, 4
ALL = TRACES * SPANS
AT = "jaeger+grpc://127.0.0.1:16685"
NOWHERE = "otlp+grpc://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait a minute before a span is missing."""
    monkeypatch.setattr(waiting, "SHOWN_AFTER_S", 0.0)
    monkeypatch.setattr(waiting, "FIRST_WAIT_S", 0.01)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Run a Netra with `TRACES` traces, all delivered to a file, with the state that the services use."""
    with running_rig(tmp_path_factory.mktemp("rig")) as made:
        made.feed(TRACES, SPANS)
        assert made.replay(None, "--state", str(made.state)).code == 0
        yield made


@pytest.fixture
def store(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Make `AT` a store that has all that was delivered to the file."""
    reader = Store(stored(rig.file), concurrency=1)
    monkeypatch.setattr(bridge_verify, "open_reader", lambda *_, **__: reader)
    return reader


@pytest.fixture
async def served(rig: Rig) -> AsyncIterator[Served]:
    async with serving(rig, verify_at=AT) as running:
        yield running


async def test_a_store_that_has_everything(rig: Rig, served: Served, store: Store) -> None:
    """There is no finding, the summary counts every span, and Netra is not asked."""
    got = await verified(served, rig)
    assert (got.error, got.findings, got.parts) == (None, [], ["progress", "summary"])
    summary = got.summary
    assert (summary.traces, summary.spans, summary.intact, summary.exit_code) == (TRACES, ALL, ALL, 0)
    assert (summary.destination, summary.at, summary.range) == (f"otlp-file:{rig.file}", store.at, whole(rig))
    assert (summary.netra_calls, summary.read_back_calls) == (0, TRACES)
    assert (await verified(served, rig, destination=f"otlp-file:{rig.file}")).summary.intact == ALL


async def test_what_is_missing_and_cut_is_streamed_as_findings(rig: Rig, served: Served, store: Store) -> None:
    """Each finding has its kind, count, hint and samples; the stream ends with OK; only a differing trace is asked about."""
    lost, shortened, *_ = store.traces
    store.traces = {trace_id: data for trace_id, data in store.traces.items() if trace_id != lost}
    change(store, shortened, cut)
    got = await verified(served, rig)
    assert (got.error, got.parts) == (None, ["progress", "finding", "summary"])
    by_kind = {finding.kind: finding for finding in got.findings}
    assert set(by_kind) == {pb.FINDING_KIND_CUT, pb.FINDING_KIND_MISSING}
    missing, shorter = by_kind[pb.FINDING_KIND_MISSING], by_kind[pb.FINDING_KIND_CUT]
    assert (missing.count, {one.trace_id for one in missing.samples}) == (SPANS, {lost})
    assert (shorter.count, [one.trace_id for one in shorter.samples]) == (1, [shortened])
    assert "max_traces" in missing.hint
    assert "end early" in shorter.what
    summary = got.summary
    assert (summary.intact, summary.missing, summary.cut, summary.exit_code) == (ALL - SPANS - 1, SPANS, 1, 3)
    assert summary.netra_calls == 2


async def test_netra_is_asked_through_the_client_of_the_service(
    rig: Rig, served: Served, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verification opens no client of its own, which would have an old key, and limits of its own."""
    monkeypatch.setattr(bridge_verify.Wiring, "async_client", None)
    before = rig.calls()
    change(store, next(iter(store.traces)), cut)
    everything = pb.TraceQuery(filters=[pb.TraceFilter(field="environment", text="rig")])
    got = await verified(served, rig, query=everything)
    assert (got.error, got.summary.cut, got.summary.spans) == (None, 1, ALL)
    assert got.summary.netra_calls == rig.calls() - before > 2


@pytest.mark.parametrize(
    ("error", "code", "reason", "retry_s"),
    [
        (DestinationUnavailable("503", hint="look"), "UNAVAILABLE", "STORE_UNAVAILABLE", 5.0),
        (DestinationUnauthorized("401", hint="look"), "FAILED_PRECONDITION", "STORE_UNAUTHORIZED", None),
        (DestinationMisconfigured("404", hint="look"), "FAILED_PRECONDITION", "CONFIGURATION", None),
    ],
)
async def test_a_store_that_cannot_be_asked(
    rig: Rig, served: Served, store: Store, error: BridgeError, code: str, reason: str, retry_s: float | None
) -> None:
    """The error comes after the summary of what was asked, and nothing counts as missing."""
    store._fails = lambda call: error if call > 2 else None
    got = await verified(served, rig)
    assert got.error is not None
    assert (got.error.code, got.error.reason, got.error.retry_s) == (code, reason, retry_s)
    assert (got.error.message, got.error.hint) == (error.message, "look")
    assert (got.summary.spans, got.summary.intact, got.summary.missing) == (2 * SPANS, 2 * SPANS, 0)
    assert got.summary.exit_code == error.exit_code


async def test_a_trace_that_the_store_cannot_return(rig: Rig, served: Served, store: Store) -> None:
    """All other traces are verified, and the error asks for no retry."""
    store._fails = lambda call: TraceNotReturned("it is too large") if call == 1 else None
    got = await verified(served, rig)
    assert got.error is not None
    assert (got.error.code, got.error.reason) == ("FAILED_PRECONDITION", "TRACE_NOT_RETURNED")
    assert got.error.retry_s is None
    assert (got.summary.intact, got.summary.missing) == (ALL - SPANS, 0)


async def test_netra_that_fails_while_it_lists_the_traces_of_a_query(rig: Rig, served: Served, store: Store) -> None:
    """The reason is that of Netra's error."""
    rig.netra.set_faults("unauthorized-after=0")
    got = await verified(served, rig, query=pb.TraceQuery(tenant_id="t"))
    rig.netra.set_faults()
    assert got.error is not None
    assert (got.error.code, got.error.reason) == ("FAILED_PRECONDITION", "NETRA_UNAUTHORIZED")


async def test_a_query_and_a_sample_choose_traces(rig: Rig, served: Served, store: Store) -> None:
    """Ids are looked up in the state; other conditions are asked of Netra; a sample is named in the notes."""
    first, second, *_ = store.traces
    got = await verified(served, rig, query=pb.TraceQuery(trace_ids=[first, second]))
    assert (got.summary.traces, got.summary.intact, got.summary.netra_calls) == (2, 2 * SPANS, 0)
    nobody = await verified(served, rig, query=pb.TraceQuery(tenant_id="nobody"))
    assert (nobody.summary.traces, nobody.summary.netra_calls > 0) == (0, True)
    sampled = await verified(served, rig, at_random=2)
    assert sampled.summary.intact == 2 * SPANS
    assert any(f"2 traces were verified, at random, of {TRACES}" in note for note in sampled.summary.notes)


async def test_a_search_that_shows_nothing(
    rig: Rig, served: Served, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no search shows is hidden, beside the sum, unless the client skips the search."""
    monkeypatch.setattr(search, "DEADLINE_S", 0.0)
    monkeypatch.setattr(store, "find", lambda *_: asyncio.sleep(0, set()), raising=False)
    monkeypatch.setattr(store, "finds_whole_traces", False, raising=False)
    got = await verified(served, rig)
    assert [(one.kind, one.count) for one in got.findings] == [(pb.FINDING_KIND_HIDDEN, ALL)]
    summary = got.summary
    assert (summary.intact, summary.hidden, summary.looked_for, summary.exit_code) == (ALL, ALL, TRACES, 3)
    skipped = (await verified(served, rig, skip_search=True)).summary
    assert (skipped.intact, skipped.hidden, skipped.looked_for, skipped.exit_code) == (ALL, 0, 0, 0)


@pytest.fixture
def state_of_nobody(rig: Rig, tmp_path: Path) -> str:
    """Copy the traces of a tenant without any, and return the state."""
    assert rig.replay(None, "--tenant", "nobody", "--state", str(tmp_path / "state")).code == 0
    return str(tmp_path / "state")


async def test_what_the_service_follows_counts_as_copied(rig: Rig, state_of_nobody: str, store: Store) -> None:
    """A service that follows one tenant has copied the range, although it has not copied every trace of it."""
    for queries, pending in (((TraceQuery(tenant_id="nobody"),), 0), ((TraceQuery(),), 1)):
        async with serving(rig, verify_at=AT, state=state_of_nobody, queries=queries) as served:
            assert (await verified(served, rig)).summary.pending == pending


async def test_a_range_without_an_end_ends_now(rig: Rig, served: Served, store: Store) -> None:
    """What was not copied yet at its end is a note and no finding; a range that was never copied is pending."""
    copied = whole(rig)
    got = await verified(served, rig, range=pb.TimeRange(start_time=copied.start_time))
    assert (got.findings, got.summary.intact, got.summary.pending) == ([], ALL, 0)
    assert got.summary.notes
    beyond = pb.TimeRange(start_time=copied.start_time, end_time=stamp(copied.end_time.ToNanoseconds() + 10**9))
    got = await verified(served, rig, range=beyond)
    assert ([one.kind for one in got.findings], got.summary.exit_code) == ([pb.FINDING_KIND_PENDING], 3)


async def test_progress_comes_at_most_once_a_second(rig: Rig, served: Served, store: Store) -> None:
    """It grows, and the last of it is not awaited once everything is verified."""
    store.slow_s = 0.25
    began = time.monotonic()
    got = await verified(served, rig)
    elapsed_s = time.monotonic() - began
    assert 1 < len(got.progress) <= 1 + elapsed_s
    assert [one.traces for one in got.progress] == sorted({one.traces for one in got.progress})
    assert 0 < got.progress[0].spans == got.progress[0].intact


async def test_a_cancelled_call_stops_asking(
    rig: Rig, served: Served, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a second, no request to the store is open, and none follows."""
    store.slow_s = 0.05
    store.traces = dict.fromkeys(store.traces, b"")
    monkeypatch.setattr(waiting, "SHOWN_AFTER_S", DEADLINE_S)
    call = opened(served, rig)
    assert (await call.read()).progress.waiting
    assert store.calls
    call.cancel()
    await asyncio.sleep(1.0)
    calls = store.calls
    await asyncio.sleep(0.3)
    assert (store.calls, store.asking) == (calls, 0)


async def test_a_stop_of_the_server_ends_it(rig: Rig, served: Served, store: Store) -> None:
    """The client is told, and may try again."""
    store.slow_s = DEADLINE_S
    call = asyncio.create_task(verified(served, rig))
    await until(lambda: store.asking == 1)
    served.stop.set()
    got = await call
    assert got.error is not None
    assert (got.error.code, got.error.reason, got.error.retry_s) == ("UNAVAILABLE", "SHUTTING_DOWN", 2.0)
    assert store.asking == 0


async def test_two_run_at_once(rig: Rig, served: Served, store: Store) -> None:
    """A third one is told to wait, and runs once another has ended."""
    store.slow_s = DEADLINE_S
    calls = [opened(served, rig) for _ in range(2)]
    await until(lambda: store.asking == 2)
    given = await refusal(served, rig)
    assert (given.code, given.reason, given.retry_s) == ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", 30.0)
    calls[0].cancel()
    await until(lambda: store.asking == 1)
    store.slow_s = 0.0
    assert (await verified(served, rig)).summary.intact == ALL


async def test_it_counts_as_a_call(rig: Rig, store: Store) -> None:
    """The limit of calls holds for it and because of it."""
    store.slow_s = DEADLINE_S
    async with serving(rig, verify_at=AT, grpc_calls=1) as served:
        call = opened(served, rig)
        await until(lambda: full(served))
        assert (await refusal(served, rig)).reason == "TOO_MANY_CALLS"
        call.cancel()
        await until(lambda: answered(served))


async def test_a_client_that_does_not_read(rig: Rig, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its call ends at the limit, and makes room for another."""
    long = pb.VerifySummary(notes=["x" * 1000] * 200)
    async with serving(rig, verify_at=AT, grpc_calls=1, grpc_stall="2s") as served:
        monkeypatch.setattr(messages, "summary", lambda *_: long)
        request = pb.VerifySpansRequest(range=whole(rig))
        with await asyncio.to_thread(RawCall, served.address, "VerifySpans", request):
            await until(lambda: full(served))
            await until(lambda: answered(served))


@pytest.mark.parametrize("name", ["jaeger", AT, "otlp-file:/etc/passwd", "console"])
async def test_only_destinations_of_the_configuration(rig: Rig, served: Served, store: Store, name: str) -> None:
    """Callers cannot choose a destination that the bridge does not deliver to; nothing is opened."""
    given = await refusal(served, rig, destination=name)
    assert (given.code, given.reason) == ("INVALID_ARGUMENT", "DESTINATION_UNKNOWN")
    assert f"otlp-file:{rig.file}" in given.hint
    assert store.calls == 0


async def test_one_of_several_destinations_has_to_be_named(rig: Rig, store: Store) -> None:
    """The hint lists them; each is read back from its own store, and a file is its own."""
    file = f"otlp-file:{rig.file}"
    async with serving(rig, to=f"{file},{NOWHERE}", verify_at=f"{NOWHERE}={AT}") as served:
        given = await refusal(served, rig)
        assert (given.code, given.reason) == ("INVALID_ARGUMENT", "ARGUMENT_INVALID")
        assert NOWHERE in given.hint
        assert (await verified(served, rig, destination=file)).summary.intact == ALL


async def test_a_file_is_its_own_store(rig: Rig) -> None:
    """It is read back without any setting."""
    async with serving(rig) as served:
        summary = (await verified(served, rig)).summary
        assert (summary.at, summary.intact, summary.netra_calls) == (f"otlp-file:{rig.file}", ALL, 0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"to": NOWHERE}, "NETRA_BRIDGE_VERIFY_AT"),
        ({"to": NOWHERE, "verify_at": AT}, "has no destination"),
        ({"verify_at": "otlp+grpc://127.0.0.1:4317"}, "is not a store"),
        ({"verify_at": f"{AT},{AT}"}, "has two stores"),
        ({"to": "none", "verify_at": AT}, "no destination is configured"),
    ],
)
async def test_what_the_configuration_does_not_provide_for(rig: Rig, settings: dict[str, str], said: str) -> None:
    """The reason is CONFIGURATION, and the message or the hint says what an operator has to change."""
    async with serving(rig, **settings) as served:
        given = await refusal(served, rig)
    assert (given.code, given.reason) == ("FAILED_PRECONDITION", "CONFIGURATION")
    assert said in given.message + given.hint


async def test_requests_that_make_no_sense(rig: Rig, served: Served, store: Store) -> None:
    """A range is required, and a filter is complete."""
    for wrong in ({"range": pb.TimeRange()}, {"query": pb.TraceQuery(filters=[pb.TraceFilter()])}):
        given = await refusal(served, rig, **wrong)
        assert (given.code, given.reason) == ("INVALID_ARGUMENT", "ARGUMENT_INVALID")
