"""Backfill: each step has the totals of the usage calls, whichever calls returned them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.core.errors import (
    NetraSchemaError,
    NetraUnavailable,
    NotKnown,
    UsageError,
)
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.source import AsyncNetraClient, NetraClient
from netra_otel_bridge.usage.backfill import (
    MAX_SAMPLES,
    UsageBackfill,
    count_steps,
    in_order,
)
from netra_otel_bridge.usage.discovery import find_tenants
from netra_otel_bridge.usage.totals import UsageTotals
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.examples import spread
from tests.support.fake_clock import FakeClock
from tests.support.scripted_api import Reply, Request, ScriptedApi, json_reply, page, reply, trace
from tests.support.waiting import SOON_S

HOUR_NS = 3600 * 10**9
END_NS = 1_795_300_000 * 10**9 // HOUR_NS * HOUR_NS
DAY = Window(END_NS - 24 * HOUR_NS, END_NS)
OPTIONS = EmulatorOptions(port=0, seed=3, traces=120, spans_per_trace=6, end_ns=END_NS, api_key="k")


def client_of(endpoint: str) -> AsyncNetraClient:
    return AsyncNetraClient(api_key="k", endpoint=endpoint, clock=FakeClock())


async def read(
    client: AsyncNetraClient, tenants: list[str], whole: Window, step_ns: int, at_once: int = 8
) -> UsageBackfill:
    """Read a whole range. Check that the readings start at 0, never go down, and are in order of time."""
    usage = UsageBackfill(client, tenants, whole, step_ns, at_once)
    await usage.check(known=True)
    readings = [one async for one in usage.readings()]
    assert [one.tenant_id for one in readings] == [name for name in tenants for _ in range(usage.steps + 1)]
    for tenant in tenants:
        mine = [one for one in readings if one.tenant_id == tenant]
        assert (mine[0].time_ns, mine[0].total) == (whole.start_ns, UsageTotals())
        assert mine[-1].time_ns == whole.end_ns
        assert mine[-1].total == usage.totals[tenant]
        for before, after in pairwise(mine):
            assert before.time_ns < after.time_ns
            assert (after.total - before.total) == (after.total - before.total).positive()
    return usage


def reported(netra: ThreadedEmulator, tenant: str, window: Window) -> UsageTotals:
    """Return what the usage call reports."""
    with NetraClient(api_key="k", endpoint=netra.endpoint) as client:
        usage = client.get_tenant_usage(tenant, iso_ms(window.start_ns), iso_ms(window.end_ns))
        assert usage is not None
        return UsageTotals(usage.token_count, usage.request_count, usage.total_cost)


def calls(netra: ThreadedEmulator) -> dict[str, int]:
    return netra.call(lambda: dict(netra.emulator.calls))


@pytest.mark.parametrize(
    ("step_ns", "fault"), spread(2, [HOUR_NS, 24 * HOUR_NS // 7, 5 * HOUR_NS], ["no-dashboard", "no-dashboard=404"])
)
def test_each_step_is_a_usage_call(step_ns: int, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """Without dashboard calls, each sum is what Netra reports up to then, and the log has one line about it."""
    caplog.set_level(logging.WARNING)
    with running_emulator(OPTIONS) as netra:
        netra.set_faults(fault)

        async def work() -> None:
            async with client_of(netra.endpoint) as client:
                tenants = await find_tenants(client, DAY, 5 * HOUR_NS)
                usage = UsageBackfill(client, tenants, DAY, step_ns, 8)
                await usage.check(known=True)
                seen = [one async for one in usage.readings()]
                for one in seen[1::3]:
                    if one.time_ns > DAY.start_ns:
                        whole = await client.get_tenant_usage(one.tenant_id, iso_ms(DAY.start_ns), iso_ms(one.time_ns))
                        assert whole is not None
                        assert (one.total.tokens, one.total.requests) == (whole.token_count, whole.request_count)
                        assert one.total.cost == pytest.approx(whole.total_cost)
                assert usage.differing == []
                assert len(tenants) > 2

        asyncio.run(work())
    assert len(caplog.records) == (1 if step_ns == HOUR_NS else 0)


@pytest.mark.parametrize("whole", [DAY, Window(DAY.start_ns, DAY.end_ns - HOUR_NS // 3)])
def test_charts_give_the_same_in_few_calls(whole: Window) -> None:
    """If the key allows dashboard calls, a tenant's hours take five calls and equal those of the usage calls."""
    with running_emulator(OPTIONS) as netra:

        async def work(faults: tuple[str, ...]) -> UsageBackfill:
            netra.set_faults(*faults)
            async with client_of(netra.endpoint) as client:
                return await read(client, await find_tenants(client, whole, 24 * HOUR_NS), whole, HOUR_NS)

        charted = asyncio.run(work(()))
        asked = calls(netra)
        stepped = asyncio.run(work(("no-dashboard",)))
        tenants = len(charted.totals)
        assert asked["query_data"] == 3 * tenants
        assert asked["tenant_usage"] == 2 * tenants
        assert charted.totals.keys() == stepped.totals.keys()
        for tenant, total in charted.totals.items():
            assert (total.tokens, total.requests) == (stepped.totals[tenant].tokens, stepped.totals[tenant].requests)
            assert total.cost == pytest.approx(stepped.totals[tenant].cost)
            assert total.cost == pytest.approx(reported(netra, tenant, whole).cost)


