"""Foreign code, from its import to its export, affects only its own lane."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any, ClassVar

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from netra_otel_bridge import Bridge, Named, dead_letters
from netra_otel_bridge.bridge.check import check
from netra_otel_bridge.core.errors import (
    BridgeError,
    ConfigurationError,
    DestinationRefuses,
    UsageError,
)
from netra_otel_bridge.core.model.outcome import Delivered
from netra_otel_bridge.core.model.report import LaneReport, ReplayReport
from netra_otel_bridge.deliver import batch_of, learned_limits, open_async
from netra_otel_bridge.deliver.adapters import entry_points
from netra_otel_bridge.emulator import EmulatorOptions
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.exporters import ScriptedExporter
from tests.support.spans import make_span
from tests.support.waiting import DEADLINE_S, SOON_S, until

SPANS = 60


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    with running_emulator(EmulatorOptions(port=0, seed=4, traces=12, spans_per_trace=5, api_key="nk-test")) as emulator:
        yield emulator


def bridge_to(netra: ThreadedEmulator, **more: Any) -> Bridge:
    return Bridge(environ={}, api_key="nk-test", endpoint=netra.endpoint, attempts=1, **more)


class Exits(ScriptedExporter):
    def __init__(self) -> None:
        raise SystemExit(3)


class Interrupts(ScriptedExporter):
    def __init__(self) -> None:
        raise KeyboardInterrupt


released = threading.Event()


class Hangs(ScriptedExporter):
    begun: ClassVar[list[str]] = []

    def __init__(self) -> None:
        self.begun.append(threading.current_thread().name)
        released.wait(DEADLINE_S)
        super().__init__()


class Threaded(ScriptedExporter):
    made_on: ClassVar[list[str]] = []

    def __init__(self) -> None:
        super().__init__()
        self.made_on.append(threading.current_thread().name)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.made_on.append(threading.current_thread().name)
        return super().export(spans)


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make ``exporter:own`` load a name of this module."""

    def install(name: str) -> None:
        found = EntryPoint("own", name if ":" in name else f"{__name__}:{name}", entry_points.GROUP)
        monkeypatch.setattr(entry_points, "entry_points", lambda group: EntryPoints([found]))

    return install


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Exits", "failed to start: SystemExit: 3"),
        ("Interrupts", "failed to start: KeyboardInterrupt"),
        ("tests.support.data.exits:Exporter", "failed to load: SystemExit: no licence"),
    ],
)
async def test_an_exporter_that_ends_the_process_is_a_configuration_error(
    netra: ThreadedEmulator, entry: Callable[[str], None], name: str, words: str
) -> None:
    """The error has its name and what it raised, in a replay and as a line of a check."""
    entry(name)
    bridge = bridge_to(netra)
    with pytest.raises(ConfigurationError, match=words):
        await bridge.areplay("exporter:own", since="25h")
    asked, own = await check(bridge, "exporter:own")
    assert (asked.ok, own.ok, own.exit_code) == (True, False, 78)
    assert words in own.said


