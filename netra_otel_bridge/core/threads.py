"""Run work in a thread that never keeps the process from ending.

The threads of `asyncio.to_thread` are joined when the loop and the interpreter end, so one long conversion would hold
up SIGTERM. These threads are daemons: nobody waits for them once their caller is cancelled. Only the interpreter, when
it ends, gives them `END_S`: a daemon thread that it stops inside of C++ aborts the process. So work that takes long asks
`is_ending`.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar, TypeVarTuple

from netra_otel_bridge.core.clock import SystemClock

T = TypeVar("T")
ArgsT = TypeVarTuple("ArgsT")
END_S = 5.0
"""Longest time for which the end of the interpreter waits for threads."""
_working: set[threading.Thread] = set()
_ending = threading.Event()
_clock = SystemClock()


def is_ending() -> bool:
    """Return whether the interpreter is about to end, so that nobody needs the result of a thread."""
    return _ending.is_set()


@atexit.register
def _end() -> None:
    _ending.set()
    deadline = _clock.monotonic() + END_S
    for thread in list(_working):
        thread.join(max(0.0, deadline - _clock.monotonic()))


async def in_thread(work: Callable[[*ArgsT], T], *args: *ArgsT) -> T:
    """Return ``work(*args)``, computed in a thread of its own; raise what it raises.

    If the caller is cancelled, the thread continues, and its result is dropped. ``work`` must store nothing outside of
    the process: the interpreter may end in the middle of it.
    """
    return await _start(work, *args)


async def in_threads(items: Iterator[T]) -> AsyncIterator[T]:
    """Yield the items; each is computed in a thread of its own, as `in_thread` does it. None of them may be ``None``."""
    while (item := await in_thread(next, items, None)) is not None:
        yield item


def _start(work: Callable[[*ArgsT], T], *args: *ArgsT) -> asyncio.Future[T]:
    done: Future[T] = Future()
    thread = threading.Thread(target=_run, args=(done, work, *args), name="netra-work", daemon=True)
    _working.add(thread)
    thread.start()
    return asyncio.wrap_future(done)


def _run(done: Future[T], work: Callable[[*ArgsT], T], *args: *ArgsT) -> None:
    try:
        if not done.set_running_or_notify_cancel():
            return
        result = work(*args)
    except BaseException as error:  # noqa: BLE001  whatever it is, the caller raises it
        done.set_exception(error)
        del done, args  # else the error refers to this frame, which keeps them until the next garbage collection
    else:
        done.set_result(result)
    finally:
        _working.discard(threading.current_thread())
