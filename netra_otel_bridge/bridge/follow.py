"""Follow live traffic: one lane for each destination, until told to stop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from netra_otel_bridge.bridge.bridge import Bridge
from netra_otel_bridge.bridge.stores import stores_of
from netra_otel_bridge.bridge.verify import enter_reader
from netra_otel_bridge.core.blocking import run_here
from netra_otel_bridge.core.clock import NS_PER_MS
from netra_otel_bridge.core.errors import BridgeError, UsageError
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.tasks import raise_unrecorded, run_until, wait_for_event
from netra_otel_bridge.core.time_text import LAST_NS, iso_ms, parse_time_ns
from netra_otel_bridge.deliver import To
from netra_otel_bridge.pipeline.arrival import ArrivalSample
from netra_otel_bridge.pipeline.expected_netra import SentFromNetra
from netra_otel_bridge.pipeline.follower import Follower
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.pipeline.route import Route
from netra_otel_bridge.pipeline.watch import FollowerWatch, SpanObserver
from netra_otel_bridge.pipeline.windows import Lookback
from netra_otel_bridge.readback.sent_ids import SentIds
from netra_otel_bridge.source.netra_clock import NetraClock
from netra_otel_bridge.state import StateStore

SAMPLE_CALLS = 2
"""Calls to Netra at once that say how sampled spans differ."""
_log = logging.getLogger(__name__)


def follow(
    to: To | Sequence[To] | None = None,
    *,
    since: str | None = None,
    query: TraceQuery | None = None,
    stop: threading.Event | None = None,
    bridge: Bridge | None = None,
    **settings: Any,
) -> None:
    """Follow live traffic to ``to`` until ``stop`` is set, or Ctrl-C; see `afollow`.

    Not for use inside a running event loop.

    ``stop`` may be set in any thread or in a signal handler. The function then stops reading, gives batches in flight
    some seconds to be acknowledged, records the acknowledgements, and returns.
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

    ``to`` is what `Bridge.areplay` accepts. A new destination starts at ``since``, ISO 8601 or a duration before now
    (default: now); a known one resumes where it stopped. Progress is kept in the state: the setting ``state``, else the
    directory that the command uses. Pass either a ``bridge`` or ``settings``, which are those of `Bridge`.

    While Netra or a destination is unreachable, its lanes retry without limit and log each wait. Raises `StateError`
    when progress cannot be made durable, `ConfigurationError`, `UsageError`, and, once all destinations are stopped,
    the `BridgeError` that stopped the first.
    """
    await _follow(_configured(bridge, settings), to, since, query, None)


class LiveLanes:
    """The lanes of live traffic, with the client, the clock of Netra and the API key that they share.

    A new destination starts at ``since``: a time, or a duration before now; by default now. ``on_new_key`` is called
    with a changed key before the key is used. Close ``client`` after use. Raises `UsageError`, `ConfigurationError`.
    """

    def __init__(
        self, bridge: Bridge, *, since: str | None = None, on_new_key: Callable[[str], None] = lambda _: None
    ) -> None:
        self.log_limit = LogLimit(bridge.clock)
        self.client = bridge.async_client()
        self.netra_clock = NetraClock(self.client, bridge.clock, self.log_limit)
        self.routes: list[Route] = []
        self.followers: list[Follower] = []
        self._sampling: tuple[ArrivalSample, ...] = ()
        self._bridge = bridge
        self._since_ns = None if since is None else _start_ns(since, bridge.clock.now_ns())
        self._on_new_key = on_new_key
        self._api_key = bridge.api_key()
        self._key_changes = 0

    async def open(
        self,
        stack: AsyncExitStack,
        state: StateStore,
        to: To | Sequence[To] | None,
        queries: tuple[TraceQuery, ...],
        observer: SpanObserver | None = None,
    ) -> None:
        """Open a lane to each destination of ``to`` until ``stack`` closes; ``observer`` receives the spans read."""
        watches: list[FollowerWatch] = []

        def new_watch(name: str, log_limit: LogLimit, recorder: Recorder) -> FollowerWatch:
            watches.append(FollowerWatch(name, log_limit, self._bridge.clock, recorder, observer))
            return watches[-1]

        self.routes = await self._bridge.routes(
            stack, to, queries, state, client=self.client, new_watch=new_watch, patient=True
        )
        samples = await self._samples(stack)
        self.followers = [
            self.follower(route, watch, samples.get(watch.name))
            for route, watch in zip(self.routes, watches, strict=True)
        ]
        self._sampling = tuple(samples.values())
        _log.info("following %s", self.client.base_url)
        for route in self.routes:
            _log.info("%s: %s", route.watch.name, self._start_text(route))

    async def _samples(self, stack: AsyncExitStack) -> dict[str, ArrivalSample]:
        """Return what reads a sample back, by the name of its destination, as the setting ``verify_at`` says."""
        bridge, settings = self._bridge, self._bridge.settings
        if not settings.verify_at:
            return {}
        stores = stores_of([one.watch.name for one in self.routes], settings.verify_at)
        samples = {}
        for route in self.routes:
            if (at := stores.get(route.watch.name)) is None:
                continue
            reader = await enter_reader(stack, bridge, route.watch.name, at)
            sent_ids = SentIds()
            client = self.client.within(SAMPLE_CALLS)
            everything = Window(0, LAST_NS)
            sent = SentFromNetra(client, bridge.converter(), everything, sent_ids, settings.held_bytes)
            samples[route.watch.name] = ArrivalSample(
                route.watch.name,
                route.recorder,
                reader,
                sent,
                sent_ids,
                clock=bridge.clock,
                log_limit=self.log_limit,
            )
            _log.info("%s: a sample is read back from %s", route.watch.name, reader.at)
        return samples

    def follower(self, route: Route, watch: FollowerWatch, arrival: ArrivalSample | None = None) -> Follower:
        """Return the lane of one route, configured by the settings; ``arrival`` reads a sample back beside it."""
        settings = self._bridge.settings
        return Follower(
            route,
            watch,
            Lookback(settings.settle_ns, settings.lookback_ns),
            poll_ns=settings.poll_ns,
            window_ns=settings.window_ns,
            remember_ns=settings.remember_ns,
            clock=self._bridge.clock,
            netra_clock=self.netra_clock,
            renew_key=self.renew_key,
            arrival=arrival,
        )

    async def run(self, stop: asyncio.Event, *others: Coroutine[Any, Any, None]) -> None:
        """Follow, and run ``others`` alongside, until ``stop`` is set; then stop reading and record acknowledgements.

        Raises the error that ends a lane or one of ``others``, and, once every destination is stopped, the
        `BridgeError` that stopped the first of them.
        """
        works = [
            *(follower.run(self._since_ns) for follower in self.followers),
            *(sample.run() for sample in self._sampling),
            *others,
        ]
        tasks = [asyncio.create_task(work) for work in works]
        stopping = asyncio.create_task(stop.wait())
        try:
            await self._wait(set(tasks), stopping)
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            raise_unrecorded(await asyncio.gather(*tasks, stopping, return_exceptions=True))

    def renew_key(self) -> int:
        """Read the API key again and use it if it has changed; return how many times it has changed so far."""
        try:
            key = self._bridge.api_key()
        except BridgeError as error:
            self.log_limit.log(_log, logging.WARNING, "key", f"cannot read the API key again: {error}")
            return self._key_changes
        if key is not None and key != self._api_key:
            self._api_key = key
            self._key_changes += 1
            self._on_new_key(key)
            self.client.use_api_key(key)
            _log.info("the API key has changed; using the new one")
        return self._key_changes

    async def _wait(self, running: set[asyncio.Task[None]], stopping: asyncio.Task[Any]) -> None:
        """Return when told to stop; raise the error of a task, or that of the first lane once all lanes are stopped."""
        while not self.followers or not all(follower.stopped for follower in self.followers):
            ended, _ = await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping in ended:
                return
            for task in ended:
                task.result()
            running -= ended
        raise next(follower.stopped for follower in self.followers if follower.stopped is not None)

    def _start_text(self, route: Route) -> str:
        lane = route.recorder.lane
        since_ns = lane.since_ns()
        if since_ns is not None:
            return f"resuming from {iso_ms(lane.watermark_ns() or since_ns)}"
        return f"new, starting from {'now' if self._since_ns is None else iso_ms(self._since_ns)}"


async def _follow(
    bridge: Bridge,
    to: To | Sequence[To] | None,
    since: str | None,
    query: TraceQuery | None,
    stop: threading.Event | None,
) -> None:
    lanes = LiveLanes(bridge, since=since)
    stopping = asyncio.Event()
    watching = asyncio.create_task(_pass_on(stop, stopping, bridge)) if stop is not None else None
    try:
        async with AsyncExitStack() as stack:
            state = bridge.open_state(default=bridge.state_directory())
            stack.callback(state.close)
            await stack.enter_async_context(lanes.client)
            if not await run_until(lanes.open(stack, state, to, (query or TraceQuery(),)), stopping.wait()):
                await lanes.run(stopping)
    finally:
        if watching is not None:
            watching.cancel()


async def _pass_on(stop: threading.Event, stopping: asyncio.Event, bridge: Bridge) -> None:
    """Set ``stopping`` once a thread or a signal handler has set ``stop``."""
    await wait_for_event(stop, bridge.clock)
    stopping.set()


def _configured(bridge: Bridge | None, settings: dict[str, Any]) -> Bridge:
    if bridge is not None and settings:
        raise UsageError("a bridge and settings are both given", hint="pass the settings to Bridge(...)")
    return bridge or Bridge(**settings)


def _start_ns(since: str, now_ns: int) -> int:
    start_ns = parse_time_ns(since, now_ns) // NS_PER_MS * NS_PER_MS
    if start_ns > now_ns:
        raise UsageError(f"the start {iso_ms(start_ns)} is in the future", hint="leave it out to begin now")
    return start_ns
