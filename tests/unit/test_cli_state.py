"""State across commands: replays resume, state is reset, and dead letters are listed, sent again and removed."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from netra_otel_bridge import Bridge
from netra_otel_bridge.bridge.check import check
from netra_otel_bridge.core.model.outcome import Outcome, SpanBatch
from netra_otel_bridge.deliver import Destination, ProbeResult
from netra_otel_bridge.deliver.probe import probe
from netra_otel_bridge.emulator import EmulatorOptions
from tests.support import cli
from tests.support.cli import CANARY, Result, spans_in
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.fake_destination import Accept, FakeDestination, PartialSuccess, Reject
from tests.support.scripted_api import ServerThread, json_reply, page
from tests.support.scripted_api import span as scripted_span
from tests.support.scripted_api import trace as scripted_trace
from tests.support.waiting import SOON_S

TRACES, SPANS = 12, 60


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    with running_emulator(
        EmulatorOptions(port=0, seed=4, traces=TRACES, spans_per_trace=5, api_key=CANARY)
    ) as emulator:
        yield emulator


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(netra: ThreadedEmulator, home: Path, *arguments: str, **env: str) -> Result:
    return cli.run(*arguments, env=cli.environment(netra.endpoint, XDG_STATE_HOME=str(home), **env))


def replay(netra: ThreadedEmulator, home: Path, to: str, *more: str, **env: str) -> Result:
    return run(netra, home, "replay", "--since", "25h", "--to", to, *more, **{"NETRA_BRIDGE_WINDOW": "7d", **env})


def test_with_a_state_nothing_is_sent_twice(netra: ThreadedEmulator, home: Path, tmp_path: Path) -> None:
    """The second run skips everything, fetches no span, and prints the command that sends it again."""
    to, state = f"otlp-file:{tmp_path}/out.jsonl", str(tmp_path / "state")
    first = replay(netra, home, to, "--state", state, "--json").json
    second = replay(netra, home, to, "--state", state, "--json").json
    (was,), (now,) = first["destinations"], second["destinations"]
    assert (was["delivered"], was["skipped"], was["spans"]) == (SPANS, 0, SPANS)
    assert (now["delivered"], now["skipped"], now["spans"], now["traces"]) == (0, SPANS, SPANS, TRACES)
    assert second["api_calls"] == first["api_calls"] - TRACES
    assert len(spans_in(tmp_path / "out.jsonl")) == SPANS
    said = replay(netra, home, to, "--state", state).out
    assert f"netra-otel-bridge state reset --to {to} --state {state}" in said


def test_a_reset_sends_again_from_a_time_on(netra: ThreadedEmulator, home: Path, tmp_path: Path) -> None:
    """Later traces are reset and delivered again, earlier ones are not, and another destination is untouched."""
    to, other, state = f"otlp-file:{tmp_path}/out.jsonl", f"otlp-file:{tmp_path}/other.jsonl", str(tmp_path / "state")
    replay(netra, home, to, "--to", other, "--state", state)
    reset = run(netra, home, "state", "reset", "--to", to, "--from", "12h", "--state", state, "--json").json
    assert 0 < reset["traces"] < TRACES
    again, untouched = replay(netra, home, to, "--to", other, "--state", state, "--json").json["destinations"]
    assert again["delivered"] == 5 * reset["traces"]
    assert (untouched["delivered"], untouched["skipped"]) == (0, SPANS)
    everything = run(netra, home, "state", "reset", "--to", to, "--state", state, "--json").json
    assert everything["traces"] == TRACES


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "pass --to DEST"),
        (("--to", "x", "--all"), "pass --to DEST"),
        (("--all", "--from", "1h"), "pass --to DEST"),
        (("--to", "nobody"), "has no destination 'nobody'"),
    ],
)
def test_a_reset_that_makes_no_sense(
    netra: ThreadedEmulator, home: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    """The error says what is missing or which destinations exist, and nothing changes."""
    state = str(tmp_path / "state")
    replay(netra, home, f"otlp-file:{tmp_path}/out.jsonl", "--state", state)
    result = run(netra, home, "state", "reset", *arguments, "--state", state)
    assert result.code == 2
    assert words in result.said


def test_a_damaged_state_is_unusable_until_it_is_moved_aside(
    netra: ThreadedEmulator, home: Path, tmp_path: Path
) -> None:
    """Exit 78 names both ways out. After ``state reset --all`` the next replay is a first one, and nothing is deleted."""
    to, state = f"otlp-file:{tmp_path}/out.jsonl", tmp_path / "state"
    replay(netra, home, to, "--state", str(state))
    (state / "state.db").write_bytes(b"")
    refused = replay(netra, home, to, "--state", str(state))
    assert refused.code == 78
    assert "put back a backup" in refused.said
    assert f"state reset --all --state {state}" in refused.said
    assert len(spans_in(tmp_path / "out.jsonl")) == SPANS
    aside = run(netra, home, "state", "reset", "--all", "--state", str(state), "--json").json["put_aside"]
    assert (Path(aside) / "state.db").exists()
    assert replay(netra, home, to, "--state", str(state), "--json").json["destinations"][0]["delivered"] == SPANS


def test_without_a_state_a_finished_replay_is_forgotten(netra: ThreadedEmulator, home: Path, tmp_path: Path) -> None:
    """A second run of the same command copies everything again and leaves no folder behind."""
    to = f"otlp-file:{tmp_path}/out.jsonl"
    for _ in range(2):
        assert replay(netra, home, to, "--json").json["destinations"][0]["delivered"] == SPANS
    assert list((home / "netra-otel-bridge" / "replays").iterdir()) == []


def test_without_a_state_an_unfinished_replay_goes_on(netra: ThreadedEmulator, home: Path, tmp_path: Path) -> None:
    """After the destination failed, the same command sends only the rest; another destination has its own progress."""
    with FakeDestination() as server:
        server.script(Accept(), *[Reject(grpc.StatusCode.UNAVAILABLE, 503, "gone")] * 2)
        batches = {"NETRA_BRIDGE_BATCH_SPANS": "20"}
        broken = replay(netra, home, server.grpc_url, "--json", **batches)
        assert broken.code == 69
        assert broken.json["destinations"][0]["delivered"] == 20
        assert len(list((home / "netra-otel-bridge" / "replays").iterdir())) == 1
        elsewhere = replay(netra, home, f"otlp-file:{tmp_path}/out.jsonl", "--json")
        assert elsewhere.json["destinations"][0]["skipped"] == 0
        (rest,) = replay(netra, home, server.grpc_url, "--json", **batches).json["destinations"]
        assert (rest["delivered"], rest["skipped"], rest["spans"]) == (SPANS - 20, 20, SPANS)
        assert len(server.stored_ids()) == SPANS
    assert list((home / "netra-otel-bridge" / "replays").iterdir()) == []


def test_reread_reads_everything_twice(netra: ThreadedEmulator, home: Path, tmp_path: Path) -> None:
    """If nothing was missing, nothing is sent, and the report says how much was compared."""
    to = f"otlp-file:{tmp_path}/out.jsonl"
    report = replay(netra, home, to, "--reread", "--json").json
    (lane,) = report["destinations"]
    assert (lane["delivered"], lane["spans"], lane["verified"], lane["skipped"]) == (SPANS, SPANS, SPANS, 0)
    assert len(spans_in(tmp_path / "out.jsonl")) == SPANS
    assert report["api_calls"] >= 2 * TRACES


def test_dead_letters_are_listed_sent_again_and_removed(netra: ThreadedEmulator, home: Path, tmp_path: Path) -> None:
    """A rejected batch is dead-lettered span by span with the reason. Once accepted or removed, it is no longer listed."""
    state = str(tmp_path / "state")
    few = {"NETRA_BRIDGE_BATCH_SPANS": "4"}
    with FakeDestination() as server:
        server.script(*[Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "not these")] * 7)
        refused = replay(netra, home, server.grpc_url, "--state", state, "--json", **few)
        assert refused.code == 3
        (lane,) = refused.json["destinations"]
        assert (lane["delivered"], lane["dead_lettered"]) == (SPANS - 4, 4)
        listed = run(netra, home, "state", "dead-letters", "--state", state)
        documents = [json.loads(line) for line in listed.out.splitlines()]
        assert len(documents) == 4
        assert all(document["resourceSpans"] for document in documents)
        assert listed.err.count("INVALID_ARGUMENT: not these") == 4
        kept = run(netra, home, "state", "dead-letters", "--state", state, "--json").json["dead_letters"]
        assert {one["span_id"] for one in kept}.isdisjoint(span_id for _, span_id in server.stored_ids())
        status = run(netra, home, "status", "--state", state, "--json").json["destinations"][0]
        assert (status["dead_lettered"], status["reasons"]) == (
            4, [{"reason": "INVALID_ARGUMENT: not these", "count": 4}]
        )  # fmt: skip
        server.script(*[Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "still not")] * 3)
        again = run(netra, home, "replay", "--dead-letters", "--to", server.grpc_url, "--state", state, "--json")
        (lane,) = again.json["destinations"]
        assert (again.code, again.json["window"], again.json["api_calls"]) == (3, None, 0)
        assert lane["delivered"] + lane["dead_lettered"] == 4
        left = lane["dead_lettered"]
        assert 0 < left < 4
        assert len(run(netra, home, "state", "dead-letters", "--state", state).out.splitlines()) == left
        removed = run(netra, home, "state", "dead-letters", "--state", state, "--to", server.grpc_url, "--remove")
        assert f"removed {left} dead letters" in removed.err
        assert run(netra, home, "state", "dead-letters", "--state", state).out == ""


@pytest.mark.parametrize("trace_id", ["AB" * 16, "0af76519-16cd-43dd-8448-eb211c80319c", "f0a1b2c3d4e5f607", "run-7"])
def test_a_dead_letter_of_any_trace_id_is_resolved(trace_id: str, home: Path, tmp_path: Path) -> None:
    """A rejected span that is accepted later is no dead letter, however Netra writes the id of its trace."""
    pages = {
        "POST": page([scripted_trace(1, id=trace_id, start_time="2025-11-16T00:00:00Z")]),
        "GET": page([scripted_span(1, trace_id=trace_id)]),
    }
    state = str(tmp_path / "state")
    with ServerThread(lambda request: json_reply(pages[request.method])) as netra, FakeDestination() as server:
        environ = cli.environment(netra.endpoint, XDG_STATE_HOME=str(home))
        server.script(Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "no"))
        range_ = ("--from", "2025-11-15T23:00:00Z", "--until", "2025-11-16T01:00:00Z")
        ask = ("replay", *range_, "--to", server.grpc_url, "--state", state, "--json")
        assert cli.run(*ask, env=environ).json["destinations"][0]["dead_lettered"] == 1
        assert cli.run("state", "reset", "--to", server.grpc_url, "--state", state, env=environ).code == 0
        assert cli.run(*ask, env=environ).json["destinations"][0]["delivered"] == 1
        assert cli.run("state", "dead-letters", "--state", state, env=environ).out == ""


def test_dead_letters_of_a_replay_without_a_state_stay(netra: ThreadedEmulator, home: Path) -> None:
    """The report prints the commands that list dead letters and send them again."""
    with FakeDestination() as server:
        server.script(*[Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "no")] * 3)
        said = " ".join(replay(netra, home, server.grpc_url, NETRA_BRIDGE_BATCH_SPANS="2").out.split())
        (folder,) = (home / "netra-otel-bridge" / "replays").iterdir()
        assert f"state dead-letters --state {folder}" in said
        assert f"replay --dead-letters --to {server.grpc_url} --state {folder}" in said
        wrong = run(netra, home, "replay", "--dead-letters", "--to", "otlp+grpc://127.0.0.1:9", "--state", str(folder))
        assert wrong.code == 2
        assert "belong to other destinations" in wrong.said
        again = run(netra, home, "replay", "--dead-letters", "--to", server.grpc_url, "--state", str(folder))
        assert again.code == 0
        assert len(server.stored_ids()) == SPANS
        none = run(netra, home, "replay", "--dead-letters", "--to", server.grpc_url, "--state", str(folder))
        assert "have no dead letters" in none.out


def test_a_replay_that_goes_on_says_what_was_refused_before(netra: ThreadedEmulator, home: Path) -> None:
    """A second run with another failure is no success while spans are missing; once delivered, they are no longer listed."""
    few = {"NETRA_BRIDGE_BATCH_SPANS": "4"}
    refused = Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "not these")
    with FakeDestination() as server:
        server.script(*[refused] * 7, Accept(), Reject(grpc.StatusCode.UNAUTHENTICATED, 401, "who is this"))
        assert replay(netra, home, server.grpc_url, **few).code == 77
        (folder,) = (home / "netra-otel-bridge" / "replays").iterdir()
        went_on = replay(netra, home, server.grpc_url, "--json", **few)
        (lane,) = went_on.json["destinations"]
        assert (went_on.code, lane["dead_lettered"], lane["kept"]) == (3, 0, 4)
        assert lane["delivered"] + lane["skipped"] == SPANS
        assert len(server.stored_ids()) == SPANS - 4
        all_of_it = replay(netra, home, server.grpc_url, **few)
        assert (all_of_it.code, "dead letters are stored" in all_of_it.out) == (0, False)
        assert len(set(server.stored_ids())) == SPANS
    assert not folder.exists()


def test_what_is_refused_again_is_kept_once(netra: ThreadedEmulator, home: Path) -> None:
    """The report counts a dead letter once, with the new ones."""
    with FakeDestination() as server:
        for _ in range(2):
            server.script(*[Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "not these")] * 3)
            said = replay(netra, home, server.grpc_url, NETRA_BRIDGE_BATCH_SPANS="2")
            assert (said.code, "2 dead letters are stored; see" in said.out.replace("\n", " ")) == (3, True)
        (folder,) = (home / "netra-otel-bridge" / "replays").iterdir()
        assert len(run(netra, home, "state", "dead-letters", "--state", str(folder)).out.splitlines()) == 2


def test_a_checkpoint_is_that_of_one_command(netra: ThreadedEmulator, home: Path, tmp_path: Path) -> None:
    """A finished replay of another range keeps the progress of an interrupted one; a deleted file is written again, whole."""
    out = tmp_path / "out.jsonl"
    batches = {"NETRA_BRIDGE_BATCH_SPANS": "20"}
    with FakeDestination() as server:
        server.script(Accept(), *[Reject(grpc.StatusCode.UNAVAILABLE, 503, "gone")] * 2)
        to = ("--to", f"otlp-file:{out}")
        assert replay(netra, home, server.grpc_url, "--json", **batches).code == 69
        assert run(netra, home, "replay", "--since", "1s", "--to", server.grpc_url).code == 0
        rest = replay(netra, home, server.grpc_url, "--json").json["destinations"][0]
        assert (rest["skipped"], rest["delivered"]) == (20, SPANS - 20)
        server.script(Accept(), *[Reject(grpc.StatusCode.UNAVAILABLE, 503, "gone")] * 2)
        assert replay(netra, home, server.grpc_url, *to, "--json", **batches).code == 69
        out.unlink()
        rest, whole = replay(netra, home, server.grpc_url, *to, "--json", **batches).json["destinations"]
        assert (rest["delivered"], whole["delivered"]) == (SPANS - 20, SPANS)
        assert len(spans_in(out)) == SPANS


def test_a_file_is_the_same_from_every_folder(
    netra: ThreadedEmulator, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress on a relative path belongs to the file, however the path is written."""
    state = str(tmp_path / "state")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        lane = replay(netra, home, "otlp-file:out.jsonl", "--state", state, "--json").json["destinations"][0]
        assert (lane["delivered"], lane["skipped"]) == (SPANS, 0)
    assert run(netra, home, "state", "reset", "--to", "otlp-file:out.jsonl", "--state", state).code == 0


