"""What is public: one list, which the page of the library names and explains, and which leads nowhere else."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

import netra_otel_bridge
from netra_otel_bridge import emulator, v1
from netra_otel_bridge.bridge import check
from netra_otel_bridge.core.model import dashboards
from tests.unit.test_docs import PAGES, ROOT, blocks, sections

MODULES = {module.__name__: module for module in (check, dashboards, emulator, v1)}
TYPES_ONLY = {"ReadableSpan": ReadableSpan, "Path": Path}
"""Names in annotations of modules that import them for the type checker alone."""
SPECIAL = ("__init__", "__enter__", "__exit__", "__aenter__", "__aexit__")
LISTED = re.findall(r"^\| (.*?) \| (.*) \|$", sections("library.md")["What is public"], flags=re.MULTILINE)[1:]
NAMED = [name for _, names in LISTED for name in re.findall(r"`(\w+)`", names)]
CHOSEN = {
    owner: re.findall(r"`(\w+)`", names)
    for owner, names in re.findall(
        r"^- of `(\w+)`: (.*?)\.$", sections("library.md")["What is public"], flags=re.MULTILINE | re.DOTALL
    )
}
"""Classes of which only some members are public: the others are the bridge's own use."""
SOURCES = [
    *((str(block), block.text) for page in PAGES for block in blocks(page) if block.language == "python"),
    *((path.name, path.read_text("utf-8")) for path in sorted((ROOT / "examples").rglob("*.py"))),
    ("user_program.py", (ROOT / "tests/support/data/user_program.py").read_text("utf-8")),
]


def public_objects() -> dict[str, Any]:
    """Every name in the list with what it stands for."""
    return {name: getattr(netra_otel_bridge, name) for name in netra_otel_bridge.__all__}


def members(owner: str, one: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class and of those of this package that it builds on, as functions."""
    own = {name: value for base in reversed(one.__mro__) if _is_ours(base) for name, value in vars(base).items()}
    for name, value in own.items():
        if name in SPECIAL if name.startswith("_") else name in CHOSEN.get(owner, [name]):
            function = value.fget if isinstance(value, property) else inspect.unwrap(getattr(value, "__func__", value))
            if inspect.isfunction(function):
                yield f"{owner}.{name}", function


def _is_ours(one: type) -> bool:
    return one.__module__.startswith("netra_otel_bridge")


def described() -> Iterator[tuple[str, Any]]:
    """All that has a signature or fields: functions, classes, and members of classes."""
    for name, one in public_objects().items():
        if inspect.isfunction(one) or isinstance(one, type):
            yield name, one
        if isinstance(one, type):
            yield from members(name, one)


def classes_in(hint: Any) -> Iterator[type]:
    """The classes that an annotation names, however deep."""
    if isinstance(hint, list | tuple):
        for inner in hint:
            yield from classes_in(inner)
    elif typing.get_origin(hint) is not None or typing.get_args(hint):
        yield from classes_in(typing.get_args(hint))
    elif isinstance(hint, type):
        yield hint


def importable(module: str) -> set[str]:
    """What may be imported from a public module."""
    if module == "netra_otel_bridge":
        return set(netra_otel_bridge.__all__)
    inside = pkgutil.iter_modules(getattr(MODULES[module], "__path__", ())) if module.endswith(".v1") else ()
    return {*dir(MODULES[module]), *(one.name for one in inside)}


def test_the_list_is_that_of_the_page() -> None:
    """The page of the library has the same names, each once, and the list is in order."""
    assert sorted(NAMED) == sorted(netra_otel_bridge.__all__)
    assert netra_otel_bridge.__all__ == sorted(netra_otel_bridge.__all__)


def test_the_members_that_the_page_chooses_are_there() -> None:
    """Where only some members are public, each of these exists."""
    assert set(CHOSEN) == {"Bridge", "StateStore"}
    for owner, names in CHOSEN.items():
        of = public_objects()[owner]
        assert [name for name in names if not hasattr(of, name) and name != "clock"] == []


@pytest.mark.parametrize(("name", "one"), [pytest.param(*pair, id=pair[0]) for pair in described()])
def test_what_is_public_is_explained(name: str, one: Any) -> None:
    """A class, a function, a method or a property has a docstring of its own; a special method may have its class's."""
    assert name.rpartition(".")[2] in SPECIAL or inspect.getdoc(one)
    assert not str(one.__doc__).startswith(f"{name}(")


@pytest.mark.parametrize(("name", "one"), [pytest.param(*pair, id=pair[0]) for pair in described()])
def test_what_is_public_leads_to_what_is_public(name: str, one: Any) -> None:
    """What a public name takes, returns or holds is the standard library's, OpenTelemetry's, or public itself."""
    if name == "StateStore.__init__":
        return
    known = {id(other) for other in public_objects().values()}
    known |= {id(other) for module in MODULES.values() for other in vars(module).values()}
    hints = typing.get_type_hints(one, localns=TYPES_ONLY)
    own = {
        f"{key}: {found.__module__}.{found.__name__}"
        for key, hint in hints.items()
        if not key.startswith("_")
        for found in classes_in(hint)
        if found.__module__.startswith("netra_otel_bridge") and id(found) not in known
    }
    assert own == set()


@pytest.mark.parametrize(("place", "text"), SOURCES, ids=[place for place, _ in SOURCES])
def test_users_need_nothing_else(place: str, text: str) -> None:
    """What the documentation and the examples import from the package is public."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            private = {one.name for one in node.names if one.name.startswith("netra_otel_bridge.")} - set(MODULES)
            assert private == set()
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("netra_otel_bridge"):
            assert node.module in ("netra_otel_bridge", *MODULES)
            assert [one.name for one in node.names if one.name not in importable(node.module)] == []


def test_prose_names_no_other_module() -> None:
    """The page of the library speaks of no module that is not public."""
    text = (ROOT / "docs" / "library.md").read_text("utf-8")
    assert set(re.findall(r"netra_otel_bridge\.\w+", text)) <= {*MODULES, "netra_otel_bridge.__version__"}


def test_an_import_loads_neither_service_nor_commands() -> None:
    """Who imports the library does not wait for what only the commands need; it is loaded with its first use."""
    program = (
        "import sys, netra_otel_bridge as package\n"
        "print(*sys.modules)\n"
        "package.follow, package.afollow\n"
        "assert 'netra_otel_bridge.daemon.service' in sys.modules\n"
        "assert not hasattr(package, 'nothing')\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    heavy = {"daemon", "cli", "emulator", "rpc", "v1", "telemetry", "check"}
    assert {f"netra_otel_bridge.{name}" for name in heavy}.isdisjoint(loaded)
    assert {"typer", "rich", "prometheus_client", "aiohttp.web"}.isdisjoint(loaded)
