"""Send batches and record the answers."""

from __future__ import annotations

DRAIN_S = 8.0
"""What a request that is under way gets to be answered, when the lane is stopped."""
