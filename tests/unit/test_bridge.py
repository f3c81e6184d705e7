"""The library: replays to one and several destinations, queries, windows, stopping, following."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from netra_otel_bridge import (
    Bridge,
    Delivered,
    Named,
    Stopped,
    TraceFilter,
    TraceQuery,
    afollow,
    dead_letters,
    follow,
    read_status,
    replay,
    reset,
)
from netra_otel_bridge.bridge.check import check
from netra_otel_bridge.core.errors import (
    ConfigurationError,
    DestinationError,
    NetraUnauthorized,
    StateBusy,
    StateError,
    UsageError,
)
from netra_otel_bridge.core.model.progress import Progress
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.model.report import ReplayReport
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.otlp import read_document
from tests.support.emulator import START_NS, ThreadedEmulator, otlp_document, otlp_span, running_emulator
from tests.support.examples import size, some
from tests.support.fake_clock import FakeClock
from tests.support.fake_destination import FakeDestination
from tests.support.waiting import DEADLINE_S, settled, until

S = 10**9
KEY = "nk-test"
TRACES, SPANS = size(18, 30), 7
ALL = TRACES * SPANS


@pytest.fixture(scope="module")
def sample() -> Iterator[ThreadedEmulator]:
    """Run a Netra with `TRACES` traces of `SPANS` spans, from the last day."""
    with running_emulator(
        EmulatorOptions(port=0, seed=7, traces=TRACES, spans_per_trace=SPANS, api_key=KEY)
    ) as emulator:
        yield emulator


def bridge_to(emulator: ThreadedEmulator, **settings: Any) -> Bridge:
    return Bridge(
        environ={}, **{"api_key": KEY, "endpoint": emulator.endpoint, "attempts": 2, "window": "7d", **settings}
    )


def ids(spans: Any) -> list[tuple[int, int]]:
    return [(span.context.trace_id, span.context.span_id) for span in spans]


class Refuses(SpanExporter):
    """An exporter that rejects everything."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        raise AssertionError("the caller's own exporter was shut down")


