"""An open state: the lock, a connection that reads, a connection that writes.

A transaction is written only while the files at the paths are those that were opened: what goes to a file that somebody
deleted or replaced is lost when the process ends. After a transaction that failed none is written any more.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import StateBusy, StateError, UsageError
from netra_otel_bridge.core.model.progress import LaneStatus
from netra_otel_bridge.state import rows as record
from netra_otel_bridge.state import schema
from netra_otel_bridge.state.checks import is_there, make_ready
from netra_otel_bridge.state.database import _RESTORE, LOG_BYTES
from netra_otel_bridge.state.errors import LOOK_AT_DISK, explained, no_state, not_written
from netra_otel_bridge.state.files import Files, make_directory, remove, sync_directory, write_sum
from netra_otel_bridge.state.lane import LaneState
from netra_otel_bridge.state.lock import Lock


class StateStore:
    """A state in a directory, or (`temporary`) one that lasts as long as the object.

    It may be used from two threads at once: one that reads and one that writes.
    """

    def __init__(self, files: Files, lock: Lock, *, is_temporary: bool) -> None:
        self.directory = files.directory
        self.is_temporary = is_temporary
        self._files = files
        self._lock = lock
        self._writing, self._reading = threading.RLock(), threading.RLock()
        self._failure: StateError | None = None
        self._busy: set[tuple[str, str]] = set()
        self._closed = False
        self._pid = os.getpid()
        with ExitStack() as opened:
            self._writer = schema.connect(
                files.database, schema.Mode.WRITE, synchronous="OFF" if is_temporary else "FULL"
            )
            opened.callback(self._writer.close)
            schema.migrate(self._writer)
            self._reader = schema.connect(files.database, schema.Mode.READ)
            opened.callback(self._reader.close)
            self._reader.execute(
                "CREATE TEMP TABLE listed (pass, trace_id, PRIMARY KEY (pass, trace_id)) WITHOUT ROWID"
            )
            self._reader.execute("SELECT count(*) FROM meta").fetchall()
            self._opened = {it: os.stat(it) for it in (files.database, files.log, files.marker, lock.path)}
            opened.pop_all()

    @classmethod
    def open(cls, directory: Path, clock: Clock) -> StateStore:
        """The state in ``directory``, which is made on first use (0700, files 0600), checked and brought up to date.

        Raises `StateUnusable` if a check fails, `StateBusy` if another bridge works with it, `StateNotWritten`.
        """
        files = Files(Path(os.path.abspath(directory)))
        with explained(files.directory):
            make_directory(files.directory)
            return cls._locked(files, clock)

    @classmethod
    def open_there(cls, directory: Path, clock: Clock) -> StateStore:
        """Like `open`, but nothing is made: `StateUnusable` if there is no state."""
        files = Files(Path(os.path.abspath(directory)))
        with explained(files.directory):
            if not is_there(files):
                raise no_state(files.directory)
            return cls._locked(files, clock)

    @classmethod
    def temporary(cls, clock: Clock) -> StateStore:
        """A state in a private directory that `close` removes; not durable. Raises `StateNotWritten`."""
        with explained(Path(tempfile.gettempdir())):
            directory = Path(tempfile.mkdtemp(prefix="netra-otel-bridge-"))
        with ExitStack() as made, explained(directory):
            made.callback(shutil.rmtree, directory, ignore_errors=True)
            store = cls._locked(Files(directory), clock, is_temporary=True)
            made.pop_all()
        return store

    @classmethod
    def _locked(cls, files: Files, clock: Clock, *, is_temporary: bool = False) -> StateStore:
        with ExitStack() as taken:
            lock = Lock.take(files.lock, clock)
            taken.callback(lock.release)
            make_ready(files)
            if files.sum.exists():
                remove(files.sum)
                sync_directory(files.directory)
            store = cls(files, lock, is_temporary=is_temporary)
            taken.callback(store.close)
            store.prove_writable()
            taken.pop_all()
        return store

    def prove_writable(self) -> None:
        """Write something: on a disk that is full, nothing may be delivered that cannot be remembered.

        Raises `StateNotWritten`.
        """
        with self.writing() as connection:
            connection.execute("UPDATE meta SET value = value WHERE key = 'dead_letter_bytes'")

    def lane(self, source: str, destination: str, query: str = "") -> LaneState:
        """The lane from ``source`` to ``destination``; ``query`` is the canonical text of the trace query, "" for all.

        Traces, counts and dead letters are the lane's; finished windows and the watermark are the query's as well.
        Raises `StateNotWritten`.
        """
        with self.writing() as connection:
            lane = record.lane_id(connection, source, destination)
            return LaneState(self, (source, destination, query), lane, record.query_id(connection, lane, query))

    @contextmanager
    def alone(self, source: str, destination: str) -> Iterator[None]:
        """Work for a destination that nobody else in this program does meanwhile. Raises `StateBusy`."""
        key = source, destination
        with self._writing:
            if key in self._busy:
                raise StateBusy(
                    f"another call sends to {destination} with this state",
                    hint="wait for its end, or name destinations apart with Named(...)",
                )
            self._busy.add(key)
        try:
            yield
        finally:
            self._busy.discard(key)

    def lanes(self) -> list[LaneStatus]:
        """What is known of each lane, by source and destination."""
        with self.reading() as connection:
            return record.lanes(connection)

    def has_dead_letters(self) -> bool:
        """Whether a dead letter of any lane is kept."""
        with self.reading() as connection:
            return bool(connection.execute("SELECT 1 FROM dead_letter LIMIT 1").fetchall())

    def forget_progress(self) -> None:
        """Forget everything but dead letters and their reasons. `LaneState`s handed out before are of no use any more."""
        with self.writing() as connection:
            for table in ("trace", "finished", "query", "spent", "reconciled"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608
            connection.execute("DELETE FROM lane WHERE id NOT IN (SELECT lane FROM dead_letter)")
            connection.execute("DELETE FROM reason WHERE lane NOT IN (SELECT id FROM lane)")
            connection.execute(
                """UPDATE lane SET traces = 0, delivered = 0, refused = 0, size_bytes = 0, problem = '',
                    problem_since_ns = 0, summed_from_ns = NULL"""
            )

    def close(self) -> None:
        """Close the state and free it for others; a temporary one is gone. What was committed is durable already."""
        with self._writing, self._reading:
            if self._closed or os.getpid() != self._pid:
                return
            self._closed = True
            try:
                in_place = self._failure is None and self._is_in_place()
                self._close_connections()
                if self.is_temporary:
                    shutil.rmtree(self.directory, ignore_errors=True)
                elif in_place:
                    self._note_sum()
            finally:
                with suppress(OSError):
                    self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection that reads. Raises `StateError` for what SQLite reports in the block."""
        with self._reading, explained(self.directory):
            self._check_open()
            yield self._reader

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, durable when the block is left. If it fails (`StateError`), no later one is begun."""
        with self._writing:
            self._check_open()
            if self._failure is not None:
                raise self._failure
            try:
                with explained(self.directory):
                    self._check_in_place()
                    self._writer.execute("BEGIN IMMEDIATE")
                    yield self._writer
                    self._writer.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
                if isinstance(error, StateError):
                    self._failure = error
                raise

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise UsageError("this state was opened in another process", hint="open it in one process alone")
        if self._closed:
            raise StateError(f"the state in {self.directory} is closed", hint="open it again")

    def _check_in_place(self) -> None:
        for path, opened in self._opened.items():
            try:
                found = os.stat(path)
            except FileNotFoundError:
                raise not_written(path, "it was deleted while the bridge worked with it", _RESTORE) from None
            if not os.path.samestat(found, opened):
                raise not_written(path, "it was replaced while the bridge worked with it", _RESTORE)
            if path == self._files.database and found.st_size < opened.st_size:
                raise not_written(path, "it was cut while the bridge worked with it", _RESTORE)
            if path == self._files.log and found.st_size > LOG_BYTES:
                raise not_written(
                    path,
                    f"it has grown to {found.st_size} bytes",
                    f"close programs that read state.db, or {LOOK_AT_DISK}",
                )

    def _is_in_place(self) -> bool:
        try:
            self._check_in_place()
        except (OSError, StateError):
            return False
        return True

    def _close_connections(self) -> None:
        self._reader.close()
        with suppress(sqlite3.Error):
            schema.checkpoint(self._writer)
        self._writer.close()

    def _note_sum(self) -> None:
        """Only where nothing is left in SQLite's log; where there is no sum, the next start checks without one."""
        with suppress(OSError):
            if not self._files.log.exists():
                sync_directory(self.directory)
                write_sum(self._files)
