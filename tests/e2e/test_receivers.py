"""The main job into every real receiver: the command replays what Netra holds, and the result is read back and
compared.

What a receiver is known to alter is named in its class in ``tests/support`` (``as_kept``, ``not_kept``); nothing else
may differ.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource

from netra_otel_bridge.bridge.bridge import Bridge
from netra_otel_bridge.core.model.outcome import Delivered, TooLarge
from netra_otel_bridge.deliver import batch_of, encode_span, open_destination
from netra_otel_bridge.deliver.otlp.encode import encode_request
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.render import PROJECT_ID
from tests.support.collector import Collector
from tests.support.compare import Key, Normal, differences, sent_by_id, spans_by_id
from tests.support.converted import RECORDING
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.jaeger import Jaeger
from tests.support.phoenix import Phoenix
from tests.support.replays import (
    MANY,
    NOT_IN_NETRA,
    Receiver,
    own_spans,
    received,
    replay,
    replay_beside,
    whole_range,
    without_added,
)
from tests.support.server import Server
from tests.support.spans import make_span
from tests.support.tempo import Tempo

NOW_NS = time.time_ns()
Case = tuple[type[Server], str]
CASES = [
    *((server, transport) for server in (Jaeger, Tempo, Collector) for transport in ("otlp_grpc", "otlp_http")),
    (Phoenix, "otlp_http"),
]


@pytest.fixture(scope="module")
def phoenix() -> Iterator[Phoenix]:
    """Run the one Phoenix of this file, which takes long to start."""
    with Phoenix() as server:
        yield server


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0].__name__.lower()}-{case[1]}")
def case(request: pytest.FixtureRequest) -> Case:
    """Choose a server, and one of its two addresses."""
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def receiver(case: Case, request: pytest.FixtureRequest) -> Iterator[Receiver]:
    """Return the running server."""
    if case[0] is Phoenix:
        yield request.getfixturevalue("phoenix")
    else:
        with case[0]() as server:
            yield server  # type: ignore[misc]  # each server of `CASES` is a Receiver


@pytest.fixture(scope="module")
def recorded() -> dict[Key, Normal]:
    """Return what Netra holds: the recording of netra-sdk, and `own_spans`."""
    return spans_by_id(json.loads(RECORDING.read_text())) | sent_by_id(own_spans(NOW_NS))


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    """Run a Netra that holds what is ``recorded``."""
    with running_emulator(EmulatorOptions(port=0, load=(RECORDING,))) as running:
        spans = own_spans(NOW_NS)
        assert running.ingest(encode_request(spans, [encode_span(span) for span in spans])) == []
        yield running


def test_every_span_arrives_in_every_field(
    netra: ThreadedEmulator, recorded: dict[Key, Normal], receiver: Receiver, case: Case, tmp_path: Path
) -> None:
    """The receiver shows every span as the application recorded it: hours or days old, 3 MB in a span, 5,000 in a trace."""
    profile = "openinference" if case[0] is Phoenix else "raw"
    to = getattr(receiver, case[1])
    sent = replay_beside(netra, to, tmp_path / "sent.jsonl", *whole_range(recorded), "--profile", profile)
    assert len(sent) == len(recorded) == MANY + 38
    assert differences(recorded, without_added(sent, recorded), ignore=NOT_IN_NETRA) == []
    kept = receiver.as_kept(sent)
    assert differences(kept, received(receiver, kept), ignore=receiver.not_kept) == []
    if isinstance(receiver, Jaeger):
        assert_on_pages(receiver, sent)


def test_a_day_of_traffic_arrives_once(receiver: Receiver, case: Case, tmp_path: Path) -> None:
    """Sample traffic arrives once, with all that the bridge adds, its scopes and resources included."""
    profile = "openinference" if case[0] is Phoenix else "both"
    with running_emulator(EmulatorOptions(port=0, seed=7700, traces=60, spans_per_trace=10)) as netra:
        to = getattr(receiver, case[1])
        sent = replay_beside(netra, to, tmp_path / "sent.jsonl", "--since", "25h", "--profile", profile)
    assert len(sent) == 600
    kept = receiver.as_kept(sent)
    assert differences(kept, received(receiver, kept), ignore=receiver.not_kept) == []
    if isinstance(receiver, Jaeger):
        assert_on_pages(receiver, sent)


def assert_on_pages(jaeger: Jaeger, sent: dict[Key, Normal]) -> None:
    """Assert that Jaeger's pages show every span, and that their search finds each trace under its services."""
    traces: dict[str, dict[str, Normal]] = {}
    services: dict[str, set[str]] = {}
    for (trace, span), normal in sent.items():
        traces.setdefault(trace, {})[span] = normal
        services.setdefault(normal["resource"].get("service.name", ("", ""))[1], set()).add(trace)
    for trace, spans in traces.items():
        shown = jaeger.page(trace)
        assert shown.keys() == spans.keys()
        wrong = {span: shown[span].differences(normal) for span, normal in spans.items()}
        assert {span: fields for span, fields in wrong.items() if fields} == {}
    first, last = min(one["start_ns"] for one in sent.values()), max(one["start_ns"] for one in sent.values())
    for service, expected in services.items():
        assert expected <= jaeger.search(service, first, last)


