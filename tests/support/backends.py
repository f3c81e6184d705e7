"""Real servers for the end-to-end tests, built from source once and cached for the user.

``python -m tests.support.backends jaeger tempo`` builds what is missing and prints the binaries' paths; ``make e2e``
does it first. A binary goes to ``${XDG_CACHE_HOME:-~/.cache}/netra-otel-bridge/backends/NAME-VERSION/NAME``, and gets
there by a rename, so that a build that was broken off leaves nothing that looks finished.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Backend:
    """A Go program in a published module. ``usually`` is how long a build takes from an empty cache.

    ``go`` is the one release of Go that builds a program that works, or empty for whichever Go there is.
    """

    name: str
    version: str
    module: str
    package: str
    usually: str
    flags: tuple[str, ...] = ()
    go: str = ""

    @property
    def binary(self) -> Path:
        """Where the built program is, or will be."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "netra-otel-bridge" / "backends" / f"{self.name}-{self.version}" / self.name


JAEGER = Backend("jaeger", "1.76.0", "github.com/jaegertracing/jaeger", "./cmd/jaeger", "3 minutes")
TEMPO = Backend(
    "tempo", "1.5.0", "github.com/grafana/tempo", "./cmd/tempo", "3 minutes", flags=("-mod=readonly",), go="1.19"
)
"""Built with a Go of today it crashes at the first span. Its module holds a list of vendored packages without the
packages, which ``-mod=readonly`` passes over."""
PROMETHEUS = Backend(
    "prometheus",
    "0.316.0",
    "github.com/prometheus/prometheus",
    "./cmd/prometheus",
    "3 minutes",
    flags=("-tags", "remove_all_sd"),
)
"""The module's number of release 3.16. Service discovery is left out: one of its kinds needs a module that is not published."""
PROMTOOL = Backend("promtool", PROMETHEUS.version, PROMETHEUS.module, "./cmd/promtool", "1 minute", PROMETHEUS.flags)
BACKENDS = {backend.name: backend for backend in (JAEGER, TEMPO, PROMETHEUS, PROMTOOL)}


class GoMissing(RuntimeError):
    """There is no Go to build a backend with; the message says which one is needed and where it comes from."""


def find_go(release: str) -> str | None:
    """The ``go`` command of a release such as ``1.19``, or any for ``""``; ``None`` if there is none.

    A release is found as ``go1.19`` on the path (so does Go install further ones), else in Debian's package of it.
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
    """The backend's binary, built if it is not there.

    It is built in the module's own folder, with the module's own ``go.sum``: all that goes into it is verified. No C
    compiler is asked for. Raises `GoMissing`, or `subprocess.CalledProcessError` with Go's own words shown.
    """
    binary = backend.binary
    if binary.exists():
        return binary
    go = find_go(backend.go)
    if go is None:
        raise GoMissing(_without_go(backend))
    say = f"building {backend.name} {backend.version} with {go}; this usually takes {backend.usually}"
    print(say, file=sys.stderr, flush=True)
    begun = time.monotonic()
    environ = os.environ | {"GOWORK": "off", "CGO_ENABLED": "0"}
    if backend.go:
        environ.pop("GOROOT", None)
    download = [go, "mod", "download", "-json", f"{backend.module}@v{backend.version}"]
    downloaded = subprocess.run(download, env=environ, stdout=subprocess.PIPE, check=True)
    source = json.loads(downloaded.stdout)["Dir"]
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent.parent, prefix=f".{backend.name}-") as unfinished:
        output = Path(unfinished) / backend.name
        command = [go, "build", *backend.flags, "-o", str(output), backend.package]
        subprocess.run(command, cwd=source, env=environ, check=True)
        output.rename(binary)
    print(f"built {binary} in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return binary


def binary_or_skip(backend: Backend) -> Path:
    """The binary for a test: the test is skipped where there is no Go to build it with, and fails if ``CI=true``."""
    try:
        return build(backend)
    except GoMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def _without_go(backend: Backend) -> str:
    wanted = f"Go {backend.go} (Debian: apt-get install golang-{backend.go}-go)" if backend.go else "Go"
    return f"{backend.name} {backend.version} is not built, and there is no {wanted} to build it with"


def main(arguments: Sequence[str]) -> int:
    """Build the backends that are named, or all. What there is no Go for is said, and is a failure if ``CI=true``."""
    unknown = [name for name in arguments if name not in BACKENDS]
    if unknown:
        print(f"there is no backend named {unknown[0]}; there are: {', '.join(BACKENDS)}", file=sys.stderr)
        return 2
    code = 0
    for name in arguments or BACKENDS:
        try:
            print(build(BACKENDS[name]))
        except GoMissing as missing:
            print(missing, file=sys.stderr)
            code = int(os.environ.get("CI") == "true")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
