"""The service behind ``run``: follow live traffic, poll usage, and serve health, metrics and gRPC until told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from netra_otel_bridge.bridge.bridge import Bridge
from netra_otel_bridge.bridge.follow import LiveLanes
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.health import ServiceHealth
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.core.tasks import run_until
from netra_otel_bridge.core.time_text import duration_text
from netra_otel_bridge.deliver import Destination, To
from netra_otel_bridge.pipeline.follower import Follower
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.pipeline.watch import FollowerWatch, QuietWatch, SpanObserver
from netra_otel_bridge.service.genai_histograms import LiveHistograms
from netra_otel_bridge.service.http import HttpEndpoints
from netra_otel_bridge.service.loop_delay import LoopDelay
from netra_otel_bridge.service.metric_exporters import metric_readers
from netra_otel_bridge.service.rpc.enabled import is_enabled
from netra_otel_bridge.service.telemetry import Telemetry
from netra_otel_bridge.state import StateStore
from netra_otel_bridge.usage.instruments import USAGE_COUNTERS, USAGE_GAUGES
from netra_otel_bridge.usage.poller import UsagePoller
from netra_otel_bridge.version import __version__

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from netra_otel_bridge.service.rpc.server import RpcServer

_log = logging.getLogger(__name__)


class Service:
    """One run of the service: follows ``traces``, polls ``usage``, or both.

    ``queries`` select the traces to follow. A new destination starts at ``since``: a time, or a duration before now; by
    default now. ``on_new_key`` is called with a changed API key before the key is used. Raises `UsageError`,
    `ConfigurationError`.
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
        self._traces = traces
        self._usage = usage
        self._lanes = LiveLanes(bridge, since=since, on_new_key=on_new_key)
        self._usage_poller: UsagePoller | None = None
        self._loop_delay = LoopDelay()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set; then stop reading, record what was acknowledged, and return.

        Raises `StateError` when progress cannot be made durable, `ConfigurationError`, and, once every destination is
        stopped, the `BridgeError` that stopped the first of them.
        """
        async with AsyncExitStack() as stack:
            state = self._bridge.open_state(default=self._bridge.state_directory())
            stack.callback(state.close)
            self._loop_delay.start()
            stack.callback(self._loop_delay.stop)
            await stack.enter_async_context(self._lanes.client)
            readers, registry = metric_readers(self._bridge.environ, self._counting_since_ns)
            telemetry = Telemetry(self.health, readers)
            stack.push_async_callback(asyncio.to_thread, telemetry.close)
            histograms = LiveHistograms(
                telemetry.meter, self._lanes.netra_clock.now_ns, privacy=self._bridge.converter().privacy
            )
            if await run_until(self._open_lanes(stack, state, histograms), stop.wait()):
                _log.info("stopped before the first pass")
                return
            await self._serve(stack, state, telemetry, registry)
            polling = [self._usage_poller.run()] if self._usage_poller is not None else []
            await self._lanes.run(stop, *polling)
        _log.info("stopped; all acknowledged spans are recorded")

    def health(self) -> ServiceHealth:
        """Return the current health of the service."""
        stats, netra_clock = self._lanes.client.stats, self._lanes.netra_clock
        lanes = tuple(follower.health() for follower in self._lanes.followers)  # before the time, so no lag is negative
        clock = netra_clock.health()
        return ServiceHealth(
            now_ns=min(netra_clock.now_ns(), clock.own_ns),
            clock=clock,
            lanes=lanes,
            api_calls=dict(stats.statuses),
            api_retries=stats.retries,
            usage=self._usage_poller.health() if self._usage_poller is not None else None,
            loop_delay_s=self._loop_delay.longest_s,
        )

    async def _open_lanes(self, stack: AsyncExitStack, state: StateStore, observer: SpanObserver) -> None:
        """Open the lanes for traces and for usage, if they are enabled."""
        lanes = self._lanes
        if self._traces:
            await lanes.open(stack, state, self._to, self._queries, observer)
        if self._usage:
            self._usage_poller = UsagePoller(
                self._bridge.meter(lanes.client, state, lanes.netra_clock, self._queries),
                lanes.routes,
                FollowerWatch("usage", lanes.log_limit, self._bridge.clock),
                poll_ns=self._bridge.settings.usage_poll_ns,
                clock=self._bridge.clock,
                netra_clock=lanes.netra_clock,
                renew_key=lanes.renew_key,
            )

    async def _serve(
        self, stack: AsyncExitStack, state: StateStore, telemetry: Telemetry, registry: CollectorRegistry | None
    ) -> None:
        """Expose usage as metrics, then serve health and metrics over HTTP, and gRPC if it is enabled."""
        settings = self._bridge.settings
        rpc = self._rpc_server(stack, state) if is_enabled(settings) else None
        if self._usage_poller is not None:
            telemetry.show(USAGE_COUNTERS, self._usage_poller.view, self._usage_poller.collected)
            telemetry.show(USAGE_GAUGES, self._usage_poller.view)
            poll = duration_text(settings.usage_poll_ns)
            _log.info("polling usage of %s every %s", self._lanes.client.base_url, poll)
        endpoints = HttpEndpoints(settings.http_host, settings.http_port, self.health, registry, self._bridge.clock)
        host, port = await endpoints.start()
        stack.push_async_callback(endpoints.close)
        self.address = f"http://{host}:{port}"
        _log.info("health and metrics at %s/readyz and %s/metrics", self.address, self.address)
        if rpc is not None:
            stack.push_async_callback(rpc.close)
            self.grpc_address = await rpc.start()
            _log.info("gRPC at %s", self.grpc_address)

    def _rpc_server(self, stack: AsyncExitStack, state: StateStore) -> RpcServer:
        """Return the gRPC server. Its calls share one writer thread and a quarter of the concurrent Netra calls."""
        # grpc.aio is loaded only where gRPC is enabled
        from netra_otel_bridge.service.rpc.follow_spans import lane_options
        from netra_otel_bridge.service.rpc.server import RpcServer

        writer = stack.enter_context(ThreadPoolExecutor(1, "subscriptions"))
        client = self._lanes.client.within(max(1, self._bridge.settings.concurrency // 4))

        @asynccontextmanager
        async def open_lane(
            destination: Destination, query: TraceQuery, profile: str | None
        ) -> AsyncIterator[Follower]:
            watches: list[QuietWatch] = []

            def new_watch(name: str, log_limit: LogLimit, recorder: Recorder) -> QuietWatch:
                watches.append(QuietWatch(name, log_limit, self._bridge.clock, recorder))
                return watches[-1]

            async with AsyncExitStack() as lane:
                (route,) = await self._bridge.routes(
                    lane, destination, (query,), state, client=client, new_watch=new_watch,
                    patient=True, profile=profile, writer=writer,
                )  # fmt: skip
                yield self._lanes.follower(replace(route, options=lane_options(route.options)), watches[0])

        return RpcServer(self._bridge, client, self.health, open_lane, __version__, state, self._queries)

    def _counting_since_ns(self) -> int:
        return self._usage_poller.view().origin_ns if self._usage_poller is not None else 0
