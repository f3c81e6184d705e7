"""Kill a program at every instant, or make its disk fail, with strace and no hook in shipped code.

An instant is the n-th time that some thread enters a system call. A first run without a fault counts them (`counting`,
`points`); each later run is killed, or gets an error, at one of them. strace counts each call and each thread
separately, so ``pwrite64`` number 3 is the third one of the first thread that makes three. Counting uses
``--seccomp-bpf``, which stops the program at those calls only; injecting does not, because strace 6.1 then loses the
signal.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

STRACE = shutil.which("strace")
EVERYTHING = "NETRA_TEST_EVERY_KILL_POINT"
"""The environment variable that makes `sample` keep all points."""
SEED = "NETRA_TEST_SEED"
"""The environment variable that chooses the sample; the seed in use is printed with each one."""
DISK = ("pwrite64", "write", "fdatasync", "fsync", "ftruncate", "rename", "unlink", "openat", "mkdir", "link")
NETWORK = ("sendto", "sendmsg", "recvfrom", "recvmsg")
_LINE = re.compile(r"^\s*(\d+)\s+(?:<\.\.\. )?([a-z0-9_]+)(\(| resumed>)")


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """An instant: some thread enters ``call`` for the ``number``-th time."""

    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.call}:{self.number}"


def needed() -> None:
    """Skip the test, with the reason, if there is no strace; fail it under ``CI=true``."""
    if STRACE is None:
        reason = "strace is not installed: no kill at every instant"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def counting(calls: Iterable[str], log: Path) -> list[str]:
    """Return the command prefix that writes every one of ``calls`` to ``log``."""
    trace = f"trace={','.join(calls)}"
    return [_strace(), "-f", "-q", "--seccomp-bpf", "-e", trace, "-e", "signal=none", "-o", str(log)]


def killing(point: Point) -> list[str]:
    """Return the command prefix that kills the program as it enters that call, before the call is made."""
    return _injecting(point, "signal=SIGKILL")


def failing(point: Point, error: str, *, from_then_on: bool = True) -> list[str]:
    """Return the command prefix that makes that call, and those after it, fail with ``error`` (``ENOSPC``, ``EIO``)."""
    return _injecting(point, f"error={error}", step="+" if from_then_on else "")


def points(log: Path, calls: Iterable[str]) -> list[Point]:
    """Return every instant of a counted run: for each call, as many as the busiest thread made."""
    made: Counter[tuple[str, str]] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match and match[3] == "(":
            made[match[2], match[1]] += 1
    most = {call: max((count for (name, _), count in made.items() if name == call), default=0) for call in calls}
    return [Point(call, number) for call, count in most.items() for number in range(1, count + 1)]


def sample(found: Sequence[Point], most: int) -> list[Point]:
    """Return ``found``, or ``most`` of them: the first and last of each call, and a random choice of others. Print what is left out."""
    if os.environ.get(EVERYTHING) or len(found) <= most:
        print(f"all {len(found)} points")
        return list(found)
    seed = os.environ.get(SEED) or str(random.randrange(10**6))
    chance = random.Random(seed)
    ends = [point for call in dict.fromkeys(p.call for p in found) for point in _ends(found, call)]
    chance.shuffle(ends)
    chosen = ends[:most]
    rest = [point for point in found if point not in chosen]
    chosen += chance.sample(rest, most - len(chosen))
    print(f"{most} of {len(found)} points ({SEED}={seed}; {EVERYTHING}=1 for all): {', '.join(map(str, chosen))}")
    return chosen


def _ends(found: Sequence[Point], call: str) -> Iterator[Point]:
    own = [point for point in found if point.call == call]
    yield from dict.fromkeys((own[0], own[-1]))


def _injecting(point: Point, what: str, step: str = "") -> list[str]:
    inject = f"inject={point.call}:{what}:when={point.number}{step}"
    return [_strace(), "-f", "-q", "-e", f"trace={point.call}", "-e", inject, "-o", "/dev/null"]


def _strace() -> str:
    assert STRACE is not None, "ask needed() first"
    return STRACE
