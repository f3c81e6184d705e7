"""Read and write rows inside a transaction that the caller opened. Each function raises `sqlite3.Error`."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import LaneStatus, Progress, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.state import costs, held
from netra_otel_bridge.state.schema import Stored, chunks, int64, readable, storable

MAX_REASONS = 100
"""Maximum number of distinct reasons counted per lane; further ones are counted together as `OTHER_REASONS`."""
OTHER_REASONS = "other reasons"
_REASON_LENGTH = 200
_IDS = 500


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter in the state: when it was recorded and for which destination. Later letters have higher ids."""

    id: int
    letter: DeadLetter
    recorded_ns: int
    destination: str


def lane_id(connection: sqlite3.Connection, source: str, destination: str) -> int:
    """Return the id of the lane's row; insert it if needed."""
    key = storable(source), storable(destination)
    connection.execute("INSERT OR IGNORE INTO lane (source, destination) VALUES (?, ?)", key)
    return _number(connection, "SELECT id FROM lane WHERE source = ? AND destination = ?", key)


def query_id(connection: sqlite3.Connection, lane: int, query: str) -> int:
    """Return the id of the row of a lane's query; insert it if needed."""
    key = lane, storable(query)
    connection.execute("INSERT OR IGNORE INTO query (lane, query) VALUES (?, ?)", key)
    return _number(connection, "SELECT id FROM query WHERE lane = ? AND query = ?", key)


def record_progress(connection: sqlite3.Connection, lane: int, query: int, progress: Progress, now_ns: int) -> int:
    """Write all of ``progress``; return the size in bytes of all dead letters in the state."""
    added = _upsert_traces(connection, lane, progress.traces, now_ns)
    _upsert_windows(connection, query, progress.windows, now_ns)
    if progress.watermark_ns is not None:
        connection.execute(
            """UPDATE query SET watermark_ns = :watermark, watermark_set_ns = :now
            WHERE id = :query AND (watermark_ns IS NULL OR watermark_ns < :watermark)""",
            {"watermark": progress.watermark_ns, "now": now_ns, "query": query},
        )
    held.release(connection, lane, progress.released)
    held.hold(connection, lane, query, progress.held)
    _update_lane(connection, lane, progress, added, now_ns)
    return _write_dead_letters(connection, lane, progress, now_ns)


def known(
    connection: sqlite3.Connection, lane: int, trace_ids: Iterable[str]
) -> list[tuple[Stored, bytes | None, int, int]]:
    """Return the id, digest, size of the span entries in bytes, and recording time of each trace that has a row."""
    found: list[tuple[Stored, bytes | None, int, int]] = []
    for ids in chunks(map(storable, trace_ids), _IDS):
        marks = ",".join("?" * len(ids))
        found += connection.execute(
            f"""SELECT trace_id, digest, length(spans), recorded_ns FROM trace
            WHERE lane = ? AND trace_id IN ({marks})""",  # noqa: S608
            (lane, *ids),
        ).fetchall()
    return found


def starts_ns(connection: sqlite3.Connection, lane: int, trace_ids: Iterable[str]) -> list[int]:
    """Return the start of each of these traces that has a row."""
    found: list[tuple[int]] = []
    for ids in chunks(map(storable, trace_ids), _IDS):
        marks = ",".join("?" * len(ids))
        found += connection.execute(
            f"SELECT start_ns FROM trace WHERE lane = ? AND trace_id IN ({marks})",  # noqa: S608
            (lane, *ids),
        ).fetchall()
    return [start_ns for (start_ns,) in found]


def delete_traces(connection: sqlite3.Connection, lane: int, trace_ids: Sequence[Stored]) -> None:
    """Delete the rows of these traces. Each of them must have one."""
    connection.executemany("DELETE FROM trace WHERE lane = ? AND trace_id = ?", ((lane, it) for it in trace_ids))
    connection.execute("UPDATE lane SET traces = traces - ? WHERE id = ?", (len(trace_ids), lane))


def lanes(connection: sqlite3.Connection) -> list[LaneStatus]:
    """Return the status of each lane. The watermark is the one that moved last among the lane's queries."""
    found = connection.execute(
        """SELECT id, source, destination, delivered, refused, dead_lettered, size_bytes, traces, updated_ns, problem,
            problem_since_ns,
            (SELECT watermark_ns FROM query WHERE lane = lane.id AND watermark_ns IS NOT NULL
                ORDER BY watermark_set_ns DESC, id DESC LIMIT 1),
            (SELECT count(*) FROM finished JOIN query ON finished.query = query.id WHERE query.lane = lane.id)
        FROM lane ORDER BY source, destination"""
    ).fetchall()
    return [
        LaneStatus(
            source=readable(source),
            destination=readable(destination),
            watermark_ns=watermark_ns or 0,
            delivered=delivered,
            refused=refused,
            dead_lettered=dead_lettered,
            size_bytes=size_bytes,
            traces=traces,
            windows=windows,
            updated_ns=updated_ns,
            problem=readable(problem),
            problem_since_ns=problem_since_ns,
            reasons=_reasons(connection, lane),
            reconciled=costs.reconciled(connection, lane),
            held_back=waiting,
            given_up=given_up,
        )
        for lane, source, destination, delivered, refused, dead_lettered, size_bytes, traces, updated_ns, problem,
        problem_since_ns, watermark_ns, windows in found
        for waiting, given_up in (held.counts(connection, lane),)
    ]  # fmt: skip