def test_five_lines_replay_into_an_exporter_of_ones_own(
    sample: ThreadedEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment names Netra; everything is delivered once, and the exporter stays usable."""
    monkeypatch.setenv("NETRA_API_KEY", KEY)
    monkeypatch.setenv("NETRA_OTLP_ENDPOINT", sample.endpoint)
    mine = InMemorySpanExporter()
    report = replay(mine, since="25h")
    assert len(set(ids(mine.get_finished_spans()))) == len(mine.get_finished_spans()) == ALL
    (lane,) = report.destinations
    assert (lane.name, lane.traces, lane.spans, lane.delivered, lane.refused) == (
        "InMemorySpanExporter",
        TRACES,
        ALL,
        ALL,
        0,
    )
    assert report.exit_code == lane.exit_code == 0
    assert report.api_calls >= TRACES + 1
    assert mine.export([]) is SpanExportResult.SUCCESS


def test_two_replays_at_once_to_one_destination_of_a_state_are_refused(
    sample: ThreadedEmulator, tmp_path: Path
) -> None:
    """A second replay to one destination at the same time is rejected: both would send the same. Afterwards it may run."""
    bridge = bridge_to(sample, state=str(tmp_path / "state"))
    taken: list[ReadableSpan] = []
    begun, go_on = threading.Event(), threading.Event()

    def slowly(spans: Sequence[ReadableSpan]) -> None:
        begun.set()
        go_on.wait(DEADLINE_S)
        taken.extend(spans)

    with bridge.open_state() as state, ThreadPoolExecutor(1) as threads:
        first = threads.submit(bridge.replay, Named("mine", slowly), since="25h", state=state)
        assert begun.wait(DEADLINE_S)
        with pytest.raises(StateBusy, match="another call sends to mine"):
            bridge.replay(Named("mine", taken.extend), since="25h", state=state)
        other: list[ReadableSpan] = []
        assert bridge.replay(Named("other", other.extend), since="25h", state=state).exit_code == 0
        go_on.set()
        assert first.result().exit_code == 0
        assert bridge.replay(Named("mine", taken.extend), since="25h", state=state).destinations[0].delivered == 0
    assert (len(taken), len(other)) == (ALL, ALL)


def test_the_second_destination_gets_everything_when_the_first_fails(sample: ThreadedEmulator) -> None:
    """Lanes are independent; the first error is raised, and carries the whole report."""
    mine = InMemorySpanExporter()
    with pytest.raises(DestinationError) as raised:
        bridge_to(sample, attempts=1).replay([Refuses(), mine], since="25h")
    assert len(mine.get_finished_spans()) == ALL
    report = raised.value.report
    assert isinstance(report, ReplayReport)
    failed, done = report.destinations
    assert failed.error is raised.value
    assert (failed.delivered, done.delivered, done.error) == (0, ALL, None)
    assert report.exit_code == raised.value.exit_code != 0


def test_a_destination_that_takes_part_loses_no_count(sample: ThreadedEmulator) -> None:
    """Each span of the report is delivered or rejected, and rejections are not a success."""

    class Picky(InMemorySpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            if any(span.context.span_id % 10 == 0 for span in spans):
                raise ValueError("not this one")
            return super().export(spans)

    mine = Picky()
    report = bridge_to(sample, attempts=1).replay(mine, since="25h")
    (lane,) = report.destinations
    poison = lane.spans - len(mine.get_finished_spans())
    assert poison > 0
    assert lane.refused == poison
    assert lane.delivered == lane.spans - poison
    assert report.exit_code == 3


QUERIES: list[tuple[str, Any]] = [
    ("tenant_id", lambda trace: TraceQuery(tenant_id=trace.tenant_id)),
    ("session_id", lambda trace: TraceQuery(session_id=trace.session_id)),
    ("user_id", lambda trace: TraceQuery(user_id=trace.user_id)),
    ("id", lambda trace: TraceQuery(trace_ids=(trace.id,))),
    ("has_error", lambda trace: TraceQuery(filters=(TraceFilter("has_error", trace.has_error, type="boolean"),))),
]


@pytest.mark.parametrize(("field", "query"), QUERIES, ids=[name for name, _ in QUERIES])
def test_a_query_replays_the_traces_it_means(sample: ThreadedEmulator, field: str, query: Any) -> None:
    """A query selects exactly the traces whose summary matches, with all their spans."""
    bridge = bridge_to(sample)
    window = bridge.window(since="25h")
    with bridge.client() as client:
        traces = list(client.iter_traces(iso_ms(window.start_ns), iso_ms(window.end_ns), limit=100))
    wanted = {int(trace.id, 16) for trace in traces if getattr(trace, field) == getattr(traces[3], field)}
    mine = InMemorySpanExporter()
    bridge.replay(mine, since="25h", query=query(traces[3]))
    assert Counter(trace for trace, _ in ids(mine.get_finished_spans())) == dict.fromkeys(wanted, SPANS)
    assert 0 < len(wanted) < TRACES


def test_several_traces_are_asked_for_one_by_one(sample: ThreadedEmulator) -> None:
    """Trace ids are joined with "or"; naming one twice does not send it twice."""
    bridge = bridge_to(sample)
    with bridge.client() as client:
        window = bridge.window(since="25h")
        traces = [trace.id for trace in client.iter_traces(iso_ms(window.start_ns), iso_ms(window.end_ns))]
    mine = InMemorySpanExporter()
    report = bridge.replay(mine, since="25h", query=TraceQuery(trace_ids=(traces[0], traces[5], traces[0])))
    assert report.destinations[0].traces == 2
    assert {trace for trace, _ in ids(mine.get_finished_spans())} == {int(traces[0], 16), int(traces[5], 16)}
    assert len(mine.get_finished_spans()) == 14


def test_an_estimate_counts_and_sends_nothing(sample: ThreadedEmulator) -> None:
    """Below the sample size the estimate of what is read is exact."""
    bridge = bridge_to(sample, window="2d")
    report = bridge.replay(InMemorySpanExporter(), since="25h")
    before = sample.emulator.calls["spans"]
    estimate = bridge.estimate(since="25h")
    assert sample.emulator.calls["spans"] - before == TRACES
    assert (estimate.traces, estimate.sampled_traces, estimate.spans) == (TRACES, TRACES, ALL)
    assert estimate.api_calls == report.api_calls == TRACES + 1
    assert estimate.size_bytes > 10_000
    assert bridge.estimate(from_="2020-01-01", until="2020-01-02").spans == 0


def test_an_estimate_counts_the_calls_of_every_window(sample: ThreadedEmulator) -> None:
    """The estimate counts the calls of a replay in windows of an hour."""
    bridge = bridge_to(sample)
    calls = bridge.replay(InMemorySpanExporter(), since="25h").api_calls
    assert bridge.estimate(since="25h").api_calls == calls


async def test_the_synchronous_doors_refuse_a_running_loop(sample: ThreadedEmulator) -> None:
    """Blocking calls in an event loop name what to await instead, and leave no coroutine behind."""
    bridge = bridge_to(sample)
    for call in (lambda: bridge.replay(InMemorySpanExporter(), since="25h"), lambda: bridge.estimate(since="25h")):
        with pytest.raises(UsageError, match=r"await a(replay|estimate) instead"):
            call()
    mine = InMemorySpanExporter()
    assert (await bridge.areplay(mine, since="25h")).destinations[0].delivered == ALL
    assert (await bridge.aestimate(since="25h")).spans == ALL


def test_a_refused_key_is_raised_with_the_report(sample: ThreadedEmulator) -> None:
    """A rejected key delivers nothing, is not retried, and is in no message."""
    with pytest.raises(NetraUnauthorized) as raised:
        bridge_to(sample, api_key="nk-canary").replay(InMemorySpanExporter(), since="25h")
    assert isinstance(raised.value.report, ReplayReport)
    assert raised.value.report.exit_code == 77
    assert "nk-canary" not in str(raised.value) + repr(raised.value.report)


def test_what_is_missing_is_named() -> None:
    """A missing endpoint, key or destination is reported before any request."""
    with pytest.raises(ConfigurationError, match="NETRA_OTLP_ENDPOINT"):
        Bridge(environ={}, api_key="k").client()
    with pytest.raises(ConfigurationError, match="NETRA_API_KEY"):
        Bridge(environ={}, endpoint="https://n.example").client()
    with pytest.raises(ConfigurationError, match="no destination"):
        Bridge(environ={"OTEL_TRACES_EXPORTER": "none"}, api_key="k", endpoint="https://n.example").replay(since="1h")
    with pytest.raises(UsageError, match="named twice"):
        Bridge(environ={}, api_key="k", endpoint="https://n.example").replay(["console", "console"], since="1h")


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant_id": 5},
        {"trace_ids": "one id"},
        {"trace_ids": (5,)},
        {"filters": TraceFilter("has_error", True)},
        {"filters": [{"field": "has_error"}]},
    ],
)
def test_a_query_of_other_types_is_refused(wrong: dict[str, Any]) -> None:
    """Arguments of other types are rejected: the query would find nothing, or something else."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TraceQuery(**wrong)
    assert TraceQuery(trace_ids=[], filters=[]) == TraceQuery()  # type: ignore[arg-type]


def test_arguments_of_other_types_are_refused(sample: ThreadedEmulator, tmp_path: Path) -> None:
    """Each error names the expected type; a closed state is rejected too."""
    bridge = bridge_to(sample)
    for state in ("dir", tmp_path):
        with pytest.raises(UsageError, match=r"state is of type .* open_state\(\) returns"):
            bridge.replay(Taking(), since="25h", state=state)  # type: ignore[arg-type]
    for query in ({"tenant_id": "Globex"}, {}):
        with pytest.raises(UsageError, match="query is of type dict"):
            bridge.replay(Taking(), since="25h", query=query)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="query is of type dict"):
            bridge.estimate(since="25h", query=query)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="query is of type dict"):
        follow(Taking(), query={"tenant_id": "Globex"}, bridge=bridge_to(sample, state=tmp_path))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"no setting verify \(Bridge\(...\).replay"):
        replay(Taking(), since="25h", verify=True)
    with pytest.raises(UsageError, match=r"no setting reread \(Bridge\(...\).replay"):
        replay(Taking(), since="25h", reread=True)
    with pytest.raises(UsageError, match=r"stop is of type function \(give a threading.Event\)"):
        bridge.replay(Taking(), since="25h", stop=lambda: True)  # type: ignore[arg-type]
    with bridge.open_state() as closed:
        pass
    with pytest.raises(StateError, match="is closed"):
        bridge.replay(Taking(), since="25h", state=closed)


