"""Batches: spans of many traces in one request, bounded by their number and by their encoded size.

gRPC servers take 4 MiB a message by default, so the size is known before sending rather than learnt from refusals.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.core.model.outcome import SpanBatch
from netra_otel_bridge.deliver.otlp.encode import (
    encode_resource,
    encode_scope,
    encode_span,
    ids_of,
)

MAX_SPANS = 512
MAX_BYTES = 3_500_000
"""Below the 4 MiB (4,194,304 bytes) that gRPC servers take by default, with room for what a proxy adds."""
MIN_BYTES = 4096
"""No server refuses requests of this size for their size: what seems to say so is not believed."""
CUT_BYTES = 1 << 16
"""A connection that is cut is not cut for the size of a request, unless the request is larger than this."""
CUTS = 3
"""So often in a row, and for a request without spans never."""
_FRAME_BYTES = 6
"""A tag and the length of a message below 4 GiB."""
_NO_LIMIT = 1 << 62


class Batcher:
    """Gathers spans until a batch is full.

    A batch's ``size_bytes`` counts its spans, and each resource and scope once; the encoded request is never larger.
    A span that is larger than ``max_bytes`` travels alone.
    """

    def __init__(self, max_spans: int = MAX_SPANS, max_bytes: int = MAX_BYTES) -> None:
        self._max_spans = max_spans
        self._most_bytes = self._max_bytes = max_bytes
        self._spans: list[ReadableSpan] = []
        self._encoded: list[bytes] = []
        self._size_bytes = 0
        self._seen: set[tuple[int, int | None]] = set()

    def limit(self, max_bytes: int | None) -> None:
        """Make later batches no larger than ``max_bytes`` (`Sender.limit_bytes`), and never larger than at first."""
        self._max_bytes = min(self._most_bytes, max(max_bytes or self._most_bytes, MIN_BYTES))

    def add(self, span: ReadableSpan, encoded: bytes) -> SpanBatch | None:
        """Take a span with what `encode_span` made of it; returns a batch when one is full.

        The batch holds the span if that filled it by number, and not if the span would not have fitted in.
        """
        full = None
        added = len(encoded) + _FRAME_BYTES + self._surroundings_bytes(span)
        if self._spans and self._size_bytes + added > self._max_bytes:
            full = self.flush()
            added = len(encoded) + _FRAME_BYTES + self._surroundings_bytes(span)
        self._spans.append(span)
        self._encoded.append(encoded)
        self._size_bytes += added
        if full is None and (len(self._spans) >= self._max_spans or self._size_bytes >= self._max_bytes):
            return self.flush()
        return full

    def flush(self) -> SpanBatch | None:
        """The spans gathered so far, or ``None``."""
        if not self._spans:
            return None
        batch = SpanBatch(tuple(self._spans), tuple(self._encoded), self._size_bytes)
        self._spans = []
        self._encoded = []
        self._size_bytes = 0
        self._seen = set()
        return batch

    def _surroundings_bytes(self, span: ReadableSpan) -> int:
        """What the span's resource and scope add to the batch; they are told apart by identity, which costs nothing."""
        resource, scope = span.resource, span.instrumentation_scope
        key = (id(resource), id(scope))
        if key in self._seen:
            return 0
        self._seen.add(key)
        size = sum(map(len, encode_scope(scope))) + _FRAME_BYTES
        if (id(resource), None) not in self._seen:
            self._seen.add((id(resource), None))
            size += len(encode_resource(resource)) + len(resource.schema_url.encode()) + 2 * _FRAME_BYTES
        return size


def batch_of(spans: Sequence[ReadableSpan], encoded: Sequence[bytes] | None = None) -> SpanBatch:
    """One batch of exactly these spans, whatever their size. ``encoded`` is what `encode_span` made of them, if known."""
    batcher = Batcher(max_spans=len(spans) + 1, max_bytes=_NO_LIMIT)
    for span, body in zip(spans, map(encode_span, spans) if encoded is None else encoded, strict=True):
        batcher.add(span, body)
    return batcher.flush() or SpanBatch((), (), 0)


def halves_by_size(batch: SpanBatch) -> tuple[SpanBatch, SpanBatch]:
    """The first and the last spans of a batch of at least two, each part with about half of the bytes."""
    half = sum(map(len, batch.encoded)) / 2
    ends = accumulate(map(len, batch.encoded))
    cut = next(number for number, end in enumerate(ends, 1) if end >= half)
    return _cut(batch, range(len(batch.spans)), min(cut, len(batch.spans) - 1))


def halves_by_trace(batch: SpanBatch) -> tuple[SpanBatch, SpanBatch]:
    """Two parts of a batch of at least two spans, with whole traces in each; one trace alone is cut in the middle.

    The parts are as near to half of the spans as their traces allow, and keep the order within a trace.
    """
    traces: dict[int, list[int]] = {}
    for number, encoded in enumerate(batch.encoded):
        traces.setdefault(ids_of(encoded)[0], []).append(number)
    order = [number for members in traces.values() for number in members]
    middle = len(order) // 2
    if len(traces) > 1:
        ends = list(accumulate(len(members) for members in traces.values()))[:-1]
        middle = min(ends, key=lambda end: abs(end - middle))
    return _cut(batch, order, middle)


def _cut(batch: SpanBatch, order: Sequence[int], middle: int) -> tuple[SpanBatch, SpanBatch]:
    first, last = (
        batch_of([batch.spans[number] for number in part], [batch.encoded[number] for number in part])
        for part in (order[:middle], order[middle:])
    )
    return first, last
