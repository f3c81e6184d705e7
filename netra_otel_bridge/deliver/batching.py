"""Put spans of many traces into one request, bounded by their number and by their encoded size.

gRPC servers accept 4 MiB per message by default, so a batch is measured before it is sent, not split after rejection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from netra_otel_bridge.core.model.outcome import SpanBatch
from netra_otel_bridge.deliver.otlp.encode import (
    encode_resource,
    encode_scope,
    encode_span,
    ids_of,
)

MAX_SPANS = 512
MAX_BYTES = 3_500_000
"""Below the 4 MiB (4,194,304 bytes) that gRPC servers accept by default, with room for what a proxy adds."""
MIN_BYTES = 4096
"""No server rejects requests of this size for their size; a response that seems to say so is not trusted."""
CUT_BYTES = 1 << 16
"""No connection is cut for the size of a request unless the request is larger than this."""
CUTS = 3
"""Consecutive connection resets after which the request's size is blamed, provided empty requests are answered."""
_FRAME_BYTES = 6
"""A tag and the length of a message below 4 GiB."""
_NO_LIMIT = 1 << 62
Owner = TypeVar("Owner")


@dataclass(slots=True, eq=False)
class Item(Generic[Owner]):
    """A span to send, its OTLP protobuf (`encode_span`), and an object by which the caller finds its own records."""

    span: ReadableSpan
    encoded: bytes
    owner: Owner


@dataclass(frozen=True, slots=True, eq=False)
class Batch(Generic[Owner]):
    """Items that are sent in one request; ``request`` has their spans for the destination, in the same order."""

    items: tuple[Item[Owner], ...]
    request: SpanBatch


class Batcher(Generic[Owner]):
    """Gathers items until a batch is full.

    ``size_bytes`` of a request counts its spans, and each resource and scope once; the encoded request is never larger.
    A span that is larger than ``max_bytes`` is sent alone.
    """

    def __init__(self, max_spans: int = MAX_SPANS, max_bytes: int = MAX_BYTES) -> None:
        self._max_spans = max_spans
        self._most_bytes = self._max_bytes = max_bytes
        self._items: list[Item[Owner]] = []
        self._size_bytes = 0
        self._resource: Resource | None = None
        self._scope: InstrumentationScope | None = None
        self._seen: set[tuple[int, int | None]] = set()

    def limit(self, max_bytes: int | None) -> None:
        """Make later batches no larger than ``max_bytes`` (`Sender.limit_bytes`), and never larger than at first."""
        self._max_bytes = min(self._most_bytes, max(max_bytes or self._most_bytes, MIN_BYTES))

    def add(self, item: Item[Owner]) -> Batch[Owner] | None:
        """Add an item and return a batch when one is full.

        The batch includes the item if it filled the batch, but not if it no longer fitted.
        """
        full = None
        span = item.span
        resource, scope = span.resource, span.instrumentation_scope
        added = len(item.encoded) + _FRAME_BYTES
        if resource is not self._resource or scope is not self._scope:
            added += self._surroundings_bytes(resource, scope)
        if self._items and self._size_bytes + added > self._max_bytes:
            full = self.flush()
            added = len(item.encoded) + _FRAME_BYTES + self._surroundings_bytes(resource, scope)
        self._items.append(item)
        self._size_bytes += added
        if full is None and (len(self._items) >= self._max_spans or self._size_bytes >= self._max_bytes):
            return self.flush()
        return full

    @property
    def is_full(self) -> bool:
        """Return whether the items gathered so far fill a batch: the last one did not fit into the batch before it."""
        return self._size_bytes >= self._max_bytes

    def flush(self) -> Batch[Owner] | None:
        """Return the items gathered so far as a batch, or ``None`` if there are none."""
        items = self._items
        if not items:
            return None
        spans, encoded = tuple([item.span for item in items]), tuple([item.encoded for item in items])
        batch = Batch(tuple(items), SpanBatch(spans, encoded, self._size_bytes))
        self._items = []
        self._size_bytes = 0
        self._resource = self._scope = None
        self._seen = set()
        return batch

    def _surroundings_bytes(self, resource: Resource, scope: InstrumentationScope | None) -> int:
        """Return the bytes that a resource and a scope add to the batch, 0 if it has them.

        Comparing identity is cheap.
        """
        self._resource, self._scope = resource, scope
        key = (id(resource), id(scope))
        if key in self._seen:
            return 0
        self._seen.add(key)
        size = sum(map(len, encode_scope(scope))) + _FRAME_BYTES
        if (id(resource), None) not in self._seen:
            self._seen.add((id(resource), None))
            size += len(encode_resource(resource)) + len(resource.schema_url.encode()) + 2 * _FRAME_BYTES
        return size


def smaller_bytes(sent_bytes: int, limit_bytes: int | None) -> int:
    """Return the size to try after ``sent_bytes`` were too large: the limit that the destination named, else half.

    It stays 1/64 below the limit, for what a proxy adds. A limit of 0, or above the size that was sent, cannot be
    right, and is ignored.
    """
    if limit_bytes is not None and 0 < limit_bytes < sent_bytes:
        return limit_bytes - limit_bytes // 64
    return sent_bytes // 2


def batch_of(spans: Sequence[ReadableSpan]) -> SpanBatch:
    """Return one request with exactly these spans, whatever their size."""
    return batch_items(Item(span, encode_span(span), None) for span in spans).request


def batch_items(items: Iterable[Item[Owner]]) -> Batch[Owner]:
    """Return one batch with exactly these items, whatever their size."""
    batcher: Batcher[Owner] = Batcher(_NO_LIMIT, _NO_LIMIT)
    for item in items:
        batcher.add(item)
    return batcher.flush() or Batch((), SpanBatch((), (), 0))


def halves_by_size(batch: Batch[Owner]) -> tuple[Batch[Owner], Batch[Owner]]:
    """Split a batch of two or more items into two parts of about equal size."""
    sizes = [len(item.encoded) for item in batch.items]
    half = sum(sizes) / 2
    cut = next(number for number, end in enumerate(accumulate(sizes), 1) if end >= half)
    return _split(batch.items, min(cut, len(batch.items) - 1))


def halves_by_trace(batch: Batch[Owner]) -> tuple[Batch[Owner], Batch[Owner]]:
    """Split a batch of at least two items into parts with whole traces; a single trace is cut in the middle.

    The parts are as near to half of the items as their traces allow, and keep the order within a trace.
    """
    traces: dict[int, list[Item[Owner]]] = {}
    for item in batch.items:
        traces.setdefault(ids_of(item.encoded)[0], []).append(item)
    order = [item for members in traces.values() for item in members]
    middle = len(order) // 2
    if len(traces) > 1:
        ends = list(accumulate(len(members) for members in traces.values()))[:-1]
        middle = min(ends, key=lambda end: abs(end - middle))
    return _split(order, middle)


def parts_by_trace(batch: Batch[Owner]) -> list[Batch[Owner]]:
    """Return the halves of a batch, whole traces first; the batch itself if it has spans of one trace only."""
    if len({ids_of(item.encoded)[0] for item in batch.items}) == 1:
        return [batch]
    return list(halves_by_trace(batch))


def _split(items: Sequence[Item[Owner]], middle: int) -> tuple[Batch[Owner], Batch[Owner]]:
    return batch_items(items[:middle]), batch_items(items[middle:])
