"""Test that Netra and each destination are reachable, accept the credentials, and accept what will be sent.

Nothing is written, except a test span to each destination if the caller asks for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from netra_otel_bridge.bridge.wiring import Wiring
from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import BridgeError, ConfigurationError, UsageError
from netra_otel_bridge.core.time_text import iso_ms, parse_time_ns
from netra_otel_bridge.deliver import Destination, To
from netra_otel_bridge.deliver.names import is_otlp_server, without_secrets
from netra_otel_bridge.deliver.probe import ANSWER_S, Sample, probe

_log = logging.getLogger(__name__)
DAY_NS = 86_400 * NS_PER_S
CHECK_S = ANSWER_S
"""Timeout for Netra's response and for each request to a destination; all are checked concurrently."""
NO_ANSWER_EXIT = 69
RAW_NUMBERS = "whether it shows NaN and infinities, which profile raw leaves as they are: Jaeger's pages fail for them"
CONSOLE_BYTES = 1_000
"""The size of a test span that is printed for people to read."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result for one system: ``name`` works (``ok``) or not, what it ``said``, and what remains ``unknown``.

    A destination that is ``ok`` but not ``sure`` rejects requests without spans, or cannot be probed: only a span would
    tell. ``took_bytes`` is the size of the largest request that it accepted, ``trace_id`` is the trace of the test span
    that it accepted.
    """

    name: str
    ok: bool
    said: str
    unknown: str
    exit_code: int
    sure: bool = True
    took_bytes: int | None = None
    trace_id: str | None = None


async def check(bridge: Wiring, to: To | Sequence[To] | None = None, *, send_since: str | None = None) -> list[Check]:
    """Check Netra and each destination (by default the configured ones) at once; return Netra's result first.

    With ``send_since``, a time in the past as `Bridge.window` accepts it, each destination that works is sent one test
    span that starts then. A destination that cannot be set up is a failed `Check`. Raises `UsageError`, also for a
    destination that is named twice, and `ConfigurationError` if there is none.
    """
    sample = None if send_since is None else _sample(bridge, send_since)
    targets = bridge.targets(to)
    async with AsyncExitStack() as stack:
        asked = (_check_destination(bridge, stack, one, sample) for one in targets)
        return await asyncio.gather(_check_netra(bridge), *asked)


def _sample(wiring: Wiring, since: str) -> Sample:
    now_ns = wiring.clock.now_ns()
    start_ns = parse_time_ns(since, now_ns)
    if start_ns > now_ns:
        raise UsageError(f"--since {since!r} is in the future", hint="write a time in the past, or 24h")
    return Sample(start_ns, now_ns, _age((now_ns - start_ns) / NS_PER_S))


def _age(age_s: float) -> str:
    """Return ``24 h old``: in days from 3 days on, else in the largest unit that gives 2 or more."""
    for unit, seconds, least in (("days", 86_400, 3), ("h", 3_600, 2), ("min", 60, 2)):
        if age_s >= least * seconds:
            return f"{round(age_s / seconds)} {unit} old"
    return f"{round(age_s)} s old"


async def _check_netra(wiring: Wiring) -> Check:
    """List the newest trace of the last day."""
    clock = wiring.clock
    now_ns, begun = clock.now_ns(), clock.monotonic()
    name = "Netra"
    try:
        async with wiring.async_client(attempts=1) as client:
            name = f"Netra at {client.base_url}"
            async with asyncio.timeout(CHECK_S):
                page = await client.list_traces(iso_ms(now_ns - DAY_NS), iso_ms(now_ns), limit=1)
    except TimeoutError:
        return Check(name, False, f"no response within {CHECK_S:g} s", "", NO_ANSWER_EXIT)
    except BridgeError as error:
        return Check(name, False, str(error), "", error.exit_code)
    found = "lists traces of the last 24 h" if page.traces else "lists no trace of the last 24 h"
    said = f"accepts the key and {found} ({(clock.monotonic() - begun) * 1000:.0f} ms)"
    return Check(name, True, said, "whether the key sees every tenant's traces", 0)


async def _enter(wiring: Wiring, stack: AsyncExitStack, to: To) -> Destination | Check:
    try:
        return await wiring.enter_destination(stack, to)
    except UsageError as error:
        return Check(
            without_secrets(to) if isinstance(to, str) else type(to).__name__, False, str(error), "", error.exit_code
        )
    except ConfigurationError as error:
        return Check(to if isinstance(to, str) else type(to).__name__, False, str(error), "", error.exit_code)


async def _check_destination(wiring: Wiring, stack: AsyncExitStack, to: To, sample: Sample | None) -> Check:
    one = await _enter(wiring, stack, to)
    if isinstance(one, Check):
        return one
    settings = wiring.settings
    size_bytes = min(settings.batch_bytes, settings.held_bytes)
    if settings.destinations.get(one.name, one.name).strip() in ("console", "exporter:console"):
        size_bytes = CONSOLE_BYTES
    try:
        found = await probe(one, size_bytes, sample, CHECK_S)
    except Exception as error:  # noqa: BLE001  the boundary between destinations: what one raises hides no other
        _log.debug("%s raised", one.name, exc_info=True)
        said = f"raised {type(error).__name__} (this is a bug in it or in the bridge; -v shows where)"
        return Check(one.name, False, said, "", BridgeError.exit_code)
    unknown = found.unknown
    if found.ok and settings.profile == "raw" and is_otlp_server(settings.destinations.get(one.name, one.name)):
        unknown = f"{unknown}; {RAW_NUMBERS}" if unknown else RAW_NUMBERS
    return Check(one.name, found.ok, found.said, unknown, found.exit_code, found.sure, found.took_bytes, found.trace_id)
