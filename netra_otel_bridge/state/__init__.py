"""Record the spans that each destination has acknowledged, in an SQLite database that survives a crash.

``store`` is the public interface. It provides a `LaneState` (``lane``) per destination and a `MeterState` (``meter``)
per source, which share one ``database``: files, lock, one reader, one writer. ``checks`` creates a state and checks an
existing one, ``files`` and ``lock`` handle the files beside the database, ``schema`` has the tables and migrations.
``rows``, ``costs`` and ``held`` read and write rows inside a transaction. ``maintenance`` is for operators (`reset`, `discard`),
``status`` and ``answered`` read a state while a bridge uses it, and ``checkpoint`` creates a state that lasts only
until its work is finished.
"""

from netra_otel_bridge.state.answered import Answered, AnsweredTrace, Coverage, has_destination, of_directory, uncovered
from netra_otel_bridge.state.checkpoint import checkpoint
from netra_otel_bridge.state.held import StoredTrace
from netra_otel_bridge.state.lane import LaneState
from netra_otel_bridge.state.maintenance import (
    ResetReport,
    discard,
    give_up_held,
    remove_letters,
    reset,
    retry_held,
)
from netra_otel_bridge.state.meter import MeterState
from netra_otel_bridge.state.rows import StoredLetter
from netra_otel_bridge.state.status import StateStatus, dead_letters, held_traces, read_status
from netra_otel_bridge.state.store import StateStore

__all__ = [
    "Answered",
    "AnsweredTrace",
    "Coverage",
    "LaneState",
    "MeterState",
    "ResetReport",
    "StateStatus",
    "StateStore",
    "StoredLetter",
    "StoredTrace",
    "checkpoint",
    "dead_letters",
    "discard",
    "give_up_held",
    "has_destination",
    "held_traces",
    "of_directory",
    "read_status",
    "remove_letters",
    "reset",
    "retry_held",
    "uncovered",
]
