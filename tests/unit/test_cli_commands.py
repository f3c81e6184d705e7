"""``usage``, ``traces``, ``config show``, ``emulator``, ``demo``: what they print and how they exit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge import cli as command_line
from netra_otel_bridge.config.settings import SETTINGS
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.otlp import read_document
from tests.support import cli
from tests.support.cli import CANARY, Result, environment, run, spans_in
from tests.support.converted import RECORDING
from tests.support.emulator import START_NS, ThreadedEmulator, otlp_document, otlp_span, running_emulator

COMMANDS = [
    ("replay",), ("usage",), ("usage", "tenant"), ("usage", "session"), ("traces",), ("traces", "list"),
    ("traces", "show"), ("config",), ("config", "show"), ("emulator",), ("demo",),
]  # fmt: skip
EVER = ("--from", "2020-01-01", "--until", "2100-01-01")


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    """Serve the recording of netra-sdk, and a trace whose names are markup and control characters."""
    with running_emulator(EmulatorOptions(port=0, load=(RECORDING,), api_key=CANARY)) as emulator:
        odd = [
            otlp_span(
                0xBAD, 1, attributes={"netra.tenant_id": "[/b]", "netra.span.type": "GENERATION"}, name="[red]x[/]"
            ),
            otlp_span(0xBAD, 2, parent=1, start_ns=START_NS + 10, name="child"),
            otlp_span(0xBAD, 3, parent=99, start_ns=START_NS + 20, name="orphan", status={"code": 2}),
        ]
        document = otlp_document(*odd, resource={"service.name": "[b]s[/nope]"})
        assert emulator.call(lambda: emulator.emulator.store.ingest(read_document(document))) == []
        yield emulator


def test_names_that_look_like_emoji_are_printed_as_they_are(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Names such as ``:smile:`` and ``:x:`` stay as they are in a title, a line and a tree."""
    span = otlp_span(0xE, 1, attributes={"netra.tenant_id": "acme:smile:1"}, name="a:x:b")
    assert netra.call(lambda: netra.emulator.store.ingest(read_document(otlp_document(span)))) == []
    assert "tenant acme:smile:1" in ask(netra, "usage", "tenant", "acme:smile:1", *EVER).out
    to = f"otlp-file:{tmp_path}/:x:y"
    assert f"{to}: it can be written" in ask(netra, "check", "--to", to).out
    assert "a:x:b" in ask(netra, "traces", "show", f"{0xE:032x}").out


def ask(netra: ThreadedEmulator, *arguments: str, **env: str) -> Result:
    return run(*arguments, env=environment(netra.endpoint, **env))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    """Help goes to stdout with exit 0. Commands, but not groups, list the shared flags."""
    result = run(*command, "--help")
    assert (result.code, result.err) == (0, "")
    if command not in (("usage",), ("traces",), ("config",)):
        for flag in ("--config", "--json", "-v", "-q"):
            assert flag in result.out


@pytest.mark.parametrize("command", [(), ("state",), ("usage",), ("traces",), ("config",)], ids=" ".join)
def test_a_group_alone_is_answered_with_its_help(command: tuple[str, ...]) -> None:
    """A group without a command prints its help on stderr and exits with 2, because nothing was done."""
    result = run(*command)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("Usage: netra-otel-bridge")


@pytest.mark.parametrize(
    "arguments", [("frobnicate",), ("usage", "tenant"), ("traces", "list", "--limit", "0"), ("traces", "show")]
)
def test_bad_arguments_name_themselves(arguments: tuple[str, ...]) -> None:
    """The command exits with 2 and one line that names the argument and where its help is."""
    result = run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert "--help" in result.err
    assert any(word in result.err for word in ("frobnicate", "ID", "--limit"))


def test_usage_of_a_tenant(netra: ThreadedEmulator) -> None:
    """Usage is printed as a small table, or as one document with the SDK's field names."""
    result = ask(netra, "usage", "tenant", "AceTech", *EVER)
    assert (result.code, result.err) == (0, "")
    assert "tenant AceTech" in result.out
    document = ask(netra, "usage", "tenant", "AceTech", *EVER, "--json").json
    assert document.keys() == {
        "tenant_id", "organisation_id", "token_count", "request_count", "session_count", "total_cost",
    }  # fmt: skip
    assert document["tenant_id"] == "AceTech"
    assert document["token_count"] == 7 + 54 + 54 + 19
    assert document["session_count"] == 1


