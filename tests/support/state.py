"""States for tests: new, filled, damaged, or written by a child process that is killed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import Progress, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.state import LaneState, StateStore
from tests.support import strace
from tests.support.fake_clock import FakeClock
from tests.support.waiting import DEADLINE_S

ROOT = Path(__file__).parents[2]
SOURCE, DESTINATION = "https://api.eu.getnetra.ai", "jaeger"
CALLS = ("pwrite64", "write", "fdatasync", "fsync", "ftruncate", "rename", "unlink", "openat", "mkdir", "flock")
_PRELUDE = """
import sys, types
package = types.ModuleType("netra_otel_bridge")
package.__path__ = [sys.argv[1] + "/netra_otel_bridge"]
sys.modules["netra_otel_bridge"] = package
from pathlib import Path
from netra_otel_bridge.core.clock import SystemClock
from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import Progress, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.state import StateStore, discard, read_status, reset
directory, clock = Path(sys.argv[2]), SystemClock()

def say(text):
    sys.stdout.write(f"{text}\\n")
    sys.stdout.flush()

def step(number):
    return Progress(
        traces=[TraceRecord(f"t{number}-{part}", number, b"d" * 8, b"s" * 120) for part in range(20)],
        windows=[Window(number * 10, number * 10 + 10)], watermark_ns=number * 10,
        dead_letters=[DeadLetter(f"t{number}", "s", "reason", "document" * 200)], delivered=200)
"""
"""The first code of each child: it imports the package without the parts that take half a second."""
_LINE = re.compile(r"^\s*\d+\s+([a-z0-9_]+)\(")


def progress(number: int, traces: int = 1) -> Progress:
    """Return the number-th step of a lane: all that a transaction can hold, derived from its number."""
    return Progress(
        traces=[TraceRecord(f"t{number}-{part}", number, b"d" * 8, b"s" * 120) for part in range(traces)],
        windows=[Window(number * 10, number * 10 + 10)],
        watermark_ns=number * 10,
        dead_letters=[DeadLetter(f"t{number}", "s", "reason", "document")],
        delivered=10 * traces,
    )


def steps_of(lane: LaneState, store: StateStore, traces: int) -> int:
    """Return how many steps a lane has recorded; fail unless each of them is complete, and nothing else is there."""
    windows = [window for window, _ in lane.finished()]
    count = len(windows)
    assert windows == [Window(number * 10, number * 10 + 10) for number in range(count)]
    ids = [f"t{number}-{part}" for number in range(count) for part in range(traces)]
    assert set(lane.known(ids)) == set(ids)
    assert [stored.letter.trace_id for stored in lane.dead_letters()] == [f"t{number}" for number in range(count)]
    assert lane.watermark_ns() == ((count - 1) * 10 if count else None)
    (status,) = store.lanes()
    assert (status.traces, status.windows) == (len(ids), count)
    assert (status.delivered, status.dead_lettered) == (10 * len(ids), count)
    return count


def filled(directory: Path, steps: int = 3) -> None:
    """Make a state of ``steps`` steps, closed in order."""
    with StateStore.open(directory, FakeClock()) as store:
        lane = store.lane(SOURCE, DESTINATION)
        for number in range(steps):
            lane.commit(progress(number), number)


def killed(directory: Path, steps: int = 3) -> None:
    """Make a state of ``steps`` steps whose bridge was killed: nothing was closed."""
    code = f"""
lane = StateStore.open(directory, clock).lane({SOURCE!r}, {DESTINATION!r})
for number in range({steps}):
    lane.commit(step(number), number)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run(code, directory).returncode == -9


def command(code: str, directory: Path, before: Sequence[str] = ()) -> list[str]:
    """Return the command of a child that runs ``code`` on a state, after `_PRELUDE`."""
    return [*before, sys.executable, "-c", _PRELUDE + code, str(ROOT), str(directory)]


def run(code: str, directory: Path, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a child to its end."""
    return subprocess.run(command(code, directory, before), capture_output=True, text=True, timeout=DEADLINE_S)


def instants(code: str, directory: Path, log: Path, calls: Iterable[str] = CALLS) -> list[strace.Point]:
    """Return every system call of ``code`` from its first use of ``directory`` on; ``code`` makes the state there."""
    wanted = tuple(calls)
    ended = run(code, directory, strace.counting(wanted, log))
    assert ended.returncode == 0, ended.stderr
    made: Counter[str] = Counter()
    found: list[strace.Point] = []
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        made[match[1]] += 1
        if found or f'"{directory}' in line:
            found.append(strace.Point(match[1], made[match[1]]))
    return found


def fresh(directory: Path, template: Path | None = None) -> Path:
    """Return ``directory``, deleted or replaced by a copy of ``template``."""
    shutil.rmtree(directory, ignore_errors=True)
    if template is not None:
        shutil.copytree(template, directory)
    return directory
