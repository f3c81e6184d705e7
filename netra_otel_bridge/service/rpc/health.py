"""Health and reflection, which tools expect of every gRPC server."""

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

from netra_otel_bridge.service.rpc.errors import Code, StatusError, stalled
from netra_otel_bridge.service.rpc.limits import CallLimits, Context, next_message, write
from netra_otel_bridge.service.rpc.messages import encoded

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
CHECK = f"/{HEALTH}/Check"
REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""Both use the same messages; older tools know only the second name."""
MAX_CHECKS = 64
"""The limit of concurrent health checks, above which the oldest one ends.

They need no token, so checks that a client holds open must keep out neither other calls nor other checks.
"""
CHECK_S = 5.0
"""The longest wait for the request of a health check, and for the client to accept the answer."""
LAST_S = 1.0
"""The longest wait for the client to accept the last message of a health stream."""


class HealthAndReflection:
    """Handles health and reflection, which do not count as calls; their streams end when the server stops."""

    def __init__(self, health: HealthServicer, limits: CallLimits) -> None:
        self._health = health
        self._limits = limits
        self._checks: dict[asyncio.Task[Any], None] = {}

    def health(self) -> grpc.GenericRpcHandler:
        """Return the handlers of `HEALTH`.

        Check is handled as a stream, so that a call that sends no request can be ended.
        """
        requests = health_pb2.HealthCheckRequest.FromString
        check = self._limits.stream(self._check, counts=False)
        watch = self._limits.stream(self._watch, counts=False)
        handlers: dict[str, Any] = {
            "Check": grpc.stream_stream_rpc_method_handler(check, requests, encoded),
            "Watch": grpc.unary_stream_rpc_method_handler(watch, requests, encoded),
        }
        return grpc.method_handlers_generic_handler(HEALTH, handlers)

    def reflection(self, *services: str) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the handlers of `REFLECTION` on ``services``, on health and on reflection itself."""
        servicer = ReflectionServicer((*services, HEALTH, *REFLECTION))

        async def reflect(requests: AsyncIterator[Any], context: Context) -> None:
            responses: Any = servicer.ServerReflectionInfo(requests, context)
            async for response in responses:
                await context.write(response)

        handler: Any = grpc.stream_stream_rpc_method_handler(
            self._limits.stream(reflect, counts=False),
            reflection_pb2.ServerReflectionRequest.FromString,
            encoded,
        )
        handlers = {"ServerReflectionInfo": handler}
        return tuple(grpc.method_handlers_generic_handler(name, handlers) for name in REFLECTION)

    async def _watch(self, request: Any, context: Context) -> None:
        """Watch as the servicer does; when cancelled, write NOT_SERVING last."""
        try:
            await self._health.Watch(request, context)
        except asyncio.CancelledError:
            last = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)
            with contextlib.suppress(Exception):
                await write(context, last, LAST_S, partial(stalled, "the client read no message", LAST_S))
            raise

    async def _check(self, requests: AsyncIterator[Any], context: Context) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a health check is handled in a task")
        if len(self._checks) >= MAX_CHECKS:
            oldest = next(iter(self._checks))
            del self._checks[oldest]
            oldest.cancel()
        self._checks[task] = None
        try:
            request = await next_message(requests, CHECK_S, partial(stalled, "the client sent nothing", CHECK_S))
            if request is not None:
                answer = await self._health.Check(request, context)
                await write(context, answer, CHECK_S, partial(stalled, "the client read nothing", CHECK_S))
        except asyncio.CancelledError:
            if task in self._checks:
                raise
            task.uncancel()
            message = f"{MAX_CHECKS} newer health checks are in progress, which is the limit"
            raise StatusError(Code.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", message, retry_s=1.0) from None
        finally:
            self._checks.pop(task, None)
