"""Wait for an event instead of for an amount of time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

DEADLINE_S = 120.0
"""The longest wait for an event. It is long because only a failing test waits that long."""
SOON_S = 25.0
"""The limit for what takes no time: less than the longest back-off, 30 s, and far less than `DEADLINE_S`."""


def wait_until(holds: Callable[[], object], *, every_s: float = 0.01) -> None:
    """Wait until ``holds()`` is true. Fail after `DEADLINE_S`."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, f"it did not come true within {DEADLINE_S:g} s"
        time.sleep(every_s)


async def until(holds: Callable[[], Any], *, every_s: float = 0.01) -> Any:
    """Wait until ``holds()``, awaited if it is a coroutine, is true, and return its value. Fail after `DEADLINE_S`."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        held = holds()
        if isinstance(held, Awaitable):
            held = await held
        if held:
            return held
        assert time.monotonic() < deadline, f"it did not come true within {DEADLINE_S:g} s"
        await asyncio.sleep(every_s)


async def settled() -> None:
    """Let every task of the event loop run as far as it can without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)


@contextmanager
def afterwards(holds: Callable[[], object], then: Callable[[], object], *, wait_s: float = 0.0) -> Iterator[None]:
    """While the body runs, wait in a thread until ``holds()`` is true, then ``wait_s``, and call ``then``.

    The exit waits until ``then`` was called.
    """

    def watch() -> None:
        try:
            wait_until(holds)
            time.sleep(wait_s)
        finally:
            then()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        watching.join()
