"""The server: where it listens, whom it lets in, and how it ends."""

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
from netra_otel_bridge.service.rpc.auth import Authentication, check_token
from netra_otel_bridge.service.rpc.follow_spans import Follow, Subscriptions
from netra_otel_bridge.service.rpc.handlers import SERVICE, BridgeCalls
from netra_otel_bridge.service.rpc.health import StandardServices
from netra_otel_bridge.service.rpc.limits import Calls
from netra_otel_bridge.service.rpc.replays import Replays
from netra_otel_bridge.service.rpc.tls import server_credentials
from netra_otel_bridge.source import AsyncNetraClient

MAX_REQUEST_BYTES = 2**20
DRAIN_S = 5.0
"""What calls get to end, when the server stops."""
HEALTH_S = 1.0
SPARE_CALLS = 1024
"""Calls beside those that are counted: of health and reflection, and whose request has not come yet."""
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

    ``health`` is called in the event loop, ``follow`` opens lanes for those who follow live spans, ``version`` is the
    bridge's. Raises `ConfigurationError` for settings that do not go together.
    """

    def __init__(
        self,
        bridge: Bridge,
        client: AsyncNetraClient,
        health: Callable[[], ServiceHealth],
        follow: Follow,
        version: str,
    ) -> None:
        settings = self._settings = bridge.settings
        self._credentials = server_credentials(settings)
        check_token(settings)
        self._health = health
        self._clock = bridge.clock
        self._servicer = HealthServicer()
        self._replays = Replays(bridge)
        self._calls = Calls(settings.grpc_calls, LogLimit(bridge.clock))
        self._watch: asyncio.Task[None] | None = None
        subscriptions = Subscriptions(follow, settings.grpc_stall_ns, bridge.clock)
        service = BridgeCalls(bridge, client, health, version, self._replays, subscriptions)
        interceptors = [Authentication(settings.grpc_token.reveal())] if settings.grpc_token is not None else []
        self._server = grpc.aio.server(
            interceptors=interceptors,
            options=_OPTIONS,
            maximum_concurrent_rpcs=settings.grpc_calls + SPARE_CALLS,
        )
        standard = StandardServices(self._servicer, self._calls)
        reflection = standard.reflection(SERVICE) if settings.grpc_reflection else ()
        self._server.add_generic_rpc_handlers((service.handlers(self._calls), standard.health(), *reflection))

    async def start(self) -> str:
        """Listen; the address that was taken. Raises `ConfigurationError` where that is not possible."""
        host, port = self._settings.grpc_host, self._settings.grpc_port
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise ConfigurationError(
                f"the gRPC service cannot listen on {address}: it is in use, or not an address of this machine",
                hint="NETRA_BRIDGE_GRPC_HOST and NETRA_BRIDGE_GRPC_PORT set the address; port 0 is any that is free",
            ) from error
        await self._server.start()
        self._watch = asyncio.create_task(self._show_health())
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def close(self) -> None:
        """Take no more calls, end the streams and the replays, and let other calls end within `DRAIN_S`."""
        if self._watch is not None:
            self._watch.cancel()
        await self._servicer.enter_graceful_shutdown()
        self._calls.close()
        await asyncio.gather(self._server.stop(DRAIN_S), self._replays.close())
        await self._calls.ended()

    async def _show_health(self) -> None:
        status = health_pb2.HealthCheckResponse
        await self._servicer.set(SERVICE, status.SERVING)
        while True:
            await self._servicer.set("", status.SERVING if self._health().ready else status.NOT_SERVING)
            await self._clock.sleep(HEALTH_S)
