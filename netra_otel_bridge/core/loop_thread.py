"""Run an event loop on its own thread, for callers that do not use asyncio."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from netra_otel_bridge.core.errors import UsageError

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for any thread. Ends when closed, when garbage-collected or at exit, after awaiting ``finish``.

    A forked child does not have the thread: there `close` does nothing, and `run` raises.
    """

    def __init__(self, finish: Callable[[], Awaitable[None]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        thread = threading.Thread(target=_serve, args=(self._loop, finish), name="netra-client", daemon=True)
        thread.start()
        self._end = weakref.finalize(self, _shut_down, self._pid, self._loop, thread, finish)

    def close(self) -> None:
        """End the loop and the thread; work in progress fails. May be called again."""
        self._end()

    def drive(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yield the items of an asynchronous iterator, with one step of the loop for each."""
        while (item := self.run(_step(items))) is not None:
            yield item

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on the loop and return its result; interrupting the wait cancels it.

        Raises `UsageError` once closed, and in a forked child.
        """
        if os.getpid() != self._pid:
            work.close()
            raise UsageError("this client was made in another process", hint="make one in each process")
        if not self._end.alive:
            work.close()
            raise UsageError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise UsageError("the client was closed") from None
        finally:
            future.cancel()


async def _step(items: AsyncIterator[T]) -> T | None:
    """Return the next item; ``None`` after the last, because a future cannot hold a ``StopAsyncIteration``."""
    return await anext(items, None)


def _serve(loop: asyncio.AbstractEventLoop, finish: Callable[[], Awaitable[None]]) -> None:  # noqa: ARG001
    """Run the loop.

    The reference to ``finish`` protects forked children. There this call never ends, so the connections that ``finish``
    closes are never garbage-collected, which would remove them from the selector that the child shares with its parent.
    """
    loop.run_forever()


def _shut_down(
    pid: int, loop: asyncio.AbstractEventLoop, thread: threading.Thread, finish: Callable[[], Awaitable[None]]
) -> None:
    """Await ``finish``, end the loop and join its thread. `weakref.finalize` calls this once, however the owner ends."""
    if os.getpid() != pid:
        return

    async def end() -> None:
        await finish()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()

    asyncio.run_coroutine_threadsafe(end(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
