"""Real servers for the end-to-end tests, built or installed once and cached for the user.

``python -m tests.support.backends jaeger tempo`` builds what is missing and prints the binaries' paths; ``make e2e``
does it first. A binary goes to ``${XDG_CACHE_HOME:-~/.cache}/netra-otel-bridge/backends/NAME-VERSION/NAME``. A rename
puts it there, so that an interrupted build leaves nothing that looks finished.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Backend(ABC):
    """A program that is a server. ``usually`` says how long it takes to get it with empty caches."""

    name: str
    version: str
    usually: str

    @property
    def binary(self) -> Path:
        """The path of the program, made or not."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "netra-otel-bridge" / "backends" / f"{self.name}-{self.version}" / self.name

    @abstractmethod
    def make(self) -> None:
        """Put the program at ``binary``; the last step makes it appear. Raise `CannotBuild` if that fails."""


@dataclass(frozen=True, slots=True)
class GoBackend(Backend):
    """A Go program in a published module. ``go`` is the only release of Go that builds a working program, or empty for
    any Go.

    It is built in the module's own folder, with the module's own ``go.sum``, so everything that goes into it is
    verified. It needs no C compiler.
    """

    module: str
    package: str
    flags: tuple[str, ...] = ()
    go: str = ""

    def make(self) -> None:
        """Build it. Raise `CannotBuild` without Go, or `subprocess.CalledProcessError` after Go has shown its own error."""
        go = find_go(self.go)
        if go is None:
            wanted = f"Go {self.go} (Debian: apt-get install golang-{self.go}-go)" if self.go else "Go"
            raise CannotBuild(f"{self.name} {self.version} is not built, and there is no {wanted} to build it with")
        environ = os.environ | {"GOWORK": "off", "CGO_ENABLED": "0"}
        if self.go:
            environ.pop("GOROOT", None)
        download = [go, "mod", "download", "-json", f"{self.module}@v{self.version}"]
        downloaded = subprocess.run(download, env=environ, stdout=subprocess.PIPE, check=True)
        source = json.loads(downloaded.stdout)["Dir"]
        self.binary.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.binary.parent.parent, prefix=f".{self.name}-") as unfinished:
            output = Path(unfinished) / self.name
            command = [go, "build", *self.flags, "-o", str(output), self.package]
            subprocess.run(command, cwd=source, env=environ, check=True)
            output.rename(self.binary)


@dataclass(frozen=True, slots=True)
class PythonBackend(Backend):
    """A Python program from PyPI, in a virtual environment of its own beside ``binary``.

    ``binary`` starts ``command`` with the variables that it is given as ``NAME=VALUE``, as `env(1)` takes them.
    """

    distribution: str
    command: str

    def make(self) -> None:
        """Install it. Raise `CannotBuild` with the last words of what failed."""
        home = self.binary.parent
        install = ["pip", "install", "--quiet", "--disable-pip-version-check", f"{self.distribution}=={self.version}"]
        for step in ([sys.executable, "-m", "venv", "--clear", str(home)], [f"{home}/bin/python", "-m", *install]):
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode:
                words = (done.stderr or done.stdout).strip().splitlines()[-1:]
                raise CannotBuild(f"{self.name} {self.version} could not be installed under {home}: {' '.join(words)}")
        launcher = home / f".{self.name}"
        launcher.write_text(f"#!/bin/sh\nexec env \"$@\" '{home}/bin/'{self.command}\n")
        launcher.chmod(0o755)
        launcher.rename(self.binary)


class CannotBuild(RuntimeError):
    """A backend cannot be had on this machine; the message says what is missing, and where it comes from."""


JAEGER = GoBackend("jaeger", "1.76.0", "3 minutes", "github.com/jaegertracing/jaeger", "./cmd/jaeger")
TEMPO = GoBackend(
    "tempo", "1.5.0", "3 minutes", "github.com/grafana/tempo", "./cmd/tempo", flags=("-mod=readonly",), go="1.19"
)
"""Current releases of Go build a Tempo 1.5 that crashes at its first span. Its module lists vendored packages without
holding them, which ``-mod=readonly`` passes over.
"""
PROMETHEUS = GoBackend(
    "prometheus",
    "0.316.0",
    "3 minutes",
    "github.com/prometheus/prometheus",
    "./cmd/prometheus",
    flags=("-tags", "remove_all_sd"),
)
"""The module's number of release 3.16. Service discovery is left out, because one of its kinds needs an unpublished module."""
PROMTOOL = GoBackend("promtool", PROMETHEUS.version, "1 minute", PROMETHEUS.module, "./cmd/promtool", PROMETHEUS.flags)
PHOENIX = PythonBackend("phoenix", "20.26.1", "1 minute", "arize-phoenix", "phoenix serve")
BACKENDS: dict[str, Backend] = {one.name: one for one in (JAEGER, TEMPO, PROMETHEUS, PROMTOOL, PHOENIX)}


def find_go(release: str) -> str | None:
    """Return the ``go`` command of a release such as ``1.19``, or any for ``""``; ``None`` if there is none.

    A release is looked for as ``go1.19`` on the path (the name that Go itself installs it under), then in Debian's
    package.
    """
    if not release:
        return shutil.which("go")
    if on_path := shutil.which(f"go{release}"):
        return on_path
    if dpkg := shutil.which("dpkg"):
        listed = subprocess.run([dpkg, "-L", f"golang-{release}-go"], capture_output=True, text=True, check=False)
        return next((file for file in listed.stdout.splitlines() if file.endswith("/bin/go")), None)
    return None


def build(backend: Backend) -> Path:
    """Return the backend's program, made if it is missing. Raise what `Backend.make` does."""
    binary = backend.binary
    if not binary.exists():
        say = f"building {backend.name} {backend.version}; this usually takes {backend.usually}"
        print(say, file=sys.stderr, flush=True)
        begun = time.monotonic()
        backend.make()
        print(f"built {binary} in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return binary


def binary_or_skip(backend: Backend) -> Path:
    """Return the program for a test. If it cannot be had, skip the test, or fail it if ``CI=true``."""
    try:
        return build(backend)
    except CannotBuild as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason))
        pytest.skip(str(reason))


def main(arguments: Sequence[str]) -> int:
    """Build the named backends, or all. Report those that cannot be had, which is a failure if ``CI=true``."""
    unknown = [name for name in arguments if name not in BACKENDS]
    if unknown:
        print(f"there is no backend named {unknown[0]}; there are: {', '.join(BACKENDS)}", file=sys.stderr)
        return 2
    code = 0
    for name in arguments or BACKENDS:
        try:
            print(build(BACKENDS[name]))
        except CannotBuild as reason:
            print(reason, file=sys.stderr)
            code = int(os.environ.get("CI") == "true")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
