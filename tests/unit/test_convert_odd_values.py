"""NaN, the infinities and repeated keys, wherever they are recorded: text outside raw, and always noted."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from netra_otel_bridge.convert import Privacy, SpanConverter
from netra_otel_bridge.convert.spans import Profile
from netra_otel_bridge.core.attribute_names import NOTES
from tests.support.converted import TRACE_ID, attributes, convert, netra_span

NAN, INFINITY = {"doubleValue": "NaN"}, {"double_value": "-Infinity"}
ENRICHED: tuple[Profile, ...] = ("genai", "openinference", "both")


def otlp(value: Any, key: str = "k") -> list[dict[str, Any]]:
    return [{"key": key, "value": value}, {"key": "other", "value": {"stringValue": "ok"}}]


SHAPES: dict[str, tuple[Any, Any, Any]] = {
    "object": ({"k": math.nan}, "NaN", math.nan),
    "text": ('{"k": NaN}', "NaN", math.nan),
    "infinity": ('{"k": -Infinity}', "-Infinity", -math.inf),
    "beyond a double": ('{"k": 1e999}', "Infinity", math.inf),
    "list": ('{"k": [0.5, NaN, 2]}', ("0.5", "NaN", "2.0"), (0.5, math.nan, 2.0)),
    "list of floats": ({"k": [math.inf, 1e300]}, ("Infinity", "1e+300"), (math.inf, 1e300)),
    "otlp": (otlp(NAN), "NaN", math.nan),
    "otlp list": (
        otlp({"arrayValue": {"values": [{"doubleValue": 0.5}, {"intValue": "3"}, NAN]}}),
        ("0.5", "3", "NaN"),
        (0.5, 3, math.nan),
    ),
    "otlp mixed list": (
        otlp({"arrayValue": {"values": [{"stringValue": "a"}, {"boolValue": True}, INFINITY]}}),
        ("a", True, "-Infinity"),
        ("a", True, -math.inf),
    ),
    "otlp nested": (
        otlp({"kvlistValue": {"values": [{"key": "a", "value": {"arrayValue": {"values": [NAN]}}}]}}),
        {"a": ("NaN",)},
        {"a": (math.nan,)},
    ),
    "nested object": ('{"k": {"a": [NaN, "x"]}}', '{"a":["NaN","x"]}', '{"a":["NaN","x"]}'),
    "mixed list": ('{"k": ["x", Infinity]}', '["x","Infinity"]', '["x","Infinity"]'),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("profile", ENRICHED)
def test_outside_raw_it_is_text_that_any_consumer_shows(shape: str, profile: Profile) -> None:
    """NaN and the infinities become their names; a list of numbers with one of them becomes a list of texts."""
    given, expected, _ = SHAPES[shape]
    converter = SpanConverter(profile)
    found = attributes(converter.convert(netra_span(attributes=given)))
    assert found["k"] == expected
    assert found[NOTES] == ("not_finite:k",)
    assert converter.counts["not_finite"] == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_in_raw_it_stays_and_is_noted(shape: str) -> None:
    """Profile raw keeps the number and its type, and says that it is there."""
    given, _, expected = SHAPES[shape]
    found = attributes(convert("raw", attributes=given))
    assert repr(found["k"]) == repr(expected)
    assert found[NOTES] == ("not_finite:k",)


@pytest.mark.parametrize("given", ['{"NaN": "NaN", "k": ["NaN", "Infinity"], "n": {"NaN": "-Infinity"}, "x": 0.5}'])
def test_a_recorded_text_is_no_number(given: str) -> None:
    """Texts that read like these numbers are neither changed nor noted."""
    for profile in ("raw", "openinference"):
        assert NOTES not in attributes(convert(profile, attributes=given))


@pytest.mark.parametrize("form", [{"k": math.nan}, otlp(NAN), '{"k": NaN}'], ids=["object", "otlp", "text"])
def test_events_links_and_metadata_are_covered(form: Any) -> None:
    """A value of an event, a link or the metadata is text outside raw, and the note says where it is."""
    columns: dict[str, Any] = {
        "events": [{"name": "e", "attributes": form}],
        "links": [{"trace_id": TRACE_ID, "span_id": "1" * 16, "attributes": form}],
        "metadata": form,
    }
    span = convert("genai", **columns)
    assert (span.events[0].attributes or {})["k"] == (span.links[0].attributes or {})["k"] == "NaN"
    assert attributes(span)["netra.metadata.k"] == "NaN"
    assert set(attributes(span)[NOTES]) == {"not_finite:events.k", "not_finite:links.k", "not_finite:metadata.k"}
    raw = convert("raw", **columns)
    assert math.isnan((raw.events[0].attributes or {})["k"])  # type: ignore[arg-type]  # a float
    assert set(attributes(raw)[NOTES]) == {"not_finite:events.k", "not_finite:links.k"}


def test_a_resource_carries_its_own_note() -> None:
    """A resource is shared by spans, so its note is among its own attributes, and counted once."""
    converter = SpanConverter("genai")
    for _ in range(2):
        resource = converter.convert(netra_span(resources='{"ratio": NaN, "team": "a"}')).resource
    assert resource.attributes["ratio"] == "NaN"
    assert resource.attributes[NOTES] == ("not_finite:ratio",)
    assert converter.counts["not_finite"] == 1
    raw = dict(convert("raw", resources='{"ratio": NaN}').resource.attributes)
    assert math.isnan(raw["ratio"])  # type: ignore[arg-type]  # a float
    assert raw[NOTES] == ("not_finite:ratio",)


def test_columns_of_netra_are_covered() -> None:
    """Costs and tokens that are no numbers are left out; any other column becomes text."""
    span = convert("both", total_cost=math.nan, prompt_tokens=math.inf, created_at=math.nan, kind="GENERATION")
    assert attributes(span)["netra.created_at"] == "NaN"
    assert "netra.cost.total" not in attributes(span)


def test_notes_stay_few() -> None:
    """A span with a thousand of them has 16 notes, with keys of at most 60 characters."""
    found = attributes(convert("genai", attributes={f"{number} {'k' * 90}": math.nan for number in range(1000)}))
    assert len(found[NOTES]) == 16
    assert max(map(len, found[NOTES])) <= len("not_finite:") + 60


def test_nothing_is_noted_about_what_the_policy_drops() -> None:
    """A key that does not leave is in no note."""
    span = convert("genai", privacy=Privacy(content="drop", content_allow=("score",)),
                   attributes={"input": math.nan, "score": math.nan},
                   events=[{"name": "e", "attributes": {"gen_ai.prompt": math.nan}}])  # fmt: skip
    assert attributes(span)[NOTES] == ("not_finite:score",)


def test_spans_do_not_share_what_was_found() -> None:
    """A converter that found something in one span notes nothing on the next."""
    converter = SpanConverter("genai")
    converter.convert(netra_span(attributes={"k": math.nan}))
    assert NOTES not in attributes(converter.convert(netra_span(attributes={"k": 0.5})))


@pytest.mark.parametrize("profile", ["raw", "both"])
def test_a_repeated_key_keeps_its_last_value(profile: Profile) -> None:
    """Of a key that is recorded twice, the last value is kept, and a note names the key, wherever it is."""
    twice = [{"key": "route", "value": {"stringValue": one}} for one in "ab"]
    inner = [{"key": "map", "value": {"kvlistValue": {"values": twice}}}, {"key": "n", "value": {"intValue": "1"}}]
    converter = SpanConverter(profile)
    events, links = [{"name": "e", "attributes": twice}], [{"trace_id": "t", "span_id": "s", "attributes": twice}]
    span = converter.convert(
        netra_span(attributes=json.dumps([*twice, *inner]), events=events, links=links, resources=twice)
    )
    found = attributes(span)
    assert (found["route"], found["map"]) == ("b", {"route": "b"})
    assert (span.events[0].attributes, span.links[0].attributes) == ({"route": "b"}, {"route": "b"})
    assert [note for note in found[NOTES] if note.startswith("repeated_key")] == [
        "repeated_key:route", "repeated_key:map", "repeated_key:events.route", "repeated_key:links.route",
    ]  # fmt: skip
    assert span.resource.attributes["route"] == "b"
    assert span.resource.attributes[NOTES] == ("repeated_key:route",)
    assert converter.counts["repeated_key"] == 5
