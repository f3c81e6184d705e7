"""Reconciliation: the cost of delivered spans equals what Netra reports, and any difference is visible."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netra_otel_bridge import Bridge, TraceQuery
from netra_otel_bridge.bridge.queries import query_text
from netra_otel_bridge.core.clock import HOUR_NS, NS_PER_S, SystemClock
from netra_otel_bridge.core.errors import NetraError, NetraUnauthorized, NetraUnavailable
from netra_otel_bridge.core.model.netra import TenantUsageData
from netra_otel_bridge.core.model.outcome import PartlyRefused, Refused, SpanBatch
from netra_otel_bridge.core.model.progress import (
    HourCost,
    Progress,
    Reconciliation,
    TraceCost,
    TraceRecord,
)
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.api import Api
from netra_otel_bridge.emulator.otlp import read_document
from netra_otel_bridge.emulator.store import Store
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.source import schema
from netra_otel_bridge.state import StateStore, read_status, reset
from netra_otel_bridge.usage.reconcile import LATE_NS, covered, reconcile
from tests.support import cli
from tests.support.cli import CANARY
from tests.support.emulator import ThreadedEmulator, otlp_document, otlp_span, running_emulator
from tests.support.examples import examples, size
from tests.support.fake_clock import FakeClock
from tests.support.fake_destination import FakeDestination, PartialSuccess, Reject
from tests.support.in_process import PEER, Decision, Life, Netra, Peer, keys_of

DAY_NS = 24 * HOUR_NS
MONTH = Window(FakeClock().start_ns, FakeClock().start_ns + 31 * DAY_NS)
NOON_NS = MONTH.start_ns + 10 * DAY_NS + DAY_NS // 2
TENANTS = ("acme", "globex", "initech")
ALWAYS = Window(0, 2**62)


def call(
    trace: int, span: int, tenant: str | None, start_ns: int, tokens: int = 100, kind: str = "GENERATION"
) -> dict[str, Any]:
    """Return the span of an LLM call, priced by its tokens."""
    belongs = {"netra.tenant_id": tenant} if tenant else {}
    attributes = {
        "netra.span.type": kind,
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.prompt_tokens": tokens,
        "gen_ai.usage.completion_tokens": 2 * tokens,
    }
    return otlp_span(trace, span, start_ns=start_ns, parent=1 if span > 1 else 0, attributes=attributes | belongs)


class Metered(Netra):
    """Netra in this process, including its usage calls."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        super().__init__(store, clock)
        self._usage = Api(store)

    async def get_tenant_usage(self, tenant_id: str, start_time: Any, end_time: Any) -> TenantUsageData | None:
        times = {"startTime": start_time, "endTime": end_time}
        return schema.decode_tenant_usage(self._usage.tenant_usage(tenant_id, times))


class Following:
    """A lane that follows a Netra in this process, from two hours before noon."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.clock.start_ns = NOON_NS
        self.store = Store()
        self.netra = Metered(self.store, self.clock)
        self.peer = Peer()
        self.directory = directory
        self.life = self.born()

    def born(self) -> Life:
        since_ns = NOON_NS - 2 * HOUR_NS
        return Life(self.directory / "state", self.netra, self.peer, self.clock, since_ns, 30 * NS_PER_S)

    def record(self, *spans: dict[str, Any]) -> None:
        assert self.store.ingest(read_document(otlp_document(*spans))) == []

    async def poll(self) -> None:
        if not await self.life.poll():
            self.life = self.born()

    async def restart(self) -> None:
        await self.life.stop()
        self.life = self.born()

    async def reconciled(self) -> dict[str, Reconciliation]:
        """Let time pass, poll without failures, and compare the lane's tenants."""
        self.clock.elapsed_s += 1200
        await self.restart()
        await self.poll()
        found = await reconcile(self.netra, self.life.recorder, self.clock.now_ns(), MONTH)
        assert self.life.recorder.lane.reconciled() == found
        return {one.tenant_id: one for one in found}


