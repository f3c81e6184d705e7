"""A sample of live traffic is read back: what is chosen, when it is asked about, and how it is counted."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import DestinationUnavailable
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.health import ArrivalHealth
from netra_otel_bridge.core.model.progress import TraceRecord
from netra_otel_bridge.core.packed_checksums import pack_carriers, pack_spans
from netra_otel_bridge.deliver import carrier_checksum, checksum, encode_span
from netra_otel_bridge.pipeline.arrival import DELAY_NS, EVERY_NS, MAX_WAITING, ArrivalSample
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.readback.sent_ids import SentIds
from netra_otel_bridge.state import StateStore
from tests.support.fake_clock import FakeClock
from tests.support.scripted_store import ScriptedReader, hex_id, request, sent_of
from tests.support.spans import make_span


def record(spans: Sequence[ReadableSpan]) -> TraceRecord:
    """Return what the lane records of a trace with these spans."""
    checksums = {span.context.span_id: checksum(encode_span(span)) for span in spans}
    carriers = {span.context.span_id: carrier_checksum(span.resource, span.instrumentation_scope) for span in spans}
    trace_id = hex_id(spans[0].context.trace_id)
    return TraceRecord(trace_id, 1, b"d", pack_spans(checksums), carriers=pack_carriers(checksums, carriers))


class Live:
    """A lane that records traces, and the sample of it."""

    def __init__(self, directory: Path, traces: int, *, lost: int = 0) -> None:
        self.clock = FakeClock()
        self.traces = [[make_span(8 * n + m, trace_id=n) for m in range(2)] for n in range(1, traces + 1)]
        self.reader = ScriptedReader({hex_id(n + 1): request(one) for n, one in enumerate(self.traces) if n >= lost})
        self.store = StateStore.open(directory, self.clock)
        self.writer = ThreadPoolExecutor(1)
        self.recorder = Recorder(self.store.lane("netra", "there"), self.writer, self.clock)
        self.sample = ArrivalSample(
            "there",
            self.recorder,
            self.reader,
            sent_of(*self.traces),
            SentIds(),
            clock=self.clock,
            log_limit=LogLimit(self.clock),
        )

    async def send(self, number: int) -> None:
        """Record one trace."""
        self.recorder.answered([record(self.traces[number])], 2, 0, 1)
        await self.recorder.flush()

    def close(self) -> None:
        self.store.close()
        self.writer.shutdown()


async def test_a_trace_is_read_back_some_minutes_after_it_was_sent(tmp_path: Path) -> None:
    """It is not asked about before, and its spans count as verified after."""
    live = Live(tmp_path / "state", 1)
    await live.send(0)
    live.clock.elapsed_s += DELAY_NS / NS_PER_S
    await live.sample.read_due()
    assert live.reader.calls == 0
    live.clock.elapsed_s += EVERY_NS / NS_PER_S
    await live.sample.read_due()
    assert live.sample.health() == ArrivalHealth(verified=2, missing=0, changed=0, failures=0)
    live.close()


async def test_a_few_traces_a_minute_are_chosen_however_many_are_sent(tmp_path: Path) -> None:
    """Of all traces within 15 seconds one is read back, and each may be that one."""
    live = Live(tmp_path / "state", 40)
    for number in range(40):
        await live.send(number)
        live.clock.elapsed_s += 1
    live.clock.elapsed_s += (DELAY_NS + EVERY_NS) / NS_PER_S
    await live.sample.read_due()
    assert live.reader.calls == 3
    chosen = [int(one, 16) - 1 for one in live.reader.read_ids]
    assert [number // 15 for number in sorted(chosen)] == [0, 1, 2]
    live.close()


async def test_missing_and_changed_spans_are_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names a span, and the counts say how many."""
    live = Live(tmp_path / "state", 2, lost=1)
    other = [make_span(8 * 2 + m, trace_id=2, name="another") for m in range(2)]
    live.reader.traces = {hex_id(2): request(other)}
    await live.send(0)
    live.clock.elapsed_s += EVERY_NS / NS_PER_S
    await live.send(1)
    live.clock.elapsed_s += (DELAY_NS + EVERY_NS) / NS_PER_S
    await live.sample.read_due()
    assert live.sample.health() == ArrivalHealth(verified=4, missing=2, changed=2, failures=0)
    assert hex_id(1) in caplog.text
    assert "there: missing at jaeger+grpc://127.0.0.1:16685" in caplog.text
    live.close()


@pytest.mark.parametrize("error", [DestinationUnavailable("jaeger is away"), ValueError("a defect of a reader")])
async def test_a_store_that_cannot_be_asked_is_no_loss(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing counts as missing, the failure is counted and logged, and the lane goes on."""
    live = Live(tmp_path / "state", 1)

    def fail(_: int) -> None:
        raise error

    live.reader._fails = fail
    await live.send(0)
    live.clock.elapsed_s += (DELAY_NS + EVERY_NS) / NS_PER_S
    await live.sample.read_due()
    assert live.sample.health() == ArrivalHealth(verified=0, missing=0, changed=0, failures=1)
    assert str(error) in caplog.text
    live.close()


async def test_what_waits_is_bounded(tmp_path: Path) -> None:
    """While nothing is read back, the oldest choices are forgotten."""
    live = Live(tmp_path / "state", 1)
    for _ in range(2 * MAX_WAITING):
        live.sample.stored([record(live.traces[0])])
        live.clock.elapsed_s += EVERY_NS / NS_PER_S
    assert len(live.sample._waiting) == MAX_WAITING
    live.close()
