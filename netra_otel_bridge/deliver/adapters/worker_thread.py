"""Make blocking calls from asyncio: one at a time, on their own thread, each with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class StillRunning(Exception):
    """The call has not returned within its deadline, and is still running."""


class OneAtATime(Generic[T]):
    """Runs calls one after another on one daemon thread, so that a call that hangs cannot keep the process from exiting.

    A call that exceeds its deadline remains *the* running call: no other starts until it ends. A later call for the
    same ``key`` (by identity) returns its result instead of repeating it: an exporter slower than the deadline still
    makes progress, and its spans are not sent again.
    """

    def __init__(self, thread_name: str) -> None:
        self._thread_name = thread_name
        self._todo: queue.SimpleQueue[tuple[Callable[[], T], Future[T]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._turn = asyncio.Lock()
        self._running: tuple[object, Future[T]] | None = None

    async def call(self, key: object, function: Callable[[], T], deadline_s: float) -> T:
        """Return or raise what ``function()`` does; raise `StillRunning` after ``deadline_s`` seconds.

        The deadline starts when it is this call's turn, and includes the wait for a call that is still running.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(deadline_s):
                    if self._running is not None and self._running[0] is not key:
                        await self._wait_for(self._running[1])
                        self._running = None
                    if self._running is None:
                        self._running = (key, self._start(function))
                    future = self._running[1]
                    await self._wait_for(future)
            except TimeoutError:
                raise StillRunning from None
            self._running = None
            return future.result()

    def close(self) -> None:
        """Let the thread end after its current call, without waiting for it."""
        if self._thread is not None:
            self._todo.put(None)

    def _start(self, function: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._thread_name, daemon=True)
            self._thread.start()
        self._todo.put((function, future))
        return future

    @staticmethod
    async def _wait_for(future: Future[T]) -> None:
        """Wait until the call has returned or raised; if this is cancelled, the call keeps running."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def wake(_: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed while the call still ran
                loop.call_soon_threadsafe(ended.set)

        future.add_done_callback(wake)
        await ended.wait()

    def _work(self) -> None:
        while (task := self._todo.get()) is not None:
            function, future = task
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001  the wall: whatever foreign code raises reaches the caller
                future.set_exception(error)
            else:
                future.set_result(result)
            del task, function, future
