"""`LaneState`: the progress of one destination through one source's traces."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Sequence

from netra_otel_bridge.core.model.progress import (
    FinishedWindow,
    HeldTrace,
    KnownTrace,
    Progress,
    Reconciliation,
    TraceCost,
    TraceRecord,
)
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.state import costs, held, rows
from netra_otel_bridge.state.database import Database
from netra_otel_bridge.state.errors import not_written
from netra_otel_bridge.state.rows import StoredLetter
from netra_otel_bridge.state.schema import readable, rolling_back, storable

DEAD_LETTER_BYTES = 2**30
"""Maximum size of all dead letters of a state. Beyond it, an operator has to remove some."""
_CHUNK = 5000
"""Rows per transaction of `LaneState.prune`: a few milliseconds during which nothing else can be written."""


class LaneState:
    """Progress of a lane, for one query; from `StateStore.lane`. One thread may read while another writes."""

    def __init__(self, database: Database, key: tuple[str, str, str], lane: int, query: int) -> None:
        self.source, self.destination, self.query = key
        self._database = database
        self._lane = lane
        self._query = query
        self._pass = database.new_pass()

    def known(self, trace_ids: Sequence[str]) -> dict[str, KnownTrace]:
        """Return the records of these traces; a trace without a record is left out."""
        with self._database.reading() as connection:
            found = rows.known(connection, self._lane, trace_ids)
        return {
            readable(trace_id): KnownTrace(digest, size_bytes // TraceRecord.ENTRY_BYTES, recorded_ns)
            for trace_id, digest, size_bytes, recorded_ns in found
        }

    def starts_ns(self, trace_ids: Sequence[str]) -> list[int]:
        """Return the starts of those of these traces that have a record."""
        with self._database.reading() as connection:
            return rows.starts_ns(connection, self._lane, trace_ids)

    def spans(self, trace_id: str) -> bytes:
        """Return `TraceRecord.spans` of a trace; empty without a record."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT spans FROM trace WHERE lane = ? AND trace_id = ?", (self._lane, storable(trace_id))
            ).fetchall()
        return bytes(found[0][0]) if found else b""

    def carriers(self, trace_id: str) -> bytes:
        """Return `TraceRecord.carriers` of a trace; empty without a record."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT carriers FROM trace WHERE lane = ? AND trace_id = ?", (self._lane, storable(trace_id))
            ).fetchall()
        return bytes(found[0][0]) if found else b""

    def trace_cost(self, trace_id: str) -> TraceCost:
        """Return the cost of the spans of a trace that the destination has received."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT spent FROM trace WHERE lane = ? AND trace_id = ?", (self._lane, storable(trace_id))
            ).fetchall()
        return costs.decoded(found[0][0] if found else None)

    def first_listed(self, trace_ids: Sequence[str]) -> set[str]:
        """Return the ids that have not been passed to this object since the last `start_pass`.

        They are kept on disk.
        """
        with self._database.reading() as connection:
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
        """Forget the ids passed to `first_listed`."""
        with self._database.reading() as connection:
            connection.execute("DELETE FROM temp.listed WHERE pass = ?", (self._pass,))

    def finished(self) -> list[FinishedWindow]:
        """Return the finished windows, in order."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT start_ns, end_ns, finished_ns FROM finished WHERE query = ? ORDER BY start_ns, end_ns",
                (self._query,),
            ).fetchall()
        return [FinishedWindow(Window(start_ns, end_ns), finished_ns) for start_ns, end_ns, finished_ns in found]

    def watermark_ns(self) -> int | None:
        """Return the time up to which live traffic was followed."""
        return self._following()[1]

    def watermark_set_ns(self) -> int:
        """Return when the watermark last moved forward, by this machine's clock; 0 for never.

        A later watermark was recorded by an older version, which trusted Netra's clock alone.
        """
        with self._database.reading() as connection:
            return rows.watermark_set_ns(connection, self._query)

    def last_start_ns(self, before_ns: int) -> int | None:
        """Return the last start of a recorded trace that is not after ``before_ns``. Reads all traces of the lane."""
        with self._database.reading() as connection:
            return rows.last_start_ns(connection, self._lane, before_ns)

    def since_ns(self) -> int | None:
        """Return the time from which live traffic is followed."""
        return self._following()[0]

    def follow_from(self, since_ns: int) -> None:
        """Record the time from which to follow, unless one is recorded already. Raises `StateNotWritten`."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE query SET since_ns = ? WHERE id = ? AND since_ns IS NULL", (since_ns, self._query)
            )

    def pruned_ns(self) -> int | None:
        """Return the latest ``before_ns`` of `prune`: traces that start earlier may be forgotten."""
        with self._database.reading() as connection:
            return rows.pruned_ns(connection, self._lane)

    def move_back(self, watermark_ns: int | None, since_ns: int, latest_ns: int) -> None:
        """Replace the watermark and the start of following, which lay in the future. Raises `StateNotWritten`.

        Forget a prune that lies after ``latest_ns``: it went by the same wrong clock.
        """
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE query SET watermark_ns = ?, since_ns = ? WHERE id = ?", (watermark_ns, since_ns, self._query)
            )
            rows.limit_pruned(connection, self._lane, latest_ns)

    def commit(self, progress: Progress, now_ns: int) -> None:
        """Make all of ``progress`` durable, or none of it. The watermark does not go back; `move_back` does that.

        Raises `StateNotWritten`; the state accepts no progress after that. If the disk failed to sync, the next start
        may still find the whole transaction.
        """
        with self._database.writing() as connection:
            letters_bytes = rows.record_progress(connection, self._lane, self._query, progress, now_ns)
            if progress.dead_letters and letters_bytes > DEAD_LETTER_BYTES:
                raise not_written(
                    self._database.directory,
                    f"dead letters would take more than {DEAD_LETTER_BYTES} bytes",
                    "save them with `netra-otel-bridge state dead-letters --remove > FILE`",
                )

    def prune(self, before_ns: int) -> int:
        """Delete traces that started and were recorded before ``before_ns``; join windows ended and finished before it.

        Costs of deleted traces stay in the sums, which are kept for another `costs.KEPT_NS`. Windows of every query of
        the lane are joined where they touch; a joined window counts as finished when the first of its parts was. Return
        the number of deleted traces. Raises `StateNotWritten`.
        """
        self._note_prune(before_ns)
        deleted = sum(self._prune_traces(before_ns))
        with self._database.reading() as connection:
            queries = connection.execute("SELECT id FROM query WHERE lane = ?", (self._lane,)).fetchall()
        for (query,) in queries:
            self._join_windows(query, before_ns)
        with self._database.writing() as connection:
            costs.prune(connection, self._lane, before_ns)
            held.prune(connection, self._lane, before_ns)
        return deleted

    def _note_prune(self, before_ns: int) -> None:
        """Record a prune before it begins, because a process may die in the middle of it."""
        with self._database.writing() as connection:
            rows.note_prune(connection, self._lane, before_ns)

    def tenants(self, window: Window) -> list[str]:
        """Return the tenants with delivered spans that start in the hours of ``window``, in order."""
        with self._database.reading() as connection:
            return costs.tenants(connection, self._lane, window)

    def tenant_cost(self, tenant_id: str, window: Window) -> tuple[int, float]:
        """Return tokens and cost of a tenant's delivered spans that start in the hours of ``window``."""
        with self._database.reading() as connection:
            return costs.total(connection, self._lane, tenant_id, window)

    def summed_from_ns(self) -> int | None:
        """Return the time from which `tenant_cost` is complete, ``None`` for always.

        Older versions of the bridge did not sum delivered costs.
        """
        with self._database.reading() as connection:
            found = connection.execute("SELECT summed_from_ns FROM lane WHERE id = ?", (self._lane,)).fetchall()
        return found[0][0] if found else None

    def reconcile(self, found: Sequence[Reconciliation]) -> None:
        """Replace the recorded reconciliations. Raises `StateNotWritten`."""
        with self._database.writing() as connection:
            costs.reconcile(connection, self._lane, found)

    def reconciled(self) -> tuple[Reconciliation, ...]:
        """Return the latest reconciliations, by tenant."""
        with self._database.reading() as connection:
            return costs.reconciled(connection, self._lane)

    def held_back(self) -> list[HeldTrace]:
        """Return the traces that are held back for this query, also those given up on, the next to try first."""
        with self._database.reading() as connection:
            return held.of_query(connection, self._lane, self._query)

    def some_traces(self, count: int) -> list[str]:
        """Return the ids of up to ``count`` traces with answered spans, at random."""
        start = secrets.token_hex(16)
        with self._database.reading() as connection:
            found = [
                readable(trace_id)
                for where in ("trace_id >= ?", "trace_id < ?")
                for (trace_id,) in connection.execute(
                    f"SELECT trace_id FROM trace WHERE lane = ? AND {where} AND length(spans) > 0 ORDER BY trace_id LIMIT ?",  # noqa: S608
                    (self._lane, start, count),
                ).fetchall()
            ]
        return found[:count]

    def dead_letters(self, after_id: int = 0, limit: int = 100) -> list[StoredLetter]:
        """Return at most ``limit`` dead letters with ids above ``after_id``, in order."""
        with self._database.reading() as connection:
            return rows.dead_letters(connection, (self._lane,), after_id, limit)

    def letter_ids(self) -> dict[tuple[str, str], list[int]]:
        """Return the ids of dead letters that are spans, by trace id and span id."""
        with self._database.reading() as connection:
            return rows.letter_ids(connection, self._lane)

    def last_letter(self) -> int:
        """Return the highest id of a dead letter; 0 without one."""
        with self._database.reading() as connection:
            return rows.last_letter(connection, self._lane)

    def kept_letters(self, until_id: int) -> int:
        """Count dead letters up to this id that have no trace, or one passed to `first_listed` in this pass."""
        with self._database.reading() as connection:
            return rows.kept_letters(connection, self._lane, self._pass, until_id)

    def _following(self) -> tuple[int | None, int | None]:
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT since_ns, watermark_ns FROM query WHERE id = ?", (self._query,)
            ).fetchall()
        return found[0] if found else (None, None)

    def _prune_traces(self, before_ns: int) -> Iterator[int]:
        after: int | str | bytes = 0  # SQLite orders numbers before any text
        while True:
            with self._database.writing() as connection:
                found = connection.execute(
                    """SELECT trace_id, start_ns < ? AND recorded_ns < ? FROM trace
                    WHERE lane = ? AND trace_id > ? ORDER BY trace_id LIMIT ?""",
                    (before_ns, before_ns, self._lane, after, _CHUNK),
                ).fetchall()
                old = [trace_id for trace_id, is_old in found if is_old]
                rows.delete_traces(connection, self._lane, old)
            yield len(old)
            if len(found) < _CHUNK:
                return
            after = found[-1][0]

    def _join_windows(self, query: int, before_ns: int) -> None:
        from_ns = -(2**63)
        while True:
            with self._database.writing() as connection:
                found = connection.execute(
                    """SELECT start_ns, end_ns, finished_ns FROM finished
                    WHERE query = ? AND start_ns >= ? AND end_ns <= ? AND finished_ns < ?
                    ORDER BY start_ns, end_ns LIMIT ?""",
                    (query, from_ns, before_ns, before_ns, _CHUNK),
                ).fetchall()
                joined = _joined(found)
                if len(joined) < len(found):
                    _replace_windows(connection, query, found, joined)
            if len(found) < _CHUNK:
                return
            from_ns = joined[-1][0]


def _joined(windows: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return ``windows``, which are in order, with touching or overlapping ones joined."""
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
    old: Sequence[tuple[int, int, int]],
    joined: Sequence[tuple[int, int, int]],
) -> None:
    connection.executemany(
        "DELETE FROM finished WHERE query = ? AND start_ns = ? AND end_ns = ?", ((query, *window[:2]) for window in old)
    )
    connection.executemany("INSERT INTO finished VALUES (?, ?, ?, ?)", ((query, *window) for window in joined))
