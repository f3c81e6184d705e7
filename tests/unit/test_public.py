"""The public interface: one list of names, explained on the library's page, whose types are public too."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

import netra_otel_bridge
from netra_otel_bridge import check, dashboards, emulator, v1
from tests.support.examples import some
from tests.unit.test_docs import PAGES, ROOT, blocks, sections

MODULES = {
    "netra_otel_bridge.check": check,
    "netra_otel_bridge.dashboards": dashboards,
    "netra_otel_bridge.emulator": emulator,
    "netra_otel_bridge.v1": v1,
}
ALIASES = {
    "netra_otel_bridge.check": "netra_otel_bridge.bridge.check",
    "netra_otel_bridge.dashboards": "netra_otel_bridge.core.model.dashboards",
}
"""Public module paths, each with the module that it stands for."""
PACKAGE = Path(netra_otel_bridge.__file__)
TYPES_ONLY = {"ReadableSpan": ReadableSpan, "Path": Path}
"""Names that annotations use and modules import for the type checker alone."""
SPECIAL = ("__init__", "__enter__", "__exit__", "__aenter__", "__aexit__")
LISTED = re.findall(r"^\| (.*?) \| (.*) \|$", sections("library.md")["What is public"], flags=re.MULTILINE)[1:]
NAMED = [name for _, names in LISTED for name in re.findall(r"`(\w+)`", names)]
CHOSEN = {
    owner: re.findall(r"`(\w+)`", names)
    for owner, names in re.findall(
        r"^- of `(\w+)`: (.*?)\.$", sections("library.md")["What is public"], flags=re.MULTILINE | re.DOTALL
    )
}
"""Classes of which only some members are public."""
SOURCES = [
    *((str(block), block.text) for page in PAGES for block in blocks(page) if block.language == "python"),
    *((path.name, path.read_text("utf-8")) for path in sorted((ROOT / "examples").rglob("*.py"))),
    ("user_program.py", (ROOT / "tests/support/data/user_program.py").read_text("utf-8")),
]


def public_objects() -> dict[str, Any]:
    """Return every name in the list with its object."""
    return {name: getattr(netra_otel_bridge, name) for name in netra_otel_bridge.__all__}


def members(owner: str, one: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class and of those of this package that it builds on, as functions."""
    own = {name: value for base in reversed(one.__mro__) if _is_ours(base) for name, value in vars(base).items()}
    for name, value in own.items():
        if name in SPECIAL if name.startswith("_") else name in CHOSEN.get(owner, [name]):
            function = value.fget if isinstance(value, property) else inspect.unwrap(getattr(value, "__func__", value))
            if inspect.isfunction(function):
                yield f"{owner}.{name}", function


def _is_ours(one: type) -> bool:
    return one.__module__.startswith("netra_otel_bridge")


def described() -> Iterator[tuple[str, Any]]:
    """Yield everything that has a signature or fields: functions, classes, and members of classes."""
    for name, one in public_objects().items():
        if inspect.isfunction(one) or isinstance(one, type):
            yield name, one
        if isinstance(one, type):
            yield from members(name, one)


def classes_in(hint: Any) -> Iterator[type]:
    """Yield the classes that an annotation names, at any depth."""
    if isinstance(hint, list | tuple):
        for inner in hint:
            yield from classes_in(inner)
    elif typing.get_origin(hint) is not None or typing.get_args(hint):
        yield from classes_in(typing.get_args(hint))
    elif isinstance(hint, type):
        yield hint


def importable(module: str) -> set[str]:
    """Return the names that may be imported from a public module."""
    if module == "netra_otel_bridge":
        return set(netra_otel_bridge.__all__)
    inside = pkgutil.iter_modules(getattr(MODULES[module], "__path__", ())) if module.endswith(".v1") else ()
    return {*dir(MODULES[module]), *(one.name for one in inside)}


def imported_names(tree: ast.AST) -> dict[str, str]:
    """Return the names that ``from`` imports bring in, each with its module."""
    found = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {name.asname or name.name: node.module or "" for node in found for name in node.names}


def output_of(program: str) -> str:
    """Return what a program prints in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_list_is_that_of_the_page() -> None:
    """The library's page has the same names, each once, and the list is sorted."""
    assert sorted(NAMED) == sorted(netra_otel_bridge.__all__)
    assert netra_otel_bridge.__all__ == sorted(netra_otel_bridge.__all__)


def test_type_checkers_see_the_public_names() -> None:
    """The imports for type checkers bring in each public name, and the very object that a program gets."""
    (guarded,) = (
        node
        for node in ast.parse(PACKAGE.read_text("utf-8")).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    )
    seen = {name: module for name, module in imported_names(guarded).items() if module.startswith("netra_otel_bridge")}
    assert {*seen, "__version__"} == set(netra_otel_bridge.__all__)
    for name, module in seen.items():
        assert getattr(importlib.import_module(module), name) is getattr(netra_otel_bridge, name)


@pytest.mark.faults
def test_every_public_name_is_imported_on_demand() -> None:
    """Each name can be imported in a fresh interpreter, ``dir`` lists it before that, and other names do not exist."""
    program = (
        "import netra_otel_bridge as package\n"
        "assert set(package.__all__) <= set(dir(package))\n"
        "assert len(dir(package)) == len(set(dir(package)))\n"
        "assert not hasattr(package, 'nothing')\n"
        "from netra_otel_bridge import *\n"
        "print(*(name for name in package.__all__ if name in globals()))\n"
    )
    assert output_of(program).split() == netra_otel_bridge.__all__


