"""The meter against the emulator: after every poll it shows what Netra reports, whatever happened in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge.core.clock import HOUR_NS, MINUTE_NS, Backoff
from netra_otel_bridge.core.errors import NetraError, NetraUnauthorized, NetraUnavailable, StateNotWritten
from netra_otel_bridge.core.time_text import datetime_ns, parse_time_ns
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.faults import Answer, Fault, FaultEntry, Faults
from netra_otel_bridge.pipeline.windows import FAR_POLLS
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.state import StateStore
from netra_otel_bridge.usage import meter as metering
from netra_otel_bridge.usage.charts import DashboardCharts
from netra_otel_bridge.usage.meter import (
    CHART_POLLS,
    FAILED_POLLS,
    IDLE_POLLS,
    Meter,
    MeterOptions,
)
from netra_otel_bridge.usage.totals import OTHER, UsageTotals
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.examples import size, some
from tests.support.fake_clock import FakeClock
from tests.support.usage import Calls, ModelCall

KEY = "the-key"
S = 10**9
NOON = datetime_ns(datetime(2026, 11, 22, 12, tzinfo=UTC))


@pytest.fixture
def netra() -> Iterator[ThreadedEmulator]:
    with running_emulator(EmulatorOptions(port=0, api_key=KEY)) as emulator:
        yield emulator


class World:
    """An emulator, a state directory, a clock, and a meter that uses them; `restart` replaces the meter.

    ``now_ns`` and ``latest_ns`` are the times that the meter is told.
    """

    def __init__(self, netra: ThreadedEmulator, directory: Path, **options: Any) -> None:
        self.netra = netra
        self.calls = Calls(netra)
        self.clock = FakeClock()
        self.clock.start_ns = NOON
        self.now_ns: Callable[[], int] = self.clock.now_ns
        self.latest_ns: Callable[[], int] = self.clock.now_ns
        self.directory = directory
        self.options = {"announce_s": 0.0, **options}
        self.meter: Meter
        self.store: StateStore

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        client = AsyncNetraClient(api_key=KEY, endpoint=self.netra.endpoint, backoff=Backoff(first_s=0.01, attempts=1))
        async with client as self.client:
            self.restart()
            try:
                yield self
            finally:
                self.store.close()

    def restart(self) -> None:
        """Start a new process from what the previous one committed."""
        if hasattr(self, "store"):
            self.store.close()
        self.store = StateStore.open(self.directory, self.clock)
        self.meter = Meter(
            self.client,
            self.store.meter(self.client.base_url),
            MeterOptions(**self.options),
            now_ns=lambda: self.now_ns(),
            latest_ns=lambda: self.latest_ns(),
            clock=self.clock,
        )

    async def poll(self, after_s: float = 60.0) -> None:
        """Let time pass, poll, and collect the counters."""
        self.clock.elapsed_s += after_s
        try:
            await self.meter.poll()
        finally:
            for label, _ in self.meter.view.counters:
                self.meter.collected(label)

    def used(self, tenant_id: str) -> UsageTotals | None:
        return next((counted.used for label, counted in self.meter.view.counters if label == tenant_id), None)

    def corrected(self, tenant_id: str) -> UsageTotals:
        return next(counted.corrected for label, counted in self.meter.view.counters if label == tenant_id)

    def period(self, tenant_id: str, name: str = "current") -> UsageTotals | None:
        found = [one.totals for one in self.meter.view.periods if (one.tenant_id, one.period) == (tenant_id, name)]
        return found[0] if found else None

    def usage_calls(self) -> int:
        return self.netra.call(lambda: self.netra.emulator.calls["tenant_usage"])


def as_totals(total: tuple[int, int, float]) -> UsageTotals:
    return UsageTotals(total[0], total[1], pytest.approx(total[2], rel=1e-9))


async def test_a_counter_begins_at_0_and_counts_what_comes(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Usage from before counting began appears in the period's gauge, not in the counter."""
    async with World(netra, tmp_path / "state").running() as world:
        world.calls.more("ace", NOON - HOUR_NS)
        await world.poll()
        assert world.used("ace") == UsageTotals()
        assert world.period("ace") == as_totals(world.calls.total("ace"))
        await world.poll()
        assert world.used("ace") == UsageTotals()
        call = world.calls.more("ace", world.clock.now_ns())
        await world.poll()
        assert world.used("ace") == as_totals((call.tokens, 1, call.cost))
        assert world.period("ace") == as_totals(world.calls.total("ace"))


