"""Manage an open state database: its files, the lock, one connection that reads and one that writes.

A transaction is written only while the paths still lead to the files that were opened, because data in a deleted or
replaced file is lost when the process ends. After a failed transaction, nothing more is written.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import StateError, UsageError
from netra_otel_bridge.core.files import sync_directory
from netra_otel_bridge.state import schema
from netra_otel_bridge.state.checks import is_there, make_ready
from netra_otel_bridge.state.errors import LOOK_AT_DISK, explained, no_state, not_written
from netra_otel_bridge.state.files import Files, check_directory, exists, make_directory, remove, write_sum
from netra_otel_bridge.state.lock import Lock

LOG_BYTES = 2**30
"""Limit for SQLite's write-ahead log. It gets that large only if another program keeps SQLite from emptying it."""
_ATTEMPTS = 100
_RESTORE = "put the directory back, or start over; spans acknowledged since the last transaction are sent again"


class Database:
    """The database of one state: in a directory that stays, or (`temporary`) in one that `close` removes.

    Two threads may use it at once: one that reads and one that writes.
    """

    def __init__(self, files: Files, lock: Lock, *, is_temporary: bool) -> None:
        self.directory = files.directory
        self.is_temporary = is_temporary
        self._files = files
        self._lock = lock
        self._writing, self._reading = threading.RLock(), threading.RLock()
        self._failure: StateError | None = None
        self._closed = False
        self._pid = os.getpid()
        self._passes = count(1)
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
    def open(cls, directory: Path, clock: Clock) -> Database:
        """Open the state in ``directory``; create it on first use (directory 0700, files 0600), check it, migrate it.

        Raises `StateUnusable` if a check fails, `StateBusy` if another bridge has it open, and `StateNotWritten`.
        """
        files = Files(Path(os.path.abspath(directory)))
        with explained(files.directory):
            return cls._locked(files, _lock_in_new(files, clock))

    @classmethod
    def open_existing(cls, directory: Path, clock: Clock) -> Database:
        """Like `open`, but raise `StateUnusable` instead of creating a state."""
        files = Files(Path(os.path.abspath(directory)))
        with explained(files.directory):
            if not is_there(files):
                raise no_state(files.directory)
            check_directory(files.directory)
            return cls._locked(files, Lock.take(files.lock, clock))

    @classmethod
    def temporary(cls, clock: Clock) -> Database:
        """Create a state in a private directory that `close` removes; it is not durable. Raises `StateNotWritten`."""
        with explained(Path(tempfile.gettempdir())):
            directory = Path(tempfile.mkdtemp(prefix="netra-otel-bridge-"))
        with ExitStack() as made, explained(directory):
            made.callback(shutil.rmtree, directory, ignore_errors=True)
            files = Files(directory)
            database = cls._locked(files, Lock.take(files.lock, clock), is_temporary=True)
            made.pop_all()
        return database

    @classmethod
    def _locked(cls, files: Files, lock: Lock, *, is_temporary: bool = False) -> Database:
        with ExitStack() as taken:
            taken.callback(lock.release)
            make_ready(files)
            if exists(files.sum):
                remove(files.sum)
                sync_directory(files.directory)
            database = cls(files, lock, is_temporary=is_temporary)
            taken.callback(database.close)
            database._prove_writable()
            taken.pop_all()
        return database

    def _prove_writable(self) -> None:
        """Write something, so that nothing is delivered that a full disk could not record. Raises `StateNotWritten`."""
        with self.writing() as connection:
            connection.execute("UPDATE meta SET value = value WHERE key = 'dead_letter_bytes'")

    def new_pass(self) -> int:
        """Return a number that identifies the entries of one reader in the temporary table ``listed``."""
        return next(self._passes)

    def close(self, *, delete: bool = False) -> None:
        """Close the database and release the lock; delete a temporary state. Committed progress is durable already.

        ``delete`` deletes any state, and the lock last: another process finds a held lock or no state, never a part.
        """
        with self._writing, self._reading:
            if self._closed or os.getpid() != self._pid:
                return
            self._closed = True
            try:
                in_place = self._failure is None and self._is_in_place()
                self._close_connections()
                if self.is_temporary:
                    shutil.rmtree(self.directory, ignore_errors=True)
                elif in_place and delete:
                    files = self._files
                    remove(*files.kept, files.index, *files.drafts, self._lock.path)
                    with suppress(OSError):
                        files.directory.rmdir()
                elif in_place:
                    self._note_sum()
            finally:
                with suppress(OSError):
                    self._lock.release()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection that reads. Raises `StateError` for what SQLite reports in the block."""
        with self._reading, explained(self.directory):
            self._check_open()
            yield self._reader

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run one transaction, durable when the block ends. If it fails (`StateError`), no later one begins."""
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
            raise UsageError("this state was opened in another process", hint="open it in the process that uses it")
        if self._closed:
            raise StateError(f"the state in {self.directory} is closed", hint="open it again")

    def _check_in_place(self) -> None:
        for path, opened in self._opened.items():
            try:
                found = os.stat(path)
            except FileNotFoundError:
                raise not_written(path, "it was deleted while the bridge had it open", _RESTORE) from None
            if not os.path.samestat(found, opened):
                raise not_written(path, "it was replaced while the bridge had it open", _RESTORE)
            if path == self._files.database and found.st_size < opened.st_size:
                raise not_written(path, "it was truncated while the bridge had it open", _RESTORE)
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
        """Write the checksum if SQLite's log is empty. If there is no checksum, the next start skips its check."""
        with suppress(OSError):
            if not self._files.log.exists():
                sync_directory(self.directory)
                write_sum(self._files)


def _lock_in_new(files: Files, clock: Clock) -> Lock:
    """Take the lock in a directory that is created if necessary, even if another process deletes it meanwhile."""
    for _ in range(_ATTEMPTS):
        make_directory(files.directory)
        check_directory(files.directory)
        with suppress(FileNotFoundError):
            return Lock.take(files.lock, clock)
    return Lock.take(files.lock, clock)
