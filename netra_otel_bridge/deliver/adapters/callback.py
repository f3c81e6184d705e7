"""A function of the caller's own as a destination: it is called with the spans of one batch."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import grpc
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from netra_otel_bridge.core.errors import DestinationMisconfigured, DestinationUnauthorized, DestinationUnavailable
from netra_otel_bridge.core.model.outcome import Delivered, Outcome, Retry, SpanBatch
from netra_otel_bridge.deliver.adapters.exporter_log import error_outcome
from netra_otel_bridge.deliver.adapters.worker_thread import OneAtATime, StillRunning
from netra_otel_bridge.deliver.answers import Verdict, outcome, raised

SpanCallback = Callable[[Sequence[ReadableSpan]], object]
"""A function, plain or ``async``, that takes the spans of one batch. To return is to have taken all of them."""


class CallbackDestination:
    """Hands each batch to a function. Returning is `Delivered`, whatever it returns.

    - A plain function runs on a thread of its own, an ``async`` one in the event loop; never twice at once. A call that
      has not come back within ``deadline_s`` is `Retry`: a plain one runs on, and its answer is taken when the same
      batch is sent again; an ``async`` one is cancelled.
    - An exception is what `raised_outcome` makes of it.
    - ``SpanExportResult.FAILURE`` is `Misconfigured`: the function belongs to an exporter, which can be handed in itself.
    """

    def __init__(self, name: str, callback: SpanCallback, deadline_s: float = 60.0) -> None:
        self.name = name
        self._callback = callback
        self._deadline_s = deadline_s
        self._in_loop = _is_async(callback)
        self._calls: OneAtATime[object] = OneAtATime(f"callback {name}")
        self._turn = asyncio.Lock()
        self._closed = False

    async def send(self, batch: SpanBatch) -> Outcome:
        """Call the function with one batch and say what became of it. Never raises for what the function does."""
        if self._closed:
            raise RuntimeError(f"the destination {self.name} is closed")
        try:
            async with self._turn:
                result = await self._call(batch.spans)
        except StillRunning:
            return Retry(f"the callback did not return in {self._deadline_s:g} s")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return Retry("the callback was cancelled")
        except (Exception, SystemExit) as error:  # noqa: BLE001  the wall around foreign code
            return raised_outcome(error, "the callback")
        if result is SpanExportResult.FAILURE:
            return outcome(Verdict.MISCONFIGURED, "the callback returned FAILURE; hand in the exporter itself")
        return Delivered()

    async def aclose(self) -> None:
        """Let the thread end; a call that hangs is left behind."""
        self._closed = True
        self._calls.close()

    async def _call(self, spans: Sequence[ReadableSpan]) -> object:
        awaited: object = None
        if not self._in_loop:
            awaited = await self._calls.call(spans, lambda: self._call_here(spans), self._deadline_s)
            if not inspect.isawaitable(awaited):
                return awaited
        try:
            async with asyncio.timeout(self._deadline_s) as deadline:
                return await in_task(lambda: self._callback(spans) if self._in_loop else awaited)
        except TimeoutError:
            if deadline.expired():
                raise StillRunning from None
            raise

    def _call_here(self, spans: Sequence[ReadableSpan]) -> object:
        with unobserved():
            return self._callback(spans)


def raised_outcome(error: BaseException, who: str) -> Outcome:
    """What an exception of the caller's own code means: whether to wait, to stop, or to look for the span to blame.

    `DestinationUnavailable`, and what is about the connection (`OSError`, a time-out included, and ``grpc.RpcError``,
    or an exception raised ``from`` one), is `Retry`. `DestinationMisconfigured` and `DestinationUnauthorized` are
    `Misconfigured`, and so are a failed TLS handshake and a closed standard output. Anything else is `Refused`.
    """
    match error:
        case DestinationUnavailable():
            return outcome(Verdict.RETRY, str(error))
        case DestinationUnauthorized():
            return outcome(Verdict.UNAUTHORIZED, str(error))
        case DestinationMisconfigured():
            return outcome(Verdict.MISCONFIGURED, str(error))
        case BrokenPipeError():
            return outcome(Verdict.MISCONFIGURED, f"whoever read what {who} writes has gone away")
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and not isinstance(cause, OSError | grpc.RpcError):
        seen.add(id(cause))
        cause = cause.__cause__ if id(cause.__cause__) not in seen else None
    known = error_outcome(cause) if cause is not None else None
    return known or outcome(Verdict.REFUSED, f"{who} raised {raised(error)}")


async def in_task(work: Callable[[], object]) -> object:
    """What ``work()`` gives, or what comes of awaiting that, unobserved and in a task of its own.

    So what it cancels, if it cancels the task that it is in, is itself alone. Raises what ``work`` raises.
    """

    async def run() -> tuple[object, SystemExit | None]:
        try:
            result = work()
            return (await result if inspect.isawaitable(result) else result), None
        except SystemExit as error:  # raised in a task, it would end the event loop
            return None, error

    with unobserved():
        task = asyncio.create_task(run())
    result, error = await task
    if error is not None:
        raise error
    return result


@contextmanager
def unobserved() -> Iterator[None]:
    """No instrumentation makes spans of what is done in here: the next replay would copy them."""
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        yield
    finally:
        detach(token)


def _is_async(callback: SpanCallback) -> bool:
    """Whether calling it gives a coroutine; so does an object whose ``__call__`` is ``async``."""
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(getattr(callback, "__call__", None))  # noqa: B004
