"""Mark answered spans as changed, so that the next pass sends them again.

A marked span keeps its entry, with another checksum than its own: if the pass is killed, or Netra no longer has the span,
the state still knows that it was sent. Each function runs inside a transaction that the caller opened, and raises
`sqlite3.Error`.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Collection, Mapping

from netra_otel_bridge.state.schema import storable

_ENTRY = struct.Struct(">QI")
_MASK = 0xFFFFFFFF
Marked = dict[str, dict[int, int]]
"""The checksums of marked spans, by the ids of their traces and their own."""


def mark(connection: sqlite3.Connection, lane: int, spans: Mapping[str, Collection[int]]) -> tuple[Marked, list[int]]:
    """Mark these spans. Return those that the state has, and the starts of their traces."""
    marked: Marked = {}
    starts_ns: list[int] = []
    for trace_id, span_ids in spans.items():
        wanted = set(span_ids)
        changed: dict[int, int] = {}

        def change(span_id: int, checksum: int, wanted: set[int] = wanted, changed: dict[int, int] = changed) -> int:
            if span_id not in wanted:
                return checksum
            changed[span_id] = checksum ^ _MASK
            return changed[span_id]

        start_ns = _rewrite(connection, lane, trace_id, change)
        if start_ns is not None and changed:
            marked[trace_id] = changed
            starts_ns.append(start_ns)
    return marked, starts_ns


def unmark(connection: sqlite3.Connection, lane: int, marked: Marked) -> int:
    """Give those of the spans that were not answered since their own checksums back; return their number."""
    count = 0
    for trace_id, spans in marked.items():

        def change(span_id: int, checksum: int, spans: dict[int, int] = spans) -> int:
            nonlocal count
            if spans.get(span_id) != checksum:
                return checksum
            count += 1
            return checksum ^ _MASK

        _rewrite(connection, lane, trace_id, change)
    return count


def _rewrite(connection: sqlite3.Connection, lane: int, trace_id: str, change: Callable[[int, int], int]) -> int | None:
    """Replace the checksums of a trace by what ``change`` returns; if one differs, the trace is read again by the next pass.

    Return the start of the trace, ``None`` if it has no row.
    """
    key = lane, storable(trace_id)
    found = connection.execute("SELECT start_ns, spans FROM trace WHERE lane = ? AND trace_id = ?", key).fetchall()
    for start_ns, packed in found:
        changed = b"".join(_ENTRY.pack(span_id, change(span_id, crc)) for span_id, crc in _ENTRY.iter_unpack(packed))
        if changed != packed:
            connection.execute(
                "UPDATE trace SET spans = ?, digest = NULL WHERE lane = ? AND trace_id = ?", (changed, *key)
            )
        return int(start_ns)
    return None