def test_usage_of_a_session(netra: ThreadedEmulator) -> None:
    """A session's usage is printed the same way."""
    result = ask(netra, "usage", "session", "sess-0001", *EVER)
    assert result.code == 0
    assert "134" in result.out
    document = ask(netra, "usage", "session", "sess-0001", *EVER, "--json").json
    assert document.keys() == {"session_id", "token_count", "request_count", "total_cost"}
    assert document["token_count"] == 134


@pytest.mark.parametrize("what", ["tenant", "session"])
def test_usage_of_nobody(netra: ThreadedEmulator, what: str) -> None:
    """An unknown id is an error, not a row of zeros."""
    result = ask(netra, "usage", what, "nobody", *EVER, "--json")
    assert result.code == 1
    assert result.json["error"]["type"] == "NotKnown"
    assert "'nobody'" in result.said


def test_a_list_of_traces(netra: ThreadedEmulator) -> None:
    """Each trace is a row, newest first; the document has the summaries as Netra returns them."""
    document = ask(netra, "traces", "list", *EVER, "--json").json
    starts = [trace["start_time"] for trace in document["traces"]]
    assert starts == sorted(starts, reverse=True)
    result = ask(netra, "traces", "list", *EVER)
    assert (result.code, result.err) == (0, "")
    assert all(trace["id"] in result.out for trace in document["traces"])
    assert "[/b]" in result.out
    assert "[b]s[/nope]" in result.out


def test_a_list_is_filtered_sorted_and_limited(netra: ThreadedEmulator) -> None:
    """Filter, sort, order and limit reach the query."""
    first = ask(netra, "traces", "list", *EVER, "--limit", "1", "--sort", "latency_ms", "--json").json["traces"]
    every = ask(netra, "traces", "list", *EVER, "--order", "asc", "--json").json["traces"]
    assert len(first) == 1
    assert first[0]["latency_ms"] == max(trace["latency_ms"] for trace in every)
    assert [trace["start_time"] for trace in every] == sorted(trace["start_time"] for trace in every)
    errors = ask(netra, "traces", "list", *EVER, "--filter", "has_error=true", "--json").json["traces"]
    assert {trace["id"] for trace in errors} == {trace["id"] for trace in every if trace["has_error"]}
    assert 0 < len(errors) < len(every)
    assert ask(netra, "traces", "list", "--from", "2020-01-01", "--until", "2020-01-02").out == (
        "Netra has no traces in this range.\n"
    )
    assert ask(netra, "traces", "list", *EVER, "--order", "sideways").code == 2


def test_a_trace_is_drawn_as_a_tree(netra: ThreadedEmulator) -> None:
    """Parents come before children, errors and missing parents are named, and markup is printed as it is."""
    result = ask(netra, "traces", "show", f"{0xBAD:032x}")
    assert (result.code, result.err) == (0, "")
    title, root, child, orphan = result.out.splitlines()[:4]
    assert "3 spans" in title
    assert "[red]x[/]" in root
    assert "└─ child" in child
    assert "error" in orphan
    assert "parent 0000000000000063 is not in the trace" in orphan


def test_the_recording_is_drawn_whole(netra: ThreadedEmulator) -> None:
    """Every span of the largest trace has a line with its timeline, and the document has them all."""
    trace = json.loads(RECORDING.read_text())["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"]
    document = ask(netra, "traces", "show", trace, "--json").json
    lines = ask(netra, "traces", "show", trace).out.splitlines()
    assert document["trace_id"] == trace
    assert len(document["spans"]) == len([line for line in lines if line[0] in "━·"]) > 3
    assert [call["span_id"] for call in document["calls"]] == [span["id"] for span in document["spans"]]
    assert all(any(span["name"] in line for line in lines) for span in document["spans"])


def test_a_trace_nobody_knows(netra: ThreadedEmulator) -> None:
    """An unknown trace exits with 1 and a next step; a path in place of an id is a usage error."""
    result = ask(netra, "traces", "show", "f" * 32)
    assert (result.code, result.out) == (1, "")
    assert "traces list" in result.said
    assert ask(netra, "traces", "show", "../secrets").code == 2


READERS = [
    ("usage", "tenant", "AceTech", "--since", "1h"), ("usage", "session", "s", "--since", "1h"),
    ("traces", "list", "--since", "1h"), ("traces", "show", "f" * 32),
]  # fmt: skip


