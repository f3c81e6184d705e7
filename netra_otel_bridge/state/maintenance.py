"""Change a state on purpose, while no bridge uses it: reset, remove dead letters, start over."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.files import sync_directory
from netra_otel_bridge.core.model.progress import HeldTrace, Progress
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.state import costs, held, rows, schema
from netra_otel_bridge.state.checks import is_there
from netra_otel_bridge.state.errors import explained, no_state, unknown_destination
from netra_otel_bridge.state.files import Files, check_directory, exists, give_to_owner
from netra_otel_bridge.state.lock import Lock
from netra_otel_bridge.state.store import StateStore


@dataclass(frozen=True, slots=True)
class ResetReport:
    """Number of traces and windows that a reset deleted, and the destination's lowest watermark afterwards, if any."""

    traces: int
    windows: int
    watermark_ns: int | None


def reset(directory: str | Path, destination: str, from_ns: int | None, clock: Clock) -> ResetReport:
    """Delete the progress of ``destination`` from ``from_ns`` on, or all of it, so that its spans are sent again.

    This deletes traces that start at ``from_ns`` or later and windows that end after it, cuts a window that contains
    it, and moves the watermark back to it. The start of following is kept, so after a full reset, following begins
    there. The costs of deleted traces are removed from the sums. Dead letters and counts are kept.

    Raises `UsageError` for a destination that the state does not have, `StateUnusable`, `StateBusy`, `StateNotWritten`.
    """
    with closing(StateStore.open_existing(Path(directory), clock)) as store:
        _check_known(store, destination)
        with store.database.writing() as connection:
            return _forget(connection, destination, from_ns)


def remove_letters(directory: Path, destination: str | None, up_to_id: int, clock: Clock) -> int:
    """Delete dead letters with ids up to ``up_to_id``, of one destination or of all; return their number.

    Raises the same errors as `reset`.
    """
    with closing(StateStore.open_existing(directory, clock)) as store:
        lanes = [store.lane(lane.source, lane.destination) for lane in store.lanes()]
        removed = 0
        for lane in lanes:
            if destination not in (None, lane.destination):
                continue
            while ids := [letter.id for letter in lane.dead_letters() if letter.id <= up_to_id]:
                lane.commit(Progress(resolved=ids), clock.now_ns())
                removed += len(ids)
        return removed


def retry_held(directory: Path, destination: str | None, trace_ids: Collection[str], clock: Clock) -> list[str]:
    """Make the next attempt at these traces due now, or at all that are held back if ``trace_ids`` is empty.

    ``destination`` restricts it to one. A trace that was given up on is tried again too. Return the ids that were
    found. Raises the same errors as `reset`.
    """
    return _change_held(directory, destination, trace_ids, clock, lambda one: replace(one, next_ns=0, given_up=False))


def give_up_held(directory: Path, destination: str | None, trace_ids: Collection[str], clock: Clock) -> list[str]:
    """Give up on these traces, or on all that are held back if ``trace_ids`` is empty: they are not tried again.

    Otherwise like `retry_held`.
    """
    return _change_held(directory, destination, trace_ids, clock, lambda one: replace(one, given_up=True))


def _change_held(
    directory: Path,
    destination: str | None,
    trace_ids: Collection[str],
    clock: Clock,
    change: Callable[[HeldTrace], HeldTrace],
) -> list[str]:
    with closing(StateStore.open_existing(directory, clock)) as store:
        if destination is not None:
            _check_known(store, destination)
        changed: set[str] = set()
        with store.database.writing() as connection:
            rows_of = connection.execute(
                "SELECT query.lane, query.id, lane.destination FROM query JOIN lane ON query.lane = lane.id"
            ).fetchall()
            for lane, query, name in rows_of:
                if destination not in (None, schema.readable(name)):
                    continue
                chosen = [
                    one
                    for one in held.of_query(connection, lane, query)
                    if not trace_ids or one.summary.id in trace_ids
                ]
                held.hold(connection, lane, query, map(change, chosen))
                changed.update(one.summary.id for one in chosen)
        return sorted(changed)


