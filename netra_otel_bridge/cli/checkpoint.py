"""The state that a replay uses: the configured one, or a folder of its own until the replay ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from netra_otel_bridge.core.errors import StateUnusable, UsageError
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.deliver import identity
from netra_otel_bridge.state import StateStore, checkpoint, reset

if TYPE_CHECKING:
    from netra_otel_bridge.bridge.bridge import Bridge


@contextmanager
def opened(bridge: Bridge, query: TraceQuery, range_text: str | None) -> Iterator[StateStore]:
    """Open the state of a replay of ``range_text``, the range as it was typed.

    ``None`` opens the state that has the dead letters. If no state is configured, each range gets
    its own folder, which is a `checkpoint`. Raises `StateError`.
    """
    if bridge.settings.state is None and range_text is not None:
        own = bridge.checkpoint_directory(bridge.destinations(), query, range_text)
        _reset_missing_files(bridge, own)
        with checkpoint(own, bridge.clock) as store:
            yield store
    else:
        with bridge.open_state(bridge.state_directory()) as store:
            yield store


def _reset_missing_files(bridge: Bridge, own: Path) -> None:
    """Reset each destination file that no longer exists, so that an interrupted replay writes all of it again."""
    for name in map(identity, bridge.destinations()):
        kind, _, path = name.partition(":")
        if own.exists() and kind == "otlp-file" and not Path(path).exists():
            # without a state, another replay is about to create it or has just deleted it
            with suppress(UsageError, StateUnusable):
                reset(own, name, None, bridge.clock)


def flag(bridge: Bridge, store: StateStore) -> str:
    """Return the ``--state`` option that other commands need to use this state; empty if they use it anyway."""
    named = bridge.settings.origins["state"] == "flag"
    return f" --state {store.directory}" if named or store.directory != bridge.state_directory() else ""
