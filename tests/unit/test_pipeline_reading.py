"""Reading: long times without traces, traces that cannot be read, and cursors that expire."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge import (
    AsyncNetraClient,
    Bridge,
    Named,
    NetraError,
    NetraRejected,
    NetraResponseTooLarge,
    NetraUnavailable,
    StateStore,
    TraceQuery,
    Window,
    held_traces,
)
from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.core.clock import SystemClock
from netra_otel_bridge.core.errors import NetraNotFound
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.pipeline.estimate import estimate
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget
from netra_otel_bridge.pipeline.reading import read_spans
from netra_otel_bridge.pipeline.windows import QueuedWindow, WindowQueue, split, without
from netra_otel_bridge.usage.discovery import find_tenants
from tests.support.emulator import running_emulator
from tests.support.examples import size
from tests.support.oracle import Oracle
from tests.support.streams import WINDOW, StreamedNetra, small, stored

KEY = "nk-reading"
S = 10**9
HOUR_NS = 3600 * S


class Asked:
    """A Netra in which the windows of these numbers hold something. ``probes`` are the calls about several windows."""

    def __init__(self, full: set[int]) -> None:
        self.full = full
        self.probes: list[Window] = []

    async def may_hold(self, window: Window) -> bool:
        self.probes.append(window)
        await asyncio.sleep(0)
        return not self.full.isdisjoint(range(window.start_ns, window.end_ns))

    async def list_all(self, queue: WindowQueue, begun: list[QueuedWindow]) -> None:
        while (queued := await queue.next()) is not None:
            begun.append(queued)
            if not queued.is_empty:
                await asyncio.sleep(0)
                queue.listed(found=queued.window.start_ns in self.full)


@given(st.integers(0, 400), st.sets(st.integers(0, 400), max_size=12), st.sets(st.integers(0, 400), max_size=3))
def test_windows_that_hold_something_are_listed_one_by_one(count: int, full: set[int], missing: set[int]) -> None:
    """The others take few calls; each window comes once, in order, with several listers, and without gaps."""
    windows = [Window(at, at + 1) for at in range(count) if at not in missing]
    asked = Asked(full)
    queue, begun = WindowQueue(windows, asked.may_hold), list[QueuedWindow]()

    async def listing() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(asked.list_all(queue, begun))

    asyncio.run(listing())
    assert [at for one in begun for at in range(one.window.start_ns, one.window.end_ns)] == [
        window.start_ns for window in windows
    ]
    assert sum(one.windows for one in begun) == len(windows)
    listed = {one.window.start_ns for one in begun if not one.is_empty}
    assert full & {window.start_ns for window in windows} <= listed
    gaps = len(full) + len(missing) + 1
    assert len(listed) + len(asked.probes) <= 28 * gaps


@pytest.mark.parametrize(
    ("most", "error", "questions"),
    [(0, NetraRejected, (1, 500)), (0, NetraUnavailable, (1, 500)), (20, NetraUnavailable, (4, 472))],
)
async def test_where_netra_does_not_answer_for_so_long_it_is_asked_less(
    most: int, error: type[NetraError], questions: tuple[int, int]
) -> None:
    """After a rejected probe the next ones are half as long; after one that fails otherwise there are no more."""
    asked: list[Window] = []

    async def refuse(window: Window) -> bool:
        asked.append(window)
        if window.end_ns - window.start_ns > most:
            raise error("the range is too long")
        return False

    queue = WindowQueue([Window(at, at + 1) for at in range(500)], refuse)
    passed = listed = 0
    while (queued := await queue.next()) is not None:
        passed += queued.windows
        if not queued.is_empty:
            listed += 1
            queue.listed(found=False)
    assert passed == 500
    assert (len(asked), listed) == questions


def test_many_years_before_the_first_trace_are_passed_in_few_calls(tmp_path: Path) -> None:
    """Everything is delivered, counted and recorded as if each hour had been listed; an estimate takes as few calls."""
    got: list[Any] = []
    first = f"{size(2023, 2014)}-01-01"
    with running_emulator(EmulatorOptions(port=0, seed=5, traces=12, spans_per_trace=4, api_key=KEY)) as netra:
        bridge = Bridge(environ={}, endpoint=netra.endpoint, api_key=KEY, state=str(tmp_path / "state"))
        estimate = bridge.estimate(from_=first)
        report = bridge.replay(Named("kept", got.extend), from_=first)
        again = bridge.replay(Named("kept", got.extend), from_=first, query=TraceQuery())
    (lane,) = report.destinations
    assert estimate.traces == 12
    assert max(estimate.api_calls, report.api_calls, again.api_calls) < 500
    assert (lane.delivered, len(got), again.destinations[0].delivered) == (48, 48, 0)
    assert report.window is not None
    assert lane.windows == -(-(report.window.end_ns - report.window.start_ns) // HOUR_NS)
    with StateStore.open(tmp_path / "state", SystemClock()) as store:
        finished = store.lane(netra.endpoint.removesuffix("/telemetry"), "kept").finished()
    assert without([report.window], [one.window for one in finished]) == []


@pytest.mark.parametrize("state", [True, False])
def test_a_trace_that_is_too_large_to_read_stops_no_other(
    state: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trace is counted, reported, and held back in the state if there is one; all others are delivered."""
    read = AsyncNetraClient.list_spans_by_trace_id
    got: list[Any] = []
    with running_emulator(EmulatorOptions(port=0, seed=5, traces=12, spans_per_trace=4, api_key=KEY)) as netra:
        settings: dict[str, Any] = {"state": str(tmp_path / "state")} if state else {}
        bridge = Bridge(environ={}, endpoint=netra.endpoint, api_key=KEY, **settings)
        with bridge.client() as client:
            large = next(client.iter_traces("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z")).id

        async def list_spans(self: AsyncNetraClient, trace_id: str, *args: Any, **kwargs: Any) -> Any:
            if trace_id == large:
                raise NetraResponseTooLarge("more than the cap")
            return await read(self, trace_id, *args, **kwargs)

        monkeypatch.setattr(AsyncNetraClient, "list_spans_by_trace_id", list_spans)
        report = bridge.replay(Named("kept", got.extend), since="30d").destinations[0]
    assert len(got) == report.delivered == 11 * 4
    assert (report.held_back, report.exit_code) == (1, 3)
    assert any(large in problem and "more than the cap" in problem for problem in report.problems)
    if state:
        assert [one.held.summary.id for one in held_traces(tmp_path / "state")] == [large]


