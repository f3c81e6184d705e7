"""The status of failed calls: canonical codes with ``google.rpc`` details. The proto file documents each."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo  # type: ignore[import-untyped]  # googleapis-common-protos has no types
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # googleapis-common-protos has no types

from netra_otel_bridge.core.errors import (
    BridgeError,
    ConfigurationError,
    DestinationMisconfigured,
    DestinationRefuses,
    DestinationUnauthorized,
    DestinationUnavailable,
    NetraNotAllowed,
    NetraNotFound,
    NetraRateLimited,
    NetraRejected,
    NetraResponseTooLarge,
    NetraSchemaError,
    NetraUnauthorized,
    NetraUnavailable,
    NetraUntrusted,
    NotKnown,
    PaginationLoop,
    StateError,
    UsageError,
)
from netra_otel_bridge.readback.reader import TraceNotReturned

DOMAIN = "netra-otel-bridge"
DETAILS = "grpc-status-details-bin"
"""The trailer that carries a ``google.rpc.Status``."""
Code = grpc.StatusCode
_CODES: tuple[tuple[type[BridgeError], grpc.StatusCode, str, float | None], ...] = (
    (UsageError, Code.INVALID_ARGUMENT, "ARGUMENT_INVALID", None),
    (NotKnown, Code.NOT_FOUND, "NOT_FOUND", None),
    (ConfigurationError, Code.FAILED_PRECONDITION, "CONFIGURATION", None),
    (StateError, Code.FAILED_PRECONDITION, "STATE", None),
    (NetraUnavailable, Code.UNAVAILABLE, "NETRA_UNAVAILABLE", 5.0),
    (NetraRateLimited, Code.UNAVAILABLE, "NETRA_RATE_LIMITED", 30.0),
    (NetraUnauthorized, Code.FAILED_PRECONDITION, "NETRA_UNAUTHORIZED", None),
    (NetraNotAllowed, Code.FAILED_PRECONDITION, "NETRA_UNAUTHORIZED", None),
    (NetraNotFound, Code.FAILED_PRECONDITION, "NETRA_NOT_FOUND", None),
    (NetraUntrusted, Code.FAILED_PRECONDITION, "NETRA_UNTRUSTED", None),
    (NetraRejected, Code.INTERNAL, "NETRA_ANSWER", None),
    (NetraSchemaError, Code.INTERNAL, "NETRA_ANSWER", None),
    (NetraResponseTooLarge, Code.INTERNAL, "NETRA_ANSWER", None),
    (PaginationLoop, Code.INTERNAL, "NETRA_ANSWER", None),
    (DestinationUnavailable, Code.UNAVAILABLE, "DESTINATION_UNAVAILABLE", 5.0),
    (DestinationUnauthorized, Code.FAILED_PRECONDITION, "DESTINATION_UNAUTHORIZED", None),
    (DestinationMisconfigured, Code.FAILED_PRECONDITION, "DESTINATION_MISCONFIGURED", None),
    (DestinationRefuses, Code.FAILED_PRECONDITION, "DESTINATION_REFUSES", None),
)
_STORE_CODES: tuple[tuple[type[BridgeError], grpc.StatusCode, str, float | None], ...] = (
    (TraceNotReturned, Code.FAILED_PRECONDITION, "TRACE_NOT_RETURNED", None),
    (DestinationUnavailable, Code.UNAVAILABLE, "STORE_UNAVAILABLE", 5.0),
    (DestinationUnauthorized, Code.FAILED_PRECONDITION, "STORE_UNAUTHORIZED", None),
    (DestinationMisconfigured, Code.FAILED_PRECONDITION, "CONFIGURATION", None),
)
"""The status of errors of a store that is read back, in place of those of a destination."""


def plain(text: str) -> str:
    """Replace lone surrogates, which Netra's texts may contain and a protobuf string cannot."""
    return text.encode("utf-8", "replace").decode()


class StatusError(Exception):
    """A status other than OK, raised to end a call with it. After ``retry_s`` the client may try again."""

    def __init__(
        self, code: grpc.StatusCode, reason: str, message: str, *, hint: str = "", retry_s: float | None = None
    ) -> None:
        self.message = plain(message)
        super().__init__(self.message)
        self.code = code
        self.reason = reason
        self.hint = plain(hint)
        self.retry_s = retry_s

    def without_traceback(self) -> StatusError:
        """Return a copy: the traceback would keep the call's spans in memory until the client has read the status."""
        return StatusError(self.code, self.reason, self.message, hint=self.hint, retry_s=self.retry_s)

    async def abort(self, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
        """End the call with this status."""
        await context.abort(self.code, str(self), ((DETAILS, self._status().SerializeToString()),))

    def _status(self) -> Status:
        info = ErrorInfo(reason=self.reason, domain=DOMAIN, metadata={"hint": self.hint} if self.hint else {})
        details: list[ErrorInfo | RetryInfo] = [info]
        if self.retry_s is not None:
            seconds = int(self.retry_s)
            delay = Duration(seconds=seconds, nanos=round((self.retry_s - seconds) * 10**9))
            details.append(RetryInfo(retry_delay=delay))
        status = Status(code=self.code.value[0], message=str(self))
        for detail in details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        return status


def status_error(error: BridgeError, not_found: str = "NOT_FOUND") -> StatusError:
    """Return the status for an error of the bridge; ``not_found`` is the reason if Netra does not know an id."""
    if isinstance(error, NetraRejected) and error.status == HTTPStatus.BAD_REQUEST and type(error) is NetraRejected:
        return StatusError(Code.INVALID_ARGUMENT, "ARGUMENT_INVALID", error.message, hint=error.hint)
    for kind, code, reason, retry_s in _CODES:
        if isinstance(error, kind):
            named = not_found if kind is NotKnown else reason
            return StatusError(code, named, error.message, hint=error.hint, retry_s=retry_s)
    return StatusError(Code.INTERNAL, "DEFECT", error.message, hint=error.hint)


def store_error(error: BridgeError) -> StatusError:
    """Return the status for an error while a store was read back."""
    for kind, code, reason, retry_s in _STORE_CODES:
        if isinstance(error, kind):
            return StatusError(code, reason, error.message, hint=error.hint, retry_s=retry_s)
    return status_error(error)


def misconfigured(message: str, *, hint: str) -> StatusError:
    """Return the status for a call that the server's configuration does not provide for."""
    return StatusError(Code.FAILED_PRECONDITION, "CONFIGURATION", message, hint=hint)


def invalid(message: str, *, hint: str = "", reason: str = "ARGUMENT_INVALID") -> StatusError:
    """Return the status for a request that is not valid."""
    return StatusError(Code.INVALID_ARGUMENT, reason, message, hint=hint)


def shutting_down() -> StatusError:
    """Return the status for calls that end because the server stops."""
    return StatusError(Code.UNAVAILABLE, "SHUTTING_DOWN", "the bridge is shutting down", retry_s=2.0)


def stalled(what: str, seconds: float) -> StatusError:
    """Return the status for a stream whose client stopped reading or writing."""
    return StatusError(
        Code.ABORTED, "READER_STALLED", f"{what} in {seconds:g} s", hint="open the stream again to resume"
    )
