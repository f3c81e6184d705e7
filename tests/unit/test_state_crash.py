"""A state survives ``kill -9`` at every system call, and a disk that is full or fails."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from netra_otel_bridge.core.errors import StateUnusable
from netra_otel_bridge.state import StateStore, discard, read_status
from tests.support import strace
from tests.support.fake_clock import FakeClock
from tests.support.state import DESTINATION, SOURCE, filled, fresh, instants, killed, run, steps_of

pytestmark = pytest.mark.faults

STEPS, TRACES = 3, 20
SAMPLE = 12
"""Number of instants per test, unless all are requested."""

WRITE = f"""
with StateStore.open(directory, clock) as store:
    lane = store.lane({SOURCE!r}, {DESTINATION!r})
    for number in range({STEPS}):
        lane.commit(step(number), number)
        say(number + 1)
"""
MIGRATE = """
from netra_otel_bridge.state import schema
schema.MIGRATIONS = (*schema.MIGRATIONS, ("ALTER TABLE lane ADD COLUMN a", "CREATE TABLE b (c)"), ("CREATE TABLE d (e)",))
StateStore.open(directory, clock).close()
"""
RESET = f"""
assert reset(directory, {DESTINATION!r}, 20, clock).windows == 1
"""
DISCARD = """
discard(directory, clock)
"""
UNTIL_IT_FAILS = f"""
import json
def failure(act):
    try:
        act()
    except BridgeError as error:
        say(json.dumps([type(error).__name__, str(error)]))
        return True

def work():
    with StateStore.open(directory, clock) as store:
        lane = store.lane({SOURCE!r}, {DESTINATION!r})
        for number in range(len(lane.finished()), 2000):
            if failure(lambda: lane.commit(step(number), number)):
                failure(lambda: lane.commit(step(number), number))
                return
            say(number + 1)

