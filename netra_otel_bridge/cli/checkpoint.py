"""Where a replay remembers what it has done: in the state that was named, else in a folder of its own until it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from netra_otel_bridge.bridge.bridge import Bridge
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.deliver import identity
from netra_otel_bridge.state import StateStore, checkpoint, reset


@contextmanager
def opened(bridge: Bridge, query: TraceQuery, range_text: str | None) -> Iterator[StateStore]:
    """The open state of a replay of the range that was typed, or, for ``None``, the one that holds dead letters.

    A folder of its own is a `checkpoint`. Raises `StateError`.
    """
    if bridge.settings.state is None and range_text is not None:
        own = bridge.checkpoint_directory(bridge.destinations(), query, range_text)
        _forget_files_that_are_gone(bridge, own)
        with checkpoint(own, bridge.clock) as store:
            yield store
    else:
        with bridge.open_state(bridge.state_directory()) as store:
            yield store


def _forget_files_that_are_gone(bridge: Bridge, own: Path) -> None:
    """Whoever removes the file that a broken replay wrote, and repeats the command, wants all of it."""
    for name in map(identity, bridge.destinations()):
        kind, _, path = name.partition(":")
        if own.exists() and kind == "otlp-file" and not Path(path).exists():
            with suppress(UsageError):
                reset(own, name, None, bridge.clock)


def flag(bridge: Bridge, store: StateStore) -> str:
    """What has to be added to a command so that it works with this state: nothing where it would by itself."""
    named = bridge.settings.origins["state"] == "flag"
    return f" --state {store.directory}" if named or store.directory != bridge.state_directory() else ""
