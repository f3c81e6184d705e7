"""The boundary around every call: it limits their number and duration, and turns failures into a status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc.aio

from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.service.rpc.errors import Code, StatusError, shutting_down, status_error

UNARY_S = 60.0
"""The longest that a unary call may take."""
ENDED_S = 10.0
"""The longest wait for cancelled streams to release what they hold, once the server has stopped."""
_log = logging.getLogger(__name__)
Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]


class _StreamContext:
    """The context of a stream. Sends the initial metadata completely before the first message.

    gRPC re-sends metadata that it believes unsent; if a write is cancelled in the middle, it rejects the status that
    comes with them, and the client waits forever.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._metadata: asyncio.Future[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def send_initial_metadata(self, metadata: Any) -> None:
        """Send the metadata. If cancelled, wait until it is sent before ending."""
        if self._metadata is None:
            self._metadata = asyncio.ensure_future(self._context.send_initial_metadata(metadata))
        try:
            await asyncio.shield(self._metadata)
        except asyncio.CancelledError:
            await asyncio.wait((self._metadata,))
            raise

    async def write(self, message: Any) -> None:
        """Write a message, after the metadata."""
        if self._metadata is None:
            await self.send_initial_metadata(())
        await self._context.write(message)


class CallLimits:
    """Runs up to ``limit`` calls at once, and none after `close`.

    A failed call no longer counts, even if its client has not read the status, so hanging clients cannot lock out
    others.
    """

    def __init__(self, limit: int, log_limit: LogLimit) -> None:
        self._limit = limit
        self._log_limit = log_limit
        self._streams: set[asyncio.Task[Any]] = set()
        self._count = 0
        self._closed = False

    def unary(
        self, answer: Callable[[Request], Awaitable[Response]], not_found: str = "NOT_FOUND"
    ) -> Callable[[Request, Context], Awaitable[Response]]:
        """Return a handler that responds with the result of ``answer``, within `UNARY_S`."""

        async def handle(request: Request, context: Context) -> Response:
            async def work() -> Response:
                try:
                    async with asyncio.timeout(UNARY_S):
                        return await answer(request)
                except TimeoutError:
                    raise StatusError(Code.DEADLINE_EXCEEDED, "TIMEOUT", f"no response within {UNARY_S:g} s") from None

            return await self._run(work, context, not_found)

        return handle

    def stream(
        self, work: Callable[[Any, Context], Awaitable[None]], not_found: str = "NOT_FOUND", *, counts: bool = True
    ) -> Callable[[Any, Context], Awaitable[None]]:
        """Return a handler for a stream: ``work`` reads the request or requests, and writes to the context.

        The stream ends when the server stops. With ``counts=False`` it is not limited.
        """

        async def handle(requests: Any, plain_context: Context) -> None:
            context: Any = _StreamContext(plain_context)
            task = asyncio.current_task()
            if task is not None:
                self._streams.add(task)
            try:
                await self._run(lambda: work(requests, context), context, not_found, counts)
            finally:
                self._streams.discard(task)

        return handle

    def close(self) -> None:
        """Cancel all streams, and reject new calls."""
        self._closed = True
        for task in self._streams:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait up to `ENDED_S` until cancelled streams have released what they hold."""
        if self._streams:
            await asyncio.wait(self._streams, timeout=ENDED_S)

    def _is_closed(self) -> bool:
        return self._closed

    async def _run(
        self, work: Callable[[], Awaitable[Response]], context: Context, not_found: str, counts: bool = True
    ) -> Response:
        if self._is_closed():
            await shutting_down().abort(context)
        if counts and self._count >= self._limit:
            message = f"{self._limit} calls are in progress, which is the limit"
            hint = "the server's setting grpc_calls"
            await StatusError(Code.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", message, hint=hint, retry_s=1.0).abort(context)
        self._count += counts
        try:
            return await work()
        except asyncio.CancelledError:
            if not self._is_closed():
                raise
            failure = shutting_down()
        except StatusError as error:
            failure = error.without_traceback()
        except BridgeError as error:
            failure = status_error(error, not_found)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001  the boundary of the service: a call that fails stops nothing else
            kind = type(error).__name__
            self._log_limit.log(_log, logging.ERROR, kind, f"a call failed: {kind}: {error}")
            failure = StatusError(Code.INTERNAL, "DEFECT", f"a bug in the bridge: {kind}", hint="its log has more")
        finally:
            self._count -= counts
        return await failure.abort(context)


async def write(context: Context, message: Any, seconds: float, late: Callable[[], StatusError]) -> None:
    """Write a message once the client has room for it. Raises the error of ``late`` after ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            await context.write(message)
    except TimeoutError:
        raise late() from None


async def next_message(
    requests: AsyncIterator[Request], seconds: float, late: Callable[[], StatusError]
) -> Request | None:
    """Return a client's next message, ``None`` after the last. Raises the error of ``late`` after ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            return await anext(requests, None)
    except TimeoutError:
        raise late() from None