def dead_letters(
    connection: sqlite3.Connection, lane_ids: Sequence[int], after_id: int, limit: int
) -> list[StoredLetter]:
    """Return at most ``limit`` dead letters of these lanes with ids above ``after_id``, in order."""
    marks = ",".join("?" * len(lane_ids))
    found = connection.execute(
        f"""SELECT dead_letter.id, recorded_ns, is_span, trace_id, span_id, reason, document, destination
        FROM dead_letter JOIN lane ON dead_letter.lane = lane.id
        WHERE lane.id IN ({marks}) AND dead_letter.id > ? ORDER BY dead_letter.id LIMIT ?""",  # noqa: S608
        (*lane_ids, after_id, limit),
    ).fetchall()
    return [
        StoredLetter(
            row_id,
            DeadLetter(readable(trace_id), readable(span_id), readable(reason), readable(document), bool(is_span)),
            recorded_ns,
            readable(destination),
        )
        for row_id, recorded_ns, is_span, trace_id, span_id, reason, document, destination in found
    ]


def has_dead_letters(connection: sqlite3.Connection) -> bool:
    """Return whether any lane has a dead letter."""
    return bool(connection.execute("SELECT 1 FROM dead_letter LIMIT 1").fetchall())


def letter_ids(connection: sqlite3.Connection, lane: int) -> dict[tuple[str, str], list[int]]:
    """Return the ids of dead letters that are spans, by trace id and span id."""
    found: dict[tuple[str, str], list[int]] = {}
    for letter_id, trace_id, span_id in connection.execute(
        "SELECT id, trace_id, span_id FROM dead_letter WHERE lane = ? AND is_span", (lane,)
    ):
        found.setdefault((readable(trace_id), readable(span_id)), []).append(letter_id)
    return found


def last_letter(connection: sqlite3.Connection, lane: int) -> int:
    """Return the highest id of a dead letter, or 0."""
    return _number(connection, "SELECT coalesce(max(id), 0) FROM dead_letter WHERE lane = ?", (lane,))


def kept_letters(connection: sqlite3.Connection, lane: int, pass_: int, until_id: int) -> int:
    """Count dead letters up to this id whose trace was listed in this pass, or that have no trace."""
    return _number(
        connection,
        """SELECT count(*) FROM dead_letter WHERE lane = ? AND id <= ? AND (trace_id = ''
            OR trace_id IN (SELECT trace_id FROM temp.listed WHERE pass = ?))""",
        (lane, until_id, pass_),
    )


def watermark_set_ns(connection: sqlite3.Connection, query: int) -> int:
    """Return when the watermark of a query last moved forward, or 0."""
    return _number(connection, "SELECT coalesce(max(watermark_set_ns), 0) FROM query WHERE id = ?", (query,))


def last_start_ns(connection: sqlite3.Connection, lane: int, before_ns: int) -> int | None:
    """Return the last start of a trace of the lane that is not after ``before_ns``, if any."""
    ((last_ns,),) = connection.execute(
        "SELECT max(start_ns) FROM trace WHERE lane = ? AND start_ns <= ?", (lane, before_ns)
    ).fetchall()
    return None if last_ns is None else int(last_ns)


def pruned_ns(connection: sqlite3.Connection, lane: int) -> int | None:
    """Return the time before which traces of the lane were pruned, if any were."""
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (_pruned(lane),)).fetchall()
    return int(found[0][0]) if found else None


