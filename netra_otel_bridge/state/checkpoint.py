"""A state that lasts as long as the work it is for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.state.store import StateStore


@contextmanager
def checkpoint(directory: Path, clock: Clock) -> Iterator[StateStore]:
    """The open state in ``directory``. At the end the progress is forgotten; dead letters stay, else the folder goes.

    After an exception all of it stays, for the next attempt. Raises `StateError`.
    """
    with StateStore.open(directory, clock) as store:
        yield store
        store.forget_progress()
        is_spent = not store.lanes()
    if is_spent and not any(directory.glob("discarded-*")):
        shutil.rmtree(directory, ignore_errors=True)
