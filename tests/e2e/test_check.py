"""`check` against real servers: how they answer to size and to a made-up span, and that they store nothing else."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from netra_otel_bridge.core.clock import NS_PER_S, SystemClock
from netra_otel_bridge.emulator import EmulatorOptions
from tests.support import cli
from tests.support.compare import spans_by_id
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.jaeger import Jaeger
from tests.support.server import free_ports
from tests.support.tempo import Tempo

HOUR_NS = 3600 * NS_PER_S
MIB_4 = 4 << 20
both = pytest.mark.parametrize("transport", ["otlp_grpc", "otlp_http"])


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    with running_emulator(EmulatorOptions(port=0, seed=1, traces=3, spans_per_trace=2, api_key=cli.CANARY)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def jaeger() -> Iterator[Jaeger]:
    """Run a Jaeger that has nothing but what these tests send."""
    with Jaeger() as server:
        yield server


@pytest.fixture(scope="module")
def tempo() -> Iterator[Tempo]:
    with Tempo() as server:
        yield server


def check(netra: ThreadedEmulator, *arguments: str, batch_bytes: int = 3_500_000) -> cli.Result:
    env = cli.environment(netra.endpoint, NETRA_BRIDGE_BATCH_BYTES=str(batch_bytes))
    return cli.run("check", *arguments, "--json", env=env)


def checked(netra: ThreadedEmulator, to: str, *arguments: str, batch_bytes: int = 3_500_000) -> dict[str, Any]:
    """Return the report on the one destination."""
    found: dict[str, Any] = check(netra, "--to", to, *arguments, batch_bytes=batch_bytes).json["checks"][1]
    return found


def services(jaeger: Jaeger) -> list[str]:
    """Return the services that Jaeger has heard of so far."""
    with urllib.request.urlopen(f"{jaeger.query_url}/api/v3/services", timeout=10) as response:
        return list(json.load(response).get("services", ()))


def found_by_age(jaeger: Jaeger, start_ns: int) -> set[str]:
    """Return the ids of the made-up traces that Jaeger's search finds around a time."""
    about = {
        "service": "netra-otel-bridge",
        "operation": "netra-otel-bridge check",
        "start": (start_ns - HOUR_NS) // 1000,
        "end": (start_ns + HOUR_NS) // 1000,
        "limit": 100,
    }
    with urllib.request.urlopen(f"{jaeger.query_url}/api/traces?{urllib.parse.urlencode(about)}", timeout=30) as answer:
        return {trace["traceID"] for trace in json.load(answer)["data"]}


@both
def test_jaeger_is_asked_for_size_and_stores_nothing(netra: ThreadedEmulator, transport: str) -> None:
    """Jaeger accepts a full batch, reveals its limit for larger ones (gRPC names it, HTTP by halving), and stores nothing."""
    limit_bytes, least_bytes = (MIB_4, 4_100_000) if transport == "otlp_grpc" else (20 << 20, 12_000_000)
    with Jaeger() as server:
        usual = checked(netra, getattr(server, transport))
        assert (usual["ok"], usual["said"]) == (True, "it accepts a request of 3.5 MB without spans")
        large = checked(netra, getattr(server, transport), batch_bytes=24_000_000)
        assert (large["ok"], large["exit_code"]) == (True, 0)
        assert least_bytes - 200_000 < large["took_bytes"] < limit_bytes
        assert "none of 24.0 MB (" in large["said"]
        assert "batches are split" in large["said"]
        assert services(server) == []


@both
def test_tempo_is_asked_for_size_and_stores_nothing(netra: ThreadedEmulator, transport: str) -> None:
    """Tempo accepts over HTTP what it would reject with spans in it, so the report does not claim that it accepts large spans."""
    with Tempo() as server:
        assert checked(netra, getattr(server, transport))["said"] == "it accepts a request of 3.5 MB without spans"
        large = checked(netra, getattr(server, transport), batch_bytes=5_000_000)
        assert large["ok"]
        assert (large["took_bytes"] < MIB_4) == (transport == "otlp_grpc")
        assert "whether it accepts large or old spans" in large["unknown"]
        assert server.metric("tempo_distributor_spans_received_total") == 0
        assert server.metric("tempo_ingester_traces_created_total") == 0


@both
@pytest.mark.parametrize(("since", "age", "hours"), [("24h", "24 h old", 24), ("30d", "30 days old", 720)])
def test_jaeger_keeps_the_span(
    netra: ThreadedEmulator, jaeger: Jaeger, transport: str, since: str, age: str, hours: int
) -> None:
    """The span is there whole, by id and by age: the report says how to look up what its line calls unknown."""
    one = checked(netra, getattr(jaeger, transport), "--send", "--since", since)
    assert one["said"] == f"it accepts a request of 3.5 MB without spans; accepted a span of 3.5 MB, {age}"
    assert one["trace_id"] in one["unknown"]
    ((_, span),) = spans_by_id(jaeger.trace(one["trace_id"])).items()
    start_ns = SystemClock().now_ns() - hours * HOUR_NS
    assert abs(span["start_ns"] - start_ns) < 60 * NS_PER_S
    assert span["name"] == "netra-otel-bridge check"
    assert services(jaeger) == ["netra-otel-bridge"]
    assert one["trace_id"] in found_by_age(jaeger, start_ns)


@both
def test_tempo_says_with_a_span_what_it_does_not_say_without(
    netra: ThreadedEmulator, tempo: Tempo, transport: str
) -> None:
    """Tempo's internal limit also applies to spans over HTTP; the largest span that passes is sent once, and kept."""
    before = tempo.metric("tempo_ingester_traces_created_total")
    one = checked(netra, getattr(tempo, transport), "--send", batch_bytes=5_000_000)
    assert one["ok"]
    assert "accepted a span of 4.1 MB, 24 h old" in one["said"]
    assert "none of 5.0 MB (" in one["said"]
    assert len(spans_by_id(tempo.trace(one["trace_id"]))) == 1
    assert tempo.metric("tempo_ingester_traces_created_total") == before + 1


def test_what_is_wrong_with_each_address_is_said_and_hides_nothing(netra: ThreadedEmulator, jaeger: Jaeger) -> None:
    """A wrong path, protocol, port, TLS and a web page give one line and one code each; sound destinations are still asked."""
    grpc, http = jaeger.otlp_grpc, jaeger.otlp_http
    (nobody,) = free_ports(1)
    expected = {
        f"{http}/no/such/path": (78, "HTTP 404"),
        grpc.replace("grpc:", "http:"): (78, "not OTLP"),
        http.replace("http:", "grpc:"): (78, "http1.x server"),
        grpc.replace("grpc:", "grpcs:"): (78, "WRONG_VERSION_NUMBER"),
        http.replace("http:", "https:"): (78, "WRONG_VERSION_NUMBER"),
        jaeger.query_url.replace("http:", "otlp+http:"): (78, "a web page"),
        f"otlp+grpc://127.0.0.1:{nobody}": (69, "Connection refused"),
        f"otlp+http://127.0.0.1:{nobody}": (69, "Connection refused"),
        grpc: (0, "it accepts a request"),
        http: (0, "it accepts a request"),
    }
    result = check(netra, *(part for to in expected for part in ("--to", to)))
    assert result.code == 78
    _, *checks = result.json["checks"]
    assert [one["name"] for one in checks] == list(expected)
    for one, (code, words) in zip(checks, expected.values(), strict=True):
        assert (one["ok"], one["exit_code"]) == (code == 0, code), one
        assert words in one["said"], one
        assert "\n" not in one["said"]
