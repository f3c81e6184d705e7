"""Work in a thread of its own."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from contextlib import suppress

import pytest

from netra_otel_bridge.core.threads import in_thread
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.faults


class Payload:
    """Something whose end can be seen."""


def fail(_: Payload) -> None:
    raise ValueError("no")


async def test_results_and_errors_reach_the_caller() -> None:
    """The result is returned, an error is raised, and the work is not done in the loop's thread."""
    assert await in_thread(threading.get_ident) != threading.get_ident()
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ValueError, match="no"):
        await in_thread(fail, Payload())


async def test_a_failure_keeps_nothing_that_it_was_given() -> None:
    """An answer that cannot be decoded is freed with its error, and not at the next garbage collection."""
    payload = Payload()
    seen = weakref.ref(payload)
    gc.disable()
    try:
        with suppress(ValueError):
            await in_thread(fail, payload)
        del payload
        for _ in range(100):  # the thread may need a moment to end
            await asyncio.sleep(0 if seen() is None else 0.01)
        assert seen() is None
    finally:
        gc.enable()


def test_work_that_does_not_end_keeps_no_process_from_ending() -> None:
    """Once the caller is cancelled, the loop and the interpreter end, whatever the thread does."""
    program = """
import asyncio, time
from netra_otel_bridge.core.threads import in_thread

async def main():
    try:
        async with asyncio.timeout(0.1):
            await in_thread(time.sleep, 600)
    except TimeoutError:
        print("ended")

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    assert (ended.stdout, ended.stderr) == ("ended\n", "")


def test_work_that_asks_whether_the_process_ends_is_waited_for() -> None:
    """Threads may leave what must not be stopped in the middle, before the interpreter stops them."""
    program = """
import asyncio, time
from netra_otel_bridge.core.threads import in_thread, is_ending

def work():
    while not is_ending():
        time.sleep(0.01)
    time.sleep(0.2)
    print("left")

async def main():
    try:
        async with asyncio.timeout(0.1):
            await in_thread(work)
    except TimeoutError:
        print("ended")

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    assert (ended.stdout, ended.stderr) == ("ended\nleft\n", "")