def test_the_old_name_of_reread_warns(sample: ThreadedEmulator) -> None:
    """``verify=`` still reads everything a second time, and says how it is called now."""
    bridge = bridge_to(sample)
    with pytest.warns(DeprecationWarning, match="is called reread="):
        report = bridge.replay(Taking(), since="25h", verify=True)
    assert report.destinations[0].verified == ALL
    assert bridge.replay(Taking(), since="25h", reread=True).destinations[0].verified == ALL


def test_destinations_may_stand_in_any_sequence(sample: ThreadedEmulator) -> None:
    """Destinations may be in any sequence, not only in a list."""
    mine, other = InMemorySpanExporter(), InMemorySpanExporter()
    bridge_to(sample).replay(deque([Named("mine", mine), Named("other", other)]), since="25h")
    assert len(mine.get_finished_spans()) == len(other.get_finished_spans()) == ALL


async def test_a_check_wants_destinations_as_a_replay_does(sample: ThreadedEmulator) -> None:
    """A check needs at least one destination, each only once, and a time given as text."""
    bridge, mine = bridge_to(sample), InMemorySpanExporter()
    with pytest.raises(ConfigurationError, match="no destination"):
        await check(bridge, [])
    with pytest.raises(UsageError, match="passed twice"):
        await check(bridge, [mine, mine])
    with pytest.raises(UsageError, match="is of type datetime"):
        await check(bridge, mine, send_since=datetime.now(UTC))  # type: ignore[arg-type]