spans_of_a_story = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.integers(1, 5),
        st.sampled_from((*TENANTS, None)),
        st.integers(0, 119),
        st.integers(0, 500),
        st.sampled_from(["GENERATION", "EMBEDDING", "AGENT", "SPAN"]),
    ),
    max_size=6,
)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(st.tuples(spans_of_a_story, st.none() | st.tuples(st.integers(0, 2), st.booleans())), max_size=4),
    resets_at=st.none() | st.integers(0, 150),
)
def test_what_was_followed_is_what_netra_reports(steps: list[Any], resets_at: int | None) -> None:
    """Traces grow, change and span several tenants and hours, with crashes and a reset in between: the totals agree."""

    async def story(directory: Path) -> None:
        following = Following(directory)
        for spans, dies in steps:
            following.record(*(
                call(trace, span, tenant, NOON_NS - 2 * HOUR_NS + minute * 60 * NS_PER_S, tokens, kind)
                for trace, span, tenant, minute, tokens, kind in spans
            ))  # fmt: skip
            if dies is not None:
                following.life.writer.dies_in, following.life.writer.after = dies
            await following.poll()
            following.life.writer.dies_in = None
            following.clock.elapsed_s += 40
        if resets_at is not None:
            await following.life.stop()
            reset(directory / "state", PEER, NOON_NS - 2 * HOUR_NS + resets_at * 60 * NS_PER_S, following.clock)
            following.life = following.born()
        found = await following.reconciled()
        assert all(one.agrees for one in found.values()), found
        assert all(one.replayed_tokens == one.reported_tokens for one in found.values())
        assert all(one.window == Window(NOON_NS - 2 * HOUR_NS, NOON_NS) for one in found.values())
        known = {span[2] for spans, _ in steps for span in spans if span[5] in ("GENERATION", "EMBEDDING") and span[2]}
        assert found.keys() <= known
        await following.life.stop()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(story(Path(directory)))


async def test_tenants_and_hours_within_one_trace_are_told_apart(tmp_path: Path) -> None:
    """Each span counts for its tenant, in the hour of its start; a span that repeats its children's usage does not."""
    following = Following(tmp_path)
    following.record(
        call(1, 1, "acme", NOON_NS - HOUR_NS - 1, 900, "AGENT"),
        call(1, 2, "acme", NOON_NS - HOUR_NS - 1, 10),
        call(1, 3, "globex", NOON_NS - HOUR_NS, 20),
        call(1, 4, "acme", NOON_NS - HOUR_NS, 30),
        call(1, 5, None, NOON_NS - HOUR_NS, 70),
        call(1, 6, "acme", NOON_NS, 5000),
    )
    found = await following.reconciled()
    assert {name: (one.replayed_tokens, one.agrees) for name, one in found.items()} == {
        "acme": (120, True), "globex": (60, True)
    }  # fmt: skip
    lane = following.life.recorder.lane
    assert lane.tenant_cost("acme", Window(NOON_NS - 2 * HOUR_NS, NOON_NS - HOUR_NS))[0] == 30
    assert lane.tenant_cost("acme", ALWAYS)[0] == 15120
    await following.life.stop()


