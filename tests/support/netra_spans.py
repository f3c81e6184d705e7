"""Hypothesis strategies for what an application can record and Netra can hold: traces whose parents fit."""

from __future__ import annotations

from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from netra_otel_bridge.convert.fields import LONGEST_NS, MAX_NS
from netra_otel_bridge.convert.resources import SharedResource
from tests.support.span_strategies import keys, scalars, span_ids, texts, trace_ids
from tests.support.spans import context, make_span

times = st.integers(10**9, 9 * 10**18)
types = st.sampled_from(["SPAN", "GENERATION", "TOOL", "EMBEDDING", "AGENT", "USAGE", "other"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
attributes = st.dictionaries(keys, values, max_size=6)
well_known = st.fixed_dictionaries(
    {},
    optional={
        "netra.span.type": types,
        "netra.session_id": texts,
        "netra.tenant_id": texts,
        "llm.request.type": st.sampled_from(["chat", "embedding", "rerank"]),
        "gen_ai.request.model": st.sampled_from(["gpt-4o", "unknown-model"]),
        "gen_ai.usage.prompt_tokens": st.integers(0, 10**9),
        "input": texts,
    },
)


@st.composite
def _span(draw: st.DrawFn, trace_id: int, span_id: int, parents: list[int], resource: Resource) -> ReadableSpan:
    start_ns = draw(times)
    return make_span(
        span_id,
        trace_id=trace_id,
        parent=draw(st.none() | st.sampled_from(parents) | span_ids.filter(lambda other: other != span_id)),
        name=draw(texts),
        kind=draw(st.sampled_from(SpanKind)),
        attributes=draw(attributes) | draw(well_known),
        events=draw(st.lists(st.builds(Event, texts, attributes, times), max_size=3)),
        links=draw(st.lists(st.builds(Link, st.builds(context, trace_ids, span_ids), attributes), max_size=2)),
        status=draw(
            st.builds(Status, st.just(StatusCode.ERROR), texts) | st.builds(Status, st.sampled_from(StatusCode))
        ),
        start_ns=start_ns,
        end_ns=draw(st.integers(start_ns, min(start_ns + LONGEST_NS, MAX_NS))),
        resource=resource,
    )


@st.composite
def recordable_spans(draw: st.DrawFn) -> list[ReadableSpan]:
    """Draw the spans of one to three traces."""
    spans: list[ReadableSpan] = []
    taken: set[int] = set()
    for trace_id in draw(st.lists(trace_ids, min_size=1, max_size=3, unique=True)):
        ids = draw(st.lists(span_ids.filter(lambda one: one not in taken), min_size=1, max_size=4, unique=True))
        taken.update(ids)
        resource = SharedResource(draw(attributes))
        for number, span_id in enumerate(ids):
            parents = ids[:number] or [None]
            spans.append(draw(_span(trace_id, span_id, parents, resource)))
    return spans