def test_refusals_that_end_the_work_are_sent_again_afterwards(
    netra: ThreadedEmulator, home: Path, tmp_path: Path
) -> None:
    """Nobody knows which spans of the batch were rejected; once the destination is repaired, none is taken for delivered."""
    few = EmulatorOptions(port=0, seed=4, traces=60, spans_per_trace=5, api_key=CANARY)
    with running_emulator(few) as many, FakeDestination() as server:
        server.script(PartialSuccess(250, "quota"))
        state = str(tmp_path / "state")
        refused = replay(many, home, server.grpc_url, "--state", state, "--json")
        assert refused.code == 3
        assert refused.json["destinations"][0]["refused"] == 250
        repaired = replay(many, home, server.grpc_url, "--state", state, "--json").json["destinations"][0]
        assert (repaired["delivered"], repaired["skipped"]) == (300, 0)


def test_check_has_an_end(netra: ThreadedEmulator, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers that accept a connection and never respond are tested at the same time, for a bounded time."""
    monkeypatch.setattr("netra_otel_bridge.bridge.check.CHECK_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        arguments = [part for path in "abcdefg" for part in ("--to", f"otlp+http://127.0.0.1:{port}/{path}")]
        begun = time.monotonic()
        result = cli.run("check", *arguments, "--json", env=cli.environment(f"http://127.0.0.1:{port}"))
        assert time.monotonic() - begun < 15, "one after the other"
    assert result.code == 69
    assert [one["said"].partition(" (")[0] for one in result.json["checks"]] == ["no response within 2 s"] * 8


def test_check_does_not_wait_where_netra_asks_to(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A rate limit is reported as one, at once, with its exit code."""
    netra.set_faults("status-429=9", "retry-after=60")
    begun = time.monotonic()
    try:
        result = cli.run("check", "--to", f"otlp-file:{tmp_path}/a", "--json", env=cli.environment(netra.endpoint))
    finally:
        netra.set_faults()
    assert time.monotonic() - begun < SOON_S
    assert (result.code, result.json["checks"][0]["exit_code"]) == (75, 75)
    assert "HTTP 429" in result.json["checks"][0]["said"]
    assert "asks to wait 60 s" in result.json["checks"][0]["said"]
    assert "waiting" not in result.err


def test_check_names_the_problem_of_each_destination(netra: ThreadedEmulator, home: Path, tmp_path: Path) -> None:
    """Each destination has one line; the exit code is that of the first that failed."""
    with FakeDestination() as server:
        good = run(netra, home, "check", "--to", server.grpc_url, "--to", f"otlp-file:{tmp_path}/out.jsonl", "--json")
        assert (good.code, [one["ok"] for one in good.json["checks"]]) == (0, [True, True, True])
        assert all(one["unknown"] for one in good.json["checks"])
        assert server.stored_ids() == []
        assert not (tmp_path / "out.jsonl").exists()
        server.script(Reject(grpc.StatusCode.UNAUTHENTICATED, 401, "who are you"))
        bad = run(netra, home, "check", "--to", server.grpc_url, "--to", "otlp+http://127.0.0.1:9")
        assert bad.code == 77
        lines = bad.out.splitlines()
        assert [line.split()[0] for line in lines] == ["ok", "failed", "failed"]
        assert "who are you" in lines[1]
        assert "Connection refused" in lines[2]
    wrong = cli.run("check", "--to", "console", env=cli.environment(netra.endpoint, NETRA_API_KEY="nk-wrong"))
    assert wrong.code == 77


def test_check_sends_a_span_where_that_is_asked_for(netra: ThreadedEmulator, home: Path, tmp_path: Path) -> None:
    """The test span has the age of ``--since`` and the size of a full batch."""
    to = ("--to", f"otlp-file:{tmp_path}/out.jsonl")
    with FakeDestination() as server:
        arguments = ("check", "--to", server.grpc_url, "--to", server.http_url, *to, "--send")
        result = run(netra, home, *arguments, "--json", NETRA_BRIDGE_BATCH_BYTES="50000")
        assert result.code == 0
        _, *checks = result.json["checks"]
        keys = ["name", "ok", "said", "unknown", "exit_code", "sure", "took_bytes", "trace_id"]
        assert [list(one) for one in checks] == [keys] * 3
        assert all(one["said"].endswith("a span of 50.0 kB, 24 h old") for one in checks[:2])
        assert sorted(one["trace_id"] for one in checks[:2]) == sorted(trace for trace, _ in server.stored_ids())
        assert len(spans_in(tmp_path / "out.jsonl")) == 1
        ages = {"90m": "90 min old", "2026-01-01T00:00:00+01:00": " days old", "now": ", 0 s old", "5m": ", 5 min old"}
        for since, age in ages.items():
            said = run(netra, home, "check", "--to", server.grpc_url, "--send", "--since", since)
            assert age in said.out, said.out


@pytest.mark.faults
def test_a_check_with_send_prints_a_short_span_to_the_console(netra: ThreadedEmulator) -> None:
    """The test span of a destination without a limit is small, and a person can read it."""
    printed = cli.ended(cli.start("check", "--to", "console", "--send", env=cli.environment(netra.endpoint))).out
    assert len(printed) < 5_000
    assert '"name": "netra-otel-bridge check"' in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--since", "2h"), "spans of --send and --canary"),
        (("--at", "jaeger+grpc://localhost:1"), "add --canary"),
        (("--size", "5000"), "add --canary"),
        (("--send", "--since", "2999-01-01"), "is in the future"),
        (("--send", "--since", "yesterday"), "is not a time"),
        (("--send", "--json", "--to", "console"), "would both write to stdout"),
    ],
)
def test_a_check_that_makes_no_sense(
    netra: ThreadedEmulator, home: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    """The flags are rejected before anything is sent."""
    result = run(netra, home, "check", "--to", f"otlp-file:{tmp_path}/out.jsonl", *arguments)
    assert result.code == 2
    assert words in result.said
    assert not (tmp_path / "out.jsonl").exists()


def test_what_cannot_be_set_up_hides_nothing_else(netra: ThreadedEmulator, home: Path) -> None:
    """No key, no folder, no exporter: each has one line, and the others are still tested."""
    with FakeDestination() as server:
        destinations = ["otlp-file:/no/such/place", "exporter:nobody", server.grpc_url]
        to = [part for one in destinations for part in ("--to", one)]
        result = run(netra, home, "check", *to, "--json", NETRA_API_KEY="")
    assert result.code == 78
    found = [(one["exit_code"], one["said"]) for one in result.json["checks"]]
    assert [code for code, _ in found] == [78, 78, 78, 0]
    expected = ("NETRA_API_KEY is not set", "no directory /no/such", "no traces exporter", "it accepts")
    assert all(words in said for words, (_, said) in zip(expected, found, strict=True)), found


def test_a_text_that_is_no_destination_hides_nothing_else(netra: ThreadedEmulator, home: Path, tmp_path: Path) -> None:
    """Netra and the file each have a line, the bad text has one with its message, and no password is shown."""
    bad = "bogus://user:hunter2@x"
    result = run(netra, home, "check", "--to", f"otlp-file:{tmp_path}/a.jsonl", "--to", "bogus://x", "--to", bad)
    assert (result.code, result.err) == (2, "")
    assert [line.split()[0] for line in result.out.splitlines()] == ["ok", "ok", "failed", "failed"]
    assert "bogus://x: 'bogus://x' is not a destination" in result.out
    assert "hunter2" not in result.out


def test_a_refusal_of_what_holds_no_span_is_no_plain_ok(netra: ThreadedEmulator, home: Path) -> None:
    """A destination that may or may not accept spans has a line that says so and which command would tell."""
    with FakeDestination() as server:
        for status in (400, 413, 422):
            server.script(*[Reject(grpc.StatusCode.INVALID_ARGUMENT, status, "never")] * 2)
            result = run(netra, home, "check", "--to", server.http_url)
            line = result.out.splitlines()[1]
            assert (result.code, line.split()[0]) == (0, "unsure")
            assert "check --send" in line
            asked = run(netra, home, "check", "--to", server.http_url, "--json")
            assert [one["sure"] for one in asked.json["checks"]] == [True, False]
        server.script(Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "wants a span"))
        sent = run(netra, home, "check", "--to", server.http_url, "--send", "--json")
    assert [(one["ok"], one["sure"]) for one in sent.json["checks"]] == [(True, True)] * 2


