"""How many examples and cases to try: all of them in CI, a sample of them elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, TypeVar

_Case = TypeVar("_Case")

LOCAL_SHARE = 30
"""Outside CI, tests try one example in this many."""


def is_full() -> bool:
    """Return whether to try all examples: in CI, which sets ``CI``."""
    return bool(os.environ.get("CI"))


def examples(full: int) -> int:
    """Return the ``max_examples`` of a property that tries ``full`` examples in CI."""
    return full if is_full() else max(8, full // LOCAL_SHARE)


def size(local: int, full: int) -> int:
    """Return ``full`` in CI and ``local`` elsewhere: the size of a test whose cost grows with it."""
    return full if is_full() else local


def some(local: int, cases: Sequence[_Case]) -> Sequence[_Case]:
    """Return all ``cases`` in CI, and the first ``local`` of them elsewhere: for cases that differ in little and cost much."""
    return cases if is_full() else cases[:local]


def spread(share: int, *axes: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return all combinations in CI, and one in ``share`` of them elsewhere: a diagonal, so that no value is left out.

    Of three axes, any two meet in every pair if the third has at least ``share`` values.
    """
    combinations = product(*(enumerate(axis) for axis in axes))
    wanted = 1 if is_full() else share
    return [tuple(value for _, value in one) for one in combinations if not sum(place for place, _ in one) % wanted]
