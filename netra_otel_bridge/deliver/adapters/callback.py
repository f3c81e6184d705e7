"""A function as a destination: it is called with the spans of one batch."""

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
from netra_otel_bridge.deliver.answers import Verdict, defect_outcome, outcome, shown

SpanCallback = Callable[[Sequence[ReadableSpan]], object]
"""A function, plain or ``async``, that is called with the spans of one batch. If it returns normally, it has accepted all of them."""


class CallbackDestination:
    """Passes each batch to a function. If it returns, the batch is `Delivered`, whatever the return value.

    - A plain function runs on its own thread, an ``async`` one in the event loop; calls never overlap. A call that
      has not returned within ``deadline_s`` is `Retry`: a plain function keeps running, and its answer counts when the
      same batch is sent again; an ``async`` one is cancelled.
    - `raised_outcome` classifies exceptions.
    - ``SpanExportResult.FAILURE`` is `Misconfigured`: the function belongs to an exporter; pass the exporter itself.
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
        """Call the function with one batch and return the outcome. Never raises, whatever the function does."""
        if self._closed:
            raise RuntimeError(f"the destination {self.name} is closed")
        try:
            async with self._turn:
                result = await self._call(batch.spans)
        except StillRunning:
            return Retry(f"the callback did not return within {self._deadline_s:g} s")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return Retry("the callback was cancelled")
        except (Exception, SystemExit) as error:  # noqa: BLE001  the wall around foreign code
            return shown(raised_outcome(error, "the callback"))
        if result is SpanExportResult.FAILURE:
            return outcome(Verdict.MISCONFIGURED, "the callback returned FAILURE; pass the exporter itself")
        return Delivered()

    async def aclose(self) -> None:
        """Let the thread end; a call that hangs is abandoned."""
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
                return await run_in_task(lambda: self._callback(spans) if self._in_loop else awaited)
        except TimeoutError:
            if deadline.expired():
                raise StillRunning from None
            raise

    def _call_here(self, spans: Sequence[ReadableSpan]) -> object:
        with without_instrumentation():
            return self._callback(spans)


def raised_outcome(error: BaseException, who: str) -> Outcome:
    """Return the outcome of an exception in the caller's code: wait, stop, or look for the span at fault.

    `DestinationUnavailable`, and an exception about the connection (`OSError`, timeouts included, ``grpc.RpcError``, or
    one raised ``from`` these), is `Retry`. `DestinationMisconfigured` and `DestinationUnauthorized` are `Misconfigured`,
    and so are a failed TLS handshake and a closed standard output. Anything else is `Refused`.
    """
    match error:
        case DestinationUnavailable():
            return outcome(Verdict.RETRY, str(error))
        case DestinationUnauthorized():
            return outcome(Verdict.UNAUTHORIZED, str(error))
        case DestinationMisconfigured():
            return outcome(Verdict.MISCONFIGURED, str(error))
        case BrokenPipeError():
            return outcome(Verdict.MISCONFIGURED, f"the reader of the output of {who} has closed it")
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and not isinstance(cause, OSError | grpc.RpcError):
        seen.add(id(cause))
        cause = cause.__cause__ if id(cause.__cause__) not in seen else None
    known = error_outcome(cause) if cause is not None else None
    return known or defect_outcome(who, error)


async def run_in_task(work: Callable[[], object]) -> object:
    """Return the result of ``work()``, awaited if necessary, without instrumentation and in its own task.

    If the work cancels its current task, it cancels only itself. Raises what ``work`` raises.
    """

    async def run() -> tuple[object, SystemExit | None]:
        try:
            result = work()
            return (await result if inspect.isawaitable(result) else result), None
        except SystemExit as error:  # raised in a task, it would end the event loop
            return None, error

    with without_instrumentation():
        task = asyncio.create_task(run())
    result, error = await task
    if error is not None:
        raise error
    return result


@contextmanager
def without_instrumentation() -> Iterator[None]:
    """Suppress instrumentation: the next replay would copy its spans."""
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        yield
    finally:
        detach(token)


def _is_async(callback: SpanCallback) -> bool:
    """Return whether calling it returns a coroutine, as an object does whose ``__call__`` is ``async``."""
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(getattr(callback, "__call__", None))  # noqa: B004
