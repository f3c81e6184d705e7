"""Run asynchronous work from a command, so that SIGINT and SIGTERM end it gracefully."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
SECOND_SIGNAL_EXIT = 75


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` and return its result. SIGTERM and SIGINT cancel it; a second one ends the process at once.

    Raises ``KeyboardInterrupt`` once the cancelled work has released what it holds.
    """

    async def work_until_signal() -> T:
        task = asyncio.current_task()
        if task is not None:
            _on_signals(task.cancel)
        return await work

    return _run(work_until_signal())


def run_until_signaled(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run ``work`` with an event that SIGTERM and SIGINT set; a second one ends the process at once."""

    async def stoppable() -> None:
        stop = asyncio.Event()
        _on_signals(stop.set)
        await work(stop)

    _run(stoppable())


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _on_signals(told: Callable[[], object]) -> None:
    """Call ``told`` at the first SIGTERM or SIGINT, and end the process at the second.

    A SIGINT that is ignored, as in a shell's background jobs, stays ignored. Needs a running event loop.
    """
    loop = asyncio.get_running_loop()
    signals = 0

    def signaled() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            os._exit(SECOND_SIGNAL_EXIT)
        told()

    loop.add_signal_handler(signal.SIGTERM, signaled)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGINT, signaled)