def test_charts_that_differ_are_not_taken() -> None:
    """The usage calls are the reference: if charts do not add up to them, each step is a usage call."""
    with running_emulator(OPTIONS) as netra:
        netra.set_faults("usage-factor=2")

        async def work() -> UsageBackfill:
            async with client_of(netra.endpoint) as client:
                return await read(client, ["AceTech"], DAY, HOUR_NS)

        usage = asyncio.run(work())
        assert usage.totals["AceTech"].requests == reported(netra, "AceTech", DAY).requests
        netra.set_faults()
        assert usage.totals["AceTech"].requests == 2 * reported(netra, "AceTech", DAY).requests
        assert calls(netra)["tenant_usage"] > 24


@pytest.mark.parametrize("shift_ns", [1_000_000, HOUR_NS // 2])
def test_charts_need_whole_steps(shift_ns: int) -> None:
    """A range that does not start on a full hour has steps that no chart has: only usage calls are made."""
    with running_emulator(OPTIONS) as netra:

        async def work() -> UsageBackfill:
            async with client_of(netra.endpoint) as client:
                return await read(client, ["AceTech"], Window(DAY.start_ns + shift_ns, DAY.end_ns), HOUR_NS)

        assert asyncio.run(work()).steps == 24
        assert "query_data" not in calls(netra)


def usage_api(answer: Callable[[str, int], dict[str, Any] | Reply]) -> Callable[[Request], Reply]:
    """Serve usage calls alone. ``answer`` gets the tenant and the hour within the range; -1 is the whole range."""

    def answered(request: Request) -> Reply:
        url = urlsplit(request.target)
        if not url.path.startswith("/usage/tenants/"):
            return reply(b"{}", status=404)
        tenant = unquote(url.path.removeprefix("/usage/tenants/"))
        times = parse_qs(url.query)
        hours = {iso_ms(DAY.start_ns + hour * HOUR_NS): hour for hour in range(25)}
        start, end = hours[times["startTime"][0]], hours[times["endTime"][0]]
        given = answer(tenant, start if end == start + 1 else -1)
        return given if isinstance(given, Reply) else json_reply({"data": given})

    return answered


def used(tenant: str | None, tokens: int = 0, cost: float = 0.0) -> dict[str, Any]:
    known = {} if tenant is None else {"tenant_id": tenant}
    return {**known, "tokenCount": tokens, "requestsCount": tokens, "sessionsCount": 1, "totalCost": cost}


async def test_a_step_of_which_netra_knows_nothing_is_0() -> None:
    """A response without the tenant's id means no usage in that step, if Netra knows the tenant in the range."""

    def answer(tenant: str, hour: int) -> dict[str, Any]:
        return used(tenant, 30, 3.0) if hour == -1 else used(tenant if hour in (4, 9, 11) else None, 10, 1.0)

    async with ScriptedApi(usage_api(answer)) as api, client_of(api.endpoint) as client:
        usage = await read(client, ["t/1"], DAY, HOUR_NS)
        assert (usage.totals, usage.differing) == ({"t/1": UsageTotals(30, 30, 3.0)}, [])


async def test_steps_that_do_not_add_up_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """One line counts the tenants whose steps differ from the range's total, and names the first."""

    def answer(tenant: str, hour: int) -> dict[str, Any]:
        return used(tenant, 239 if tenant != "good" else 240, 1.0) if hour == -1 else used(tenant, 10, 1 / 24)

    async with ScriptedApi(usage_api(answer)) as api, client_of(api.endpoint) as client:
        usage = await read(client, ["a", "b", "good"], DAY, HOUR_NS)
        assert usage.differing == ["a", "b"]
    (line,) = [one.getMessage() for one in caplog.records if "add up" in one.getMessage()]
    assert "2 tenants, among them 'a'" in line


async def test_the_range_is_asked_for_again_before_it_counts_as_different() -> None:
    """Usage that arrives between the first call and the last does not count as a difference."""
    asked = []

    def answer(tenant: str, hour: int) -> dict[str, Any]:
        asked.append(hour)
        return used(tenant, 230 if asked.count(-1) == 1 else 240) if hour == -1 else used(tenant, 10)

    async with ScriptedApi(usage_api(answer)) as api, client_of(api.endpoint) as client:
        assert (await read(client, ["a"], DAY, HOUR_NS)).differing == []
    assert asked.count(-1) == 2


async def test_a_figure_below_0_is_an_error() -> None:
    """A counter cannot go down: the error names the tenant and the step."""

    def answer(tenant: str, hour: int) -> dict[str, Any]:
        return used(tenant, -5 if hour == 3 else 10)

    async with ScriptedApi(usage_api(answer)) as api, client_of(api.endpoint) as client:
        with pytest.raises(NetraSchemaError, match=f"tenant 'a'.*{iso_ms(DAY.start_ns + 3 * HOUR_NS)}.*below 0"):
            await read(client, ["a"], DAY, HOUR_NS)


async def test_an_unknown_tenant() -> None:
    """A named tenant unknown to Netra is an error before any step is requested; a discovered one has used nothing."""

    def answer(tenant: str, _: int) -> dict[str, Any]:
        return used(None if tenant == "ghost" else tenant)

    async with ScriptedApi(usage_api(answer)) as api, client_of(api.endpoint) as client:
        usage = UsageBackfill(client, ["known", "ghost"], DAY, HOUR_NS, 4)
        with pytest.raises(NotKnown, match="'ghost'"):
            await usage.check(known=True)
        assert len(api.requests) == 2
        await usage.check(known=False)
        assert [one.total async for one in usage.readings()] == [UsageTotals()] * 50


async def test_a_call_that_fails_ends_the_others() -> None:
    """The error is raised, and no further step is requested."""

    def answer(tenant: str, hour: int) -> dict[str, Any] | Reply:
        return reply(b"no", status=503) if hour == 2 else used(tenant, 1)

    async with ScriptedApi(usage_api(answer)) as api, client_of(api.endpoint) as client:
        with pytest.raises(NetraUnavailable):
            await read(client, ["a"], DAY, HOUR_NS, 3)
        assert not [one for one in api.requests if iso_ms(DAY.start_ns + 6 * HOUR_NS) in unquote(one.target)]


async def test_tenants_are_found_in_the_traces(caplog: pytest.LogCaptureFixture) -> None:
    """Tenants are unique and sorted; an id that is a relative path is skipped, and no tenant at all is an error."""
    traces = [trace(1, tenant_id="b"), trace(2, tenant_id="a"), trace(3, tenant_id="b"), trace(4, tenant_id=None)]
    listed = json_reply(page([*traces, trace(5, tenant_id="../x")]))
    async with ScriptedApi([listed]) as api, client_of(api.endpoint) as client:
        assert await find_tenants(client, DAY, 24 * HOUR_NS) == ["a", "b"]
    assert "skipping tenant '../x'" in caplog.text
    async with ScriptedApi([json_reply(page([trace(1)]))]) as api, client_of(api.endpoint) as client:
        with pytest.raises(NotKnown, match="has a tenant"):
            await find_tenants(client, DAY, 24 * HOUR_NS)


def test_a_mistyped_step() -> None:
    """Exactly `MAX_SAMPLES` are allowed; more are an error with a hint."""
    assert count_steps(Window(0, MAX_SAMPLES * 10**9), 10**9) == MAX_SAMPLES
    with pytest.raises(UsageError, match="longer --step"):
        count_steps(Window(0, MAX_SAMPLES * 10**9), 10**9, 2)
    with pytest.raises(UsageError):
        count_steps(Window(0, MAX_SAMPLES * 10**9 + 1), 10**9)


@given(waits=st.lists(st.integers(0, 5), max_size=12), at_once=st.integers(1, 5))
def test_answers_come_in_order(waits: list[int], at_once: int) -> None:
    """Results keep the order of the calls, however long each takes; at most ``at_once`` are in flight."""
    in_flight = most = 0

    async def work(number: int, turns: int) -> int:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        for _ in range(turns):
            await asyncio.sleep(0)
        in_flight -= 1
        return number

    async def all_of_it() -> list[int]:
        return [one async for one in in_order((partial(work, *pair) for pair in enumerate(waits)), at_once)]

    assert asyncio.run(all_of_it()) == list(range(len(waits)))
    assert most <= at_once


async def test_what_is_left_is_cancelled() -> None:
    """Closing the iterator cancels the calls in flight."""
    ended = []

    async def work(number: int) -> int:
        try:
            await asyncio.sleep(60 if number else 0)
        finally:
            ended.append(number)
        return number

    answers = in_order((partial(work, number) for number in range(9)), 3)
    assert await anext(answers) == 0
    async with asyncio.timeout(SOON_S):
        await answers.aclose()
    assert ended == [0, 1, 2]
