"""`ResultCache`: recent results, valid until the store changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from netra_otel_bridge.emulator.store import Store

_Result = TypeVar("_Result")
_LIMIT = 16


class ResultCache(Generic[_Result]):
    """The latest 16 results, by name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._results: OrderedDict[Hashable, tuple[int, _Result]] = OrderedDict()

    def get(self, name: Hashable, make: Callable[[], _Result]) -> _Result:
        """Return the result ``name``; compute it unless it is cached for this version of the store."""
        cached = self._results.get(name)
        result = cached[1] if cached is not None and cached[0] == self._store.version else make()
        self._results[name] = (self._store.version, result)
        self._results.move_to_end(name)
        if len(self._results) > _LIMIT:
            self._results.popitem(last=False)
        return result
