"""The map from the table of faults to tests is true."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MAP = (HERE / "README.md").read_text("utf-8")
NAMED = set(re.findall(r"`((?:tests/\w+/)?test_\w+\.py)::(\w+)`", MAP))
ROWS = {
    "The API": 23,
    "The destination": 13,
    "The process": 7,
    "The gRPC service": 6,
    "Hostile text and hosts": 13,
    "Reading back": 10,
}


@cache
def functions(path: Path) -> set[str]:
    """Return the functions that a file defines."""
    defined = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, defined)}


def test_each_test_that_is_named_exists() -> None:
    """Each test that the map names exists in the file that the map gives for it."""
    assert MAP.count(".py::") == sum(MAP.count(f"`{file}::{name}`") for file, name in NAMED)
    files = {file: ROOT / file if "/" in file else HERE / file for file, _ in NAMED}
    assert [file for file, path in files.items() if not path.exists()] == []
    assert [f"{file}::{name}" for file, name in sorted(NAMED) if name not in functions(files[file])] == []


def test_each_row_names_a_test_or_a_limit_of_the_documentation() -> None:
    """The map has every row, each names a test or a limit, and each limit is in the documentation in these words."""
    limits = (ROOT / "docs" / "limits.md").read_text("utf-8")
    named = re.findall(r'limits\.md\): "([^"]+)"', MAP)
    assert named
    assert [words for words in named if words not in limits] == []
    for title, count in ROWS.items():
        table = MAP.partition(f"## {title}\n")[2].partition("\n## ")[0]
        rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
        assert len(rows) == count, title
        assert [row for row in rows if "::test_" not in row and "limits.md" not in row] == []


def test_each_test_of_a_row_is_named() -> None:
    """Each test of a row is named in the map; only tests of the rig itself are not."""
    ours = {
        ("test_api.py", "test_the_listener_hears_who_talks_to_it"),
        ("test_api.py", "test_every_fault_of_the_emulator_is_used_here"),
        ("test_api.py", "test_a_range_with_nothing_in_it_is_an_end"),
    }
    files = [HERE / f"test_{name}.py" for name in ("api", "destination", "process", "grpc", "variations")]
    made = {(path.name, name) for path in files for name in functions(path) if name.startswith("test_")}
    assert made - NAMED == ours
