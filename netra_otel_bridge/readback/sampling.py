"""Choose some of many at random, in one pass."""

from __future__ import annotations

import random
from collections.abc import AsyncIterable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def sample(chunks: AsyncIterable[Sequence[T]], count: int) -> tuple[list[T], int]:
    """Return up to ``count`` items of all ``chunks``, each with the same chance, and the number of all items."""
    chosen: list[T] = []
    seen = 0
    async for chunk in chunks:
        for item in chunk:
            seen += 1
            if len(chosen) < count:
                chosen.append(item)
            elif (position := random.randrange(seen)) < count:  # noqa: S311  a sample, not a secret
                chosen[position] = item
    return chosen, seen