def test_phoenix_shows_calls_of_models(phoenix: Phoenix) -> None:
    """With profile openinference, Phoenix shows LLM spans with their model, tokens, messages, and the cost that Netra
    computed.

    The cost on its pages comes from its own prices; a model without a price has none there.
    """
    with running_emulator(EmulatorOptions(port=0, seed=7701, traces=20, spans_per_trace=10)) as netra:
        replay(netra, "--since", "25h", "--profile", "openinference", "--to", phoenix.otlp_http)
        bridge = Bridge(environ={"NETRA_API_KEY": "key", "NETRA_OTLP_ENDPOINT": netra.endpoint})
        with bridge.client() as client:
            held = {
                span.id: span
                for trace in netra.call(lambda: [one.id for one in netra.emulator.store.starting_in(0, 2**63)])
                for span in client.iter_spans_by_trace_id(trace)
            }
    shown = {
        span["context"]["span_id"]: span
        for trace in {span.trace_id for span in held.values()}
        if phoenix.trace(trace, sum(1 for span in held.values() if span.trace_id == trace))
        for span in phoenix.spans(PROJECT_ID, str(trace))
    }
    calls = {span_id: span for span_id, span in held.items() if span.kind == "GENERATION"}
    assert shown.keys() == held.keys()
    assert {span_id for span_id, span in shown.items() if span["span_kind"] == "LLM"} == calls.keys()
    figures = phoenix.figures(PROJECT_ID)
    priced = set()
    for span_id, call in calls.items():
        attributes, figure = shown[span_id]["attributes"], figures[span_id]
        assert attributes["llm.model_name"] == call.model_name
        asked = [attributes[f"llm.input_messages.{place}.message.role"] for place in (0, 1)]
        assert asked == ["system", "user"]
        assert attributes["llm.input_messages.1.message.content"] in str(call.attributes)
        if call.total_tokens is None:
            continue
        assert attributes["llm.output_messages.0.message.role"] == "assistant"
        assert attributes["llm.output_messages.0.message.content"]
        tokens = (call.prompt_tokens, call.completion_tokens, call.total_tokens)
        names = ("prompt", "completion", "total")
        assert tuple(attributes[f"llm.token_count.{name}"] for name in names) == tokens
        assert tuple(figure[f"tokenCount{name.title()}"] for name in names) == tokens
        assert 0 < attributes["llm.cost.total"] == call.total_cost
        if figure["costSummary"]["total"]["cost"] is not None:
            priced.add(call.model_name)
    assert "gpt-4o-2024-08-06" in priced
    assert "claude-3-5-sonnet-20241022" not in priced


@pytest.mark.parametrize("transport", ["otlp_grpc", "otlp_http"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_phoenix_takes_both_protocols(
    phoenix: Phoenix, transport: str, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phoenix accepts both protocols, compressed or not; spans without a project's name go to its project ``default``."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    number = 0xD100 + 2 * (transport == "otlp_http") + (compression == "gzip")
    spans = [make_span(number, trace_id=number, attributes={"text": "ü" * 1000})]
    destination = open_destination(getattr(phoenix, transport))
    assert await destination.send(batch_of(spans)) == Delivered()
    await destination.aclose()
    kept = phoenix.as_kept(sent_by_id(spans))
    assert differences(kept, spans_by_id(phoenix.trace(number)), ignore=phoenix.not_kept) == []


async def test_phoenix_puts_spans_where_a_header_says(phoenix: Phoenix, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP, ``x-project-name`` overrides the project that the resource names."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-project-name=elsewhere")
    resource = Resource({"openinference.project.name": PROJECT_ID})
    destination = open_destination(phoenix.otlp_http)
    assert await destination.send(batch_of([make_span(0xD400, trace_id=0xD400, resource=resource)])) == Delivered()
    await destination.aclose()
    phoenix.trace(0xD400)
    assert [span["name"] for span in phoenix.spans("elsewhere", f"{0xD400:032x}")] == [f"span {0xD400}"]


async def test_phoenix_has_a_limit_of_size_over_grpc_alone(phoenix: Phoenix) -> None:
    """Phoenix rejects gRPC messages above 4 MiB; over HTTP it accepts 5 MB in a span."""
    spans = [make_span(0xD200, trace_id=0xD200, attributes={"text": "x" * 5_000_000})]
    over_grpc, over_http = open_destination(phoenix.otlp_grpc), open_destination(phoenix.otlp_http)
    assert isinstance(await over_grpc.send(batch_of(spans)), TooLarge)
    assert await over_http.send(batch_of(spans)) == Delivered()
    await over_grpc.aclose()
    await over_http.aclose()
    kept = phoenix.as_kept(sent_by_id(spans))
    assert differences(kept, spans_by_id(phoenix.trace(0xD200)), ignore=phoenix.not_kept) == []


async def test_what_phoenix_loses_behind_an_ok(phoenix: Phoenix) -> None:
    """Behind an OK, Phoenix loses a span with a value of bytes, and a second span with an id it knows, even in another trace."""
    spans = [
        make_span(0xD301, trace_id=0xD301, attributes={"raw": b"\x00"}),
        make_span(0xD302, trace_id=0xD301),
        make_span(0xD302, trace_id=0xD302),
        make_span(0xD303, trace_id=0xD302),
    ]
    destination = open_destination(phoenix.otlp_http)
    assert await destination.send(batch_of(spans)) == Delivered()
    await destination.aclose()
    shown = spans_by_id(phoenix.trace(0xD302)) | spans_by_id(phoenix.trace(0xD301))
    assert [key[1][-4:] for key in sorted(shown)] == ["d302", "d303"]
