"""Batches for a `Sender`, of spans without an owner."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.deliver import Batch, Item, batch_items, encode_span


def item(span: ReadableSpan) -> Item[None]:
    """Return a span as a `Batcher` takes it."""
    return Item(span, encode_span(span), None)


def whole(spans: Sequence[ReadableSpan]) -> Batch[None]:
    """Return one batch of all these spans, as a `Sender` takes it."""
    return batch_items(map(item, spans))
