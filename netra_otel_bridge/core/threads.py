"""Run work in a thread that never keeps the process from ending.

The threads of `asyncio.to_thread` are joined when the loop and the interpreter end, so one long conversion would hold
up SIGTERM. These threads are daemons: nobody waits for them once their caller is cancelled.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
ArgsT = TypeVarTuple("ArgsT")


async def in_thread(work: Callable[[*ArgsT], T], *args: *ArgsT) -> T:
    """Return ``work(*args)``, computed in a thread of its own; raise what it raises.

    If the caller is cancelled, the thread continues, and its result is dropped. ``work`` must store nothing outside of
    the process: the interpreter may end in the middle of it.
    """
    return await _start(work, *args)


def _start(work: Callable[[*ArgsT], T], *args: *ArgsT) -> asyncio.Future[T]:
    done: Future[T] = Future()
    threading.Thread(target=_run, args=(done, work, *args), name="netra-work", daemon=True).start()
    return asyncio.wrap_future(done)


def _run(done: Future[T], work: Callable[[*ArgsT], T], *args: *ArgsT) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        result = work(*args)
    except BaseException as error:  # noqa: BLE001  whatever it is, the caller raises it
        done.set_exception(error)
        del done, args  # else the error refers to this frame, which keeps them until the next garbage collection
    else:
        done.set_result(result)
