"""A child process is measured, killed and searched for secrets; the programs here are small scripts."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.child import Child, run
from tests.support.cli import CANARY

pytestmark = pytest.mark.faults


def script(text: str, directory: Path, **options: object) -> Child:
    return Child("-c", text, directory=directory, program=(sys.executable,), **options)  # type: ignore[arg-type]


def test_how_it_ended_and_what_it_wrote(tmp_path: Path) -> None:
    """A run reports its exit code and both outputs; a second run has files of its own."""
    with script("import sys; print('{\"a\": 1}'); print('no', file=sys.stderr); sys.exit(3)", tmp_path) as child:
        ended = child.wait()
    assert (ended.code, ended.json, ended.said) == (3, {"a": 1}, "no")
    with script("print(2)", tmp_path) as other:
        assert other.wait().out == "2\n"
    assert child.out == '{"a": 1}\n'


def test_what_it_used(tmp_path: Path) -> None:
    """Peak memory is the kernel's and includes memory given back long ago; descriptors and threads are counted."""
    text = """
import os, threading, time
block = bytearray(80 << 20); block[::4096] = bytes(len(block[::4096])); time.sleep(0.05); del block
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(40)]
for _ in range(7): threading.Thread(target=time.sleep, args=(0.3,)).start()
"""
    held = bytes(300 << 20)
    with script(text, tmp_path) as child:
        ended = child.wait()
    assert len(held) > ended.peak_bytes, "what this process holds does not count"
    assert 80 << 20 < ended.peak_bytes < 140 << 20
    assert 43 <= ended.peak_descriptors < 60
    assert ended.peak_threads == 8
    assert ended.seconds >= 0.3


def test_kill_at_a_moment(tmp_path: Path) -> None:
    """`until` waits for an event in the child, and the exit code distinguishes SIGKILL from a normal exit."""
    with script("import time; print('ready', flush=True); time.sleep(60)", tmp_path) as child:
        child.until(lambda: "ready" in child.out)
        assert child.kill().code == -signal.SIGKILL
    with script("pass", tmp_path) as child:
        child.wait()
        with pytest.raises(AssertionError, match="not killed: it ended with 0 before"):
            child.kill()


def test_the_kill_reaches_what_it_started(tmp_path: Path) -> None:
    """A killed child's own children do not outlive it."""
    text = "import subprocess as s, time; p = s.Popen(['sleep', '60']); print(p.pid, flush=True); time.sleep(60)"
    with script(text, tmp_path) as child:
        child.until(lambda: child.out.endswith("\n"))
        grandchild = Path("/proc", child.out.strip(), "stat")
        assert grandchild.exists()
    deadline = time.monotonic() + 5
    while grandchild.exists() and grandchild.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not grandchild.exists() or grandchild.read_text().split()[2] == "Z"


def test_a_signal_it_handles(tmp_path: Path) -> None:
    """SIGTERM reaches a child that handles it, and the exit code is the child's own."""
    text = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True); time.sleep(60)
"""
    with script(text, tmp_path) as child:
        child.until(lambda: "ready" in child.out)
        child.signal(signal.SIGTERM)
        assert child.wait().code == 7


def test_one_that_does_not_end_fails(tmp_path: Path) -> None:
    """A child that does not end in time is killed and fails the test; so does one that ends before the awaited event."""
    with script("import time; time.sleep(60)", tmp_path) as child:
        with pytest.raises(AssertionError, match=r"did not end in 0\.2 s"):
            child.wait(0.2)
        assert not child.running
    with script("pass", tmp_path) as child, pytest.raises(AssertionError, match="ended with 0 too early"):
        child.until(lambda: False)
    sleeper = script("import time; time.sleep(60)", tmp_path)
    with sleeper as child, pytest.raises(AssertionError, match=r"not within 0\.1 s"):
        child.until(lambda: False, 0.1)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(
    "text", [CANARY, "Traceback (most recent call last)", "this is a bug in netra-otel-bridge", "was never retrieved"]
)
def test_what_no_output_may_hold(tmp_path: Path, stream: str, text: str) -> None:
    """A secret is found in both outputs, even if the child was killed and its end was never asked for."""
    write = f"import sys, time; print({text!r}[:4] + {text[4:]!r}, file=sys.{stream}, flush=True); time.sleep(9)"
    with script("print('fine')", tmp_path) as child:
        child.wait()
    with pytest.raises(AssertionError), script(write, tmp_path) as child:
        child.until(lambda: text in child.out + child.err)


def test_a_key_in_the_process_list(tmp_path: Path) -> None:
    """A secret among the arguments of a process is found."""
    with (
        pytest.raises(AssertionError, match="process list"),
        Child("-c", "import time; time.sleep(0.3)", CANARY, directory=tmp_path, program=(sys.executable,)) as child,
    ):
        child.wait()


def test_the_bridge_itself(tmp_path: Path) -> None:
    """Without another program, a child runs the command line of the bridge."""
    ended = run("config", "show", "--json", directory=tmp_path)
    assert ended.code == 0
    assert ended.json
