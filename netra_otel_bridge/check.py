"""Whether Netra and the destinations are reachable, authorised, and take what will be sent: asked without writing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netra_otel_bridge.bridge import Bridge
from netra_otel_bridge.clock import NS_PER_S, Clock, iso_ms
from netra_otel_bridge.deliver import Destination, probe
from netra_otel_bridge.errors import BridgeError
from netra_otel_bridge.source import AsyncNetraClient

if TYPE_CHECKING:
    from netra_otel_bridge.bridge import To

DAY_NS = 86_400 * NS_PER_S
CHECK_S = 12.0
"""What everybody together gets to answer."""
NO_ANSWER_EXIT = 69


@dataclass(frozen=True, slots=True)
class Check:
    """One line: whether ``name`` can be worked with, what it ``said``, and what could not be known by asking."""

    name: str
    ok: bool
    said: str
    unknown: str
    exit_code: int


async def check(bridge: Bridge, to: To | Sequence[To] | None = None) -> list[Check]:
    """Netra first, then each destination (by default the configured ones); all are asked at once, for `CHECK_S`.

    Raises `ConfigurationError`, `UsageError`.
    """
    async with AsyncExitStack() as stack:
        destinations = await bridge.enter_destinations(stack, to)
        client = await stack.enter_async_context(bridge.async_client(attempts=2))
        asked = [_within(f"Netra at {client.base_url}", _check_netra(client, bridge.clock))]
        asked += [_within(destination.name, _check_destination(destination)) for destination in destinations]
        return await asyncio.gather(*asked)


async def _within(name: str, asking: Awaitable[Check]) -> Check:
    try:
        async with asyncio.timeout(CHECK_S):
            return await asking
    except TimeoutError:
        return Check(name, False, f"no answer in {CHECK_S:g} s", "", NO_ANSWER_EXIT)


async def _check_netra(client: AsyncNetraClient, clock: Clock) -> Check:
    """List the newest trace of the last day."""
    name = f"Netra at {client.base_url}"
    now_ns, begun = clock.now_ns(), clock.monotonic()
    try:
        page = await client.list_traces(iso_ms(now_ns - DAY_NS), iso_ms(now_ns), limit=1)
    except BridgeError as error:
        return Check(name, False, str(error), "", error.exit_code)
    found = "lists traces of the last 24 h" if page.traces else "lists no trace of the last 24 h"
    said = f"takes the key and {found} ({(clock.monotonic() - begun) * 1000:.0f} ms)"
    return Check(name, True, said, "whether the key sees every tenant's traces", 0)


async def _check_destination(destination: Destination) -> Check:
    found = await probe(destination)
    return Check(destination.name, found.ok, found.said, found.unknown, found.exit_code)
