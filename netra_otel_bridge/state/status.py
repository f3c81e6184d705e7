"""Read a state without taking its lock, even while a bridge uses it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from netra_otel_bridge.core.model.progress import LaneStatus
from netra_otel_bridge.state import held, lock, rows, schema
from netra_otel_bridge.state.checks import check_identity, is_there, is_unnamed
from netra_otel_bridge.state.errors import (
    explained,
    no_state,
    unknown_destination,
    unreadable,
    unusable,
)
from netra_otel_bridge.state.files import Files, check_directory, size_bytes_of
from netra_otel_bridge.state.held import StoredTrace
from netra_otel_bridge.state.rows import StoredLetter

_LETTERS = 20
"""Number of dead letters held in memory at once; one document can take megabytes."""


@dataclass(frozen=True, slots=True)
class StateStatus:
    """A state at one moment; ``owner`` is the pid of the bridge that uses it, if any."""

    directory: Path
    owner: int | None
    lanes: tuple[LaneStatus, ...]


def read_status(directory: str | Path) -> StateStatus:
    """Return the status of each lane, without disturbing a bridge that uses the state.

    Raises `StateUnusable` if there is no state, or if it cannot be read.
    """
    files = Files(Path(os.path.abspath(directory)))
    with reading(files) as connection:
        lanes = rows.lanes(connection)
        return StateStatus(files.directory, lock.owner(files.lock), tuple(lanes))


def dead_letters(directory: str | Path, destination: str | None = None) -> Iterator[StoredLetter]:
    """Yield the dead letters of one destination or of all, oldest first, without disturbing a running bridge.

    Raises the same errors as `read_status`, and `UsageError` for a destination that the state does not have.
    """
    files = Files(Path(os.path.abspath(directory)))
    after_id, more = 0, True
    while more:
        with reading(files) as connection:
            lanes = _lanes_of(connection, files, destination)
            found = rows.dead_letters(connection, list(lanes), after_id, _LETTERS)
        yield from found
        more = len(found) == _LETTERS
        after_id = found[-1].id if found else 0


def held_traces(directory: str | Path, destination: str | None = None) -> list[StoredTrace]:
    """Return the traces that are held back for one destination or for all, without disturbing a running bridge.

    Raises the same errors as `dead_letters`.
    """
    files = Files(Path(os.path.abspath(directory)))
    with reading(files) as connection:
        return held.of_lanes(connection, _lanes_of(connection, files, destination).items())


@contextmanager
def reading(files: Files) -> Iterator[sqlite3.Connection]:
    """Yield a connection for the block. If no bridge uses the state, it leaves no file beside the database."""
    with explained(files.directory):
        try:
            if not is_there(files) or is_unnamed(files):
                raise no_state(files.directory)
            check_directory(files.directory)
            at_rest = lock.owner(files.lock) is None and not size_bytes_of(files.log)
        except PermissionError as error:
            raise unreadable(files.directory, error) from error
        if not size_bytes_of(files.database):
            raise unusable(files.directory, f"{files.database} is missing or empty")
        with closing(
            schema.connect(files.database, schema.Mode.AT_REST if at_rest else schema.Mode.READ)
        ) as connection:
            check_identity(connection, files)
            yield connection


def _lanes_of(connection: sqlite3.Connection, files: Files, destination: str | None) -> dict[int, str]:
    """Return the names of the lanes of one destination or of all, by id. Raises `UsageError` for an unknown one."""
    found = connection.execute("SELECT id, destination FROM lane ORDER BY id").fetchall()
    lanes = {lane: schema.readable(name) for lane, name in found}
    if destination is not None and destination not in lanes.values():
        raise unknown_destination(files.directory, destination, sorted({*lanes.values()}))
    return {lane: name for lane, name in lanes.items() if destination in (None, name)}
