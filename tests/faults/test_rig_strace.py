"""Points are counted, sampled and hit; the program here is a small script."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support import strace
from tests.support.child import Child
from tests.support.strace import EVERYTHING, SEED, Point

pytestmark = pytest.mark.faults

WRITES = """
import os, sys, threading
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def other():
    os.pwrite(file, b"other", 0)
thread = threading.Thread(target=other); thread.start(); thread.join()
for line in b"abc":
    try:
        os.pwrite(file, bytes([line]), 0)
    except OSError as error:
        print(error.errno); sys.exit(9)
    os.fdatasync(file)
"""


@pytest.fixture(autouse=True)
def there_is_strace() -> None:
    strace.needed()


def writes(directory: Path, name: str, prefix: list[str]) -> tuple[int, bytes]:
    """Return the exit code of the script under strace, and what it wrote."""
    target = directory / name
    program = (sys.executable, "-c", WRITES, str(target))
    with Child(directory=directory, program=program, prefix=prefix) as child:
        return child.wait().code, target.read_bytes() if target.exists() else b""


def test_every_point_is_found_and_hit(tmp_path: Path) -> None:
    """Three writes and syncs of one thread and one write of another are found; a kill at n leaves what came before n."""
    log = tmp_path / "log"
    code, whole = writes(tmp_path, "whole", strace.counting(("pwrite64", "fdatasync", "sendto"), log))
    assert (code, whole) == (0, b"otherabc")
    found = strace.points(log, ("pwrite64", "fdatasync", "sendto"))
    assert found == [Point(call, number) for call in ("pwrite64", "fdatasync") for number in (1, 2, 3)]
    left = [writes(tmp_path, str(point), strace.killing(point)) for point in found]
    assert left == [(-9, written) for written in (b"", b"othera", b"otherab", b"othera", b"otherab", b"otherabc")]


def test_an_error_in_the_place_of_a_call(tmp_path: Path) -> None:
    """From the second write on, each write fails with ENOSPC."""
    assert writes(tmp_path, "full", strace.failing(Point("pwrite64", 2), "ENOSPC")) == (9, b"othera")
    assert (tmp_path / "child-1.out").read_text() == "28\n"


def test_a_sample_is_bounded_seeded_and_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sample has the first and last point of each call; the same seed chooses the same sample; a variable chooses all."""
    found = [Point(call, number) for call in ("a", "b") for number in range(1, 101)]
    monkeypatch.delenv(EVERYTHING, raising=False)
    monkeypatch.setenv(SEED, "5")
    chosen = strace.sample(found, 10)
    assert len(set(chosen)) == 10
    assert {Point("a", 1), Point("a", 100), Point("b", 1), Point("b", 100)} <= set(chosen)
    said = capsys.readouterr().out
    assert f"10 of 200 points ({SEED}=5" in said
    assert strace.sample(found, 10) == chosen
    monkeypatch.setenv(SEED, "6")
    assert strace.sample(found, 10) != chosen
    assert strace.sample(found[:10], 10) == found[:10]
    assert len(set(strace.sample(found, 3))) == 3
    monkeypatch.setenv(EVERYTHING, "1")
    assert strace.sample(found, 10) == found


def test_without_strace_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without strace a test is skipped with the reason; in CI it fails."""
    monkeypatch.setattr(strace, "STRACE", None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="strace is not installed"):
        strace.needed()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="strace is not installed"):
        strace.needed()
    assert os.environ["CI"] == "true"
