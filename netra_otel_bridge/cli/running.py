"""Running asynchronous work from a command, so that SIGINT and SIGTERM end it in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns. SIGTERM cancels it, also where SIGINT is ignored, as in a shell's background jobs.

    Raises ``KeyboardInterrupt`` or ``asyncio.CancelledError`` after what ``work`` holds was given back.
    """

    async def cancellable() -> T:
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    return asyncio.run(cancellable())
