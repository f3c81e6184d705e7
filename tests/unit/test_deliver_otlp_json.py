"""OTLP JSON has the content of the stock protobuf encoder, in the form that the Collector reads."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.deliver.otlp.json import encode_line, traces_data, value_json
from tests.support.examples import examples
from tests.support.span_strategies import spans
from tests.support.spans import make_span
from tests.support.stock import stock_request

RECORDING = Path(__file__).parents[1] / "support" / "data" / "netra-sdk-1.2.2-spans.otlp.json"


def parse(line: bytes) -> TracesData:
    """Read OTLP JSON with the JSON reader of protobuf, which expects ids in base64."""

    def ids(fields: dict[str, Any]) -> dict[str, Any]:
        hexes = {"traceId", "spanId", "parentSpanId"} & fields.keys()
        return fields | {key: base64.b64encode(bytes.fromhex(fields[key])).decode() for key in hexes}

    return json_format.ParseDict(json.loads(line, object_hook=ids), TracesData())


def comparable(message: Any) -> str:
    """Return a message as text, because NaN is not equal to itself and its text is."""
    return str(message)


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(spans(), max_size=6))
def test_a_line_is_what_the_protobuf_encoder_makes(members: list[ReadableSpan]) -> None:
    """Every field and value, for spans of any content, grouped by resource and scope."""
    expected = TracesData(resource_spans=stock_request(members).resource_spans)
    line = encode_line(members)
    assert b"\n" not in line
    assert comparable(parse(line)) == comparable(expected)


def test_the_form_is_that_of_the_recorded_data() -> None:
    """Ids are lowercase hex, 64-bit integers are texts, enums are numbers, defaults are left out."""
    span = make_span(0xAB, trace_id=0xCD, parent=0xEF, attributes={"n": 7, "x": 1.5, "b": b"\xff", "l": ("a", None)})
    data = traces_data([span])["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert data == {
        "traceId": "000000000000000000000000000000cd",
        "spanId": "00000000000000ab",
        "parentSpanId": "00000000000000ef",
        "name": "span 171",
        "kind": 3,
        "startTimeUnixNano": "1747000000123456789",
        "endTimeUnixNano": "1747000000124956789",
        "attributes": [
            {"key": "n", "value": {"intValue": "7"}},
            {"key": "x", "value": {"doubleValue": 1.5}},
            {"key": "b", "value": {"bytesValue": "/w=="}},
            {"key": "l", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {}]}}},
        ],
        "status": {},
        "flags": 1,
    }


def test_recorded_data_has_no_field_that_is_unknown_here(recorded: dict[str, Any]) -> None:
    """The reader that parses our own lines also parses the recording of netra-sdk."""
    assert parse(json.dumps(recorded).encode()).resource_spans


def test_equal_resources_share_a_group_although_they_are_two_objects() -> None:
    """Grouping is by content, as the stock encoder does it."""
    members = [make_span(n, resource=Resource({"service.name": "a"})) for n in (1, 2, 3)]
    assert len(traces_data(members)["resourceSpans"]) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), {"doubleValue": "NaN"}),
        (float("inf"), {"doubleValue": "Infinity"}),
        (float("-inf"), {"doubleValue": "-Infinity"}),
        (2**63, {"stringValue": "9223372036854775808"}),
        (-(2**63), {"intValue": "-9223372036854775808"}),
        ({}, {"kvlistValue": {}}),
        ((), {"arrayValue": {}}),
        (None, {}),
        (True, {"boolValue": True}),
        (3 + 4j, {"stringValue": "(3+4j)"}),
    ],
)
def test_values_at_the_edges(value: object, expected: dict[str, Any]) -> None:
    """Numbers that JSON cannot express are texts; an integer beyond 64 bits is kept as text."""
    assert value_json(value) == expected


def test_lone_surrogates_are_replaced() -> None:
    """Conversion removes lone surrogates; a span built elsewhere may contain one and must not stop the file."""
    line = encode_line([make_span(1, name="a\ud800b", attributes={"k\udfff": "v", "t": ("x\ud800",), "ok": "😀"})])
    span = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert span["name"] == "a?b"
    assert [entry["key"] for entry in span["attributes"]] == ["k?", "t", "ok"]
    assert span["attributes"][2]["value"] == {"stringValue": "😀"}


@pytest.fixture
def recorded() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(RECORDING.read_text())
    return data
