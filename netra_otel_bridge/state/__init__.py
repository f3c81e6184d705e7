"""REMEMBER: what each destination has had, kept in a directory so that no crash loses it (SQLite).

``store`` opens a state and hands out a `LaneState` per destination; ``opening`` makes a state and checks one before it
is used, ``lock`` lets one bridge at a time in, ``files`` names and writes what lies beside the database, ``schema``
and ``record`` are the tables and what is written to them, ``spent`` sums up what the spans cost. ``amend`` is for
operators: `reset`, `discard`; `read_status` and `dead_letters` look on while a bridge works. ``checkpoint`` is a state
that goes with the work it is for.
"""

from netra_otel_bridge.state.checkpoint import checkpoint
from netra_otel_bridge.state.lane import LaneState
from netra_otel_bridge.state.maintenance import (
    ResetReport,
    discard,
    remove_letters,
    reset,
)
from netra_otel_bridge.state.meter import MeterState
from netra_otel_bridge.state.rows import StoredLetter
from netra_otel_bridge.state.status import StateStatus, dead_letters, read_status
from netra_otel_bridge.state.store import StateStore

__all__ = [
    "LaneState",
    "MeterState",
    "ResetReport",
    "StateStatus",
    "StateStore",
    "StoredLetter",
    "checkpoint",
    "dead_letters",
    "discard",
    "read_status",
    "remove_letters",
    "reset",
]
