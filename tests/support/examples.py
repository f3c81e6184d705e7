"""Number of Hypothesis examples: all of them in CI, a sample of them elsewhere."""

from __future__ import annotations

import os

LOCAL_SHARE = 8
"""Outside CI, tests try one example in this many."""


def is_full() -> bool:
    """Return whether to try all examples: in CI, which sets ``CI``."""
    return bool(os.environ.get("CI"))


def examples(full: int) -> int:
    """Return the ``max_examples`` of a property that tries ``full`` examples in CI."""
    return full if is_full() else max(10, full // LOCAL_SHARE)