async def test_an_exporter_that_is_never_created_delays_no_other(
    entry: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Creating an exporter has a deadline, the loop keeps running meanwhile, and the caller can be cancelled."""
    Hangs.begun.clear()
    entry("Hangs")
    begun = time.monotonic()
    with pytest.raises(ConfigurationError, match=r"'own' was not set up in 0\.1 s"):
        await open_async("exporter:own", deadline_s=0.1)
    opening = asyncio.create_task(open_async("exporter:own", deadline_s=DEADLINE_S))
    await until(lambda: len(Hangs.begun) == 2)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert time.monotonic() - begun < SOON_S
    released.set()


async def test_an_exporter_is_made_where_it_exports(entry: Callable[[str], None]) -> None:
    """On one thread, which is not the loop's."""
    entry("Threaded")
    destination = await open_async("exporter:own", name="mine")
    assert await destination.send(batch_of((make_span(1),))) == Delivered()
    await destination.aclose()
    assert Threaded.made_on == ["export mine"] * 2


class Changes(SpanExporter):
    """An exporter that changes the spans it gets, and accepts none."""

    def __init__(self, *fields: str) -> None:
        self.fields = fields

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            for field in self.fields:
                setattr(span, field, None)
        raise ValueError("no")

    def shutdown(self) -> None:
        """Do nothing: there is nothing to release."""


def replayed(bridge: Bridge, *to: Any) -> tuple[BridgeError, ReplayReport]:
    with pytest.raises(BridgeError) as raised:
        bridge.replay(list(to), since="25h")
    assert raised.value.report is not None
    return raised.value, raised.value.report


def test_what_an_exporter_does_to_its_spans_is_its_own_affair(netra: ThreadedEmulator, tmp_path: Any) -> None:
    """The other lane has everything and dead letters are whole; if halves cannot be made, the exporter's lane ends in order."""
    whole = InMemorySpanExporter()
    bridge = bridge_to(netra, state=str(tmp_path))
    report = bridge.replay([Changes("_context", "_attributes"), Named("whole", whole)], since="25h")
    assert [(lane.delivered, lane.dead_lettered) for lane in report.destinations] == [(0, SPANS), (SPANS, 0)]
    letters = [stored.letter for stored in dead_letters(tmp_path)]
    assert len({one.span_id for one in letters}) == SPANS
    assert all('"attributes"' in one.document for one in letters)
    with pytest.raises(BridgeError, match="Changes: AttributeError: "):
        asyncio.run(bridge.aresend(Changes("_resource")))
    memory = InMemorySpanExporter()
    error, report = replayed(bridge_to(netra), Changes("_resource"), memory)
    assert str(error).startswith("Changes: AttributeError: ")
    assert error.__cause__ is not None
    assert [lane.delivered for lane in report.destinations] == [0, SPANS]


async def test_a_callback_that_cancels_its_task_ends_no_other_lane(netra: ThreadedEmulator) -> None:
    """The batch is tried again, and then only that callback's lane has an error."""

    async def cancels(_: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    memory = InMemorySpanExporter()
    with pytest.raises(BridgeError, match="the callback was cancelled"):
        await bridge_to(netra).areplay([cancels, memory], since="25h")
    assert len(memory.get_finished_spans()) == SPANS


def test_what_the_callers_own_callback_raises_is_raised(netra: ThreadedEmulator) -> None:
    """The exception of the caller's progress callback is raised unchanged."""

    def stop(_: LaneReport) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        bridge_to(netra).replay(InMemorySpanExporter(), since="25h", on_progress=stop)


async def test_progress_that_raises_a_cancellation_ends_the_replay(netra: ThreadedEmulator) -> None:
    """The replay ends, rather than wait for a task that nobody cancelled."""

    def progress(_: LaneReport) -> None:
        raise asyncio.CancelledError

    with pytest.raises(UsageError, match="on_progress raised CancelledError"):
        await asyncio.wait_for(bridge_to(netra).areplay(lambda _: None, since="25h", on_progress=progress), DEADLINE_S)


async def test_each_dead_letter_is_tried_however_many_are_refused(
    netra: ThreadedEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them were rejected before, so the limit on rejections does not apply."""
    monkeypatch.setattr(learned_limits, "REJECTED_AT_LEAST", 10)
    taken: list[ReadableSpan] = []
    wanted: set[int] = set()

    def picky(spans: Sequence[ReadableSpan]) -> None:
        if any(span.context.span_id not in wanted for span in spans):
            raise ValueError("not this one")
        taken.extend(spans)

    bridge = bridge_to(netra, state=str(tmp_path / "state"), batch_spans=4)
    with pytest.raises(DestinationRefuses):
        await bridge.areplay(Named("picky", picky), since="25h")
    letters = [stored.letter for stored in dead_letters(tmp_path / "state")]
    assert len(letters) >= 10
    monkeypatch.setattr(learned_limits, "REJECTED_AT_LEAST", 5)
    wanted |= {int(letter.span_id, 16) for letter in letters[-2:]}
    report = (await bridge.aresend(Named("picky", picky))).destinations[0]
    assert (report.delivered, report.dead_lettered) == (2, len(letters) - 2)
    assert {span.context.span_id for span in taken} == wanted