@pytest.mark.parametrize("profile", ["raw", "genai"])
def test_check_says_what_raw_leaves_to_the_server(
    profile: str, netra: ThreadedEmulator, home: Path, tmp_path: Path
) -> None:
    """With profile raw, the line of an OTLP server says that its pages may fail for NaN; no other line does."""
    config = tmp_path / "bridge.yaml"
    with FakeDestination() as server:
        config.write_text(f"destinations:\n  here: {server.grpc_url}\n")
        to = ("--to", "here", "--to", server.http_url, "--to", f"otlp-file:{tmp_path}/out.jsonl")
        result = run(netra, home, "check", *to, "--config", str(config), NETRA_BRIDGE_PROFILE=profile)
    said = [line for line in result.out.splitlines() if "NaN" in line]
    assert result.code == 0, result.said
    assert [line.split()[1] for line in said] == (["here:", f"{server.http_url}:"] if profile == "raw" else [])


async def test_what_a_destination_raises_hides_nothing_else(netra: ThreadedEmulator) -> None:
    """A user's own destination may raise anything, even for an empty batch: that is not ok."""

    class Raises:
        name = "theirs"

        async def send(self, batch: SpanBatch) -> Outcome:
            raise KeyError(CANARY)

        async def aclose(self) -> None:
            """Holds nothing."""

    with FakeDestination() as server:
        bridge = Bridge(environ=cli.environment(netra.endpoint))
        *others, theirs = await check(bridge, [server.grpc_url, server.http_url, Raises()])
    assert [one.ok for one in others] == [True] * 3
    assert (theirs.name, theirs.ok, theirs.sure) == ("theirs", False, True)
    assert "KeyError" in theirs.said


async def test_a_defect_in_asking_hides_nothing_else(netra: ThreadedEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of an unexpected error omits its text, which may contain a secret."""

    async def broken(destination: Destination, *arguments: Any) -> ProbeResult:
        if destination.name == "console":
            raise KeyError(CANARY)
        return await probe(destination, *arguments)

    monkeypatch.setattr("netra_otel_bridge.bridge.check.probe", broken)
    with FakeDestination() as server:
        *others, console = await check(Bridge(environ=cli.environment(netra.endpoint)), [server.grpc_url, "console"])
    assert [one.ok for one in others] == [True] * 2
    assert (console.name, console.exit_code) == ("console", 1)
    assert console.said.startswith("raised KeyError (this is a bug")
    assert CANARY not in console.said
