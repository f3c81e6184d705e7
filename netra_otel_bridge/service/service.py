"""The service: follows live traffic to every destination, and says how it is doing, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from netra_otel_bridge.bridge.bridge import Bridge
from netra_otel_bridge.core.clock import NS_PER_MS
from netra_otel_bridge.core.errors import BridgeError, UsageError
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.health import ServiceHealth
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.core.tasks import raise_unrecorded, until
from netra_otel_bridge.core.time_text import duration_text, iso_ms, parse_time_ns
from netra_otel_bridge.deliver import Destination
from netra_otel_bridge.pipeline.follower import Follower
from netra_otel_bridge.pipeline.lane import Route
from netra_otel_bridge.pipeline.watch import LaneOptions, Notices, QuietNotices
from netra_otel_bridge.pipeline.windows import Lookback
from netra_otel_bridge.service.genai_histograms import LiveMetrics
from netra_otel_bridge.service.http import HttpEndpoints
from netra_otel_bridge.service.metric_exporters import metric_readers
from netra_otel_bridge.service.rpc import RpcServer, is_wanted
from netra_otel_bridge.service.telemetry import Telemetry
from netra_otel_bridge.source.netra_clock import NetraClock
from netra_otel_bridge.state import StateStore
from netra_otel_bridge.usage.instruments import USAGE_COUNTERS, USAGE_GAUGES
from netra_otel_bridge.usage.poller import UsageFollower
from netra_otel_bridge.version import __version__

if TYPE_CHECKING:
    from netra_otel_bridge.bridge.bridge import To

SUBSCRIPTION_FETCHERS = 4
SUBSCRIPTION_BATCH_BYTES = 2**20
SUBSCRIPTION_BYTES = 4 * 2**20
"""What is held for one client that follows live spans, between Netra and its acknowledgement."""
_log = logging.getLogger(__name__)


class Service:
    """One run of the service: follows ``traces``, polls ``usage``, or both.

    ``queries`` say which traces are followed; a destination that was never followed starts at ``since``, a time or a
    duration before now, by default now. ``on_new_key`` is told of a key before it is used. Raises `UsageError`.
    """

    def __init__(
        self,
        bridge: Bridge,
        *,
        to: To | Sequence[To] | None = None,
        queries: tuple[TraceQuery, ...] = (TraceQuery(),),
        since: str | None = None,
        traces: bool = True,
        usage: bool = True,
        on_new_key: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.address = ""
        self.grpc_address = ""
        self._bridge = bridge
        self._to = to
        self._queries = queries
        self._since_ns = None if since is None else _begins_ns(since, bridge.clock.now_ns())
        self._traces = traces
        self._usage = usage
        self._on_new_key = on_new_key
        self._followers: list[Follower] = []
        self._routes: list[Route] = []
        self._notices: list[Notices] = []
        self._usage_follower: UsageFollower | None = None
        self._api_key = bridge.api_key()
        self._keys = 0
        self._limiter = LogLimit(bridge.clock)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until ``stop`` is set: then stop reading, record what is answered, and return.

        Raises `StateError` where progress cannot be made durable, `ConfigurationError`, and, once every destination's
        lane is stopped, the `BridgeError` that stopped the first of them.
        """
        async with AsyncExitStack() as stack:
            state = self._bridge.open_state(default=self._bridge.state_directory())
            stack.callback(state.close)
            if await until(self._wire(stack, state), _set(stop)):
                _log.info("stopped before it began")
                return
            await self._serve(stack, state)
            lanes = [asyncio.create_task(follower.run(self._since_ns)) for follower in self._followers]
            if self._usage_follower is not None:
                lanes.append(asyncio.create_task(self._usage_follower.run()))
            stopping = asyncio.create_task(_set(stop))
            try:
                await self._watch(lanes, stopping)
            finally:
                for task in (*lanes, stopping):
                    task.cancel()
                raise_unrecorded(await asyncio.gather(*lanes, stopping, return_exceptions=True))
        _log.info("stopped; everything that was answered is recorded")

    def health(self) -> ServiceHealth:
        """How the service is doing now."""
        stats = self._client.stats
        return ServiceHealth(
            now_ns=self._present.now_ns(),
            lanes=tuple(follower.health() for follower in self._followers),
            api_calls=dict(stats.statuses),
            api_retries=stats.retries,
            usage=self._usage_follower.health() if self._usage_follower is not None else None,
        )

    async def _wire(self, stack: AsyncExitStack, state: StateStore) -> None:
        self._client = await stack.enter_async_context(self._bridge.async_client())
        self._present = NetraClock(self._client, self._bridge.clock, self._limiter)
        if self._traces:
            await self._wire_lanes(stack, state)
        if self._usage:
            self._usage_follower = UsageFollower(
                self._bridge.meter(self._client, state, self._present.now_ns, self._queries),
                self._routes,
                Notices("usage", self._limiter, self._bridge.clock),
                poll_ns=self._bridge.settings.usage_poll_ns,
                clock=self._bridge.clock,
                present=self._present,
                renew_key=self._renew_key,
            )

    async def _wire_lanes(self, stack: AsyncExitStack, state: StateStore) -> None:
        clock = self._bridge.clock

        def watch(name: str, limiter: LogLimit) -> Notices:
            self._notices.append(Notices(name, limiter, clock))
            return self._notices[-1]

        self._routes = await self._bridge.routes(
            stack, self._to, self._queries, state, client=self._client, watch=watch, patient=True
        )
        self._followers = [self._follower(*pair) for pair in zip(self._routes, self._notices, strict=True)]

    def _follower(self, route: Route, notices: Notices) -> Follower:
        settings = self._bridge.settings
        notices.recorder = route.progress
        return Follower(
            route,
            notices,
            Lookback(settings.settle_ns, settings.lookback_ns),
            poll_ns=settings.poll_ns,
            window_ns=settings.window_ns,
            remember_ns=settings.remember_ns,
            clock=self._bridge.clock,
            present=self._present,
            renew_key=self._renew_key,
        )

    async def _serve(self, stack: AsyncExitStack, state: StateStore) -> None:
        """Everything that others look at or call."""
        settings = self._bridge.settings
        rpc = self._rpc_server(stack, state) if is_wanted(settings) else None
        readers, registry = metric_readers(self._bridge.environ, self._counting_since_ns)
        endpoints = HttpEndpoints(settings.http_host, settings.http_port, self.health, registry, self._bridge.clock)
        telemetry = Telemetry(self.health, readers)
        live = LiveMetrics(telemetry.meter, self._present.now_ns)
        for notice in self._notices:
            notice.live = live
        if self._usage_follower is not None:
            telemetry.show(USAGE_COUNTERS, self._usage_follower.view, self._usage_follower.collected)
            telemetry.show(USAGE_GAUGES, self._usage_follower.view)
        stack.push_async_callback(asyncio.to_thread, telemetry.close)
        host, port = await endpoints.start()
        stack.push_async_callback(endpoints.close)
        self.address = f"http://{host}:{port}"
        if self._followers:
            names = ", ".join(route.watch.name for route in self._routes)
            since = "now" if self._since_ns is None else iso_ms(self._since_ns)
            _log.info("following %s to %s, for the first time from %s on", self._client.base_url, names, since)
        if self._usage_follower is not None:
            _log.info("polling usage of %s every %s", self._client.base_url, duration_text(settings.usage_poll_ns))
        _log.info("health and metrics at %s/readyz and %s/metrics", self.address, self.address)
        if rpc is not None:
            stack.push_async_callback(rpc.close)
            self.grpc_address = await rpc.start()
            _log.info("gRPC at %s", self.grpc_address)

    def _rpc_server(self, stack: AsyncExitStack, state: StateStore) -> RpcServer:
        """The gRPC service. All that work through it share one thread that writes, and a quarter of the calls to Netra."""
        writer = stack.enter_context(ThreadPoolExecutor(1, "subscriptions"))
        client = self._client.within(max(1, self._bridge.settings.concurrency // 4))

        @asynccontextmanager
        async def follow(destination: Destination, query: TraceQuery, profile: str | None) -> AsyncIterator[Follower]:
            notices = QuietNotices(destination.name, self._limiter, self._bridge.clock)
            async with AsyncExitStack() as lane:
                routes = await self._bridge.routes(
                    lane, destination, (query,), state, client=client, watch=lambda *_: notices,
                    patient=True, profile=profile, writer=writer,
                )  # fmt: skip
                yield self._follower(replace(routes[0], options=_of_a_subscription(routes[0].options)), notices)

        return RpcServer(self._bridge, client, self.health, follow, __version__)

    def _counting_since_ns(self) -> int:
        return self._usage_follower.view().origin_ns if self._usage_follower is not None else 0

    async def _watch(self, lanes: Sequence[asyncio.Task[None]], stopping: asyncio.Task[None]) -> None:
        """Return when told to stop; raise when a lane must not go on, or every destination has stopped its own."""
        going = set(lanes)
        while not self._followers or not all(follower.stopped for follower in self._followers):
            ended, _ = await asyncio.wait({*going, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping in ended:
                return
            for lane in ended:
                lane.result()
            going -= ended
        raise next(follower.stopped for follower in self._followers if follower.stopped is not None)

    def _renew_key(self) -> int:
        """Read the key again and use it, if it has changed; how often it has changed so far."""
        try:
            key = self._bridge.api_key()
        except BridgeError as error:
            self._limiter.log(_log, logging.WARNING, "key", f"the API key cannot be read again: {error}")
            return self._keys
        if key is not None and key != self._api_key:
            self._api_key = key
            self._keys += 1
            self._on_new_key(key)
            self._client.use_api_key(key)
            _log.info("the API key has changed; going on with the new one")
        return self._keys


def _of_a_subscription(options: LaneOptions) -> LaneOptions:
    """What many lanes beside each other may have: small batches, and few pages in memory."""
    return replace(
        options,
        fetchers=min(options.fetchers, SUBSCRIPTION_FETCHERS),
        batch_bytes=min(options.batch_bytes, SUBSCRIPTION_BATCH_BYTES),
        held_bytes=min(options.held_bytes, SUBSCRIPTION_BYTES),
    )


def _begins_ns(since: str, now_ns: int) -> int:
    begins_ns = parse_time_ns(since, now_ns) // NS_PER_MS * NS_PER_MS
    if begins_ns > now_ns:
        raise UsageError(f"the start {iso_ms(begins_ns)} lies in the future", hint="leave it out to begin now")
    return begins_ns


async def _set(event: asyncio.Event) -> None:
    await event.wait()
