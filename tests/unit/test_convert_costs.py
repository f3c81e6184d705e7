"""Metered spans and their sums; no data of Netra makes them raise."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netra_otel_bridge.convert import SpanConverter, SpanCost, fields, hour_costs, is_metered, semconv, span_costs
from netra_otel_bridge.convert.attributes import attributes_of, read_container
from netra_otel_bridge.convert.costs import MAX_COST, MAX_TOKENS, METERED_KINDS
from netra_otel_bridge.core.model.netra import TraceSpan
from netra_otel_bridge.core.model.progress import HourCost
from tests.support.emulator import otlp_attributes

HOUR_NS = 3600 * 10**9
START_MS = 1_795_349_300_000
HOUR = START_MS * 10**6 // HOUR_NS * HOUR_NS
kinds = st.sampled_from(
    [None, "", "SPAN", "span", "GENERATION", "generation ", "EMBEDDING", "USAGE", "TOOL", "AGENT", "CLIENT", 3, "odd"]
)
words = st.sampled_from(
    ["GENERATION", "generation", "Embedding", "usage", "SPAN", "TOOL", "chat", "completion", "embeddings", "rerank", ""]
)
names = st.sampled_from(
    ["netra.span.type", "gen_ai.operation.name", "llm.request.type", "netra.usage", "input", "netra.usage.total_tokens"]
)
values = st.recursive(
    words | st.integers() | st.floats() | st.booleans() | st.none() | st.just('"netra.span.type": "GENERATION"'),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(names, values, max_size=4)
columns = st.one_of(
    st.none(),
    st.text(max_size=20),
    objects,
    objects.map(json.dumps),
    objects.map(lambda it: " " + json.dumps(it, separators=(",", ":"))),
    objects.map(lambda it: json.dumps(otlp_attributes(it))),
    objects.map(otlp_attributes),
)


def span(**columns: Any) -> TraceSpan:
    return TraceSpan(**({"id": "00000000000000aa", "trace_id": "1" * 32, "start_time_ms": str(START_MS)} | columns))


def reference(one: TraceSpan) -> bool:
    """Apply the rule itself, with all attributes decoded."""
    attributes = attributes_of(read_container(one.attributes)[0]) or {}
    kind = semconv.effective_kind(fields.span_kind(one.kind)[1], attributes)
    return kind in METERED_KINDS or bool(attributes.get("netra.usage"))


@given(kinds, columns)
@example("TOOL", '{"netra.usage": "[{}]"}')
@example("SPAN", '{"input": {"netra.span.type": "TOOL"}, "netra.span.type"  : "Usage"}')
@example(None, '[{"key": "netra.span.type", "value": {"stringValue": "GENERATION"}}]')
def test_what_is_not_decoded_would_not_have_decided(kind: Any, attributes: Any) -> None:
    """Looking at the text avoids decoding, and never changes the result."""
    one = span(kind=kind, attributes=attributes)
    assert is_metered(one) == reference(one)


def test_most_spans_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attributes are not decoded if the type decides, or if their text has no relevant name."""
    monkeypatch.setattr("netra_otel_bridge.convert.costs.read_container", lambda _: pytest.fail("decoded"))
    text = json.dumps({"netra.span.type": "SPAN", "input": "what is netra.usage?", "netra.usage.total_tokens": 3})
    metered = {kind: is_metered(span(kind=kind, attributes=text)) for kind in ("GENERATION", "TOOL", "SPAN", None, 3)}
    assert metered == {"GENERATION": True, "TOOL": False, "SPAN": False, None: False, 3: False}


counts = st.none() | st.integers() | st.floats() | st.integers(-(10**14), 10**14)


@given(
    st.lists(
        st.builds(
            span,
            kind=kinds, tenant_id=st.none() | st.text(max_size=3), attributes=columns, start_time_ms=st.none() | st.text(max_size=4) | counts,
            total_tokens=counts, prompt_tokens=counts, completion_tokens=counts, total_cost=counts,
        ),
        max_size=5,
    )
)  # fmt: skip
def test_whatever_netra_holds_adds_up(spans: list[TraceSpan]) -> None:
    """Nothing raises, every sum is finite, and every metered span of a tenant is one request."""
    found = span_costs(spans, SpanConverter("raw").convert_trace(None, spans))
    hours = hour_costs(found, ())
    assert sum(hour.requests for hour in hours) == sum(bool(one.tenant_id) and is_metered(one) for one in spans)
    assert all(type(hour.tokens) is int and math.isfinite(hour.cost) for hour in hours)
    assert all(hour.tenant_id and hour.hour_ns % HOUR_NS == 0 for hour in hours)
    assert len({(hour.tenant_id, hour.hour_ns) for hour in hours}) == len(hours)


@pytest.mark.parametrize(
    ("columns", "tokens", "cost"),
    [
        ({}, 0, 0.0),
        ({"total_tokens": 7, "prompt_tokens": 1, "total_cost": 0.25}, 7, 0.25),
        ({"total_tokens": 0, "prompt_tokens": 5}, 0, 0.0),
        ({"prompt_tokens": 2, "completion_tokens": 3.0, "total_cost": 1}, 5, 1.0),
        ({"completion_tokens": 3}, 3, 0.0),
        ({"total_tokens": MAX_TOKENS + 1, "total_cost": MAX_COST * 2}, 0, 0.0),
        ({"total_tokens": math.nan, "total_cost": math.nan}, 0, 0.0),
    ],
)
def test_what_one_span_adds(columns: dict[str, Any], tokens: int, cost: float) -> None:
    """Tokens are the total, else its parts; unknown or absurd values are 0."""
    one = span(kind="GENERATION", tenant_id="acme", **columns)
    assert span_costs([one], SpanConverter().convert_trace(None, [one])) == [SpanCost(0xAA, "acme", HOUR, tokens, cost)]


def test_sums_are_by_tenant_and_hour() -> None:
    """Spans that the destination does not have are left out."""
    spans = [
        SpanCost(1, "acme", HOUR, 5, 0.5),
        SpanCost(2, "globex", HOUR, 6, 0.25),
        SpanCost(3, "acme", HOUR, 7, 0.25),
        SpanCost(4, "acme", HOUR + HOUR_NS, 8, 1.0),
        SpanCost(5, "acme", HOUR + HOUR_NS, 9, 1.0),
    ]
    assert hour_costs(spans, {2, 5}) == (
        HourCost("acme", HOUR, 12, 2, 0.75),
        HourCost("acme", HOUR + HOUR_NS, 8, 1, 1.0),
    )
