"""A state directory in which another user has put links, pipes and directories in the place of files."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge.bridge.bridge import Bridge
from netra_otel_bridge.core.errors import StateBusy, StateError, StateUnusable
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.state import StateStore, checkpoint, dead_letters, discard, read_status, reset
from netra_otel_bridge.state.lock import Lock
from tests.support import cli
from tests.support.cli import CANARY, spans_in
from tests.support.emulator import running_emulator
from tests.support.examples import spread
from tests.support.fake_clock import FakeClock
from tests.support.state import DESTINATION, SOURCE, filled, progress
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.faults

OTHER = 4711
"""The id of a user that is not this one."""
NAMES = ["lock", "generation", "sum", "state.db", "state.db-wal", "state.db-shm"]
DRAFTS = ["state.db.new", "sum.new", "generation.new", "state.db.new-wal"]
CONTENT = b"precious\n"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


def use(directory: Path) -> None:
    """Open a state as `run` does, write, and close it."""
    with StateStore.open(directory, FakeClock()) as store:
        store.lane(SOURCE, DESTINATION).commit(progress(9), 9)


WORK: dict[str, Callable[[Path], object]] = {
    "open": use,
    "status": read_status,
    "letters": lambda directory: list(dead_letters(directory)),
    "reset": lambda directory: reset(directory, DESTINATION, None, FakeClock()),
    "discard": lambda directory: discard(directory, FakeClock()),
}
TRAPS: dict[str, Callable[[Path, Path], Any]] = {
    "link": lambda path, victim: path.symlink_to(victim),
    "dangling link": lambda path, victim: path.symlink_to(victim.with_name("made")),
    "pipe": lambda path, victim: os.mkfifo(path, 0o666),
    "directory": lambda path, victim: path.mkdir(),
    "socket": lambda path, victim: socket.socket(socket.AF_UNIX).bind(str(path)),
}


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """Return a file that must stay as it is, and end the test if anything waits forever."""

    def late(*_: object) -> None:
        raise AssertionError("it hangs")

    path = tmp_path / "victim"
    path.write_bytes(CONTENT)
    before = path.stat()
    old = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE_S)
    yield path
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, old)
    assert path.read_bytes() == CONTENT
    assert (path.stat().st_uid, path.stat().st_mode) == (before.st_uid, before.st_mode)
    assert not path.with_name("made").exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("name", "trap", "work"), spread(3, NAMES, TRAPS, WORK))
def test_what_is_no_file_is_refused(tmp_path: Path, victim: Path, name: str, trap: str, work: str) -> None:
    """A link, a pipe, a directory or a socket in the place of a file is an error at once, and what it leads to stays."""
    directory = tmp_path / "s"
    filled(directory)
    (directory / name).unlink(missing_ok=True)
    TRAPS[trap](directory / name, victim)
    if work == "discard" and name != "lock":
        discard(directory, FakeClock())
        use(directory)
        return
    if name == "sum" and work in ("status", "letters"):
        WORK[work](directory)
        return
    with pytest.raises(StateError, match=str(directory)) as failed:
        WORK[work](directory)
    if name == "lock":
        assert isinstance(failed.value, StateUnusable)
        assert trap.rpartition(" ")[2] in str(failed.value)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("trap", ["link", "dangling link", "pipe", "socket"])
@pytest.mark.parametrize("name", DRAFTS)
def test_what_is_in_the_place_of_a_draft_is_removed(tmp_path: Path, victim: Path, name: str, trap: str) -> None:
    """A draft is made anew: what was at its name is unlinked, and never written to."""
    directory = tmp_path / "s"
    filled(directory)
    for _ in range(2):
        TRAPS[trap](directory / name, victim)
        use(directory)
    assert not (directory / name).exists()
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in directory.iterdir())


@needs_root
@pytest.mark.parametrize(("trap", "name", "work"), spread(2, ["link", "hard link"], [*NAMES, *DRAFTS], WORK))
def test_root_does_not_follow_a_service_users_links(
    tmp_path: Path, victim: Path, name: str, trap: str, work: str
) -> None:
    """Root that works in a directory of another user overwrites no file of its own through a link there."""
    directory = tmp_path / "s"
    filled(directory)
    give(directory)
    path = directory / name
    path.unlink(missing_ok=True)
    if trap == "link":
        path.symlink_to(victim)
        os.lchown(path, OTHER, OTHER)
    else:
        os.link(victim, path)
    with suppress(StateError):
        WORK[work](directory)
    assert victim.stat().st_uid == 0


@needs_root
def test_root_leaves_files_that_the_service_can_open(tmp_path: Path, victim: Path) -> None:
    """Files that root makes in another user's directory belong to that user."""
    directory = tmp_path / "s"
    directory.mkdir()
    give(directory)
    use(directory)
    reset(directory, DESTINATION, None, FakeClock())
    aside = discard(directory, FakeClock())
    use(directory)
    assert {path.lstat().st_uid for path in (*directory.iterdir(), *aside.iterdir())} == {OTHER}


