"""Programs in Go and Node that use the gRPC service, built as their READMEs say, against the real command.

The Go program passes spans to a real Collector; what the Collector sends on is compared with what Netra holds.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from netra_otel_bridge.deliver import encode_span
from netra_otel_bridge.deliver.otlp.encode import encode_request
from netra_otel_bridge.emulator import EmulatorOptions
from tests.support import cli
from tests.support.child import Child, Ended
from tests.support.collector import Collector
from tests.support.compare import Key, Normal, differences, sent_by_id, spans_by_id
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.grpc_clients import (
    SECRETS,
    TOKEN,
    client_environment,
    followed,
    go_collector,
    grpc_bridge,
    node_usage,
)
from tests.support.oracle import Oracle, Sent
from tests.support.proxy import Link, Proxy
from tests.support.replays import NOT_IN_NETRA, own_spans, replay, without_added

NOW_NS = time.time_ns()
S = 10**9
HOUR_NS = 3600 * S
FROM = "2000-01-01T00:00:00Z"
UNTIL = "2100-01-01T00:00:00Z"
SPANS, TRACES = 9, 400
RESPONSE = 512
"""The most spans that a response of ReadSpans has."""


class LastingCollector(Collector):
    """A Collector that a test stops and starts. ``documents`` has what it sent on in all of its lives."""

    def __init__(self) -> None:
        super().__init__()
        self.address = self.otlp_grpc.removeprefix("otlp+grpc://")
        self._earlier: list[dict[str, Any]] = []

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [*self._earlier, *(self._sink.documents if self._sink is not None else ())]

    def stop(self) -> None:
        """End it, after it has sent on what it still has."""
        sink = self._sink
        super().stop()
        if sink is not None:
            self._earlier += sink.documents

    def union(self) -> dict[Key, Normal]:
        """Return every span that was sent on. Raise `AssertionError` if one came twice with different content."""
        return spans_by_id({"resourceSpans": [one for document in self.documents for one in document["resourceSpans"]]})

    def count(self) -> int:
        """Return how many spans were sent on, repeats included."""
        return sum(
            len(scope["spans"])
            for document in self.documents
            for resource in document["resourceSpans"]
            for scope in resource["scopeSpans"]
        )


@pytest.fixture
def collector() -> Iterator[LastingCollector]:
    with LastingCollector() as server:
        yield server


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    """Run a Netra with a day of traffic."""
    with running_emulator(
        EmulatorOptions(port=0, api_key=cli.CANARY, seed=6600, traces=TRACES, spans_per_trace=SPANS)
    ) as running:
        yield running


@pytest.fixture(scope="module")
def expected(netra: ThreadedEmulator, tmp_path_factory: pytest.TempPathFactory) -> dict[Key, Normal]:
    """Return the spans that the bridge's command makes of it with profile ``genai``."""
    file = tmp_path_factory.mktemp("expected") / "sent.jsonl"
    replay(netra, "--since", "25h", "--profile", "genai", "--to", f"otlp-file:{file}")
    documents = [json.loads(line) for line in file.read_text().splitlines()]
    return spans_by_id({"resourceSpans": [one for document in documents for one in document["resourceSpans"]]})


