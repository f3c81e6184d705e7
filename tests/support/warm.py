"""The bridge as a child process that starts in a few milliseconds, for the many runs of a kill matrix.

A server process imports the bridge once. Each run is a fork of it, with its own arguments, environment and outputs. The
fork runs shipped code from ``cli.main`` on, and ends as a program does. With strace, it waits until it is traced.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import typer
import typer.main

from tests.support.cli import ROOT, Result, checked
from tests.support.waiting import DEADLINE_S

TIMEOUT_S = DEADLINE_S


class Warm:
    """A context manager around the server. It runs one command at a time."""

    def __init__(self, directory: Path) -> None:
        self._out, self._err = directory / "warm.out", directory / "warm.err"

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(10)
        self._server.stdout.close()

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str],
        strace: Sequence[str] = (),
        kill_when: Callable[[], object] | None = None,
        term_when: Callable[[], object] | None = None,
    ) -> Result:
        """Run a command to its end, under strace with the given options; send SIGKILL or SIGTERM as soon as a condition
        holds.

        The result is checked like that of every run (`tests.support.cli.checked`); its code is negative for a signal.
        """
        request = {
            "arguments": arguments,
            "env": dict(env),
            "out": str(self._out),
            "err": str(self._err),
            "traced": bool(strace),
        }
        for output in (self._out, self._err):
            output.write_text("")
        pid = self._ask(json.dumps(request))
        tracer = subprocess.Popen([*strace, "-p", str(pid)], stderr=subprocess.DEVNULL) if strace else None
        for holds, number in ((kill_when, signal.SIGKILL), (term_when, signal.SIGTERM)):
            if holds is not None:
                _wait_until(holds, pid)
                os.kill(pid, number)
        code = self._ask("wait")
        if tracer is not None:
            tracer.wait(10)
        return checked(Result(code, self._out.read_text(), self._err.read_text()))

    def _ask(self, line: str) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


def _wait_until(holds: Callable[[], object], pid: int) -> None:
    """Wait until the condition holds or the process ends. The server reaps it later, so no other process can have its id."""
    deadline = time.monotonic() + TIMEOUT_S
    state = Path("/proc", str(pid), "stat")
    while not holds() and state.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, f"not within {TIMEOUT_S:g} s"
        time.sleep(0.002)


def _serve() -> None:
    """Read a request, fork, write the pid; on ``wait``, write how the fork ended. A fork leaves this loop as the bridge."""
    from netra_otel_bridge.cli import main
    from netra_otel_bridge.cli.app import app

    load_commands(typer.main.get_command(app))

    pid = 0
    for line in sys.stdin:
        if line == "wait\n":
            print(_end_of(pid), flush=True)
            continue
        request: dict[str, Any] = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(request)
            main()
            return
        print(pid, flush=True)


def load_commands(command: Any) -> None:
    """Import every command of a group, so that a fork starts with them."""
    for inner in getattr(command, "commands", {}).values():
        load_commands(inner)


def _end_of(pid: int) -> int:
    """Return the exit code of a fork; kill it if it does not end."""
    deadline = time.monotonic() + TIMEOUT_S
    while (ended := os.waitpid(pid, os.WNOHANG))[0] != pid:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline += TIMEOUT_S
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(ended[1])


def _become(request: dict[str, Any]) -> None:
    sys.argv = ["netra-otel-bridge", *request["arguments"]]
    os.environ.clear()
    os.environ.update(request["env"])
    targets = [os.devnull, request["out"], request["err"]]
    for number, target in enumerate(targets):
        opened = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    if request["traced"]:
        _await_tracer()


def _await_tracer() -> None:
    status = os.open("/proc/self/status", os.O_RDONLY)
    while b"TracerPid:\t0\n" in os.pread(status, 4096, 0):
        time.sleep(0.001)
    os.close(status)


if __name__ == "__main__":
    _serve()