@pytest.mark.parametrize("outcome", [Refused("poison"), PartlyRefused(1, "one of them")])
async def test_a_rejected_span_is_visible(tmp_path: Path, outcome: Any) -> None:
    """Spend of spans that the destination may have rejected does not count as replayed, even after a crash."""
    following = Following(tmp_path)
    poison = f"{3:016x}"

    def judge(batch: SpanBatch) -> Decision:
        rejected = any(span_id == poison for _, span_id in keys_of(batch))
        return Decision(outcome if rejected else Decision().outcome, stores=not rejected)

    following.peer.judge = judge
    following.record(*(call(1, span, "acme", NOON_NS - 90 * 60 * NS_PER_S, 10**span) for span in range(1, 7)))
    following.life.writer.dies_in, following.life.writer.after = 2, True
    await following.poll()
    found = (await following.reconciled())["acme"]
    unsure = (3,) if isinstance(outcome, Refused) else (1, 2, 3, 4)
    assert found.reported_tokens - found.replayed_tokens == 3 * sum(10**span for span in unsure)
    assert not found.agrees
    following.record(call(1, 7, "acme", NOON_NS - 90 * 60 * NS_PER_S, 10**7))
    again = (await following.reconciled())["acme"]
    assert again.reported_tokens - again.replayed_tokens == 3 * sum(10**span for span in unsure)
    following.peer.judge = lambda _: Decision()
    following.record(*(call(1, span, "acme", NOON_NS - 90 * 60 * NS_PER_S, 2) for span in unsure))
    accepted = (await following.reconciled())["acme"]
    assert accepted.replayed_tokens == accepted.reported_tokens
    await following.life.stop()


async def test_what_grows_counts_once_it_is_delivered(tmp_path: Path) -> None:
    """A trace keeps its previous cost until the last span of its new version is acknowledged."""
    following = Following(tmp_path)
    start_ns = NOON_NS - 90 * 60 * NS_PER_S
    following.record(call(1, 1, "acme", start_ns, 1))
    await following.poll()
    lane = following.life.recorder.lane
    assert lane.tenant_cost("acme", ALWAYS)[0] == 3
    following.record(*(call(1, span, "acme", start_ns, 1) for span in range(2, 12)))
    await following.restart()
    accepted = [lambda _: Decision(), lambda _: Decision(None, stores=False)]
    following.peer.plan.extend(accepted)
    following.life.writer.dies_in = None
    assert not await following.life.poll()
    following.life = following.born()
    lane = following.life.recorder.lane
    assert 1 <= len(lane.spans(f"{1:032x}")) // TraceRecord.ENTRY_BYTES < 11
    assert lane.tenant_cost("acme", ALWAYS)[0] == 3
    await following.poll()
    assert lane.tenant_cost("acme", ALWAYS)[0] == 33
    await following.life.stop()