@pytest.fixture(scope="module")
def address(netra: ThreadedEmulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of the bridge's gRPC service for it."""
    with grpc_bridge(netra, tmp_path_factory.mktemp("bridge")) as (_, listening):
        yield listening


@pytest.fixture
def proxy(address: str) -> Iterator[Proxy]:
    """Run a slow line to the bridge, which leaves time to cut it in the middle."""
    with Proxy(int(address.rpartition(":")[2])) as line:
        line.down = Link(bytes_per_s=4_000_000)
        yield line


def go(command: str, bridge: str, collector: LastingCollector, directory: Path, *flags: str) -> Child:
    """Return the Go program as a child; it keeps its resume token in ``directory``."""
    words = [command, "-bridge", bridge, "-collector", collector.address, *flags]
    if command == "pull":
        words += ["-resume", str(directory / "token")]
    program = (str(go_collector()),)
    return Child(*words, directory=directory, env=client_environment(), program=program, secrets=SECRETS)


def node(bridge: str, directory: Path, *words: str, **env: str) -> Child:
    """Return the Node program as a child."""
    arguments = [*words, "--bridge", bridge]
    environ = client_environment(**env)
    return Child(*arguments, directory=directory, env=environ, program=node_usage(), secrets=SECRETS)


def cut(proxy: Proxy, child: Child, times: int) -> None:
    """Cut the line at random instants."""
    instants = random.Random(times)
    before = proxy.counts.resets
    deadline = time.monotonic() + 60
    while child.running and proxy.counts.resets < before + times:
        time.sleep(instants.uniform(0.05, 0.6))
        proxy.reset()
        assert time.monotonic() < deadline, child.err
    assert child.running, f"it ended before its line was cut {times} times\n{child.err}"


def test_go_pulls_every_span(collector: LastingCollector, tmp_path: Path) -> None:
    """The Collector sends on every recorded span once, also 3 MB in a span or 5,000 in a trace."""
    spans = own_spans(NOW_NS)
    recorded = sent_by_id(spans)
    with running_emulator(EmulatorOptions(port=0, api_key=cli.CANARY)) as netra:
        assert netra.ingest(encode_request(spans, [encode_span(span) for span in spans])) == []
        with grpc_bridge(netra, tmp_path) as (bridge, address):
            flags = ("-from", FROM, "-until", UNTIL, "-profile", "raw")
            with go("pull", address, collector, tmp_path, *flags) as program:
                assert program.wait().code == 0, program.err
            with go("pull", address, collector, tmp_path, *flags) as program:
                again = program.wait()
                assert again.code == 0, again.err
            bridge.signal(signal.SIGTERM)
            assert bridge.wait().code == 0
    assert "spans=0" in again.said, "the resume token leads behind everything"
    collector.stop()
    assert collector.count() == len(recorded)
    received = collector.union()
    assert differences(recorded, without_added(received, recorded), ignore=NOT_IN_NETRA) == []


def test_go_goes_on_after_every_break(
    expected: dict[Key, Normal], proxy: Proxy, collector: LastingCollector, tmp_path: Path
) -> None:
    """Killed, cut off from the bridge again and again, and without a Collector for a while, it still delivers exactly everything."""
    flags = ("-from", FROM, "-until", UNTIL, "-profile", "genai")
    through = f"127.0.0.1:{proxy.port}"
    with go("pull", through, collector, tmp_path, *flags) as program:
        program.until((tmp_path / "token").exists)
        program.kill()
    with go("pull", through, collector, tmp_path, *flags) as program:
        cut(proxy, program, 3)
        collector.stop()
        program.until(lambda: "where=collector" in program.err)
        breaks = program.kill().err.count("where=bridge")
    (tmp_path / "at").mkdir()
    shutil.copy(tmp_path / "token", tmp_path / "at")
    with go("pull", through, collector, tmp_path, *flags) as program:
        program.until(lambda: "where=collector" in program.err)
        collector.__enter__()
        cut(proxy, program, 3)
        end = program.wait()
    assert end.code == 0, end.err
    assert breaks + end.err.count("where=bridge") >= 4, end.err
    collector.stop()
    assert differences(expected, collector.union()) == []
    assert collector.count() - len(expected) <= 3 * RESPONSE, "a kill, or a Collector that stops, costs one response"
    with LastingCollector() as other, go("pull", through, other, tmp_path / "at", *flags) as program:
        assert program.wait().said.partition("ended")[2] == end.said.partition("ended")[2], (
            "a line that is cut costs none"
        )


def test_go_follows_live_spans(collector: LastingCollector, tmp_path: Path) -> None:
    """Cut off, killed and without a Collector for a while, every span arrives, and an acknowledged one never comes again."""
    oracle = Oracle("follow", start_ns=NOW_NS - 60 * S)
    live = {"NETRA_BRIDGE_POLL": "200ms", "NETRA_BRIDGE_SETTLE": "0s", "NETRA_BRIDGE_PROFILE": "raw"}
    since = ("-since", datetime.fromtimestamp((NOW_NS - HOUR_NS) // S, UTC).isoformat(), "-subscription", "test")
    with (
        running_emulator(EmulatorOptions(port=0, api_key=cli.CANARY)) as netra,
        grpc_bridge(netra, tmp_path, **live) as (bridge, address),
        Proxy(int(address.rpartition(":")[2])) as proxy,
    ):
        through = f"127.0.0.1:{proxy.port}"
        oracle.feed(netra, oracle.traces(50, 8, every_ns=S // 100))
        with go("follow", through, collector, tmp_path, *since) as program:
            program.until(lambda: collector.documents)
            oracle.feed(netra, oracle.traces(50, 8, every_ns=S // 100))
            program.kill()
        with go("follow", through, collector, tmp_path, *since) as program:
            for trace_id in oracle.trace_ids[:3]:
                oracle.feed(netra, [*oracle.traces(20, 8, every_ns=S // 100), *oracle.late(trace_id, 3)])
                cut(proxy, program, 1)
            collector.stop()
            oracle.feed(netra, oracle.traces(20, 8, every_ns=S // 100))
            program.until(lambda: "where=collector" in program.err)
            program.kill()
        with go("follow", through, collector, tmp_path, *since) as program:
            program.until(lambda: "where=collector" in program.err)
            collector.__enter__()
            program.until(lambda: len(collector.union()) == len(oracle))
            program.signal(signal.SIGTERM)
            end = program.wait()
        assert end.code == 0, end.err
        before = collector.count()
        with go("follow", through, collector, tmp_path, *since) as program:
            fresh = oracle.traces(1, 2)
            oracle.feed(netra, fresh)
            program.until(lambda: len(collector.union()) == len(oracle))
            with go("follow", through, collector, tmp_path, *since):
                taken_over = program.wait()
        bridge.signal(signal.SIGTERM)
        assert bridge.wait().code == 0
    assert (taken_over.code, "TAKEN_OVER" in taken_over.said) == (1, True), taken_over.err
    collector.stop()
    assert collector.count() == before + len(fresh)
    sent = Sent(tuple(tuple(spans_by_id(document).items()) for document in collector.documents))
    verdict = oracle.verdict(sent)
    assert (verdict.missing, verdict.invented, verdict.altered) == ([], [], []), verdict


def test_go_says_what_is_wrong(address: str, collector: LastingCollector, tmp_path: Path) -> None:
    """A resume token of another range, and an impossible range, end the program at once with the bridge's own words."""
    range_ = ("-from", FROM, "-until", UNTIL)
    with go("pull", address, collector, tmp_path, *range_, "-tenant", "Globex") as program:
        assert program.wait().code == 0
    with go("pull", address, collector, tmp_path, *range_) as program:
        other = program.wait()
    (tmp_path / "token").unlink()
    with go("pull", address, collector, tmp_path, "-from", UNTIL, "-until", FROM) as program:
        backwards = program.wait()
    assert (other.code, backwards.code) == (1, 1)
    assert "(RESUME_TOKEN_INVALID)" in other.said
    assert "(ARGUMENT_INVALID)" in backwards.said


def test_go_stops_in_order(proxy: Proxy, collector: LastingCollector, tmp_path: Path) -> None:
    """SIGTERM in the middle of a range gives another exit code than its end, and the token to resume with."""
    with go("pull", f"127.0.0.1:{proxy.port}", collector, tmp_path, "-from", FROM, "-until", UNTIL) as program:
        program.until((tmp_path / "token").exists)
        program.signal(signal.SIGTERM)
        end = program.wait(5)
    assert end.code == 75, end.err
    assert "start it again" in end.said


def test_node_prints_usage(netra: ThreadedEmulator, address: str, tmp_path: Path) -> None:
    """The figures are those of the bridge's own command; an id that Netra does not know is named."""
    environ = cli.environment(netra.endpoint)
    whole = ("--from", FROM, "--until", UNTIL)
    tenant = cli.run("usage", "tenant", "Globex", *whole, "--json", env=environ).json
    words = ("usage", *whole, "--tenant", "Globex", "--tenant", "nobody")
    with node(address, tmp_path, *words, "--json") as program:
        end = program.wait()
    with node(address, tmp_path, *words) as program:
        shown = program.wait()
    assert end.json == {
        "tenant": "Globex",
        "tokens": tenant["token_count"],
        "requests": tenant["request_count"],
        "sessions": tenant["session_count"],
        "cost": tenant["total_cost"],
    }
    assert tenant["token_count"] > 0
    assert (end.code, shown.code) == (3, 3)
    assert "(TENANT_NOT_FOUND)" in end.said
    assert shown.out.startswith(f"tenant Globex: {tenant['token_count']} tokens, ")


def test_node_prints_each_span_once(expected: dict[Key, Normal], proxy: Proxy, tmp_path: Path) -> None:
    """However often its connection is cut, its output misses no line and repeats none."""
    with node(f"127.0.0.1:{proxy.port}", tmp_path, "spans", "--from", FROM, "--until", UNTIL) as program:
        program.until(lambda: program.out)
        cut(proxy, program, 5)
        end = program.wait()
    assert end.code == 0, end.err
    assert end.err.count("trying again") >= 3, end.err
    printed = [json.loads(line) for line in end.out.splitlines()]
    assert len(printed) == len(expected) == TRACES * SPANS
    for span in printed:
        wanted = expected[span["trace_id"], span["span_id"]]
        assert (span["name"], int(span["start_ns"]), int(span["end_ns"])) == (
            wanted["name"],
            wanted["start_ns"],
            wanted["end_ns"],
        )
    assert {(span["trace_id"], span["span_id"]) for span in printed} == expected.keys()


def test_node_counts_spans_by_model(expected: dict[Key, Normal], address: str, tmp_path: Path) -> None:
    """The program counts the spans of one tenant's traces, or of all."""
    with node(address, tmp_path, "spans", "--from", FROM, "--until", UNTIL, "--count") as program:
        end = program.wait()
    with node(address, tmp_path, "spans", "--from", FROM, "--until", UNTIL, "--count", "--tenant", "Globex") as program:
        of_tenant = program.wait()
    models = Counter(
        (span["attributes"].get("gen_ai.response.model") or span["attributes"].get("gen_ai.request.model") or (0, "-"))[
            1
        ]
        for span in expected.values()
    )
    assert counted(end) == dict(models)
    assert 0 < sum(counted(of_tenant).values()) < sum(models.values())


def counted(end: Ended) -> dict[str, int]:
    """Return the counts that it printed."""
    assert end.code == 0, end.err
    return {model: int(count) for count, _, model in (line.partition("\t") for line in end.out.splitlines())}


@pytest.mark.parametrize("language", ["go", "node"])
def test_retry_info_is_honoured(
    language: str, netra: ThreadedEmulator, address: str, collector: LastingCollector, tmp_path: Path
) -> None:
    """While Netra cannot be reached, the bridge asks clients to wait 5 s, and they wait that long before they continue."""
    netra.set_faults("status-500")
    try:
        with client(language, address, collector, tmp_path) as program:
            program.until(lambda: "NETRA_UNAVAILABLE" in program.err)
            netra.set_faults()
            end = program.wait()
    finally:
        netra.set_faults()
    assert end.code == 0, end.err
    assert end.seconds > 5
    assert end.err.count("NETRA_UNAVAILABLE") == 1


@pytest.mark.parametrize("language", ["go", "node"])
def test_over_tls(language: str, netra: ThreadedEmulator, collector: LastingCollector, tmp_path: Path) -> None:
    """Clients connect with the authority that signed the bridge's certificate; a wrong token is rejected over TLS too."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "certificate", "key")}
    authority.cert_pem.write_to_path(files["ca"])
    issued.cert_chain_pems[0].write_to_path(files["certificate"])
    issued.private_key_pem.write_to_path(files["key"])
    tls = {"NETRA_BRIDGE_GRPC_CERTIFICATE": files["certificate"], "NETRA_BRIDGE_GRPC_KEY": files["key"]}
    with grpc_bridge(netra, tmp_path, **tls) as (_, address):
        with client(language, address, collector, tmp_path, ca=files["ca"]) as program:
            assert program.wait().code == 0, program.err
        with client(language, address, collector, tmp_path, ca=files["ca"], token="wrong-41c6") as program:
            refused = program.wait()
    assert (refused.code, "(TOKEN_WRONG)" in refused.said) == (1, True), refused.err


@pytest.mark.parametrize(("name", "files"), [("go-collector", {"my-collector"}), ("node-usage", {"node_modules"})])
def test_an_example_works_in_another_project(name: str, files: set[str], tmp_path: Path) -> None:
    """If its README is followed word for word, the copy builds and runs in another project, and nothing refers back here."""
    made = followed(name, tmp_path)
    assert files <= {one.name for one in made.iterdir()}
    sources = [one.read_text("utf-8") for one in made.iterdir() if one.suffix in (".go", ".js", ".mod")]
    assert [text for text in sources if "../../proto" in text or "example.com/go-collector" in text] == []


def client(
    language: str, bridge: str, collector: LastingCollector, directory: Path, ca: str = "", token: str = TOKEN
) -> Child:
    """Return either program as a child that reads one tenant's spans."""
    env = client_environment(NETRA_BRIDGE_GRPC_TOKEN=token)
    if language == "go":
        program: tuple[str, ...] = (str(go_collector()),)
        words = ["pull", "-bridge", bridge, "-collector", collector.address, "-from", FROM, "-tenant", "Globex"]
        words += ["-resume", str(directory / "token")] + (["-bridge-ca", ca] if ca else [])
    else:
        program = node_usage()
        words = ["spans", "--bridge", bridge, "--from", FROM, "--tenant", "Globex", "--count"]
        words += ["--ca", ca] if ca else []
    return Child(*words, directory=directory, env=env, program=program, secrets=SECRETS)
