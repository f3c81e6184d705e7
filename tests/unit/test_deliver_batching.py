"""Batches are bounded by number and by an encoded size that is computed and never too small."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.core.model.outcome import SpanBatch
from netra_otel_bridge.deliver import Batcher, Item, batch_of
from netra_otel_bridge.deliver.batching import halves_by_size, halves_by_trace
from tests.support.batches import item, whole
from tests.support.examples import examples
from tests.support.span_strategies import spans
from tests.support.spans import make_span


def gather(batcher: Batcher[None], members: list[ReadableSpan]) -> list[SpanBatch]:
    batches = [batch for span in members if (batch := batcher.add(item(span)))]
    last = batcher.flush()
    return [batch.request for batch in ([*batches, last] if last else batches)]


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(spans(), min_size=1, max_size=5))
def test_a_request_is_never_larger_than_its_batch_says(members: list[ReadableSpan]) -> None:
    """The bound includes resource and scope, holds, and exceeds the size by a few bytes for each span, resource and scope."""
    batch = batch_of(tuple(members))
    encoded = encode_spans(members).ByteSize()
    frames = len({id(s.resource) for s in members}) + len(
        {(id(s.resource), id(s.instrumentation_scope)) for s in members}
    )
    assert encoded <= batch.size_bytes
    distinct = {id(s.resource): s.resource for s in members}
    if len(set(distinct.values())) == len(distinct):
        assert batch.size_bytes <= encoded + 6 * len(members) + 32 * frames


@settings(deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(1, 7), st.integers(1, 6000))
def test_every_span_is_in_one_batch_in_order_and_within_the_limits(
    lengths: list[int], max_spans: int, max_bytes: int
) -> None:
    """No span is lost, duplicated or reordered; only a single span larger than the limit makes a larger batch."""
    members = [make_span(i + 1, attributes={"input": "x" * n}) for i, n in enumerate(lengths)]
    batches = gather(Batcher(max_spans, max_bytes), members)
    assert [span for batch in batches for span in batch.spans] == members
    for batch in batches:
        assert 1 <= len(batch.spans) <= max_spans
        assert batch.size_bytes <= max_bytes or len(batch.spans) == 1
        assert encode_spans(batch.spans).ByteSize() <= batch.size_bytes


def test_a_batch_is_given_out_as_soon_as_its_number_is_reached() -> None:
    """A batch includes the span that completes it, and does not wait for the next one."""
    batcher: Batcher[None] = Batcher(max_spans=2)
    assert batcher.add(Item(make_span(1), b"1", None)) is None
    full = batcher.add(Item(make_span(2), b"2", None))
    assert full is not None
    assert len(full.items) == len(full.request.spans) == 2
    assert batcher.flush() is None


def test_a_span_larger_than_the_limit_travels_alone() -> None:
    """Earlier spans go first in their own batch; without any, the large span is a batch at once."""
    large = make_span(2, attributes={"input": "x" * 5000})
    batcher: Batcher[None] = Batcher(max_bytes=2000)
    alone = batcher.add(item(large))
    assert alone is not None
    assert alone.request.spans == (large,)
    small = make_span(1)
    batcher.add(item(small))
    before = batcher.add(item(large))
    assert before is not None
    assert before.request.spans == (small,)
    last = batcher.flush()
    assert last is not None
    assert last.request.spans == (large,)


def test_a_limit_never_makes_batches_larger_than_at_first() -> None:
    """No limit changes nothing, the latest limit holds, and a limit that no server has is ignored."""
    members = [make_span(number, attributes={"input": "x" * 900}) for number in range(1, 41)]

    def largest(*limits: int | None) -> int:
        batcher: Batcher[None] = Batcher(max_bytes=20_000)
        for limit in limits:
            batcher.limit(limit)
        return max(batch.size_bytes for batch in gather(batcher, members))

    assert 19_000 < largest() <= 20_000
    assert largest(None) == largest(1_000_000) == largest()
    assert 7_000 < largest(8_000) <= 8_000
    assert 15_000 < largest(8_000, 16_000) <= 16_000
    assert largest(8_000, 1_000_000) == largest(8_000, None) == largest()
    assert 3_000 < largest(10) <= 4_096


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3000)), min_size=2, max_size=30))
def test_halves_hold_every_span_once_and_its_bytes(shapes: list[tuple[int, int]]) -> None:
    """Neither half is empty; halves by trace divide no trace if there is more than one."""
    members = [
        make_span(number, trace_id=trace, attributes={"input": "x" * length})
        for number, (trace, length) in enumerate(shapes, 1)
    ]
    batch = whole(members)
    for split in (halves_by_size(batch), halves_by_trace(batch)):
        assert all([one.span for one in half.items] == list(half.request.spans) for half in split)
        halves = [half.request for half in split]
        assert all(half.spans for half in halves)
        together = [span for half in halves for span in half.spans]
        assert sorted(map(id, together)) == sorted(map(id, members))
        assert all(half.encoded == batch_of(half.spans).encoded for half in halves)
        assert all(half.size_bytes == batch_of(half.spans).size_bytes for half in halves)
    first, last = ({span.context.trace_id for span in half.spans} for half in halves)
    assert len(first | last) == 1 or not first & last
