"""Work in tasks: several at once, until the caller says stop, and from code without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import StateError, UsageError

T = TypeVar("T")
LOOK_S = 0.1
"""How often is looked whether a caller's ``stop`` is set: that may happen in any thread, and wakes nobody."""


async def all_of(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all ``works``, done at the same time. Cancelled, it waits until each of them has ended."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        raise_unrecorded(await asyncio.gather(*tasks, return_exceptions=True))
        raise


async def until_set(work: Coroutine[Any, Any, object], stop: threading.Event | None, clock: Clock) -> bool:
    """`until` ``stop`` is set, if there is one. Raises `UsageError` for what cannot be set."""
    if stop is None:
        await work
        return False
    if not hasattr(stop, "is_set"):
        work.close()
        raise UsageError(f"stop is of type {type(stop).__name__}", hint="give a threading.Event")
    return await until(work, is_set(stop, clock))


async def until(work: Coroutine[Any, Any, object], told: Coroutine[Any, Any, object]) -> bool:
    """Whether ``told`` ended before ``work`` had: that was cancelled then, and has ended in order."""
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


async def is_set(event: threading.Event, clock: Clock) -> None:
    """Return once ``event`` is set, by whatever thread."""
    while not event.is_set():
        await clock.sleep(LOOK_S)


def raise_unrecorded(results: Iterable[object]) -> None:
    """Raise the first `StateError` among the results of tasks that were cancelled: progress could not be recorded."""
    for result in results:
        if isinstance(result, StateError):
            raise result
