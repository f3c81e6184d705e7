"""What a state says, for somebody who looks on: without the lock, also while a bridge works with it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from netra_otel_bridge.core.model.progress import LaneStatus
from netra_otel_bridge.state import lock, schema
from netra_otel_bridge.state import rows as record
from netra_otel_bridge.state.checks import check_identity, is_there, is_unnamed
from netra_otel_bridge.state.errors import (
    explained,
    no_state,
    unknown_destination,
    unreadable,
    unusable,
)
from netra_otel_bridge.state.files import Files, size_bytes_of
from netra_otel_bridge.state.rows import StoredLetter

_LETTERS = 20
"""Dead letters that are held at once; a document can have megabytes."""


@dataclass(frozen=True, slots=True)
class StateStatus:
    """A state at one moment; ``owner`` is the pid of the bridge that works with it."""

    directory: Path
    owner: int | None
    lanes: tuple[LaneStatus, ...]


def read_status(directory: str | Path) -> StateStatus:
    """What is known of each lane; no bridge is disturbed.

    Raises `StateUnusable` if there is no state, or none that can or may be read.
    """
    files = Files(Path(os.path.abspath(directory)))
    with _looking(files) as connection:
        lanes = record.lanes(connection)
        return StateStatus(files.directory, lock.owner(files.lock), tuple(lanes))


def dead_letters(directory: str | Path, destination: str | None = None) -> Iterator[StoredLetter]:
    """The dead letters of a destination, or of all, in the order of keeping; no bridge is disturbed.

    Raises what `read_status` does, and `UsageError` for a destination that is not known.
    """
    files = Files(Path(os.path.abspath(directory)))
    after_id, more = 0, True
    while more:
        with _looking(files) as connection:
            lanes = _lanes_of(connection, files, destination)
            found = record.dead_letters(connection, lanes, after_id, _LETTERS)
        yield from found
        more = len(found) == _LETTERS
        after_id = found[-1].id if found else 0


@contextmanager
def _looking(files: Files) -> Iterator[sqlite3.Connection]:
    """A connection for the block alone. Where nobody works with the state, it leaves no file beside the database."""
    with explained(files.directory):
        try:
            if not is_there(files) or is_unnamed(files):
                raise no_state(files.directory)
            at_rest = lock.owner(files.lock) is None and not size_bytes_of(files.log)
        except PermissionError as error:
            raise unreadable(files.directory, error) from error
        if not size_bytes_of(files.database):
            raise unusable(files.directory, f"{files.database} is missing or empty")
        with closing(schema.connect(files.database, schema.Mode.LOOK if at_rest else schema.Mode.READ)) as connection:
            check_identity(connection, files)
            yield connection


def _lanes_of(connection: sqlite3.Connection, files: Files, destination: str | None) -> list[int]:
    rows = connection.execute("SELECT id, destination FROM lane ORDER BY id").fetchall()
    known = sorted({schema.readable(name) for _, name in rows})
    if destination is not None and destination not in known:
        raise unknown_destination(files.directory, destination, known)
    return [lane for lane, name in rows if destination in (None, schema.readable(name))]
