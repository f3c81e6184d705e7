"""Support for tests of readers: spans of every kind, and the proof that each came back, apart from the engine's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.convert.spans import Profile
from netra_otel_bridge.core.model.netra import TraceSpan
from netra_otel_bridge.core.model.outcome import Delivered
from netra_otel_bridge.deliver import batch_of, encode_span, open_destination
from netra_otel_bridge.deliver.otlp.encode import encode_request
from netra_otel_bridge.emulator.sample_traffic import Traffic
from netra_otel_bridge.emulator.store import Store
from netra_otel_bridge.readback.reader import AddsAttributes, StoreForm, TakesValuesAsEqual, TraceReader
from netra_otel_bridge.source.schema import decode_span
from tests.support import llm_cases
from tests.support.converted import recorded_spans
from tests.support.replays import DAY_NS, MANY, own_spans

_BATCH_BYTES, _BATCH_SPANS = 2_000_000, 1000
Ids = tuple[bytes, bytes]


def corpus(profile: Profile, now_ns: int, *, many: int = MANY) -> list[ReadableSpan]:
    """Return `own_spans`, and what the bridge sends of the recording of netra-sdk, of calls to models, and of samples.

    One trace of `own_spans` has ``many`` spans.
    """
    converter = SpanConverter(profile)
    held = [*recorded_spans(), *(span for name in llm_cases.RECORDINGS for span in llm_cases.spans(name))]
    held += _sample_traffic(now_ns)
    spans: dict[Ids, ReadableSpan] = {}
    own = own_spans(now_ns)
    for span in [*own[: len(own) - MANY + many], *(converter.convert(one, None) for one in held)]:
        spans.setdefault(ids_of(span), span)
    return list(spans.values())


def _sample_traffic(now_ns: int) -> list[TraceSpan]:
    store = Store()
    traffic = Traffic(seed=14, traces=60, spans_per_trace=10, end_ns=now_ns, range_ns=DAY_NS)
    store.add_recipes(traffic.recipes(), traffic.locate)
    rows = (row for trace in store.starting_in(0, 2**63) for row in store.rows(trace))
    return [span for span in (decode_span(row.body) for row in rows) if span is not None]


async def send(to: str, spans: Sequence[ReadableSpan]) -> None:
    """Send spans in batches that every receiver accepts, those of a trace after each other."""
    destination = open_destination(to)
    for batch in _batches(sorted(spans, key=ids_of)):
        assert await destination.send(batch_of(batch)) == Delivered()
    await destination.aclose()


def _batches(spans: Iterable[ReadableSpan]) -> Iterator[list[ReadableSpan]]:
    batch: list[ReadableSpan] = []
    size = 0
    for span in spans:
        size += len(encode_span(span))
        if batch and (size > _BATCH_BYTES or len(batch) >= _BATCH_SPANS):
            yield batch
            batch, size = [], len(encode_span(span))
        batch.append(span)
    yield batch


def ids_of(span: ReadableSpan) -> Ids:
    """Return its trace id and span id."""
    context = span.get_span_context()
    assert context is not None
    return context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")


def has_bytes(span: ReadableSpan) -> bool:
    """Return whether an attribute is bytes, or has bytes in it."""
    return any(map(_has_bytes, (span.attributes or {}).values()))


def _has_bytes(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_bytes, value.values()))
    return isinstance(value, bytes) or (isinstance(value, tuple | list) and any(map(_has_bytes, value)))


def alone(data: TracesData) -> list[tuple[Ids, ResourceSpans]]:
    """Return each span of a ``TracesData`` in a ``ResourceSpans`` of its own."""
    found = []
    for resource_spans in data.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                one = ResourceSpans(resource=resource_spans.resource, schema_url=resource_spans.schema_url)
                one.scope_spans.add(scope=scope_spans.scope, schema_url=scope_spans.schema_url, spans=[span])
                found.append(((span.trace_id, span.span_id), one))
    return found


async def returned(
    reader: TraceReader, spans: Iterable[ReadableSpan], *, within_s: float = 10.0
) -> dict[Ids, ResourceSpans]:
    """Return what a store has of the traces of ``spans``, restored; each span must come once.

    A trace that lacks a span is read again for ``within_s`` seconds: Tempo and Phoenix show it a while after their OK.
    """
    wanted: dict[bytes, set[Ids]] = {}
    for span in spans:
        wanted.setdefault(ids_of(span)[0], set()).add(ids_of(span))
    found: dict[Ids, ResourceSpans] = {}
    until = time.monotonic() + within_s
    for trace_id, ids in sorted(wanted.items()):
        while True:
            data = TracesData.FromString(await reader.read(trace_id.hex(), 0))
            reader.form.restore(data)
            listed = alone(data)
            if ids <= dict(listed).keys() or time.monotonic() > until:
                break
            await asyncio.sleep(0.2)
        assert len(dict(listed)) == len(listed), "a span came twice"
        found |= dict(listed)
    return found


def unproved(spans: Iterable[ReadableSpan], found: dict[Ids, ResourceSpans]) -> list[Ids]:
    """Return the spans whose bytes or carrier are not those that were sent; checksums do not count flags of spans."""
    return [
        ids
        for ids, span in ((ids_of(span), span) for span in spans)
        if ids not in found
        or _without_flags(found[ids].scope_spans[0].spans[0]) != _without_flags(Span.FromString(encode_span(span)))
        or _carrier(found[ids]) != _carrier(_sent(span))
    ]


def _without_flags(span: Span) -> bytes:
    same = Span()
    same.CopyFrom(span)
    same.flags = 0
    return same.SerializeToString()


def different(form: StoreForm, spans: Iterable[ReadableSpan], found: dict[Ids, ResourceSpans]) -> dict[Ids, list[str]]:
    """Return the lines that differ between what was sent and what was returned, both reduced, for spans that differ."""
    lines: dict[Ids, list[str]] = {}
    for span in spans:
        ids = ids_of(span)
        sent, there = _sent(span), found.get(ids)
        if there is None:
            lines[ids] = ["missing"]
            continue
        form.reduce(sent, sent.scope_spans[0].spans[0])
        form.reduce(there, there.scope_spans[0].spans[0])
        if isinstance(form, AddsAttributes):
            _remove_added(form, sent.scope_spans[0].spans[0], there.scope_spans[0].spans[0])
        if isinstance(form, TakesValuesAsEqual):
            for one, other in zip(_attribute_lists(sent), _attribute_lists(there), strict=False):
                _set_equal(form, one, other)
        before, after = _lines(sent), _lines(there)
        if before != after:
            lines[ids] = sorted(f"- {line}" for line in set(before) - set(after))
            lines[ids] += sorted(f"+ {line}" for line in set(after) - set(before))
    return lines


def _remove_added(form: AddsAttributes, sent: Span, there: Span) -> None:
    known = {one.key for one in sent.attributes}
    kept = [one for one in there.attributes if one.key in known or not form.adds(one.key)]
    del there.attributes[:]
    there.attributes.extend(kept)


def _attribute_lists(one: ResourceSpans) -> Iterator[Iterable[KeyValue]]:
    (scope_spans,) = one.scope_spans
    (span,) = scope_spans.spans
    yield from (one.resource.attributes, scope_spans.scope.attributes, span.attributes)
    yield from (link.attributes for link in span.links)
    yield from (event.attributes for event in span.events)


def _set_equal(form: TakesValuesAsEqual, sent: Iterable[KeyValue], there: Iterable[KeyValue]) -> None:
    known = {one.key: one.value for one in sent}
    for one in there:
        if one.key in known and form.same(known[one.key], one.value):
            one.value.CopyFrom(known[one.key])


def _sent(span: ReadableSpan) -> ResourceSpans:
    ((_, one),) = alone(TracesData.FromString(encode_request([span], [encode_span(span)])))
    return one


def _carrier(one: ResourceSpans) -> list[str]:
    return [line for line in _lines(one) if not line.startswith("span")]


def _lines(one: ResourceSpans) -> list[str]:
    """Return a line for each field; attributes are sorted."""
    scope_spans = one.scope_spans[0]
    span = Span()
    span.CopyFrom(scope_spans.spans[0])
    attributes = [f"span attribute {one.key}: {one.value}" for one in span.attributes]
    del span.attributes[:]
    return sorted(
        [
            *(f"resource {one.key}: {one.value}" for one in one.resource.attributes),
            f"resource schema {one.schema_url}",
            f"scope {scope_spans.scope.name} {scope_spans.scope.version} {scope_spans.schema_url}",
            *(f"scope {one.key}: {one.value}" for one in scope_spans.scope.attributes),
            *attributes,
            *(f"span event {event}" for event in span.events),
            f"span {span}",
        ]
    )
