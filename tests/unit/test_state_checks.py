"""Making a state, and the checks when one is opened."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from netra_otel_bridge.core.errors import (
    StateBusy,
    StateError,
    StateNotWritten,
    StateUnusable,
)
from netra_otel_bridge.state import StateStore, discard, read_status, schema
from netra_otel_bridge.state.errors import explained
from netra_otel_bridge.state.files import give_to_owner
from tests.support.fake_clock import FakeClock
from tests.support.state import DESTINATION, SOURCE, filled, killed, progress, steps_of


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


def refusal(directory: Path) -> str:
    """Return the error of opening; check that the rejected state is unchanged."""
    before = {path.name: path.read_bytes() for path in directory.iterdir() if path.name in ("state.db", "generation")}
    with pytest.raises(StateUnusable) as refused:
        StateStore.open(directory, FakeClock())
    after = {path.name: path.read_bytes() for path in directory.iterdir() if path.name in ("state.db", "generation")}
    assert before == after
    said = str(refused.value)
    assert "\n" not in said
    assert str(directory) in said
    assert "backup" in said
    assert f"netra-otel-bridge state reset --all --state {directory}" in said
    return said


def steps(directory: Path) -> int:
    with StateStore.open(directory, FakeClock()) as store:
        return steps_of(store.lane(SOURCE, DESTINATION), store, traces=1)


def alter(path: Path, change: Callable[[bytearray], None]) -> None:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def execute(directory: Path, *statements: str) -> None:
    """Change the database without the bridge, as after a crash: there is no checksum."""
    with closing(sqlite3.connect(directory / "state.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    (directory / "sum").unlink(missing_ok=True)


def test_the_first_run_makes_a_private_state(directory: Path) -> None:
    """The directory is the owner's alone (0700), and so is each file (0600), whatever the umask."""
    before = os.umask(0)
    try:
        with StateStore.open(directory / "below", FakeClock()) as store:
            store.lane(SOURCE, DESTINATION).commit(progress(0), 1)
            during = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.directory.iterdir()}
    finally:
        os.umask(before)
    after = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.directory.iterdir()}
    assert set(during) == {"generation", "lock", "state.db", "state.db-wal", "state.db-shm"}
    assert set(after) == {"generation", "lock", "state.db", "sum"}
    assert set(during.values()) == set(after.values()) == {0o600}
    assert [stat.S_IMODE(path.stat().st_mode) for path in (directory, directory / "below")] == [0o700, 0o700]


def test_what_was_committed_is_there_at_the_next_start(directory: Path) -> None:
    """Everything committed is known again after closing and after a kill."""
    filled(directory, steps=3)
    assert steps(directory) == 3
    assert steps(directory) == 3


def test_a_killed_bridge_has_lost_nothing(directory: Path) -> None:
    """After a kill, committed transactions are read from the log and the lock is free."""
    killed(directory, steps=3)
    assert (directory / "state.db-wal").stat().st_size > 0
    assert not (directory / "sum").exists()
    with StateStore.open(directory, FakeClock()) as store:
        assert len(store.lane(SOURCE, DESTINATION).finished()) == 3


def test_a_database_that_is_gone_is_no_first_run(directory: Path) -> None:
    """A marker without its database means a loss, not a first start."""
    filled(directory)
    (directory / "state.db").unlink()
    assert "state.db is missing" in refusal(directory)


def test_an_emptied_database_is_no_first_run(directory: Path) -> None:
    """SQLite takes zero bytes for a new database; the bridge does not."""
    filled(directory)
    (directory / "state.db").write_bytes(b"")
    assert "is empty (0 bytes)" in refusal(directory)


def test_a_marker_that_is_gone_is_no_first_run(directory: Path) -> None:
    """A database without the marker may belong to another program."""
    filled(directory)
    (directory / "generation").unlink()
    assert f"the marker {directory / 'generation'} is missing" in refusal(directory)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"netra-otel-bridge state \n", b"something else\n"])
def test_a_marker_that_says_nothing_is_refused(directory: Path, content: bytes) -> None:
    """A damaged marker stops the start."""
    filled(directory)
    (directory / "generation").write_bytes(content)
    assert "is not a valid marker" in refusal(directory)