@pytest.mark.parametrize("command", READERS, ids=" ".join)
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"NETRA_API_KEY": f"{CANARY}-other"}, 77),
        ({"NETRA_API_KEY": ""}, 78),
        ({"NETRA_OTLP_ENDPOINT": ""}, 78),
        ({"NETRA_OTLP_ENDPOINT": "http://127.0.0.1:9"}, 69),
        ({"NETRA_OTLP_ENDPOINT": "not a url"}, 78),
        ({"NETRA_OTLP_ENDPOINT": "http://netra.example/telemetry"}, 78),
        ({"NETRA_BRIDGE_CONCURRENCY": "none"}, 78),
    ],
    ids=["key", "no-key", "no-endpoint", "port", "no-url", "plain-http", "setting"],
)
def test_commands_that_read_netra_exit_by_the_same_codes(
    netra: ThreadedEmulator, command: tuple[str, ...], change: dict[str, str], code: int
) -> None:
    """An error is one line on stderr and nothing on stdout, where ``--json`` adds one document."""
    plain, as_json = (ask(netra, *command, *flags, **change) for flags in ((), ("--json",)))
    assert (plain.code, plain.out) == (code, "")
    assert as_json.code == as_json.json["exit_code"] == code
    assert plain.err == as_json.err
    assert plain.err.count("\n") == 1


@pytest.mark.parametrize("command", READERS, ids=" ".join)
@pytest.mark.parametrize(
    ("fault", "code"), [("html", 78), ("truncated-json", 69), ("status-500", 69), ("cut-body", 69)]
)
def test_commands_that_read_netra_do_not_take_a_fault_for_an_answer(
    netra: ThreadedEmulator, command: tuple[str, ...], fault: str, code: int
) -> None:
    """A fault is an error, never an empty result."""
    netra.set_faults(fault)
    try:
        result = ask(netra, *command)
    finally:
        netra.set_faults()
    assert (result.code, result.out) == (code, "")


def test_config_show_says_where_each_value_came_from(tmp_path: Path) -> None:
    """Every setting is shown with its origin. Secrets and credentials in URLs are masked, in table and document."""
    file = tmp_path / "bridge.yaml"
    file.write_text(f"attempts: 3\nredact: ['x']\ndestinations:\n  a: otlp+http://me:{CANARY}@host:1\n")
    env = environment(
        "http://127.0.0.1:9", NETRA_HEADERS=f"x-token={CANARY}", NETRA_BRIDGE_CONFIG=str(file),
        OTEL_TRACES_EXPORTER=f"console,otlp+http://{CANARY}@h:1",
    )  # fmt: skip
    document = run("config", "show", "--json", env=env).json
    assert document.keys() == {setting.key for setting in SETTINGS}
    assert document["api_key"] == {"value": "***", "from": "NETRA_API_KEY"}
    assert document["headers"] == {"value": {"x-token": "***"}, "from": "NETRA_HEADERS"}
    assert document["attempts"] == {"value": 2, "from": "NETRA_BRIDGE_ATTEMPTS"}
    assert document["redact"] == {"value": ["x"], "from": f"{file} line 2"}
    assert document["destinations"]["value"] == {"a": "otlp+http://***@host:1"}
    assert document["to"]["value"] == ["console", "otlp+http://***@h:1"]
    assert document["window"] == {"value": "1h", "from": "default"}
    table = run("config", "show", env=env)
    assert (table.code, table.err) == (0, "")
    assert all(setting.key in table.out and setting.variable in table.out for setting in SETTINGS)


def test_a_bad_file_is_one_line(tmp_path: Path) -> None:
    """The error names file, line and key, and exits with 78."""
    file = tmp_path / "bridge.yaml"
    file.write_text(f"api_key: {CANARY}: x\n")
    result = run("config", "show", "--config", str(file))
    assert (result.code, result.out) == (78, "")
    assert f"{file} line 1" in result.said
    file.write_text("attempts: many\n")
    assert f"{file} line 1: attempts" in run("config", "show", "--config", str(file), env={}).said
    assert run("config", "show", "--config", f"{tmp_path}/none.yaml").code == 78


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--fault", "nope"), 2, "known: "),
        (("--rate-limit", "nan/s"), 2, "is not a rate"),
        (("--rate-limit", "0"), 2, "is not a rate"),
        (("--latency", "soon"), 2, "is not a duration"),
        (("--windowing", "days"), 2, "traces or spans"),
        (("--load", "/nowhere.json"), 78, "/nowhere.json"),
        (("--port", "70000"), 2, "--port"),
        (("--spans-per-trace", "0"), 2, "--spans-per-trace"),
    ],
)
def test_an_emulator_that_cannot_start(flags: tuple[str, ...], code: int, message: str) -> None:
    """The emulator says why in one line and does not listen."""
    result = run("emulator", "--port", "0", *flags)
    assert (result.code, result.out) == (code, "")
    assert message in result.said


