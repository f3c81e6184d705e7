"""The exceptions of the bridge.

    BridgeError
     |- UsageError                  the call or the flags make no sense                 exit  2
     |- NotKnown                    Netra holds nothing under this id                   exit  1
     |- Stopped                     the caller's ``stop`` was set before the end        exit 75
     |- ConfigurationError          a setting is missing or wrong                       exit 78
     |- StateError                  progress is not kept, or not to be trusted
     |   |- StateUnusable           damaged, emptied, foreign or newer                  exit 78
     |   |- StateBusy               another bridge owns it                              exit 75
     |   `- StateNotWritten         disk full, read-only, an I/O error                  exit 75
     |- NetraError                  Netra could not be read
     |   |- NetraUnavailable        not reached, timed out, 5xx, cut answers            exit 69
     |   |- NetraRateLimited        429 to the last attempt                             exit 75
     |   |- NetraUnauthorized       401, 403                                            exit 77
     |   |- NetraNotAllowed         a dashboard call is not open to this key or here   exit 77
     |   |- NetraNotFound           404, 405, a redirect, a web page: not the API       exit 78
     |   |- NetraUntrusted          TLS: its certificate or protocol is not accepted    exit 78
     |   |- NetraRejected           any other 4xx: Netra refuses this request           exit  1
     |   |   `- NetraCursorRefused  the same, for a cursor it handed out before         exit  1
     |   |- NetraSchemaError        JSON, but not in the shape that is documented       exit 69
     |   |- NetraResponseTooLarge   more decoded bytes than the cap allows              exit 69
     |   `- PaginationLoop          cursors that repeat, or pages that lead nowhere     exit 69
     `- DestinationError            spans could not be handed over
         |- DestinationUnavailable  not reached or no answer, to the last attempt       exit 69
         |- DestinationUnauthorized it refuses the credentials                          exit 77
         |- DestinationMisconfigured  the address, path, protocol or TLS is wrong       exit 78
         `- DestinationRefuses       it refuses more than a fifth of the spans           exit  3

Each error prints as one line: what failed, where, and what to do (``hint``). None ever carries a credential.
``exit_code`` is what a command that ends with this error exits with; ``retryable`` says whether the same
request may succeed later without anybody changing anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netra_otel_bridge.core.model.report import ReplayReport


class BridgeError(Exception):
    """Base of all errors that the bridge raises on purpose."""

    exit_code: int = 1
    retryable: bool = False
    report: ReplayReport | None = None
    """What was done before the error, where something was: by a replay."""

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
    """Netra answered, and knows nothing under the id that was asked for."""


class Stopped(BridgeError):
    """The caller stopped it: what was answered is recorded, and with a state the same call goes on from there."""

    exit_code = 75
    retryable = True


class ConfigurationError(BridgeError):
    """A setting is missing or has a value that cannot be used; the message names the setting and its origin."""

    exit_code = 78


class StateError(BridgeError):
    """What was delivered cannot be remembered, or what is remembered cannot be trusted: nothing may go on."""


class StateUnusable(StateError):
    """The state is damaged, emptied, another program's or a newer bridge's; the message says which check failed."""

    exit_code = 78


class StateBusy(StateError):
    """Another bridge works with this state; the message names its process."""

    exit_code = 75


class StateNotWritten(StateError):
    """Progress could not be made durable. What was answered since the last transaction is sent again later."""

    exit_code = 75


class NetraError(BridgeError):
    """Netra could not be read. ``status`` is the HTTP status of the last answer, if there was one."""

    exit_code = 69

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NetraUnavailable(NetraError):
    """Netra was not reached, did not answer in time, answered 5xx, or its answer was cut off."""

    retryable = True


class NetraRateLimited(NetraError):
    """Netra answered 429 to every attempt."""

    exit_code = 75
    retryable = True


class NetraUnauthorized(NetraError):
    """Netra refuses the API key."""

    exit_code = 77


class NetraNotAllowed(NetraError):
    """Netra does not answer a dashboard call, for this key or at all (401, 403, 404, no API); do without.

    Deliberately no `NetraUnauthorized`: of the key itself, and of the other calls, it says nothing.
    """

    exit_code = 77


class NetraNotFound(NetraError):
    """What answers at the endpoint is not the Netra API: 404, 405, a redirect, or a web page."""

    exit_code = 78


class NetraUntrusted(NetraError):
    """TLS with Netra's host fails in a way that trying again does not mend: certificate, host name, protocol."""

    exit_code = 78


class NetraRejected(NetraError):
    """Netra refuses this request (a 4xx other than those above)."""

    exit_code = 1


class NetraCursorRefused(NetraRejected):
    """Netra refuses a cursor that it handed out in this listing: expired, or the data moved. List again from the start."""


class NetraSchemaError(NetraError):
    """The answer is JSON, but not of the documented shape; the message carries the JSON path."""


class NetraResponseTooLarge(NetraError):
    """The answer holds more decoded bytes than ``max_response_bytes``."""


class PaginationLoop(NetraError):
    """Paging does not advance: a cursor came back, or pages promise more and hold nothing."""


class DestinationError(BridgeError):
    """Spans could not be handed to a destination."""

    exit_code = 69


class DestinationUnavailable(DestinationError):
    """The destination was not reached, or did not take the batch, to the last attempt."""

    retryable = True


class DestinationUnauthorized(DestinationError):
    """The destination refuses the credentials."""

    exit_code = 77


class DestinationMisconfigured(DestinationError):
    """What answers is not the destination that was meant: wrong path, protocol, certificate."""

    exit_code = 78


class DestinationRefuses(DestinationError):
    """The destination refuses so many spans that going on would only lose more."""

    exit_code = 3
