"""The emulator as a program: ready line, signals, port, latency, rate limit, threads."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from netra_otel_bridge.core.errors import ConfigurationError, UsageError
from netra_otel_bridge.emulator import Emulator, EmulatorOptions
from netra_otel_bridge.emulator.otlp import read_document
from tests.support.emulator import Client, otlp_document, otlp_span, running_emulator
from tests.support.waiting import DEADLINE_S

SERVE = "from netra_otel_bridge.emulator import EmulatorOptions, serve; serve(EmulatorOptions(port=0, traces=3))"


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_when_it_is_ready_and_ends_on_a_signal(number: signal.Signals) -> None:
    """The emulator prints one line with its address, and ends with exit code 0."""
    process = subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"Netra emulator ready at (http://\S+) \(NETRA_OTLP_ENDPOINT=\1/telemetry\)\n", line)
    assert found, line
    with urllib.request.urlopen(f"{found[1]}/sdk/traces/none/spans", timeout=DEADLINE_S) as response:
        assert response.status == 200
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err) == (0, "", "")


async def test_a_port_in_use_is_a_configuration_error() -> None:
    """A used port is an error with the address and what to do."""
    async with Emulator() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=rf"cannot listen on 127\.0\.0\.1:{port}.*--port"):
            async with Emulator(EmulatorOptions(port=port)):
                pass


async def test_latency_does_not_limit_concurrency() -> None:
    """Forty concurrent calls take less time than in sequence."""
    async with Emulator(EmulatorOptions(port=0, latency_s=0.1)) as emulator, Client(emulator.url) as client:
        began = time.monotonic()
        await asyncio.gather(*(client.spans("none") for _ in range(40)))
        assert 0.1 <= time.monotonic() - began < 40 * 0.1


async def test_the_rate_limit_answers_429_with_a_wait() -> None:
    """One second's worth of calls passes, then 429 with whole seconds to wait."""
    async with Emulator(EmulatorOptions(port=0, rate_limit=3)) as emulator, Client(emulator.url) as client:
        answers = [await client.raw("GET", "/sdk/traces/none/spans") for _ in range(5)]
        assert [answer[0] for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[-1][1]["Retry-After"] == "1"
        assert json.loads(answers[-1][2])["error"]["message"]


def test_it_runs_in_a_thread_for_tests_without_a_loop() -> None:
    """A test can add spans from its own thread."""
    with running_emulator() as emulator:
        assert emulator.ingest(read_document(otlp_document(otlp_span(1, 1)))) == []
        with urllib.request.urlopen(f"{emulator.url}/sdk/traces/{1:032x}/spans", timeout=DEADLINE_S) as response:
            assert len(json.load(response)["data"]["data"]) == 1


async def test_traffic_needs_sensible_numbers() -> None:
    """A sample trace has at least one span."""
    with pytest.raises(UsageError, match="spans-per-trace"):
        async with Emulator(EmulatorOptions(port=0, seed=1, spans_per_trace=0)):
            pass
