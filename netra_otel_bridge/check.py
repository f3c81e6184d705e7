"""Whether Netra and the destinations are reachable, authorised, and take what will be sent: asked without writing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netra_otel_bridge.bridge import Bridge
from netra_otel_bridge.clock import NS_PER_S, iso_ms
from netra_otel_bridge.deliver import probe
from netra_otel_bridge.errors import BridgeError

if TYPE_CHECKING:
    from netra_otel_bridge.bridge import To

DAY_NS = 86_400 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Check:
    """One line: whether ``name`` can be worked with, what it ``said``, and what could not be known by asking."""

    name: str
    ok: bool
    said: str
    unknown: str
    exit_code: int


async def check(bridge: Bridge, to: To | Sequence[To] | None = None) -> list[Check]:
    """Netra first, then each destination (by default the configured ones). Raises `ConfigurationError`, `UsageError`."""
    checks = [await _check_netra(bridge)]
    async with AsyncExitStack() as stack:
        for destination in await bridge.enter_destinations(stack, to):
            found = await probe(destination)
            checks.append(Check(destination.name, found.ok, found.said, found.unknown, found.exit_code))
    return checks


async def _check_netra(bridge: Bridge) -> Check:
    """List the newest trace of the last day."""
    clock = bridge.clock
    now_ns = clock.now_ns()
    async with bridge.async_client() as client:
        name = f"Netra at {client.base_url}"
        begun = clock.monotonic()
        try:
            page = await client.list_traces(iso_ms(now_ns - DAY_NS), iso_ms(now_ns), limit=1)
        except BridgeError as error:
            return Check(name, False, str(error), "", error.exit_code)
        found = "lists traces of the last 24 h" if page.traces else "lists no trace of the last 24 h"
        said = f"takes the key and {found} ({(clock.monotonic() - begun) * 1000:.0f} ms)"
        return Check(name, True, said, "whether the key sees every tenant's traces", 0)
