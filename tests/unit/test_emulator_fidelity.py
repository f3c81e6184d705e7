"""Every field of the recording of netra-sdk 1.2.2 that Netra has room for can be rebuilt from the API's answers.

The reading side here is written from the forms documented in `emulator.render`, and shares no code with it.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from netra_otel_bridge.emulator import Emulator, EmulatorOptions
from tests.support.emulator import Client, otlp_value

RECORDING = Path(__file__).parents[1] / "support" / "data" / "netra-sdk-1.2.2-spans.otlp.json"
IMPLIED_KIND = {"GENERATION": 3, "EMBEDDING": 3, "SPAN": 1, "TOOL": 1, "AGENT": 1, "USAGE": 1}
OTEL_KIND = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
STATUS = {"UNSET": 0, "OK": 1, "ERROR": 2}


def attributes(value: Any) -> list[dict[str, Any]]:
    """Convert attributes back to OTLP key/values."""
    if isinstance(value, list):
        return value
    return [{"key": key, "value": otlp_value(entry)} for key, entry in value.items()]


def nanoseconds(text: str) -> str:
    return str(int(Decimal(text) * 1_000_000))


def rebuilt(item: dict[str, Any]) -> dict[str, Any]:
    """Rebuild the recorded span from an item of the API."""
    status = json.loads(item["status"]) if item["status"].startswith("{") else {"code": item["status"]}
    return {
        "traceId": item["trace_id"],
        "spanId": item["id"],
        "parentSpanId": item["parent_span_id"],
        "name": item["name"],
        "kind": IMPLIED_KIND.get(item["kind"]) or OTEL_KIND[item["kind"]],
        "startTimeUnixNano": nanoseconds(item["start_time_ms"]),
        "endTimeUnixNano": nanoseconds(item["end_time_ms"]),
        "status": {"code": STATUS[status["code"]], "message": status.get("message", "")},
        "attributes": attributes(json.loads(item["attributes"])),
        "events": [
            {"name": e["name"], "timeUnixNano": e["time_unix_nano"], "attributes": attributes(e["attributes"])}
            for e in json.loads(item["events"])
        ],
        "resource": attributes(json.loads(item["resources"])),
    }


def recorded() -> dict[str, dict[str, Any]]:
    """Return the spans of the recording by id, in the form of `rebuilt`."""
    spans = {}
    for resource_spans in json.loads(RECORDING.read_text())["resourceSpans"]:
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                assert not span.get("links")
                spans[span["spanId"]] = {
                    **{key: span[key] for key in ("traceId", "spanId", "name", "kind")},
                    **{key: span[key] for key in ("startTimeUnixNano", "endTimeUnixNano", "attributes")},
                    "parentSpanId": span.get("parentSpanId"),
                    "status": {"code": span["status"].get("code", 0), "message": span["status"].get("message", "")},
                    "events": [{"attributes": [], **event} for event in span.get("events", [])],
                    "resource": resource_spans["resource"]["attributes"],
                }
    return spans


async def test_the_recording_comes_out_as_it_went_in() -> None:
    """Ids, parents, names, kinds, times, status, attributes, events, resources: all equal, none missing."""
    found = {}
    async with Emulator(EmulatorOptions(port=0, load=(RECORDING,))) as emulator, Client(emulator.url) as client:
        for trace in (await client.traces())["data"]:
            for item in (await client.spans(trace["id"], limit=100))["data"]:
                found[item["id"]] = rebuilt(item)
    assert found == recorded()
