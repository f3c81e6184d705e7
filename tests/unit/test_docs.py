"""The documentation is true: its commands and examples run, its links lead somewhere, its references are complete.

Commands and examples run against an emulator with sample traffic, and with a state that holds a replay of it. HTML
comments before a block name what else it needs. After ``<!-- needs: NAME -->``, each OTLP address is replaced with an
``otlp-file``, because there is no such server here. After ``<!-- runs until stopped -->``, a command is stopped once it
is ready. After ``<!-- needs: grpc -->``, Python talks to a running bridge, with the token that the block uses. After
``<!-- output -->``, the text is what the command before it prints, apart from numbers; ``make docs`` writes it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import typer.main

import netra_otel_bridge
from netra_otel_bridge import BridgeError, LaneReport, ReplayReport
from netra_otel_bridge.cli import replay, status, verify
from netra_otel_bridge.cli.app import app
from netra_otel_bridge.cli.reports import report_json
from netra_otel_bridge.config.load import load
from netra_otel_bridge.config.settings import SETTINGS
from netra_otel_bridge.convert import odd_values, semconv
from netra_otel_bridge.convert.llm.dialects import DIALECTS
from netra_otel_bridge.core import errors
from netra_otel_bridge.core.clock import SystemClock
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import Progress, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.deliver import identity, parse_destination
from netra_otel_bridge.emulator import FAULTS, EmulatorOptions
from netra_otel_bridge.state import StateStore, dead_letters
from tests.support import outputs, reference
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.waiting import DEADLINE_S

ROOT, PAGES = outputs.ROOT, outputs.PAGES
SHOWN = [one for page in PAGES for one in outputs.shown(page.read_text("utf-8"))]
"""Commands with the output that a page shows."""
NEEDS, SERVES = re.compile(r"<!-- needs: \w+ -->"), "<!-- runs until stopped -->"
NEEDS_GRPC, GRPC_ADDRESS, GRPC_TOKEN = "<!-- needs: grpc -->", "127.0.0.1:9465", "a-long-random-text"
PROGRAM = re.compile(r"(?:\w+=\S+ )*netra-otel-bridge\b")
"""A command of the program, with the variables that are set for it alone."""
OTLP_ADDRESS = re.compile(r"otlp\+\w+://\S+")
INSTEAD = "otlp-file:instead.jsonl"
READY = re.compile(r"emulator ready at|info: health and metrics at")
UNREMARKABLE = re.compile(r"\S+Z info: .*|\S+Z \S+: (span \w+ of trace \w+|an item that is not a span): .*")
"""Lines on stderr that a successful command may print: notices of a service, and why a span is a dead letter."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, with the comment lines before it."""

    page: Path
    line: int
    language: str
    comments: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Return the fenced blocks of a page, including those inside lists."""
    lines = page.read_text("utf-8").splitlines()
    number = 0
    while number < len(lines):
        indent = lines[number][: -len(lines[number].lstrip())]
        if lines[number].startswith(f"{indent}```"):
            end = lines.index(f"{indent}```", number + 1)
            first = number
            while first and lines[first - 1].startswith(f"{indent}<!--"):
                first -= 1
            text = "\n".join(line.removeprefix(indent) for line in lines[number + 1 : end])
            comments = tuple(line.removeprefix(indent) for line in lines[first:number])
            yield Block(page, number + 1, lines[number].strip("` "), comments, text)
            number = end
        number += 1


LETTER = (
    '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736",'
    '"spanId":"00f067aa0ba902b7","name":"kept","kind":1}]}]}]}'
)
BLOCKS = [block for page in PAGES for block in blocks(page)]


def commands() -> Iterator[Any]:
    """Yield every command of the program that the documentation shows, once, as parameters of a test."""
    seen: set[str] = set()
    for block in BLOCKS:
        for number, line in enumerate(block.text.splitlines(), block.line + 1):
            command = line.removeprefix("$ ")
            if block.language in ("bash", "console") and PROGRAM.match(command) and command not in seen:
                seen.add(command)
                yield pytest.param(block, command, id=f"{block.page.relative_to(ROOT)}:{number}")


def in_language(*languages: str) -> list[Any]:
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language in languages]


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    """Run the local Netra for the documentation's examples, with the traces of ``demo``, but fewer spans."""
    with running_emulator(EmulatorOptions(port=0, seed=1, traces=200, spans_per_trace=3)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def traffic() -> Iterator[ThreadedEmulator]:
    """Run the local Netra that produces the outputs in the documentation."""
    with running_emulator(outputs.TRAFFIC) as emulator:
        yield emulator


def remember(directory: Path, source: str) -> None:
    """Make a state with a delivered trace and a dead letter for each of two destinations."""
    clock = SystemClock()
    had = TraceRecord("0af7651916cd43dd8448eb211c80319c", clock.now_ns(), None, bytes(TraceRecord.ENTRY_BYTES))
    dead = DeadLetter("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "HTTP 400: not allowed", LETTER)
    with StateStore.open(directory, clock) as store:
        for destination in (INSTEAD, "otlp-file:traces.jsonl"):
            lane = store.lane(source, identity(destination))
            lane.commit(Progress([had], watermark_ns=had.start_ns, dead_letters=[dead], delivered=1), clock.now_ns())


@pytest.fixture
def place(netra: ThreadedEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a directory with the files that the pages name, and with the environment of a user with a key."""
    for name in os.environ:
        if name.startswith(("NETRA_", "OTEL_", "STATE_DIRECTORY", "JOURNAL_STREAM")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRA_API_KEY", "any")
    monkeypatch.setenv("NETRA_OTLP_ENDPOINT", netra.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for directory in (tmp_path / "home" / "netra-otel-bridge", tmp_path / "delivered"):
        remember(directory, netra.endpoint.removesuffix("/telemetry"))
    outputs.fill_state(tmp_path / outputs.STATE)
    (tmp_path / "bridge.yaml").write_text(
        next(block.text for block in BLOCKS if block.language == "yaml").replace(
            "https://netra.example/telemetry", netra.endpoint
        )
    )
    (tmp_path / "traces.jsonl").write_text(LETTER + "\n")
    return tmp_path


@pytest.mark.faults
@pytest.mark.parametrize(("block", "line"), list(commands()))
def test_each_command_runs(
    block: Block, line: str, place: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A command that the documentation shows exits with 0, without warnings or errors, and prints what is shown."""
    if shown := [text for command, text in SHOWN if command == line]:
        monkeypatch.setenv("NETRA_OTLP_ENDPOINT", request.getfixturevalue("traffic").endpoint)
    variables, program, arguments = line.partition("netra-otel-bridge")
    assert program
    words = f"{variables}exec {sys.executable} -W error -m netra_otel_bridge{arguments}"
    if any(NEEDS.fullmatch(comment) for comment in block.comments):
        words = OTLP_ADDRESS.sub(INSTEAD, words)
    serves = SERVES in block.comments
    if serves:
        words = f"{words}{' --port 0' if ' emulator ' in words else ''}"
    shell = subprocess.Popen(
        ["bash", "-c", words],
        cwd=place,
        env=os.environ | ({"NETRA_BRIDGE_GRPC_PORT": "0"} if "NETRA_BRIDGE_GRPC_TOKEN=" in words else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if serves else subprocess.PIPE,
        text=True,
    )
    try:
        if serves:
            stop_when_ready(shell)
        stdout, stderr = shell.communicate(timeout=DEADLINE_S)
    finally:
        shell.kill()
        shell.communicate()
    said = stdout if serves else stderr
    assert shell.returncode == 0, said
    assert [one for one in said.splitlines() if not UNREMARKABLE.fullmatch(one)] == []
    assert stdout or serves or ">" in line
    for text in shown:
        assert outputs.shape(text) == outputs.shape((stdout + stderr).replace(f"{place}/", "")), "run make docs"


def test_each_output_belongs_to_a_command() -> None:
    """Each output on a page follows a command that runs, and each mark is followed by an output."""
    assert SHOWN
    assert {command for command, _ in SHOWN} <= {one.values[1] for one in commands()}
    marks = [re.findall(r"^ *<!-- output -->$", page.read_text("utf-8"), re.MULTILINE) for page in PAGES]
    assert sum(map(len, marks)) == len(SHOWN)


def test_an_installation_has_an_environment_of_its_own() -> None:
    """Installation steps make and activate a virtual environment, because a distribution's Python may reject packages (PEP 668)."""
    installs = [block for block in BLOCKS if block.language == "bash" and "pip install ." in block.text]
    assert {block.page.name for block in installs} >= {"README.md", "quickstart.md"}
    for block in installs:
        assert re.search(r"python3 -m venv (\S+)[\s&]+\. \1/bin/activate[\s&]+pip install \.", block.text), block


@pytest.mark.faults
def test_maintenance_of_the_service_works(place: Path) -> None:
    """The commands of that section work in order on the unit's state; one destination gets what it rejected before."""
    unit = (ROOT / "examples" / "systemd" / "netra-otel-bridge.service").read_text("utf-8")
    directory = re.search(r"^StateDirectory=(\S+)$", unit, flags=re.MULTILINE)
    program = re.search(r"^ExecStart=(\S+)", unit, flags=re.MULTILINE)
    assert directory is not None
    assert program is not None
    (place / "etc").mkdir()
    (place / "etc" / "netra-otel-bridge.env").write_text(f"NETRA_OTLP_ENDPOINT={os.environ['NETRA_OTLP_ENDPOINT']}\n")
    (place / "etc" / "api-key").write_text("any\n")
    instead = {
        "sudo ": "",
        "systemctl ": ": ",
        program[1]: f"{sys.executable} -W error -m netra_otel_bridge",
        f"/var/lib/{directory[1]}": str(place / "delivered"),
        "/etc/netra-otel-bridge/": f"{place}/etc/",
        "DEST": INSTEAD,
    }
    text = sections("operations.md")["Maintenance"]
    steps = "".join(re.findall(r"^```sh$(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE))
    assert "sudo systemctl stop netra-otel-bridge" in steps
    for old, new in instead.items():
        assert old in steps
        steps = steps.replace(old, new)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NETRA_")}
    clean["XDG_STATE_HOME"] = str(place / "root")
    done = subprocess.run(
        ["bash", "-e", "-c", steps], cwd=place, env=clean, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == 0, done.stderr
    assert "4bf92f3577b34da6a3ce929d0e0e4736" in (place / INSTEAD.partition(":")[2]).read_text()
    left = {letter.destination for letter in dead_letters(place / "delivered")}
    assert left == {identity("otlp-file:traces.jsonl")}


def stop_when_ready(service: subprocess.Popen[str]) -> None:
    """Read a service's output until it is ready, and tell it to stop."""
    assert service.stdout is not None
    said = []
    for line in service.stdout:
        said.append(line)
        if READY.search(line):
            break
        assert UNREMARKABLE.fullmatch(line.rstrip("\n")), line
    else:
        pytest.fail(f"it ended before it was ready: {said}")
    service.send_signal(signal.SIGTERM)


@pytest.mark.faults
@pytest.mark.parametrize("block", in_language("python"))
def test_each_python_block_runs(block: Block, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each block of Python runs on its own, unchanged, and prints something."""
    with grpc_service(place) if NEEDS_GRPC in block.comments else nullcontext(GRPC_ADDRESS) as address:
        text = block.text.replace(GRPC_ADDRESS, address)
        exec(compile(text, str(block), "exec", dont_inherit=True), {"__name__": "__main__"})
    assert capsys.readouterr().out


@contextmanager
def grpc_service(place: Path) -> Iterator[str]:
    """Run a bridge that only serves gRPC, and yield its address."""
    service = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "netra_otel_bridge", "run", "--no-traces", "--no-usage"],
        cwd=place,
        env=os.environ | {"NETRA_BRIDGE_GRPC_TOKEN": GRPC_TOKEN, "NETRA_BRIDGE_GRPC_PORT": "0"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert service.stderr is not None
        said = []
        for line in service.stderr:
            said.append(line)
            if found := re.search(r"gRPC at (\S+)", line):
                yield found[1]
                break
        else:
            pytest.fail(f"it ended before it served: {said}")
        service.send_signal(signal.SIGTERM)
        rest = service.communicate(timeout=DEADLINE_S)[1]
        assert service.returncode == 0, rest
        assert [line for line in rest.splitlines() if not UNREMARKABLE.fullmatch(line)] == []
    finally:
        service.kill()
        service.communicate()


@pytest.mark.parametrize("block", in_language("yaml"))
def test_each_yaml_block_is_a_configuration(block: Block, tmp_path: Path) -> None:
    """Each block of YAML is a file that the program accepts."""
    path = tmp_path / "bridge.yaml"
    path.write_text(block.text)
    load({}, {}, path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    """Each link inside the project names an existing file, and a heading in it."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target} is not there"
        assert path.is_relative_to(ROOT), target
        assert not heading or heading in anchors(path), f"{target}: there is no such heading"


def anchors(page: Path) -> set[str]:
    """Return the anchors that a web view makes of a page's headings, and those that the page sets itself."""
    text = page.read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return set(re.findall(r'^<a id="([\w-]+)"></a>$', text, flags=re.MULTILINE)) | {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
    }


def rows(page: str) -> dict[str, list[str]]:
    """Return the rows of a page's tables by their first cell, without code marks."""
    text = (ROOT / "docs" / page).read_text("utf-8").replace(r"\|", "/")
    split = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|")
    return {cells[0].strip("`"): cells for cells in split}


@pytest.mark.parametrize("name", reference.PAGES)
def test_each_table_that_is_made_is_what_the_code_makes(name: str) -> None:
    """Each page with tables that are made from code is as ``make docs`` writes it."""
    page = (ROOT / "docs" / name).read_text("utf-8")
    assert page == reference.made(name, page), "run make docs"


def test_each_default_on_the_page_is_read_back() -> None:
    """The help of a setting is a sentence, and its default, as the page shows it, is read back as the default."""
    for setting in SETTINGS:
        assert setting.help.endswith(".")
        if reference.default(setting):
            assert setting.parse(reference.default(setting)) == setting.default


def test_the_mapping_names_each_key_that_a_dialect_reads() -> None:
    """The page of the mapping names each dialect, and each key under which a dialect records a fact."""
    page = (ROOT / "docs" / "mapping.md").read_text("utf-8")
    keys = [key for dialect in DIALECTS for key, _ in dialect.facts]
    assert len(keys) > 100
    assert [key for key in keys if f"`{key}`" not in page] == []
    assert [dialect.name for dialect in DIALECTS if f"**{dialect.name}**" not in page] == []


def test_settings_that_have_flags_are_named() -> None:
    """The configuration page names the settings that have flags; ``--user`` is not a setting, because it selects traces."""
    text = re.search(r"Eight settings have flags: (.*?)\.", sections("configuration.md")["Settings"], flags=re.DOTALL)
    assert text is not None
    keys = {setting.key for setting in SETTINGS}
    commands = dict(leaves(typer.main.get_command(app)))
    options = {one.name for name in ("replay", "run") for one in commands[name].params}
    assert {flag.strip("-").replace("-", "_") for flag in re.findall(r"`(--[\w-]+)`", text[1])} == options & keys - {
        "user"
    }


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with its full name."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


def sections(page: str) -> dict[str, str]:
    """Return the text under each heading of a page."""
    parts = re.split(r"^## (.*)$", (ROOT / "docs" / page).read_text("utf-8"), flags=re.MULTILINE)
    return {heading.strip("`"): text for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize(
    ("command", "columns"), [("replay", replay.COLUMNS), ("verify", verify.COLUMNS), ("status", status.COLUMNS)]
)
def test_the_columns_of_a_table_are_on_its_page(command: str, columns: tuple[str, ...]) -> None:
    """The page explains the columns that the command prints, in their order and by their names."""
    table = re.search(r"^\| column \|.*\n\|---.*\n((?:\|.*\n)+)", sections("cli.md")[command], flags=re.MULTILINE)
    assert table is not None
    assert tuple(re.findall(r"^\| `(.+?)` \|", table[1], flags=re.MULTILINE)) == columns


def test_each_command_and_option_is_on_its_page() -> None:
    """The page of the commands has a section for each command; that section or a shared table names its options."""
    described = sections("cli.md")
    shared = described["Shared options"] + described["Times"]
    for name, command in leaves(typer.main.get_command(app)):
        assert name in described
        if name in (
            "traces list",
            "replay",
            "verify",
            "usage tenant",
            "usage session",
            "usage backfill",
            "traces show",
            "config show",
        ):
            text = described[name] + shared
        else:
            text = described[name] + described["Shared options"]
        for parameter in command.params:
            for option in parameter.opts:
                assert not option.startswith("-") or re.search(rf"`{option}\b", text), f"{name} {option}"


def test_the_report_is_on_its_page() -> None:
    """The page of the commands shows the report of a replay with every key, and the page of the library names every count."""
    section = sections("cli.md")["replay"]
    shown = next(json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", section, re.DOTALL | re.MULTILINE))
    printed = report_json(ReplayReport(Window(0, 1), (LaneReport("one"),), 0, 0, 0.0, {}))
    assert list(shown) == list(printed)
    assert list(shown["destinations"][0]) == list(printed["destinations"][0])
    library = (ROOT / "docs" / "library.md").read_text("utf-8")
    assert [one.name for one in fields(LaneReport) if f"`{one.name}`" not in library] == []


def test_each_file_of_a_state_is_on_its_page(tmp_path: Path) -> None:
    """The page of the state names each file that a state can have."""
    listed = (ROOT / "docs" / "state.md").read_text("utf-8")
    with StateStore.open(tmp_path / "state", SystemClock()):
        found = {path.name for path in (tmp_path / "state").iterdir()}
    found |= {path.name for path in (tmp_path / "state").iterdir()}
    assert {"state.db", "state.db-wal", "sum"} <= found
    assert [name for name in sorted(found) if f"`{name}`" not in listed] == []


def test_the_page_of_commands_has_no_others() -> None:
    """The page of the commands names no option that the program does not have."""
    known = {
        option for _, command in leaves(typer.main.get_command(app)) for one in command.params for option in one.opts
    } | {"--help", "--install-completion", "--show-completion"}
    named = set(re.findall(r"`(--[a-z-]+)", (ROOT / "docs" / "cli.md").read_text("utf-8")))
    assert named <= known


def test_each_fault_is_on_its_page() -> None:
    """The page of the emulator lists each fault, and no other."""
    _, _, table = sections("emulator.md")["Faults"].partition("| fault | |")
    listed = re.findall(r"`([a-z0-9-]+)`", "\n".join(re.findall(r"^\| (.*?) \|", table, flags=re.MULTILINE)))
    assert sorted(listed) == sorted(FAULTS)


def test_each_error_is_on_its_page() -> None:
    """The page of the library lists each error with its exit code."""
    listed = rows("library.md")
    known = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, BridgeError)]
    for error in known:
        if error is not BridgeError:
            assert listed[error.__name__][2] == str(error.exit_code), error.__name__


def test_each_public_name_is_on_its_page() -> None:
    """The page of the library names everything that the package exports."""
    text = (ROOT / "docs" / "library.md").read_text("utf-8")
    assert [name for name in netra_otel_bridge.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_each_form_of_destination_is_understood() -> None:
    """The program accepts each form of destination in the tables."""
    for page in (ROOT / "docs" / "destinations.md", ROOT / "README.md"):
        forms = re.findall(r"^\| (`otlp.*?|`console`|`exporter.*?) \|", page.read_text("utf-8"), flags=re.MULTILINE)
        assert len(forms) >= 6
        for text in re.findall(r"`([^`]+)`", " ".join(forms)):
            concrete = text.replace("PORT", "4317").replace("[/PATH]", "").replace("...", "host")
            assert parse_destination(concrete).name == concrete


def test_each_added_name_is_on_its_page() -> None:
    """The page of the mapping names each attribute of both conventions that is added."""
    text = (ROOT / "docs" / "mapping.md").read_text("utf-8")
    names = [
        value for value in vars(semconv).values() if isinstance(value, str) and re.match(r"gen_ai\.|error\.", value)
    ]
    source = (ROOT / "netra_otel_bridge" / "convert" / "llm" / "openinference.py").read_text("utf-8")
    written = re.findall(r'"((?:llm|embedding|reranker|retrieval|tool|agent|openinference)\.[\w.]+\w)"', source)
    assert len(names) > 5
    assert len(set(written)) > 15
    assert [name for name in (*names, *written) if f"`{name}`" not in text and f"`{name}." not in text] == []
    assert semconv.SEMCONV_VERSION.rpartition(".")[0] in text


def test_each_note_is_on_its_page() -> None:
    """The page of the mapping explains each word of ``netra.bridge.notes``."""
    convert = ROOT / "netra_otel_bridge" / "convert"
    source = "".join(path.read_text("utf-8") for path in sorted(convert.rglob("*.py")))
    words = set(re.findall(r'(?:draft\.keep\(.*?, |draft\.notes\.append\(|call\.note\()f?"([\w{}]+)"\)', source))
    concrete = {
        word.replace("{column}", column)
        for word in words
        for column in (("start_time_ms", "end_time_ms") if "clamped" in word else ("attributes", "metadata"))
    }
    concrete |= {f"{word}:<key>" for word in (odd_values.NOT_FINITE, odd_values.REPEATED_KEY)}
    text = (ROOT / "docs" / "mapping.md").read_text("utf-8")
    assert len(concrete) > 10
    assert [word for word in sorted(concrete) if f"`{word}`" not in text] == []


def test_each_promise_names_tests_that_exist() -> None:
    """Each of the ten promises names the tests that prove it, by file and name."""
    promises = {name: text for name, text in sections("promises.md").items() if re.match(r"P\d+ ", name)}
    assert [name.split()[0] for name in promises] == [f"P{number}" for number in range(1, 11)]
    for name, text in promises.items():
        named = re.findall(r"`(tests/\w+/test_\w+\.py)::(\w+)`", text)
        assert len(named) >= 2, name
        assert len(named) == text.count("::")
        assert [
            test for file, test in named if not re.search(rf"^(async )?def {test}\(", read(file), re.MULTILINE)
        ] == []


def read(file: str) -> str:
    return (ROOT / file).read_text("utf-8")


def test_the_guide_leads_to_every_page() -> None:
    """The table of contents lists each page of the guide once, and the README leads to it."""
    linked = re.findall(r"^\| .*?\]\(([^)#]+)\)", read("docs/README.md"), flags=re.MULTILINE)
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    outside = {"adr/README.md", "../CONTRIBUTING.md", "../SECURITY.md", "../CHANGELOG.md", "../tests/faults/README.md"}
    assert sorted(linked) == sorted(pages | outside)
    assert "](docs/README.md)" in read("README.md")


def test_the_units_settings_for_grpc_are_the_programs(tmp_path: Path) -> None:
    """Each variable exists and names a credential that the unit passes; systemd accepts the file beside the unit."""
    text = read("examples/systemd/grpc.conf")
    variables = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, flags=re.MULTILINE))
    assert variables.pop("GRPC_VERBOSITY") == "NONE", "the core of gRPC writes among the lines of the log"
    assert set(variables) <= {setting.variable for setting in SETTINGS if setting.key.startswith("grpc_")}
    credentials = re.findall(r"^LoadCredential=([\w.-]+):", text, flags=re.MULTILINE)
    assert [value.removeprefix("%d/") for value in variables.values() if "%d" in value] == credentials
    unit = tmp_path / "netra-otel-bridge.service"
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", read(f"examples/systemd/{unit.name}")))
    (tmp_path / f"{unit.name}.d").mkdir()
    (tmp_path / f"{unit.name}.d" / "grpc.conf").write_text(text)
    if analyze := shutil.which("systemd-analyze"):
        done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_each_part_is_in_the_table_of_parts() -> None:
    """The table has each folder and module of the package, and nothing that no longer exists."""
    table = read("CONTRIBUTING.md").partition("## Where things are")[2].partition("\n### ")[0]
    parts = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "netra_otel_bridge").iterdir()
        if path.suffix in ("", ".py") and not path.name.startswith("__")
    }
    named = re.findall(r"^\| `(\w+/|\w+\.py)` \|", table, flags=re.MULTILINE)
    assert sorted(named) == sorted(parts)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_each_file_of_the_package_that_is_named_exists(page: str) -> None:
    """Pages for contributors name only files that are in the package, by their path in it."""
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", read(page)))
    assert len(named) > 10
    outside = {name for name in named if name.startswith(("docs/", "tests/", "proto/", "netra_otel_bridge/"))}
    roots = {name: ROOT if name in outside else ROOT / "netra_otel_bridge" for name in named}
    assert [name for name in sorted(named) if not (roots[name] / name).exists()] == []


def test_each_decision_is_in_the_index() -> None:
    """A decision record is in the index, under its number, and has its three parts."""
    index = (ROOT / "docs" / "adr" / "README.md").read_text("utf-8")
    records = sorted((ROOT / "docs" / "adr").glob("0*.md"))
    for number, record in enumerate(records, 1):
        text = record.read_text("utf-8")
        assert record.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number:04}. ")
        assert f"({record.name})" in index
        assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequences"]