def test_a_leftover_of_a_state_is_no_first_run(directory: Path) -> None:
    """A log without its database would damage a new one; a checksum shows that there was a database."""
    for left in ("state.db-wal", "sum"):
        killed(directory) if left == "state.db-wal" else filled(directory)
        for path in directory.iterdir():
            if path.name != left:
                path.unlink()
        assert "is missing" in refusal(directory)
        shutil.rmtree(directory)


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("size", [20, 99, 4096, 20000])
def test_a_truncated_database_is_refused(directory: Path, size: int, clean: bool) -> None:
    """A truncated database is found at any size, with a checksum or without."""
    filled(directory)
    if not clean:
        (directory / "sum").unlink()
    os.truncate(directory / "state.db", size)
    assert "truncated" in refusal(directory) or "when it was closed" in refusal(directory)


def test_a_database_truncated_beside_its_log_is_refused(directory: Path) -> None:
    """After a kill the log has the latest pages. If older ones are missing, the integrity check finds it."""
    filled(directory, steps=500)
    with StateStore.open(directory, FakeClock()) as store:
        store.lane(SOURCE, DESTINATION).commit(progress(500), 1)
        copy = shutil.copytree(directory, directory.with_name("copy"))
    os.truncate(copy / "state.db", 4096 * 5)
    assert "damaged" in refusal(copy)


def test_a_file_that_is_no_database_is_refused(directory: Path) -> None:
    """Another kind of file is recognized by its first bytes."""
    filled(directory)
    (directory / "state.db").write_bytes(b"%PDF-1.7 and so on" * 100)
    (directory / "sum").unlink()
    assert "is not an SQLite database" in refusal(directory)


def test_a_directory_in_the_place_of_the_database_is_refused(tmp_path: Path) -> None:
    """The message says that the database is not a file."""
    directory = tmp_path / "state"
    filled(directory)
    (directory / "state.db").unlink()
    (directory / "state.db").mkdir()
    with pytest.raises(StateUnusable, match="is a directory, not a regular file"):
        StateStore.open(directory, FakeClock())


def test_another_programs_database_is_refused(directory: Path) -> None:
    """A database without the bridge's application id is not changed."""
    filled(directory)
    (directory / "state.db").unlink()
    execute(directory, "CREATE TABLE bookmarks (url)")
    assert "another program's database" in refusal(directory)


def test_a_newer_bridges_state_is_refused(directory: Path) -> None:
    """An older bridge does not change a newer schema, and says what to install."""
    filled(directory)
    execute(directory, f"PRAGMA user_version = {schema.newest() + 1}")
    assert "written by a newer netra-otel-bridge: install that version" in refusal(directory)


def test_a_state_without_a_version_is_refused(directory: Path) -> None:
    """No bridge ever wrote version 0."""
    filled(directory)
    execute(directory, "PRAGMA user_version = 0")
    assert "has no schema version" in refusal(directory)


def test_another_states_database_is_refused(directory: Path, tmp_path: Path) -> None:
    """A database copied from another state has a different generation."""
    for place in (directory, tmp_path / "other"):
        filled(place)
    shutil.copy(tmp_path / "other" / "state.db", directory / "state.db")
    shutil.copy(tmp_path / "other" / "sum", directory / "sum")
    assert "belong to different states" in refusal(directory)


