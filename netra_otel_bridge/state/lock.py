"""Lock a state for one bridge at a time. The system releases the lock when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import StateBusy
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.state.files import give_to_owner, open_file

_OWNER = re.compile(r"pid (\d+) since (\S+)\n")
_OWNER_BYTES = 200
_ATTEMPTS = 10_000


class Lock:
    """A lock, held until `release`. Its file names the owner; processes started by exec do not inherit it."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self._file = file

    @classmethod
    def take(cls, path: Path, clock: Clock) -> Lock:
        """Take the lock; create its file if needed. Raises `StateBusy`, which names the owner, and `OSError`."""
        while True:
            file = open_file(path, os.O_RDWR | os.O_CREAT)
            try:
                _take_exclusively(file, path)
                if _is_at(file, path):
                    give_to_owner(path, file)
                    owner = f"pid {os.getpid()} since {iso_ms(clock.now_ns())}\n".encode("ascii")
                    os.pwrite(file, owner, 0)
                    os.ftruncate(file, len(owner))
                    return cls(path, file)
            except BaseException:
                os.close(file)
                raise
            os.close(file)

    def release(self) -> None:
        """Release the lock and remove the owner from its file."""
        try:
            os.ftruncate(self._file, 0)
        finally:
            os.close(self._file)


def owner(path: Path) -> int | None:
    """Return the pid of the bridge that holds the lock, or ``None``. Raises `OSError`."""
    try:
        file = open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        said = _OWNER.fullmatch(_content(file))
        return int(said[1]) if said is not None and not _try(file, fcntl.LOCK_SH) else None
    finally:
        os.close(file)


def _take_exclusively(file: int, path: Path) -> None:
    """Lock the file, or raise `StateBusy` if a bridge has locked it.

    `owner` takes a shared lock for an instant. If a shared lock succeeds here too, no bridge has the lock, so try
    again.
    """
    for _ in range(_ATTEMPTS):
        if _try(file, fcntl.LOCK_EX):
            return
        if not _try(file, fcntl.LOCK_SH):
            break
    raise _busy(path, file)


def _try(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _busy(path: Path, file: int) -> StateBusy:
    said = _OWNER.fullmatch(_content(file))
    who = f"another bridge (pid {said[1]}, since {said[2]})" if said is not None else "another bridge"
    return StateBusy(
        f"the state in {path.parent} is in use by {who}", hint="stop it, or name another directory with --state"
    )


def _content(file: int) -> str:
    return os.pread(file, _OWNER_BYTES, 0).decode("ascii", "replace")


def _is_at(file: int, path: Path) -> bool:
    """Return whether the path still leads to the open file, which somebody may have deleted in between."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False
