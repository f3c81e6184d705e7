"""What a lane does with times without traces, and with traces that cannot be read."""

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
    dead_letters,
)
from netra_otel_bridge.core.clock import SystemClock
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.pipeline.windows import QueuedWindow, WindowQueue, without
from tests.support.emulator import running_emulator

KEY = "nk-reading"
S = 10**9
HOUR_NS = 3600 * S


class Asked:
    """Netra where the windows of these numbers hold something; ``together`` are the questions about several."""

    def __init__(self, full: set[int]) -> None:
        self.full = full
        self.together: list[Window] = []

    async def may_hold(self, window: Window) -> bool:
        self.together.append(window)
        await asyncio.sleep(0)
        return not self.full.isdisjoint(range(window.start_ns, window.end_ns))

    async def list_all(self, stretches: WindowQueue, begun: list[QueuedWindow]) -> None:
        while (stretch := await stretches.next()) is not None:
            begun.append(stretch)
            if not stretch.is_empty:
                await asyncio.sleep(0)
                stretches.listed(found=stretch.window.start_ns in self.full)


@given(st.integers(0, 400), st.sets(st.integers(0, 400), max_size=12), st.sets(st.integers(0, 400), max_size=3))
def test_windows_that_hold_something_are_listed_one_by_one(count: int, full: set[int], missing: set[int]) -> None:
    """All others in few calls; each once, in order, with several that list, and gaps are left out."""
    windows = [Window(at, at + 1) for at in range(count) if at not in missing]
    asked = Asked(full)
    stretches, begun = WindowQueue(windows, asked.may_hold), list[QueuedWindow]()

    async def listing() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(asked.list_all(stretches, begun))

    asyncio.run(listing())
    assert [at for one in begun for at in range(one.window.start_ns, one.window.end_ns)] == [
        window.start_ns for window in windows
    ]
    assert sum(one.windows for one in begun) == len(windows)
    listed = {one.window.start_ns for one in begun if not one.is_empty}
    assert full & {window.start_ns for window in windows} <= listed
    gaps = len(full) + len(missing) + 1
    assert len(listed) + len(asked.together) <= 28 * gaps


@pytest.mark.parametrize(
    ("most", "error", "questions"),
    [(0, NetraRejected, (1, 500)), (0, NetraUnavailable, (1, 500)), (20, NetraUnavailable, (4, 472))],
)
async def test_where_netra_does_not_answer_for_so_long_it_is_asked_less(
    most: int, error: type[NetraError], questions: tuple[int, int]
) -> None:
    """A question that is refused is asked for half as long, one that fails no more."""
    asked: list[Window] = []

    async def refuse(window: Window) -> bool:
        asked.append(window)
        if window.end_ns - window.start_ns > most:
            raise error("the range is too long")
        return False

    stretches = WindowQueue([Window(at, at + 1) for at in range(500)], refuse)
    passed = listed = 0
    while (stretch := await stretches.next()) is not None:
        passed += stretch.windows
        if not stretch.is_empty:
            listed += 1
            stretches.listed(found=False)
    assert passed == 500
    assert (len(asked), listed) == questions


def test_many_years_before_the_first_trace_are_passed_in_few_calls(tmp_path: Path) -> None:
    """All of it is delivered, counted and remembered as if each hour had been listed; an estimate costs as little."""
    got: list[Any] = []
    with running_emulator(EmulatorOptions(port=0, seed=5, traces=12, spans_per_trace=4, api_key=KEY)) as netra:
        bridge = Bridge(environ={}, endpoint=netra.endpoint, api_key=KEY, state=str(tmp_path / "state"))
        estimate = bridge.estimate(from_="2014-01-01")
        report = bridge.replay(Named("kept", got.extend), from_="2014-01-01")
        again = bridge.replay(Named("kept", got.extend), from_="2014-01-01", query=TraceQuery())
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
    """It is counted, named, and kept as a dead letter where there is a state; all others are delivered."""
    read = AsyncNetraClient.list_spans_by_trace_id
    got: list[Any] = []
    with running_emulator(EmulatorOptions(port=0, seed=5, traces=12, spans_per_trace=4, api_key=KEY)) as netra:
        settings: dict[str, Any] = {"state": str(tmp_path / "state")} if state else {}
        bridge = Bridge(environ={}, endpoint=netra.endpoint, api_key=KEY, **settings)
        with bridge.client() as client:
            large = next(client.iter_traces("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z")).id

        async def list_spans(self: AsyncNetraClient, trace_id: str, *args: Any) -> Any:
            if trace_id == large:
                raise NetraResponseTooLarge("more than the cap")
            return await read(self, trace_id, *args)

        monkeypatch.setattr(AsyncNetraClient, "list_spans_by_trace_id", list_spans)
        report = bridge.replay(Named("kept", got.extend), since="30d").destinations[0]
    assert len(got) == report.delivered == 11 * 4
    assert (report.unreadable, report.exit_code) == (1, 3)
    assert any(large in problem and "more than the cap" in problem for problem in report.problems)
    if state:
        assert len(list(dead_letters(tmp_path / "state"))) == 1
