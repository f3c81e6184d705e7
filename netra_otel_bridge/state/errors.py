"""Turn errors of the operating system and SQLite into the bridge's own: one line with the path and the remedy."""

from __future__ import annotations

import errno
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netra_otel_bridge.core.errors import StateError, StateNotWritten, StateUnusable, UsageError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_DIRECTORY = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_IN_USE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
MAKE_ROOM = "free disk space, then start again; spans acknowledged since the last transaction are sent again"
MAKE_WRITABLE = "give this user write permission there, or name another directory with --state"
LOOK_AT_DISK = "check the disk, its free space, the quota and the system log, then start again"


def unusable(directory: Path, what: str) -> StateUnusable:
    """Return the error of a failed check, with its two remedies."""
    return StateUnusable(
        f"the state in {directory} cannot be used: {what}",
        hint=f"put back a backup of the directory, or start over with `netra-otel-bridge state reset --all --state "
        f"{shlex.quote(str(directory))}`, which sends everything again",
    )


def untrusted(path: Path, what: str) -> StateUnusable:
    """Return the error for a path of the state at which something else is, perhaps put there by another user."""
    return StateUnusable(
        f"the state in {path.parent} cannot be used: {path} is {what}",
        hint="find out who put it there, and remove it; the bridge follows no links there and opens only regular files "
        "of the directory's owner",
    )


def no_state(directory: Path) -> StateUnusable:
    """Return the error for a directory without a state, as opposed to a damaged state."""
    return StateUnusable(
        f"there is no state in {directory}",
        hint="name the directory with --state; `run` creates it, and so does `replay --state`",
    )


def unreadable(directory: Path, error: OSError) -> StateUnusable:
    """Return the error for a state that this user may not read."""
    return StateUnusable(
        f"the state in {directory} cannot be read: {error.strerror}",
        hint="run this as the user that the bridge runs as",
    )


def unknown_destination(directory: Path, destination: str, known: list[str]) -> UsageError:
    """Return the error for a destination that has no lane in the state."""
    return UsageError(
        f"the state in {directory} has no destination {destination!r}",
        hint=f"it has {', '.join(known)}" if known else "it has none yet",
    )


def not_written(where: Path, what: str, hint: str) -> StateNotWritten:
    """Return the error for progress that could not be made durable at ``where``."""
    return StateNotWritten(f"cannot save progress in {where}: {what}", hint=hint)


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Raise `StateUnusable` or `StateNotWritten` for errors of SQLite and the operating system in the block."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) is None:
            raise
        raise _of_sqlite(directory, error) from error
    except OSError as error:
        raise _of_system(directory, error) from error


def _of_sqlite(directory: Path, error: sqlite3.Error) -> StateError:
    said = f"{error} [{error.sqlite_errorname}]"
    primary = error.sqlite_errorcode & 0xFF
    if primary in _DAMAGED:
        return unusable(directory, f"state.db is damaged: {said}")
    if primary == sqlite3.SQLITE_FULL:
        return not_written(directory, said, MAKE_ROOM)
    if primary in _UNWRITABLE:
        return not_written(directory, said, MAKE_WRITABLE)
    if primary in _IN_USE:
        return not_written(directory, said, "close the other program that has state.db open, then start again")
    return not_written(directory, said, LOOK_AT_DISK)


def _of_system(directory: Path, error: OSError) -> StateError:
    where = Path(str(error.filename)) if error.filename else directory
    said = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        return not_written(where, said, MAKE_ROOM)
    if error.errno in _NO_RIGHTS:
        return not_written(where, said, MAKE_WRITABLE)
    if error.errno in _NO_DIRECTORY:
        return not_written(where, said, "name a directory with --state")
    return not_written(where, said, LOOK_AT_DISK)