def hours(traces: int) -> tuple[StreamedNetra, list[Window]]:
    """Return a Netra that holds traces of different tenants, and the windows around them."""
    oracle = Oracle()
    oracle.traces(traces, 2)
    return StreamedNetra(stored(oracle)), list(split(WINDOW, 24 * HOUR_NS))


@pytest.mark.parametrize("refused", [{1}, {2}, {1, 3, 5}])
def test_an_estimate_is_the_same_though_cursors_expire(refused: set[int]) -> None:
    """A listing, or a trace, that is read again counts each trace and span once, and the sample is the same."""

    async def estimated(refused: set[int]) -> Any:
        netra, windows = hours(80)
        netra.refused = refused
        found = await estimate(netra, SpanConverter("raw"), WINDOW, windows, TraceQuery(), netra._clock)
        assert netra.cursors > max(refused, default=0)
        return found.traces, found.sampled_traces, found.spans, found.size_bytes

    with small(page=7):
        whole = asyncio.run(estimated(set()))
        assert whole[:3] == (80, 50, 160)
        assert asyncio.run(estimated(refused)) == whole


def test_an_estimate_leaves_out_traces_that_are_gone() -> None:
    """A trace that Netra has no spans of counts as empty; if that is so of all, it is an error."""

    def gone(count: int) -> Any:
        netra, windows = hours(20)
        missing = {
            f"spans {trace.id}" for trace in list(netra.store.starting_in(WINDOW.start_ns, WINDOW.end_ns))[:count]
        }

        def fail(call: str, _: str | None) -> None:
            if call in missing:
                raise NetraNotFound("gone", status=404)

        netra.before = fail
        return asyncio.run(estimate(netra, SpanConverter("raw"), WINDOW, windows, TraceQuery(), netra._clock))

    assert gone(15).spans == 10
    with pytest.raises(NetraNotFound):
        gone(20)


@pytest.mark.parametrize("refused", [{1}, {2, 4}])
def test_tenants_are_found_though_cursors_expire(refused: set[int]) -> None:
    """A repeated listing finds the same tenants."""

    async def found(refused: set[int]) -> list[str]:
        netra, _ = hours(40)
        netra.refused = refused
        tenants = await find_tenants(netra, WINDOW, 24 * HOUR_NS)
        assert netra.cursors > max(refused, default=0)
        return tenants

    with small(page=7):
        whole = asyncio.run(found(set()))
        assert len(whole) > 1
        assert asyncio.run(found(refused)) == whole


async def test_a_trace_that_is_read_again_gives_back_what_it_had_reserved() -> None:
    """However often a cursor expires, a reservation holds one reading of the trace."""
    oracle = Oracle()
    oracle.traces(1, 9)
    netra, budget = StreamedNetra(stored(oracle)), MemoryBudget(10**9)
    sizes = []
    with small(page=3):
        for refused in (set(), {4}):
            netra.refused = refused
            reservation = budget.reserve()
            assert len(await read_spans(netra, oracle.trace_ids[0], reservation, lambda _: None)) == 9
            sizes.append(reservation.size_bytes)
            reservation.release()
    assert netra.cursors > 4
    assert sizes[0] == sizes[1] > 0
    assert budget.held_bytes == 0
