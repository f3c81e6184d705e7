"""The main job as a user runs it: ``replay`` from Netra's API into a real Jaeger, and every field read back from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from netra_otel_bridge.deliver.otlp_json import traces_data
from netra_otel_bridge.deliver.wire import encode_request, encode_span
from netra_otel_bridge.emulator import EmulatorOptions
from tests.support.compare import differences, spans_by_id
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.jaeger import Jaeger
from tests.support.spans import context, make_span

RECORDING = Path(__file__).parents[1] / "support" / "data" / "netra-sdk-1.2.2-spans.otlp.json"
NOT_IN_NETRA = ("scope", "scope_schema", "resource_schema", "trace_state", "dropped", "flags")
HOUR_NS = 3600 * 10**9


def replay(netra: ThreadedEmulator, *flags: str) -> dict[str, Any]:
    """Run the command and return its report; it must end with 0."""
    environ = {**os.environ, "NETRA_API_KEY": "canary-key", "NETRA_OTLP_ENDPOINT": netra.endpoint}
    command = [sys.executable, "-m", "netra_otel_bridge", "replay", "--json", *flags]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "canary" not in done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def own_spans(trace_id: int) -> list[ReadableSpan]:
    """A trace of nine hours ago: every kind and status, events, links, and a span of 1 MB."""
    start_ns = time.time_ns() - 9 * HOUR_NS + 11
    resource = Resource({"service.name": "assistant", "numbers": (1, 2), "ratio": 0.5})
    spans = [
        make_span(
            number,
            trace_id=trace_id,
            parent=1 if number > 1 else None,
            kind=kind,
            attributes={
                "text": "grüße 世界",
                "n": number,
                "whole": 2.0,
                "flag": True,
                "raw": b"\x00\xff",
                "map": {"a": 1},
            },
            status=status,
            start_ns=start_ns + number,
            resource=resource,
        )
        for number, (kind, status) in enumerate(
            zip(
                SpanKind,
                (Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "it broke"), Status(), Status()),
                strict=True,
            ),
            start=1,
        )
    ]
    spans.append(
        make_span(
            9,
            trace_id=trace_id,
            parent=2,
            attributes={"input": "é" * 300_000, "output": "y" * 400_000},
            events=[Event("chunk", {"n": 1}, start_ns + 5), Event("chunk", {}, start_ns + 6)],
            links=[Link(context(0xFEED, 0xBEEF), {"why": "retry"})],
            start_ns=start_ns,
            resource=resource,
        )
    )
    return spans


@pytest.mark.parametrize("transport", ["otlp_grpc", "otlp_http"])
def test_a_replay_arrives_in_every_field(jaeger: Jaeger, transport: str) -> None:
    """The recording of netra-sdk and a trace with every type and 1 MB, both recorded hours ago, over both protocols."""
    trace_id = 0xB0000001 + (transport == "otlp_http")
    spans = own_spans(trace_id)
    with running_emulator(EmulatorOptions(port=0, load=(RECORDING,))) as netra:
        assert netra.ingest(encode_request(spans, [encode_span(span) for span in spans])) == []
        flags = ("--from", "2020-01-01", "--window", "10d", "--profile", "raw", "--to", getattr(jaeger, transport))
        report = replay(netra, *flags)
    expected = spans_by_id(json.loads(RECORDING.read_text())) | spans_by_id(traces_data(spans))
    assert report["destinations"][0]["delivered"] == len(expected) == 18
    received: dict[tuple[str, str], Any] = {}
    for trace in sorted({key[0] for key in expected}):
        wanted = sum(1 for key in expected if key[0] == trace)
        received |= spans_by_id(jaeger.trace(trace, wanted))
    assert differences(expected, received, ignore=NOT_IN_NETRA) == []


def test_thousands_of_spans_arrive_once(jaeger: Jaeger) -> None:
    """A day of sample traffic in the default profile: as many spans in Jaeger as Netra holds, in each trace."""
    with running_emulator(EmulatorOptions(port=0, seed=77, traces=300, spans_per_trace=10)) as netra:
        report = replay(netra, "--since", "25h", "--to", jaeger.otlp_grpc)
        traces = netra.call(lambda: [trace.id for trace in netra.emulator.store.starting_in(0, 2**63)])
    assert report["destinations"][0]["delivered"] == 3000
    assert len(traces) == 300
    for trace in traces[::10]:
        assert len(spans_by_id(jaeger.trace(trace, 10))) == 10
