"""Real servers as child processes on loopback: start them, wait for them, keep their logs, end only their own process."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.backends import Backend, binary_or_skip

LOG_CHARACTERS = 20_000
"""Number of characters of a log, from its end, that a failure shows."""


class Server(ABC):
    """A context manager. Entering it starts the server and waits until it is ready; leaving it ends only that process.

    When it is entered again, a new process takes the same ports. ``grace_s`` is the time that it gets to end by itself.
    """

    backend: Backend
    ready_s: float
    grace_s: float
    _ready_url: str
    """A URL that answers 200 once the server can be used."""
    _process: subprocess.Popen[bytes] | None = None
    _log: Path | None = None

    @abstractmethod
    def _arguments(self, directory: Path) -> Sequence[str]:
        """Write its files into ``directory``, which is deleted when the process ends, and return the command line."""

    def log(self) -> str:
        """Return what the server has logged so far."""
        return self._log.read_text(errors="replace") if self._log is not None else ""

    def __enter__(self) -> Self:
        binary = binary_or_skip(self.backend)
        self._directory = tempfile.TemporaryDirectory(prefix=f"{self.backend.name}-")
        arguments = self._arguments(Path(self._directory.name))
        self._log = Path(self._directory.name) / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [binary, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        until = time.monotonic() + self.ready_s
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > until:
                log_end = self.log()[-LOG_CHARACTERS:]
                self.stop()
                raise RuntimeError(
                    f"{self.backend.name} did not become ready in {self.ready_s:g} s; its log:\n{log_end}"
                )
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process. It may be called twice."""
        if self._process is not None:
            end = self._process.terminate if self.grace_s else self._process.kill
            end()
            try:
                self._process.wait(self.grace_s or None)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = self._log = None
        self._directory.cleanup()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._ready_url, timeout=1) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.URLError):
            return False


def free_ports(count: int) -> list[int]:
    """Return ports of loopback, all different, that are free at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
