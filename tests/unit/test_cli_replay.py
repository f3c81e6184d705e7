"""``replay``: what it prints, how it exits, and that it never says "done" early."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from netra_otel_bridge.emulator import EmulatorOptions
from tests.support import cli
from tests.support.cli import CANARY, Result, environment, run, spans_in
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.examples import size
from tests.support.fake_destination import FakeDestination, PartialSuccess, Reject

TRACES, SPANS = 12, 60
WHOLE = {"NETRA_BRIDGE_WINDOW": "7d"}
"""One window for all traces, because each window is a call."""


@pytest.fixture(scope="module")
def shared() -> Iterator[ThreadedEmulator]:
    options = EmulatorOptions(port=0, seed=3, traces=TRACES, spans_per_trace=5, api_key=CANARY)
    with running_emulator(options) as emulator:
        yield emulator


@pytest.fixture
def netra(shared: ThreadedEmulator) -> Iterator[ThreadedEmulator]:
    """Serve a Netra without faults; faults that a test sets end with it."""
    yield shared
    shared.set_faults()


def replay(netra: ThreadedEmulator, target: Path | str, *more: str, **env: str) -> Result:
    to = f"otlp-file:{target}" if isinstance(target, Path) else target
    return run("replay", "--since", "25h", "--to", to, *more, env=environment(netra.endpoint, **{**WHOLE, **env}))


def test_a_replay_delivers_everything_and_says_so(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A table on stdout, nothing on stderr, exit 0, and every span of Netra in the file."""
    result = replay(netra, tmp_path / "out.jsonl")
    assert (result.code, result.err) == (0, "")
    assert len(set(spans_in(tmp_path / "out.jsonl"))) == len(spans_in(tmp_path / "out.jsonl")) == SPANS
    assert " 60 " in result.out
    assert "API calls" in result.out


