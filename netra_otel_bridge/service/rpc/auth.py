"""Authenticate gRPC callers."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from netra_otel_bridge.config.settings import Settings
from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.service.rpc.errors import Code, StatusError
from netra_otel_bridge.service.rpc.health import CHECK

MIN_TOKEN_CHARS = 8


class Authentication(grpc.aio.ServerInterceptor):
    """Rejects calls without the token. A health check needs none, because probes send none."""

    def __init__(self, token: str) -> None:
        self._expected = token.encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the call's handler, or one that rejects the call unread, even if its method does not exist."""
        method = handler_call_details.method or ""
        error = None if method == CHECK else self._error(handler_call_details)
        return await continuation(handler_call_details) if error is None else _rejecting_with(error)

    def _error(self, details: grpc.HandlerCallDetails) -> StatusError | None:
        given = next((value for key, value in details.invocation_metadata or () if key == "authorization"), None)
        if given is None:
            hint = "send the metadata `authorization: Bearer TOKEN`"
            return StatusError(Code.UNAUTHENTICATED, "TOKEN_MISSING", "the call carries no token", hint=hint)
        raw = given if isinstance(given, bytes) else given.encode()
        scheme, _, token = raw.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._expected):
            return StatusError(Code.UNAUTHENTICATED, "TOKEN_WRONG", "the token is wrong")
        return None


def _rejecting_with(error: StatusError) -> grpc.RpcMethodHandler[Any, Any]:
    """Return a handler that rejects any call at once. It is registered as a stream handler, which runs before a request arrives."""

    async def reject(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await error.abort(context)

    handler: Any = reject
    return grpc.stream_stream_rpc_method_handler(handler)


def check_token(settings: Settings) -> None:
    """Raise `ConfigurationError` for a token that no client can send, or that is too easy to guess."""
    token = settings.grpc_token.reveal() if settings.grpc_token is not None else None
    if token is not None and (len(token) < MIN_TOKEN_CHARS or not token.isascii() or " " in token):
        raise ConfigurationError(
            f"{settings.origins['grpc_token']}: grpc_token must have {MIN_TOKEN_CHARS} characters or more, all ASCII, no spaces",
            hint="create one with: openssl rand -hex 32",
        )