def discard(directory: Path, clock: Clock) -> Path:
    """Move the state's files to ``DIR/discarded-TIME`` and return that directory; the next start begins empty.

    Nothing is deleted. Raises `StateBusy`, `StateNotWritten`, and `StateUnusable` if there is no state.
    """
    files = Files(Path(os.path.abspath(directory)))
    with explained(files.directory):
        if not is_there(files):
            raise no_state(files.directory)
        check_directory(files.directory)
        lock = Lock.take(files.lock, clock)
        try:
            aside = _make_aside(files, clock)
            for path in (*files.kept, files.index, *files.drafts):
                if exists(path):
                    path.rename(aside / path.name)
            sync_directory(aside)
            sync_directory(files.directory)
        finally:
            lock.release()
    return aside


def _check_known(store: StateStore, destination: str) -> None:
    known = sorted({lane.destination for lane in store.lanes()})
    if destination not in known:
        raise unknown_destination(store.directory, destination, known)


def _make_aside(files: Files, clock: Clock) -> Path:
    wanted = files.directory / f"discarded-{iso_ms(clock.now_ns())}"
    number = 1
    while True:
        aside = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            aside.mkdir(mode=0o700)
            give_to_owner(aside)
        except FileExistsError:
            number += 1
        else:
            return aside


def _forget(connection: sqlite3.Connection, destination: str, from_ns: int | None) -> ResetReport:
    key = (schema.storable(destination),)
    traces = windows = 0
    for (lane,) in connection.execute("SELECT id FROM lane WHERE destination = ?", key).fetchall():
        traces += _forget_traces(connection, lane, from_ns)
        rows.limit_pruned(connection, lane, from_ns)
        for (query,) in connection.execute("SELECT id FROM query WHERE lane = ?", (lane,)).fetchall():
            windows += _forget_windows(connection, query, from_ns)
            _move_watermark_back(connection, query, from_ns)
    ((watermark_ns,),) = connection.execute(
        "SELECT min(watermark_ns) FROM query JOIN lane ON query.lane = lane.id WHERE destination = ?", key
    ).fetchall()
    return ResetReport(traces, windows, watermark_ns)


def _forget_traces(connection: sqlite3.Connection, lane: int, from_ns: int | None) -> int:
    costs.forget(connection, lane, from_ns)
    held.forget(connection, lane, from_ns)
    deleted = connection.execute(
        "DELETE FROM trace WHERE lane = ? AND (? IS NULL OR start_ns >= ?)", (lane, from_ns, from_ns)
    ).rowcount
    connection.execute("UPDATE lane SET traces = traces - ? WHERE id = ?", (deleted, lane))
    return deleted


def _forget_windows(connection: sqlite3.Connection, query: int, from_ns: int | None) -> int:
    connection.execute(
        """INSERT INTO finished SELECT query, start_ns, ?, max(finished_ns) FROM finished
        WHERE query = ? AND start_ns < ? AND end_ns > ? GROUP BY start_ns
        ON CONFLICT DO UPDATE SET finished_ns = max(finished.finished_ns, excluded.finished_ns)""",
        (from_ns, query, from_ns, from_ns),
    )
    return connection.execute(
        "DELETE FROM finished WHERE query = ? AND (? IS NULL OR end_ns > ?)", (query, from_ns, from_ns)
    ).rowcount


def _move_watermark_back(connection: sqlite3.Connection, query: int, from_ns: int | None) -> None:
    if from_ns is None:
        connection.execute("UPDATE query SET watermark_ns = NULL WHERE id = ?", (query,))
    else:
        connection.execute(
            "UPDATE query SET watermark_ns = min(watermark_ns, ?), since_ns = min(since_ns, ?) WHERE id = ?",
            (from_ns, from_ns, query),
        )
