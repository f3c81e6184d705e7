"""Where a replay remembers what it has done: in the state that was named, else in a folder of its own until it ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager

from netra_otel_bridge.bridge import Bridge
from netra_otel_bridge.model import TraceQuery
from netra_otel_bridge.state import StateStore


@contextmanager
def opened(bridge: Bridge, query: TraceQuery, *, for_letters: bool) -> Iterator[StateStore]:
    """The open state of a replay. A folder of its own is removed when nothing is left in it. Raises `StateError`.

    ``for_letters``: what is to be sent again lies where the same replay left it, else where the service keeps its state.
    """
    own = None if bridge.settings.state else bridge.checkpoint_directory(bridge.destinations(), query)
    if own is not None and for_letters and not own.exists():
        own = bridge.state_directory()
    spent = False
    with closing(bridge.open_state(own)) as store:
        yield store
        spent = own is not None and not store.lanes()
    if own is not None and spent and own != bridge.state_directory() and not any(own.glob("discarded-*")):
        shutil.rmtree(own)


def finished(bridge: Bridge, store: StateStore) -> None:
    """The replay is done: forget what is not to be remembered for good. Dead letters stay."""
    if not bridge.settings.state and store.directory != bridge.state_directory():
        store.forget_progress()


def flag(bridge: Bridge, store: StateStore) -> str:
    """What has to be added to a command so that it works with this state: nothing where it would by itself."""
    named = bridge.settings.origins["state"] == "flag"
    return f" --state {store.directory}" if named or store.directory != bridge.state_directory() else ""
