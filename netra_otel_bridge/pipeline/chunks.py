"""Cut the spans of a stream into chunks, each with the token that resumes after it and the problems to report."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from netra_otel_bridge.core.model.outcome import SpanBatch, SpanChunk
from netra_otel_bridge.deliver import Batch, Batcher, Item, encode_span
from netra_otel_bridge.pipeline.remaining import RemainingTrace
from netra_otel_bridge.pipeline.resume import ResumePoint, encode_token

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

CHUNK_SPANS = 512
CHUNK_BYTES = 512 * 1024
CHUNK_PROBLEMS = 100
"""Problems that are collected before they are sent, even without spans."""
PointAfter = Callable[[], ResumePoint]
"""Computes the resume point after a span; only the last one of each chunk is needed."""


class ChunkCutter:
    """Cuts one stream, from ``start`` on, into chunks of at most `CHUNK_SPANS` spans and ``chunk_bytes``.

    A problem is reported in the chunk that holds the span it belongs to.
    """

    def __init__(self, start: ResumePoint, chunk_bytes: int) -> None:
        self._start = start
        self._batcher: Batcher[PointAfter] = Batcher(CHUNK_SPANS, min(CHUNK_BYTES, chunk_bytes))
        self._last: Item[PointAfter] | None = None
        self._reached = start
        self._added = 0
        self._cut = 0
        self._problems: deque[tuple[int, str]] = deque()

    def add(
        self, trace: RemainingTrace, spans: Sequence[ReadableSpan], span_ids: Sequence[str], first: int = 0
    ) -> Iterator[SpanChunk]:
        """Add the spans of a trace, without those that were sent before ``start``, and yield the chunks they fill.

        ``span_ids`` are those of the whole trace; ``spans`` may be a part of it, after its ``first`` spans.
        """
        sent = self._start.sent_of(trace.summary.id, span_ids)
        if sent == len(span_ids):
            self.reach(trace.after)
        if not sent and not first:
            self.report(trace.problems, with_next=bool(span_ids))
        skipped = max(0, sent - first)
        for number, span in enumerate(spans[skipped:], first + skipped + 1):
            self._last = Item(span, encode_span(span), partial(trace.point_after, span_ids, number))
            self._added += 1
            full = self._batcher.add(self._last)
            if full is not None:
                yield self._chunk(full)
        if len(self._problems) >= CHUNK_PROBLEMS:
            yield from self.flush()

    def reach(self, point: ResumePoint) -> None:
        """Move the resume point past everything that was added: nothing up to there remains to be sent."""
        if self._last is not None:
            self._last.owner = lambda: point
        else:
            self._reached = point

    def report(self, problems: Sequence[str], *, with_next: bool = False) -> None:
        """Report problems in the chunk of the span that was added last, or of the one that is added next."""
        due = self._added + with_next
        self._problems += [(due, problem) for problem in problems]

    def flush(self) -> Iterator[SpanChunk]:
        """Yield the rest as a chunk, which may have problems but no spans."""
        batch = self._batcher.flush()
        if batch is not None or self._problems:
            yield self._chunk(batch)

    def _chunk(self, batch: Batch[PointAfter] | None) -> SpanChunk:
        spans = SpanBatch((), (), 0)
        if batch is not None:
            spans, last = batch.request, batch.items[-1]
            self._reached = last.owner()
            if last is self._last:
                self._last = None
        self._cut += len(spans.spans)
        problems = []
        while self._problems and self._problems[0][0] <= self._cut:
            problems.append(self._problems.popleft()[1])
        return SpanChunk(spans, encode_token(self._reached), tuple(problems))
