"""The service: following, retrying, and stopping."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from netra_otel_bridge import Bridge
from netra_otel_bridge.bridge import wiring
from netra_otel_bridge.core.clock import SystemClock
from netra_otel_bridge.core.errors import (
    ConfigurationError,
    DestinationRefuses,
    StateBusy,
    StateNotWritten,
)
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.otlp import read_document
from netra_otel_bridge.pipeline import polling
from netra_otel_bridge.service.service import Service
from netra_otel_bridge.state import read_status
from tests.support.emulator import ThreadedEmulator, otlp_document, otlp_span, running_emulator
from tests.support.waiting import DEADLINE_S, settled, until

S = 10**9
KEY = "nk-service"


class Kept(SpanExporter):
    """Stores spans; while ``down``, accepts none; rejects spans whose id ``poison`` selects."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.down = False
        self.poison: Callable[[int], bool] = lambda _: False

    def export(self, spans: Any) -> SpanExportResult:
        if self.down:
            raise ConnectionRefusedError("connection refused")
        if any(self.poison(span.context.span_id) for span in spans):
            raise ValueError("poison")
        self.spans += spans
        return SpanExportResult.SUCCESS

    def ids(self) -> Counter[int]:
        return Counter(span.context.span_id for span in self.spans)


class Other(Kept):
    """A destination with another name."""


def feed(netra: ThreadedEmulator, *spans: dict[str, Any]) -> None:
    assert netra.call(lambda: netra.emulator.store.ingest(read_document(otlp_document(*spans)))) == []


def trace(number: int, spans: int = 3, *, ago_s: float = 2.0) -> list[dict[str, Any]]:
    """Return a trace that started ``ago_s`` seconds ago; the ids of its spans are ``100 * number + n``."""
    start = time.time_ns() - int(ago_s * S)
    return [
        otlp_span(number, 100 * number + n, start_ns=start + n * 1000, parent=n and 100 * number) for n in range(spans)
    ]


@pytest.fixture
def netra() -> Any:
    with running_emulator(EmulatorOptions(port=0, api_key=KEY)) as emulator:
        yield emulator


def bridge_to(netra: ThreadedEmulator, state: Path, **settings: Any) -> Bridge:
    given = {"api_key": KEY, "poll": "100ms", "settle": "0s", "http_port": 0, "attempts": 2, **settings}
    return Bridge(environ={}, endpoint=netra.endpoint, state=str(state), **given)


@asynccontextmanager
async def running(
    bridge: Bridge, *to: SpanExporter, since_s: float = 3600, usage: bool = True
) -> AsyncIterator[Service]:
    service = Service(bridge, to=list(to), since=f"{since_s}s", usage=usage)
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    while not service.address and not task.done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    try:
        yield service
    finally:
        stop.set()
        await task


async def a_few_polls(service: Service) -> None:
    passes = [lane.passes for lane in service.health().lanes]
    await until(lambda: all(now.passes >= was + 3 for now, was in zip(service.health().lanes, passes, strict=True)))


