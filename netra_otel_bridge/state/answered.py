"""Read what a destination has answered: its traces, in chunks, and what is not there yet or never will be.

Each chunk is a short transaction of its own, so a bridge may use the state meanwhile, and add and delete traces. Nothing
is written. `of_directory` reads a state without its lock, `LaneState.answered` one that is open.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.progress import FinishedWindow
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.state import costs, rows
from netra_otel_bridge.state.checks import is_there
from netra_otel_bridge.state.database import Database
from netra_otel_bridge.state.errors import explained, unknown_destination
from netra_otel_bridge.state.files import Files
from netra_otel_bridge.state.schema import Stored, chunks, int64, readable, storable, version_of
from netra_otel_bridge.state.status import reading

CHUNK = 1000
"""Rows that one transaction looks at: some milliseconds. A trace of 100,000 spans, the largest, takes 1.2 MB."""
_IDS = 500
_CARRIERS_SINCE, _SPENT_SINCE, _HELD_SINCE = 4, 2, 3
"""The versions of the schema in which these columns and tables came."""
_IN_WINDOW = "length(spans) > 0 AND start_ns >= ? AND start_ns < ?"

T = TypeVar("T")
Values = Sequence[object]
SentId = Callable[[str], str]
Reading = Callable[[], AbstractContextManager[sqlite3.Connection]]


@dataclass(frozen=True, slots=True)
class AnsweredTrace:
    """The answered spans of one trace, as its `TraceRecord` has them, and when they were recorded.

    ``not_accepted`` are the ids of spans that the destination rejected, or may have rejected. ``dead_lettered`` are
    those of them whose dead letter is stored.
    """

    trace_id: str
    start_ns: int
    recorded_ns: int
    spans: bytes
    carriers: bytes
    not_accepted: tuple[int, ...] = ()
    dead_lettered: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Following:
    """Says how far a query of the lane has followed live traffic."""

    since_ns: int
    watermark_ns: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """Holds what a lane knows of a range beside its traces.

    ``finished`` windows and ``following`` are those of the chosen queries. Traces that start before ``pruned_ns`` may be
    forgotten. ``held_back`` are the ids of traces in the range that could not be read.
    """

    finished: tuple[FinishedWindow, ...]
    following: tuple[Following, ...]
    pruned_ns: int | None
    held_back: tuple[str, ...]


class Answered:
    """Reads what one destination has answered. Safe in any thread; see the module for the bounds of its transactions.

    ``sent_id`` returns the id under which a trace of Netra is sent, which is that of its dead letters.
    """

    def __init__(self, reading: Reading, lane: int, sent_id: SentId) -> None:
        self._reading = reading
        self._lane = lane
        self._sent_id = sent_id

    def traces(self, window: Window | None) -> Iterator[list[AnsweredTrace]]:
        """Yield the traces that start in ``window``, or all, in chunks; a chunk may be empty. Raises `StateError`."""
        return self._chunks(window, partial(_traces, lane=self._lane, sent_id=self._sent_id))

    def ids(self, window: Window | None) -> Iterator[list[str]]:
        """Yield the ids of the traces that `traces` yields, in chunks. Raises `StateError`."""
        return self._chunks(window, _ids)

    def by_ids(self, trace_ids: Collection[str], window: Window | None = None) -> Iterator[list[AnsweredTrace]]:
        """Yield those of these traces that start in ``window``, in chunks. Raises `StateError`."""
        for ids in chunks(map(storable, trace_ids), _IDS):
            where = f"lane = ? AND trace_id IN ({','.join('?' * len(ids))}) AND {_IN_WINDOW}"
            with self._reading() as connection:
                found = _traces(connection, where, (self._lane, *ids, *_bounds(window)), self._lane, self._sent_id)
            yield found

    def _chunks(
        self, window: Window | None, read: Callable[[sqlite3.Connection, str, Values], list[T]]
    ) -> Iterator[list[T]]:
        """Yield what ``read`` returns for each `CHUNK` rows, given the condition for those that are in ``window``."""
        after: Stored | int = 0  # SQLite orders numbers before any text
        while True:
            with self._reading() as connection:
                last = connection.execute(
                    "SELECT trace_id FROM trace WHERE lane = ? AND trace_id > ? ORDER BY trace_id LIMIT 1 OFFSET ?",
                    (self._lane, after, CHUNK - 1),
                ).fetchall()
                where = f"lane = ? AND trace_id > ? {'AND trace_id <= ?' if last else ''} AND {_IN_WINDOW}"
                keys = (after, last[0][0]) if last else (after,)
                found = read(connection, where, (self._lane, *keys, *_bounds(window)))
            yield found
            if not last:
                return
            after = last[0][0]

    def coverage(self, window: Window | None, queries: Collection[str]) -> Coverage:
        """Return what the lane knows of ``window``, or of all time; ``queries`` are the texts of those that count.

        Raises `StateError`.
        """
        start_ns, end_ns = _bounds(window)
        with self._reading() as connection:
            known = connection.execute(
                "SELECT id, query, since_ns, min(watermark_ns, watermark_set_ns) FROM query WHERE lane = ?",
                (self._lane,),
            ).fetchall()
            chosen = [(query, *bounds) for query, text, *bounds in known if readable(text) in queries]
            finished = [
                FinishedWindow(Window(begin, end), at_ns)
                for query, *_ in chosen
                for begin, end, at_ns in connection.execute(
                    "SELECT start_ns, end_ns, finished_ns FROM finished WHERE query = ? AND start_ns < ? AND end_ns > ?",
                    (query, end_ns, start_ns),
                )
            ]
            held: list[tuple[Stored]] = []
            if version_of(connection) >= _HELD_SINCE:
                held = connection.execute(
                    "SELECT trace_id FROM held_back WHERE lane = ? AND start_ns >= ? AND start_ns < ? ORDER BY trace_id",
                    (self._lane, start_ns, end_ns),
                ).fetchall()
            return Coverage(
                finished=tuple(finished),
                following=tuple(Following(*bounds) for _, *bounds in chosen if None not in bounds),
                pruned_ns=rows.pruned_ns(connection, self._lane),
                held_back=tuple(readable(trace_id) for (trace_id,) in held),
            )

    def unreadable(self, window: Window | None) -> Iterator[list[str]]:
        """Yield the trace ids of dead letters that are no spans, one for each letter, in chunks; "" for an item of the list.

        They count in the range in which their trace starts. When a trace without a readable span started is not known:
        such letters, and items of the list, count in every range. Raises `StateError`.
        """
        after = 0
        while True:
            with self._reading() as connection:
                found = connection.execute(
                    """SELECT dead_letter.id, dead_letter.trace_id, start_ns FROM dead_letter LEFT JOIN trace
                        ON trace.lane = dead_letter.lane AND trace.trace_id = dead_letter.trace_id
                    WHERE dead_letter.lane = ? AND NOT is_span AND dead_letter.id > ? ORDER BY dead_letter.id LIMIT ?""",
                    (self._lane, after, _IDS),
                ).fetchall()
            yield [
                readable(trace_id) for _, trace_id, start_ns in found if start_ns is None or _holds(window, start_ns)
            ]
            if len(found) < _IDS:
                return
            after = found[-1][0]


def has_destination(directory: str | Path, destination: str, source: str | None) -> bool:
    """Return whether there is a state with something for ``destination``, from ``source`` if that is given.

    Raises `StateUnusable` for a state that cannot be read.
    """
    files = Files(Path(os.path.abspath(directory)))
    with explained(files.directory):
        if not is_there(files):
            return False
    with reading(files) as connection:
        return any(found == destination and source in (None, origin) for _, origin, found in _lanes(connection))


def of_directory(directory: str | Path, destination: str, source: str | None, sent_id: SentId) -> Answered:
    """Return what ``destination`` has answered, without disturbing a bridge that uses the state.

    ``source`` is the base URL of Netra; if it is ``None``, only one may have been copied to the destination. Raises
    `StateUnusable` if there is no state, and `UsageError` for a destination or a source that it does not have.
    """
    files = Files(Path(os.path.abspath(directory)))
    with reading(files) as connection:
        lane = _lane(connection, files.directory, destination, source)
    return Answered(partial(reading, files), lane, sent_id)


def of_database(database: Database, destination: str, source: str | None, sent_id: SentId) -> Answered:
    """Return the same from an open state."""
    with database.reading() as connection:
        lane = _lane(connection, database.directory, destination, source)
    return Answered(database.reading, lane, sent_id)


def _lanes(connection: sqlite3.Connection) -> list[tuple[int, str, str]]:
    """Return the ids, sources and destinations of all lanes."""
    found = connection.execute("SELECT id, source, destination FROM lane ORDER BY id").fetchall()
    return [(lane, readable(source), readable(destination)) for lane, source, destination in found]


def _lane(connection: sqlite3.Connection, directory: Path, destination: str, source: str | None) -> int:
    """Return the id of the lane of a destination. Raises `UsageError` if there is none, or more than one."""
    lanes = _lanes(connection)
    by_source = {origin: lane for lane, origin, found in lanes if found == destination}
    if not by_source:
        raise unknown_destination(directory, destination, sorted({found for _, _, found in lanes}))
    if source is None and len(by_source) == 1:
        return next(iter(by_source.values()))
    if source is None:
        raise UsageError(
            f"the state in {directory} has copied to {destination} from several installations of Netra",
            hint=f"set NETRA_OTLP_ENDPOINT to one of them: {', '.join(sorted(by_source))}",
        )
    if source not in by_source:
        raise UsageError(
            f"the state in {directory} has nothing for {destination} from {source}",
            hint=f"it has copied from {', '.join(sorted(by_source))}",
        )
    return by_source[source]


def uncovered(window: Window, covered: Iterable[Window]) -> list[Window]:
    """Return the parts of ``window`` that none of ``covered`` covers, in order."""
    parts: list[Window] = []
    at_ns = window.start_ns
    for one in sorted(covered, key=lambda one: one.start_ns):
        if one.start_ns > at_ns:
            parts.append(Window(at_ns, min(one.start_ns, window.end_ns)))
        at_ns = max(at_ns, one.end_ns)
        if at_ns >= window.end_ns:
            return parts
    return [*parts, Window(at_ns, window.end_ns)]


def _ids(connection: sqlite3.Connection, where: str, values: Values) -> list[str]:
    found = connection.execute(f"SELECT trace_id FROM trace WHERE {where}", values).fetchall()  # noqa: S608
    return [readable(trace_id) for (trace_id,) in found]


def _traces(
    connection: sqlite3.Connection, where: str, values: Values, lane: int, sent_id: SentId
) -> list[AnsweredTrace]:
    """Return the traces that fulfil a condition. A state of an older schema lacks some columns."""
    version = version_of(connection)
    carriers = "carriers" if version >= _CARRIERS_SINCE else "x''"
    spent = "spent" if version >= _SPENT_SINCE else "NULL"
    found = connection.execute(
        f"SELECT trace_id, start_ns, recorded_ns, spans, {carriers}, {spent} FROM trace WHERE {where} "  # noqa: S608
        "ORDER BY trace_id",
        values,
    ).fetchall()
    traces = []
    for trace_id, start_ns, recorded_ns, spans, its_carriers, cost in found:
        not_accepted = costs.decoded(cost).not_accepted
        its_id = readable(trace_id)
        dead = _dead_lettered(connection, lane, sent_id(its_id)).intersection(not_accepted) if not_accepted else ()
        traces.append(AnsweredTrace(its_id, start_ns, recorded_ns, spans, its_carriers, not_accepted, frozenset(dead)))
    return traces


def _dead_lettered(connection: sqlite3.Connection, lane: int, trace_id: str) -> frozenset[int]:
    """Return the ids of the spans of a trace that have a dead letter."""
    found = connection.execute(
        "SELECT span_id FROM dead_letter WHERE lane = ? AND trace_id = ? AND is_span", (lane, storable(trace_id))
    ).fetchall()
    return frozenset(int(readable(span_id), 16) for (span_id,) in found)


def _bounds(window: Window | None) -> tuple[int, int]:
    return (int64(window.start_ns), int64(window.end_ns)) if window is not None else (-(2**63), 2**63 - 1)


def _holds(window: Window | None, start_ns: int) -> bool:
    return window is None or window.start_ns <= start_ns < window.end_ns
