"""Deleting progress, on purpose or by age, and reading a state that is in use."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from netra_otel_bridge.core.errors import (
    StateBusy,
    StateNotWritten,
    StateUnusable,
    UsageError,
)
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import Progress, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.state import (
    LaneState,
    ResetReport,
    StateStore,
    dead_letters,
    discard,
    lane,
    lock,
    read_status,
    reset,
)
from tests.support.fake_clock import FakeClock
from tests.support.state import DESTINATION, SOURCE, command, filled, killed, progress


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def owner(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a bridge in another process that uses the state."""
    code = f"""
lane = StateStore.open(directory, clock).lane({SOURCE!r}, {DESTINATION!r})
lane.commit(step(0), 1)
say("ready")
sys.stdin.readline()
"""
    with subprocess.Popen(command(code, directory), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child
        child.kill()


def traces(*starts_ns: int) -> list[TraceRecord]:
    return [TraceRecord(f"t{start_ns}", start_ns, b"d", b"") for start_ns in starts_ns]


def windows(lane: LaneState) -> list[tuple[int, int, int]]:
    return [(window.start_ns, window.end_ns, finished_ns) for window, finished_ns in lane.finished()]


def listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_pruning_forgets_what_is_old_both_ways(tmp_path: Path) -> None:
    """Only traces that started and were last recorded before the limit are deleted."""
    with StateStore.open(tmp_path, FakeClock()) as store:
        jaeger, tempo = store.lane(SOURCE, "jaeger"), store.lane(SOURCE, "tempo")
        tempo.commit(Progress(traces=traces(1)), 5)
        jaeger.commit(Progress(traces=traces(1, 9, 10)), 5)
        jaeger.commit(Progress(traces=traces(2)), 10)
        assert jaeger.prune(10) == 2
        assert set(jaeger.known(["t1", "t2", "t9", "t10"])) == {"t2", "t10"}
        assert set(tempo.known(["t1"])) == {"t1"}
        assert [status.traces for status in store.lanes()] == [2, 1]
        assert jaeger.prune(10) == 0


def test_pruning_joins_windows_that_touch(tmp_path: Path) -> None:
    """Old windows are joined, finished when the first of them was; gaps and recent windows stay."""
    with StateStore.open(tmp_path, FakeClock()) as store:
        jaeger, tenant = store.lane(SOURCE, "jaeger"), store.lane(SOURCE, "jaeger", "tenant")
        jaeger.commit(Progress(windows=[Window(0, 10), Window(20, 30)]), 40)
        jaeger.commit(Progress(windows=[Window(10, 20), Window(25, 33), Window(50, 60), Window(60, 101)]), 35)
        jaeger.commit(Progress(windows=[Window(33, 40)]), 100)
        tenant.commit(Progress(windows=[Window(0, 5), Window(5, 7)]), 1)
        jaeger.prune(100)
        assert windows(jaeger) == [(0, 33, 35), (33, 40, 100), (50, 60, 35), (60, 101, 35)]
        assert windows(tenant) == [(0, 7, 1)]


def test_pruning_goes_by_small_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large amounts are pruned in several short transactions, with the same result."""
    monkeypatch.setattr(lane, "_CHUNK", 3)
    with StateStore.open(tmp_path, FakeClock()) as store:
        jaeger = store.lane(SOURCE, "jaeger")
        gaps = [Window(start, start + 5) for start in range(100, 200, 10)]
        jaeger.commit(Progress(traces=traces(*range(50)), windows=[Window(n, n + 1) for n in range(20)] + gaps), 1)
        assert jaeger.prune(1000) == 50
        assert windows(jaeger) == [(0, 20, 1), *((gap.start_ns, gap.end_ns, 1) for gap in gaps)]
        assert store.lanes()[0].traces == 0


def test_a_reset_forgets_from_a_time_on(directory: Path) -> None:
    """A reset deletes later traces and windows, cuts a window and moves the watermark; dead letters stay."""
    with StateStore.open(directory, FakeClock()) as store:
        for source in (SOURCE, "https://other"):
            jaeger = store.lane(source, "jaeger")
            jaeger.follow_from(3)
            jaeger.commit(Progress(traces=traces(1, 14, 15, 16), watermark_ns=40, delivered=4,
                                   dead_letters=[DeadLetter("t1", "s", "why", "{}")],
                                   windows=[Window(0, 10), Window(10, 20), Window(15, 30), Window(30, 40)]), 99)  # fmt: skip
        store.lane(SOURCE, "jaeger", "tenant").commit(Progress(watermark_ns=12, windows=[Window(0, 15)]), 99)
        store.lane(SOURCE, "tempo").commit(Progress(traces=traces(20), windows=[Window(0, 50)], watermark_ns=50), 99)
    assert reset(directory, "jaeger", 15, FakeClock()) == ResetReport(traces=4, windows=6, watermark_ns=12)
    with StateStore.open(directory, FakeClock()) as store:
        jaeger, tenant, tempo = (store.lane(SOURCE, *key) for key in (("jaeger",), ("jaeger", "tenant"), ("tempo",)))
        assert set(jaeger.known(["t1", "t14", "t15", "t16"])) == {"t1", "t14"}
        assert windows(jaeger) == [(0, 10, 99), (10, 15, 99)]
        assert (jaeger.watermark_ns(), jaeger.since_ns(), len(jaeger.dead_letters())) == (15, 3, 1)
        assert (windows(tenant), tenant.watermark_ns()) == ([(0, 15, 99)], 12)
        assert (set(tempo.known(["t20"])), windows(tempo), tempo.watermark_ns()) == ({"t20"}, [(0, 50, 99)], 50)
        assert [status.traces for status in store.lanes()] == [2, 1, 2]
        assert store.lanes()[0].delivered == 4


def test_a_reset_of_everything_follows_again_from_the_start(directory: Path) -> None:
    """Without a time, all progress of a destination is deleted, but not where following began."""
    with StateStore.open(directory, FakeClock()) as store:
        jaeger = store.lane(SOURCE, "jaeger")
        jaeger.follow_from(3)
        jaeger.commit(Progress(traces=traces(-5, 1), watermark_ns=40, windows=[Window(-9, 40)]), 99)
    assert reset(directory, "jaeger", None, FakeClock()) == ResetReport(traces=2, windows=1, watermark_ns=None)
    with StateStore.open(directory, FakeClock()) as store:
        jaeger = store.lane(SOURCE, "jaeger")
        assert (jaeger.known(["t-5", "t1"]), windows(jaeger)) == ({}, [])
        assert (jaeger.watermark_ns(), jaeger.since_ns()) == (None, 3)


def test_a_reset_to_before_the_start_follows_from_there(directory: Path) -> None:
    """After a reset to before its start, a lane starts there."""
    with StateStore.open(directory, FakeClock()) as store:
        jaeger = store.lane(SOURCE, "jaeger")
        jaeger.follow_from(30)
        jaeger.commit(Progress(watermark_ns=40), 99)
    assert reset(directory, "jaeger", 10, FakeClock()).watermark_ns == 10
    with StateStore.open(directory, FakeClock()) as store:
        jaeger = store.lane(SOURCE, "jaeger")
        assert (jaeger.since_ns(), jaeger.watermark_ns()) == (10, 10)


def test_windows_that_a_reset_cuts_alike_count_from_the_last(directory: Path) -> None:
    """If two windows are cut to the same range, the later finish time stays."""
    with StateStore.open(directory, FakeClock()) as store:
        for end_ns, now_ns in ((15, 7), (20, 9), (30, 5)):
            store.lane(SOURCE, "jaeger").commit(Progress(windows=[Window(10, end_ns)]), now_ns)
    assert reset(directory, "jaeger", 15, FakeClock()).windows == 2
    with StateStore.open(directory, FakeClock()) as store:
        assert windows(store.lane(SOURCE, "jaeger")) == [(10, 15, 9)]


def test_a_reset_of_an_unknown_destination_names_the_known_ones(directory: Path) -> None:
    """A mistyped name changes nothing."""
    with StateStore.open(directory, FakeClock()):
        pass
    with pytest.raises(UsageError, match="it has none yet"):
        reset(directory, "jaeger", None, FakeClock())
    with StateStore.open(directory, FakeClock()) as store:
        store.lane(SOURCE, "tempo")
        store.lane(SOURCE, "jaeger")
    with pytest.raises(UsageError, match=r"'jager' \(it has jaeger, tempo\)"):
        reset(directory, "jager", None, FakeClock())
    with pytest.raises(UsageError, match=r"it has jaeger, tempo"):
        list(dead_letters(directory, "jager"))


def test_where_there_is_no_state_nothing_is_made(directory: Path) -> None:
    """Reading, resetting and discarding report that there is no state, and do not change the disk."""
    for make in (False, True):
        if make:
            directory.mkdir()
        for act in (
            lambda: read_status(directory),
            lambda: list(dead_letters(directory)),
            lambda: reset(directory, "jaeger", None, FakeClock()),
            lambda: discard(directory, FakeClock()),
        ):
            with pytest.raises(StateUnusable, match=f"there is no state in {re.escape(str(directory))}"):
                act()
        assert directory.exists() == make
        assert not make or listing(directory) == []


@pytest.mark.parametrize("damage", ["state.db", "generation", "sum", None])
def test_discarding_puts_everything_aside(directory: Path, damage: str | None) -> None:
    """The second way out: nothing is deleted, whatever is damaged, and the next start is a first one."""
    filled(directory)
    if damage is not None:
        (directory / damage).write_bytes(b"")
    before = {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "lock"}
    aside = discard(directory, FakeClock())
    assert aside == directory / "discarded-2026-05-01T00:00:00.000Z"
    assert aside.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == before
    with StateStore.open(directory, FakeClock()) as store:
        assert store.lanes() == []
    assert discard(directory, FakeClock()).name == aside.name + "-2"


def test_what_was_put_aside_can_be_put_back(directory: Path) -> None:
    """The files of a killed bridge can be put back too: the log moves with the database."""
    killed(directory, steps=3)
    aside = discard(directory, FakeClock())
    assert listing(directory) == [aside.name, "lock"]
    assert "state.db-wal" in listing(aside)
    for path in aside.iterdir():
        path.rename(directory / path.name)
    with StateStore.open(directory, FakeClock()) as store:
        assert len(store.lane(SOURCE, DESTINATION).finished()) == 3


def test_a_state_that_is_worked_with_is_not_touched(directory: Path, owner: subprocess.Popen[str]) -> None:
    """While a bridge uses a state, nobody else can open, reset or discard it; the error has its pid."""
    for act in (
        lambda: StateStore.open(directory, FakeClock()),
        lambda: reset(directory, DESTINATION, None, FakeClock()),
        lambda: discard(directory, FakeClock()),
    ):
        with pytest.raises(
            StateBusy, match=rf"the state in .* is in use by another bridge \(pid {owner.pid}, since 20.*Z\)"
        ):
            act()


def test_the_status_is_read_while_a_bridge_works(directory: Path, owner: subprocess.Popen[str]) -> None:
    """Reading a state needs no lock, and returns the pid of its owner."""
    for _ in range(3):
        status = read_status(directory)
        assert (status.owner, status.directory) == (owner.pid, directory)
        assert [(it.destination, it.windows) for it in status.lanes] == [(DESTINATION, 1)]
        assert [stored.destination for stored in dead_letters(directory, DESTINATION)] == [DESTINATION]


def test_a_killed_bridge_owns_nothing(directory: Path, owner: subprocess.Popen[str]) -> None:
    """``kill -9`` releases the lock although the file still has the pid; all progress is visible."""
    owner.kill()
    owner.wait()
    assert str(owner.pid) in (directory / "lock").read_text()
    status = read_status(directory)
    assert (status.owner, status.lanes[0].windows) == (None, 1)
    with StateStore.open(directory, FakeClock()):
        assert read_status(directory).owner == os.getpid()
    assert read_status(directory).owner is None


def test_looking_on_alters_nothing(directory: Path) -> None:
    """Reading a state that nobody uses changes none of its files."""
    filled(directory)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    read_status(directory)
    list(dead_letters(directory))
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_a_bridge_is_not_turned_away_by_a_look(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for the owner shares the lock for an instant; a bridge that starts meanwhile tries again."""
    filled(directory)
    try_, tries = lock._try, count(1)
    with (directory / "lock").open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)

        def trying(file: int, how: int) -> bool:
            if next(tries) == 9:
                fcntl.flock(look, fcntl.LOCK_UN)
            return try_(file, how)

        monkeypatch.setattr(lock, "_try", trying)
        StateStore.open(directory, FakeClock()).close()


