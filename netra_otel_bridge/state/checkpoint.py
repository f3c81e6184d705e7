"""Use a state that lasts only until its work is finished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.state.store import StateStore


@contextmanager
def checkpoint(directory: Path, clock: Clock) -> Iterator[StateStore]:
    """Open the state in ``directory`` for the block, then delete its progress and, without dead letters, all of it.

    After an exception, or if a trace is held back, everything stays, so that the next attempt resumes. Raises
    `StateError`.
    """
    with StateStore.open(directory, clock) as store:
        yield store
        if any(lane.held_back for lane in store.lanes()):
            return
        store.forget_progress()
        if not store.lanes():
            store.delete()
