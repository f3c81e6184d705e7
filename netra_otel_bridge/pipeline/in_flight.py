"""What is under way in a pass: windows that are being listed, traces that are being read and sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from netra_otel_bridge.convert import SpanCost, hour_costs
from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.progress import KnownTrace, TraceCost, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.pipeline.digests import pack_spans, with_digest
from netra_otel_bridge.pipeline.memory_budget import Reservation
from netra_otel_bridge.pipeline.recorder import Recorder


@dataclass(slots=True, eq=False)
class Listing:
    """One window: finished when it is listed to the end and each trace in it is answered (``open`` is 0)."""

    window: Window
    open: int = 1


@dataclass(slots=True, eq=False)
class Trace:
    """A trace on its way, listed under ``digest``; ``listings`` wait for it.

    ``first`` says that this pass had not met it before, ``queued`` that it holds a slot. ``sent`` are the spans that
    are answered with their checksums, those of earlier passes included, ``fresh`` the number that was to be sent.
    ``untaken`` are those of them that the destination may not have, ``span_costs`` says what each metered span cost, and
    ``before`` what was recorded of that. ``again`` is the same trace, where it was listed with another summary meanwhile.
    """

    summary: TraceSummary
    digest: bytes
    listings: list[Listing]
    known: KnownTrace | None = None
    first: bool = False
    queued: bool = False
    share: Reservation | None = None
    start_ns: int = 0
    sent: dict[int, int] = field(default_factory=dict)
    untaken: set[int] = field(default_factory=set)
    span_costs: Sequence[SpanCost] = ()
    before: TraceCost = field(default_factory=TraceCost)
    fresh: int = 0
    unanswered: int = 0
    again: Trace | None = None

    def also_listed(self, summary: TraceSummary, digest: bytes, listing: Listing) -> None:
        """Another listing holds this trace too."""
        listing.open += 1
        if digest == self.digest:
            self.listings.append(listing)
        elif self.again is None:
            self.again = Trace(summary, digest, [listing])
        else:
            self.again.summary, self.again.digest = summary, digest
            self.again.listings.append(listing)

    def recorded(self, sent: dict[int, int], cost: TraceCost) -> None:
        """Go on from what is remembered of it."""
        self.sent, self.before, self.untaken = sent, cost, set(cost.untaken)

    def answered(self, span_id: int, checksum: int, *, taken: bool) -> None:
        """One of the spans that were to be sent is answered."""
        self.sent[span_id] = checksum
        self.unanswered -= 1
        if taken:
            self.untaken.discard(span_id)
        else:
            self.untaken.add(span_id)

    def record(self) -> TraceRecord:
        """What is to be remembered of it now. A summary of before counts no more once something was new or changed."""
        before = self.known.digest if self.known is not None and not self.fresh else None
        digests = None if self.unanswered else with_digest(before, self.digest, confirmed=before is not None)
        hours = self.before.hours if self.unanswered else hour_costs(self.span_costs, self.untaken)
        cost = TraceCost(hours, tuple(self.untaken))
        return TraceRecord(self.summary.id, self.start_ns, digests, pack_spans(self.sent), cost)


class Windows:
    """The windows of a pass that were begun, in order. It records which are finished or, following, how far all are."""

    def __init__(self, progress: Recorder, follow: bool) -> None:
        self._progress = progress
        self._follow = follow
        self._unfinished: deque[Listing] = deque()

    def begin(self, window: Window) -> Listing:
        """The next one; it is `close` that ends it."""
        listing = Listing(window)
        self._unfinished.append(listing)
        return listing

    def close(self, listings: Iterable[Listing]) -> None:
        """One of the things that each of these waited for is done."""
        for listing in listings:
            listing.open -= 1
            if not listing.open and not self._follow:
                self._progress.finished(listing.window)
        while self._unfinished and not self._unfinished[0].open:
            end_ns = self._unfinished.popleft().window.end_ns
            if self._follow:
                self._progress.followed(end_ns)
