"""The bridge's gRPC service as a child process, and its clients in Go and Node, built as their READMEs say.

Builds go to ``${XDG_CACHE_HOME:-~/.cache}/netra-otel-bridge/clients/NAME-DIGEST``; the digest covers the sources and
the interface. A rename puts them there. A test is skipped if a tool is missing, and fails if ``CI=true``.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.child import Child
from tests.support.cli import CANARY, ROOT, environment
from tests.support.emulator import ThreadedEmulator

TOKEN = "token-canary-41c6"
"""The token of the gRPC service in every test; no output may contain it."""
SECRETS = (CANARY, TOKEN)
GENERATED = shutil.ignore_patterns("bin", "bridgev1", "node_modules", "go-collector", "resume-token")
_BUILD_S = 900
_ADDRESS = re.compile(r"gRPC at (127\.0\.0\.1:\d+)")
_OWN = re.compile(r"^## In your own project$.*?^```sh$(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_PINNED = re.compile(r"grpcio-tools==\S+ mypy-protobuf==\S+ buf-bin==\S+")


@contextmanager
def grpc_bridge(netra: ThreadedEmulator, directory: Path, **settings: str) -> Iterator[tuple[Child, str]]:
    """Run ``run`` with the gRPC service alone, and yield its address; it must end in order."""
    service = {"NETRA_BRIDGE_GRPC_TOKEN": TOKEN, "NETRA_BRIDGE_GRPC_PORT": "0", "OTEL_EXPORTER_PROMETHEUS_PORT": "0"}
    env = environment(netra.endpoint, **{**service, **settings})
    words = ("run", "--no-traces", "--no-usage", "--state", str(directory / "state"))
    with Child(*words, directory=directory, env=env, secrets=SECRETS) as child:
        child.until(lambda: _ADDRESS.search(child.err))
        found = _ADDRESS.search(child.err)
        assert found is not None
        yield child, found[1]


def go_collector() -> Path:
    """Return the program of ``examples/go-collector``."""
    go = _tool("go", "Go")
    home = _built("go-collector", lambda place: _build_go(place, go, proto_tools() / "bin" / "python"))
    return home / "go-collector"


def node_usage() -> tuple[str, ...]:
    """Return the command of ``examples/node-usage``."""
    node, npm = _tool("node", "Node (Debian: nodejs)"), _tool("npm", "npm (Debian: npm)")
    home = _built("node-usage", lambda place: _run([npm, "ci", "--no-audit", "--no-fund"], place))
    return node, str(home / "main.js")


def followed(name: str, directory: Path) -> Path:
    """Follow the steps of "In your own project" of the example ``name`` in a copy of the project; return the resulting project."""
    clone = directory / "clone"
    shutil.copytree(ROOT / "proto", clone / "proto")
    shutil.copytree(ROOT / "examples" / name, clone / "examples" / name, ignore=GENERATED)
    steps = _OWN.search((ROOT / "examples" / name / "README.md").read_text("utf-8"))
    assert steps is not None, "the README no longer says how to use the example in another project"
    own: dict[str, str] = {}
    if name == "go-collector":
        own = _go_environment(directory / "tools", _tool("go", "Go"), proto_tools() / "bin" / "python")
    else:
        _tool("node", "Node (Debian: nodejs)")
        _tool("npm", "npm (Debian: npm)")
    _run(["bash", "-e", "-c", steps[1]], clone, own)
    (made,) = (one for one in directory.iterdir() if one.name.startswith("my-"))
    return made


def client_environment(**more: str) -> dict[str, str]:
    """Return a client's variables: the token, and nothing from the bridge or its tests."""
    clean = {name: value for name, value in environment().items() if not name.startswith(("NETRA", "PYTHON"))}
    return {**clean, "NETRA_BRIDGE_GRPC_TOKEN": TOKEN, **more}


def proto_tools() -> Path:
    """Return the virtual environment of ``make proto``, kept in the user's cache, with the versions that the Makefile names."""
    pinned = _PINNED.search((ROOT / "Makefile").read_text())
    assert pinned is not None, "the Makefile no longer says what generates the Python modules"
    home = _cache() / f"proto-{hashlib.sha256(pinned[0].encode()).hexdigest()[:12]}"
    whole = home / ".installed"
    if not whole.exists():
        make = _tool("make", "make")
        home.parent.mkdir(parents=True, exist_ok=True)
        _run([make, "-o", "Makefile", str(whole), f"PROTO_VENV={home}", f"PYTHON={sys.executable}"], ROOT)
    return home


def _build_go(place: Path, go: str, python: Path) -> None:
    """Build the client as the README says."""
    programs = place / "bin"
    own = {**_go_environment(programs, go, python), "GOBIN": str(programs)}
    for words in (["install", "tool"], ["generate"], ["vet", "./..."], ["build"]):
        _run([go, *words], place, own)
    shutil.rmtree(programs)


def _go_environment(programs: Path, go: str, python: Path) -> dict[str, str]:
    """Return the variables to build with; ``protoc``, in the new directory ``programs``, is that of grpcio-tools."""
    programs.mkdir()
    protoc = programs / "protoc"
    protoc.write_text(f"#!/bin/sh\nexec '{python}' -m grpc_tools.protoc \"$@\"\n")
    protoc.chmod(0o755)
    path = f"{programs}:{Path(go).parent}:{os.environ['PATH']}"
    return {"GOWORK": "off", "CGO_ENABLED": "0", "PATH": path}


def _built(name: str, build: Callable[[Path], None]) -> Path:
    """Return the example ``name``, copied beside the interface and built there, once for each version of its sources."""
    example = ROOT / "examples" / name
    digest = hashlib.sha256()
    for path in sorted([*_sources(example), *_sources(ROOT / "proto")]):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    home = _cache() / f"{name}-{digest.hexdigest()[:12]}"
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=f".{name}-") as unfinished:
            whole = Path(unfinished, "whole")
            shutil.copytree(ROOT / "proto", whole / "proto")
            shutil.copytree(example, whole / "examples" / name, ignore=GENERATED)
            build(whole / "examples" / name)
            whole.rename(home)
    return home / "examples" / name


def _sources(directory: Path) -> Iterator[Path]:
    for parent, directories, files in os.walk(directory):
        left_out = GENERATED(parent, [*directories, *files])
        directories[:] = [one for one in directories if one not in left_out]
        yield from (Path(parent, one) for one in files if one not in left_out)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "netra-otel-bridge" / "clients"


def _tool(name: str, what: str) -> str:
    """Return the path of a program. Without it the test is skipped, or fails if ``CI=true``."""
    found = shutil.which(name)
    if found is None:
        reason = f"{what} is not there, and a client or the interface's tools need it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def _run(words: Sequence[str], place: Path, own: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        words,
        cwd=place,
        env={**os.environ, **(own or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_BUILD_S,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(words)} ended with {done.returncode}\n{done.stdout}"
