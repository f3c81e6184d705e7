"""The bridge as a child process: what it uses, how it ends, and that none of its output contains the API key.

A child runs in a session of its own, so that killing it kills everything it started, and nothing else. Its outputs go
to files, which can be read while it runs and never block it as a full pipe would.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.cli import CANARY, environment
from tests.support.waiting import DEADLINE_S

SAMPLE_S = 0.02
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
BRIDGE = (sys.executable, "-m", "netra_otel_bridge")


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a child. ``code`` is the exit code, or minus the signal that ended it.

    The peaks come from samples every `SAMPLE_S`. Peak memory is the kernel's own high-water mark, so nothing between
    two samples is missed. (The ``ru_maxrss`` of a child is at least what its parent held when it started.)
    """

    code: int
    out: str
    err: str
    peak_bytes: int
    peak_descriptors: int
    peak_threads: int
    seconds: float

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def lane(self) -> Any:
        """The only destination of the JSON report."""
        (lane,) = self.json["destinations"]
        return lane

    @property
    def said(self) -> str:
        """The last line on stderr, or ""."""
        return (self.err.strip().splitlines() or [""])[-1]

    def killed(self) -> Self:
        """Return itself if SIGKILL ended it: a kill that came too late proves nothing."""
        assert self.code == -signal.SIGKILL, f"not killed: it ended with {self.code} before\n{self.err}"
        return self


class Child:
    """A context manager around one run of ``netra-otel-bridge``; leaving it kills whatever still runs.

    ``prefix`` is put before the command line (strace, for instance); ``program`` runs instead of the bridge.
    ``secrets`` are texts that no output, and no line of the process list, may contain.
    """

    def __init__(
        self,
        *arguments: str,
        directory: Path,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        program: Sequence[str] = BRIDGE,
        secrets: Sequence[str] = (CANARY,),
    ) -> None:
        self.arguments = arguments
        self.peak_bytes = 0
        self.peak_descriptors = 0
        self.peak_threads = 0
        self._command = [*prefix, *program, *arguments]
        self._env = dict(env if env is not None else environment())
        self._secrets = tuple(secrets)
        number = 1 + sum(1 for _ in directory.glob("child-*.out"))
        self.out_path = directory / f"child-{number}.out"
        self.err_path = directory / f"child-{number}.err"
        self._listed_as: set[str] = set()
        self._done = threading.Event()
        self._code = 0
        self._ended: Ended | None = None

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        with self.out_path.open("wb") as out, self.err_path.open("wb") as err:
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.pid = self._process.pid
        for watch in (self._reap, self._sample):
            threading.Thread(target=watch, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.signal(signal.SIGKILL)
        self._done.wait(10)
        if kind is None:
            self._search()

    @property
    def running(self) -> bool:
        return not self._done.is_set()

    @property
    def out(self) -> str:
        """Return what it has written to stdout so far."""
        return self.out_path.read_text(errors="replace")

    @property
    def err(self) -> str:
        """Return what it has written to stderr so far."""
        return self.err_path.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child and all that it started; do nothing if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> Ended:
        """Send ``kill -9`` now; fail if the child had ended before."""
        self.signal(signal.SIGKILL)
        return self.wait().killed()

    def until(self, holds: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
        """Wait until ``holds()``; fail if the child ends before that, or time runs out."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert self.running, f"the child ended with {self._code} too early\n{self.err}"
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s\n{self.err}"
            time.sleep(0.005)

    def wait(self, timeout_s: float = DEADLINE_S) -> Ended:
        """Wait for its end and return it; if it does not end in time, kill it and fail the test."""
        if not self._done.wait(timeout_s):
            self.signal(signal.SIGKILL)
            self._done.wait(10)
            raise AssertionError(f"{' '.join(self.arguments)} did not end in {timeout_s:g} s\n{self.err}")
        if self._ended is None:
            self._search()
            self._ended = Ended(
                self._code,
                self.out,
                self.err,
                self.peak_bytes,
                self.peak_descriptors,
                self.peak_threads,
                self._seconds,
            )
        return self._ended

    def _search(self) -> None:
        """Check what every run must meet: no secret, traceback or defect in its output or in the process list."""
        for secret in self._secrets:
            assert not any(secret in line for line in self._listed_as), "a secret is in the process list"
        for text in (self.out, self.err):
            for secret in self._secrets:
                assert secret not in text, f"a secret is in the output of {self.arguments}"
            assert "Traceback" not in text, text
            assert "this is a bug in netra-otel-bridge" not in text, text
            assert "never retrieved" not in text, text

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        self._seconds = time.monotonic() - self._began
        self._code = self._process.returncode = os.waitstatus_to_exitcode(status)
        self._done.set()

    def _sample(self) -> None:
        process = Path("/proc", str(self.pid))
        while not self._done.wait(SAMPLE_S):
            with contextlib.suppress(OSError):
                self._listed_as.add((process / "cmdline").read_text())
                if peak := _PEAK.search((process / "status").read_text()):
                    self.peak_bytes = max(self.peak_bytes, int(peak[1]) * 1024)
                self.peak_descriptors = max(self.peak_descriptors, len(os.listdir(process / "fd")))
                self.peak_threads = max(self.peak_threads, len(os.listdir(process / "task")))


def run(*arguments: str, directory: Path, timeout_s: float = DEADLINE_S, **options: Any) -> Ended:
    """Run a command to its end."""
    with Child(*arguments, directory=directory, **options) as child:
        return child.wait(timeout_s)
