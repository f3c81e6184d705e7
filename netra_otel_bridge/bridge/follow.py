"""Following live traffic from a program: the lanes of the service, without its usage, its metrics and its pages."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from netra_otel_bridge.bridge.bridge import Bridge, To
from netra_otel_bridge.core.blocking import run_here
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.core.tasks import is_set
from netra_otel_bridge.service.service import Service
from netra_otel_bridge.state import StateStore


def follow(
    to: To | Sequence[To] | None = None,
    *,
    since: str | None = None,
    query: TraceQuery | None = None,
    stop: threading.Event | None = None,
    bridge: Bridge | None = None,
    **settings: Any,
) -> None:
    """Follow live traffic to ``to`` until ``stop`` is set, or Ctrl-C; see `afollow`. Not inside a running event loop.

    ``stop`` may be set in any thread or in a signal handler. Nothing more is read then, what is under way gets to be
    answered for some seconds, what is answered is recorded, and the function returns.
    """
    configured = _configured(bridge, settings)
    return run_here(_follow(configured, to, since, query, stop), instead="afollow")


async def afollow(
    to: To | Sequence[To] | None = None,
    *,
    since: str | None = None,
    query: TraceQuery | None = None,
    bridge: Bridge | None = None,
    **settings: Any,
) -> None:
    """Follow live traffic to one or several destinations until cancelled, as the command ``run`` does.

    ``to`` is what `Bridge.areplay` takes. A destination that was never followed starts at ``since``, ISO 8601 or a
    duration before now (default: now); one that was goes on where it had come to. How far that is stands in the state:
    the setting ``state``, else the same directory as the command's. ``settings`` are those of `Bridge`, where no
    ``bridge`` is given.

    A destination or a Netra that is away is waited for, however long, and each wait is told in the log. Raises
    `StateError` where progress cannot be made durable, `ConfigurationError`, `UsageError`, and the `BridgeError` that
    stopped the first destination, once all of them are stopped.
    """
    await _follow(_configured(bridge, settings), to, since, query, None)


async def _follow(
    bridge: Bridge,
    to: To | Sequence[To] | None,
    since: str | None,
    query: TraceQuery | None,
    stop: threading.Event | None,
) -> None:
    lanes = _Lanes(bridge, to=to, queries=(query or TraceQuery(),), since=since, usage=False)
    told = asyncio.Event()
    watching = asyncio.create_task(_tell(told, stop, bridge)) if stop is not None else None
    try:
        await lanes.run(told)
    finally:
        if watching is not None:
            watching.cancel()


async def _tell(told: asyncio.Event, stop: threading.Event, bridge: Bridge) -> None:
    await is_set(stop, bridge.clock)
    told.set()


def _configured(bridge: Bridge | None, settings: dict[str, Any]) -> Bridge:
    if bridge is not None and settings:
        raise UsageError("a bridge has its settings already", hint="give settings to Bridge(...)")
    return bridge or Bridge(**settings)


class _Lanes(Service):
    """The service where it has nothing to serve."""

    async def _serve(self, stack: AsyncExitStack, state: StateStore) -> None:
        """No page, no port, no metrics, no calls."""
