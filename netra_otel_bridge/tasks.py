"""Work in tasks: several at once, until the caller says stop, and from code without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from netra_otel_bridge.clock import Clock
from netra_otel_bridge.errors import StateError, UsageError
from netra_otel_bridge.source.loop import LoopThread

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


def run_here(work: Coroutine[Any, Any, T], *, instead: str = "areplay or aestimate") -> T:
    """What ``work`` returns. Raises `UsageError` where an event loop runs: there, one awaits what is named ``instead``."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    work.close()
    raise UsageError("an event loop is running in this thread", hint=f"await {instead} instead")


def iterate_here(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """What ``items`` yields. Raises `UsageError` where an event loop runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _pulled(items)
    raise UsageError("an event loop is running in this thread", hint="iterate over aread_spans instead")


def _pulled(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """``items``, on a loop in a thread of its own: so requests are answered in time while the caller is busy."""
    turn = asyncio.Lock()

    async def following() -> T | None:
        async with turn:
            return await anext(items, None)

    async def finish() -> None:
        async with turn:
            await items.aclose()

    loop = LoopThread(finish)
    try:
        while (item := loop.run(following())) is not None:
            yield item
    finally:
        loop.close()
