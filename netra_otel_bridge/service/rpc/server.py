"""The gRPC server: its services, where it listens, and how it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from netra_otel_bridge.bridge.bridge import Bridge
from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.health import ServiceHealth
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.service.rpc.auth import Authentication, check_token
from netra_otel_bridge.service.rpc.follow_spans import OpenLane, Subscriptions
from netra_otel_bridge.service.rpc.handlers import SERVICE, BridgeHandlers
from netra_otel_bridge.service.rpc.health import HealthAndReflection
from netra_otel_bridge.service.rpc.limits import CallLimits
from netra_otel_bridge.service.rpc.replays import Replays
from netra_otel_bridge.service.rpc.tls import server_credentials
from netra_otel_bridge.service.rpc.verify_spans import SpanVerifier
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.state import StateStore

MAX_REQUEST_BYTES = 2**20
CALL_GRACE_S = 5.0
"""The grace period for unary calls when the server stops."""
HEALTH_S = 1.0
"""The time between two updates of the health service."""
SPARE_CALLS = 1024
"""Room for calls that `CallLimits` does not count: health, reflection, and calls whose request has not arrived."""
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", 256),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)
_log = logging.getLogger(__name__)


class RpcServer:
    """Serves from `start` to `close`.

    ``health`` is called in the event loop, ``open_lane`` opens the lanes of FollowSpans, ``version`` is the bridge's.
    ``state`` has what the service delivered of the traces of ``queries``. Raises `ConfigurationError` for settings that contradict each other.
    """

    def __init__(
        self,
        bridge: Bridge,
        client: AsyncNetraClient,
        health: Callable[[], ServiceHealth],
        open_lane: OpenLane,
        version: str,
        state: StateStore,
        queries: tuple[TraceQuery, ...],
    ) -> None:
        settings = self._settings = bridge.settings
        self._credentials = server_credentials(settings)
        check_token(settings)
        self._health = health
        self._clock = bridge.clock
        self._health_servicer = HealthServicer()
        self._replays = Replays(bridge)
        self._limits = CallLimits(settings.grpc_calls, LogLimit(bridge.clock))
        self._health_task: asyncio.Task[None] | None = None
        subscriptions = Subscriptions(open_lane, settings.grpc_stall_ns, bridge.clock)
        verifier = SpanVerifier(bridge, client, state, queries)
        bridge_handlers = BridgeHandlers(bridge, client, health, version, self._replays, subscriptions, verifier)
        interceptors = [Authentication(settings.grpc_token.reveal())] if settings.grpc_token is not None else []
        self._server = grpc.aio.server(
            interceptors=interceptors,
            options=_OPTIONS,
            maximum_concurrent_rpcs=settings.grpc_calls + SPARE_CALLS,
        )
        tools = HealthAndReflection(self._health_servicer, self._limits)
        reflection = tools.reflection(SERVICE) if settings.grpc_reflection else ()
        self._server.add_generic_rpc_handlers((bridge_handlers.handlers(self._limits), tools.health(), *reflection))

    async def start(self) -> str:
        """Listen, and return the address with the port in use. Raises `ConfigurationError` if that is not possible."""
        host, port = self._settings.grpc_host, self._settings.grpc_port
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise ConfigurationError(
                f"the gRPC service cannot listen on {address}: it is in use, or is not an address of this machine",
                hint="NETRA_BRIDGE_GRPC_HOST and NETRA_BRIDGE_GRPC_PORT set the address; port 0 picks a free one",
            ) from error
        await self._server.start()
        self._health_task = asyncio.create_task(self._update_health())
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def close(self) -> None:
        """Reject new calls, end streams and replays, and give unary calls `CALL_GRACE_S` to finish."""
        if self._health_task is not None:
            self._health_task.cancel()
        await self._health_servicer.enter_graceful_shutdown()
        self._limits.close()
        await asyncio.gather(self._server.stop(CALL_GRACE_S), self._replays.close())
        await self._limits.wait_closed()

    async def _update_health(self) -> None:
        status = health_pb2.HealthCheckResponse
        await self._health_servicer.set(SERVICE, status.SERVING)
        while True:
            await self._health_servicer.set("", status.SERVING if self._health().ready else status.NOT_SERVING)
            await self._clock.sleep(HEALTH_S)
