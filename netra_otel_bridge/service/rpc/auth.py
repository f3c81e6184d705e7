"""Authenticate gRPC callers."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from netra_otel_bridge.config.settings import Settings
from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.service.rpc.errors import Code, Refusal
from netra_otel_bridge.service.rpc.health import CHECK

LEAST_TOKEN = 8


class Authentication(grpc.aio.ServerInterceptor):
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


def check_token(settings: Settings) -> None:
    """Raise `ConfigurationError` for a token that no client could send, or that is soon guessed."""
    token = settings.grpc_token.reveal() if settings.grpc_token is not None else None
    if token is not None and (len(token) < LEAST_TOKEN or not token.isascii() or " " in token):
        raise ConfigurationError(
            f"{settings.origins['grpc_token']}: grpc_token must have {LEAST_TOKEN} characters or more, all ASCII, no spaces",
            hint="openssl rand -hex 32 makes one",
        )
