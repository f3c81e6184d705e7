"""A dead letter is a span as a line of OTLP JSON, and can be read back with every field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link
from opentelemetry.util.types import AttributeValue

from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.deliver import batch_of, dead_letter_of, encode_span, span_of
from netra_otel_bridge.deliver.otlp.encode import encode_request
from netra_otel_bridge.deliver.span_copy import RebuiltSpan
from tests.support.compare import differences, sent_by_id
from tests.support.examples import examples
from tests.support.span_strategies import attributes, events, links, spans
from tests.support.spans import context, make_span

counts = st.integers(0, 300)


def bounded(values: dict[str, Any], dropped: int) -> BoundedAttributes:
    kept: dict[str, AttributeValue] = dict.fromkeys(values, "v")
    made = BoundedAttributes(attributes=kept)
    made.dropped = dropped
    return made


@st.composite
def spans_that_dropped(draw: st.DrawFn) -> ReadableSpan:
    """Draw spans in which every count of dropped items may be set."""
    span = draw(spans())
    dropping = st.builds(bounded, attributes, counts)
    return RebuiltSpan(
        span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=draw(dropping | attributes),
        events=[
            *span.events,
            *draw(st.lists(st.builds(Event, st.just("e"), dropping, counts), max_size=2)),
            draw(events),
        ],
        links=[*draw(st.lists(st.builds(Link, st.just(context(1, 2)), dropping), max_size=2)), draw(links)],
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
        dropped_attributes=draw(counts),
        dropped_events=draw(counts),
        dropped_links=draw(counts),
    )


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spans() | spans_that_dropped())
def test_a_letter_read_back_is_the_span(span: ReadableSpan) -> None:
    """The span has every field and exactly the bytes that are sent; written again it is the same letter."""
    dead = dead_letter_of(span, "poisoned")
    again = span_of(dead)
    assert differences(sent_by_id([span]), sent_by_id([again])) == []
    if '"NaN"' not in dead.document:  # there are many NaNs, and JSON has one
        assert encode_span(again) == encode_span(span)
        assert encode_request([again], [encode_span(again)]) == encode_request([span], [encode_span(span)])
    assert dead_letter_of(again, "poisoned") == dead
    assert (dead.trace_id, dead.span_id) == (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}")
    assert (dead.reason, dead.is_span) == ("poisoned", True)
    assert "\n" not in dead.document


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spans() | spans_that_dropped())
def test_a_letter_holds_what_was_there_before_others_changed_the_span(span: ReadableSpan) -> None:
    """The letter has the bytes that were to be sent, whatever foreign code did to the span."""
    encoded = encode_span(span)
    whole = dead_letter_of(span, "no")
    assert dead_letter_of(span, "no", encoded) == whole
    span._context = span._attributes = span._status = None  # type: ignore[assignment]
    dead = dead_letter_of(span, "no", encoded)
    assert (dead.trace_id, dead.span_id) == (whole.trace_id, whole.span_id)
    again = span_of(dead)
    if '"NaN"' not in dead.document:  # there are many NaNs, and JSON has one
        assert encode_request([again], [encode_span(again)]) == encode_request([span], [encoded])


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(spans(), max_size=5))
def test_spans_of_letters_are_sent_as_the_spans_were(members: list[ReadableSpan]) -> None:
    """In one batch, equal resources count as one, for the stock encoder too."""
    again = [span_of(dead_letter_of(span, "no")) for span in members]
    assert str(encode_spans(again)) == str(encode_spans(members))
    assert len(encode_request(again, batch_of(again).encoded)) == len(
        encode_request(members, batch_of(members).encoded)
    )


def test_values_keep_their_types() -> None:
    """1, 1.0, True and "1", bytes, None, lists, maps and the limits of 64 bits keep their types and values."""
    values: dict[str, Any] = {
        "int": 1, "double": 1.0, "bool": True, "text": "1", "bytes": b"\x00\xff", "none": None, "empty": (), "map": {},
        "low": -(2**63), "high": 2**63 - 1, "zero": -0.0, "inf": float("-inf"), "list": (1, 1.0, True, ("x", {"k": b""})),
    }  # fmt: skip
    again = dict(span_of(dead_letter_of(make_span(1, attributes=values), "")).attributes or {})
    assert again == values
    assert {key: type(value) for key, value in again.items()} == {key: type(value) for key, value in values.items()}
    assert str(again["zero"]) == "-0.0"
    nan = make_span(1, attributes={"nan": float("nan")})
    assert encode_span(span_of(dead_letter_of(nan, ""))) == encode_span(nan)


def test_a_span_read_back_is_one_for_any_exporter() -> None:
    """The methods that exporters call on a span work too: the console prints the same JSON."""
    span = make_span(
        1,
        attributes={"input": "x", "n": (1, 2)},
        events=[Event("e", {"k": "v"}, 5)],
        links=[Link(context(1, 2), {"a": 1})],
    )
    assert json.loads(span_of(dead_letter_of(span, "no")).to_json()) == json.loads(span.to_json())


def test_a_resource_keeps_values_that_the_sdk_drops_and_counts_as_one() -> None:
    """Bytes and nested values of a resource come back, and two letters of it make one group in a request."""
    resource = Resource({"service.name": "a"}, "https://opentelemetry.io/schemas/1.41.0")
    first, second = (span_of(dead_letter_of(make_span(n, resource=resource), "no")) for n in (1, 2))
    assert first.resource == second.resource
    assert hash(first.resource) == hash(second.resource)
    assert first.resource.schema_url == resource.schema_url
    nested = json.loads(dead_letter_of(make_span(1), "no").document)
    nested["resourceSpans"][0]["resource"]["attributes"] = [
        {"key": "raw", "value": {"bytesValue": "/w=="}},
        {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": "1"}}]}}},
    ]
    read = span_of(DeadLetter("", "", "", json.dumps(nested)))
    assert dict(read.resource.attributes) == {"raw": b"\xff", "map": {"k": 1}}


@pytest.mark.parametrize(
    "document",
    [
        "",
        "not json",
        "[]",
        "{}",
        '{"resourceSpans":[]}',
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}',
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz","spanId":"1","kind":1}]}]}]}',
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"1","spanId":"1","kind":9}]}]}]}',
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"1","spanId":"1","kind":1,'
        '"attributes":[{"key":"k","value":{"newValue":1}}]}]}]}]}',
        '{"id":"an item of Netra"}',
    ],
)
def test_what_is_no_letter_of_a_span_is_said_to_be_none(document: str) -> None:
    """A damaged line, a value of unknown type, or an item from Netra is an error that names the letter."""
    with pytest.raises(ValueError, match=r"span ab of trace cd contains no span") as raised:
        span_of(DeadLetter("cd", "ab", "why", document))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 200