def test_an_altered_database_is_refused(directory: Path) -> None:
    """A single flipped bit in a closed database is found, wherever it is."""
    filled(directory, steps=50)
    content = (directory / "state.db").read_bytes()
    for offset in (150, len(content) // 2, len(content) - 1):
        alter(directory / "state.db", lambda it, at=offset: it.__setitem__(at, it[at] ^ 1))
        assert "its checksum differs" in refusal(directory)
        (directory / "state.db").write_bytes(content)
    assert steps(directory) == 50


@pytest.mark.parametrize("content", [b"", b"blake2b", b"blake2b 12 many\n", b"\0\0"])
def test_a_sum_that_says_nothing_is_refused(directory: Path, content: bytes) -> None:
    """A damaged checksum file stops the start."""
    filled(directory)
    (directory / "sum").write_bytes(content)
    assert "is not a valid checksum" in refusal(directory)


def test_a_log_beside_a_state_that_was_closed_is_refused(directory: Path, tmp_path: Path) -> None:
    """SQLite would apply the log of a newer state to a restored backup."""
    filled(directory, steps=2)
    backup = shutil.copytree(directory, tmp_path / "backup")
    killed(directory, steps=1)
    for name in ("state.db", "sum"):
        shutil.copy(backup / name, directory / name)
    assert "does not belong to" in refusal(directory)


def test_a_damaged_database_is_refused_without_a_sum(directory: Path) -> None:
    """After a crash there is no checksum; the integrity check finds damaged pages."""
    filled(directory, steps=300)
    (directory / "sum").unlink()

    def spoil(content: bytearray) -> None:
        for page in range(4096 * 4, len(content), 4096):
            content[page : page + 200] = bytes(200)

    alter(directory / "state.db", spoil)
    assert "damaged" in refusal(directory)


def test_tables_that_are_gone_are_refused(directory: Path) -> None:
    """A database with the right application id but the wrong tables is rejected."""
    filled(directory)
    execute(directory, "DROP TABLE meta")
    assert "no such table" in refusal(directory)


def test_a_refused_state_is_not_locked(directory: Path) -> None:
    """A failed start releases the lock, so a restored backup can be used at once."""
    filled(directory)
    whole = (directory / "generation").read_bytes()
    (directory / "generation").write_bytes(b"")
    refusal(directory)
    (directory / "generation").write_bytes(whole)
    assert steps(directory) == 3


def test_a_backup_can_be_put_back(directory: Path, tmp_path: Path) -> None:
    """The first way out in the message: an earlier copy of the whole directory works."""
    filled(directory, steps=2)
    backup = shutil.copytree(directory, tmp_path / "backup")
    with StateStore.open(directory, FakeClock()) as store:
        store.lane(SOURCE, DESTINATION).commit(progress(2), 1)
    shutil.rmtree(directory)
    shutil.copytree(backup, directory)
    assert steps(directory) == 2


@pytest.mark.parametrize(
    "left", [(), ("state.db.new",), ("generation.new", "state.db.new"), ("sum.new",), ("state.db.new-wal",)]
)
def test_a_start_that_was_killed_early_starts_again(directory: Path, left: tuple[str, ...]) -> None:
    """Without a marker there is no state: an unfinished one is made again."""
    directory.mkdir()
    for name in (*left, "lock"):
        (directory / name).write_bytes(b"half")
    assert steps(directory) == 0
    assert {path.name for path in directory.iterdir()} == {"generation", "lock", "state.db", "sum"}


def test_a_start_that_was_killed_late_is_finished(directory: Path) -> None:
    """With a marker the database is complete, and only its rename is missing."""
    with StateStore.open(directory, FakeClock()):
        pass
    generation = (directory / "generation").read_bytes()
    (directory / "state.db").rename(directory / "state.db.new")
    (directory / "sum").unlink()
    with pytest.raises(StateUnusable, match="there is no state"):
        read_status(directory)
    assert steps(directory) == 0
    assert (directory / "generation").read_bytes() == generation


def test_what_is_not_finished_does_not_replace_what_is_lost(directory: Path, tmp_path: Path) -> None:
    """An unfinished database of another state is not used for this one."""
    for place in (directory, tmp_path / "other"):
        filled(place)
        (place / "sum").unlink()
    (directory / "state.db").unlink()
    shutil.copy(tmp_path / "other" / "state.db", directory / "state.db.new")
    with pytest.raises(StateUnusable, match="different states"):
        StateStore.open(directory, FakeClock())


def test_an_older_schema_is_brought_up_to_date(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each migration runs once, and keeps all progress."""
    filled(directory)
    killed_too = directory.with_name("killed")
    killed(killed_too, steps=3)
    more = ("ALTER TABLE lane ADD COLUMN colour TEXT NOT NULL DEFAULT 'none'", "UPDATE lane SET colour = 'blue'")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, more, ("CREATE TABLE sessions (id)",)))
    for place in (directory, killed_too):
        for _ in range(2):
            with StateStore.open(place, FakeClock()) as store:
                assert len(store.lane(SOURCE, DESTINATION).finished()) == 3
        with closing(sqlite3.connect(place / "state.db")) as connection:
            assert connection.execute("SELECT colour FROM lane").fetchall() == [("blue",)]
            assert connection.execute("PRAGMA user_version").fetchall() == [(schema.newest(),)]


def test_a_migration_that_fails_leaves_the_older_schema(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration step is applied completely or not at all."""
    filled(directory)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("DROP TABLE finished", "DROP TABLE no_such")))
        with pytest.raises(StateUnusable, match="no_such"):
            StateStore.open(directory, FakeClock())
    assert steps(directory) == 3


