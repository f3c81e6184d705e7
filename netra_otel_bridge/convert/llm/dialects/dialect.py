"""Define a dialect: the keys that it reads, and how it makes a call of what is under them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from netra_otel_bridge.convert.llm.call import Call
from netra_otel_bridge.convert.llm.recorded import Recorded


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way in which instrumentations write a call to a model.

    ``facts`` maps a key to the fact that it records (see `facts`), and ``prefixes`` are those of indexed keys.
    ``read`` adds messages, tools and documents to a call, unless a dialect before it found them. It is called if the span
    has one of the ``keys``, a fact of ``reads``, or an indexed key.
    """

    name: str
    facts: tuple[tuple[str, str], ...] = ()
    prefixes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    read: Callable[[Recorded, Call], None] | None = None
