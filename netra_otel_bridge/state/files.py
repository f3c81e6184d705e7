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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from netra_otel_bridge.core.files import sync_directory
from netra_otel_bridge.state.errors import unusable

_BLOCK_BYTES = 1 << 20
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


def give_to_owner(path: Path) -> None:
    """Give a file that root created to its directory's owner, because a service could not open it otherwise.

    Raises `OSError`.

    A symbolic link is not followed.
    """
    if os.geteuid() == 0:
        parent = path.parent.stat()
        os.chown(path, parent.st_uid, parent.st_gid, follow_symlinks=False)


def sync_file(path: Path) -> None:
    """Make the content of a file durable. Raises `OSError`."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


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
        text = files.marker.read_text("ascii", "replace")
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
        text = files.sum.read_text("ascii", "replace")
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
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _digest(path: Path) -> tuple[int, str]:
    hash_, size_bytes = hashlib.blake2b(digest_size=32), 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            hash_.update(block)
            size_bytes += len(block)
    return size_bytes, hash_.hexdigest()


def _draft(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _write_whole(path: Path, text: str) -> None:
    draft = _draft(path)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(text.encode("ascii"))
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)
    give_to_owner(draft)
    draft.replace(path)
    sync_directory(path.parent)
