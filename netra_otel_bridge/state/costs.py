"""Costs of the spans that a lane's destination has received: by trace, and summed by tenant and UTC hour.

The transaction that records a trace changes the sums by the difference between its old and its new cost. Traces that
are deleted for their age stay in the sums. Each function runs inside a transaction that the caller opened, and raises
`sqlite3.Error`. In the database, columns and tables named ``spent`` hold these costs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from netra_otel_bridge.core.clock import HOUR_NS
from netra_otel_bridge.core.model.progress import HourCost, Reconciliation, TraceCost, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.state.schema import chunks, int64, readable, storable, version_of

KEPT_NS = 62 * 24 * HOUR_NS
"""Minimum time that sums are kept: the current month and the previous one."""
_SINCE_VERSION = 2
_IDS = 500
_decoder = msgspec.msgpack.Decoder(TraceCost)
Changes = dict[tuple[str, int], tuple[int, int, float]]
"""Tokens, requests and cost to add, by tenant and hour."""


def encoded(cost: TraceCost) -> bytes | None:
    """Return the cost of a trace as a column; ``None`` for an empty one."""
    return msgspec.msgpack.encode(cost) if cost.hours or cost.not_accepted else None


def decoded(column: bytes | None) -> TraceCost:
    """Return the cost in a column that `encoded` returned."""
    return _decoder.decode(column) if column is not None else TraceCost()


def replace(connection: sqlite3.Connection, lane: int, records: Iterable[TraceRecord]) -> int:
    """Update the sums to the new costs of these distinct traces; return how many of them have a row.

    Call this before writing their rows.
    """
    now = {storable(record.trace_id): record.cost.hours for record in records}
    changes: Changes = {}
    known = 0
    for ids in chunks(now, _IDS):
        rows = connection.execute(
            f"SELECT trace_id, spent FROM trace WHERE lane = ? AND trace_id IN ({','.join('?' * len(ids))})",  # noqa: S608
            (lane, *ids),
        ).fetchall()
        known += len(rows)
        for trace_id, column in rows:
            before = decoded(column).hours
            if before == now[trace_id]:
                del now[trace_id]
            else:
                _change(changes, before, -1)
    for hours in now.values():
        _change(changes, hours, 1)
    _apply(connection, lane, changes)
    return known


def forget(connection: sqlite3.Connection, lane: int, from_ns: int | None) -> None:
    """Remove from the sums all traces that start at ``from_ns`` or later, or all traces.

    The sums of whole hours from ``from_ns`` on then cover only traces that have a row. Older traces, whose rows were
    deleted for their age, are read again.
    Call this before deleting the traces' rows.
    """
    connection.execute("DELETE FROM reconciled WHERE lane = ?", (lane,))
    if from_ns is None:
        connection.execute("DELETE FROM spent WHERE lane = ?", (lane,))
        connection.execute("UPDATE lane SET summed_from_ns = NULL WHERE id = ?", (lane,))
        return
    first_ns = -(-from_ns // HOUR_NS) * HOUR_NS
    connection.execute("DELETE FROM spent WHERE lane = ? AND hour_ns >= ?", (lane, int64(first_ns)))
    connection.execute(
        "UPDATE lane SET summed_from_ns = min(summed_from_ns, ?) WHERE id = ?", (int64(first_ns + HOUR_NS), lane)
    )
    changes: Changes = {}
    for start_ns, column in connection.execute(
        "SELECT start_ns, spent FROM trace WHERE lane = ? AND spent IS NOT NULL", (lane,)
    ):
        hours = decoded(column).hours
        if start_ns >= from_ns:
            _change(changes, (hour for hour in hours if hour.hour_ns < first_ns), -1)
        else:
            _change(changes, (hour for hour in hours if hour.hour_ns >= first_ns), 1)
    _apply(connection, lane, changes)


def prune(connection: sqlite3.Connection, lane: int, before_ns: int) -> None:
    """Delete the sums of hours that began more than `KEPT_NS` before ``before_ns``."""
    connection.execute("DELETE FROM spent WHERE lane = ? AND hour_ns < ?", (lane, int64(before_ns - KEPT_NS)))


def tenants(connection: sqlite3.Connection, lane: int, window: Window) -> list[str]:
    """Return the tenants with a sum in the hours that begin in ``window``."""
    rows = connection.execute(
        "SELECT DISTINCT tenant_id FROM spent WHERE lane = ? AND hour_ns >= ? AND hour_ns < ? ORDER BY tenant_id",
        (lane, window.start_ns, window.end_ns),
    ).fetchall()
    return [readable(tenant_id) for (tenant_id,) in rows]


def total(connection: sqlite3.Connection, lane: int, tenant_id: str, window: Window) -> tuple[int, float]:
    """Return tokens and cost of a tenant in the hours that begin in ``window``."""
    ((tokens, cost),) = connection.execute(
        """SELECT sum(tokens), sum(cost) FROM spent
        WHERE lane = ? AND tenant_id = ? AND hour_ns >= ? AND hour_ns < ?""",
        (lane, storable(tenant_id), window.start_ns, window.end_ns),
    ).fetchall()
    return tokens or 0, cost or 0.0


def reconcile(connection: sqlite3.Connection, lane: int, found: Sequence[Reconciliation]) -> None:
    """Replace the reconciliations of the lane."""
    connection.execute("DELETE FROM reconciled WHERE lane = ?", (lane,))
    connection.executemany(
        """INSERT INTO reconciled (lane, tenant_id, start_ns, end_ns, replayed_tokens, replayed_cost, reported_tokens,
            reported_cost, asked_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            (lane, storable(it.tenant_id), it.window.start_ns, it.window.end_ns, _stored(it.replayed_tokens),
             it.replayed_cost, _stored(it.reported_tokens), it.reported_cost, it.asked_ns)
            for it in found
        ),
    )  # fmt: skip