async def test_new_late_and_changed_spans_are_delivered_once(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """New spans are delivered once; a late span is delivered alone; a changed span is delivered again, once."""
    mine = Kept()
    feed(netra, *trace(1))
    async with running(bridge_to(netra, tmp_path / "state"), mine) as service:
        await until(lambda: len(mine.spans) == 3)
        feed(netra, *trace(2))
        await until(lambda: len(mine.spans) == 6)
        feed(netra, otlp_span(1, 150, start_ns=time.time_ns() - S, parent=100))
        await until(lambda: len(mine.spans) == 7)
        await a_few_polls(service)
        assert mine.ids() == Counter([100, 101, 102, 200, 201, 202, 150])
        (lane,) = service.health().lanes
        assert (lane.read, lane.delivered, lane.problem, lane.stopped) == (7, 7, "", False)


async def test_a_poll_with_nothing_new_costs_one_listing(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Spans of known, unchanged traces are not fetched."""
    mine = Kept()
    for number in range(1, 6):
        feed(netra, *trace(number))
    async with running(bridge_to(netra, tmp_path / "state"), mine, since_s=200, usage=False) as service:
        await until(lambda: len(mine.spans) == 15)
        await a_few_polls(service)
        before, passes = sum(service.health().api_calls.values()), service.health().lanes[0].passes
        await a_few_polls(service)
        calls = sum(service.health().api_calls.values()) - before
        assert abs(calls - (service.health().lanes[0].passes - passes)) <= 1
    assert len(mine.spans) == 15


async def test_a_late_span_that_leaves_the_summary_as_it_was(
    netra: ThreadedEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late span within its trace's time, without tokens, changes no summary. The second read finds it."""
    monkeypatch.setattr("netra_otel_bridge.pipeline.windows.FAR_POLLS", 20)
    monkeypatch.setattr("netra_otel_bridge.pipeline.follower.FAR_POLLS", 20)
    mine = Kept()
    spans = trace(1, ago_s=20)
    spans[0]["endTimeUnixNano"] = str(int(spans[0]["startTimeUnixNano"]) + 10 * S)
    feed(netra, *spans)
    async with running(bridge_to(netra, tmp_path / "state"), mine) as service:
        await until(lambda: len(mine.spans) == 3)
        listed = await summaries(netra)
        feed(netra, otlp_span(1, 150, start_ns=int(spans[0]["startTimeUnixNano"]) + S, parent=100))
        assert await summaries(netra) == listed
        await until(lambda: len(mine.spans) == 4)
        passes = service.health().lanes[0].passes
        await until(lambda: service.health().lanes[0].passes > passes + 45)
        assert mine.ids() == Counter([100, 101, 102, 150])


def delivered(state: Path) -> dict[str, int]:
    return {lane.destination: lane.delivered for lane in read_status(state).lanes}


async def summaries(netra: ThreadedEmulator) -> Any:
    async with Bridge(environ={}, api_key=KEY, endpoint=netra.endpoint).async_client() as client:
        return (await client.list_traces("2020-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z")).traces


async def test_a_destination_that_is_down_delays_no_other(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Other destinations are not delayed; health and state name the problem; after recovery everything is delivered."""
    up, down = Kept(), Other()
    down.down = True
    feed(netra, *trace(1))
    async with running(bridge_to(netra, tmp_path / "state"), up, down) as service:
        await until(lambda: len(up.spans) == 3 and bool(service.health().lanes[1].problem))
        feed(netra, *trace(2))
        await until(lambda: len(up.spans) == 6)
        assert not service.health().ready
        assert "connection refused" in service.health().lanes[1].problem
        await until(lambda: read_status(tmp_path / "state").lanes[1].problem != "")
        await until(lambda: delivered(tmp_path / "state") == {"Kept": 6, "Other": 0})
        down.down = False
        await until(lambda: len(down.spans) == 6)
        await until(lambda: service.health().ready)
        await until(lambda: not any(lane.problem for lane in read_status(tmp_path / "state").lanes))
    assert up.ids() == down.ids() == Counter([100, 101, 102, 200, 201, 202])


async def test_a_restart_goes_on_where_it_was(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """After a restart, delivered spans are not sent again, and spans from the time in between are."""
    feed(netra, *trace(1))
    first = Kept()
    async with running(bridge_to(netra, tmp_path / "state"), first):
        await until(lambda: len(first.spans) == 3)
    feed(netra, *trace(2), otlp_span(1, 150, start_ns=time.time_ns() - S, parent=100))
    second = Kept()
    async with running(bridge_to(netra, tmp_path / "state"), second, since_s=0) as service:
        await until(lambda: len(second.spans) == 4)
        await a_few_polls(service)
    assert first.ids() == Counter([100, 101, 102])
    assert second.ids() == Counter([150, 200, 201, 202])


async def test_the_start_says_where_each_destination_begins(
    netra: ThreadedEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A new destination starts from now or ``since``; a known one resumes from its watermark."""
    caplog.set_level("INFO", "netra_otel_bridge.bridge.follow")
    bridge = bridge_to(netra, tmp_path / "state")
    async with running(bridge, Kept(), since_s=3600) as service:
        await a_few_polls(service)
    (line,) = [record.message for record in caplog.records if record.message.startswith("Kept:")]
    assert re.fullmatch(r"Kept: new, starting from 20[-\dT:.]+Z", line)
    (watermark_ns,) = [lane.watermark_ns for lane in read_status(tmp_path / "state").lanes]
    caplog.clear()
    stop = asyncio.Event()
    stopping = asyncio.create_task(Service(bridge, to=[Kept(), Other()]).run(stop))
    await until(lambda: len(caplog.records) >= 3)
    stop.set()
    await stopping
    assert [record.message for record in caplog.records[:3]] == [
        f"following {netra.endpoint.removesuffix('/telemetry')}",
        f"Kept: resuming from {iso_ms(watermark_ns)}",
        "Other: new, starting from now",
    ]


class Off(SystemClock):
    """A clock that is wrong, and may be set right."""

    def __init__(self, off_s: float) -> None:
        self.off_s = off_s

    def now_ns(self) -> int:
        return super().now_ns() + int(self.off_s * S)


@pytest.mark.parametrize("off_s", [-86400, -3600, 3600, 3 * 86400])
async def test_a_local_clock_that_is_wrong_and_set_right(netra: ThreadedEmulator, tmp_path: Path, off_s: float) -> None:
    """Netra's clock decides what is new, and the earlier clock how far it was followed; a correction changes nothing."""
    clock = Off(off_s)
    mine = Kept()
    given = {"api_key": KEY, "poll": "100ms", "settle": "0s", "http_port": 0, "state": str(tmp_path / "state")}
    service = Service(Bridge(environ={}, endpoint=netra.endpoint, clock=clock, **given), to=[mine])
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    await until(lambda: bool(service.address) and service.health().lanes[0].passes > 0)
    await a_few_polls(service)
    feed(netra, *trace(1, ago_s=0))
    await until(lambda: len(mine.spans) == 3)
    both_ns = min(clock.now_ns(), time.time_ns())
    assert abs(service.health().lanes[0].watermark_ns - both_ns) < DEADLINE_S * S
    assert "this machine's" in service.health().clock.problem
    clock.off_s = 0
    feed(netra, *trace(2, ago_s=0))
    await until(lambda: len(mine.spans) == 6)
    await until(lambda: abs(service.health().lanes[0].watermark_ns - time.time_ns()) < DEADLINE_S * S)
    assert not service.health().clock.problem
    stop.set()
    await running


async def test_a_restart_with_a_clock_that_is_a_day_behind(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Stored times lie in the future: the service asks Netra for the time and continues."""
    feed(netra, *trace(1))
    first, second = Kept(), Kept()
    async with running(bridge_to(netra, tmp_path / "state"), first, since_s=100):
        await until(lambda: len(first.spans) == 3)
    feed(netra, *trace(2))
    given = {"api_key": KEY, "poll": "100ms", "settle": "0s", "http_port": 0, "state": str(tmp_path / "state")}
    bridge = Bridge(environ={}, endpoint=netra.endpoint, clock=Off(-86400), **given)
    async with running(bridge, second, since_s=0):
        await until(lambda: len(second.spans) == 3)
    assert second.ids() == Counter([200, 201, 202])


async def test_it_starts_where_it_is_told(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Traces from before ``since`` are not followed."""
    feed(netra, *trace(1, ago_s=500), *trace(2, ago_s=5))
    mine = Kept()
    async with running(bridge_to(netra, tmp_path / "state"), mine, since_s=100) as service:
        await until(lambda: len(mine.spans) == 3)
        await a_few_polls(service)
    assert mine.ids() == Counter([200, 201, 202])


async def test_a_key_that_is_revoked_and_replaced(
    netra: ThreadedEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the key is rejected the service makes few calls and is not ready; it uses the new key once the file has it."""
    monkeypatch.setattr(polling, "KEY_LOOK_S", 0.2)
    key = tmp_path / "key"
    key.write_text("nk-revoked")
    feed(netra, *trace(1))
    mine = Kept()
    async with running(bridge_to(netra, tmp_path / "state", api_key=None, api_key_file=str(key)), mine) as service:
        await until(lambda: "401" in service.health().lanes[0].problem)
        calls = sum(service.health().api_calls.values())
        await asyncio.sleep(0.5)  # five polls: only time shows that no call is made
        assert sum(service.health().api_calls.values()) == calls
        assert not service.health().ready
        assert "nk-revoked" not in service.health().lanes[0].problem
        key.write_text(KEY)
        await until(lambda: len(mine.spans) == 3)
        await until(lambda: service.health().ready)


async def test_netra_down_for_a_while(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The service retries through 5xx; nothing is lost or repeated."""
    mine = Kept()
    async with running(bridge_to(netra, tmp_path / "state"), mine) as service:
        await until(lambda: service.health().ready)
        netra.set_faults("status-503=1000")
        feed(netra, *trace(1))
        await until(lambda: "503" in service.health().lanes[0].problem)
        netra.set_faults()
        await until(lambda: len(mine.spans) == 3)
        await until(lambda: service.health().ready)
    assert mine.ids() == Counter([100, 101, 102])


async def test_one_poisoned_span_is_dead_lettered_and_the_rest_is_delivered(
    netra: ThreadedEmulator, tmp_path: Path
) -> None:
    """The span becomes one dead letter in the state, with the reason."""
    mine = Kept()
    mine.poison = lambda span_id: span_id == 101
    feed(netra, *trace(1), *trace(2))
    async with running(bridge_to(netra, tmp_path / "state"), mine) as service:
        await until(lambda: len(mine.spans) == 5)
        await a_few_polls(service)
        (lane,) = service.health().lanes
        assert (lane.delivered, lane.dead_lettered, lane.refused) == (5, 1, 0)
    (status,) = read_status(tmp_path / "state").lanes
    assert status.dead_lettered == 1
    assert status.reasons == (("the exporter raised ValueError: poison", 1),)


async def test_a_destination_that_refuses_everything_stops_its_lane_alone(
    netra: ThreadedEmulator, tmp_path: Path
) -> None:
    """The other lane continues; when no lane is left the service ends with the error."""
    good, bad = Kept(), Other()
    bad.poison = lambda _: True
    for number in range(1, 60):
        feed(netra, *trace(number))
    alone = Service(bridge_to(netra, tmp_path / "one"), to=[bad], since="1h")
    with pytest.raises(DestinationRefuses):
        await asyncio.wait_for(alone.run(asyncio.Event()), DEADLINE_S)
    async with running(bridge_to(netra, tmp_path / "two"), good, bad) as service:
        await until(lambda: service.health().lanes[1].stopped)
        feed(netra, *trace(70))
        await until(lambda: len(good.spans) == 60 * 3)
        assert not service.health().ready


async def test_health_is_served(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The logged address serves liveness, readiness and metrics."""
    mine = Kept()
    feed(netra, *trace(1))
    async with running(bridge_to(netra, tmp_path / "state"), mine) as service:
        await until(lambda: service.health().ready and len(mine.spans) == 3)

        def get(path: str) -> str:
            request = urllib.request.Request(service.address + path, headers={"Accept": "application/json"})
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
                return str(response.read().decode())

        assert "ok" in await asyncio.to_thread(get, "/livez")
        ready = json.loads(await asyncio.to_thread(get, "/readyz"))
        assert ready["ready"] is True
        metrics = await asyncio.to_thread(get, "/metrics")
        assert 'netra_bridge_spans_delivered_total{destination="Kept"} 3.0' in metrics


async def test_a_state_that_is_in_use_or_lost(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A second service does not start; a service whose state is deleted stops and names the directory."""
    mine = Kept()
    feed(netra, *trace(1))
    service = Service(bridge_to(netra, tmp_path / "state"), to=[mine], since="60s")
    running = asyncio.create_task(service.run(asyncio.Event()))
    await until(lambda: len(mine.spans) == 3)
    second = Service(bridge_to(netra, tmp_path / "state"), to=[Kept()], since="1970-01-01")
    with pytest.raises(StateBusy, match="pid"):
        await second.run(asyncio.Event())
    for file in (tmp_path / "state").iterdir():
        file.unlink()
    feed(netra, *trace(2))
    with pytest.raises(StateNotWritten, match=str(tmp_path / "state")):
        await asyncio.wait_for(running, DEADLINE_S)


async def test_a_stop_that_cannot_record_what_was_answered_says_so(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The service does not end as if all were well."""
    answering, goes_on = threading.Event(), threading.Event()

    class Slow(Kept):
        def export(self, spans: Any) -> SpanExportResult:
            answering.set()
            goes_on.wait(DEADLINE_S)
            return super().export(spans)

    feed(netra, *trace(1))
    stop = asyncio.Event()
    service = Service(bridge_to(netra, tmp_path / "state"), to=[Slow()], since="60s")
    running = asyncio.create_task(service.run(stop))
    await until(answering.is_set)
    for file in (tmp_path / "state").iterdir():
        file.unlink()
    stop.set()
    await settled()
    goes_on.set()
    with pytest.raises(StateNotWritten, match=str(tmp_path / "state")):
        await asyncio.wait_for(running, DEADLINE_S)


async def test_the_lag_is_that_of_the_last_poll(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The watermark moves with each poll, so that the next poll lists only recent traces."""
    async with running(bridge_to(netra, tmp_path / "state"), Kept()) as service:
        await until(lambda: service.health().lanes[0].passes > 5)
        health = service.health()
        assert 0 <= health.now_ns - health.lanes[0].watermark_ns < DEADLINE_S * S
        assert 0 <= health.now_ns - health.lanes[0].checkpoint_ns < DEADLINE_S * S


async def test_a_change_that_is_reverted_is_delivered_too(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The destination ends with the latest version of a span, even if it received that version earlier."""
    mine = Kept()
    root, *others = trace(1)
    longer = root | {"endTimeUnixNano": str(int(root["endTimeUnixNano"]) + S)}
    feed(netra, *others)
    async with running(bridge_to(netra, tmp_path / "state"), mine) as service:
        for number, version in enumerate((root, longer, root), start=3):
            feed(netra, version)
            await until(lambda: len(mine.spans) == number)  # noqa: B023
        await a_few_polls(service)
    ends = [span.end_time for span in mine.spans if span.context.span_id == 100]
    assert ends == [int(one["endTimeUnixNano"]) for one in (root, longer, root)]


async def test_a_stop_while_a_destination_is_made(tmp_path: Path, netra: ThreadedEmulator, monkeypatch: Any) -> None:
    """A stop during start-up ends the service at once and in order; an error of a destination is raised."""
    begun = asyncio.Event()

    async def never(*_: Any, **__: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(wiring, "open_async", never)
    stop = asyncio.Event()
    task = asyncio.create_task(Service(bridge_to(netra, tmp_path / "state", to=["console"])).run(stop))
    await begun.wait()
    stop.set()
    await asyncio.wait_for(task, DEADLINE_S)
    with pytest.raises(ConfigurationError):
        await Service(bridge_to(netra, tmp_path / "other", to=[])).run(asyncio.Event())
