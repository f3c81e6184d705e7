"""Health and reflection: the services that tools expect of every gRPC server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from netra_otel_bridge.service.rpc.errors import Code, Refusal, stalled
from netra_otel_bridge.service.rpc.limits import Calls, Context, first, write
from netra_otel_bridge.service.rpc.messages import encoded

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
CHECK = f"/{HEALTH}/Check"
REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""The same messages on the wire: older tools ask by the second name."""
MAX_CHECKS = 64
"""Health checks at the same time. They need no token, and must not take the places of calls that have one."""
CHECK_S = 5.0
"""What the request of a health check may take to come."""
LAST_S = 1.0
"""What the last message of a health stream may take to go."""


class StandardServices:
    """Answers what is neither counted nor limited as the bridge's own calls are; all of it ends when the server stops."""

    def __init__(self, health: HealthServicer, calls: Calls) -> None:
        self._health = health
        self._calls = calls
        self._checks = 0

    def health(self) -> grpc.GenericRpcHandler:
        """The service `HEALTH`. A check is served as a stream: so one whose request does not come can be ended."""
        requests = health_pb2.HealthCheckRequest.FromString
        check = self._calls.stream(self._check, counts=False)
        watch = self._calls.stream(self._watch, counts=False)
        handlers: dict[str, Any] = {
            "Check": grpc.stream_stream_rpc_method_handler(check, requests, encoded),
            "Watch": grpc.unary_stream_rpc_method_handler(watch, requests, encoded),
        }
        return grpc.method_handlers_generic_handler(HEALTH, handlers)

    def reflection(self, *services: str) -> tuple[grpc.GenericRpcHandler, ...]:
        """`REFLECTION` on ``services``, on health and on itself."""
        servicer = ReflectionServicer((*services, HEALTH, *REFLECTION))

        async def reflect(requests: AsyncIterator[Any], context: Context) -> None:
            responses: Any = servicer.ServerReflectionInfo(requests, context)
            async for response in responses:
                await context.write(response)

        handler: Any = grpc.stream_stream_rpc_method_handler(
            self._calls.stream(reflect, counts=False),
            reflection_pb2.ServerReflectionRequest.FromString,
            encoded,
        )
        handlers = {"ServerReflectionInfo": handler}
        return tuple(grpc.method_handlers_generic_handler(name, handlers) for name in REFLECTION)

    async def _watch(self, request: Any, context: Context) -> None:
        """As the servicer does; the last word is that nothing is served any more."""
        try:
            await self._health.Watch(request, context)
        except asyncio.CancelledError:
            last = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)
            with contextlib.suppress(Exception):
                await write(context, last, LAST_S, partial(stalled, "the client took no message", LAST_S))
            raise

    async def _check(self, requests: AsyncIterator[Any], context: Context) -> None:
        if self._checks >= MAX_CHECKS:
            message = f"{MAX_CHECKS} health checks are being answered, and that is the limit"
            raise Refusal(Code.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", message, retry_s=1.0)
        self._checks += 1
        try:
            request = await first(requests, CHECK_S, partial(stalled, "nothing came from the client", CHECK_S))
            if request is not None:
                await context.write(await self._health.Check(request, context))
        finally:
            self._checks -= 1
