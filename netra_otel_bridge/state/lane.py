"""What one destination has had of one source's traces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING

from netra_otel_bridge.core.model.progress import (
    FinishedWindow,
    KnownTrace,
    Progress,
    Reconciliation,
    TraceCost,
    TraceRecord,
)
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.state import costs as spent
from netra_otel_bridge.state import rows as record
from netra_otel_bridge.state.errors import not_written
from netra_otel_bridge.state.rows import StoredLetter
from netra_otel_bridge.state.schema import readable, rolling_back, storable

if TYPE_CHECKING:
    import sqlite3

    from netra_otel_bridge.state.store import StateStore

DEAD_LETTER_BYTES = 2**30
"""What dead letters may hold in one state. Beyond it, somebody has to look at them."""
_CHUNK = 5000
"""Rows of one transaction of `LaneState.prune`: some milliseconds in which nothing else can be written."""
_passes = count(1)


class LaneState:
    """Progress of a lane, for one query. It reads on one thread and writes on another; made by `StateStore.lane`."""

    def __init__(self, store: StateStore, key: tuple[str, str, str], lane: int, query: int) -> None:
        self.source, self.destination, self.query = key
        self._store = store
        self._lane = lane
        self._query = query
        self._pass = next(_passes)

    def known(self, trace_ids: Sequence[str]) -> dict[str, KnownTrace]:
        """What is remembered of those traces that are known."""
        with self._store.reading() as connection:
            found = record.known(connection, self._lane, trace_ids)
        return {
            readable(trace_id): KnownTrace(digest, size_bytes // TraceRecord.ENTRY_BYTES, recorded_ns)
            for trace_id, digest, size_bytes, recorded_ns in found
        }

    def spans(self, trace_id: str) -> bytes:
        """`TraceRecord.spans` of a trace; empty if it is not known."""
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT spans FROM trace WHERE lane = ? AND trace_id = ?", (self._lane, storable(trace_id))
            ).fetchall()
        return bytes(rows[0][0]) if rows else b""

    def trace_cost(self, trace_id: str) -> TraceCost:
        """What the spans of a trace cost that the destination has."""
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT spent FROM trace WHERE lane = ? AND trace_id = ?", (self._lane, storable(trace_id))
            ).fetchall()
        return spent.decoded(rows[0][0] if rows else None)

    def first_listed(self, trace_ids: Sequence[str]) -> set[str]:
        """Those that were not passed here before, since the last `start_pass`. It is kept on disk, for this object alone."""
        with self._store.reading() as connection:
            connection.execute("BEGIN")
            with rolling_back(connection):
                first = {
                    trace_id
                    for trace_id in trace_ids
                    if connection.execute(
                        "INSERT OR IGNORE INTO temp.listed VALUES (?, ?)", (self._pass, storable(trace_id))
                    ).rowcount
                }
                connection.execute("COMMIT")
        return first

    def start_pass(self) -> None:
        """Forget what `first_listed` was asked."""
        with self._store.reading() as connection:
            connection.execute("DELETE FROM temp.listed WHERE pass = ?", (self._pass,))

    def finished(self) -> list[FinishedWindow]:
        """The windows that are finished, in order."""
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT start_ns, end_ns, finished_ns FROM finished WHERE query = ? ORDER BY start_ns, end_ns",
                (self._query,),
            ).fetchall()
        return [FinishedWindow(Window(start_ns, end_ns), finished_ns) for start_ns, end_ns, finished_ns in rows]

    def watermark_ns(self) -> int | None:
        """How far live traffic was followed."""
        return self._following()[1]

    def since_ns(self) -> int | None:
        """Where following began."""
        return self._following()[0]

    def follow_from(self, since_ns: int) -> None:
        """Remember where following begins, if nothing is remembered. Raises `StateNotWritten`."""
        with self._store.writing() as connection:
            connection.execute(
                "UPDATE query SET since_ns = ? WHERE id = ? AND since_ns IS NULL", (since_ns, self._query)
            )

    def commit(self, progress: Progress, now_ns: int) -> None:
        """Make ``progress`` durable, all of it or nothing. The watermark never goes back.

        Raises `StateNotWritten`; then this state takes no progress any more. What the disk fails to sync may turn out
        to be stored, whole, at the next start.
        """
        with self._store.writing() as connection:
            held_bytes = record.progress(connection, self._lane, self._query, progress, now_ns)
            if progress.dead_letters and held_bytes > DEAD_LETTER_BYTES:
                raise not_written(
                    self._store.directory,
                    f"dead letters would hold more than {DEAD_LETTER_BYTES} bytes",
                    "save them with `netra-otel-bridge state dead-letters --remove > FILE`",
                )

    def prune(self, before_ns: int) -> int:
        """Forget traces that started and were recorded before; join windows that ended and were finished before.

        What the traces cost stays in the sums, and those for `spent.KEPT_NS` more. Returns the number of traces forgotten. Windows are joined where they touch, for every query of the lane; the
        result counts as finished when the first of them was. Raises `StateNotWritten`.
        """
        forgotten = sum(self._prune_traces(before_ns))
        with self._store.reading() as connection:
            queries = connection.execute("SELECT id FROM query WHERE lane = ?", (self._lane,)).fetchall()
        for (query,) in queries:
            self._join_windows(query, before_ns)
        with self._store.writing() as connection:
            spent.prune(connection, self._lane, before_ns)
        return forgotten

    def tenants(self, window: Window) -> list[str]:
        """Those whose spans that start in the hours of ``window`` the destination has, in order."""
        with self._store.reading() as connection:
            return spent.tenants(connection, self._lane, window)

    def tenant_cost(self, tenant_id: str, window: Window) -> tuple[int, float]:
        """Tokens and cost of the spans of a tenant that start in the hours of ``window`` and that the destination has."""
        with self._store.reading() as connection:
            return spent.total(connection, self._lane, tenant_id, window)

    def summed_from_ns(self) -> int | None:
        """From when on `spent` knows all; ``None`` for ever: an older bridge did not sum what it delivered."""
        with self._store.reading() as connection:
            rows = connection.execute("SELECT summed_from_ns FROM lane WHERE id = ?", (self._lane,)).fetchall()
        return rows[0][0] if rows else None

    def reconcile(self, found: Sequence[Reconciliation]) -> None:
        """Keep these reconciliations in the place of those before. Raises `StateNotWritten`."""
        with self._store.writing() as connection:
            spent.reconcile(connection, self._lane, found)

    def reconciled(self) -> tuple[Reconciliation, ...]:
        """The latest reconciliations, by tenant."""
        with self._store.reading() as connection:
            return spent.reconciled(connection, self._lane)

    def dead_letters(self, after_id: int = 0, limit: int = 100) -> list[StoredLetter]:
        """At most ``limit`` dead letters with ids above ``after_id``, in order."""
        with self._store.reading() as connection:
            return record.dead_letters(connection, (self._lane,), after_id, limit)

    def letter_ids(self) -> dict[tuple[str, str], list[int]]:
        """The dead letters that are spans: their ids, by the ids of trace and span."""
        with self._store.reading() as connection:
            return record.letter_ids(connection, self._lane)

    def last_letter(self) -> int:
        """The highest id of a dead letter; 0 where there is none."""
        with self._store.reading() as connection:
            return record.last_letter(connection, self._lane)

    def kept_letters(self, until_id: int) -> int:
        """How many dead letters up to this id are of traces that were passed to `first_listed` since `start_pass`, or of
        no trace at all."""
        with self._store.reading() as connection:
            return record.kept_letters(connection, self._lane, self._pass, until_id)

    def _following(self) -> tuple[int | None, int | None]:
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT since_ns, watermark_ns FROM query WHERE id = ?", (self._query,)
            ).fetchall()
        return rows[0] if rows else (None, None)

    def _prune_traces(self, before_ns: int) -> Iterator[int]:
        after: int | str | bytes = 0  # SQLite orders numbers before any text
        while True:
            with self._store.writing() as connection:
                rows = connection.execute(
                    """SELECT trace_id, start_ns < ? AND recorded_ns < ? FROM trace
                    WHERE lane = ? AND trace_id > ? ORDER BY trace_id LIMIT ?""",
                    (before_ns, before_ns, self._lane, after, _CHUNK),
                ).fetchall()
                old = [trace_id for trace_id, is_old in rows if is_old]
                record.forget_traces(connection, self._lane, old)
            yield len(old)
            if len(rows) < _CHUNK:
                return
            after = rows[-1][0]

    def _join_windows(self, query: int, before_ns: int) -> None:
        from_ns = -(2**63)
        while True:
            with self._store.writing() as connection:
                rows = connection.execute(
                    """SELECT start_ns, end_ns, finished_ns FROM finished
                    WHERE query = ? AND start_ns >= ? AND end_ns <= ? AND finished_ns < ?
                    ORDER BY start_ns, end_ns LIMIT ?""",
                    (query, from_ns, before_ns, before_ns, _CHUNK),
                ).fetchall()
                joined = _joined(rows)
                if len(joined) < len(rows):
                    _replace_windows(connection, query, rows, joined)
            if len(rows) < _CHUNK:
                return
            from_ns = joined[-1][0]


def _joined(windows: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """``windows``, in order, with those that touch or overlap made one."""
    joined: list[tuple[int, int, int]] = []
    for start_ns, end_ns, finished_ns in windows:
        if joined and start_ns <= joined[-1][1]:
            first_ns, last_ns, earliest_ns = joined.pop()
            joined.append((first_ns, max(last_ns, end_ns), min(earliest_ns, finished_ns)))
        else:
            joined.append((start_ns, end_ns, finished_ns))
    return joined


def _replace_windows(
    connection: sqlite3.Connection,
    query: int,
    rows: Sequence[tuple[int, int, int]],
    joined: Sequence[tuple[int, int, int]],
) -> None:
    connection.executemany(
        "DELETE FROM finished WHERE query = ? AND start_ns = ? AND end_ns = ?", ((query, *row[:2]) for row in rows)
    )
    connection.executemany("INSERT INTO finished VALUES (?, ?, ?, ?)", ((query, *row) for row in joined))
