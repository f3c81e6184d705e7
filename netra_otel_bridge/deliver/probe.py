"""Whether a destination can be written to, asked without writing anything: an empty request, or a look at the file."""

from __future__ import annotations

from dataclasses import dataclass

from netra_otel_bridge.deliver.destination import Destination
from netra_otel_bridge.deliver.otlp import OtlpGrpcDestination, OtlpHttpDestination
from netra_otel_bridge.deliver.otlp_file import OtlpFileDestination
from netra_otel_bridge.errors import (
    BridgeError,
    ConfigurationError,
    DestinationMisconfigured,
    DestinationUnauthorized,
    DestinationUnavailable,
)
from netra_otel_bridge.model import (
    Delivered,
    Misconfigured,
    Outcome,
    PartlyRefused,
    Refused,
    Retry,
    SpanBatch,
    TooLarge,
)

EMPTY = SpanBatch((), (), 0)
_OTLP_UNKNOWN = "whether it takes large or old spans, and keeps what it takes"
_FILE_UNKNOWN = "whether there is room for what will be written"
_EXPORTER_UNKNOWN = (
    "whether spans would arrive: an exporter need not connect for no spans, and may answer SUCCESS all the same"
)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe found: one line of what the destination ``said``, and what could not be known without sending spans.

    ``exit_code`` is that of the error that a lane would end with now, and 0 where there is none.
    """

    ok: bool
    said: str
    unknown: str
    exit_code: int = 0


async def probe(destination: Destination) -> ProbeResult:
    """Ask a destination once. Nothing is written, created or changed there; nothing is tried again.

    OTLP gets a request without spans, which says whether it is reached, is an OTLP server and takes the credentials.
    A file is looked at. Any other destination is handed an empty batch; what it answers proves little.
    """
    match destination:
        case OtlpFileDestination():
            return _file(destination)
        case OtlpGrpcDestination() | OtlpHttpDestination():
            return _result(await destination.send(EMPTY), "it takes a request without spans", _OTLP_UNKNOWN)
        case _:
            try:
                outcome = await destination.send(EMPTY)
            except BridgeError as error:
                return ProbeResult(False, str(error), _EXPORTER_UNKNOWN, error.exit_code)
            return _result(outcome, "it answers SUCCESS to an empty batch, which is no proof", _EXPORTER_UNKNOWN)


def _file(destination: OtlpFileDestination) -> ProbeResult:
    try:
        destination.check()
    except ConfigurationError as error:
        return ProbeResult(False, str(error), _FILE_UNKNOWN, error.exit_code)
    return ProbeResult(True, "it may be written", _FILE_UNKNOWN)


def _result(outcome: Outcome, yes: str, unknown: str) -> ProbeResult:
    match outcome:
        case Delivered() | PartlyRefused():
            return ProbeResult(True, yes, unknown)
        case TooLarge(reason) | Refused(reason):
            said = f"it answers, and takes no request without spans ({reason})"
            return ProbeResult(True, said, f"whether it takes spans at all, and {unknown}")
        case Retry(reason):
            return ProbeResult(False, reason, unknown, DestinationUnavailable.exit_code)
        case Misconfigured(reason, unauthorized):
            if unauthorized:
                code = DestinationUnauthorized.exit_code
                return ProbeResult(False, f"refuses the credentials: {reason}", unknown, code)
            return ProbeResult(False, reason, unknown, DestinationMisconfigured.exit_code)