def test_a_port_that_is_taken(netra: ThreadedEmulator) -> None:
    """A port in use exits with 78 and the address."""
    port = netra.url.rpartition(":")[2]
    result = run("emulator", "--port", port)
    assert result.code == 78
    assert f"127.0.0.1:{port}" in result.said


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("as_json", [False, True])
def test_the_emulator_says_where_it_is_and_ends_on_a_signal(number: signal.Signals, as_json: bool) -> None:
    """The emulator prints one line or one document when it is ready, and exits with 0 on SIGINT and SIGTERM."""
    process = cli.start("emulator", "--port", "0", "--seed", "1", "--traces", "2", *(("--json",) if as_json else ()))
    assert process.stdout is not None
    first = "".join(iter(process.stdout.readline, "}\n")) + "}" if as_json else process.stdout.readline()
    endpoint = json.loads(first)["endpoint"] if as_json else first.split("NETRA_OTLP_ENDPOINT=")[1].rstrip(")\n")
    listed = run("traces", "list", "--since", "25h", "--json", env=environment(endpoint))
    process.send_signal(number)
    result = cli.ended(process)
    assert len(listed.json["traces"]) == 2
    assert (result.code, result.out, result.err) == (0, "", "")


@pytest.mark.faults
def test_the_demo_needs_nothing(tmp_path: Path) -> None:
    """Without account or settings, the demo delivers everything and reports a trace and a tenant; exit 0."""
    env = environment(TMPDIR=str(tmp_path))
    result = cli.ended(cli.start("demo", "--json", env=env))
    assert (result.code, result.err) == (0, "")
    document = result.json
    (lane,) = document["destinations"]
    assert lane["traces"] == 200
    assert lane["delivered"] == lane["spans"] == 200 * 12
    assert len(spans_in(Path(lane["name"].removeprefix("otlp-file:")))) == 2400
    assert document["tenant"]["token_count"] > 0
    assert len(document["trace_id"]) == 32


@pytest.mark.faults
def test_the_demo_shows_each_step(tmp_path: Path) -> None:
    """The demo prints four steps and where to look."""
    result = run("demo", "--to", f"otlp-file:{tmp_path}/out.jsonl", "--seed", "5")
    assert (result.code, result.err) == (0, "")
    for step in ("1. A local Netra", "2. replay --since 25h", "3. traces show", "4. usage tenant", "Where to look"):
        assert step in result.out
    assert f"{tmp_path}/out.jsonl" in result.out


@pytest.mark.faults
@pytest.mark.parametrize(("target", "code"), [("otlp+grpc://127.0.0.1:9", 69), ("nowhere", 2), ("console", 2)])
def test_a_demo_that_cannot_deliver_says_so(target: str, code: int) -> None:
    """A demo that fails still prints one document with ``--json``."""
    result = run("demo", "--to", target, "--json")
    assert result.code == code
    document: Any = result.json
    assert document["exit_code"] == code


def test_a_range_before_the_year_one() -> None:
    """A range before the year one is a usage error, not a defect."""
    assert run("traces", "list", "--since", "999999d", env=environment("http://127.0.0.1:9")).code == 2


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("run", 0, ""),
        ("emulator", 0, ""),
        ("replay", 75, "acknowledged spans are recorded; run the same command again to resume"),
        ("verify", 75, "nothing was written; run it again"),
    ],
)
def test_a_signal_before_a_command_has_begun(
    command: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service that is stopped while it starts has ended in order; other commands were interrupted, and say what is left."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["netra-otel-bridge", command])
    monkeypatch.setattr(command_line, "_run", interrupted)
    monkeypatch.setattr(command_line, "tune_process", lambda: None)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            command_line.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == code
    err = capsys.readouterr().err
    assert said in err
    assert bool(err) == bool(said)


def test_a_signal_while_a_module_is_imported(tmp_path: Path) -> None:
    """The exit code is the command's own, even if the signal came while Python evaluated source, as for a dataclass."""
    program = (
        "import sys\n"
        "from netra_otel_bridge import cli\n"
        "cli._run = lambda: exec('raise KeyboardInterrupt')\n"
        "sys.argv = ['netra-otel-bridge', 'run']\n"
        "cli.main()\n"
    )
    (tmp_path / "interrupted.py").write_text(program)
    command = [sys.executable, "-m", "interrupted"]
    paths = os.pathsep.join((str(tmp_path), *sys.path))
    assert subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": paths}).returncode == 0
