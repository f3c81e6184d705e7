"""Learn from responses the size that a destination accepts, and whether it rejects too many spans."""

from __future__ import annotations

from netra_otel_bridge.deliver.batching import MIN_BYTES, smaller_bytes

RAISED_AFTER = 8
"""Batches near an inferred limit after which twice that size is tried. The number doubles with each further cut."""
REJECTED_SHARE = 0.2
REJECTED_AT_LEAST = 100
"""Minimum rejected spans: if at least this many, and more than a fifth, are rejected, the lane stops."""
WINDOW_SPANS = 10_000
"""When this many spans were answered, both counts are halved, so that the share reflects the latest spans."""


class SizeLimit:
    """The largest request that a destination accepts, as far as known; ``limit_bytes`` is ``None`` at first.

    A limit that was only inferred from cut connections is raised again later, because the connections may have been cut
    for another, temporary reason.
    """

    def __init__(self) -> None:
        self.limit_bytes: int | None = None
        self._is_inferred = False
        self._was_raised = False
        self._near_limit = 0
        self._raised_after = RAISED_AFTER

    def too_large(self, sent_bytes: int, named_bytes: int | None, *, inferred: bool = False) -> None:
        """Learn from a request that was too large; ``named_bytes`` is the limit that the destination named, if any."""
        limit = max(smaller_bytes(sent_bytes, named_bytes), MIN_BYTES)
        self.limit_bytes = min(limit, self.limit_bytes or limit)
        self._is_inferred = inferred
        self._near_limit = 0
        if self._was_raised:
            self._raised_after *= 2
            self._was_raised = False

    def accepted(self, sent_bytes: int) -> None:
        """Learn from a request that was accepted."""
        if not self._is_inferred or self.limit_bytes is None:
            return
        self.limit_bytes = max(self.limit_bytes, sent_bytes)
        is_near = 4 * sent_bytes > 3 * self.limit_bytes
        if is_near and self._was_raised:
            self._raised_after, self._was_raised = RAISED_AFTER, False
        self._near_limit += is_near
        if self._near_limit >= self._raised_after:
            self.limit_bytes *= 2
            self._near_limit = 0
            self._was_raised = True


class RejectionRate:
    """Counts the spans that were answered recently, and the ``rejected`` among them."""

    def __init__(self) -> None:
        self.answered = 0
        self.rejected = 0

    def add(self, answered: int, rejected: int) -> bool:
        """Count a response, and return whether the destination rejects too many spans to continue."""
        self.answered += answered
        self.rejected += rejected
        if self.rejected >= REJECTED_AT_LEAST and self.rejected > REJECTED_SHARE * self.answered:
            return True
        if self.answered >= WINDOW_SPANS:
            self.answered //= 2
            self.rejected //= 2
        return False