def traces(*at_ns: int, tenant: str = "acme") -> list[TraceRecord]:
    """Return records of traces with one request each."""
    return [
        TraceRecord(f"t{ns}", ns, b"d" * 8, b"", TraceCost((HourCost(tenant, ns // HOUR_NS * HOUR_NS, 3, 1, 0.5),)))
        for ns in at_ns
    ]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateStore]:
    with StateStore.open(tmp_path / "state", SystemClock()) as store:
        yield store


H = [MONTH.start_ns + hour * HOUR_NS for hour in range(-4, 30)][4:]
BEFORE_NS = MONTH.start_ns - 3 * HOUR_NS
COVERED: list[tuple[str, int | None, int | None, list[tuple[int, int]], tuple[int, int] | None]] = [
    ("nothing", None, None, [], None),
    ("followed, not yet an hour", H[1], H[2] - 1, [], None),
    ("followed, the hour may still grow", H[1], H[2] + LATE_NS - 1, [], None),
    ("followed for an hour", H[1], H[2] + LATE_NS, [], (H[1], H[2])),
    ("rounded inwards", H[1] + 1, H[4] + LATE_NS + 1, [], (H[2], H[4])),
    ("cut to the month", BEFORE_NS, H[3] + LATE_NS, [], (H[0], H[3])),
    ("all before the month", BEFORE_NS, H[0] - 1, [], None),
    ("and a window before", H[3], H[5], [(H[1], H[3])], (H[1], H[4])),
    ("and windows that overlap", H[3], H[5], [(H[0], H[2]), (H[1], H[3] + 9)], (H[0], H[4])),
    ("and a window with a gap", H[3], H[5], [(H[1], H[3] - 1)], (H[3], H[4])),
    ("and a window after the watermark", H[3], H[5], [(H[5], H[9])], (H[3], H[4])),
    ("and a window across the watermark", H[3], H[5], [(H[2], H[9])], (H[2], H[4])),
    ("windows alone", None, None, [(H[1], H[2]), (H[4], H[5]), (H[5], H[7] + 5)], (H[4], H[7])),
    ("a reset of everything", H[3], None, [], None),
]


@pytest.mark.parametrize(("since_ns", "watermark_ns", "windows", "hours"), [row[1:] for row in COVERED],
                         ids=[row[0] for row in COVERED])  # fmt: skip
def test_hours_that_are_covered(
    state: StateStore,
    since_ns: int | None,
    watermark_ns: int | None,
    windows: list[tuple[int, int]],
    hours: tuple[int, int] | None,
) -> None:
    """Covered are whole hours of the period, back from the watermark through finished windows to the first gap."""
    lane = state.lane("s", "jaeger")
    if since_ns is not None:
        lane.follow_from(since_ns)
    lane.commit(Progress(windows=[Window(*one) for one in windows], watermark_ns=watermark_ns), 1)
    assert covered(lane, MONTH) == (None if hours is None else Window(*hours))


def test_hours_before_an_older_bridge_was_replaced_are_not_covered(state: StateStore) -> None:
    """An older bridge did not sum what it delivered."""
    lane = state.lane("s", "jaeger")
    lane.commit(Progress(windows=[Window(H[0], H[9])]), 1)
    with state.database.writing() as connection:
        connection.execute("UPDATE lane SET summed_from_ns = ?", (H[4] + 1,))
    assert covered(lane, MONTH) == Window(H[5], H[9])


class Usage(Netra):
    """A Netra that knows what each tenant used and records the usage calls."""

    def __init__(self, **used: float) -> None:
        super().__init__(Store(), FakeClock())
        self.used = used
        self.usage_asked: list[tuple[str, str, str]] = []
        self.failing: dict[str, NetraError] = {}

    async def get_tenant_usage(self, tenant_id: str, start_time: Any, end_time: Any) -> TenantUsageData | None:
        self.usage_asked.append((tenant_id, start_time, end_time))
        if tenant_id in self.failing:
            raise self.failing[tenant_id]
        if tenant_id not in self.used:
            return None
        return TenantUsageData(
            tenant_id=tenant_id, organisation_id=None, token_count=6, request_count=2, session_count=1,
            total_cost=self.used[tenant_id],
        )  # fmt: skip


async def compared(state: StateStore, query: str, netra: Usage) -> list[tuple[str, int | float, float, bool]]:
    lane = state.lane(netra.base_url, "jaeger", query)
    with ThreadPoolExecutor(1) as writer:
        found = await reconcile(netra, Recorder(lane, writer, SystemClock()), 7, MONTH)
    assert all(one.asked_ns == 7 for one in found)
    return [(one.tenant_id, one.replayed_tokens, one.reported_cost, one.agrees) for one in found]


async def test_each_tenant_is_compared_over_the_hours_that_are_covered(state: StateStore) -> None:
    """A tenant unknown to Netra used nothing, an id that is a relative path is skipped, earlier hours do not count."""
    netra = Usage(acme=1.0, globex=3.0)
    lane = state.lane(netra.base_url, "jaeger")
    lane.commit(Progress(traces=traces(H[0], H[1], H[1] + 1), windows=[Window(H[1], H[3])]), 1)
    lane.commit(Progress(traces=[*traces(H[0] + 2, tenant="globex"), *traces(H[2], tenant="gone")]), 1)
    lane.commit(Progress(traces=[*traces(H[2] + 1, tenant=".."), *traces(BEFORE_NS, tenant="old")]), 1)
    assert await compared(state, "", netra) == [
        ("acme", 6, 1.0, True), ("globex", 0, 3.0, False), ("gone", 3, 0.0, False)
    ]  # fmt: skip
    assert netra.usage_asked == [(name, iso_ms(H[1]), iso_ms(H[3])) for name in ("acme", "globex", "gone")]
    assert [one.tenant_id for one in lane.reconciled()] == ["acme", "globex", "gone"]


async def test_a_tenant_that_cannot_be_asked_for_leaves_out_no_other(
    state: StateStore, caplog: pytest.LogCaptureFixture
) -> None:
    """One failed call leaves out only its tenant; there is an error if all calls fail or the key is rejected."""
    netra = Usage(acme=1.0, globex=3.0)
    lane = state.lane(netra.base_url, "jaeger")
    lane.commit(Progress(traces=traces(H[1], H[1] + 1), windows=[Window(H[1], H[3])]), 1)
    lane.commit(Progress(traces=traces(H[1] + 2, tenant="globex")), 1)
    netra.failing["acme"] = NetraUnavailable("HTTP 500")
    assert [tenant_id for tenant_id, *_ in await compared(state, "", netra)] == ["globex"]
    assert any("HTTP 500" in line for line in caplog.messages)
    netra.failing["globex"] = NetraUnavailable("HTTP 500")
    with pytest.raises(NetraUnavailable):
        await compared(state, "", netra)
    netra.failing = {"acme": NetraUnauthorized("HTTP 401")}
    with pytest.raises(NetraUnauthorized):
        await compared(state, "", netra)
    assert [one.tenant_id for one in lane.reconciled()] == ["globex"]


@pytest.mark.parametrize(
    ("queries", "asked"),
    [
        ((TraceQuery(tenant_id="acme"),), ["acme"]),
        ((TraceQuery(tenant_id="acme"), TraceQuery(tenant_id="silent")), ["acme", "silent"]),
        ((TraceQuery(tenant_id="acme", session_id="s"),), []),
        ((TraceQuery(user_id="u"),), []),
        ((TraceQuery(trace_ids=("t1",)), TraceQuery(tenant_id="globex")), ["globex"]),
    ],
)
async def test_a_filter_is_compared_for_its_tenant_alone(
    state: StateStore, queries: tuple[TraceQuery, ...], asked: list[str]
) -> None:
    """A lane that follows only some of a tenant's traces cannot be compared with the tenant's spend."""
    netra, query = Usage(acme=0.5, globex=1.0), query_text(queries)
    lane = state.lane(netra.base_url, "jaeger", query)
    mixed = [*traces(H[1]), *traces(H[1] + 1, tenant="globex")]
    lane.commit(Progress(traces=mixed, windows=[Window(H[1], H[3])]), 1)
    assert [name for name, *_ in await compared(state, query, netra)] == asked
    assert [name for name, *_ in netra.usage_asked] == asked


async def test_where_nothing_is_covered_the_last_comparison_stays(state: StateStore) -> None:
    """At the turn of a month the previous comparison stays until there is a new one."""
    netra = Usage(acme=0.5)
    lane = state.lane(netra.base_url, "jaeger")
    lane.commit(Progress(traces=traces(H[1]), windows=[Window(H[1], H[3])]), 1)
    await compared(state, "", netra)
    before = lane.reconciled()
    with ThreadPoolExecutor(1) as writer:
        following = Window(MONTH.end_ns, MONTH.end_ns + DAY_NS)
        assert await reconcile(netra, Recorder(lane, writer, SystemClock()), 8, following) == ()
    assert lane.reconciled() == before != ()


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    options = EmulatorOptions(port=0, seed=11, traces=size(40, 150), spans_per_trace=9, api_key=CANARY)
    with running_emulator(options) as emulator:
        yield emulator


async def compare_replay(netra: ThreadedEmulator, directory: Path) -> dict[str, Reconciliation]:
    """Compare the only destination of a state with the emulator over HTTP. The period is all time."""
    bridge = Bridge(environ={}, api_key=CANARY, endpoint=netra.endpoint)
    (status,) = read_status(directory).lanes
    with StateStore.open(directory, SystemClock()) as store, ThreadPoolExecutor(1) as writer:
        async with bridge.async_client() as client:
            recorder = Recorder(store.lane(client.base_url, status.destination), writer, SystemClock())
            found = await reconcile(client, recorder, 1, ALWAYS)
    return {one.tenant_id: one for one in found}


async def replayed(netra: ThreadedEmulator, to: str, directory: Path, **more: Any) -> None:
    bridge = Bridge(environ={}, api_key=CANARY, endpoint=netra.endpoint, state=str(directory), **more)
    await bridge.areplay(to, since="26h")


async def test_a_replay_is_what_netra_reports(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Over HTTP, every tenant of a day of sample traffic has the same tokens, and the same cost up to rounding."""
    await replayed(netra, f"otlp-file:{tmp_path}/out.jsonl", tmp_path / "state")
    found = await compare_replay(netra, tmp_path / "state")
    assert len(found) >= 3
    for one in found.values():
        assert one.agrees
        assert one.replayed_tokens == one.reported_tokens > 0
        assert one.window.end_ns - one.window.start_ns >= 24 * HOUR_NS
    await replayed(netra, f"otlp-file:{tmp_path}/out.jsonl", tmp_path / "state")
    assert {name: one.replayed_cost for name, one in (await compare_replay(netra, tmp_path / "state")).items()} == {
        name: one.replayed_cost for name, one in found.items()
    }


def test_status_says_whose_spend_differs(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """``status`` has one line for all tenants that agree, one for each that differs, and all values in the JSON."""
    state = str(tmp_path / "state")

    def status(*more: str) -> cli.Result:
        return cli.run("status", "--state", state, *more, env=cli.environment(netra.endpoint))

    asyncio.run(replayed(netra, f"otlp-file:{tmp_path}/out.jsonl", tmp_path / "state"))
    assert "spend of" not in status().out
    assert status("--json").json["destinations"][0]["reconciliation"] == []
    found = asyncio.run(compare_replay(netra, tmp_path / "state"))
    window = next(iter(found.values())).window
    start, end = (iso_ms(at_ns)[:16] + "Z" for at_ns in (window.start_ns, window.end_ns))
    to = read_status(tmp_path / "state").lanes[0].destination
    said = status().out
    assert f"{to}: spend of {len(found)} tenants agrees with Netra, {start} to {end}" in said
    assert "differs" not in said
    rows = status("--json").json["destinations"][0]["reconciliation"]
    assert rows == [
        {
            "tenant_id": name, "from": iso_ms(window.start_ns), "until": iso_ms(window.end_ns),
            "replayed_tokens": one.replayed_tokens, "replayed_cost": one.replayed_cost,
            "reported_tokens": one.reported_tokens, "reported_cost": one.reported_cost,
        }
        for name, one in sorted(found.items())
    ]  # fmt: skip


@pytest.mark.parametrize(
    "refusal",
    [PartialSuccess(5, "quota"), Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "not these")],
    ids=["partial success", "dead letters"],
)
def test_a_replay_that_was_rejected_in_part_differs(netra: ThreadedEmulator, tmp_path: Path, refusal: Any) -> None:
    """For each tenant with a rejected span, the line shows what was replayed and what Netra reports."""
    with FakeDestination() as server:
        server.script(*[refusal] * (1 if isinstance(refusal, PartialSuccess) else 8))
        asyncio.run(replayed(netra, server.grpc_url, tmp_path / "state", batch_spans=20))
    found = asyncio.run(compare_replay(netra, tmp_path / "state"))
    differing = [one for one in found.values() if not one.agrees]
    assert differing
    assert all(one.replayed_tokens <= one.reported_tokens for one in found.values())
    said = cli.run("status", "--state", str(tmp_path / "state"), env=cli.environment(netra.endpoint)).out
    one = differing[0]
    assert (
        f"spend of tenant {one.tenant_id} differs: replayed {one.replayed_tokens:,} tokens and "
        f"${one.replayed_cost:,.6f}, Netra reports {one.reported_tokens:,} tokens and ${one.reported_cost:,.6f}"
    ) in said
    assert said.count("differs") == len(differing)
