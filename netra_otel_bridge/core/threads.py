"""Run work in a thread that never keeps the process from ending.

The threads of `asyncio.to_thread` are joined when the loop and the interpreter end, so one long conversion would hold
up SIGTERM. These threads are daemons: nobody waits for them once their caller is cancelled.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
ArgsT = TypeVarTuple("ArgsT")


async def in_thread(work: Callable[[*ArgsT], T], *args: *ArgsT) -> T:
    """Return ``work(*args)``, computed in a thread of its own; raise what it raises.

    If the caller is cancelled, the thread continues, and its result is dropped. ``work`` must store nothing outside of
    the process: the interpreter may end in the middle of it.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # the result of work, which may be None

    def run() -> None:
        result, failure = None, None
        try:
            result = work(*args)
        except BaseException as error:  # noqa: BLE001  whatever it is, the caller raises it
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, result, failure)

    threading.Thread(target=run, name="netra-work", daemon=True).start()
    return await done
