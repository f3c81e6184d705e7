"""A run that is killed and the run after it, with what P1 and P2 say about the two."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.cli import Result
from tests.support.compare import Key
from tests.support.oracle import Oracle, Sent
from tests.support.rig import recorded
from tests.support.waiting import DEADLINE_S

CALLS = ("pwrite64", "write", "fdatasync", "fsync", "ftruncate", "rename", "unlink", "mkdir", "sendto", "sendmsg",
         "recvfrom")  # fmt: skip
"""The system calls at which a run is killed: everything that changes a disk, and both ends of a conversation."""


@dataclass(slots=True)
class Crash:
    """The remains of a killed run: the spans at the destination, and those that the state records as acknowledged."""

    sent: Sent
    recorded: set[Key] = field(default_factory=set)

    @classmethod
    def left(cls, oracle: Oracle, sent: Sent, state: Path) -> Crash:
        """Read what a killed run left, and assert the half of P1 that holds at every instant: only delivered spans are recorded."""
        crash = cls(sent, set(recorded(state, oracle.trace_ids)))
        early = crash.recorded - sent.keys
        assert not early, f"recorded before it was delivered: {sorted(early)}"
        wrong = oracle.verdict(sent, due=())
        assert not wrong.invented, wrong
        assert not wrong.altered, wrong
        return crash

    @property
    def unrecorded(self) -> set[Key]:
        """Return the spans that may be sent again (P2)."""
        return self.sent.keys - self.recorded


def assert_resumed(oracle: Oracle, crashes: Sequence[Crash], sent: Sent, result: Result) -> None:
    """Assert P1 and P3 to the letter after the last run; each repeat must be a span that a crash left unrecorded, once per crash."""
    assert result.code == 0, result.err
    verdict = oracle.assert_kept(sent, repeats=sum(len(crash.unrecorded) for crash in crashes))
    allowed = set[Key]().union(*(crash.unrecorded for crash in crashes))
    assert verdict.repeated.keys() <= allowed, f"repeated, though recorded: {verdict.repeated.keys() - allowed}"


def every(points: Iterable[object], check: Callable[[object], None]) -> None:
    """Run ``check`` at every point; name all that fail, with the first failure in full."""
    failed: list[tuple[object, AssertionError]] = []
    for point in points:
        try:
            check(point)
        except AssertionError as error:
            failed.append((point, error))
    if failed:
        raise AssertionError(f"fails at {', '.join(str(point) for point, _ in failed)}") from failed[0][1]


def hung_up(port: int, timeout_s: float = DEADLINE_S) -> None:
    """Wait until a server has read all that a killed client had sent, which is when none of its connections is open.

    A complete request is stored by then. Without this, it could be stored after a test has looked.
    """
    deadline = time.monotonic() + timeout_s
    while any(_is_open(line, port) for line in Path("/proc/net/tcp").read_text().splitlines()[1:]):
        assert time.monotonic() < deadline, f"the server does not close its connections within {timeout_s:g} s"
        time.sleep(0.005)
    time.sleep(0.02)


def _is_open(line: str, port: int) -> bool:
    """Return whether a line of the kernel's table is a connection of ``port``'s server; 06 is TIME_WAIT, 0A is LISTEN."""
    _, local, _, state, *_ = line.split()
    return int(local.rpartition(":")[2], 16) == port and state not in ("06", "0A")
