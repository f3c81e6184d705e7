"""The wheel as a user gets it: in an environment of its own, checked strictly by two type checkers, and run.

Its dependencies and the checkers come from PyPI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_otel_bridge.emulator import EmulatorOptions
from tests.support.emulator import ThreadedEmulator, running_emulator

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "user_program.py"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the program and the examples out of the checkout, so that a checker does not find the package beside them."""
    directory = tmp_path_factory.mktemp("user")
    for path in (ROOT / "tests/support/data" / PROGRAM, *(ROOT / "examples").rglob("*.py")):
        shutil.copy(path, directory)
    return directory


@pytest.fixture(scope="module")
def python(directory: Path) -> Path:
    """Return the interpreter of an environment with the wheel, the examples' needs, the custom destination and the checkers."""
    install(Path(sys.executable), "wheel", "--no-deps", "--wheel-dir", str(directory / "dist"), str(ROOT))
    (wheel,) = (directory / "dist").glob("netra_otel_bridge-*.whl")
    venv.create(directory / "venv", with_pip=True)
    python = directory / "venv" / "bin" / "python"
    custom = str(ROOT / "examples" / "custom_destination")
    install(python, "install", str(wheel), custom, "fastapi", "uvicorn", "mypy", "pyright[nodejs]")
    return python


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    """Run a Netra with 30 traces of 7 spans, from the last day."""
    with running_emulator(EmulatorOptions(port=0, seed=7, traces=30, spans_per_trace=7)) as emulator:
        yield emulator


def programs(directory: Path) -> list[Path]:
    found = sorted(path for path in directory.glob("*.py") if path.name != "wrong.py")
    assert len(found) >= 7
    return found


def install(python: Path, *arguments: str) -> None:
    run(python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments, cwd=python.parent)


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a program without the tests' own environment and return its stdout; it must exit with 0."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NETRA_", "OTEL_"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_users_program_and_the_examples_pass_mypy(python: Path, directory: Path) -> None:
    """mypy, in strict mode, accepts them with the types that the wheel ships."""
    said = run(python, "-m", "mypy", "--strict", "--cache-dir", directory / "mypy", *programs(directory), cwd=directory)
    assert said.startswith("Success")


def test_a_users_program_and_the_examples_pass_pyright(python: Path, directory: Path) -> None:
    """pyright, which infers more, accepts them too."""
    said = run(python, "-m", "pyright", "--pythonpath", python, *programs(directory), cwd=directory)
    assert said.splitlines()[-1].startswith("0 errors, 0 warnings")


def test_a_checker_sees_what_is_wrong(python: Path, directory: Path) -> None:
    """The types are there: a program that misuses them does not pass."""
    wrong = directory / "wrong.py"
    wrong.write_text("from netra_otel_bridge import replay\nreport: int = replay(1, since='1h')\n")
    for checker in (("mypy", "--strict"), ("pyright", "--pythonpath", str(python))):
        with pytest.raises(AssertionError) as failed:
            run(python, "-m", *checker, wrong, cwd=directory)
        for word in ("ReplayReport", "int"):
            assert word in str(failed.value)


def test_the_users_program_runs(python: Path, directory: Path, netra: ThreadedEmulator) -> None:
    """The program that passes the checkers also runs correctly, with warnings as errors."""
    said = run(
        python, "-W", "error", PROGRAM, directory,
        cwd=directory, NETRA_API_KEY="any", NETRA_OTLP_ENDPOINT=netra.endpoint, XDG_STATE_HOME=str(directory),
    )  # fmt: skip
    assert said.endswith("done\n")


def test_the_custom_destination_is_found_by_its_name(python: Path, directory: Path, netra: ThreadedEmulator) -> None:
    """Once its exporter is installed beside the wheel, the command accepts it as a destination."""
    run(
        python.parent / "netra-otel-bridge", "replay", "--since", "25h", "--to", "exporter:span-lines",
        cwd=directory, NETRA_API_KEY="any", NETRA_OTLP_ENDPOINT=netra.endpoint, XDG_STATE_HOME=str(directory / "home"),
    )  # fmt: skip
    assert len(set((directory / "span-lines.txt").read_text("utf-8").splitlines())) == 210
