"""`StateStore`: the public interface of a state, with a `LaneState` per destination and a `MeterState` per source."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import StateBusy
from netra_otel_bridge.core.model.progress import LaneStatus
from netra_otel_bridge.state import rows
from netra_otel_bridge.state.answered import Answered, SentId, of_database
from netra_otel_bridge.state.database import Database
from netra_otel_bridge.state.lane import LaneState
from netra_otel_bridge.state.meter import MeterState


class StateStore:
    """A state in a directory, or (`temporary`) one that lasts as long as the object.

    Two threads may use it at once: one that reads and one that writes.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.directory = database.directory
        self.is_temporary = database.is_temporary
        self._destinations_lock = threading.Lock()
        self._destinations_in_use: set[tuple[str, str]] = set()

    @classmethod
    def open(cls, directory: Path, clock: Clock) -> StateStore:
        """Open the state in ``directory``; create it on first use (directory 0700, files 0600), check it, migrate it.

        Raises `StateUnusable` if a check fails, `StateBusy` if another bridge has it open, and `StateNotWritten`.
        """
        return cls(Database.open(directory, clock))

    @classmethod
    def open_existing(cls, directory: Path, clock: Clock) -> StateStore:
        """Like `open`, but raise `StateUnusable` instead of creating a state."""
        return cls(Database.open_existing(directory, clock))

    @classmethod
    def temporary(cls, clock: Clock) -> StateStore:
        """Create a state in a private directory that `close` removes; it is not durable. Raises `StateNotWritten`."""
        return cls(Database.temporary(clock))

    def lane(self, source: str, destination: str, query: str = "") -> LaneState:
        """Return the lane from ``source`` to ``destination``; ``query`` is the canonical text of the query, "" for all.

        Traces, counts and dead letters belong to the lane; finished windows and the watermark to lane and query.
        Raises `StateNotWritten`.
        """
        with self.database.writing() as connection:
            lane = rows.lane_id(connection, source, destination)
            return LaneState(self.database, (source, destination, query), lane, rows.query_id(connection, lane, query))

    def answered(self, destination: str, source: str | None, sent_id: SentId) -> Answered:
        """Return what ``destination`` has answered, to read it while others write. Arguments as of `of_directory`."""
        return of_database(self.database, destination, source, sent_id)

    def meter(self, source: str) -> MeterState:
        """Return the usage records of ``source``."""
        return MeterState(self.database, source)

    @contextmanager
    def alone(self, source: str, destination: str) -> Iterator[None]:
        """Reserve a destination for the block within this process. Raises `StateBusy` if other work has it."""
        key = source, destination
        with self._destinations_lock:
            if key in self._destinations_in_use:
                raise StateBusy(
                    f"another call sends to {destination} with this state",
                    hint="wait until it ends, or give the destinations different names with Named(...)",
                )
            self._destinations_in_use.add(key)
        try:
            yield
        finally:
            with self._destinations_lock:
                self._destinations_in_use.discard(key)

    def lanes(self) -> list[LaneStatus]:
        """Return the status of each lane, ordered by source and destination."""
        with self.database.reading() as connection:
            return rows.lanes(connection)

    def has_dead_letters(self) -> bool:
        """Return whether any lane has a dead letter."""
        with self.database.reading() as connection:
            return rows.has_dead_letters(connection)

    def forget_progress(self) -> None:
        """Delete everything but dead letters and their reasons. Each earlier `LaneState` becomes unusable."""
        with self.database.writing() as connection:
            rows.forget_progress(connection)

    def delete(self) -> None:
        """Close the state and delete it, before another process can open it. May be followed by `close`."""
        self.database.close(delete=True)

    def close(self) -> None:
        """Close the state and release it; delete a temporary one. Committed progress is durable already."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
