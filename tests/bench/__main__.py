"""Compare the bridge with what a user would write instead, as ratios from one run: ``python -m tests.bench``.

Both read the same emulator and send to the same OTLP receiver, each in a process of its own; import times do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.netra_sdk import netra_sdk_python

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@contextmanager
def process(*command: str) -> Iterator[dict[str, Any]]:
    """Start a child that prints one JSON line when it is ready; end it with SIGTERM."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert child.stdout is not None
        yield json.loads(child.stdout.readline())
    finally:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=30)


def run(python: str | Path, script: str, *arguments: str, endpoint: str) -> dict[str, Any]:
    environ = {**os.environ, "NETRA_API_KEY": "bench", "NETRA_OTLP_ENDPOINT": endpoint, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [str(python), str(HERE / script), *arguments],
        env=environ,
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(latency_ms: float, naive_traces: int, traces: int, profile: str) -> None:
    """Measure spans per second and CPU per span of both, and return the ratios."""
    now = datetime.now(UTC)
    start, end = ((now - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z") for days in (2, -1))
    emulate = process(sys.executable, str(HERE / "emulate.py"), str(traces), str(latency_ms))
    receive = process(sys.executable, str(HERE / "sink.py"))
    with emulate as netra, receive as sink:
        address = f"127.0.0.1:{sink['port']}"
        naive = run(netra_sdk_python(), "naive.py", start, end, address, str(naive_traces), endpoint=netra["endpoint"])
        bridged = run(sys.executable, "bridged.py", start, end, address, profile, endpoint=netra["endpoint"])
        streamed = run(sys.executable, "streamed.py", start, end, profile, endpoint=netra["endpoint"])
    expected = traces * 10
    if {bridged["spans"], streamed["spans"]} != {expected} or naive["spans"] != naive_traces * 10:
        came = f"{bridged['spans']} and, as a stream, {streamed['spans']} of {expected}, naive {naive['spans']}"
        sys.exit(f"not everything arrived: {came}")
    print(f"latency {latency_ms:g} ms, profile {profile}, {expected:,} spans of traces of 10")
    rows = (("naive", naive), ("bridge", bridged), ("stream", streamed))
    for name, one in rows:
        per_second, cpu_us = one["spans"] / one["seconds"], one["cpu_seconds"] / one["spans"] * 1e6
        print(f"  {name:7} {per_second:10,.0f} spans/s   {cpu_us:7.1f} µs CPU a span")
    speed = (bridged["spans"] / bridged["seconds"]) / (naive["spans"] / naive["seconds"])
    cpu = (bridged["cpu_seconds"] / bridged["spans"]) / (naive["cpu_seconds"] / naive["spans"])
    print(f"  ratio   {speed:10.1f} times the speed  {cpu:5.2f} times the CPU a span")
    print(f"  stream  {bridged['seconds'] / streamed['seconds']:10.2f} times the speed of the replay")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--latency", type=float, nargs="*", default=[50, 0], help="milliseconds")
    parser.add_argument("--traces", type=int, default=4000)
    parser.add_argument("--naive-traces", type=int, default=150)
    parser.add_argument("--profile", default="genai")
    chosen = parser.parse_args()
    for latency in chosen.latency:
        compare(latency, chosen.naive_traces, chosen.traces, chosen.profile)


if __name__ == "__main__":
    main()
