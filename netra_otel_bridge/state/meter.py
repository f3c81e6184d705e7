"""What was metered of one source: records that are the meter's own, one for itself and one for each tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from netra_otel_bridge.state.schema import readable, storable

if TYPE_CHECKING:
    from netra_otel_bridge.state.store import StateStore


class MeterState:
    """Reads and writes the records of ``source``."""

    def __init__(self, store: StateStore, source: str) -> None:
        self._store = store
        self._source = storable(source)

    def read(self) -> tuple[bytes | None, dict[str, bytes]]:
        """The meter's record, ``None`` if there is none yet, and those of its tenants. Raises `StateError`."""
        with self._store.reading() as connection:
            own = connection.execute("SELECT record FROM meter WHERE source = ?", (self._source,)).fetchall()
            tenants = connection.execute(
                "SELECT tenant_id, record FROM metered WHERE source = ?", (self._source,)
            ).fetchall()
        return (own[0][0] if own else None), {readable(tenant_id): record for tenant_id, record in tenants}

    def write(self, record: bytes, tenants: Mapping[str, bytes | None]) -> None:
        """Make the meter's record and those of ``tenants`` durable, ``None`` for one that is forgotten.

        Raises `StateNotWritten`.
        """
        kept = [(self._source, storable(one), new) for one, new in tenants.items() if new is not None]
        gone = [(self._source, storable(one)) for one, new in tenants.items() if new is None]
        with self._store.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO meter VALUES (?, ?)", (self._source, record))
            connection.executemany("INSERT OR REPLACE INTO metered VALUES (?, ?, ?)", kept)
            connection.executemany("DELETE FROM metered WHERE source = ? AND tenant_id = ?", gone)
