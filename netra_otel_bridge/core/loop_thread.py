"""An event loop on a thread of its own, for callers that do not use asyncio."""

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
    """Runs coroutines for any thread. Ends when closed, when collected or at exit, after awaiting ``finish``.

    A forked child has no such thread: there, `close` does nothing, and what is run is refused.
    """

    def __init__(self, finish: Callable[[], Awaitable[None]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        thread = threading.Thread(target=_serve, args=(self._loop, finish), name="netra-client", daemon=True)
        thread.start()
        self._end = weakref.finalize(self, _shut_down, self._pid, self._loop, thread, finish)

    def close(self) -> None:
        """End the loop and the thread; work under way fails. May be called again."""
        self._end()

    def drive(self, items: AsyncIterator[T]) -> Iterator[T]:
        """An asynchronous iterator, pulled from here one step at a time."""
        while (item := self.run(_step(items))) is not None:
            yield item

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the loop and wait; interrupting the wait cancels the work. Raises `UsageError` once closed, and after a fork."""
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
    """The next item; ``None`` after the last, because ``StopAsyncIteration`` does not cross into a future."""
    return await anext(items, None)


def _serve(loop: asyncio.AbstractEventLoop, finish: Callable[[], Awaitable[None]]) -> None:  # noqa: ARG001
    """Run the loop.

    ``finish`` is held here for forked children, where nothing ends this call: so they do not collect what it closes,
    which would take connections out of the selector that they share with their parent.
    """
    loop.run_forever()


def _shut_down(
    pid: int, loop: asyncio.AbstractEventLoop, thread: threading.Thread, finish: Callable[[], Awaitable[None]]
) -> None:
    """Finish, end the loop, join its thread: what `weakref.finalize` calls once, however the owner ends."""
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
