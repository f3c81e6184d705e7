"""Create a state, and check an existing one before it is used.

A state is created in three steps, each durable before the next: the database under a temporary name, the marker that
says that a state exists, the rename of the database. If the process is killed before the marker, there is no state, and
the next start creates one. If it is killed before the rename, the next start does the rename. If anything else is
missing, somebody removed it.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing

from netra_otel_bridge.core.files import sync_directory
from netra_otel_bridge.state import schema
from netra_otel_bridge.state.errors import unusable
from netra_otel_bridge.state.files import (
    Files,
    check_sum,
    exists,
    give_to_owner,
    open_file,
    read_marker,
    read_start,
    remove,
    size_bytes_of,
    sync_file,
    write_marker,
)

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100


def is_there(files: Files) -> bool:
    """Return whether a state exists, intact or damaged. Raises `OSError`."""
    return any(map(exists, files.kept))


def is_unnamed(files: Files) -> bool:
    """Return whether a crash came after the marker was written and before the database was renamed. The next start renames it."""
    return exists(files.unfinished) and [path for path in files.kept if exists(path)] == [files.marker]


def make_ready(files: Files) -> None:
    """Create a state, or complete and check the existing one. The caller holds the lock.

    Raises `StateUnusable`, `OSError`, `sqlite3.Error`.
    """
    if not is_there(files):
        _make(files)
    elif is_unnamed(files):
        _rename(files)
    _check_files(files)
    with closing(schema.connect(files.database, schema.Mode.READ)) as connection:
        check_identity(connection, files)
        _check_content(connection, files)
    remove(*files.drafts)


def check_identity(connection: sqlite3.Connection, files: Files) -> None:
    """Raise `StateUnusable` if the database is another program's, a newer bridge's or another state's."""
    if schema.pragma(connection, "application_id") != schema.APPLICATION_ID:
        raise unusable(files.directory, f"{files.database} is another program's database")
    version = schema.version_of(connection)
    if version > schema.newest():
        raise unusable(
            files.directory,
            f"it was written by a newer netra-otel-bridge: install that version (its schema is {version}, this "
            f"version supports {schema.newest()})",
        )
    if version < 1:
        raise unusable(files.directory, f"{files.database} has no schema version")
    row = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchall()
    if row != [(read_marker(files),)]:
        raise unusable(files.directory, f"{files.database} and {files.marker} belong to different states")


def _make(files: Files) -> None:
    remove(*files.drafts)
    remove(files.index)
    generation = secrets.token_hex(16)
    file = open_file(files.unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        give_to_owner(files.unfinished, file)
    finally:
        os.close(file)
    with closing(schema.connect(files.unfinished, schema.Mode.WRITE)) as connection:
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        schema.migrate(connection)
        connection.execute("INSERT INTO meta VALUES ('generation', ?)", (generation,))
        schema.checkpoint(connection)
    sync_file(files.unfinished)
    sync_directory(files.directory)
    write_marker(files, generation)
    _rename(files)


def _rename(files: Files) -> None:
    files.unfinished.rename(files.database)
    sync_directory(files.directory)


def _check_files(files: Files) -> None:
    """Check the files without SQLite, which would treat an empty file as a new database."""
    if read_marker(files) is None:
        raise unusable(files.directory, f"the marker {files.marker} is missing")
    if not exists(files.database):
        raise unusable(files.directory, f"{files.database} is missing")
    _check_header(files)
    check_sum(files)


def _check_header(files: Files) -> None:
    header = read_start(files.database, _HEADER_BYTES)
    size_bytes = size_bytes_of(files.database)
    if not header:
        raise unusable(files.directory, f"{files.database} is empty (0 bytes)")
    if not header.startswith(_MAGIC[: len(header)]):
        raise unusable(files.directory, f"{files.database} is not an SQLite database")
    if len(header) < _HEADER_BYTES:
        raise unusable(files.directory, f"{files.database} is truncated to {size_bytes} bytes")
    if _number(header, 68) != schema.APPLICATION_ID:
        raise unusable(files.directory, f"{files.database} is another program's database")
    if not size_bytes_of(files.log) and _number(header, 24) == _number(header, 92):
        page_bytes = int.from_bytes(header[16:18], "big")
        expected_bytes = _number(header, 28) * (65536 if page_bytes == 1 else page_bytes)
        if size_bytes < expected_bytes:
            raise unusable(
                files.directory, f"{files.database} is truncated: it has {size_bytes} of {expected_bytes} bytes"
            )


def _number(header: bytes, offset: int) -> int:
    """Return a field of an SQLite header (https://sqlite.org/fileformat2.html, 1.3)."""
    return int.from_bytes(header[offset : offset + 4], "big")


def _check_content(connection: sqlite3.Connection, files: Files) -> None:
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if found[0] != "ok":
        said = " ".join(str(found[0]).split())
        raise unusable(files.directory, f"{files.database} is damaged: {said}")
