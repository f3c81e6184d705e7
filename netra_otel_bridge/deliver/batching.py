"""Batches: spans of many traces in one request, bounded by their number and by their encoded size.

gRPC servers take 4 MiB a message by default, so the size is known before sending rather than learnt from refusals.
"""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from netra_otel_bridge.deliver.sizes import resource_size_bytes, scope_size_bytes, span_size_bytes
from netra_otel_bridge.model import SpanBatch

__all__ = ["MAX_BYTES", "MAX_SPANS", "Batcher", "batch_of", "span_size_bytes"]

MAX_SPANS = 512
MAX_BYTES = 3_500_000
"""Below the 4 MiB (4,194,304 bytes) that gRPC servers take by default, with room for what a proxy adds."""


class Batcher:
    """Gathers spans until a batch is full.

    A batch's ``size_bytes`` counts its spans, and each resource and scope once; the encoded request is never larger.
    A span that is larger than ``max_bytes`` travels alone.
    """

    def __init__(self, max_spans: int = MAX_SPANS, max_bytes: int = MAX_BYTES) -> None:
        self._max_spans = max_spans
        self._max_bytes = max_bytes
        self._spans: list[ReadableSpan] = []
        self._size_bytes = 0
        self._seen: set[tuple[int, int | None]] = set()

    def add(self, span: ReadableSpan, size_bytes: int) -> SpanBatch | None:
        """Take a span of ``span_size_bytes(span)`` bytes; returns a batch when one is full.

        The batch holds the span if that filled it by number, and not if the span would not have fitted in.
        """
        full = None
        frame = span.resource, span.instrumentation_scope
        added = size_bytes + self._frame_bytes(*frame)
        if self._spans and self._size_bytes + added > self._max_bytes:
            full = self.flush()
            added = size_bytes + self._frame_bytes(*frame)
        self._spans.append(span)
        self._size_bytes += added
        if added > size_bytes:
            self._seen.add((id(frame[0]), None))
            self._seen.add((id(frame[0]), id(frame[1])))
        if full is None and (len(self._spans) >= self._max_spans or self._size_bytes >= self._max_bytes):
            return self.flush()
        return full

    def flush(self) -> SpanBatch | None:
        """The spans gathered so far, or ``None``."""
        if not self._spans:
            return None
        batch = SpanBatch(tuple(self._spans), self._size_bytes)
        self._spans = []
        self._size_bytes = 0
        self._seen = set()
        return batch

    def _frame_bytes(self, resource: Resource, scope: InstrumentationScope | None) -> int:
        """What a resource and a scope add to the batch; they are told apart by identity, which costs nothing."""
        if (id(resource), id(scope)) in self._seen:
            return 0
        size = scope_size_bytes(scope)
        return size if (id(resource), None) in self._seen else size + resource_size_bytes(resource)


def batch_of(spans: tuple[ReadableSpan, ...]) -> SpanBatch:
    """One batch of exactly these spans, whatever their size: what is left of one that was split."""
    batcher = Batcher(max_spans=len(spans) + 1, max_bytes=1 << 62)
    for span in spans:
        batcher.add(span, span_size_bytes(span))
    return batcher.flush() or SpanBatch((), 0)
