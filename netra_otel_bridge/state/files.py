"""The files of a state directory. Each is written so that a crash leaves its old or its new content, never a mixture.

state.db         the database; state.db-wal and state.db-shm belong to SQLite
generation       marks that a state exists, and identifies it; with it, an empty database is damage
lock             held by the bridge that uses the state; contains its pid
sum              size and BLAKE2b hash of state.db while no bridge uses it; missing after a crash
state.db.new     an unfinished database: the next start finishes it or makes it again
discarded-TIME/  what was there before somebody started over on purpose
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from netra_otel_bridge.core.files import sync_directory
from netra_otel_bridge.state.errors import untrusted, unusable

_BLOCK_BYTES = 1 << 20
_TEXT_BYTES = 4096
"""Longer than any marker or checksum."""
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISSOCK, "a socket"),
)
_MARKER = "netra-otel-bridge state "
_SUM = "blake2b "


@dataclass(frozen=True, slots=True)
class Files:
    """The paths of one state's files."""

    directory: Path

    @property
    def database(self) -> Path:
        return self.directory / "state.db"

    @property
    def log(self) -> Path:
        """Return the path of SQLite's write-ahead log."""
        return self.directory / "state.db-wal"

    @property
    def index(self) -> Path:
        """Return the path of SQLite's index of the log, which processes share; it is useless without a log."""
        return self.directory / "state.db-shm"

    @property
    def marker(self) -> Path:
        return self.directory / "generation"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def sum(self) -> Path:
        return self.directory / "sum"

    @property
    def unfinished(self) -> Path:
        return self.directory / "state.db.new"

    @property
    def kept(self) -> tuple[Path, ...]:
        """Return the files that only a complete state has."""
        return self.marker, self.database, self.log, self.sum

    @property
    def drafts(self) -> tuple[Path, ...]:
        """Return the temporary files that a crash can leave behind."""
        new = [self.unfinished.with_name(self.unfinished.name + end) for end in ("", "-journal", "-wal", "-shm")]
        return *new, _draft(self.marker), _draft(self.sum)


def make_directory(path: Path) -> None:
    """Create ``path``, accessible only to its owner, and its parents, durably. Raises `OSError`."""
    if path.is_dir():
        return
    if not path.parent.exists():
        make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    give_to_owner(path)
    sync_directory(path.parent)


def give_to_owner(path: Path, file: int | None = None) -> None:
    """Give a file that root created to its directory's owner, because a service could not open it otherwise.

    ``file`` is the open file, if it is open. A symbolic link is not followed. Raises `OSError`.
    """
    if os.geteuid() == 0:
        parent = path.parent.stat()
        if file is not None:
            os.fchown(file, parent.st_uid, parent.st_gid)
        else:
            os.chown(path, parent.st_uid, parent.st_gid, follow_symlinks=False)


def open_file(path: Path, flags: int) -> int:
    """Open a file of the state. Raises `StateUnusable` for anything that `check_file` rejects, and `OSError`.

    It follows no link and does not wait for the other end of a pipe.
    """
    try:
        file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError:
        check_file(path)
        raise
    try:
        _check(os.fstat(file), path)
    except BaseException:
        os.close(file)
        raise
    return file


def check_file(path: Path) -> None:
    """Raise `StateUnusable` unless ``path`` is a regular file, not a link, of the directory's owner, or nothing at all.

    Another user may put something else there, so that root overwrites what it leads to, or waits forever. A file of
    this process's own user counts too, but not with a second name: root's files can be linked into the directory.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    _check(status, path)


def check_directory(path: Path) -> None:
    """Raise `StateUnusable` if ``path`` is a link that neither this user nor the owner of its target has made."""
    link, target = path.lstat(), path.stat()
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in (os.geteuid(), target.st_uid):
        raise untrusted(path, f"a symbolic link that user id {link.st_uid} has made")


def _check(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "a device")
        raise untrusted(path, f"{kind}, not a regular file")
    owner = path.parent.stat().st_uid
    if status.st_uid == owner:
        return
    if status.st_uid != os.geteuid() or status.st_nlink > 1:
        raise untrusted(path, f"a file of user id {status.st_uid}, in a directory of user id {owner}")


def sync_file(path: Path) -> None:
    """Make the content of a file durable. Raises `StateUnusable` and `OSError`."""
    file = open_file(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def read_start(path: Path, size_bytes: int = _TEXT_BYTES) -> bytes:
    """Return the first bytes of a file. Raises `StateUnusable` and `OSError`."""
    with open(open_file(path, os.O_RDONLY), "rb", buffering=0) as file:
        return file.read(size_bytes)


def remove(*paths: Path) -> None:
    """Delete those of ``paths`` that exist. Raises `OSError`."""
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()


def write_marker(files: Files, generation: str) -> None:
    """Write the marker, which says that a state exists, and which one. Raises `OSError`."""
    _write_whole(files.marker, f"{_MARKER}{generation}\n")


def read_marker(files: Files) -> str | None:
    """Return the generation in the marker; ``None`` without a marker. Raises `StateUnusable`."""
    try:
        text = read_start(files.marker).decode("ascii", "replace")
    except FileNotFoundError:
        return None
    generation = text.removeprefix(_MARKER).rstrip("\n")
    if not text.startswith(_MARKER) or not generation.isalnum():
        raise unusable(files.directory, f"{files.marker} is not a valid marker")
    return generation


def write_sum(files: Files) -> None:
    """Write the size and hash of the database, which nobody may have open. Raises `OSError`."""
    size_bytes, digest = _digest(files.database)
    _write_whole(files.sum, f"{_SUM}{digest} {size_bytes}\n")


def check_sum(files: Files) -> None:
    """Raise `StateUnusable` if there is a checksum and the database differs from it. Nobody may have the database open.

    Raises `OSError`.
    """
    try:
        text = read_start(files.sum).decode("ascii", "replace")
    except FileNotFoundError:
        return
    noted_digest, _, noted_bytes = text.removeprefix(_SUM).rstrip("\n").partition(" ")
    if not text.startswith(_SUM) or not noted_bytes.isdecimal():
        raise unusable(files.directory, f"{files.sum} is not a valid checksum")
    if size_bytes_of(files.log):
        raise unusable(files.directory, f"{files.log} does not belong to {files.database}, which was closed cleanly")
    size_bytes, digest = _digest(files.database)
    if size_bytes != int(noted_bytes):
        raise unusable(
            files.directory, f"{files.database} has {size_bytes} bytes; it had {noted_bytes} when it was closed"
        )
    if digest != noted_digest:
        raise unusable(files.directory, f"{files.database} was changed after it was closed: its checksum differs")


def exists(path: Path) -> bool:
    """Return whether ``path`` exists, even as a dangling link. Raises `OSError` if that cannot be determined."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def size_bytes_of(path: Path) -> int:
    """Return a file's size; 0 if it does not exist. Raises `OSError`."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _digest(path: Path) -> tuple[int, str]:
    hash_, size_bytes = hashlib.blake2b(digest_size=32), 0
    with open(open_file(path, os.O_RDONLY), "rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            hash_.update(block)
            size_bytes += len(block)
    return size_bytes, hash_.hexdigest()


def _draft(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _write_whole(path: Path, text: str) -> None:
    draft = _draft(path)
    remove(draft)
    file = open_file(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        give_to_owner(draft, file)
        rest = memoryview(text.encode("ascii"))
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    sync_directory(path.parent)
