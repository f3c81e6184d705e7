"""The methods of ``BridgeService``: each calls the part of the bridge that does the work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import grpc

from netra_otel_bridge.bridge.bridge import Bridge
from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import NotKnown
from netra_otel_bridge.core.model.health import ServiceHealth
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.service.rpc import messages
from netra_otel_bridge.service.rpc.errors import Code, StatusError, invalid, stalled
from netra_otel_bridge.service.rpc.follow_spans import Subscriptions
from netra_otel_bridge.service.rpc.limits import UNARY_S, CallLimits, Context, write
from netra_otel_bridge.service.rpc.read_spans import SpanReader
from netra_otel_bridge.service.rpc.replays import WATCH_S, Replays
from netra_otel_bridge.service.rpc.verify_spans import SpanVerifier
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.v1 import bridge_pb2 as pb

NETRA_S = UNARY_S - 10
"""The longest wait for Netra within a unary call; the rest of `UNARY_S` is for reporting that Netra did not respond."""
T = TypeVar("T")
SERVICE = pb.DESCRIPTOR.services_by_name["BridgeService"].full_name


class BridgeHandlers:
    """Handles the calls of ``BridgeService``."""

    def __init__(
        self,
        bridge: Bridge,
        client: AsyncNetraClient,
        health: Callable[[], ServiceHealth],
        version: str,
        replays: Replays,
        subscriptions: Subscriptions,
        verifier: SpanVerifier,
    ) -> None:
        self._bridge = bridge
        self._client = client
        self._health = health
        self._version = version
        self._replays = replays
        self._subscriptions = subscriptions
        self._verifier = verifier
        self._reader = SpanReader(bridge, client)
        self._stall_s = bridge.settings.grpc_stall_ns / NS_PER_S

    def handlers(self, limits: CallLimits) -> grpc.GenericRpcHandler:
        """Return the handlers for a server. Responses with spans are encoded already; all others are messages."""
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        methods: dict[str, Any] = {
            "ReadSpans": stream(
                limits.stream(self._reader.read, "TRACE_NOT_FOUND"), pb.ReadSpansRequest.FromString, bytes
            ),
            "FollowSpans": grpc.stream_stream_rpc_method_handler(
                limits.stream(self._subscriptions.follow), pb.FollowSpansRequest.FromString, bytes
            ),
            "WatchReplay": stream(limits.stream(self.watch_replay), pb.WatchReplayRequest.FromString, messages.encoded),
            "VerifySpans": stream(
                limits.stream(self._verifier.verify), pb.VerifySpansRequest.FromString, messages.encoded
            ),
        }
        for name, answer, request, not_found in (
            ("StartReplay", self.start_replay, pb.StartReplayRequest, ""),
            ("CancelReplay", self.cancel_replay, pb.CancelReplayRequest, ""),
            ("ListReplays", self.list_replays, pb.ListReplaysRequest, ""),
            ("GetTenantUsage", self.get_tenant_usage, pb.GetTenantUsageRequest, "TENANT_NOT_FOUND"),
            ("GetSessionUsage", self.get_session_usage, pb.GetSessionUsageRequest, "SESSION_NOT_FOUND"),
            ("GetStatus", self.get_status, pb.GetStatusRequest, ""),
        ):
            handler: Any = limits.unary(answer, not_found)
            methods[name] = unary(handler, request.FromString, messages.encoded)
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def start_replay(self, request: pb.StartReplayRequest) -> pb.StartReplayResponse:
        """Start a replay, or return the running one."""
        window = messages.time_range(request.range, self._bridge.clock.now_ns())
        query = messages.trace_query(request.query)
        replay = await self._replays.start(window, query, request.destinations, verify=request.verify)
        return pb.StartReplayResponse(replay=replay.message())

    async def watch_replay(self, request: pb.WatchReplayRequest, context: Context) -> None:
        """Write the progress of a replay until it ends."""
        replay = self._replays.find(request.replay_id)
        late = partial(stalled, "the client read no message", self._stall_s)
        while True:
            changed = replay.changed
            message = replay.message()
            await write(context, pb.WatchReplayResponse(replay=message), self._stall_s, late)
            if message.state != pb.REPLAY_STATE_RUNNING:
                return
            await changed.wait()
            await self._bridge.clock.sleep(WATCH_S)

    async def cancel_replay(self, request: pb.CancelReplayRequest) -> pb.CancelReplayResponse:
        """Cancel a replay."""
        replay = self._replays.find(request.replay_id)
        await self._replays.cancel(replay)
        return pb.CancelReplayResponse(replay=replay.message())

    async def list_replays(self, _: pb.ListReplaysRequest) -> pb.ListReplaysResponse:
        """List all replays."""
        return pb.ListReplaysResponse(replays=[replay.message() for replay in self._replays.all()])

    async def get_tenant_usage(self, request: pb.GetTenantUsageRequest) -> pb.GetTenantUsageResponse:
        """Return the usage of a tenant."""
        window = self._usage_window(request.tenant_id, "tenant_id", request.range)
        asked = self._client.get_tenant_usage(request.tenant_id, iso_ms(window.start_ns), iso_ms(window.end_ns))
        usage = await _within_time(asked)
        if usage is None:
            raise NotKnown(f"Netra knows no tenant {request.tenant_id[:200]!r}")
        return pb.GetTenantUsageResponse(
            tenant_id=usage.tenant_id,
            organisation_id=usage.organisation_id,
            token_count=round(usage.token_count),
            request_count=round(usage.request_count),
            session_count=round(usage.session_count),
            total_cost=usage.total_cost,
        )

    async def get_session_usage(self, request: pb.GetSessionUsageRequest) -> pb.GetSessionUsageResponse:
        """Return the usage of a session."""
        window = self._usage_window(request.session_id, "session_id", request.range)
        asked = self._client.get_session_usage(request.session_id, iso_ms(window.start_ns), iso_ms(window.end_ns))
        usage = await _within_time(asked)
        if usage is None:
            raise NotKnown(f"Netra knows no session {request.session_id[:200]!r}")
        return pb.GetSessionUsageResponse(
            session_id=usage.session_id,
            token_count=round(usage.token_count),
            request_count=round(usage.request_count),
            total_cost=usage.total_cost,
        )

    async def get_status(self, _: pb.GetStatusRequest) -> pb.GetStatusResponse:
        """Return the status of the server."""
        return messages.status(self._health(), self._subscriptions.health(), self._version)

    def _usage_window(self, name: str, field: str, asked: pb.TimeRange) -> Window:
        if not name:
            raise invalid(f"{field} is missing")
        return messages.time_range(asked, self._bridge.clock.now_ns())


async def _within_time(asked: Awaitable[T]) -> T:
    """Return Netra's response. Raises `StatusError` if it takes longer than `NETRA_S`."""
    try:
        async with asyncio.timeout(NETRA_S):
            return await asked
    except TimeoutError:
        message = f"no response from Netra in {NETRA_S:g} s, including retries"
        raise StatusError(Code.UNAVAILABLE, "NETRA_UNAVAILABLE", message, retry_s=30.0) from None
