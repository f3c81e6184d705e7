"""Spans sent over OTLP or loaded from a file can be rebuilt from the API's answers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.emulator import Emulator, EmulatorOptions, Store
from netra_otel_bridge.emulator.api import Api
from netra_otel_bridge.emulator.load import load
from netra_otel_bridge.emulator.otlp import read_document
from tests.support.emulator import START_NS, Client, otlp_document, otlp_span

NAN = float("nan")


def shown(document: dict[str, Any], span: int = 1) -> dict[str, Any]:
    """Return the API's item for a span of ``document``."""
    store = Store()
    assert store.ingest(read_document(document)) == []
    return json.loads(Api(store).span(f"{span:016x}"))["data"]


@pytest.mark.parametrize("path", ["/telemetry/v1/traces", "/v1/traces"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("as_json", [False, True])
async def test_ingest_in_both_encodings(path: str, compressed: bool, as_json: bool) -> None:
    """Protobuf and JSON are accepted, compressed or not, and answered in the encoding of the request."""
    document = otlp_document(otlp_span(1, 1))
    body = json.dumps(document).encode() if as_json else read_document(document).SerializeToString()
    content_type = "application/json" if as_json else "application/x-protobuf"
    headers = {"Content-Type": content_type} | ({"Content-Encoding": "gzip"} if compressed else {})
    async with Emulator() as emulator, Client(emulator.url) as client:
        data = gzip.compress(body) if compressed else body
        status, answered, reply = await client.raw("POST", path, data=data, headers=headers)
        assert (status, answered["Content-Type"]) == (200, content_type)
        assert reply == b"{}" if as_json else ExportTraceServiceResponse.FromString(reply) is not None
        assert emulator.store.span_count == 1


async def test_what_is_not_otlp_is_refused() -> None:
    """Invalid OTLP gets 400 with a status in the request's encoding; other encodings get 415."""
    async with Emulator() as emulator, Client(emulator.url) as client:
        for content_type in ("application/json", "application/x-protobuf"):
            headers = {"Content-Type": content_type}
            status, answered, body = await client.raw("POST", "/v1/traces", data=b"\xff{", headers=headers)
            assert (status, answered["Content-Type"]) == (400, content_type)
            assert b"the body is not" in body
        status, _, _ = await client.raw("POST", "/v1/traces", data=b"x", headers={"Content-Type": "text/plain"})
        assert status == 415


async def test_a_span_without_valid_ids_is_a_partial_success() -> None:
    """Spans with invalid ids are rejected and counted in the answer; the others are accepted."""
    bad = otlp_span(0, 7)
    async with Emulator() as emulator, Client(emulator.url) as client:
        answer = await client.json("POST", "/v1/traces", json=otlp_document(otlp_span(1, 1), bad))
        assert answer["partialSuccess"]["rejectedSpans"] == "1"
        assert emulator.store.span_count == 1


def test_times_are_exact_to_the_nanosecond() -> None:
    """Times are epoch milliseconds with six decimals, exact; whole milliseconds have none."""
    item = shown(otlp_document(otlp_span(1, 1, start_ns=1_795_349_300_072_557_212, duration_ns=442_788)))
    assert item["start_time_ms"] == "1795349300072.557212"
    assert item["end_time_ms"] == "1795349300073"


@pytest.mark.parametrize(
    ("attributes", "kind", "expected"),
    [
        ({"netra.span.type": "TOOL"}, 1, "TOOL"),
        ({"netra.span.type": "TOOL"}, 3, "CLIENT"),
        ({"netra.span.type": "GENERATION"}, 3, "GENERATION"),
        ({"netra.span.type": "GENERATION"}, 1, "INTERNAL"),
        ({"llm.request.type": "chat"}, 3, "GENERATION"),
        ({"llm.request.type": "embedding"}, 3, "EMBEDDING"),
        ({"gen_ai.operation.name": "invoke_agent"}, 1, "AGENT"),
        ({}, 1, "SPAN"),
        ({}, 0, "SPAN"),
        ({}, 2, "SERVER"),
        ({}, 4, "PRODUCER"),
        ({}, 5, "CONSUMER"),
    ],
)
def test_the_kind_leads_back_to_the_recorded_kind(attributes: dict[str, Any], kind: int, expected: str) -> None:
    """The kind is the type if it implies the OTel kind, else the OTel kind."""
    assert shown(otlp_document(otlp_span(1, 1, kind=kind, attributes=attributes)))["kind"] == expected


@pytest.mark.parametrize(
    ("status", "expected", "has_error"),
    [
        ({}, "UNSET", False),
        ({"code": 1}, "OK", False),
        ({"code": 2}, "ERROR", True),
        ({"code": 2, "message": 'it "broke"'}, '{"code":"ERROR","message":"it \\"broke\\""}', True),
    ],
)
def test_status_keeps_its_message(status: dict[str, Any], expected: str, has_error: bool) -> None:
    """A status is a word, or JSON if it has a message; only ERROR is an error."""
    item = shown(otlp_document(otlp_span(1, 1, status=status)))
    assert (item["status"], item["has_error"]) == (expected, has_error)


def test_plain_attributes_are_a_flat_object() -> None:
    """Types survive JSON: a float keeps its fraction, an integer has none."""
    attributes = {"t": "x", "b": True, "i": 2**62, "f": 1.0, "g": 1e300, "l": [1.0, 2.5], "s": ["a", ""]}
    text = shown(otlp_document(otlp_span(1, 1, attributes=attributes)))["attributes"]
    read = json.loads(text)
    assert read == attributes
    assert [type(value) for value in read.values()] == [type(value) for value in attributes.values()]
    assert '"f":1.0' in text


@pytest.mark.parametrize(
    "value",
    [
        {"bytesValue": "AAE="},
        {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": "1"}}]}},
        {"arrayValue": {"values": []}},
        {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "x"}]}},
        {"arrayValue": {"values": [{"arrayValue": {"values": [{"intValue": "1"}]}}]}},
        {"doubleValue": "NaN"},
        {"doubleValue": "-Infinity"},
        {},
    ],
)
def test_what_plain_json_cannot_say_turns_the_list_into_otlp(value: dict[str, Any]) -> None:
    """The whole list is then written as OTLP key/values, unchanged."""
    given = [{"key": "n", "value": {"intValue": "5"}}, {"key": "odd", "value": value}]
    span = otlp_span(1, 1) | {"attributes": given}
    document = {"resourceSpans": [{"resource": {"attributes": given}, "scopeSpans": [{"spans": [span]}]}]}
    item = shown(document)
    assert json.loads(item["attributes"]) == given
    assert json.loads(item["resources"]) == given


