"""Run work in tasks, several at once or until the caller stops it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import StateError, UsageError

T = TypeVar("T")
STOP_POLL_S = 0.1
"""Seconds between two checks of a caller's ``stop``, because a thread that sets it wakes no event loop."""


async def all_of(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all ``works`` concurrently and return their results. When cancelled, wait until each of them has ended."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        raise_unrecorded(await asyncio.gather(*tasks, return_exceptions=True))
        raise


async def run_until_set(work: Coroutine[Any, Any, object], stop: threading.Event | None, clock: Clock) -> bool:
    """Run ``work`` until it ends or ``stop`` is set; return whether it was stopped, as `run_until` does.

    Raises `UsageError` for a ``stop`` that is not an event.
    """
    if stop is None:
        await work
        return False
    if not hasattr(stop, "is_set"):
        work.close()
        raise UsageError(f"stop is of type {type(stop).__name__}", hint="give a threading.Event")
    return await run_until(work, wait_for_event(stop, clock))


async def run_until(work: Coroutine[Any, Any, object], told: Coroutine[Any, Any, object]) -> bool:
    """Run ``work`` until it ends or ``told`` does; return whether ``told`` ended first.

    ``work`` is then cancelled and awaited.
    """
    working, watching = asyncio.create_task(work), asyncio.create_task(told)
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        watching.cancel()
        working.cancel()
        raise_unrecorded(await asyncio.gather(working, watching, return_exceptions=True))
    if working.cancelled():
        return True
    working.result()
    return False


async def wait_for_event(event: threading.Event, clock: Clock) -> None:
    """Wait until any thread has set ``event``."""
    while not event.is_set():
        await clock.sleep(STOP_POLL_S)


def raise_unrecorded(results: Iterable[object]) -> None:
    """Raise the first `StateError` among the results of cancelled tasks: progress could not be recorded."""
    for result in results:
        if isinstance(result, StateError):
            raise result