@pytest.mark.faults
@pytest.mark.parametrize("path", ALIASES)
@pytest.mark.parametrize(
    "program",
    some(1, ["module = package.{name}", "import {path} as module", "from netra_otel_bridge import {name} as module"]),
    ids=some(1, ["attribute", "import", "from"]),
)
def test_a_public_path_leads_to_the_code(path: str, program: str) -> None:
    """However it is imported, in a fresh interpreter, its names are those of the module that defines them."""
    name = path.rpartition(".")[2]
    ran = output_of(
        "import importlib, netra_otel_bridge as package\n"
        f"{program.format(path=path, name=name)}\n"
        f"code = importlib.import_module({ALIASES[path]!r})\n"
        "assert all(getattr(module, name) is getattr(code, name) for name in module.__all__)\n"
        "print(module.__name__)\n"
    )
    assert ran.split() == [path]


@pytest.mark.parametrize("path", ALIASES)
def test_a_public_path_has_every_name_of_its_code(path: str) -> None:
    """It takes every public class, function and type of the module that defines them, and nothing else."""
    forwarded = imported_names(ast.parse(PACKAGE.with_name(f"{path.rpartition('.')[2]}.py").read_text("utf-8")))
    assert set(forwarded.values()) == {ALIASES[path]}
    defined = {
        target.id if isinstance(target, ast.Name) else node.name
        for node in ast.parse(inspect.getsource(import_module(ALIASES[path]))).body
        for target in (node.targets if isinstance(node, ast.Assign) else [node])
        if isinstance(node, ast.Assign | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert set(forwarded) == {name for name in defined if not name.startswith("_") and not name.isupper()}
    assert sorted(MODULES[path].__all__) == sorted(forwarded)


def test_the_members_that_the_page_chooses_exist() -> None:
    """For classes of which only some members are public, each listed member exists."""
    assert set(CHOSEN) == {"Bridge", "StateStore", "AsyncNetraClient", "SpanConverter", "Privacy"}
    for owner, names in CHOSEN.items():
        of = public_objects()[owner]
        assert [name for name in names if not hasattr(of, name) and name != "clock"] == []


def test_public_names_are_documented() -> None:
    """Each class, function, method and property has its own docstring; the class may document a special method."""
    named = [
        (name, one) for name, one in described() if name.rpartition(".")[2] not in SPECIAL or one.__doc__ is not None
    ]
    assert len(named) > 100
    assert [name for name, one in named if not inspect.getdoc(one) or str(one.__doc__).startswith(f"{name}(")] == []


def test_the_types_of_public_names_are_public() -> None:
    """Arguments, results and attributes have types of the standard library, of OpenTelemetry, or of the public interface."""
    known = {id(other) for other in public_objects().values()}
    known |= {id(other) for module in MODULES.values() for other in vars(module).values()}
    private = [
        f"{name}, {key}: {found.__module__}.{found.__name__}"
        for name, one in described()
        if name != "StateStore.__init__"
        for key, hint in typing.get_type_hints(one, localns=TYPES_ONLY).items()
        if not key.startswith("_")
        for found in classes_in(hint)
        if _is_ours(found) and id(found) not in known
    ]
    assert private == []


@pytest.mark.parametrize(("place", "text"), SOURCES, ids=[place for place, _ in SOURCES])
def test_users_need_nothing_else(place: str, text: str) -> None:
    """The documentation and the examples import only public names from the package."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            private = {one.name for one in node.names if one.name.startswith("netra_otel_bridge.")} - set(MODULES)
            assert private == set()
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("netra_otel_bridge"):
            assert node.module in ("netra_otel_bridge", *MODULES)
            assert [one.name for one in node.names if one.name not in importable(node.module)] == []


def test_prose_names_no_other_module() -> None:
    """The library's page names no module that is not public."""
    text = (ROOT / "docs" / "library.md").read_text("utf-8")
    assert set(re.findall(r"netra_otel_bridge\.\w+", text)) <= {*MODULES, "netra_otel_bridge.__version__"}


def test_importing_the_package_loads_nothing_else() -> None:
    """A program that imports the package loads only what imports names on use, and no dependency, until it uses a name."""
    before = set(output_of("import sys, typing, importlib.machinery; print(*sys.modules)").split())
    loaded = set(output_of("import sys, netra_otel_bridge; print(*sys.modules)").split()) - before
    ours = ("version", "core", "core.names_on_use")
    assert loaded == {"netra_otel_bridge", *(f"netra_otel_bridge.{name}" for name in ours)}


@pytest.mark.faults
def test_using_the_library_loads_neither_service_nor_commands() -> None:
    """The names that replay and read load none of the code that only the commands, the service and gRPC need."""
    program = (
        "import sys, netra_otel_bridge as package\n"
        "names = [getattr(package, name) for name in package.__all__ if name not in ('follow', 'afollow')]\n"
        "print(*sys.modules)\n"
        "package.follow, package.afollow\n"
        "assert 'netra_otel_bridge.bridge.follow' in sys.modules\n"
        "assert 'netra_otel_bridge.service' not in sys.modules\n"
    )
    loaded = output_of(program).split()
    heavy = {"bridge.check", "bridge.follow", "cli", "emulator", "service", "service.rpc", "service.telemetry", "v1"}
    assert {f"netra_otel_bridge.{name}" for name in heavy}.isdisjoint(loaded)
    assert {"typer", "rich", "prometheus_client", "aiohttp.web"}.isdisjoint(loaded)
