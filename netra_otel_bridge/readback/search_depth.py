"""Find out how many traces a store lets one search return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from netra_otel_bridge.core.errors import DestinationError
from netra_otel_bridge.readback.reader import TraceNotReturned

SEARCH_DEPTH = 1500
"""The most traces that a search of Jaeger's page shows."""


class TooDeep(Exception):
    """The store refuses a search for as many traces. ``error`` is raised if it refuses any number."""

    def __init__(self, error: DestinationError) -> None:
        super().__init__(error.message)
        self.error = error


class SearchDepth:
    """Halves the number of traces until the store accepts it, and remembers that."""

    def __init__(self) -> None:
        self._most = SEARCH_DEPTH

    async def search(self, ask: Callable[[int], Awaitable[set[str]]]) -> set[str] | None:
        """Return what ``ask`` finds; ``None`` if that is as many traces as it may return.

        ``ask`` raises `TooDeep` for too many traces, and `TraceNotReturned` for a response that is too large.
        """
        while True:
            depth = self._most
            try:
                found = await ask(depth)
            except TooDeep as refused:
                if depth <= 1:
                    raise refused.error from None
            except TraceNotReturned:
                if depth <= 1:
                    raise
            else:
                return found if len(found) < depth else None
            self._most = min(self._most, depth // 2)
