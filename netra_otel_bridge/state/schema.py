"""The tables of the database and the migrations that create them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from itertools import islice
from pathlib import Path

from netra_otel_bridge.state.files import check_file

APPLICATION_ID = 0x4E4F4231
"""``NOB1``: SQLite's application id in the header of each state.db. Another program's database has a different one."""

Stored = str | bytes
"""A text as SQLite stores it (`storable`)."""

_FIRST = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('dead_letter_bytes', 0)",
    """CREATE TABLE lane (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        source NOT NULL,
        destination NOT NULL,
        traces INTEGER NOT NULL DEFAULT 0,
        delivered INTEGER NOT NULL DEFAULT 0,
        refused INTEGER NOT NULL DEFAULT 0,
        dead_lettered INTEGER NOT NULL DEFAULT 0,
        size_bytes INTEGER NOT NULL DEFAULT 0,
        updated_ns INTEGER NOT NULL DEFAULT 0,
        problem NOT NULL DEFAULT '',
        problem_since_ns INTEGER NOT NULL DEFAULT 0,
        UNIQUE (source, destination))""",
    """CREATE TABLE query (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        lane INTEGER NOT NULL,
        query NOT NULL,
        since_ns INTEGER,
        watermark_ns INTEGER,
        watermark_set_ns INTEGER NOT NULL DEFAULT 0,
        UNIQUE (lane, query))""",
    """CREATE TABLE trace (
        lane INTEGER NOT NULL,
        trace_id NOT NULL,
        start_ns INTEGER NOT NULL,
        recorded_ns INTEGER NOT NULL,
        digest BLOB,
        spans BLOB NOT NULL,
        PRIMARY KEY (lane, trace_id)) WITHOUT ROWID""",
    """CREATE TABLE finished (
        query INTEGER NOT NULL,
        start_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL,
        finished_ns INTEGER NOT NULL,
        PRIMARY KEY (query, start_ns, end_ns)) WITHOUT ROWID""",
    """CREATE TABLE dead_letter (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        lane INTEGER NOT NULL,
        recorded_ns INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        is_span INTEGER NOT NULL,
        trace_id NOT NULL,
        span_id NOT NULL,
        reason NOT NULL,
        document NOT NULL)""",
    "CREATE INDEX dead_letter_lane ON dead_letter (lane)",
    """CREATE TABLE reason (
        lane INTEGER NOT NULL,
        reason NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (lane, reason)) WITHOUT ROWID""",
)

_SECOND = (
    "CREATE TABLE meter (source PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE metered (source, tenant_id, record BLOB NOT NULL, PRIMARY KEY (source, tenant_id)) WITHOUT ROWID",
    "ALTER TABLE trace ADD COLUMN spent BLOB",
    "ALTER TABLE lane ADD COLUMN summed_from_ns INTEGER",
    """UPDATE lane SET summed_from_ns = 3600000000000 + max(
        coalesce((SELECT max(watermark_ns) FROM query WHERE lane = lane.id), 0),
        coalesce((SELECT max(end_ns) FROM finished JOIN query ON finished.query = query.id WHERE lane = lane.id), 0),
        coalesce((SELECT max(start_ns) FROM trace WHERE lane = lane.id), 0))""",
    """CREATE TABLE spent (
        lane INTEGER NOT NULL,
        tenant_id NOT NULL,
        hour_ns INTEGER NOT NULL,
        tokens NOT NULL,
        requests NOT NULL,
        cost REAL NOT NULL,
        PRIMARY KEY (lane, tenant_id, hour_ns)) WITHOUT ROWID""",
    """CREATE TABLE reconciled (
        lane INTEGER NOT NULL,
        tenant_id NOT NULL,
        start_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL,
        replayed_tokens NOT NULL,
        replayed_cost REAL NOT NULL,
        reported_tokens NOT NULL,
        reported_cost REAL NOT NULL,
        asked_ns INTEGER NOT NULL,
        PRIMARY KEY (lane, tenant_id)) WITHOUT ROWID""",
)

_THIRD = (
    """CREATE TABLE held_back (
        lane INTEGER NOT NULL,
        trace_id NOT NULL,
        query INTEGER NOT NULL,
        start_ns INTEGER NOT NULL,
        reason NOT NULL,
        attempts INTEGER NOT NULL,
        first_ns INTEGER NOT NULL,
        next_ns INTEGER NOT NULL,
        given_up INTEGER NOT NULL,
        summary BLOB NOT NULL,
        PRIMARY KEY (lane, trace_id)) WITHOUT ROWID""",
)

_FOURTH = (
    "ALTER TABLE trace ADD COLUMN carriers BLOB NOT NULL DEFAULT x''",
    "CREATE INDEX dead_letter_trace ON dead_letter (lane, trace_id, is_span, span_id)",
)


class Mode(Enum):
    """Modes of opening a database. ``AT_REST`` makes no file beside it, and is safe only while nobody writes."""

    WRITE = "mode=rw"
    READ = "mode=ro"
    AT_REST = "mode=ro&immutable=1"


MIGRATIONS: Sequence[Sequence[str]] = (_FIRST, _SECOND, _THIRD, _FOURTH)
"""Statements that migrate to each version of the schema: from none to 1, from 1 to 2, and so on."""


def newest() -> int:
    """Return the version of the schema that this bridge writes."""
    return len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of a database's schema."""
    return pragma(connection, "user_version")


def migrate(connection: sqlite3.Connection) -> None:
    """Migrate the tables, one version per transaction. Raises `sqlite3.Error`, also if the file is read-only."""
    if version_of(connection) == newest():
        # SQLite silently opens a file that it may not write as read-only; a write reveals it
        connection.execute("DELETE FROM meta WHERE key IS NULL")
    for version in range(version_of(connection), newest()):
        connection.execute("BEGIN IMMEDIATE")
        with rolling_back(connection):
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")


def checkpoint(connection: sqlite3.Connection) -> None:
    """Move the whole log into the database. Raises `sqlite3.Error`; closing does the same but hides a failure."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def connect(path: Path, mode: Mode, *, synchronous: str = "FULL") -> sqlite3.Connection:
    """Open an existing database; the caller begins and ends transactions. Raises `StateUnusable`, `sqlite3.Error`.

    SQLite follows a link at ``path``, and waits for a pipe at the names of its log and index.
    """
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}-journal"):
        check_file(path.with_name(name))
    connection = sqlite3.connect(
        f"{path.as_uri()}?{mode.value}", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute("PRAGMA trusted_schema = OFF")
        if mode is Mode.WRITE:
            connection.execute("PRAGMA auto_vacuum = NONE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA journal_size_limit = 16777216")
            connection.execute("PRAGMA secure_delete = FAST")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def rolling_back(connection: sqlite3.Connection) -> Iterator[None]:
    """Roll the transaction back if the block raises."""
    try:
        yield
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Return the value of a numeric pragma."""
    (row,) = connection.execute(f"PRAGMA {name}").fetchall()
    return int(row[0])


def chunks(values: Iterable[Stored], size: int) -> Iterator[list[Stored]]:
    """Yield ``values`` in lists of at most ``size``."""
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk


def storable(text: str) -> str | bytes:
    """Return ``text``, or its bytes if it has lone surrogates, which SQLite cannot store."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def readable(value: str | bytes) -> str:
    """Return the text from a value that `storable` returned."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogatepass")


def int64(number: int) -> int:
    """Return ``number``, or the nearest integer that SQLite can store."""
    return max(-(2**63), min(number, 2**63 - 1))
