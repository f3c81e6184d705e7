"""The exceptions of the bridge.

    BridgeError
     |- UsageError                  the call or the flags make no sense                 exit  2
     |- NotKnown                    Netra has nothing under this id                     exit  1
     |- Stopped                     the caller set ``stop`` before the end              exit 75
     |- ConfigurationError          a setting is missing or wrong                       exit 78
     |- StateError                  progress cannot be recorded, or cannot be trusted
     |   |- StateUnusable           damaged, emptied, foreign or newer                  exit 78
     |   |- StateBusy               another bridge owns it                              exit 75
     |   `- StateNotWritten         disk full, read-only, an I/O error                  exit 75
     |- NetraError                  Netra could not be read
     |   |- NetraUnavailable        not reached, timed out, 5xx, truncated answer       exit 69
     |   |- NetraRateLimited        429 to the last attempt                             exit 75
     |   |- NetraUnauthorized       401, 403                                            exit 77
     |   |- NetraNotAllowed         this key or installation has no dashboard calls     exit 77
     |   |- NetraNotFound           404, 405, a redirect, a web page: not the API       exit 78
     |   |- NetraUntrusted          TLS: certificate or protocol not accepted           exit 78
     |   |- NetraRejected           any other 4xx: Netra rejects this request           exit  1
     |   |   `- NetraCursorRefused  the same, for a cursor that Netra issued            exit  1
     |   |- NetraSchemaError        JSON, but not of the documented shape               exit 69
     |   |- NetraResponseTooLarge   more decoded bytes than the cap allows              exit 69
     |   `- PaginationLoop          repeated cursors, or pages that lead nowhere        exit 69
     `- DestinationError            spans could not be delivered
         |- DestinationUnavailable  not reached, or no answer, to the last attempt      exit 69
         |- DestinationUnauthorized it rejects the credentials                          exit 77
         |- DestinationMisconfigured  the address, path, protocol or TLS is wrong       exit 78
         `- DestinationRefuses      it rejects more than a fifth of the spans           exit  3

Each error prints as one line: what failed, where, and what to do about it (``hint``). None contains a credential.
``exit_code`` is the exit code of a command that ends with this error. ``retryable`` tells whether the same request
may succeed later without a change.
"""

from __future__ import annotations

from typing import Any, Protocol


class PartialReport(Protocol):
    """The part of a `ReplayReport` that an error uses. An error of a replay has the whole report."""

    @property
    def destinations(self) -> tuple[Any, ...]:
        """Return a `LaneReport` for each destination."""

    @property
    def exit_code(self) -> int:
        """Return the exit code that the report alone requires."""


class BridgeError(Exception):
    """Base of all errors that the bridge raises on purpose."""

    exit_code: int = 1
    retryable: bool = False
    report: PartialReport | None = None
    """The `ReplayReport` up to the error, if it is an error of a replay."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(BridgeError):
    """The arguments contradict each other or cannot be read."""

    exit_code = 2


class NotKnown(BridgeError):
    """Netra answered, but has nothing under the requested id."""


class Stopped(BridgeError):
    """The caller stopped the replay.

    Acknowledged spans are recorded; with a state, the same call resumes from there.
    """

    exit_code = 75
    retryable = True


class ConfigurationError(BridgeError):
    """A setting is missing or has a value that cannot be used; the message names the setting and its source."""

    exit_code = 78


class StateError(BridgeError):
    """Progress cannot be recorded, or the recorded progress cannot be trusted: work must stop."""


class StateUnusable(StateError):
    """The state is damaged, emptied, another program's or a newer bridge's; the message says which check failed."""

    exit_code = 78


class StateBusy(StateError):
    """Another bridge is using this state; the message names its process."""

    exit_code = 75


class StateNotWritten(StateError):
    """Progress could not be made durable. Spans acknowledged since the last transaction are sent again later."""

    exit_code = 75


class NetraError(BridgeError):
    """Netra could not be read. ``status`` is the HTTP status of the last response, or ``None`` without a response."""

    exit_code = 69

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NetraUnavailable(NetraError):
    """Netra was not reached, did not respond in time, returned 5xx, or its response was truncated."""

    retryable = True


class NetraRateLimited(NetraError):
    """Netra answered 429 to every attempt."""

    exit_code = 75
    retryable = True


class NetraUnauthorized(NetraError):
    """Netra rejects the API key."""

    exit_code = 77


class NetraNotAllowed(NetraError):
    """Netra rejects a dashboard call, for this key or any (401, 403, 404, no API); continue without it.

    Deliberately not a `NetraUnauthorized`: it says nothing about the key itself or about the other calls.
    """

    exit_code = 77


class NetraNotFound(NetraError):
    """The endpoint is not the Netra API: it returns 404, 405, a redirect, or a web page."""

    exit_code = 78


class NetraUntrusted(NetraError):
    """TLS with Netra's host fails in a way that no retry fixes: certificate, host name, protocol."""

    exit_code = 78


class NetraRejected(NetraError):
    """Netra rejects this request (a 4xx other than those above)."""

    exit_code = 1


class NetraCursorRefused(NetraRejected):
    """Netra rejects a cursor that it issued in this listing, because it expired or the data changed. List again."""


class NetraSchemaError(NetraError):
    """The response is JSON, but not of the documented shape; the message contains the JSON path."""


class NetraResponseTooLarge(NetraError):
    """The response has more decoded bytes than ``max_response_bytes``."""


class PaginationLoop(NetraError):
    """Paging does not advance: a cursor was repeated, or empty pages announce more."""


class DestinationError(BridgeError):
    """Spans could not be delivered to a destination."""

    exit_code = 69


class DestinationUnavailable(DestinationError):
    """The destination was not reached, or did not accept the batch, to the last attempt."""

    retryable = True


class DestinationUnauthorized(DestinationError):
    """The destination rejects the credentials."""

    exit_code = 77


class DestinationMisconfigured(DestinationError):
    """The address is not the intended destination: wrong path, protocol or certificate."""

    exit_code = 78


class DestinationRefuses(DestinationError):
    """The destination rejects so many spans that continuing would only lose more."""

    exit_code = 3