def reconciled(connection: sqlite3.Connection, lane: int) -> tuple[Reconciliation, ...]:
    """Return the latest reconciliations of the lane, by tenant; none if the tables are of an older schema."""
    if version_of(connection) < _SINCE_VERSION:
        return ()
    rows = connection.execute(
        """SELECT tenant_id, start_ns, end_ns, replayed_tokens, replayed_cost, reported_tokens, reported_cost, asked_ns
        FROM reconciled WHERE lane = ? ORDER BY tenant_id""",
        (lane,),
    ).fetchall()
    return tuple(
        Reconciliation(
            tenant_id=readable(tenant_id),
            window=Window(start_ns, end_ns),
            replayed_tokens=replayed_tokens,
            replayed_cost=replayed_cost,
            reported_tokens=reported_tokens,
            reported_cost=reported_cost,
            asked_ns=asked_ns,
        )
        for tenant_id, start_ns, end_ns, replayed_tokens, replayed_cost, reported_tokens, reported_cost, asked_ns in rows
    )


def _change(changes: Changes, hours: Iterable[HourCost], sign: int) -> None:
    for hour in hours:
        key = hour.tenant_id, hour.hour_ns
        tokens, requests, cost = changes.get(key, (0, 0, 0.0))
        changes[key] = tokens + sign * hour.tokens, requests + sign * hour.requests, cost + sign * hour.cost


def _apply(connection: sqlite3.Connection, lane: int, changes: Changes) -> None:
    """Add to the sums; delete a sum without spans."""
    rows = [
        (lane, storable(tenant_id), hour_ns, tokens, requests, cost)
        for (tenant_id, hour_ns), (tokens, requests, cost) in changes.items()
    ]
    connection.executemany(
        """INSERT INTO spent (lane, tenant_id, hour_ns, tokens, requests, cost) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET tokens = tokens + excluded.tokens, requests = requests + excluded.requests,
            cost = cost + excluded.cost""",
        rows,
    )
    connection.executemany(
        "DELETE FROM spent WHERE lane = ? AND tenant_id = ? AND hour_ns = ? AND requests <= 0",
        (row[:3] for row in rows if row[4] < 0),
    )


def _stored(number: int | float) -> int | float:
    return int64(number) if isinstance(number, int) else number
