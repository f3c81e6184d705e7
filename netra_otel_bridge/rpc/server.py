"""The server: where it listens, whom it lets in, and how it ends."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from netra_otel_bridge.bridge import Bridge
from netra_otel_bridge.errors import ConfigurationError
from netra_otel_bridge.limiter import Limiter
from netra_otel_bridge.model import ServiceHealth
from netra_otel_bridge.rpc.calls import Calls
from netra_otel_bridge.rpc.follow import Follow, Subscriptions
from netra_otel_bridge.rpc.refusals import Code, Refusal
from netra_otel_bridge.rpc.replays import Replays
from netra_otel_bridge.rpc.service import SERVICE, BridgeCalls
from netra_otel_bridge.rpc.standard import CHECK, StandardServices
from netra_otel_bridge.settings import Settings
from netra_otel_bridge.source import AsyncNetraClient

MAX_REQUEST_BYTES = 2**20
LEAST_TOKEN = 8
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
_log = logging.getLogger("netra_otel_bridge.rpc")


def is_wanted(settings: Settings) -> bool:
    """Whether the service is configured: with a token, or with an authority for its callers' certificates.

    Raises `ConfigurationError` where it is configured, but for whom it lets in.
    """
    if settings.grpc_token is not None or settings.grpc_client_ca is not None:
        return True
    for name in ("grpc_host", "grpc_port", "grpc_certificate", "grpc_key", "grpc_reflection"):
        if settings.origins.get(name, "default") != "default":
            raise ConfigurationError(
                f"{settings.origins[name]}: {name} is set, and neither grpc_token nor grpc_client_ca",
                hint="NETRA_BRIDGE_GRPC_TOKEN is what the callers of the gRPC service must show",
            )
    return False


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
        self._credentials = _credentials(settings)
        _check_token(settings)
        self._health = health
        self._clock = bridge.clock
        self._servicer = HealthServicer()
        self._replays = Replays(bridge)
        self._calls = Calls(settings.grpc_calls, Limiter(bridge.clock))
        self._watch: asyncio.Task[None] | None = None
        subscriptions = Subscriptions(follow, settings.grpc_stall_ns, bridge.clock)
        service = BridgeCalls(bridge, client, health, version, self._replays, subscriptions)
        interceptors = [_Authentication(settings.grpc_token.reveal())] if settings.grpc_token is not None else []
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


class _Authentication(grpc.aio.ServerInterceptor):
    """Lets calls pass that carry the token. A health check is for everybody, as probes carry none."""

    def __init__(self, token: str) -> None:
        self._expected = token.encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of the call, or one that refuses it without reading what it says, also where there is no such call."""
        method = handler_call_details.method or ""
        refusal = None if method == CHECK else self._refusal(handler_call_details)
        return await continuation(handler_call_details) if refusal is None else _refusing(refusal)

    def _refusal(self, details: grpc.HandlerCallDetails) -> Refusal | None:
        given = next((value for key, value in details.invocation_metadata or () if key == "authorization"), None)
        if given is None:
            hint = "send the metadata `authorization: Bearer TOKEN`"
            return Refusal(Code.UNAUTHENTICATED, "TOKEN_MISSING", "the call carries no token", hint=hint)
        raw = given if isinstance(given, bytes) else given.encode()
        scheme, _, token = raw.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._expected):
            return Refusal(Code.UNAUTHENTICATED, "TOKEN_WRONG", "the token is not that of this server")
        return None


def _refusing(refusal: Refusal) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler that refuses any call at once: as one of streams it waits for no message of the client."""

    async def refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await refusal.answer(context)

    handler: Any = refuse
    return grpc.stream_stream_rpc_method_handler(handler)


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """TLS as configured; ``None`` for plain text, which is for this machine alone. Raises `ConfigurationError`."""
    certificate, key, ca = settings.grpc_certificate, settings.grpc_key, settings.grpc_client_ca
    if certificate is None or key is None:
        if certificate is not None or key is not None or ca is not None:
            raise ConfigurationError(
                "TLS of the gRPC service needs both a certificate and its key",
                hint="set NETRA_BRIDGE_GRPC_CERTIFICATE and NETRA_BRIDGE_GRPC_KEY",
            )
        if not _is_loopback(settings.grpc_host):
            raise ConfigurationError(
                f"the gRPC service would be open to other machines at {settings.grpc_host} without TLS",
                hint="set NETRA_BRIDGE_GRPC_CERTIFICATE and NETRA_BRIDGE_GRPC_KEY, or let it listen on 127.0.0.1",
            )
        return None
    files = _TlsFiles(certificate, key, ca)
    try:
        first = files.read()
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f"TLS of the gRPC service cannot be set up: {error}",
            hint="grpc_certificate, grpc_key and grpc_client_ca name PEM files that belong together",
        ) from None
    renewed: Any = files.renewed
    return grpc.dynamic_ssl_server_credentials(first, renewed, ca is not None)


def _check_token(settings: Settings) -> None:
    """Raise `ConfigurationError` for a token that no client could send, or that is soon guessed."""
    token = settings.grpc_token.reveal() if settings.grpc_token is not None else None
    if token is not None and (len(token) < LEAST_TOKEN or not token.isascii() or " " in token):
        raise ConfigurationError(
            f"{settings.origins['grpc_token']}: grpc_token must have {LEAST_TOKEN} characters or more, all ASCII, no spaces",
            hint="openssl rand -hex 32 makes one",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _TlsFiles:
    """Certificates are renewed while the service runs: files that have changed are read at the next connection."""

    def __init__(self, certificate: str, key: str, ca: str | None) -> None:
        self._paths = [Path(path).expanduser() for path in (certificate, key, *([ca] if ca is not None else []))]
        self._read: list[tuple[int, int]] = []

    def read(self) -> grpc.ServerCertificateConfiguration:
        """What the files hold. Raises ``OSError``, ``ssl.SSLError`` for a key that does not fit, ``ValueError``."""
        self._read = self._stamps()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._paths[0], self._paths[1])
        certificate, key, *ca = [path.read_bytes() for path in self._paths]
        if ca:
            context.load_verify_locations(cadata=ca[0].decode())
        return grpc.ssl_server_certificate_configuration([(key, certificate)], ca[0] if ca else None)

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """What to use from now on; ``None`` for what is in use. Called by gRPC at each connection, on any thread."""
        try:
            if self._stamps() == self._read:
                return None
            return self.read()
        except (OSError, ssl.SSLError, ValueError) as error:
            _log.warning("gRPC: changed TLS files cannot be used, going on with those of before: %s", error)
            return None

    def _stamps(self) -> list[tuple[int, int]]:
        return [(found.st_mtime_ns, found.st_ino) for found in (path.stat() for path in self._paths)]
