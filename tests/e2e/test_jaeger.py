"""A real Jaeger's answers to requests that are too large, go elsewhere or have no trace id; `test_receivers` has the rest."""

from __future__ import annotations

import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Misconfigured,
    Refused,
    TooLarge,
)
from netra_otel_bridge.deliver import Batcher, batch_of, open_destination
from netra_otel_bridge.emulator import EmulatorOptions
from tests.support.batches import item
from tests.support.compare import spans_by_id
from tests.support.converted import convert
from tests.support.emulator import running_emulator
from tests.support.jaeger import Jaeger
from tests.support.replays import replay
from tests.support.spans import make_span


async def test_batches_of_the_size_that_is_computed_are_taken(jaeger: Jaeger) -> None:
    """Jaeger accepts batches as full as the computed limit allows; it reports one beyond that as too large."""
    spans = [make_span(n, trace_id=0xB0, attributes={"input": "x" * 40_000}) for n in range(1, 301)]
    batcher: Batcher[None] = Batcher()
    batches = [batch for span in spans if (batch := batcher.add(item(span)))]
    destination = open_destination(jaeger.otlp_grpc)
    for batch in batches:
        assert batch.request.size_bytes > 3_400_000
        assert await destination.send(batch.request) == Delivered()
    last = batcher.flush()
    assert last is not None
    assert await destination.send(last.request) == Delivered()
    assert len(spans_by_id(jaeger.trace(0xB0, 300))) == 300
    assert isinstance(await destination.send(batch_of(tuple(spans[:110]))), TooLarge)
    await destination.aclose()


async def test_what_a_real_server_refuses_is_understood(jaeger: Jaeger) -> None:
    """This version of Jaeger answers as the table in docs/backends.md says."""
    http = open_destination(jaeger.otlp_http)
    large = batch_of(tuple(make_span(n, attributes={"input": "x" * 7_000_000}) for n in range(1, 4)))
    assert isinstance(await http.send(large), TooLarge)
    await http.aclose()
    elsewhere = open_destination(f"{jaeger.otlp_http}/no/such/path")
    assert isinstance(await elsewhere.send(batch_of((make_span(1),))), Misconfigured)
    await elsewhere.aclose()


async def test_spans_that_it_takes_or_refuses_by_their_ids(jaeger: Jaeger) -> None:
    """Jaeger's answer to a zero trace id accepts or rejects the span; it is never a reason to wait."""
    destination = open_destination(jaeger.otlp_grpc)
    answer = await destination.send(batch_of((make_span(1, trace_id=0),)))
    assert isinstance(answer, Delivered | Refused)
    await destination.aclose()


def nan_service(number: int, service: str) -> dict[str, Any]:
    """Return a document with two traces of a service; one span of the first has a NaN."""

    def span(trace: int, place: int, attributes: list[dict[str, Any]]) -> dict[str, Any]:
        return {"traceId": f"{trace:032x}", "spanId": f"{place:016x}", "name": "eval", "kind": 1,
                "startTimeUnixNano": "1796010749000000000", "endTimeUnixNano": "1796010750500000000",
                "attributes": attributes}  # fmt: skip

    nan = [{"key": "score", "value": {"doubleValue": "NaN"}}, {"key": "ok", "value": {"stringValue": "yes"}}]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    spans = [span(number, number, nan), span(number, number + 1, []), span(number + 1, number + 2, [])]
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "eval"}, "spans": spans}]}]}


