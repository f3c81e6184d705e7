"""Traces that are held back: listed, but not readable so far.

Each function runs inside a transaction that the caller opened, and raises `sqlite3.Error`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.progress import HeldTrace
from netra_otel_bridge.state.schema import int64, readable, storable, version_of

_SINCE_VERSION = 3
_decoder = msgspec.msgpack.Decoder(TraceSummary)


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """A trace in the state that is held back, and the destination that does not have it."""

    held: HeldTrace
    destination: str


def hold(connection: sqlite3.Connection, lane: int, query: int, traces: Iterable[HeldTrace]) -> None:
    """Insert the rows of these traces, or replace them."""
    connection.executemany(
        """INSERT INTO held_back (lane, trace_id, query, start_ns, reason, attempts, first_ns, next_ns, given_up, summary)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET query = excluded.query, start_ns = excluded.start_ns, reason = excluded.reason,
            attempts = excluded.attempts, next_ns = excluded.next_ns, given_up = excluded.given_up,
            summary = excluded.summary""",
        (
            (lane, storable(it.summary.id), query, int64(it.start_ns), storable(it.reason), it.attempts, it.first_ns,
             int64(it.next_ns), it.given_up, msgspec.msgpack.encode(it.summary))
            for it in traces
        ),
    )  # fmt: skip


def release(connection: sqlite3.Connection, lane: int, trace_ids: Iterable[str]) -> None:
    """Delete the rows of these traces."""
    connection.executemany(
        "DELETE FROM held_back WHERE lane = ? AND trace_id = ?", ((lane, storable(it)) for it in trace_ids)
    )


def of_query(connection: sqlite3.Connection, lane: int, query: int) -> list[HeldTrace]:
    """Return the traces that are held back for a query of a lane, the next to try first."""
    return _held(connection, "lane = ? AND query = ?", (lane, query))


def of_lanes(connection: sqlite3.Connection, lanes: Iterable[tuple[int, str]]) -> list[StoredTrace]:
    """Return the traces that are held back in each of ``lanes``, which are ids with names of destinations."""
    if version_of(connection) < _SINCE_VERSION:
        return []
    return [StoredTrace(one, name) for lane, name in lanes for one in _held(connection, "lane = ?", (lane,))]


def counts(connection: sqlite3.Connection, lane: int) -> tuple[int, int]:
    """Return how many traces of a lane are held back, and how many an operator gave up on."""
    if version_of(connection) < _SINCE_VERSION:
        return 0, 0
    ((waiting, given_up),) = connection.execute(
        "SELECT coalesce(sum(NOT given_up), 0), coalesce(sum(given_up), 0) FROM held_back WHERE lane = ?", (lane,)
    ).fetchall()
    return waiting, given_up


def forget(connection: sqlite3.Connection, lane: int, from_ns: int | None) -> None:
    """Delete the rows of the traces that start at ``from_ns`` or later, or of all."""
    connection.execute(
        "DELETE FROM held_back WHERE lane = ? AND (? IS NULL OR start_ns >= ?)", (lane, from_ns, from_ns)
    )


def prune(connection: sqlite3.Connection, lane: int, before_ns: int) -> None:
    """Delete the rows of old traces that an operator gave up on: they are no longer listed."""
    connection.execute("DELETE FROM held_back WHERE lane = ? AND given_up AND start_ns < ?", (lane, before_ns))


def _held(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> list[HeldTrace]:
    found = connection.execute(
        f"""SELECT summary, start_ns, reason, attempts, first_ns, next_ns, given_up FROM held_back
        WHERE {where} ORDER BY next_ns, trace_id""",  # noqa: S608  `where` is one of two texts above
        values,
    ).fetchall()
    return [
        HeldTrace(
            summary=_decoder.decode(summary),
            start_ns=start_ns,
            reason=readable(reason),
            attempts=attempts,
            first_ns=first_ns,
            next_ns=next_ns,
            given_up=bool(given_up),
        )
        for summary, start_ns, reason, attempts, first_ns, next_ns, given_up in found
    ]