async def test_a_new_tenant_shows_0_until_it_was_collected_long_enough(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Prometheus takes the first value it sees as the counter's start, so that value must be 0."""
    async with World(netra, tmp_path / "state", announce_s=75.0).running() as world:
        await world.poll()
        world.calls.more("new", world.clock.now_ns())
        await world.poll()
        assert world.used("new") == UsageTotals()
        world.restart()
        assert world.used("new") == UsageTotals(), "the 0 may not have been collected yet"
        await world.poll()
        await world.poll()
        assert world.used("new") == UsageTotals()
        await world.poll()
        assert world.used("new") == as_totals(world.calls.total("new"))
        world.restart()
        assert world.used("new") == as_totals(world.calls.total("new")), "it resumes at its last value, before any poll"


async def test_counters_are_collected_during_a_poll(
    netra: ThreadedEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter's thread may report another label set at any moment: here, whenever the meter reads its clock."""
    async with World(netra, tmp_path / "state").running() as world:
        world.calls.more("ace", NOON)
        await world.poll()
        monotonic, labels = world.clock.monotonic, (f"t{number}" for number in range(1000))
        collecting: list[str] = []

        def collect_and_read() -> float:
            if not collecting:
                collecting.append(next(labels))
                world.meter.collected(collecting[-1])
                collecting.pop()
            return monotonic()

        monkeypatch.setattr(world.clock, "monotonic", collect_and_read)
        call = world.calls.more("ace", world.clock.now_ns())
        await world.poll()
        assert world.used("ace") == as_totals((call.tokens, 1, call.cost))


async def test_usage_that_netra_reduces(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The counter stays, the correction grows, and later usage still counts."""
    async with World(netra, tmp_path / "state").running() as world:
        for _ in range(2):
            await world.poll()
            world.calls.more("ace", world.clock.now_ns(), prompt=1000)
        await world.poll()
        await world.poll()
        before = world.used("ace")
        assert before is not None
        world.calls.change(1, prompt=400)
        world.calls.more("ace", world.clock.now_ns(), prompt=0, completion=0)
        await world.poll()
        assert world.used("ace") == UsageTotals(before.tokens, before.requests + 1, before.cost)
        assert world.corrected("ace").tokens == 600
        world.calls.more("ace", world.clock.now_ns(), prompt=5, completion=0)
        await world.poll()
        used = world.used("ace")
        assert used is not None
        assert used.tokens == before.tokens + 5
        assert used - world.corrected("ace") == as_totals(world.calls.total("ace"))


async def test_a_month_ends(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Late usage of the previous month counts in the counter and in the gauge of the previous period."""
    async with World(netra, tmp_path / "state").running() as world:
        december = datetime_ns(datetime(2026, 12, 1, tzinfo=UTC))
        world.clock.start_ns = december - 120 * S
        await world.poll()
        world.calls.more("ace", world.clock.now_ns())
        await world.poll()
        world.calls.more("ace", december - S)
        world.calls.more("ace", december + S)
        await world.poll()
        assert world.used("ace") == as_totals(world.calls.total("ace"))
        assert world.period("ace") == as_totals(world.calls.total("ace", december))
        assert world.period("ace", "previous") == as_totals(world.calls.total("ace", 0, december))
        world.calls.more("ace", december - 2 * S)
        for _ in range(IDLE_POLLS):
            await world.poll()
        assert world.period("ace", "previous") == as_totals(world.calls.total("ace", 0, december))
        assert world.used("ace") == as_totals(world.calls.total("ace"))
        await world.poll(after_s=73 * 3600)
        await world.poll()
        assert world.period("ace", "previous") is None, "it was closed"
        assert world.used("ace") == as_totals(world.calls.total("ace"))


async def test_tenants_of_the_past_of_the_month(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """When metering begins, tenants with usage this month are found, however early in it; older ones are not."""
    async with World(netra, tmp_path / "state").running() as world:
        world.calls.more("early", NOON - 20 * 24 * HOUR_NS)
        world.calls.more("october", NOON - 30 * 24 * HOUR_NS)
        world.calls.more("late", NOON - HOUR_NS)
        await world.poll()
        assert world.used("october") is None
        for tenant_id in ("early", "late"):
            assert world.period(tenant_id) == as_totals(world.calls.total(tenant_id))


async def test_polite(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A tenant without new traces costs one call in twenty polls, even while its last trace is still listed; a tenant
    with new traces costs one call per poll."""
    async with World(netra, tmp_path / "state").running() as world:
        for number in range(40):
            world.calls.more(f"t{number}", NOON - (number % 2) * 2 * HOUR_NS)
        await world.poll()
        before = world.usage_calls()
        for _ in range(IDLE_POLLS):
            await world.poll()
        assert world.usage_calls() - before == 40
        world.calls.more("t7", world.clock.now_ns())
        before = world.usage_calls()
        await world.poll()
        assert 1 <= world.usage_calls() - before <= 1 + 40 / IDLE_POLLS * 3


async def test_more_tenants_than_label_sets(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The most expensive tenants have their own label sets, the others are summed, and nothing is missing."""
    async with World(netra, tmp_path / "state", tenant_limit=5).running() as world:
        await world.poll()
        for number in range(30):
            world.calls.more(f"t{number}", world.clock.now_ns(), prompt=100 * (number + 1))
        for _ in range(4):
            await world.poll()
        view = world.meter.view
        labels = {label for label, _ in view.counters}
        assert labels == {*(f"t{number}" for number in range(25, 30)), OTHER}
        for name, total in (("counters", sum((it.used for _, it in view.counters), UsageTotals())),
                            ("periods", sum((it.totals for it in view.periods), UsageTotals()))):  # fmt: skip
            assert total == as_totals(
                tuple(map(sum, zip(*(world.calls.total(f"t{n}") for n in range(30)), strict=True)))  # type: ignore[arg-type]
            ), name
        assert view.label_sets == {"own": 5, OTHER: 25, "failed": 0}


@pytest.mark.faults
async def test_ten_thousand_sessions(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The most expensive sessions are shown, the others share one label set; idle sessions disappear."""
    async with World(netra, tmp_path / "state", sessions=10).running() as world:
        now_ns = world.clock.now_ns()
        world.calls.feed(
            *(ModelCall(n, f"t{n % 3}", now_ns - 60 * S, prompt=n, session_id=f"s{n}") for n in range(1, 10_001))
        )
        await world.poll(after_s=0)
        sessions = world.meter.view.sessions
        assert {one.session_id for one in sessions} == {*(f"s{n}" for n in range(9991, 10_001)), OTHER}
        assert {one.tenant_id for one in sessions if one.session_id == "s9999"} == {"t0"}
        totals = [world.calls.total(f"t{n}") for n in range(3)]
        assert sum((one.totals for one in sessions), UsageTotals()) == as_totals(
            tuple(map(sum, zip(*totals, strict=True)))
        )  # type: ignore[arg-type]
        world.calls.more("t0", world.clock.now_ns() + 3590 * S, session_id="alone")
        await world.poll(after_s=3600)
        for _ in range(5):
            await world.poll()
        assert {one.session_id for one in world.meter.view.sessions} == {"alone", OTHER}


async def test_an_expired_cursor_of_the_sessions_starts_the_list_again(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """All wanted sessions are found, each once, the most expensive first."""
    async with World(netra, tmp_path / "state").running() as world:
        now_ns = world.clock.now_ns()
        world.calls.feed(*(ModelCall(n, "ace", now_ns - 60 * S, prompt=n, session_id=f"s{n}") for n in range(1, 151)))
        netra.set_faults("cursor-expired")
        found = await DashboardCharts(world.client, world.clock).costliest_sessions(150, now_ns, lambda _: True)
        assert found == [f"s{n}" for n in range(150, 0, -1)]


async def test_what_the_dashboards_say(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Spend, latency and findings of the last hour appear by service, model and environment, in the gauges' units."""
    async with World(netra, tmp_path / "state").running() as world:
        for model, environment in (("gpt-4o", "prod"), ("gpt-4o", "dev"), ("gpt-4o-mini", "dev")):
            world.calls.more("ace", NOON, model=model, environment=environment)
        world.calls.more("ace", NOON - 2 * HOUR_NS)
        await world.poll()
        charts = world.meter.view.charts
        found = {(one.name, one.dimension, one.dimension_value, one.quantile): one.value for one in charts}
        assert found["requests", "model", "gpt-4o", ""] == 2
        assert found["requests", "environment", "dev", ""] == 2
        assert found["tokens", "service", "shop", ""] == 3 * 120
        assert found["cost", "environment", "prod", ""] == pytest.approx(world.calls.given[1].cost)
        assert found["latency", "model", "gpt-4o", "0.95"] == pytest.approx(0.001)
        assert found["error.ratio", "service", "shop", ""] == 0
        before = netra.call(lambda: netra.emulator.calls["query_data"])
        for _ in range(CHART_POLLS - 1):
            await world.poll()
        assert netra.call(lambda: netra.emulator.calls["query_data"]) == before
        await world.poll()
        assert netra.call(lambda: netra.emulator.calls["query_data"]) == 2 * before


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_without_dashboards(
    netra: ThreadedEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """One line says so and everything else works; an hour later the calls are tried again."""
    netra.set_faults(f"no-dashboard={status}")
    async with World(netra, tmp_path / "state", sessions=2).running() as world:
        for number in range(1, 4):
            world.calls.more("ace", NOON, prompt=100 * number, session_id=f"s{number}")
        for _ in range(2 * CHART_POLLS):
            await world.poll()
        assert world.meter.view.charts == ()
        assert {one.session_id for one in world.meter.view.sessions} == {"s2", "s3", OTHER}
        assert world.period("ace") == as_totals(world.calls.total("ace"))
        assert sum("dashboard calls" in line for line in caplog.messages) == 1
        asked = netra.call(lambda: dict(netra.emulator.calls))
        assert asked.get("query_data", 0) + asked.get("session_stats", 0) == 1
        netra.set_faults()
        for _ in range(CHART_POLLS):
            await world.poll(after_s=720)
        world.calls.more("ace", world.clock.now_ns() - S)
        for _ in range(CHART_POLLS):
            await world.poll()
        assert world.meter.view.charts


async def test_named_tenants(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Only named tenants are polled, and no traces are listed; a tenant unknown to Netra has used nothing."""
    async with World(
        netra, tmp_path / "state", tenants=("ace", "nobody"), budgets={"ace": 5.0, "*": 1.0}
    ).running() as world:
        world.calls.more("ace", NOON - HOUR_NS)
        world.calls.more("bee", NOON - HOUR_NS)
        await world.poll()
        assert world.period("ace") == as_totals(world.calls.total("ace"))
        assert world.period("nobody") == UsageTotals()
        assert world.period("bee") is None
        assert netra.call(lambda: netra.emulator.calls["traces"]) == 0
        assert dict(world.meter.view.budgets) == {"ace": 5.0, "nobody": 1.0}
        world.options["tenants"] = ("bee",)
        world.restart()
        for _ in range(3):
            await world.poll()
        assert {label for label, _ in world.meter.view.counters} == {"bee"}
        assert world.used("bee") == UsageTotals(), "it counts from when it was named"
        world.calls.more("cat", world.clock.now_ns() - S)
        world.options["tenants"] = ()
        await world.poll()
        world.restart()
        for _ in range(3):
            await world.poll()
        assert world.used("cat") == UsageTotals(), "the search for tenants begins when none is named"
        assert world.period("cat") == as_totals(world.calls.total("cat"))


async def test_a_choice_of_tenants_for_a_while(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Tenants that were left out resume where they were, including what they used meanwhile."""
    async with World(netra, tmp_path / "state").running() as world:
        await world.poll()
        for tenants in ((), ("ace",), ()):
            world.options["tenants"] = tenants
            world.restart()
            for tenant_id in ("ace", "bee"):
                world.calls.more(tenant_id, world.clock.now_ns())
            for _ in range(IDLE_POLLS):
                await world.poll()
            assert {label for label, _ in world.meter.view.counters} == set(tenants or ("ace", "bee"))
        for tenant_id in ("ace", "bee"):
            assert world.used(tenant_id) == as_totals(world.calls.total(tenant_id))


async def test_ids_that_cannot_be_asked_for(
    netra: ThreadedEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A tenant or session whose id is a relative path is skipped, and the log says so once."""
    async with World(netra, tmp_path / "state", sessions=5).running() as world:
        for tenant_id in ("../sessions/x", "a/../../b", "ace"):
            world.calls.more(tenant_id, NOON, session_id="../../s")
        await world.poll()
        assert [one.tenant_id for one in world.meter.view.periods] == ["ace"]
        assert [one.session_id for one in world.meter.view.sessions] == [OTHER]
        assert sum("cannot be requested" in line for line in caplog.messages) == 1


class Failing(Fault):
    """Fails the calls whose path ends with ``tenant_id``."""

    def __init__(self, tenant_id: str, status: int) -> None:
        self._tenant_id, self._status = tenant_id, status

    def instead(self, call: Any, /) -> Answer | None:
        return Answer(self._status, b"{}") if call.path.endswith(self._tenant_id) else None


def spoil(netra: ThreadedEmulator, *faults: Fault) -> None:
    table = {str(number): FaultEntry("", lambda _, fault=fault: fault) for number, fault in enumerate(faults)}
    netra.call(lambda: netra.emulator.use_faults(Faults(tuple(table), table)))


async def test_one_tenant_that_cannot_be_had_holds_up_no_other(
    netra: ThreadedEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The tenant keeps its last values, counts as failed and is polled seldom; the poll fails only if all tenants fail."""
    async with World(netra, tmp_path / "state").running() as world:
        for tenant_id in ("ace", "bee"):
            world.calls.more(tenant_id, NOON)
        await world.poll()
        polled_ns, before = world.meter.view.polled_ns, world.period("bee")
        spoil(netra, Failing("bee", 500))
        for tenant_id in ("ace", "bee"):
            world.calls.more(tenant_id, world.clock.now_ns())
        for _ in range(FAILED_POLLS):
            await world.poll()
        assert world.period("ace") == as_totals(world.calls.total("ace"))
        assert world.period("bee") == before
        assert world.meter.view.label_sets["failed"] == 1
        assert world.meter.view.polled_ns > polled_ns
        assert sum("of 2 tenants, first error" in line for line in caplog.messages) == 1
        spoil(netra)
        for _ in range(FAILED_POLLS):
            await world.poll()
        assert world.period("bee") == as_totals(world.calls.total("bee"))
        assert world.meter.view.label_sets["failed"] == 0
        spoil(netra, Failing("", 500))
        world.calls.more("ace", world.clock.now_ns())
        polled_ns = world.meter.view.polled_ns
        with pytest.raises(NetraError, match="500"):
            await world.poll()
        assert world.meter.view.polled_ns == polled_ns


async def test_where_traces_cannot_be_listed(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Known tenants are still polled."""
    async with World(netra, tmp_path / "state", tenant_limit=1).running() as world:
        world.calls.more("ace", NOON)
        await world.poll()
        world.calls.more("ace", world.clock.now_ns())
        spoil(netra, Failing("/sdk/traces", 500))
        for _ in range(IDLE_POLLS):
            with pytest.raises(NetraError, match="500"):
                await world.poll()
        assert world.period("ace") == as_totals(world.calls.total("ace"))


async def test_a_call_that_hangs_keeps_no_tenant_waiting(
    netra: ThreadedEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was answered is recorded and shown while a call is outstanding, and the poll ends with the rest."""
    monkeypatch.setattr(metering, "SHOW_S", 0.05)
    answers = asyncio.Event()
    usage_of = AsyncNetraClient.get_tenant_usage

    async def hanging(self: AsyncNetraClient, tenant_id: str, *args: Any) -> Any:
        if tenant_id == "bee":
            await answers.wait()
        return await usage_of(self, tenant_id, *args)

    monkeypatch.setattr(AsyncNetraClient, "get_tenant_usage", hanging)
    async with World(netra, tmp_path / "state").running() as world:
        for tenant_id in ("ace", "bee"):
            world.calls.more(tenant_id, NOON)
        polling = asyncio.create_task(world.poll())
        while world.period("ace") is None:
            await asyncio.sleep(0.01)
            assert not polling.done()
        assert world.period("ace") == as_totals(world.calls.total("ace"))
        assert not world.meter.view.polled_ns
        _, recorded = world.store.meter(world.client.base_url).read()
        assert "ace" in recorded
        answers.set()
        await polling
        assert world.period("bee") == as_totals(world.calls.total("bee"))


async def test_where_one_range_cannot_be_listed(
    netra: ThreadedEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polls succeed, tenants of all other ranges are found, and those of this one once it can be listed."""
    bad_ns: int | None = NOON - 90 * MINUTE_NS
    list_traces = AsyncNetraClient.list_traces

    async def failing(self: AsyncNetraClient, start: Any, end: Any, *args: Any, **kwargs: Any) -> Any:
        if bad_ns is not None and parse_time_ns(start, 0) <= bad_ns < parse_time_ns(end, 0):
            raise NetraUnavailable("HTTP 500", status=500)
        return await list_traces(self, start, end, *args, **kwargs)

    monkeypatch.setattr(AsyncNetraClient, "list_traces", failing)
    async with World(netra, tmp_path / "state").running() as world:
        world.calls.more("ace", NOON)
        world.calls.more("bee", bad_ns)
        world.calls.more("cat", NOON - 5 * HOUR_NS)
        for _ in range(3):
            await world.poll()
        assert world.meter.view.polled_ns
        assert world.period("ace") == as_totals(world.calls.total("ace"))
        assert world.period("cat") == as_totals(world.calls.total("cat"))
        assert world.period("bee") is None
        bad_ns = None
        for _ in range(12):
            await world.poll()
        assert world.period("bee") == as_totals(world.calls.total("bee"))


async def test_what_is_used_as_label_sets_change_is_in_one_of_them(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """When a tenant loses its own label set, its later usage counts in `OTHER`."""
    async with World(netra, tmp_path / "state", tenant_limit=1).running() as world:
        shown: dict[str, float] = {}

        async def poll() -> None:
            await world.poll()
            shown.update({label: counted.used.tokens for label, counted in world.meter.view.counters})

        await poll()
        for tenant_id in ("a", "b"):
            world.calls.more(tenant_id, world.clock.now_ns(), prompt=10)
        for _ in range(3):
            await poll()
        for turn, tenant_id in enumerate(["b", "a", "b", "a"]):
            world.calls.more("a", world.clock.now_ns(), prompt=7 * (turn + 1))
            world.calls.more(tenant_id, world.clock.now_ns(), prompt=10 ** (turn + 3))
            for _ in range(4):
                await poll()
        total = world.calls.total("a")[0] + world.calls.total("b")[0]
        assert set(shown) == {"a", "b", OTHER}
        assert sum(shown.values()) == total


@pytest.mark.parametrize(("before", "after"), [("day", "month"), ("month", "day")])
async def test_another_kind_of_period(netra: ThreadedEmulator, tmp_path: Path, before: str, after: str) -> None:
    """The counter continues unchanged, and the gauge shows the new period."""
    async with World(netra, tmp_path / "state", period=before).running() as world:
        world.calls.more("ace", NOON - 48 * HOUR_NS, prompt=5000)
        await world.poll()
        world.calls.more("ace", world.clock.now_ns(), prompt=1000)
        for _ in range(3):
            await world.poll()
        used = world.used("ace")
        assert used == as_totals((1020, 1, world.calls.given[2].cost))
        world.options["period"] = after
        call = world.calls.more("ace", world.clock.now_ns(), prompt=1)
        world.restart()
        for _ in range(2):
            await world.poll()
        assert world.used("ace") == as_totals((1020 + call.tokens, 2, world.calls.given[2].cost + call.cost))
        since_ns = NOON - 12 * HOUR_NS if after == "day" else 0
        assert world.period("ace") == as_totals(world.calls.total("ace", since_ns))


async def test_a_tenant_whose_first_trace_comes_late(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """From time to time, discovery looks back as far as a trace may be late."""
    async with World(netra, tmp_path / "state").running() as world:
        await world.poll()
        await world.poll(after_s=6 * 3600)
        world.calls.more("late", world.clock.now_ns() - 5 * HOUR_NS)
        for _ in range(FAR_POLLS + 3):
            await world.poll(after_s=10)
        assert world.used("late") == as_totals(world.calls.total("late"))


async def test_sessions_of_the_tenants_that_are_shown(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Sessions of other tenants, of no tenant, and one named like `OTHER` do not count as theirs."""
    async with World(netra, tmp_path / "state", sessions=3, tenants=("ace",)).running() as world:
        for tenant_id, session_id, prompt in (
            ("ace", "a1", 100),
            ("ace", OTHER, 300),
            ("bee", "b1", 900),
            ("", "n1", 800),
        ):
            world.calls.more(tenant_id, NOON, prompt=prompt, session_id=session_id)
        await world.poll()
        sessions = {one.session_id: one.totals for one in world.meter.view.sessions}
        assert set(sessions) == {"a1", OTHER}
        assert sum(sessions.values(), UsageTotals()) == as_totals(world.calls.total("ace"))


async def test_a_rejected_key_ends_the_poll(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The meter does not try every tenant to find out."""
    async with World(netra, tmp_path / "state", tenants=tuple(f"t{n}" for n in range(100))).running() as world:
        spoil(netra, Failing("", 401))
        with pytest.raises(NetraUnauthorized):
            await world.poll()
        assert netra.call(lambda: netra.emulator.status[401]) <= 16


async def test_a_revoked_key_does_not_turn_off_the_dashboards(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Once the key is valid again, the charts are back."""
    async with World(netra, tmp_path / "state").running() as world:
        world.calls.more("ace", NOON)
        spoil(netra, Failing("", 401))
        with pytest.raises(NetraUnauthorized):
            await world.poll()
        spoil(netra)
        for _ in range(CHART_POLLS):
            await world.poll()
        assert world.meter.view.charts


async def test_nothing_is_shown_that_is_not_recorded(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """If the state cannot be written, the view stays as it was."""
    async with World(netra, tmp_path / "state").running() as world:
        for _ in range(3):
            world.calls.more("ace", world.clock.now_ns())
            await world.poll()
        before = world.meter.view
        (tmp_path / "state" / "state.db").unlink()
        world.calls.more("ace", world.clock.now_ns())
        with pytest.raises(StateNotWritten):
            await world.poll()
        assert world.meter.view == before


@pytest.mark.parametrize("seed", some(1, range(4)))
async def test_a_random_sequence_of_events(netra: ThreadedEmulator, tmp_path: Path, seed: int) -> None:
    """Usage grows, arrives late, shrinks and crosses months, with restarts in between: counters never go down, and
    counters minus corrections equal the usage since counting began."""
    chance = random.Random(seed)
    tenants = [f"t{number}" for number in range(4)]
    async with World(netra, tmp_path / "state", announce_s=0.0).running() as world:
        for tenant_id in tenants:
            world.calls.more(tenant_id, NOON - HOUR_NS)
        world.clock.start_ns = datetime_ns(datetime(2026, 11, 30, 20, tzinfo=UTC))
        await world.poll()
        base = {tenant_id: world.calls.total(tenant_id) for tenant_id in tenants}
        last: dict[str, UsageTotals] = {}
        await world.poll()
        for _ in range(size(25, 60)):
            match chance.choice(["more", "more", "late", "change", "restart", "time"]):
                case "more":
                    world.calls.more(chance.choice(tenants), world.clock.now_ns(), prompt=chance.randrange(5000))
                case "late":
                    late_ns = chance.randrange(12) * HOUR_NS
                    world.calls.more(
                        chance.choice(tenants), world.clock.now_ns() - late_ns, completion=chance.randrange(500)
                    )
                case "change":
                    world.calls.change(chance.choice(list(world.calls.given)), prompt=chance.randrange(5000))
                case "restart":
                    world.restart()
                case "time":
                    world.clock.elapsed_s += chance.choice([600, 7200])
            await world.poll()
            for tenant_id in tenants:
                used = world.used(tenant_id)
                assert used is not None
                before = last.get(tenant_id, UsageTotals())
                assert used.tokens >= before.tokens
                assert used.cost >= before.cost - 1e-12
                last[tenant_id] = used
        for _ in range(IDLE_POLLS):
            await world.poll()
        for tenant_id in tenants:
            used = world.used(tenant_id)
            assert used is not None
            tokens, requests, cost = world.calls.total(tenant_id)
            since = tokens - base[tenant_id][0], requests - base[tenant_id][1], cost - base[tenant_id][2]
            assert used - world.corrected(tenant_id) == as_totals(since)
