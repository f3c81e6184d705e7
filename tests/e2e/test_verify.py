"""Proof of arrival over a real Jaeger: exact counts, from the state alone, and no false alarm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_otel_bridge.readback import waiting
from tests.support import cli
from tests.support.jaeger import Jaeger
from tests.support.rig import Rig, running_rig

TRACES, SPANS = 200, 10
KEPT = 150


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait three seconds before a span is missing, and no minute: this Jaeger shows at once what it took."""
    monkeypatch.setattr(waiting, "SHOWN_AFTER_S", 3.0)


@pytest.fixture
def evicting() -> Iterator[Jaeger]:
    """Run a Jaeger that keeps `KEPT` traces and forgets the oldest beyond them, as its configuration says."""
    with Jaeger(max_traces=KEPT) as server:
        yield server


def verified(rig: Rig, to: Jaeger, *more: str) -> cli.Result:
    return cli.run(
        *("verify", *rig.range(), "--to", to.otlp_grpc, "--at", to.read_at, "--json", *more), env=rig.environment()
    )


def test_what_a_jaeger_evicted_is_counted_from_the_state_alone(evicting: Jaeger, tmp_path: Path) -> None:
    """With Netra stopped, each span of the evicted traces is missing, all others are intact, and the cause is named."""
    with running_rig(tmp_path) as rig:
        rig.feed(TRACES, SPANS)
        replayed = rig.replay(evicting.otlp_grpc, "--state", str(rig.state))
        assert (replayed.code, replayed.json["destinations"][0]["delivered"]) == (0, TRACES * SPANS)
    result = verified(rig, evicting, "--state", str(rig.state))
    (store,) = result.json["destinations"]
    assert result.code == store["exit"] == result.json["exit_code"] == 3
    assert result.json["netra_calls"] == 0
    assert (store["traces"], store["spans"]) == (TRACES, TRACES * SPANS)
    assert (store["intact"], store["missing"]) == (KEPT * SPANS, (TRACES - KEPT) * SPANS)
    assert not any(store[kind] for kind in ("cut", "changed", "duplicated", "foreign", "hidden", "pending"))
    (finding,) = store["findings"]
    assert (finding["kind"], finding["count"]) == ("missing", (TRACES - KEPT) * SPANS)
    assert "max_traces" in finding["hint"]
    assert 0 < len(finding["samples"]) <= 10


def test_an_honest_jaeger_has_no_finding(jaeger: Jaeger, tmp_path: Path) -> None:
    """Everything is intact, from the state alone and compared with Netra; the search shows every trace."""
    with running_rig(tmp_path) as rig:
        rig.feed(20, SPANS)
        result = rig.replay(jaeger.otlp_grpc, "--verify-at", jaeger.read_at, "--state", str(rig.state))
        assert result.code == 0, result.out
        from_netra = verified(rig, jaeger)
    for report in (result.json["verify"], verified(rig, jaeger, "--state", str(rig.state)).json, from_netra.json):
        (store,) = report["destinations"]
        assert (store["spans"], store["intact"], store["findings"]) == (20 * SPANS, 20 * SPANS, [])
        assert (store["looked_for"], report["exit_code"]) == (20, 0)
    assert from_netra.json["netra_calls"] > 20


def test_repair_brings_back_what_is_missing(tmp_path: Path) -> None:
    """A Jaeger that was restarted empty has everything again after one command, and each span once."""
    server = Jaeger()
    with running_rig(tmp_path) as rig:
        rig.feed(20, SPANS)
        with server:
            assert rig.replay(server.otlp_grpc, "--state", str(rig.state)).code == 0
        with server:
            state = ("--state", str(rig.state))
            result = rig.replay(server.otlp_grpc, *state, "--repair", "--verify-at", server.read_at)
    assert result.code == 0, result.out
    assert [one["sent_again"] for one in result.json["repaired"]] == [20 * SPANS]
    (store,) = result.json["verify"]["destinations"]
    assert (store["intact"], store["findings"]) == (20 * SPANS, [])