def test_a_second_bridge_is_turned_away(directory: Path) -> None:
    """The error names the owner and since when it has the state; the owner is not disturbed."""
    with StateStore.open(directory, FakeClock()) as store:
        with pytest.raises(StateBusy) as busy:
            StateStore.open(directory, FakeClock())
        assert str(busy.value).startswith(
            f"the state in {directory} is in use by another bridge (pid {os.getpid()}, since 2026-05-01T00:00:00.000Z)"
        )
        store.lane(SOURCE, DESTINATION).commit(progress(0), 1)
    assert steps(directory) == 1


def test_a_link_to_a_directory_is_followed(directory: Path, tmp_path: Path) -> None:
    """The state directory may be a link to another disk."""
    (tmp_path / "disk").mkdir()
    directory.symlink_to(tmp_path / "disk")
    filled(directory)
    assert steps(directory) == 3


def test_a_name_with_odd_characters_is_a_name(tmp_path: Path) -> None:
    """Special characters in a path are safe for SQLite and in the suggested command."""
    directory = tmp_path / "a?b=c#d %41 e'f"
    filled(directory)
    (directory / "generation").unlink()
    with pytest.raises(StateUnusable, match=r"--state '.*e'\"'\"'f'`"):
        StateStore.open(directory, FakeClock())


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """Yield a directory that everybody may enter, for tests as a user to whom file modes apply."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        is_root = os.geteuid() == 0
        yield Path(name)
        if is_root:
            os.seteuid(0)
        for path in (Path(name), *Path(name).glob("state")):
            path.chmod(0o755)


def leave_rights() -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)


def not_written(directory: Path) -> str:
    with pytest.raises(StateNotWritten) as refused:
        StateStore.open(directory, FakeClock())
    assert "\n" not in str(refused.value)
    assert str(directory) in str(refused.value)
    return str(refused.value)


def test_a_directory_that_may_not_be_written_is_named(unprivileged: Path) -> None:
    """Missing permissions are not reported as damage: the error has the path and what to do."""
    unprivileged.chmod(0o555)
    leave_rights()
    assert "Permission denied" in not_written(unprivileged / "state")
    assert "write permission" in not_written(unprivileged)


def test_a_database_that_may_not_be_written_is_named(unprivileged: Path) -> None:
    """If only the database may not be written, the error says the same."""
    filled(unprivileged)
    for path in unprivileged.iterdir():
        path.chmod(0o444 if path.name == "state.db" else 0o666)
    unprivileged.chmod(0o777)
    leave_rights()
    assert "write permission" in not_written(unprivileged)


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_who_may_not_look_is_told_so(unprivileged: Path, mode: int) -> None:
    """Another user's state is not reported as missing: the error says which user may read it."""
    directory = unprivileged / "state"
    filled(directory)
    directory.chmod(mode if os.geteuid() == 0 else 0)
    leave_rights()
    with pytest.raises(StateUnusable, match=r"cannot be read: Permission denied .*as the user"):
        read_status(directory)


@pytest.mark.parametrize("name", ["file", "file/state"])
def test_a_path_that_can_be_no_directory_is_named(tmp_path: Path, name: str) -> None:
    """A file in place of the directory is an error that asks for a directory."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateNotWritten, match="name a directory"):
        StateStore.open(tmp_path / name, FakeClock())


@pytest.mark.parametrize(
    ("number", "to_do"),
    [(28, "free disk space"), (122, "free disk space"), (30, "write permission"), (5, "check the disk")],
)
def test_what_the_system_says_comes_with_what_to_do(tmp_path: Path, number: int, to_do: str) -> None:
    """A full disk, an exceeded quota, a read-only file system and a failing disk each have a hint."""
    with pytest.raises(StateError, match=to_do), explained(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path / "sum"))


def test_a_state_can_be_looked_at_before_and_after(directory: Path) -> None:
    """The status can be read before and after the state is opened."""
    filled(directory)
    assert read_status(directory).lanes[0].windows == 3
    assert steps(directory) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root works in a directory of somebody else")
def test_what_root_leaves_in_the_directory_of_a_service_is_the_services(directory: Path) -> None:
    """Files that root creates belong to the directory's owner; otherwise the service could not start again."""
    directory.mkdir(mode=0o700)
    os.chown(directory, 61234, 61235)
    for _ in range(2):
        filled(directory)
    filled(directory / "replays" / "one")
    discard(directory, FakeClock())
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in directory.rglob("*")}
    assert owners == {(61234, 61235)}
    roots = directory.parent / "roots"
    roots.touch()
    (directory / "link").symlink_to(roots)
    give_to_owner(directory / "link")
    assert roots.stat().st_uid == 0
    assert len(list(directory.rglob("sum"))) == 2
