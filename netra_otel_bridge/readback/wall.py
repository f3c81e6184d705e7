"""The wall around readers, which may be anybody's: whatever a call does, a `BridgeError` or a usable result comes out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from netra_otel_bridge.core.errors import BridgeError, DestinationUnavailable
from netra_otel_bridge.core.outside_text import error_line
from netra_otel_bridge.readback.reader import FindsTraces, TraceReader

READ_DEADLINE_S = 120.0
"""Seconds for one call of a reader of the user's own. The built-in readers have deadlines of their own."""
CLOSE_DEADLINE_S = 10.0
HINT = "this is a bug in the reader"
T = TypeVar("T")
_BUILT_IN = __name__.rpartition(".")[0] + "."
_log = logging.getLogger(__name__)


async def read(reader: TraceReader, trace_id: str, start_ns: int) -> bytes:
    """Return what `TraceReader.read` returns. Raises `BridgeError`: of another exception and of another type too."""
    data: object = await _guarded(reader, "read", lambda: reader.read(trace_id, start_ns), _deadline_s(reader))
    if not isinstance(data, bytes):
        raise _wrong_type(reader, "read", data, "bytes")
    return data


async def find(reader: TraceReader, finder: FindsTraces, service: str, start_ns: int, end_ns: int) -> set[str] | None:
    """Return what `FindsTraces.find` returns. Raises `BridgeError`: of another exception and of another type too."""
    shown: object = await _guarded(reader, "find", lambda: finder.find(service, start_ns, end_ns), _deadline_s(reader))
    if shown is not None and not isinstance(shown, set | frozenset):
        raise _wrong_type(reader, "find", shown, "a set or None")
    return None if shown is None else set(shown)


async def close(reader: TraceReader) -> None:
    """Close a reader. A failure is only logged: all that was asked is answered."""
    try:
        await _guarded(reader, "aclose", reader.aclose, CLOSE_DEADLINE_S)
    except BridgeError as error:
        _log.warning("%s", error)


async def _guarded(reader: TraceReader, method: str, call: Callable[[], Awaitable[T]], deadline_s: float | None) -> T:
    """Await a call. A cancellation is passed on only if this task is being cancelled; else the reader raised it."""
    who = f"the reader {reader.store} at {reader.at}"
    try:
        async with asyncio.timeout(deadline_s) as deadline:
            return await call()
    except BridgeError:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raised: BaseException = error
    except (Exception, SystemExit) as error:  # noqa: BLE001  the wall around foreign code
        if isinstance(error, TimeoutError) and deadline.expired():
            raise DestinationUnavailable(
                f"{who} did not return from {method} within {deadline_s:g} s",
                hint="a reader must end its calls within its own deadline",
            ) from None
        raised = error
    raise BridgeError(f"{who} raised {error_line(raised)} in {method}", hint=HINT) from raised


def _deadline_s(reader: TraceReader) -> float | None:
    return None if type(reader).__module__.startswith(_BUILT_IN) else READ_DEADLINE_S


def _wrong_type(reader: TraceReader, method: str, value: object, wanted: str) -> BridgeError:
    kind = "None" if value is None else type(value).__name__
    return BridgeError(
        f"the reader {reader.store} at {reader.at} returned {kind} from {method}, which must return {wanted}", hint=HINT
    )