@pytest.mark.parametrize("transport", ["otlp_grpc", "otlp_http"])
def test_one_nan_hides_a_service_only_with_raw(jaeger: Jaeger, transport: str, tmp_path: Path) -> None:
    """Jaeger's pages find a service with one NaN with profile genai; with raw they fail for its trace and each search."""
    recording = tmp_path / "nan.json"
    numbers = {}
    for number, profile in enumerate(("genai", "raw")):
        first = 0xE000 + 0x100 * number + 0x10 * (transport == "otlp_http")
        service = f"nan-{profile}-{transport}"
        recording.write_text(json.dumps(nan_service(first, service)))
        with running_emulator(EmulatorOptions(port=0, load=(recording,))) as netra:
            report = replay(netra, "--from", "2026-11-29", "--until", "2026-12-01", "--profile", profile,
                            "--to", getattr(jaeger, transport))  # fmt: skip
        assert len(spans_by_id(jaeger.trace(first, 2))) == 2
        numbers[profile] = (first, service)
        assert report["destinations"][0]["delivered"] == 3
    at = (1796010749000000000, 1796010749000000000)
    first, service = numbers["genai"]
    assert jaeger.search(service, *at) == {f"{first:032x}", f"{first + 1:032x}"}
    assert jaeger.page(first)[f"{first:016x}"].texts["score"] == "NaN"
    first, service = numbers["raw"]
    for ask in (lambda: jaeger.page(first), lambda: jaeger.search(service, *at)):
        with pytest.raises(urllib.error.HTTPError) as failed:
            ask()
        assert failed.value.code == 500
        failed.value.close()
    assert len(jaeger.page(first + 1)) == 1


@pytest.mark.parametrize("transport", ["otlp_grpc", "otlp_http"])
async def test_no_parent_is_called_local(jaeger: Jaeger, transport: str) -> None:
    """Jaeger shows flags with the sampled bit alone, on a span with a parent and on its link."""
    number = 0xE300 + (transport == "otlp_http")
    link = {"trace_id": f"{number:032x}", "span_id": "1" * 16}
    span = convert(trace_id=f"{number:032x}", parent_span_id="1" * 16, links=[link], end_time_ms=None, latency_ms=5)
    destination = open_destination(getattr(jaeger, transport))
    assert await destination.send(batch_of((span,))) == Delivered()
    await destination.aclose()
    (shown,) = jaeger.trace(number)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (shown["flags"], [one["flags"] for one in shown["links"]]) == (1, [1])


async def test_a_trace_id_of_64_bits_is_found_by_its_16_digits(jaeger: Jaeger) -> None:
    """Jaeger's pages find a trace under the 16 digits that its application logged."""
    destination = open_destination(jaeger.otlp_grpc)
    assert await destination.send(batch_of((convert(trace_id="f0a1b2c3d4e5f607"),))) == Delivered()
    await destination.aclose()
    jaeger.trace("f0a1b2c3d4e5f607")
    assert len(jaeger.page("f0a1b2c3d4e5f607")) == 1


def test_a_large_prompt_arrives_whole(jaeger: Jaeger, tmp_path: Path) -> None:
    """A span of 1.6 MB, above 4 MiB with profile both, is delivered over gRPC with all that was recorded."""
    prompt = "Tell me more. " * (1_600_000 // 14)
    attributes = {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": prompt, "netra.span.type": "GENERATION"}
    span = {"traceId": f"{0xE400:032x}", "spanId": f"{0xE400:016x}", "name": "chat", "kind": 3,
            "startTimeUnixNano": "1796010749000000000", "endTimeUnixNano": "1796010750500000000",
            "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]}  # fmt: skip
    recording = tmp_path / "large.json"
    recording.write_text(json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [span]}]}]}))
    with running_emulator(EmulatorOptions(port=0, load=(recording,))) as netra:
        report = replay(netra, "--from", "2026-11-29", "--until", "2026-12-01", "--profile", "both",
                        "--to", jaeger.otlp_grpc)  # fmt: skip
    (lane,) = report["destinations"]
    assert (lane["delivered"], lane["trimmed"]) == (1, 1)
    ((_, shown),) = spans_by_id(jaeger.trace(0xE400)).items()
    assert {key: shown["attributes"][key] for key in attributes} == {
        key: ("string", value) for key, value in attributes.items()
    }