failure(work)
"""


@pytest.fixture
def traced() -> None:
    strace.needed()


def acknowledged(child: subprocess.CompletedProcess[str]) -> int:
    """Return the steps that the child saw committed."""
    return max((int(line) for line in child.stdout.splitlines() if line.isdecimal()), default=0)


def steps(directory: Path) -> int:
    """Return the number of complete steps; opening never rejects what a crash left."""
    with StateStore.open(directory, FakeClock()) as store:
        return steps_of(store.lane(SOURCE, DESTINATION), store, TRACES)


def killed_at(code: str, directory: Path, points: Sequence[strace.Point], template: Path | None = None) -> None:
    """Run ``code`` once for each point on its own state, killed there; assert that some were killed."""
    kills = 0
    for point in points:
        child = run(code, fresh(directory, template), strace.killing(point))
        kills += child.returncode in (-9, 137)
        done = acknowledged(child)
        found = steps(directory)
        assert found in (done, done + 1), f"{point}: {done} acknowledged, {found} there"
        assert steps(directory) == found, f"{point}: the second start differs from the first"
    assert kills > len(points) // 2


def test_killed_while_it_is_made_and_written_and_closed(traced: None, tmp_path: Path) -> None:
    """All acknowledged steps are there, plus at most the one in progress, complete; the start never fails."""
    directory = tmp_path / "state"
    points = instants(WRITE, directory, tmp_path / "log")
    calls = {point.call for point in points}
    assert {"pwrite64", "fdatasync", "fsync", "rename", "unlink", "ftruncate", "mkdir", "flock"} <= calls
    assert steps(directory) == STEPS
    killed_at(WRITE, directory, strace.sample(points, SAMPLE))


def test_killed_while_a_crash_is_recovered(traced: None, tmp_path: Path) -> None:
    """A second crash while recovering from the first loses nothing either."""
    template = tmp_path / "template"
    killed(template, steps=STEPS)
    code = "StateStore.open(directory, clock).close()\n"
    directory = fresh(tmp_path / "state", template)
    points = instants(code, directory, tmp_path / "log")
    for point in strace.sample(points, SAMPLE // 2):
        run(code, fresh(directory, template), strace.killing(point))
        assert steps(directory) == STEPS, str(point)


def test_killed_while_the_schema_is_brought_up_to_date(traced: None, tmp_path: Path) -> None:
    """After a kill during migration, the state has the older or the newer schema, with all progress."""
    template = tmp_path / "template"
    killed(template, steps=STEPS)
    directory = fresh(tmp_path / "state", template)
    points = instants(MIGRATE, directory, tmp_path / "log")
    for point in strace.sample(points, SAMPLE // 2):
        run(MIGRATE, fresh(directory, template), strace.killing(point))
        child = run(MIGRATE + "say(read_status(directory).lanes[0].windows)\n", directory)
        assert (child.returncode, child.stdout) == (0, f"{STEPS}\n"), f"{point}: {child.stderr}"


def test_killed_while_it_is_reset(traced: None, tmp_path: Path) -> None:
    """After a kill, a reset is complete or did not happen."""
    template = tmp_path / "template"
    killed(template, steps=STEPS)
    directory = fresh(tmp_path / "state", template)
    points = instants(RESET, directory, tmp_path / "log")
    before, after = strace.Point("flock", 1), max(point for point in points if point.call == "fsync")
    seen = set()
    for point in (before, *strace.sample(points, SAMPLE // 2), after):
        run(RESET, fresh(directory, template), strace.killing(point))
        with StateStore.open(directory, FakeClock()) as store:
            lane = store.lane(SOURCE, DESTINATION)
            known = lane.known([f"t{number}-{part}" for number in range(STEPS) for part in range(TRACES)])
            seen.add((len(lane.finished()), store.lanes()[0].traces, len(known), len(lane.dead_letters())))
    assert seen <= {(3, 60, 60, 3), (2, 60, 60, 3)}
    assert len(seen) == 2


def test_killed_while_it_is_put_aside(traced: None, tmp_path: Path) -> None:
    """Discarding deletes nothing; after a kill, repeating it finishes it."""
    template = tmp_path / "template"
    killed(template, steps=STEPS)
    content = {path.name: path.read_bytes() for path in template.iterdir() if path.name != "lock"}
    directory = fresh(tmp_path / "state", template)
    points = instants(DISCARD, directory, tmp_path / "log")
    for point in strace.sample(points, SAMPLE // 2):
        run(DISCARD, fresh(directory, template), strace.killing(point))
        try:
            assert steps(directory) in (0, STEPS), str(point)
        except StateUnusable:
            discard(directory, FakeClock())
            kept = {path.name: path.read_bytes() for path in directory.glob("discarded-*/*")}
            assert {name: kept[name] for name in content} == content, str(point)
            assert steps(directory) == 0, str(point)


def test_what_is_acknowledged_is_synced(traced: None, tmp_path: Path) -> None:
    """The order of syncs protects from power failures: each step is durable before the next relies on it."""
    log = tmp_path / "log"
    made = run(WRITE, tmp_path / "state", strace.counting(("fdatasync", "fsync", "rename", "write", "mkdir"), log))
    assert made.returncode == 0, made.stderr
    lines = [line.split(maxsplit=1)[1] for line in log.read_text().splitlines() if "resumed" not in line]
    calls = [f"say {line[10]}" if line.startswith('write(1, "') else line.split("(")[0] for line in lines]
    calls = calls[calls.index("mkdir") :]
    for number in range(1, STEPS + 1):
        said = calls.index(f"say {number}")
        assert "fdatasync" in calls[calls.index(f"say {number - 1}") if number > 1 else 0 : said]
    first, last = calls.index("say 1"), calls.index(f"say {STEPS}")
    directory, database, marker, name = (
        ["mkdir", "fsync"],
        ["fsync", "fsync"],
        ["fsync", "rename", "fsync"],
        ["rename", "fsync"],
    )
    assert [
        call for call in calls[:first] if call in ("mkdir", "fsync", "rename")
    ] == directory + database + marker + name
    assert [call for call in calls[last:] if call in ("fsync", "rename")] == ["fsync", "fsync", "rename", "fsync"]


@pytest.mark.parametrize(("call", "error"), [("pwrite64", "ENOSPC"), ("pwrite64", "EIO"), ("fdatasync", "EIO")])
def test_a_disk_that_fails_stops_it(traced: None, tmp_path: Path, call: str, error: str) -> None:
    """After a failed write: one line with the path, no further writes, and all acknowledged steps are there.

    What the disk failed to sync may be there too: the system does not say.
    """
    directory = tmp_path / "state"
    points = [point for point in instants(WRITE, directory, tmp_path / "log") if point.call == call]
    failures = 0
    for point in strace.sample(points, 20 if call == "fdatasync" else SAMPLE // 2):
        child = run(UNTIL_IT_FAILS.replace("2000", str(STEPS)), fresh(directory), strace.failing(point, error))
        assert child.returncode == 0, child.stderr
        said = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("[")]
        failures += bool(said)
        for kind, text in said:
            assert kind == "StateNotWritten"
            assert str(directory) in text
            assert "space" in text
        done = acknowledged(child)
        assert steps(directory) in (done, done + 1), str(point)
    assert failures


def test_a_full_disk_stops_it_until_there_is_space(tmp_path: Path) -> None:
    """If a file cannot grow, the commit fails and says what to do; the next start resumes."""
    directory = tmp_path / "state"
    filled(directory, steps=0)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
    child = run(limit + UNTIL_IT_FAILS, directory)
    assert child.returncode == 0, child.stderr
    first, again = (json.loads(line) for line in child.stdout.splitlines() if line.startswith("["))
    assert first[0] == "StateNotWritten"
    assert "check the disk, its free space, the quota" in first[1]
    assert first == again
    done = acknowledged(child)
    assert done > 3
    assert read_status(directory).lanes[0].windows == done
    assert steps_here(directory) == done
    run(UNTIL_IT_FAILS.replace("2000", str(done + 2)), directory)
    assert steps_here(directory) == done + 2


def steps_here(directory: Path) -> int:
    with StateStore.open(directory, FakeClock()) as store:
        return len(store.lane(SOURCE, DESTINATION).finished())
