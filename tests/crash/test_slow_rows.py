"""Rows of the table of faults that take long: signals, backpressure, a long fault under ``run``."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from netra_otel_bridge.emulator.faults import Answer, Call, Fault
from tests.support.child import run
from tests.support.compare import Key
from tests.support.fake_destination import FakeDestination, Hang
from tests.support.judging_destination import JudgingDestination
from tests.support.oracle import MS, happened, stored_by
from tests.support.rig import Rig, recorded, running_rig
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.faults

MIB = 1 << 20


def recent(rig: Rig, traces: int = 6, spans: int = 4) -> set[Key]:
    """Feed traces of the last minute, which ``run`` follows."""
    keys = rig.oracle.traces(traces, spans, start_ns=time.time_ns() - 60_000 * MS)
    rig.oracle.feed(rig.netra, keys)
    return set(keys)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_sigterm_and_sigint(rig: Rig, number: signal.Signals) -> None:
    """``run`` finishes the request in flight, records it, exits 0 and says so; nothing is repeated afterwards."""
    first = recent(rig)
    with JudgingDestination(lambda _: time.sleep(0.3)) as fake:  # type: ignore[func-returns-value]
        with rig.follower(fake.http_url, NETRA_BRIDGE_BATCH_SPANS="4") as child:
            child.until(lambda: fake.received)
            child.signal(number)
            ended = child.wait(10)
        assert ended.code == 0, ended.err
        assert "all acknowledged spans are recorded" in ended.said
        sent = stored_by(fake.stored)
        happened("something not yet sent", first - sent.keys)
        assert recorded(rig.state, rig.oracle.trace_ids).keys() == sent.keys
        with rig.follower(fake.http_url) as child:
            child.until(lambda: first <= stored_by(list(fake.stored)).keys)
            child.signal(number)
            assert child.wait(10).code == 0
        rig.oracle.assert_kept(stored_by(fake.stored), due=first)


@pytest.mark.parametrize("command", ["run", "replay"])
def test_a_second_signal(rig: Rig, command: str) -> None:
    """The first signal waits for a request that hangs; the second ends the command at once."""
    recent(rig)
    with FakeDestination() as fake:
        fake.script(*[Hang()] * 10)
        env = {"OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
        starts = rig.follower if command == "run" else rig.child
        with starts(fake.http_url, **env) as child:
            child.until(lambda: fake.received)
            child.signal(signal.SIGTERM)
            time.sleep(0.5)
            assert child.running, "it waits for the answer"
            began = time.monotonic()
            child.signal(signal.SIGTERM)
            ended = child.wait()
            assert time.monotonic() - began < 6, "as long as a first signal waits for the answer: 8 s"
        assert ended.code == 75


def test_hanging_pauses_the_reading_of_netra(rig: Rig) -> None:
    """Backpressure: while nothing is answered, held spans reach their cap, the calls to Netra stop, and memory stays flat."""
    rig.feed(500, 4, padding=10_000)
    limits = {"OTEL_EXPORTER_OTLP_TIMEOUT": "60", "NETRA_BRIDGE_HELD_BYTES": "2000000"}
    with FakeDestination() as fake, rig.child(fake.http_url, **limits) as child:
        fake.script(*[Hang()] * 50)
        child.until(lambda: fake.received)
        seen = [-1, rig.calls()]
        while seen[-1] != seen[-2]:
            time.sleep(0.5)
            seen.append(rig.calls())
        ended = child.kill()
    assert seen[-1] < 250, "of some 512 traces"
    assert ended.peak_bytes < 150 * MIB
    happened("a request without an answer", fake.received)


def test_500_while_a_batch_is_in_flight(rig: Rig) -> None:
    """If Netra fails during a request to the destination, the lane continues once both are well again."""

    class Burst(Fault):
        def __init__(self) -> None:
            self.calls = 0

        def instead(self, call: Call, /) -> Answer | None:
            self.calls += 1
            return Answer(500, b"{}") if 10 < self.calls <= 12 else None

    burst = Burst()
    rig.spoil(burst)
    rig.feed(40, 2, start_ns=time.time_ns() - 100_000 * MS, every_ns=10 * MS)
    recent = {key for key in rig.oracle.issued if rig.oracle.start_ns(key) > time.time_ns() - 3_600_000 * MS}
    with JudgingDestination(lambda _: time.sleep(0.1)) as fake:  # type: ignore[func-returns-value]
        env = {"NETRA_BRIDGE_BATCH_SPANS": "4", "NETRA_BRIDGE_CONCURRENCY": "2", "NETRA_BRIDGE_ATTEMPTS": "1"}
        with rig.follower(fake.http_url, **env) as child:
            child.until(lambda: recent <= stored_by(list(fake.stored)).keys)
        happened("a burst", burst.calls > 12)


def test_a_million_spans_in_little_memory(tmp_path: Path) -> None:
    """With three times the spans, memory, descriptors and threads stay; the state grows by 12 bytes a span and little per trace."""
    used = []
    for number, traces in enumerate((500, 1500)):
        directory = tmp_path / str(number)
        directory.mkdir()
        with running_rig(directory, seed=5, traces=traces, spans_per_trace=30) as rig:
            arguments = (
                "replay",
                "--since",
                "30d",
                "--to",
                f"otlp-file:{rig.file}",
                "--state",
                str(rig.state),
                "--json",
            )
            ended = run(*arguments, directory=directory, env=rig.environment(), timeout_s=4 * DEADLINE_S)
        assert ended.code == 0, ended.err
        assert ended.lane["delivered"] == 30 * traces
        used.append((ended, (directory / "state" / "state.db").stat().st_size))
    (few, few_bytes), (many, many_bytes) = used
    assert many.peak_bytes <= 1.2 * few.peak_bytes
    assert many.peak_bytes < 200 * MIB
    assert many.peak_descriptors <= few.peak_descriptors + 8
    assert many.peak_threads <= few.peak_threads + 4
    assert many_bytes - few_bytes < 1000 * (30 * 16 + 340)