@needs_root
def test_a_directory_behind_somebody_elses_link_is_refused(tmp_path: Path, victim: Path) -> None:
    """A link that is the state directory counts only if this user or the owner of its target made it."""
    target, link = tmp_path / "target", tmp_path / "link"
    filled(target)
    link.symlink_to(target)
    use(link)
    os.lchown(link, OTHER, OTHER)
    for work in WORK.values():
        with pytest.raises(StateUnusable, match="a symbolic link that user id 4711 has made"):
            work(link)


@needs_root
def test_a_file_of_a_third_user_is_refused(tmp_path: Path, victim: Path) -> None:
    """A file belongs to the directory's owner or to this user; anybody else's could be changed by them later."""
    filled(tmp_path / "s")
    os.chown(tmp_path / "s" / "state.db", OTHER, OTHER)
    with pytest.raises(StateUnusable, match="a file of user id 4711, in a directory of user id 0"):
        use(tmp_path / "s")


def give(directory: Path) -> None:
    """Give a directory and its files to `OTHER`."""
    for path in (directory, *directory.iterdir()):
        os.chown(path, OTHER, OTHER)


def test_checkpoints_that_come_and_go_together_are_busy_and_nothing_else(tmp_path: Path) -> None:
    """One process creates and deletes a checkpoint while others open it: they find it held or absent, never in part."""
    failures: list[BaseException] = []
    done = [0] * 4

    def work(number: int) -> None:
        for _ in range(30):
            try:
                with checkpoint(tmp_path / "own", FakeClock()) as store:
                    store.lane(SOURCE, DESTINATION)
                done[number] += 1
            except StateBusy:
                continue
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(done))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert failures == []
    assert sum(done) > 0
    assert not (tmp_path / "own").exists()


def test_a_checkpoint_is_deleted_before_another_process_can_open_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay that opens the checkpoint as soon as it is released keeps its files."""
    release, opened = Lock.release, list[StateStore]()

    def then_open(lock: Lock) -> None:
        release(lock)
        if not opened:
            opened.append(StateStore.open(tmp_path / "own", FakeClock()))

    monkeypatch.setattr(Lock, "release", then_open)
    with checkpoint(tmp_path / "own", FakeClock()):
        pass
    (other,) = opened
    with other:
        other.lane(SOURCE, DESTINATION).commit(progress(1), 1)


def test_a_replay_whose_twin_has_only_made_the_folder_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An identical replay that has created its folder but no state yet is no reason to stop with 78."""
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setattr(Bridge, "checkpoint_directory", lambda *_: own)
    options = EmulatorOptions(port=0, seed=4, traces=3, spans_per_trace=5, api_key=CANARY)
    with running_emulator(options) as netra:
        to = f"otlp-file:{tmp_path}/out.jsonl"
        result = cli.run("replay", "--since", "25h", "--to", to, env=cli.environment(netra.endpoint))
        assert result.code == 0, result.err
        assert len(spans_in(tmp_path / "out.jsonl")) == 15


@pytest.mark.faults
def test_identical_replays_started_together_end_with_0_or_75(tmp_path: Path) -> None:
    """The one that loses the race for the checkpoint ends as temporary, so whoever started it tries again."""
    options = EmulatorOptions(port=0, seed=4, traces=40, spans_per_trace=5, api_key=CANARY)
    with running_emulator(options) as netra:
        env = cli.environment(netra.endpoint, XDG_STATE_HOME=str(tmp_path))
        command = ("replay", "--since", "25h",
                   "--to", f"otlp-file:{tmp_path}/out.jsonl")  # fmt: skip
        codes = [cli.ended(one).code for one in [cli.start(*command, env=env) for _ in range(6)]]
    assert 0 in codes
    assert set(codes) <= {0, 75}
