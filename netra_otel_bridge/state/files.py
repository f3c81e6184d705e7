"""The files of a state directory, each written so that a crash leaves the old content or the new, never half of one.

state.db         the database; state.db-wal and state.db-shm are SQLite's own
generation       says that there is a state, and which: an emptied directory is a first run, an emptied file is not
lock             held by the bridge that works with the state, with its pid
sum              size and BLAKE2b of state.db while no bridge works with it; none after a crash
state.db.new     a database that is not finished: the next start finishes it or builds it again
discarded-TIME/  what was there before somebody started anew on purpose
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from netra_otel_bridge.state.errors import unusable

_BLOCK_BYTES = 1 << 20
_MARKER = "netra-otel-bridge state "
_SUM = "blake2b "


@dataclass(frozen=True, slots=True)
class Files:
    """Where the parts of a state lie."""

    directory: Path

    @property
    def database(self) -> Path:
        return self.directory / "state.db"

    @property
    def log(self) -> Path:
        """SQLite's write-ahead log."""
        return self.directory / "state.db-wal"

    @property
    def index(self) -> Path:
        """SQLite's index of the log, shared between processes; of no use without one."""
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
        """What only a state that was finished has."""
        return self.marker, self.database, self.log, self.sum

    @property
    def drafts(self) -> tuple[Path, ...]:
        """What a crash can leave of a file that was being written."""
        new = [self.unfinished.with_name(self.unfinished.name + end) for end in ("", "-journal", "-wal", "-shm")]
        return *new, _draft(self.marker), _draft(self.sum)


def make_directory(path: Path) -> None:
    """Make ``path``, for its owner alone, and its parents; their names last. Raises `OSError`."""
    if path.is_dir():
        return
    if not path.parent.exists():
        make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    give_to_owner(path)
    sync_directory(path.parent)


def give_to_owner(path: Path) -> None:
    """What root makes in somebody else's directory is to be theirs: a service could not open it. Raises `OSError`.

    What they put a link in the place of stays whose it is.
    """
    if os.geteuid() == 0:
        theirs = path.parent.stat()
        os.chown(path, theirs.st_uid, theirs.st_gid, follow_symlinks=False)


def sync_directory(path: Path) -> None:
    """Make the names in a directory last as long as the files' content. Raises `OSError`."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def sync_file(path: Path) -> None:
    """Make what was written to a file last. Raises `OSError`."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def remove(*paths: Path) -> None:
    """Delete those of ``paths`` that are there. Raises `OSError`."""
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()


def write_marker(files: Files, generation: str) -> None:
    """Say that there is a state, and which. Raises `OSError`."""
    _write_whole(files.marker, f"{_MARKER}{generation}\n")


def read_marker(files: Files) -> str | None:
    """Which state this is; ``None`` where nothing says so. Raises `StateUnusable`."""
    try:
        text = files.marker.read_text("ascii", "replace")
    except FileNotFoundError:
        return None
    generation = text.removeprefix(_MARKER).rstrip("\n")
    if not text.startswith(_MARKER) or not generation.isalnum():
        raise unusable(files.directory, f"{files.marker} does not say which state this is")
    return generation


def write_sum(files: Files) -> None:
    """Note size and BLAKE2b of the database. Nobody may have it open. Raises `OSError`."""
    size_bytes, digest = _digest(files.database)
    _write_whole(files.sum, f"{_SUM}{digest} {size_bytes}\n")


def check_sum(files: Files) -> None:
    """Raises `StateUnusable` if there is a sum and the database is another; `OSError`. Nobody may have it open."""
    try:
        text = files.sum.read_text("ascii", "replace")
    except FileNotFoundError:
        return
    noted_digest, _, noted_bytes = text.removeprefix(_SUM).rstrip("\n").partition(" ")
    if not text.startswith(_SUM) or not noted_bytes.isdecimal():
        raise unusable(files.directory, f"{files.sum} does not hold a sum")
    if size_bytes_of(files.log):
        raise unusable(files.directory, f"{files.log} does not belong to {files.database}, which was closed in order")
    size_bytes, digest = _digest(files.database)
    if size_bytes != int(noted_bytes):
        raise unusable(files.directory, f"{files.database} has {size_bytes} bytes and was closed with {noted_bytes}")
    if digest != noted_digest:
        raise unusable(files.directory, f"{files.database} was altered since it was closed: its sum differs")


def exists(path: Path) -> bool:
    """Whether there is something at ``path``, be it a link to nothing. Raises `OSError` if that may not be known."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def size_bytes_of(path: Path) -> int:
    """A file's size; 0 if it is not there. Raises `OSError`."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _digest(path: Path) -> tuple[int, str]:
    sum_, size_bytes = hashlib.blake2b(digest_size=32), 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            sum_.update(block)
            size_bytes += len(block)
    return size_bytes, sum_.hexdigest()


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