def note_prune(connection: sqlite3.Connection, lane: int, before_ns: int) -> None:
    """Record that traces of the lane before this time are pruned."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
        (_pruned(lane), before_ns),
    )


def limit_pruned(connection: sqlite3.Connection, lane: int, latest_ns: int | None) -> None:
    """Forget when the lane was pruned, if that is after ``latest_ns``, or in any case if it is ``None``."""
    connection.execute(
        "DELETE FROM meta WHERE key = ? AND (? IS NULL OR value > ?)", (_pruned(lane), latest_ns, latest_ns)
    )


def _pruned(lane: int) -> str:
    return f"pruned {lane}"


def forget_progress(connection: sqlite3.Connection) -> None:
    """Delete everything but dead letters, their reasons, and the lanes that have dead letters."""
    for table in ("trace", "finished", "query", "spent", "reconciled", "held_back"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608
    connection.execute("DELETE FROM lane WHERE id NOT IN (SELECT lane FROM dead_letter)")
    connection.execute("DELETE FROM meta WHERE key LIKE 'pruned %'")
    connection.execute("DELETE FROM reason WHERE lane NOT IN (SELECT id FROM lane)")
    connection.execute(
        """UPDATE lane SET traces = 0, delivered = 0, refused = 0, size_bytes = 0, problem = '',
            problem_since_ns = 0, summed_from_ns = NULL"""
    )


def _upsert_traces(connection: sqlite3.Connection, lane: int, records: Sequence[TraceRecord], now_ns: int) -> int:
    """Replace the rows of these traces and their share of the sums; return the number of traces that had no row."""
    latest = {record.trace_id: record for record in records}
    before = costs.replace(connection, lane, latest.values())
    connection.executemany(
        """INSERT INTO trace (lane, trace_id, start_ns, recorded_ns, digest, spans, spent, carriers)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET start_ns = excluded.start_ns, recorded_ns = excluded.recorded_ns,
            digest = excluded.digest, spans = excluded.spans, spent = excluded.spent,
            carriers = excluded.carriers""",
        (
            (lane, storable(it.trace_id), int64(it.start_ns), now_ns, it.digest, it.spans, costs.encoded(it.cost),
             it.carriers)
            for it in latest.values()
        ),
    )  # fmt: skip
    return len(latest) - before


def _upsert_windows(connection: sqlite3.Connection, query: int, windows: Iterable[Window], now_ns: int) -> None:
    connection.executemany(
        """INSERT INTO finished (query, start_ns, end_ns, finished_ns) VALUES (?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET finished_ns = excluded.finished_ns""",
        ((query, window.start_ns, window.end_ns, now_ns) for window in windows),
    )


def _update_lane(connection: sqlite3.Connection, lane: int, progress: Progress, added: int, now_ns: int) -> None:
    changed = connection.execute(
        """UPDATE lane SET traces = traces + ?, delivered = delivered + ?, refused = refused + ?,
            dead_lettered = dead_lettered + ?, size_bytes = size_bytes + ?, updated_ns = ? WHERE id = ?""",
        (added, progress.delivered, progress.refused, len(progress.dead_letters), progress.size_bytes, now_ns, lane),
    ).rowcount
    if changed != 1:
        raise RuntimeError("this lane was reset while it was in use: get it from the store again")
    if progress.problem is not None:
        connection.execute(
            """UPDATE lane SET problem = :problem, problem_since_ns =
                CASE WHEN :problem = '' THEN 0 WHEN problem = :problem THEN problem_since_ns ELSE :now END
            WHERE id = :lane""",
            {"problem": storable(progress.problem), "now": now_ns, "lane": lane},
        )


def _write_dead_letters(connection: sqlite3.Connection, lane: int, progress: Progress, now_ns: int) -> int:
    total_bytes = _number(connection, "SELECT value FROM meta WHERE key = 'dead_letter_bytes'")
    if not progress.dead_letters and not progress.resolved:
        return total_bytes
    for letter_id in progress.resolved:
        for (size_bytes,) in connection.execute(
            "SELECT size_bytes FROM dead_letter WHERE id = ? AND lane = ?", (letter_id, lane)
        ).fetchall():
            connection.execute("DELETE FROM dead_letter WHERE id = ?", (letter_id,))
            total_bytes -= size_bytes
    sizes = [_size_bytes(letter) for letter in progress.dead_letters]
    connection.executemany(
        """INSERT INTO dead_letter (lane, recorded_ns, size_bytes, is_span, trace_id, span_id, reason, document)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            (lane, now_ns, size_bytes, it.is_span, *map(storable, (it.trace_id, it.span_id, it.reason, it.document)))
            for it, size_bytes in zip(progress.dead_letters, sizes, strict=True)
        ),
    )
    _count_reasons(connection, lane, Counter(letter.reason[:_REASON_LENGTH] for letter in progress.dead_letters))
    total_bytes += sum(sizes)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'dead_letter_bytes'", (total_bytes,))
    return total_bytes


def _count_reasons(connection: sqlite3.Connection, lane: int, counts: Counter[str]) -> None:
    for reason, count in counts.items():
        stored = storable(reason)
        if not connection.execute("SELECT 1 FROM reason WHERE lane = ? AND reason = ?", (lane, stored)).fetchall():
            different = _number(connection, "SELECT count(*) FROM reason WHERE lane = ?", (lane,))
            stored = stored if different < MAX_REASONS else OTHER_REASONS
        connection.execute(
            "INSERT INTO reason (lane, reason, count) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET count = count + excluded.count",
            (lane, stored, count),
        )


def _reasons(connection: sqlite3.Connection, lane: int) -> tuple[tuple[str, int], ...]:
    found = connection.execute(
        "SELECT reason, count FROM reason WHERE lane = ? ORDER BY count DESC, reason", (lane,)
    ).fetchall()
    return tuple((readable(reason), count) for reason, count in found)


def _size_bytes(letter: DeadLetter) -> int:
    """Return the letter's size in UTF-8."""
    texts = letter.trace_id, letter.span_id, letter.reason, letter.document
    return sum(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")) for text in texts)


def _number(connection: sqlite3.Connection, statement: str, values: Sequence[object] = ()) -> int:
    ((value,),) = connection.execute(statement, values).fetchall()
    return int(value)
