"""Running asynchronous work from a command, so that SIGINT and SIGTERM end it in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from netra_otel_bridge.core.errors import BridgeError

T = TypeVar("T")
SECOND_SIGNAL_EXIT = 75


class Interrupted(BridgeError):
    """A signal ended the command."""

    exit_code = 75


def on_signals(told: Callable[[], object]) -> None:
    """Call ``told`` at the first SIGTERM or SIGINT; a second one ends the process at once.

    Where SIGINT is ignored, as in a shell's background jobs, it stays so. To be called inside a running event loop.
    """
    loop = asyncio.get_running_loop()
    signals = 0

    def signalled() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            os._exit(SECOND_SIGNAL_EXIT)
        told()

    loop.add_signal_handler(signal.SIGTERM, signalled)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGINT, signalled)


def run(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns. SIGTERM and SIGINT cancel it, a second one ends the process at once.

    Raises ``asyncio.CancelledError`` after what ``work`` holds was given back.
    """

    async def cancellable() -> T:
        task = asyncio.current_task()
        if task is not None:
            on_signals(task.cancel)
        return await work

    return asyncio.run(cancellable())