def test_a_key_that_comes_twice_is_kept_twice() -> None:
    """Repeated keys are written as OTLP key/values: an object could hold only one."""
    given = [{"key": "k", "value": {"stringValue": "a"}}, {"key": "k", "value": {"stringValue": "b"}}]
    assert json.loads(shown(otlp_document(otlp_span(1, 1) | {"attributes": given}))["attributes"]) == given


def test_events_and_links_are_complete() -> None:
    """Events and links have times in nanoseconds as text and ids in hex."""
    odd = [{"key": "odd", "value": {"bytesValue": "AAE="}}]
    span = otlp_span(
        1,
        1,
        events=[
            {"name": "e", "timeUnixNano": str(START_NS + 1), "attributes": [{"key": "n", "value": {"intValue": "3"}}]},
            {"name": "odd", "timeUnixNano": str(START_NS + 2), "attributes": odd},
        ],
        links=[{"traceId": f"{5:032x}", "spanId": f"{6:016x}", "attributes": odd}],
    )
    item = shown(otlp_document(span))
    assert json.loads(item["events"]) == [
        {"name": "e", "time_unix_nano": str(START_NS + 1), "attributes": {"n": 3}},
        {"name": "odd", "time_unix_nano": str(START_NS + 2), "attributes": odd},
    ]
    assert json.loads(item["links"]) == [{"trace_id": f"{5:032x}", "span_id": f"{6:016x}", "attributes": odd}]


def test_a_span_that_comes_again_replaces_the_one_before() -> None:
    """A span sent again replaces the earlier one, also in the trace's summary."""
    store = Store()
    for name in ("before", "after"):
        store.ingest(read_document(otlp_document(otlp_span(1, 1, name=name))))
    assert store.span_count == 1
    trace = store.get(f"{1:032x}")
    assert trace is not None
    assert store.summary(trace).item.name == "after"


def test_a_request_in_bytes_can_be_put_in_directly() -> None:
    """The store accepts spans without HTTP."""
    store = Store()
    request: ExportTraceServiceRequest = read_document(otlp_document(otlp_span(1, 1), otlp_span(1, 2)))
    assert store.ingest(request.SerializeToString()) == []
    assert (len(store), store.span_count) == (1, 2)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("indent", [None, 2])
def test_files_hold_one_document_or_many(tmp_path: Path, compressed: bool, indent: int | None) -> None:
    """Files can be pretty-printed or one document per line, compressed or not."""
    documents = [otlp_document(otlp_span(number, number)) for number in (1, 2)]
    text = "\n".join(json.dumps(document, indent=indent) for document in documents) + "\n"
    path = tmp_path / ("spans.json" + (".gz" if compressed else ""))
    path.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())
    store = Store()
    load(path, store)
    assert len(store) == 2


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b'{"resourceSpans": []}\n{"resourceSpans": [}\n', ":2:"),
        (b'{"resourceSpans": []}\n\n{"spans": []}\n', ":3:"),
        (json.dumps(otlp_document(otlp_span(0, 1))).encode(), ":1:"),
        (b'\n{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]}', ":2:"),
        (b'{"resourceSpans": 7}', ":1:"),
        (b"", ": the file is empty"),
        (b"\n\xff", ":2:"),
        (gzip.compress(b'{"resourceSpans": []}', mtime=0)[:-6], ": the gzip data"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, content: bytes, where: str) -> None:
    """The error is one line with file, line and reason."""
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load(path, Store())
    assert f"{path}{where}" in str(caught.value)


async def test_a_missing_file_stops_the_emulator(tmp_path: Path) -> None:
    """A file that cannot be loaded fails before the emulator listens."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        async with Emulator(EmulatorOptions(port=0, load=(tmp_path / "nothing.json",))):
            pass
