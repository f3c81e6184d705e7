"""Where a replay remembers what it has done: in the state that was named, else in a folder of its own until it ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager

from netra_otel_bridge.bridge import Bridge
from netra_otel_bridge.model import TraceQuery
from netra_otel_bridge.state import StateStore


@contextmanager
def opened(bridge: Bridge, query: TraceQuery) -> Iterator[StateStore]:
    """The open state of a replay. A folder of its own is removed when nothing is left in it. Raises `StateError`."""
    own = None if bridge.settings.state else bridge.checkpoint_directory(bridge.destinations(), query)
    spent = False
    with closing(bridge.open_state(own)) as store:
        yield store
        spent = own is not None and not store.lanes()
    if own is not None and spent and not any(own.glob("discarded-*")):
        shutil.rmtree(own)


def finished(bridge: Bridge, store: StateStore) -> None:
    """The replay is done: forget what is not to be remembered for good. Dead letters stay."""
    if not bridge.settings.state:
        store.forget_progress()
