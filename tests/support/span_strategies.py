"""Hypothesis strategies for spans with every field, and every value that OTLP can carry."""

from __future__ import annotations

from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common._internal import _encode_value
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TraceState

from tests.support.spans import RESOURCE, SCOPE, context, make_span

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20) | st.sampled_from(
    ["x" * n for n in (125, 127, 200, 17_000)]
)
keys = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
scalars = texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary(max_size=40)


def _encodes_none() -> bool:
    """Return whether the stock encoder accepts ``None`` in a list; before 1.42 it drops the whole attribute."""
    try:
        _encode_value((None,))
    except Exception:
        return False
    return True


members = st.none() if _encodes_none() else st.nothing()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner | members, max_size=4).map(tuple) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
attributes = st.dictionaries(keys, values, max_size=6)
times = st.integers(0, 2**64 - 1)
trace_ids = st.integers(1, 2**128 - 1)
span_ids = st.integers(1, 2**64 - 1)
states = st.none() | st.just(TraceState([("vendor", "a"), ("other", "b:1")]))
events = st.builds(Event, texts, attributes, times)
links = st.builds(
    lambda trace_id, span_id, remote, attributes: Link(context(trace_id, span_id, remote=remote), attributes),
    trace_ids, span_ids, st.booleans(), attributes,
)  # fmt: skip
statuses = st.builds(Status, st.just(StatusCode.ERROR), texts) | st.builds(Status, st.sampled_from(StatusCode))
resources = st.sampled_from(
    [RESOURCE, Resource({}), Resource({"service.name": "ü", "n": 3}, "https://opentelemetry.io/schemas/1.41.0")]
)
scopes = st.sampled_from(
    [SCOPE, None, InstrumentationScope("s"), InstrumentationScope("s", "1", "https://schema", {"a": 1})]
)


def _dropped(attributes: dict[str, object], dropped: int) -> BoundedAttributes:
    bounded = BoundedAttributes(attributes=dict.fromkeys(attributes, "v"))
    bounded.dropped = dropped
    return bounded


@st.composite
def spans(draw: st.DrawFn) -> ReadableSpan:
    """Draw a span. Resources and scopes are a few shared ones, as conversion makes them."""
    start_ns = draw(times)
    plain = draw(attributes)
    return make_span(
        draw(span_ids),
        trace_id=draw(trace_ids),
        parent=draw(st.none() | span_ids),
        remote_parent=draw(st.booleans()),
        name=draw(texts),
        kind=draw(st.sampled_from(SpanKind)),
        attributes=draw(st.just(plain) | st.integers(0, 300).map(lambda dropped: _dropped(plain, dropped))),
        events=draw(st.lists(events, max_size=3)),
        links=draw(st.lists(links, max_size=3)),
        status=draw(statuses),
        start_ns=start_ns,
        end_ns=draw(st.integers(start_ns, 2**64 - 1)),
        resource=draw(resources),
        scope=draw(scopes),
        state=draw(states),
    )
