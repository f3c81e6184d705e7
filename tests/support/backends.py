"""Real servers for the end-to-end tests, built from source once and cached for the user.

``python -m tests.support.backends jaeger`` builds what is missing and prints the binary's path; ``make e2e`` does it
first. A binary goes to ``${XDG_CACHE_HOME:-~/.cache}/netra-otel-bridge/backends/NAME-VERSION/NAME``, and gets there by
a rename, so that a build that was broken off leaves nothing that looks finished.
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
    """A Go program in a published module. ``usually`` is how long a build takes from an empty cache."""

    name: str
    version: str
    module: str
    package: str
    usually: str
    flags: tuple[str, ...] = ()

    @property
    def binary(self) -> Path:
        """Where the built program is, or will be."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "netra-otel-bridge" / "backends" / f"{self.name}-{self.version}" / self.name


JAEGER = Backend("jaeger", "1.76.0", "github.com/jaegertracing/jaeger", "./cmd/jaeger", "3 minutes")
BACKENDS = {backend.name: backend for backend in (JAEGER,)}


def build(backend: Backend) -> Path:
    """The backend's binary, built if it is not there. Raises `subprocess.CalledProcessError`, with Go's own words shown.

    It is built in the module's own folder, with the module's own ``go.sum``: all that goes into it is verified.
    """
    binary = backend.binary
    if binary.exists():
        return binary
    say = f"building {backend.name} {backend.version} with {shutil.which('go')}; this usually takes {backend.usually}"
    print(say, file=sys.stderr, flush=True)
    begun = time.monotonic()
    downloaded = subprocess.run(
        ["go", "mod", "download", "-json", f"{backend.module}@v{backend.version}"], stdout=subprocess.PIPE, check=True
    )
    source = json.loads(downloaded.stdout)["Dir"]
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent.parent, prefix=f".{backend.name}-") as unfinished:
        output = Path(unfinished) / backend.name
        command = ["go", "build", *backend.flags, "-o", str(output), backend.package]
        subprocess.run(command, cwd=source, env=os.environ | {"GOWORK": "off"}, check=True)
        output.rename(binary)
    print(f"built {binary} in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return binary


def binary_or_skip(backend: Backend) -> Path:
    """The binary for a test: the test is skipped where there is no Go to build it with, and fails if ``CI=true``."""
    if not backend.binary.exists() and shutil.which("go") is None:
        reason = f"{backend.name} {backend.version} is not built, and there is no Go to build it with"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return build(backend)


def main(arguments: Sequence[str]) -> int:
    """Build the backends that are named, or all of them."""
    unknown = [name for name in arguments if name not in BACKENDS]
    if unknown:
        print(f"there is no backend named {unknown[0]}; there are: {', '.join(BACKENDS)}", file=sys.stderr)
        return 2
    for name in arguments or BACKENDS:
        print(build(BACKENDS[name]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
