"""Store the usage meter's records of one source: one for the meter itself and one for each tenant."""

from __future__ import annotations

from collections.abc import Mapping

from netra_otel_bridge.state.database import Database
from netra_otel_bridge.state.schema import readable, storable


class MeterState:
    """The usage records of ``source``; from `StateStore.meter`."""

    def __init__(self, database: Database, source: str) -> None:
        self._database = database
        self._source = storable(source)

    def read(self) -> tuple[bytes | None, dict[str, bytes]]:
        """Return the meter's record, ``None`` if there is none yet, and the records by tenant. Raises `StateError`."""
        with self._database.reading() as connection:
            own = connection.execute("SELECT record FROM meter WHERE source = ?", (self._source,)).fetchall()
            tenants = connection.execute(
                "SELECT tenant_id, record FROM metered WHERE source = ?", (self._source,)
            ).fetchall()
        return (own[0][0] if own else None), {readable(tenant_id): record for tenant_id, record in tenants}

    def write(self, record: bytes, tenants: Mapping[str, bytes | None]) -> None:
        """Make the meter's record and the records in ``tenants`` durable; delete a tenant's record if it is ``None``.

        Raises `StateNotWritten`.
        """
        changed = [(self._source, storable(tenant), new) for tenant, new in tenants.items() if new is not None]
        deleted = [(self._source, storable(tenant)) for tenant, new in tenants.items() if new is None]
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO meter VALUES (?, ?)", (self._source, record))
            connection.executemany("INSERT OR REPLACE INTO metered VALUES (?, ?, ?)", changed)
            connection.executemany("DELETE FROM metered WHERE source = ? AND tenant_id = ?", deleted)
