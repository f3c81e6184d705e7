"""The wall around every call: how many there may be, how long they may take, and what failures are answered with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc.aio

from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.service.rpc.errors import Code, Refusal, refusal, shutting_down

UNARY_S = 60.0
"""What a call that is no stream may take."""
ENDED_S = 10.0
"""What streams get to end, once the server has."""
_log = logging.getLogger(__name__)
Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]


class Calls:
    """The calls that are being answered: at most ``limit``, and none once it is closed.

    A call that was refused counts no more, though a client that does not read leaves the refusal waiting behind the last
    message: a few clients that hang do not keep the others out.
    """

    def __init__(self, limit: int, limiter: LogLimit) -> None:
        self._limit = limit
        self._limiter = limiter
        self._streams: set[asyncio.Task[Any]] = set()
        self._count = 0
        self._closed = False

    def unary(
        self, answer: Callable[[Request], Awaitable[Response]], not_found: str = "NOT_FOUND"
    ) -> Callable[[Request, Context], Awaitable[Response]]:
        """A handler that answers with what ``answer`` returns, within `UNARY_S`."""

        async def handle(request: Request, context: Context) -> Response:
            async def work() -> Response:
                try:
                    async with asyncio.timeout(UNARY_S):
                        return await answer(request)
                except TimeoutError:
                    raise Refusal(Code.DEADLINE_EXCEEDED, "TIMEOUT", f"no answer in {UNARY_S:g} s") from None

            return await self._guarded(work, context, not_found)

        return handle

    def stream(
        self, work: Callable[[Any, Context], Awaitable[None]], not_found: str = "NOT_FOUND", *, counts: bool = True
    ) -> Callable[[Any, Context], Awaitable[None]]:
        """A handler for a stream: ``work`` takes the request or the iterator of requests, and writes to the context.

        It is ended when the server stops. One that does not ``count`` is answered however many there are.
        """

        async def handle(requests: Any, context: Context) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._streams.add(task)
            try:
                await self._guarded(lambda: work(requests, context), context, not_found, counts)
            finally:
                self._streams.discard(task)

        return handle

    def close(self) -> None:
        """End all streams, and answer no other call."""
        self._closed = True
        for task in self._streams:
            task.cancel()

    async def ended(self) -> None:
        """Wait until the streams that were ended have put away what they hold."""
        if self._streams:
            await asyncio.wait(self._streams, timeout=ENDED_S)

    def _is_closed(self) -> bool:
        return self._closed

    async def _guarded(
        self, work: Callable[[], Awaitable[Response]], context: Context, not_found: str, counts: bool = True
    ) -> Response:
        if self._is_closed():
            await shutting_down().answer(context)
        if counts and self._count >= self._limit:
            message = f"{self._limit} calls are being answered, and that is the limit"
            hint = "the server's setting grpc_calls"
            await Refusal(Code.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", message, hint=hint, retry_s=1.0).answer(context)
        self._count += counts
        try:
            return await work()
        except asyncio.CancelledError:
            if not self._is_closed():
                raise
            failure = shutting_down()
        except Refusal as refused:
            failure = refused.bare()
        except BridgeError as error:
            failure = refusal(error, not_found)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001  the wall of the service: a call that fails stops nothing else
            kind = type(error).__name__
            self._limiter.log(_log, logging.ERROR, kind, f"a call failed: {kind}: {error}")
            failure = Refusal(Code.INTERNAL, "DEFECT", f"a defect of the bridge: {kind}", hint="its log has more")
        finally:
            self._count -= counts
        return await failure.answer(context)


async def write(context: Context, message: Any, seconds: float, late: Callable[[], Refusal]) -> None:
    """Hand on a message when the client has room for it. Raises what ``late`` makes where it has none in time."""
    try:
        async with asyncio.timeout(seconds):
            await context.write(message)
    except TimeoutError:
        raise late() from None


async def first(requests: AsyncIterator[Request], seconds: float, late: Callable[[], Refusal]) -> Request | None:
    """The next message of a client's stream; ``None`` at its end. Raises what ``late`` makes where none comes in time."""
    try:
        async with asyncio.timeout(seconds):
            return await anext(requests, None)
    except TimeoutError:
        raise late() from None
