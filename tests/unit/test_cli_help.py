"""`--version` and `--help`: what they print, and that they load only what they need."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from netra_otel_bridge.cli.app import COMMANDS, app
from netra_otel_bridge.cli.groups import Command, Group
from netra_otel_bridge.state import StateStore
from netra_otel_bridge.version import __version__
from tests.support.cli import ROOT, environment, run
from tests.support.fake_clock import FakeClock

HEAVY = (
    "aiohttp", "asyncio", "google", "grpc", "netra_otel_bridge.bridge", "netra_otel_bridge.emulator",
    "netra_otel_bridge.service", "netra_otel_bridge.state", "opentelemetry", "prometheus_client", "rich", "sqlite3", "yaml",
)  # fmt: skip
WIDTH = 80


def entries(commands: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command | Group]]:
    """Yield every group and command of the table, with its full name."""
    for name, entry in commands.items():
        yield (*path, name), entry
        if isinstance(entry, Group):
            yield from entries(dict(entry.commands), (*path, name))


ENTRIES = list(entries(COMMANDS))
GROUPS = [(), *(path for path, entry in ENTRIES if isinstance(entry, Group))]


def loaded_by(*commands: tuple[str, ...]) -> list[set[str]]:
    """Run commands one after the other in one process; return the modules that are imported after each of them."""
    program = (
        "import json, sys\n"
        "from netra_otel_bridge.cli import main\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    sys.argv[1:] = command\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as end:\n"
        "        assert not end.code\n"
        "    print(*sys.modules, file=sys.stderr)\n"
        "    print('the end')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(commands)],
        cwd=ROOT, env=environment(), check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert all(printed.strip() for printed in done.stdout.split("the end\n")[: len(commands)])
    loaded = [set(line.split()) for line in done.stderr.splitlines()]
    assert len(loaded) == len(commands)
    return loaded


def user_cpu_s(*arguments: str) -> float:
    """Run Python and return the CPU that it used in user mode, in seconds."""
    before_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment(), check=True, capture_output=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before_s


def test_version_and_help_load_no_command() -> None:
    """Both load no dependency that slows down the start, and no module of a command."""
    modules = {entry.path.partition(":")[0] for _, entry in ENTRIES if isinstance(entry, Command)}
    for loaded in loaded_by(("--version",), ("--help",), ("usage", "--help")):
        assert "netra_otel_bridge.cli.app" in loaded
        assert loaded.isdisjoint(HEAVY)
        assert loaded.isdisjoint(f"netra_otel_bridge.cli.{module}" for module in modules)


@pytest.mark.faults
def test_a_command_loads_no_other_command() -> None:
    """``replay`` needs neither the service with its gRPC interface nor the emulator."""
    (loaded,) = loaded_by(("replay", "--help"))
    assert "netra_otel_bridge.cli.replay" in loaded
    unwanted = ("netra_otel_bridge.service", "netra_otel_bridge.v1", "netra_otel_bridge.emulator", "prometheus_client")
    assert [name for name in loaded if name.startswith(unwanted)] == []
    assert {name for name in loaded if name.startswith("netra_otel_bridge.cli.")} <= {
        f"netra_otel_bridge.cli.{name}"
        for name in ("app", "checkpoint", "errors", "groups", "json_output", "logs", "numbers", "options", "output", "policy",
                     "redactor", "replay", "reports", "signals")
    }  # fmt: skip


@pytest.mark.faults
def test_a_command_that_sends_nothing_loads_no_client(tmp_path: Path) -> None:
    """Commands that only read settings or the state, and the help of the others, import neither grpc nor aiohttp."""
    state = str(tmp_path / "state")
    with StateStore.open(Path(state), FakeClock()) as store:
        store.lane("netra", f"otlp-file:{Path('traces.jsonl').absolute()}", "")
    commands = (
        ("config", "show"),
        ("status", "--state", state),
        ("status", "--help"),
        ("state", "reset", "--state", state, "--to", "otlp-file:traces.jsonl"),
        ("state", "dead-letters", "--state", state, "--json"),
        ("state", "held-back", "--state", state, "--json"),
        ("replay", "--help"),
        ("traces", "show", "--help"),
        ("usage", "tenant", "--help"),
    )
    for command, loaded in zip(commands, loaded_by(*commands), strict=True):
        assert loaded.isdisjoint(("aiohttp", "grpc", "netra_otel_bridge.bridge.bridge")), command


@pytest.mark.faults
def test_the_help_of_traces_loads_no_conversion() -> None:
    """Spans are converted and drawn by code that is imported only when there is a trace to show."""
    (loaded,) = loaded_by(("traces", "show", "--help"))
    assert "netra_otel_bridge.cli.traces" in loaded
    assert [name for name in loaded if name.startswith(("opentelemetry", "netra_otel_bridge.convert"))] == []
    drawing = ("calls_json", "conversation", "trace_tree", "turns")
    assert loaded.isdisjoint(f"netra_otel_bridge.cli.{name}" for name in drawing)


def test_the_protocols_of_a_destination_load_no_client() -> None:
    """A program that writes its own destination imports the protocol without grpc and aiohttp."""
    program = "import sys; from netra_otel_bridge import AnswersEmpty, Destination, Inspects; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert set(done.stdout.split()).isdisjoint(("aiohttp", "grpc", "opentelemetry"))


@pytest.mark.faults
@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_version_and_help_take_little_cpu(argument: str) -> None:
    """Both take at most twice the CPU of importing typer alone; the best of several runs counts, so a busy machine does not."""
    runs = 5
    typer_s = min(user_cpu_s("-c", "import typer.main") for _ in range(runs))
    assert min(user_cpu_s("-m", "netra_otel_bridge", argument) for _ in range(runs)) < 2 * typer_s


def test_the_version() -> None:
    """``--version`` prints one line with the name of the program and its version."""
    result = run("--version")
    assert (result.code, result.out, result.err) == (0, f"netra-otel-bridge {__version__}\n", "")


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_a_group_lists_its_commands_in_whole_sentences(path: tuple[str, ...]) -> None:
    """Each command is one line of at most 80 columns, with a short, uncut sentence, in the order of the table."""
    result = run(*path, "--help", env={**environment(), "COLUMNS": str(WIDTH)})
    assert (result.code, result.err) == (0, "")
    listed = [line.split(maxsplit=1) for line in result.out.partition("Commands:\n")[2].splitlines()]
    assert listed == [[one[-1], entry.summary] for one, entry in ENTRIES if one[:-1] == path]
    assert all(len(line) <= WIDTH for line in result.out.splitlines())
    for _, summary in listed:
        assert summary[0].isupper()
        assert summary.endswith(".")
        assert not summary.endswith("..")


@pytest.mark.parametrize(("path", "entry"), [pytest.param(*pair, id=" ".join(pair[0])) for pair in ENTRIES])
def test_a_summary_is_how_the_help_of_its_command_begins(path: tuple[str, ...], entry: Command | Group) -> None:
    """The table repeats the first words of each command's help, under the command's name."""
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    assert command.name == path[-1]
    assert command.help.partition("\n\n")[0] == entry.summary
    for parameter in command.params:
        assert parameter.param_type_name == "argument" or parameter.help.endswith((".", "..."))
