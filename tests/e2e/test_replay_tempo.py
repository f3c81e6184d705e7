"""Backfills into a real Tempo that are faster than it allows."""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.core.model.outcome import Delivered
from netra_otel_bridge.deliver import encode_span
from netra_otel_bridge.deliver.otlp.encode import encode_request
from netra_otel_bridge.emulator import EmulatorOptions
from tests.e2e.test_tempo import fill
from tests.support.child import Child, Ended
from tests.support.cli import environment, start
from tests.support.compare import differences, sent_by_id, spans_by_id
from tests.support.emulator import running_emulator
from tests.support.replays import NOT_IN_NETRA, replay
from tests.support.spans import RESOURCE, make_span
from tests.support.tempo import Tempo

HOUR_NS = 3600 * 10**9
TRACES, SPANS, TEXT_BYTES = 200, 10, 100_000
RATE_BYTES, BURST_BYTES = 15_000_000, 20_000_000
"""Bytes that Tempo accepts in a second, and at once, by default."""
RSS_BYTES = 256 * 2**20
"""Above the lane's limit on what it holds (64 MiB), by the memory of a process at rest and what its parts copy."""
REPLAY_S = 300.0

both = pytest.mark.parametrize("transport", ["otlp_grpc", "otlp_http"])


@pytest.fixture
def tempo() -> Iterator[Tempo]:
    """Run a Tempo whose limits and metrics belong to this test alone."""
    with Tempo() as server:
        yield server


@both
def test_a_backfill_of_200_mb_at_full_speed_ends_complete(tempo: Tempo, transport: str, tmp_path: Path) -> None:
    """A replay that is rejected for its speed again and again continues, and delivers every span."""
    start_ns = time.time_ns() - 5 * HOUR_NS
    with emulator() as endpoint:
        for number in range(1, TRACES + 1):
            ingest(endpoint, large_trace(number, start_ns))
        flags = ("--since", "6h", "--profile", "raw", "--to", getattr(tempo, transport))
        ended, peak_bytes = replayed(endpoint, tmp_path, *flags)
    assert ended.code == 0, ended.err
    report, lane, count = ended.json, ended.lane, TRACES * SPANS
    print(
        f"{lane['bytes'] / 1e6:.0f} MB in {report['seconds']:.1f} s, {report['retries']} retries, at most "
        f"{peak_bytes / 1e6:.0f} MB of memory; {ended.err}"
    )
    assert (lane["traces"], lane["spans"], lane["delivered"]) == (TRACES, count, count)
    assert (lane["refused"], lane["dead_lettered"], lane["skipped"]) == (0, 0, 0)
    assert lane["bytes"] >= 200_000_000

    received = tempo.metric("tempo_distributor_spans_received_total")
    limited = tempo.metric("tempo_discarded_spans_total", reason="rate_limited")
    assert tempo.metric("tempo_discarded_spans_total") == limited
    assert received - limited == count
    assert limited > 0
    assert "RATE_LIMITED" in ended.err
    assert report["seconds"] > (lane["bytes"] - BURST_BYTES) / RATE_BYTES * 0.9

    for number in range(1, TRACES + 1, 20):
        sent = sent_by_id(large_trace(number, start_ns))
        stored = spans_by_id(tempo.trace(number, SPANS))
        assert differences(sent, stored, ignore=NOT_IN_NETRA) == []
    assert peak_bytes < RSS_BYTES


async def test_a_backfill_beyond_the_traces_that_it_holds_at_a_time_ends_complete(tempo: Tempo) -> None:
    """Tempo accepts no other trace while 10,000 are live, until some have been idle for 10 s; the replay waits for that."""
    assert await fill(tempo) == [Delivered()] * 10
    with running_emulator(EmulatorOptions(port=0, seed=5, traces=300, spans_per_trace=4)) as netra:
        report = await asyncio.to_thread(replay, netra, "--since", "26h", "--to", tempo.otlp_grpc)
        traces = netra.call(lambda: [trace.id for trace in netra.emulator.store.starting_in(0, 2**63)])
    (lane,) = report["destinations"]
    assert (lane["traces"], lane["delivered"], lane["refused"], lane["dead_lettered"]) == (300, 1200, 0, 0)
    assert tempo.metric("tempo_discarded_spans_total", reason="live_traces_exceeded") > 0
    for trace in traces[::10]:
        assert len(spans_by_id(tempo.trace(trace, 4))) == 4


def large_trace(number: int, start_ns: int) -> list[ReadableSpan]:
    """Return a trace of 1 MB, whose texts are derived from its number and the spans' ids."""
    return [
        make_span(
            number * SPANS + place,
            trace_id=number,
            parent=number * SPANS if place else None,
            attributes={"document": f"{number}/{place} ü".ljust(24, ".") * (TEXT_BYTES // 24), "place": place},
            start_ns=start_ns + number * 10**9 + place,
            resource=RESOURCE,
        )
        for place in range(SPANS)
    ]


@contextmanager
def emulator() -> Iterator[str]:
    """Yield the endpoint of an emulator in a process of its own."""
    process = start("emulator", "--port", "0")
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        found = re.search(r"NETRA_OTLP_ENDPOINT=([^)\s]+)", ready)
        assert found, ready
        yield found[1]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def ingest(endpoint: str, spans: list[ReadableSpan]) -> None:
    body = encode_request(spans, [encode_span(span) for span in spans])
    request = urllib.request.Request(
        f"{endpoint}/v1/traces", data=body, headers={"Content-Type": "application/x-protobuf"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200


def replayed(endpoint: str, directory: Path, *flags: str) -> tuple[Ended, int]:
    """Run ``replay --json`` with its default tries; return its result, and its peak memory in bytes."""
    environ = environment(endpoint)
    del environ["NETRA_BRIDGE_ATTEMPTS"]
    peak, deadline = 0, time.monotonic() + REPLAY_S
    with Child("replay", "--json", *flags, directory=directory, env=environ) as child:
        while child.running and time.monotonic() < deadline:
            peak = max(peak, resident_peak_bytes(child.pid))
            time.sleep(0.05)
        return child.wait(1.0), peak


def resident_peak_bytes(pid: int) -> int:
    """Return the kernel's ``VmHWM``, which begins with the program: ``ru_maxrss`` also counts the test's own process."""
    try:
        status = Path("/proc", str(pid), "status").read_text()
    except OSError:
        return 0
    sizes = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")]
    return 1024 * sizes[0] if sizes else 0
