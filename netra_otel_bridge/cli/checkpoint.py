"""Where a replay remembers what it has done: in the state that was named, else in a folder of its own until it ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from netra_otel_bridge.bridge import Bridge
from netra_otel_bridge.deliver import identity
from netra_otel_bridge.errors import UsageError
from netra_otel_bridge.model import TraceQuery
from netra_otel_bridge.state import StateStore, reset


@contextmanager
def opened(bridge: Bridge, query: TraceQuery, range_text: str | None) -> Iterator[StateStore]:
    """The open state of a replay of the range that was typed, or, for ``None``, the one that holds dead letters.

    A folder of its own is removed when nothing is left in it. Raises `StateError`.
    """
    own = None
    if bridge.settings.state is None and range_text is not None:
        own = bridge.checkpoint_directory(bridge.destinations(), query, range_text)
        _forget_files_that_are_gone(bridge, own)
    spent = False
    with closing(bridge.open_state(own or bridge.state_directory())) as store:
        yield store
        spent = own is not None and not store.lanes()
    if own is not None and spent and not any(own.glob("discarded-*")):
        shutil.rmtree(own)


def _forget_files_that_are_gone(bridge: Bridge, own: Path) -> None:
    """Whoever removes the file that a broken replay wrote, and repeats the command, wants all of it."""
    for name in map(identity, bridge.destinations()):
        kind, _, path = name.partition(":")
        if own.exists() and kind == "otlp-file" and not Path(path).exists():
            with suppress(UsageError):
                reset(own, name, None, bridge.clock)


def finished(bridge: Bridge, store: StateStore) -> None:
    """The replay is done: forget what is not to be remembered for good. Dead letters stay."""
    if not bridge.settings.state and store.directory != bridge.state_directory():
        store.forget_progress()


def flag(bridge: Bridge, store: StateStore) -> str:
    """What has to be added to a command so that it works with this state: nothing where it would by itself."""
    named = bridge.settings.origins["state"] == "flag"
    return f" --state {store.directory}" if named or store.directory != bridge.state_directory() else ""