def test_json_is_one_document_of_the_documented_shape(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The document has the keys of ``docs/cli.md``, and nothing else is on stdout."""
    result = replay(netra, tmp_path / "out.jsonl", "--json")
    report = result.json
    assert (result.code, result.err) == (0, "")
    assert report.keys() >= {"window", "destinations", "api_calls", "retries", "seconds", "exit_code"}
    assert report["window"].keys() == {"from", "until"}
    (lane,) = report["destinations"]
    counts = {
        "traces": TRACES,
        "spans": SPANS,
        "delivered": SPANS,
        "refused": 0,
        "dead_lettered": 0,
        "skipped": 0,
        "exit": 0,
    }
    assert lane.items() >= counts.items()
    assert lane["name"] == f"otlp-file:{tmp_path}/out.jsonl"
    assert lane["bytes"] > 0
    assert report["exit_code"] == 0


@pytest.mark.faults
def test_the_program_itself_runs(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A child process has the same exit code, streams and file."""
    to = f"otlp-file:{tmp_path}/out.jsonl"
    result = cli.ended(cli.start("replay", "--since", "25h", "--to", to, "--json", env=environment(netra.endpoint)))
    assert (result.code, result.err) == (0, "")
    assert result.json["destinations"][0]["delivered"] == len(spans_in(tmp_path / "out.jsonl")) == SPANS


def test_verbose_adds_to_stderr_alone(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """``-v`` does not change the document on stdout."""
    assert replay(netra, tmp_path / "out.jsonl", "--json", "-v").json["destinations"][0]["delivered"] == SPANS


def test_a_dry_run_sends_nothing(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A dry run prints an estimate and creates no file."""
    result = replay(netra, tmp_path / "out.jsonl", "--dry-run", "--json")
    assert result.code == 0
    assert result.json.items() >= {"dry_run": True, "traces": TRACES, "spans": SPANS, "exit_code": 0}.items()
    assert "Nothing was sent" in replay(netra, tmp_path / "out.jsonl", "--dry-run").out
    assert not (tmp_path / "out.jsonl").exists()


def test_filters_choose_traces(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A filter that matches nothing delivers nothing and says so; one that matches all delivers all."""
    none = replay(netra, tmp_path / "none.jsonl", "--filter", "environment=nowhere")
    assert none.code == 0
    assert "Netra has no traces" in none.out
    assert spans_in(tmp_path / "none.jsonl") == []
    both = ("--filter", "total_cost=-1", "--tenant", "nobody")
    assert replay(netra, tmp_path / "none.jsonl", *both, "--json").json["destinations"][0]["spans"] == 0


@pytest.mark.parametrize("profile", ["raw", "genai", "openinference", "both"])
def test_the_profile_is_the_one_asked_for(netra: ThreadedEmulator, tmp_path: Path, profile: str) -> None:
    """The attributes of the profile are in the file, others are not."""
    assert replay(netra, tmp_path / "out.jsonl", "--profile", profile).code == 0
    text = (tmp_path / "out.jsonl").read_text()
    assert ("netra.cost.total" in text) == (profile != "raw")
    assert ("openinference.span.kind" in text) == (profile in ("openinference", "both"))


def test_a_wrong_key(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A rejected key exits with 77 and one line that says what to check and never contains the key."""
    netra_key = environment(netra.endpoint, NETRA_API_KEY=f"{CANARY}-other")
    result = run("replay", "--since", "25h", "--to", f"otlp-file:{tmp_path}/out", env=netra_key)
    assert result.code == 77
    assert "NETRA_API_KEY" in result.said
    assert result.err.count("\n") == 1


def test_a_key_that_is_revoked_on_the_way(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A key that is revoked midway exits with 77 and a report; an incomplete replay never exits with 0."""
    netra.set_faults("unauthorized-after=8")
    result = replay(netra, tmp_path / "out.jsonl", "--json")
    (lane,) = result.json["destinations"]
    assert result.code == result.json["exit_code"] == lane["exit"] == 77
    assert lane["delivered"] == len(spans_in(tmp_path / "out.jsonl")) < SPANS
    assert lane["error"]["type"] == "NetraUnauthorized"


def test_a_wrong_port(tmp_path: Path) -> None:
    """An address where nothing listens exits with 69."""
    result = run(
        "replay", "--since", "1h", "--to", f"otlp-file:{tmp_path}/o", env=environment("http://127.0.0.1:9/telemetry")
    )
    assert result.code == 69
    assert "127.0.0.1:9" in result.said


def test_a_wrong_path(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Another service at the endpoint exits with 78 and names the endpoint to check."""
    result = run(
        "replay", "--since", "1h", "--to", f"otlp-file:{tmp_path}/o", env=environment(f"{netra.url}/elsewhere")
    )
    assert result.code == 78
    assert "NETRA_OTLP_ENDPOINT" in result.said


def test_a_web_page(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A login page with status 200 is not data: exit 78."""
    netra.set_faults("html")
    result = replay(netra, tmp_path / "out.jsonl")
    assert result.code == 78
    assert "web page" in result.said
    assert spans_in(tmp_path / "out.jsonl") == []


@pytest.mark.parametrize("variable", ["NETRA_API_KEY", "NETRA_OTLP_ENDPOINT"])
def test_a_missing_setting(variable: str, tmp_path: Path) -> None:
    """A bad setting exits with 78 and names the variable."""
    env = {name: value for name, value in environment("http://127.0.0.1:9/telemetry").items() if name != variable}
    result = run("replay", "--since", "1h", "--to", f"otlp-file:{tmp_path}/o", env=env)
    assert result.code == 78
    assert variable in result.said


WRONG: list[tuple[tuple[str, ...], str]] = [
    ((), "no time range is given"),
    (("--since", "1h", "--from", "2h"), "the start of the range is given twice"),
    (("--since", "soon"), "'soon' is not a time"),
    (("--from", "1h", "--until", "2h"), "the range is empty"),
    (("--since", "1h", "--concurrency", "0"), "--concurrency"),
    (("--since", "1h", "--concurrency", "many"), "--concurrency"),
    (("--since", "1h", "--window", "1"), "--window"),
    (("--since", "1h", "--profile", "other"), "--profile"),
    (("--since", "1h", "--filter", "nonsense"), "FIELD=VALUE"),
    (("--since", "1h", "--filter", "colour=red"), "unknown field"),
    (("--since", "1h", "--filter", "total_cost=nan"), "must be a number"),
    (("--since", "1h", "--filter", "has_error=perhaps"), "true or false"),
    (("--since", "1h", "--to", "nowhere"), "is not a destination"),
    (("--since", "1h", "--to", "console"), "stdout"),
    (("--since", "1h", "--to", "exporter:console"), "stdout"),
    (("--since", "1h", "--bogus"), "--bogus"),
    (("--since", "1h", "extra"), "extra"),
    (("--since", "1h", "\udcff"), "unexpected extra argument"),
]


@pytest.mark.parametrize(
    ("flags", "message"), WRONG, ids=[" ".join(flags).encode("ascii", "replace").decode() for flags, _ in WRONG]
)
def test_bad_flags(netra: ThreadedEmulator, flags: tuple[str, ...], message: str) -> None:
    """Bad flags exit with 2, one line on stderr, and the same as one document with ``--json``."""
    result = run("replay", *flags, "--json", env=environment(netra.endpoint))
    assert result.code == 2
    assert message in result.said
    assert result.err.count("\n") == 1
    assert result.json["exit_code"] == 2
    assert result.json["error"]["type"] == "UsageError"


def test_a_named_destination_that_is_the_console_is_refused_with_json(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A name from the configuration file does not hide the console."""
    (tmp_path / "c.yaml").write_text("destinations: {screen: console}\nto: [screen]\n")
    result = run("replay", "--since", "1h", "--json", "--config", f"{tmp_path}/c.yaml", env=environment(netra.endpoint))
    assert result.code == 2
    assert "stdout" in result.said


BROKEN = ["truncated-json", "wrong-shape", "cut-body", "empty-page-has-next", "cursor-loop", "has-next-missing",
          "has-next-string", "status-500", "gzip-cut", "reset"]  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_answers_are_never_the_end_of_the_data(netra: ThreadedEmulator, tmp_path: Path, fault: str) -> None:
    """A fault of Netra exits with 69 and one line that says what Netra did; nothing is called done."""
    netra.set_faults(fault)
    result = replay(netra, tmp_path / "out.jsonl", "--json")
    (lane,) = result.json["destinations"]
    assert result.code == result.json["exit_code"] == lane["exit"] == 69
    assert lane["delivered"] == len(spans_in(tmp_path / "out.jsonl")) < SPANS
    assert lane["error"]["message"] in result.said


@pytest.mark.parametrize(
    "fault", ["truncated-json=1", "cut-body=1", "status-503=1", "gzip-cut=1", "cursor-expired", "reorder"]
)
def test_a_fault_that_ends_costs_nothing(netra: ThreadedEmulator, tmp_path: Path, fault: str) -> None:
    """The page is read again: everything is delivered once, exit 0."""
    netra.set_faults(fault)
    result = replay(netra, tmp_path / "out.jsonl", "--json")
    assert result.code == 0, result.err
    assert len(set(spans_in(tmp_path / "out.jsonl"))) == len(spans_in(tmp_path / "out.jsonl")) == SPANS


def test_items_that_are_no_spans_are_counted(tmp_path: Path) -> None:
    """Two odd items on each page are named, the rest is delivered, and the replay exits with 3."""
    pages = traces = size(20, 60)  # the spans of a trace fill one page; one more page lists the traces
    options = EmulatorOptions(port=0, seed=1, traces=traces, spans_per_trace=traces, api_key=CANARY)
    with running_emulator(options) as netra:
        netra.set_faults("bad-item")
        result = replay(netra, tmp_path / "out.jsonl", "--json", "--window", "7d")
    (lane,) = result.json["destinations"]
    assert result.code == lane["exit"] == 3
    assert lane["unreadable"] == lane["dead_lettered"] == 2 * (pages + 1)
    assert lane["delivered"] == len(set(spans_in(tmp_path / "out.jsonl"))) == traces * traces
    assert "cannot be read" in result.err


def test_too_many_odd_items_stop_the_replay(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """If more than a tenth of a page is unreadable, the API has changed, and the replay stops."""
    netra.set_faults("bad-item")
    result = replay(netra, tmp_path / "out.jsonl")
    assert result.code == 69
    assert "the API may have changed" in result.said


@pytest.mark.parametrize("target", ["otlp+grpc://127.0.0.1:9", "otlp+http://127.0.0.1:9"])
def test_a_destination_that_is_down(netra: ThreadedEmulator, target: str) -> None:
    """An unreachable destination exits with 69 and is named."""
    result = replay(netra, target, "--json")
    (lane,) = result.json["destinations"]
    assert result.code == lane["exit"] == 69
    assert lane["delivered"] == 0
    assert target in result.said


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize(
    ("decision", "code", "delivered"),
    [
        (PartialSuccess(7, "too old"), 3, SPANS - 7),
        (PartialSuccess(0, "take care"), 0, SPANS),
        (Reject(grpc.StatusCode.UNAUTHENTICATED, 401, "who are you"), 77, 0),
        (Reject(grpc.StatusCode.UNIMPLEMENTED, 404, "no such service"), 78, 0),
        (Reject(grpc.StatusCode.UNAVAILABLE, 503, "busy"), 69, 0),
    ],
    ids=["partial", "warning", "unauthorized", "wrong-service", "busy"],
)
def test_what_a_destination_answers(
    netra: ThreadedEmulator, protocol: str, decision: Any, code: int, delivered: int
) -> None:
    """Rejected spans exit with 3, credentials with 77, another service with 78, no room with 69; none is called success."""
    with FakeDestination() as server:
        server.script(*[decision] * (1 if isinstance(decision, PartialSuccess) else 200))
        result = replay(netra, server.grpc_url if protocol == "grpc" else server.http_url, "--json")
    (lane,) = result.json["destinations"]
    assert result.code == lane["exit"] == code
    assert lane["delivered"] == delivered
    assert lane["refused"] == (SPANS - delivered if code == 3 else 0)


def test_a_batch_without_an_answer_is_sent_again(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """It is not recorded as delivered: the next replay with the same state sends everything, once."""
    arguments = ("--state", str(tmp_path / "state"), "--json")
    with FakeDestination() as server:
        server.script(Reject(grpc.StatusCode.UNAVAILABLE, 503, "busy"))
        assert replay(netra, server.grpc_url, *arguments, NETRA_BRIDGE_ATTEMPTS="1").code == 69
        (lane,) = replay(netra, server.grpc_url, *arguments).json["destinations"]
        assert (lane["delivered"], lane["skipped"], len(server.stored_ids())) == (SPANS, 0, SPANS)


def test_a_destination_that_refuses_everything(netra: ThreadedEmulator) -> None:
    """Each span becomes a dead letter, none is delivered, and the replay exits with 3."""
    with FakeDestination() as server:
        server.script(*[Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "no")] * 400)
        result = replay(netra, server.grpc_url, "--json")
    (lane,) = result.json["destinations"]
    assert result.code == lane["exit"] == 3
    assert (lane["delivered"], lane["refused"], lane["dead_lettered"]) == (0, 0, SPANS)


def test_one_destination_fails_the_other_gets_everything(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """With two ``--to``, both are in the report and the exit code is that of the failed one."""
    result = replay(netra, tmp_path / "out.jsonl", "--to", "otlp+grpc://127.0.0.1:9", "--json")
    file, down = result.json["destinations"]
    assert (file["delivered"], file["exit"], down["exit"]) == (SPANS, 0, 69)
    assert result.code == 69
    assert len(spans_in(tmp_path / "out.jsonl")) == SPANS


def test_a_file_that_cannot_be_written(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The replay exits with 78 and the path before anything is read."""
    result = replay(netra, tmp_path / "none" / "out.jsonl")
    assert result.code == 78
    assert f"{tmp_path}/none" in result.said


def test_names_with_brackets_are_printed_as_they_are(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Text that looks like markup is printed as text."""
    (tmp_path / "[").mkdir()
    result = replay(netra, tmp_path / "[" / "red]x")
    assert result.code == 0
    assert "[/red]x" in "".join(line.strip() for line in result.out.splitlines())


def test_the_console_is_a_destination(netra: ThreadedEmulator) -> None:
    """The console prints spans on stdout for people."""
    result = replay(netra, "console", "--filter", "has_error=true")
    assert result.code == 0


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_signal_ends_a_replay_with_one_line(tmp_path: Path, number: signal.Signals, as_json: bool) -> None:
    """Exit 75, one line on stderr, one document on stdout with ``--json``; no traceback, and nothing is called done."""
    options = EmulatorOptions(port=0, seed=3, traces=5, api_key=CANARY)
    with running_emulator(options) as netra:
        netra.set_faults("hang")
        flags = ("--json",) if as_json else ()
        process = cli.start(
            "replay", "--since", "25h", "--to", f"otlp-file:{tmp_path}/out.jsonl", *flags, env=environment(netra.endpoint)
        )  # fmt: skip
        _until_asked(netra, process)
        process.send_signal(number)
        result = cli.ended(process)
    assert result.code == 75
    assert "interrupted" in result.said
    assert result.err.count("\n") == 1
    assert (result.json["exit_code"] == 75) if as_json else (result.out == "")


@pytest.mark.faults
def test_a_background_job_of_a_shell_ends_on_sigterm(tmp_path: Path) -> None:
    """A shell starts it with ``&`` and SIGINT ignored; SIGTERM still ends it with exit 75 and one line."""
    with running_emulator(EmulatorOptions(port=0, seed=3, traces=5, api_key=CANARY)) as netra:
        netra.set_faults("hang")
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process = cli.start(
                "replay", "--since", "25h", "--to", f"otlp-file:{tmp_path}/out", env=environment(netra.endpoint)
            )
        finally:
            signal.signal(signal.SIGINT, before)
        _until_asked(netra, process)
        process.send_signal(signal.SIGTERM)
        result = cli.ended(process)
    assert result.code == 75
    assert result.err.count("\n") == 1
    assert "interrupted" in result.said


def _until_asked(netra: ThreadedEmulator, process: subprocess.Popen[str]) -> None:
    """Wait until the emulator has received a call, which means that the replay has begun."""
    while not netra.call(lambda: netra.emulator.calls.total()):
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            raise AssertionError(cli.ended(process))
