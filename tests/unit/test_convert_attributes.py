"""Attributes, events, links and resources, in every form that ``docs/netra-api.md`` accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.convert.attributes import attributes_of
from netra_otel_bridge.core.model.netra import TraceSummary
from tests.support.converted import START_MS, START_NS, TRACE_ID, attributes, convert, netra_span

PLAIN = {"text": "ü", "yes": True, "no": False, "int": 7, "double": 0.5, "texts": ["a", "b"], "ints": [1, 2]}
OTLP = [
    {"key": "text", "value": {"stringValue": "ü"}},
    {"key": "yes", "value": {"boolValue": True}},
    {"key": "no", "value": {"bool_value": False}},
    {"key": "int", "value": {"intValue": "7"}},
    {"key": "double", "value": {"doubleValue": 0.5}},
    {"key": "texts", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"string_value": "b"}]}}},
    {"key": "ints", "value": {"array_value": {"values": [{"intValue": 1}, {"int_value": "2"}]}}},
]
EXPECTED = {**PLAIN, "texts": ("a", "b"), "ints": (1, 2)}


@pytest.mark.parametrize(
    "given", [PLAIN, OTLP, json.dumps(PLAIN), json.dumps(OTLP)], ids=["object", "otlp", "str", "otlp-str"]
)
def test_an_object_or_otlp_decoded_or_as_text_is_the_same(given: Any) -> None:
    """All four forms of the column give equal attributes, types included; profile raw adds none."""
    found = attributes(convert("raw", attributes=given))
    assert found == EXPECTED
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in EXPECTED.items()}


@pytest.mark.parametrize("given", [None, "", "null", {}, [], "{}", "[]"])
def test_nothing_is_nothing(given: Any) -> None:
    """Absent and empty columns are not errors."""
    span = convert("raw", attributes=given, events=given, links=given, resources=given, metadata=given)
    assert attributes(span) == {}
    assert not span.events
    assert not span.links
    assert dict(span.resource.attributes) == {}


def test_none_is_dropped_and_zero_is_not() -> None:
    """``None`` is not a value; ``0``, ``False`` and ``""`` are."""
    assert attributes_of({"none": None, "zero": 0, "false": False, "empty": "", "list": []}) == {
        "zero": 0, "false": False, "empty": "", "list": (),
    }  # fmt: skip
    assert attributes_of([{"key": "none", "value": {}}, {"key": "zero", "value": {"intValue": "0"}}]) == {"zero": 0}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": {"b": None}}, '{"a":{"b":null}}'),
        ({}, "{}"),
        (["a", 1], '["a",1]'),
        ([["a"], []], '[["a"],[]]'),
        (["a", None], '["a",null]'),
        ([True, 1], "[true,1]"),
        ({"ü": "\ud800"}, '{"ü":"\\\\ud800"}'),
        (2**63, "9223372036854775808"),
        (-(2**63) - 1, "-9223372036854775809"),
        ([2**63], "[9223372036854775808]"),
        ([0.5, 2**53 + 1], "[0.5,9007199254740993]"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_has_no_attribute_type_becomes_text(value: Any, expected: str) -> None:
    """Nested and mixed values become JSON text; integers beyond 64 bits and lone surrogates become text."""
    assert attributes(convert("raw", attributes={"k": value})) == {"k": expected}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        ([1, 0.5], (1.0, 0.5)),
        ([True, False], (True, False)),
        ([], ()),
        ("a\x00b", "a\x00b"),
        (1e300, 1e300),
    ],
)
def test_what_has_an_attribute_type_keeps_it(value: Any, expected: Any) -> None:
    """The bounds of 64 bits, lists of one type, and NUL are kept."""
    found = attributes(convert("raw", attributes=json.dumps({"k": value})))["k"]
    assert found == expected
    assert type(found) is type(expected)


def test_integers_of_any_length_keep_their_digits() -> None:
    """10^5 digits are preserved, decoded or in text, alone, in a list or as an OTLP double."""
    digits = "1" + "0" * 100_000
    big = 10**100_000
    assert attributes(convert("raw", attributes={"k": big})) == {"k": digits}
    assert attributes(convert("raw", attributes=f'{{"k": {digits}}}')) == {"k": digits}
    assert attributes(convert("raw", attributes={"k": [big, "x"]})) == {"k": f'[{digits},"x"]'}
    assert attributes(convert("raw", attributes=[{"key": "k", "value": {"doubleValue": big}}])) == {"k": digits}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"bytesValue": "AP8="}, b"\x00\xff"),
        ({"bytesValue": "AP8"}, b"\x00\xff"),
        ({"bytesValue": "-_8="}, b"\xfb\xff"),
        ({"bytesValue": "not base64!"}, "not base64!"),
        ({"bytesValue": 3}, 3),
        ({"doubleValue": 3}, 3.0),
        ({"doubleValue": "0.5"}, 0.5),
        ({"doubleValue": "Infinity"}, "Infinity"),
        ({"doubleValue": "-Infinity"}, "-Infinity"),
        ({"doubleValue": "much"}, "much"),
        ({"doubleValue": True}, True),
        ({"doubleValue": {"a": 1}}, '{"a":1}'),
        ({"intValue": -3}, -3),
        ({"intValue": "-9223372036854775808"}, -(2**63)),
        ({"intValue": "9223372036854775808"}, "9223372036854775808"),
        ({"intValue": "1_000"}, "1_000"),
        ({"intValue": "many"}, "many"),
        ({"intValue": 1.5}, 1.5),
        ({"boolValue": "yes"}, "yes"),
        ({"boolValue": {"a": None}}, '{"a":null}'),
        ({"boolValue": 10**30}, "1" + "0" * 30),
        ({"stringValue": 4}, 4),
        ({"arrayValue": {}}, ()),
        ({"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}, {"bytesValue": "AA=="}]}}, ("a", 1, b"\x00")),
        ({"arrayValue": {"values": [{"stringValue": "a"}, {}]}}, '["a",null]'),
        ({"arrayValue": "a"}, '{"arrayValue":"a"}'),
        ({"kvlistValue": {}}, {}),
        ({"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}, {"key": "b"}]}}, {"a": 1}),
        ({"kvlistValue": {"values": [1]}}, '{"kvlistValue":{"values":[1]}}'),
        ({"kvlistValue": {"values": [{"value": 1}]}}, '{"kvlistValue":{"values":[{"value":1}]}}'),
        ({"futureValue": 1}, '{"futureValue":1}'),
        ("bare", "bare"),
        (7, 7),
    ],
)  # fmt: skip
def test_otlp_values_are_kept_to_the_letter_and_what_is_none_as_it_stands(value: Any, expected: Any) -> None:
    """Each ``AnyValue`` keeps its type; a value that is not an ``AnyValue`` is kept."""
    found = attributes_of([{"key": "k", "value": value}])
    assert found == {"k": expected}
    assert type(found["k"]) is type(expected)


def test_otlp_keys_that_are_no_text_become_text() -> None:
    """A key of another type is written as JSON."""
    assert attributes_of([{"key": 7, "value": {"intValue": "1"}}, {"key": None, "value": "x"}]) == {"7": 1, "null": "x"}


@pytest.mark.parametrize(
    "column", ["{broken", "not json", "42", '"text"', "[1, 2]", '[{"value": {"intValue": "1"}}]', [["key", "k"]]]
)
def test_a_column_that_is_neither_form_is_kept_whole_and_marked(column: Any) -> None:
    """Broken JSON does not drop a span: the text is kept, noted and counted."""
    converter = SpanConverter("raw")
    span = converter.convert(netra_span(attributes=column, metadata=column))
    kept = attributes(span)["netra.bridge.original.attributes"]
    assert kept == column if isinstance(column, str) else json.loads(kept) == column
    assert attributes(span)["netra.bridge.notes"] == ("attributes_unreadable",)
    assert converter.counts["attributes_unreadable"] == 1
    assert attributes(convert("genai", metadata=column))["netra.bridge.notes"] == ("metadata_unreadable",)


def test_recorded_notes_are_not_overwritten() -> None:
    """A span that went through a bridge before keeps the notes of that bridge."""
    recorded = {"netra.bridge.notes": ["span_id_derived"], "netra.bridge.original.span_id": "first"}
    found = attributes(convert("genai", id="second", attributes=recorded))
    assert found["netra.bridge.notes"] == ("span_id_derived",)
    assert found["netra.bridge.original.span_id"] == "first"


@pytest.mark.parametrize(
    "time",
    [
        {"time_unix_nano": str(START_NS)},
        {"timeUnixNano": str(START_NS)},
        {"timeUnixNano": START_NS},
        {"timestamp": START_MS},
        {"time": "2025-11-16T00:00:00.000123456Z"},
        {"timestamp": START_NS},
        {"time_unix_nano": "2025-11-16 00:00:00.000123456"},
    ],
    ids=str,
)
@pytest.mark.parametrize("form", [OTLP, PLAIN, json.dumps(PLAIN)], ids=["otlp", "object", "str"])
@pytest.mark.parametrize("text", [False, True])
def test_events_in_either_spelling_with_attributes_in_any_form(time: dict[str, Any], form: Any, text: bool) -> None:
    """Events in snake or camel case, with OTLP or flat attributes and any form of time, as text or decoded."""
    events = [{"name": "chunk", **time, "attributes": form}, {"name": "bare", **time}]
    span = convert("raw", start_time_ms="0", events=json.dumps(events) if text else events)
    assert [(event.name, event.timestamp) for event in span.events] == [("chunk", START_NS), ("bare", START_NS)]
    assert dict(span.events[0].attributes or {}) == EXPECTED
    assert attributes(span) == {}


def test_an_event_without_a_time_gets_its_spans_start() -> None:
    """An event without a time gets the start of its span, without a note."""
    (event,) = convert("raw", events=[{"name": "e"}]).events
    assert event.timestamp == START_NS
    assert attributes(convert("raw", events=[{"name": "e"}])) == {}


@pytest.mark.parametrize(
    ("events", "left"),
    [
        ("{broken", 0),
        ("[1]", 0),
        ([{"name": "e"}, 7], 1),
        ([{"name": "e", "attributes": "{broken"}], 0),
        ([{"name": "e", "time": "noon"}], 1),
        ([{"name": "e", "timeUnixNano": -1}], 1),
        ([{"name": "e", "timeUnixNano": str(2**70)}], 1),
    ],
)
def test_events_that_cannot_be_read_are_kept_as_text(events: Any, left: int) -> None:
    """Readable events are kept; the whole column is kept beside them and noted."""
    span = convert("raw", events=events)
    assert len(span.events) == left
    kept = attributes(span)["netra.bridge.original.events"]
    assert kept == events if isinstance(events, str) else json.loads(kept) == events
    assert attributes(span)["netra.bridge.notes"] == ("events_unreadable",)


@pytest.mark.parametrize(
    "link",
    [
        {"trace_id": TRACE_ID, "span_id": "00f067aa0ba902b7"},
        {"traceId": TRACE_ID.upper(), "spanId": "00F067AA0BA902B7"},
        {"context": {"trace_id": f"0x{TRACE_ID}", "span_id": "0x00f067aa0ba902b7"}},
        {"context": {"traceId": TRACE_ID, "spanId": "00f067aa0ba902b7"}},
    ],
    ids=["snake", "camel", "context", "context-camel"],
)
@pytest.mark.parametrize("form", [OTLP, PLAIN], ids=["otlp", "object"])
def test_links_in_either_spelling_with_attributes_in_either_form(link: dict[str, Any], form: Any) -> None:
    """Links keep their ids and attributes."""
    for links in ([{**link, "attributes": form}], json.dumps([{**link, "attributes": form}])):
        span = convert("raw", links=links)
        (found,) = span.links
        assert found.context.trace_id == int(TRACE_ID, 16)
        assert found.context.span_id == 0x00F067AA0BA902B7
        assert dict(found.attributes or {}) == EXPECTED
        assert attributes(span) == {}


@pytest.mark.parametrize(
    "bad", [7, {}, {"trace_id": TRACE_ID}, {"trace_id": 7, "span_id": "s"}, {"trace_id": TRACE_ID, "span_id": "0" * 16}]
)  # fmt: skip
def test_a_link_without_an_id_is_dropped_and_counted(bad: Any) -> None:
    """A link to nothing is dropped; the others stay, and the column is kept as text."""
    good = {"trace_id": TRACE_ID, "span_id": "00f067aa0ba902b7"}
    converter = SpanConverter("raw")
    span = converter.convert(netra_span(links=[bad, good]))
    assert len(span.links) == 1
    assert converter.counts["links_dropped"] == 1
    assert json.loads(attributes(span)["netra.bridge.original.links"]) == [bad, good]


@pytest.mark.parametrize(
    "given", [PLAIN, OTLP, json.dumps(PLAIN), json.dumps(OTLP)], ids=["object", "otlp", "str", "otlp-str"]
)
def test_resources_in_every_form_are_as_recorded(given: Any) -> None:
    """The resource has the same four forms, and profile raw adds nothing to it."""
    assert dict(convert("raw", resources=given).resource.attributes) == EXPECTED


def test_one_resource_for_each_distinct_content() -> None:
    """Spans of one resource share one object."""
    converter = SpanConverter()
    one, same, other = (
        converter.convert(netra_span(resources=json.dumps({"service.name": name}))).resource for name in ("a", "a", "b")
    )
    assert one is same
    assert one is not other
    assert one != other
    assert hash(one) == hash(same)


def test_a_resource_that_cannot_be_read_is_kept_and_counted() -> None:
    """An unreadable text is kept on the resource."""
    converter = SpanConverter("raw")
    resource = converter.convert(netra_span(resources="{broken")).resource
    assert dict(resource.attributes) == {"netra.bridge.original.resources": "{broken"}
    assert converter.counts["resources_unreadable"] == 1


def test_the_service_is_as_recorded_else_the_traces_else_netra() -> None:
    """Without a service name, ``service.name`` is ``netra``."""
    trace = TraceSummary(id=TRACE_ID, service="shop")
    named = {"service.name": "own"}
    assert convert(resources=named, trace=trace).resource.attributes["service.name"] == "own"
    assert convert(trace=trace).resource.attributes["service.name"] == "shop"
    assert convert().resource.attributes["service.name"] == "netra"
    assert "service.name" not in convert("raw", trace=trace).resource.attributes


def test_columns_of_the_resource() -> None:
    """Organization, project and environment are added; recorded values are neither moved nor overwritten."""
    columns = {"organisation_id": "org", "project_id": "proj", "environment": "prod"}
    recorded = {"deployment.environment": "old", "service.name": "s"}
    assert dict(convert("genai", resources=recorded, **columns).resource.attributes) == {
        **recorded,
        "netra.organisation.id": "org",
        "netra.project.id": "proj",
        "deployment.environment.name": "prod",
    }
    given = {"deployment.environment.name": "mine", "netra.project.id": "mine", "openinference.project.name": "mine"}
    kept = convert("both", resources=given, **columns).resource.attributes
    assert {key: kept[key] for key in given} == given
    assert convert("openinference", **columns).resource.attributes["openinference.project.name"] == "proj"
    assert dict(convert("raw", resources=recorded, **columns).resource.attributes) == recorded


def test_the_scope_is_the_instrumentation_that_was_recorded() -> None:
    """The scope is ``netra.instrumentation.NAME`` if recorded, else ``netra``, with ``library.version``."""
    scope = convert(
        attributes={"netra.instrumentation.name": "openai", "library.version": "1.2.2"}
    ).instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("netra.instrumentation.openai", "1.2.2")
    bare = convert(attributes={"netra.instrumentation.name": 7}).instrumentation_scope
    assert bare is not None
    assert (bare.name, bare.version) == ("netra", None)


def test_the_name_is_unchanged() -> None:
    """Only a lone surrogate, which UTF-8 cannot encode, becomes its escape."""
    assert convert("raw", name=" odd\x00 ü ").name == " odd\x00 ü "
    assert convert("raw", name="a\ud800").name == "a\\ud800"
    assert convert("raw", name=None).name == ""