NOW = 1_777_593_600 * S


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        ({"since": "1h"}, NOW - 3600 * S, NOW),
        ({"from_": "2026-04-30"}, NOW - 86400 * S, NOW),
        ({"from_": "2h", "until": "1h"}, NOW - 7200 * S, NOW - 3600 * S),
        ({"since": "2026-04-30T23:59:59.9994Z"}, NOW - 1_000_000, NOW),
        ({"from_": "2026-04-30", "until": "2026-04-30T00:00:00.0001Z"}, NOW - 86400 * S, NOW - 86400 * S + 1_000_000),
    ],
)
def test_a_range_is_rounded_outwards_to_the_millisecond(given: dict[str, str], start: int, end: int) -> None:
    """The window covers every instant of the given range."""
    assert Bridge(environ={}, clock=FakeClock()).window(**given) == Window(start, end)


def test_a_time_that_is_no_text_is_refused() -> None:
    """The error about a ``datetime`` says how to write it as text."""
    for name in ("since", "from_"):
        with pytest.raises(UsageError, match=r"is of type datetime \(pass .* isoformat"):
            Bridge(environ={}).window(**{name: datetime.now(UTC)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given", [{}, {"since": "1h", "from_": "2h"}, {"since": "now"}, {"from_": "1h", "until": "2h"}, {"since": "soon"}]
)
def test_a_range_that_makes_no_sense_is_refused(given: dict[str, str]) -> None:
    """A missing, double, empty, reversed or unreadable range is rejected."""
    with pytest.raises(UsageError):
        Bridge(environ={}, clock=FakeClock()).window(**given)


def long_traces() -> list[dict[str, Any]]:
    """Make traces over many windows: from before the range, within it, beyond it, all of it, and with gaps."""
    starts = {
        1: [-30, 5, 15], 2: [0, 9, 10, 19, 20], 3: [3], 4: [12, 45, 70], 5: [29, 30], 6: [-5, 59, 61], 7: [59], 8: [58, 90],
        9: list(range(0, 60, 7)), 10: [10], 11: [-1, 0],
    }  # fmt: skip
    return [
        otlp_span(trace, trace * 100 + number, start_ns=START_NS + start * S, parent=number and trace * 100)
        for trace, offsets in starts.items()
        for number, start in enumerate(offsets)
    ]


def spans_of(traces: set[int]) -> list[tuple[int, int]]:
    return sorted(
        (int(s["traceId"], 16), int(s["spanId"], 16)) for s in long_traces() if int(s["traceId"], 16) in traces
    )


@pytest.mark.parametrize("window", ["1s", "7s", "10s", "60s", "1h"])
@pytest.mark.parametrize(
    ("windowing", "traces"), [("traces", {2, 3, 4, 5, 7, 8, 9, 10}), ("spans", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})]
)
def test_however_netra_lists_each_trace_of_the_range_is_delivered_once(
    window: str, windowing: Any, traces: set[int]
) -> None:
    """A minute in windows of any size: every listed trace, all its spans, each exactly once."""
    with running_emulator(EmulatorOptions(port=0, windowing=windowing)) as emulator:
        assert emulator.call(lambda: emulator.emulator.store.ingest(read_document(otlp_document(*long_traces())))) == []
        mine = InMemorySpanExporter()
        report = bridge_to(emulator, window=window).replay(
            mine, from_=iso_ms(START_NS), until=iso_ms(START_NS + 60 * S)
        )
    assert sorted(ids(mine.get_finished_spans())) == spans_of(traces)
    (lane,) = report.destinations
    assert lane.traces == len(traces)
    assert lane.windows == -(-60 // {"1s": 1, "7s": 7, "10s": 10}.get(window, 60))
    assert (lane.spans, lane.delivered, lane.skipped) == (len(spans_of(traces)), len(spans_of(traces)), 0)


def test_a_fault_that_ends_is_lived_through(sample: ThreadedEmulator) -> None:
    """A burst of 503 causes retries and loses no span."""
    sample.set_faults("status-503=1")
    try:
        mine = InMemorySpanExporter()
        report = bridge_to(sample, attempts=4).replay(mine, since="25h")
    finally:
        sample.set_faults()
    assert len(mine.get_finished_spans()) == ALL
    assert report.retries == 1


def test_what_conversion_notes_is_in_the_report(sample: ThreadedEmulator) -> None:
    """Broken JSON in a column is kept and counted, and loses no span."""
    sample.set_faults("bad-span-json")
    try:
        mine = InMemorySpanExporter()
        report = bridge_to(sample).replay(mine, since="25h")
    finally:
        sample.set_faults()
    assert len(mine.get_finished_spans()) == ALL
    assert report.notes["attributes_unreadable"] == -(-ALL // 10)


def test_progress_is_told_and_grows(sample: ThreadedEmulator) -> None:
    """The callback sees the lane's own report, up to its end."""
    seen: list[int] = []
    bridge_to(sample, batch_spans=20).replay(
        InMemorySpanExporter(), since="25h", on_progress=lambda lane: seen.append(lane.delivered)
    )
    assert seen == sorted(seen)
    assert seen[-1] == ALL


def test_large_traces_and_a_small_budget_do_not_block_each_other() -> None:
    """A full memory budget never blocks a replay for good."""
    spans = [
        otlp_span(
            trace,
            trace * 10 + number,
            start_ns=START_NS + trace,
            attributes={"input": "x" * (200_000 if trace > 1 else 1)},
        )
        for trace in range(1, 9)
        for number in range(3)
    ]
    with running_emulator() as emulator:
        assert emulator.call(lambda: emulator.emulator.store.ingest(read_document(otlp_document(*spans)))) == []
        mine = InMemorySpanExporter()
        bridge = bridge_to(emulator, concurrency=4, held_bytes=1_000_000)
        work = bridge.areplay(mine, from_=iso_ms(START_NS), until=iso_ms(START_NS + S))
        asyncio.run(asyncio.wait_for(work, DEADLINE_S))
    assert len(mine.get_finished_spans()) == 24


def test_spans_keep_their_order_within_a_trace(sample: ThreadedEmulator) -> None:
    """A parent is delivered before or with its children, in Netra's order."""
    mine = InMemorySpanExporter()
    bridge_to(sample).replay(mine, since="25h")
    traces: dict[int, list[ReadableSpan]] = {}
    for span in mine.get_finished_spans():
        traces.setdefault(span.context.trace_id, []).append(span)
    for spans in traces.values():
        assert [span.start_time for span in spans] == sorted(span.start_time or 0 for span in spans)


def test_a_trace_that_the_next_window_lists_while_it_is_on_its_way_is_sent_once(tmp_path: Path) -> None:
    """Traces that two windows list at the same time are neither read nor sent twice."""
    spans = []
    for number in range(1, 61):
        spans += [otlp_span(number, 1000 * number + n, start_ns=START_NS + number * 10**6) for n in range(5)]
    for number in range(61, 91):
        spans += [otlp_span(number, 1000 * number + n, start_ns=START_NS + (50 + 4 * n) * S) for n in range(5)]
    with running_emulator(EmulatorOptions(port=0, windowing="spans")) as emulator:
        assert emulator.call(lambda: emulator.emulator.store.ingest(read_document(otlp_document(*spans)))) == []
        for concurrency in some(2, (4, 1, 2)):
            mine = InMemorySpanExporter()
            bridge = bridge_to(emulator, window="1m", concurrency=concurrency)
            report = bridge.replay(mine, from_=iso_ms(START_NS), until=iso_ms(START_NS + 120 * S))
            assert len(ids(mine.get_finished_spans())) == len(set(ids(mine.get_finished_spans()))) == 450
            (lane,) = report.destinations
            assert (lane.traces, lane.spans, lane.delivered, lane.skipped) == (90, 450, 450, 0)


class Slow(InMemorySpanExporter):
    """An exporter that completes each batch once ``go_on`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.begun.set()
        assert self.go_on.wait(DEADLINE_S)
        return super().export(spans)


class Slower(Slow):
    """A second, slower destination."""


async def test_a_replay_that_is_cancelled_records_what_each_destination_answers(
    sample: ThreadedEmulator, tmp_path: Path
) -> None:
    """Cancelled, a replay waits for the batch in flight at the slower destination; the next replay sends only the rest."""
    quick, slow = Slow(), Slower()
    quick.go_on.set()
    bridge = bridge_to(sample, state=str(tmp_path / "state"), batch_spans=20)
    replaying = asyncio.create_task(bridge.areplay([quick, slow], since="25h"))
    await until(slow.begun.is_set)
    replaying.cancel()
    await settled()
    slow.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await replaying
    assert len(slow.get_finished_spans()) == 20
    await bridge.areplay([quick, slow], since="25h")
    for exporter in (quick, slow):
        assert Counter(Counter(ids(exporter.get_finished_spans())).values()) == {1: ALL}


def test_what_was_followed_long_ago_is_final(sample: ThreadedEmulator, tmp_path: Path) -> None:
    """A replay of a time that the service followed long ago lists nothing, and says so."""
    bridge = bridge_to(sample, state=str(tmp_path / "state"), remember="1s", lookback="1s", window="1h")
    now_ns = time.time_ns()
    with bridge.open_state() as store:
        exporter = InMemorySpanExporter()
        source = sample.endpoint.removesuffix("/telemetry")
        lane = store.lane(source, "memory")
        lane.follow_from(now_ns - 30 * 3600 * S)
        lane.commit(Progress(watermark_ns=now_ns - 3600 * S), now_ns)
    report = bridge.replay(Named("memory", exporter), since="26h")
    (lane_report,) = report.destinations
    assert 24 <= lane_report.final_windows < lane_report.windows <= 27
    assert report.api_calls < 15
    assert len(exporter.get_finished_spans()) < ALL


async def test_everything_that_takes_spans_is_a_destination(sample: ThreadedEmulator) -> None:
    """An exporter, a processor, a function and an async one, side by side: each gets every span once."""
    exporter, behind = InMemorySpanExporter(), InMemorySpanExporter()
    processor = BatchSpanProcessor(behind)
    plain: list[ReadableSpan] = []
    awaited: list[ReadableSpan] = []

    async def take(spans: Sequence[ReadableSpan]) -> None:
        await asyncio.sleep(0)
        awaited.extend(spans)

    report = await bridge_to(sample, batch_spans=50).areplay([exporter, processor, plain.extend, take], since="25h")
    assert [lane.name for lane in report.destinations] == [
        "InMemorySpanExporter", "BatchSpanProcessor", "list.extend", "take"
    ]  # fmt: skip
    for spans in (exporter.get_finished_spans(), behind.get_finished_spans(), plain, awaited):
        assert Counter(Counter(ids(spans)).values()) == {1: ALL}
    processor.shutdown()


class Odd:
    """A destination whose ``send`` behaves as its constructor was told."""

    name = "odd"

    def __init__(self, does: Callable[[], object]) -> None:
        self.does = does

    async def send(self, batch: Any) -> Any:
        return self.does()

    async def aclose(self) -> None:
        raise AssertionError("the caller's own destination was closed")


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "does",
    [lambda: None, lambda: True, lambda: fail(KeyError("x")), lambda: fail(SystemExit(1)), lambda: fail(OSError())],
)
def test_a_destination_of_ones_own_that_is_odd_takes_no_other_lane_down(
    sample: ThreadedEmulator, does: Callable[[], object]
) -> None:
    """A broken destination ends its lane with an error or with rejections; the other lane is complete."""
    memory = InMemorySpanExporter()
    with pytest.raises(DestinationError) as raised:
        bridge_to(sample, attempts=1).replay([Odd(does), memory], since="25h")
    report = raised.value.report
    assert report is not None
    assert [(lane.name, lane.delivered) for lane in report.destinations] == [("odd", 0), ("InMemorySpanExporter", ALL)]
    assert len(memory.get_finished_spans()) == ALL


def test_the_same_object_twice_is_refused(sample: ThreadedEmulator) -> None:
    """One object given twice is rejected, also under two names or as a method: it would be called concurrently."""
    memory, taken = InMemorySpanExporter(), Odd(Delivered)
    kept: list[ReadableSpan] = []
    for to in (
        [memory, memory],
        [Named("a", memory), Named("b", memory)],
        [kept.extend] * 2,
        [taken, "console", taken],
    ):
        with pytest.raises(UsageError, match="twice"):
            bridge_to(sample).replay(to, since="25h")
    bridge_to(sample).replay([Named("a", kept.extend), Named("b", [].extend)], since="25h")  # type: ignore[var-annotated]
    assert len(kept) == ALL


def test_a_state_keeps_named_objects_apart(sample: ThreadedEmulator, tmp_path: Path) -> None:
    """Two exporters of one class, each named, get everything once, in separate calls."""
    bridge = bridge_to(sample, state=str(tmp_path / "state"))
    for _ in range(2):
        jaeger, tempo = InMemorySpanExporter(), InMemorySpanExporter()
        lanes = [bridge.replay(Named(*one), since="25h").destinations[0] for one in (("a", jaeger), ("b", tempo))]
        assert [lane.name for lane in lanes] == ["a", "b"]
        assert [lane.delivered + lane.skipped for lane in lanes] == [ALL, ALL]
    assert (len(jaeger.get_finished_spans()), len(tempo.get_finished_spans())) == (0, 0)
    status = read_status(str(tmp_path / "state"))
    assert [lane.destination for lane in status.lanes] == ["a", "b"]
    assert list(dead_letters(str(tmp_path / "state"))) == []
    assert reset(str(tmp_path / "state"), "a", None, bridge.clock).traces == TRACES


def test_a_state_wants_a_name_where_there_is_none(sample: ThreadedEmulator, tmp_path: Path) -> None:
    """With a state, ambiguous or repeated names are rejected before anything is sent; without one they are accepted."""

    def inner(spans: Sequence[ReadableSpan]) -> None:
        """Do nothing."""

    bridge = bridge_to(sample, state=str(tmp_path / "state"))
    memory = InMemorySpanExporter()
    nameless: list[Any] = [
        memory, memory.export, BatchSpanProcessor(memory), inner, partial(inner), lambda spans: None, [].append,
        [Taking(), Taking()], [Odd(Delivered), Odd(Delivered)], [Named("one", Taking()), Named("one", Taking())],
        ["otlp-file:/dev/null", Named("otlp-file:/dev/null", Taking())],
    ]  # fmt: skip
    for to in nameless:
        with pytest.raises(UsageError, match=r"a state identifies destinations by name.*Named\("):
            bridge.replay(to, since="25h")
    nameless[2].shutdown()
    assert memory.get_finished_spans() == ()
    assert bridge.replay([Taking(), Odd(Delivered)], since="25h").exit_code == 0
    assert bridge_to(sample).replay([Taking(), Taking()], since="25h").exit_code == 0


class Taking:
    """A slow function that reports each call."""

    def __init__(self, seconds: float = 0.0, on_call: Callable[[], object] = lambda: None) -> None:
        self.spans: list[ReadableSpan] = []
        self.seconds = seconds
        self.on_call = on_call

    def __call__(self, spans: Sequence[ReadableSpan]) -> None:
        self.on_call()
        time.sleep(self.seconds)
        self.spans.extend(spans)


class SeenEvent(threading.Event):
    """An event that knows whether the replay has seen it set."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.Event()

    def is_set(self) -> bool:
        if super().is_set():
            self.seen.set()
        return super().is_set()

    def set_and_wait(self) -> None:
        """Set it, and return once the replay has seen it."""
        self.set()
        assert self.seen.wait(60)


@pytest.mark.parametrize("reread", [False, True])
def test_a_replay_that_is_stopped_records_what_is_acknowledged(
    sample: ThreadedEmulator, tmp_path: Path, reread: bool
) -> None:
    """A replay stopped by another thread waits for the batch in flight, then raises with the report; the next resumes."""
    stop = SeenEvent()
    taking = Taking(0.3, stop.set_and_wait)
    bridge = bridge_to(sample, state=str(tmp_path / "state"), batch_spans=20)
    with pytest.raises(Stopped) as raised:
        bridge.replay(taking, since="25h", stop=stop, reread=reread)
    assert isinstance(raised.value.report, ReplayReport)
    (lane,) = raised.value.report.destinations
    assert lane.delivered == len(taking.spans) == 20
    assert (lane.error, raised.value.exit_code, raised.value.retryable) == (None, 75, True)
    taking.seconds = 0
    taking.on_call = lambda: None
    again = bridge.replay(taking, since="25h", stop=threading.Event(), reread=reread)
    assert again.destinations[0].delivered == ALL - 20
    assert again.exit_code == 0
    assert Counter(Counter(ids(taking.spans)).values()) == {1: ALL}


def test_a_replay_that_is_stopped_before_it_begins_sends_nothing(sample: ThreadedEmulator) -> None:
    """The report has no delivered span."""
    stop = threading.Event()
    stop.set()
    taking = Taking()
    with pytest.raises(Stopped, match="stopped before its end"):
        bridge_to(sample).replay(taking, since="25h", stop=stop)
    assert taking.spans == []


def test_a_stop_that_is_never_set_changes_nothing(sample: ThreadedEmulator) -> None:
    """The report is returned, and failures are raised as without it."""
    taking = Taking()
    assert bridge_to(sample).replay(taking, since="25h", stop=threading.Event()).destinations[0].delivered == ALL
    with pytest.raises(DestinationError):
        bridge_to(sample, attempts=1).replay(Refuses(), since="25h", stop=threading.Event())


INTERRUPTED = """
import sys, threading, time
from netra_otel_bridge import Bridge

def take(spans):
    print(len(spans), flush=True)
    time.sleep(float(sys.argv[2]))

stop = threading.Event() if sys.argv[1] == "stop" else None
bridge = Bridge(state="state", batch_spans=20)
try:
    bridge.replay(take, since="25h", stop=stop)
except KeyboardInterrupt:
    sys.exit(3)
print("all")
"""


@pytest.mark.faults
@pytest.mark.parametrize("stop", ["stop", "none"])
def test_an_interrupt_ends_a_replay_in_order(sample: ThreadedEmulator, tmp_path: Path, stop: str) -> None:
    """After Ctrl-C in the middle of a batch its acknowledgement is recorded, and the next replay resumes after it."""
    environment = {"NETRA_API_KEY": KEY, "NETRA_OTLP_ENDPOINT": sample.endpoint, "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-c", INTERRUPTED, stop]
    replaying = subprocess.Popen([*command, "3"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    assert replaying.stdout is not None
    assert replaying.stdout.readline() == b"20\n"
    replaying.send_signal(signal.SIGINT)
    rest, _ = replaying.communicate(timeout=DEADLINE_S)
    assert (replaying.returncode, rest) == (3, b"")
    done = subprocess.run(
        [*command, "0"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, check=True, timeout=60
    )
    assert done.stdout.split() == [b"20"] * (ALL // 20 - 1) + [b"%d" % (ALL % 20), b"all"]


def test_following_ends_when_it_is_told_to(sample: ThreadedEmulator, tmp_path: Path) -> None:
    """Following starts at ``since``, delivers, returns in order, and resumes next time."""
    stop = threading.Event()
    taking = Taking(0, lambda: stop.set() if len(taking.spans) >= ALL - 10 else None)
    bridge = bridge_to(sample, state=str(tmp_path / "state"), batch_spans=10, settle="0s", poll="100ms")
    follow(taking, since="25h", stop=stop, bridge=bridge)
    assert ALL - 10 <= len(taking.spans) <= ALL
    stop.clear()
    threading.Timer(1.0, stop.set).start()
    follow(taking, stop=stop, bridge=bridge)
    assert Counter(Counter(ids(taking.spans)).values()) == {1: ALL}
    assert not any(thread.name.startswith("callback") for thread in threading.enumerate())


async def test_following_ends_when_it_is_cancelled(sample: ThreadedEmulator, tmp_path: Path) -> None:
    """When `afollow` is cancelled, acknowledgements are recorded, and it can start again at once."""
    taken: list[ReadableSpan] = []
    full = asyncio.Event()

    async def take(spans: Sequence[ReadableSpan]) -> None:
        taken.extend(spans)
        if len(taken) == ALL:
            full.set()

    settings = {"environ": {}, "api_key": KEY, "endpoint": sample.endpoint, "state": str(tmp_path / "state")}
    for _ in range(2):
        following = asyncio.create_task(
            afollow(Named("mine", take), since="25h", settle="0s", poll="100ms", **settings)
        )
        await asyncio.wait_for(full.wait(), DEADLINE_S)
        await asyncio.wait({following}, timeout=0.5)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
    assert Counter(Counter(ids(taken)).values()) == {1: ALL}


async def test_following_asks_for_what_makes_sense(sample: ThreadedEmulator) -> None:
    """Following rejects a running loop, settings beside a bridge, and times of other types."""
    with pytest.raises(UsageError, match="await afollow instead"):
        follow(Taking(), bridge=bridge_to(sample))
    with pytest.raises(UsageError, match="are both given"):
        await afollow(Taking(), bridge=bridge_to(sample), poll="1s")
    with pytest.raises(UsageError, match="in the future"):
        await afollow(Taking(), since="2100-01-01", bridge=bridge_to(sample))
    with pytest.raises(UsageError, match=r"is of type datetime \(pass .* isoformat"):
        await afollow(Taking(), since=datetime.now(UTC), bridge=bridge_to(sample))  # type: ignore[arg-type]


def test_each_bridge_sends_what_its_own_environment_says(
    sample: ThreadedEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OTLP settings come from ``environ`` alone, and the state names that address."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "team=process")
    settings = {"api_key": KEY, "endpoint": sample.endpoint, "attempts": 1}
    with FakeDestination() as fake:
        address = fake.http_url.removeprefix("otlp+")
        variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": address}
        for team in ("red", "blue"):
            bridge = Bridge(
                environ={**variables, "OTEL_EXPORTER_OTLP_HEADERS": f"team={team}"}, state=tmp_path / team, **settings
            )
            bridge.replay("otlp", since="25h")
            assert [lane.destination for lane in read_status(tmp_path / team).lanes] == [f"otlp+{address}/v1/traces"]
        Bridge(environ={}, **settings).replay(fake.grpc_url, since="25h")
    seen = Counter((one.transport, one.headers.get("team")) for one in fake.received)
    assert set(seen) == {("http", "red"), ("http", "blue"), ("grpc", None)}
