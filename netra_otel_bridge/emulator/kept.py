"""`Kept`: recent results, good for as long as the store does not change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from netra_otel_bridge.emulator.store import Store

_Result = TypeVar("_Result")
_LIMIT = 16


class Kept(Generic[_Result]):
    """The last 16 results by name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._results: OrderedDict[Hashable, tuple[int, _Result]] = OrderedDict()

    def get(self, name: Hashable, make: Callable[[], _Result]) -> _Result:
        """The result of that name; made if there is none of this version of the store."""
        kept = self._results.get(name)
        result = kept[1] if kept is not None and kept[0] == self._store.version else make()
        self._results[name] = (self._store.version, result)
        self._results.move_to_end(name)
        if len(self._results) > _LIMIT:
            self._results.popitem(last=False)
        return result