@pytest.mark.faults
def test_bridges_start_while_others_look_on(directory: Path) -> None:
    """A bridge can start while others keep asking for the owner."""
    killed(directory)
    code = """
from netra_otel_bridge.state import lock
say("ready")
while True:
    lock.owner(directory / "lock")
"""
    with subprocess.Popen(command(code, directory), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        owner = (directory / "lock").read_text()
        for _ in range(20):
            (directory / "lock").write_text(owner)
            StateStore.open(directory, FakeClock()).close()
        child.kill()


def test_a_program_that_the_bridge_starts_does_not_keep_the_lock(directory: Path) -> None:
    """A child that outlives the bridge owns nothing."""
    code = """
import subprocess
store = StateStore.open(directory, clock)
child = subprocess.Popen(["sleep", "60"], close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
say(child.pid)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""
    child = subprocess.run(command(code, directory), capture_output=True, text=True, timeout=60)
    pid = int(child.stdout)
    try:
        assert os.path.exists(f"/proc/{pid}") or os.uname().sysname != "Linux"
        StateStore.open(directory, FakeClock()).close()
    finally:
        os.kill(pid, 9)


def test_all_dead_letters_can_be_read(directory: Path) -> None:
    """Many dead letters of several destinations come in order, or those of one destination."""
    with StateStore.open(directory, FakeClock()) as store:
        for number in range(25):
            for name in ("jaeger", "tempo"):
                store.lane(SOURCE, name).commit(Progress(dead_letters=[DeadLetter(f"t{number}", "s", "why", "{}")]), 7)
    every = list(dead_letters(directory))
    assert [stored.id for stored in every] == list(range(1, 51))
    assert [stored for stored in every if stored.destination == "tempo"] == list(dead_letters(directory, "tempo"))
    assert {(stored.recorded_ns, stored.letter.reason) for stored in every} == {(7, "why")}


@pytest.mark.parametrize(
    ("name", "content"), [("state.db", b""), ("state.db", None), ("state.db", b"junk" * 2000), ("generation", b"")]
)
def test_a_damaged_state_is_not_looked_at(directory: Path, name: str, content: bytes | None) -> None:
    """A damaged state is reported with the two ways out, as at a start."""
    filled(directory)
    (directory / name).unlink()
    if content is not None:
        (directory / name).write_bytes(content)
    with pytest.raises(StateUnusable, match="state reset --all"):
        read_status(directory)


@pytest.mark.parametrize("gone", ["state.db", "state.db-wal", "generation", "lock"])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_goes_while_a_bridge_works_stops_it(directory: Path, gone: str, replaced: bool) -> None:
    """Nothing is committed to a file that was deleted; the error names the file."""
    with StateStore.open(directory, FakeClock()) as store:
        jaeger = store.lane(SOURCE, DESTINATION)
        jaeger.commit(progress(0), 1)
        path = directory / gone
        if replaced:
            shutil.copy(path, path.with_name("copy"))
            path.with_name("copy").replace(path)
        else:
            path.unlink()
        with pytest.raises(StateNotWritten, match=rf"{gone}: it was {'replaced' if replaced else 'deleted'} while"):
            jaeger.commit(progress(1), 2)
        with pytest.raises(StateNotWritten):
            jaeger.commit(progress(1), 3)
    assert not (directory / "sum").exists()


def test_a_directory_that_goes_while_a_bridge_works_stops_it(directory: Path) -> None:
    """A directory that was moved away and replaced counts as lost."""
    with StateStore.open(directory, FakeClock()) as store:
        jaeger = store.lane(SOURCE, DESTINATION)
        jaeger.commit(progress(0), 1)
        directory.rename(directory.with_name("moved"))
        directory.mkdir()
        with pytest.raises(StateNotWritten, match="was deleted while"):
            jaeger.commit(progress(1), 2)
    assert listing(directory) == []
    with StateStore.open(directory.with_name("moved"), FakeClock()) as store:
        assert len(store.lane(SOURCE, DESTINATION).finished()) == 1


def test_a_database_that_is_cut_while_a_bridge_works_stops_it(directory: Path) -> None:
    """A file truncated in place is as lost as a deleted one; the next start rejects it."""
    with StateStore.open(directory, FakeClock()) as store:
        jaeger = store.lane(SOURCE, DESTINATION)
        os.truncate(directory / "state.db", 0)
        with pytest.raises(StateNotWritten, match=r"state\.db: it was truncated while"):
            jaeger.commit(progress(0), 1)
    with pytest.raises(StateUnusable):
        StateStore.open(directory, FakeClock())
