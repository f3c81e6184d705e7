"""Netra's traces and usage, as OpenTelemetry.

Read Netra with `NetraClient` or `AsyncNetraClient`, convert spans with `SpanConverter`, copy a time range to any
destination with `replay`, and follow live traffic with `follow`. `Bridge` holds one configuration for all of them.

``__all__`` is the public interface, together with four modules: `netra_otel_bridge.dashboards` (the types of the dashboard
calls), `netra_otel_bridge.check` (what the command ``check`` tests), `netra_otel_bridge.v1` (the messages and stubs of the
gRPC service) and `netra_otel_bridge.emulator` (a local Netra, for tests). Everything else may change in any version.

A public name is imported from its module when it is first used, so that importing the package costs almost nothing.
"""

from typing import TYPE_CHECKING

from netra_otel_bridge.core.names_on_use import names_on_use
from netra_otel_bridge.version import __version__

if TYPE_CHECKING:
    from netra_otel_bridge.bridge.bridge import Bridge, replay
    from netra_otel_bridge.bridge.follow import afollow, follow
    from netra_otel_bridge.convert import Content, Exceptions, Pii, Privacy, Profile, SpanConverter, User
    from netra_otel_bridge.core.clock import Backoff, Clock
    from netra_otel_bridge.core.errors import (
        BridgeError,
        ConfigurationError,
        DestinationError,
        DestinationMisconfigured,
        DestinationRefuses,
        DestinationUnauthorized,
        DestinationUnavailable,
        NetraCursorRefused,
        NetraError,
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
        PartialReport,
        StateBusy,
        StateError,
        StateNotWritten,
        StateUnusable,
        Stopped,
        UsageError,
    )
    from netra_otel_bridge.core.model.dashboards import DashboardData, SessionDetails, SessionStats, SessionStatsPage
    from netra_otel_bridge.core.model.netra import (
        SessionUsageData,
        SpansPage,
        TenantUsageData,
        TracesPage,
        TraceSpan,
        TraceSummary,
        UnreadableItem,
    )
    from netra_otel_bridge.core.model.outcome import (
        DeadLetter,
        Delivered,
        Inspection,
        Misconfigured,
        Outcome,
        PartlyRefused,
        Refused,
        RejectionCause,
        Retry,
        SpanBatch,
        SpanChunk,
        TooLarge,
    )
    from netra_otel_bridge.core.model.progress import HeldTrace, LaneStatus, Reconciliation
    from netra_otel_bridge.core.model.query import TraceFilter, TraceQuery, Window
    from netra_otel_bridge.core.model.readback import Finding, StoreReport, VerifyReport
    from netra_otel_bridge.core.model.report import KeptKeys, LaneReport, ReplayEstimate, ReplayReport
    from netra_otel_bridge.deliver.adapters.callback import SpanCallback
    from netra_otel_bridge.deliver.adapters.from_object import Named, To
    from netra_otel_bridge.deliver.protocols import AnswersEmpty, Destination, Inspects
    from netra_otel_bridge.readback.reader import FindsTraces, StoreForm, TraceReader
    from netra_otel_bridge.readback.verify import VerifyProgress
    from netra_otel_bridge.source import AsyncNetraClient, NetraClient
    from netra_otel_bridge.source.calls import TransportStats
    from netra_otel_bridge.state import (
        ResetReport,
        StateStatus,
        StateStore,
        StoredLetter,
        StoredTrace,
        dead_letters,
        held_traces,
        read_status,
        reset,
    )

__all__ = [
    "AnswersEmpty",
    "AsyncNetraClient",
    "Backoff",
    "Bridge",
    "BridgeError",
    "Clock",
    "ConfigurationError",
    "Content",
    "DashboardData",
    "DeadLetter",
    "Delivered",
    "Destination",
    "DestinationError",
    "DestinationMisconfigured",
    "DestinationRefuses",
    "DestinationUnauthorized",
    "DestinationUnavailable",
    "Exceptions",
    "Finding",
    "FindsTraces",
    "HeldTrace",
    "Inspection",
    "Inspects",
    "KeptKeys",
    "LaneReport",
    "LaneStatus",
    "Misconfigured",
    "Named",
    "NetraClient",
    "NetraCursorRefused",
    "NetraError",
    "NetraNotAllowed",
    "NetraNotFound",
    "NetraRateLimited",
    "NetraRejected",
    "NetraResponseTooLarge",
    "NetraSchemaError",
    "NetraUnauthorized",
    "NetraUnavailable",
    "NetraUntrusted",
    "NotKnown",
    "Outcome",
    "PaginationLoop",
    "PartialReport",
    "PartlyRefused",
    "Pii",
    "Privacy",
    "Profile",
    "Reconciliation",
    "Refused",
    "RejectionCause",
    "ReplayEstimate",
    "ReplayReport",
    "ResetReport",
    "Retry",
    "SessionDetails",
    "SessionStats",
    "SessionStatsPage",
    "SessionUsageData",
    "SpanBatch",
    "SpanCallback",
    "SpanChunk",
    "SpanConverter",
    "SpansPage",
    "StateBusy",
    "StateError",
    "StateNotWritten",
    "StateStatus",
    "StateStore",
    "StateUnusable",
    "Stopped",
    "StoreForm",
    "StoreReport",
    "StoredLetter",
    "StoredTrace",
    "TenantUsageData",
    "To",
    "TooLarge",
    "TraceFilter",
    "TraceQuery",
    "TraceReader",
    "TraceSpan",
    "TraceSummary",
    "TracesPage",
    "TransportStats",
    "UnreadableItem",
    "UsageError",
    "User",
    "VerifyProgress",
    "VerifyReport",
    "Window",
    "__version__",
    "afollow",
    "dead_letters",
    "follow",
    "held_traces",
    "read_status",
    "replay",
    "reset",
]

_NAMES = {
    "bridge.bridge": "Bridge replay",
    "bridge.follow": "afollow follow",
    "convert": "Content Exceptions Pii Privacy Profile SpanConverter User",
    "core.clock": "Backoff Clock",
    "core.errors": """
        BridgeError ConfigurationError DestinationError DestinationMisconfigured DestinationRefuses
        DestinationUnauthorized DestinationUnavailable NetraCursorRefused NetraError NetraNotAllowed
        NetraNotFound NetraRateLimited NetraRejected NetraResponseTooLarge NetraSchemaError
        NetraUnauthorized NetraUnavailable NetraUntrusted NotKnown PaginationLoop PartialReport StateBusy
        StateError StateNotWritten StateUnusable Stopped UsageError
    """,
    "core.model.dashboards": "DashboardData SessionDetails SessionStats SessionStatsPage",
    "core.model.netra": """
        SessionUsageData SpansPage TenantUsageData TraceSpan TraceSummary TracesPage UnreadableItem
    """,
    "core.model.outcome": """
        DeadLetter Delivered Inspection Misconfigured Outcome PartlyRefused Refused RejectionCause Retry SpanBatch
        SpanChunk TooLarge
    """,
    "core.model.progress": "HeldTrace LaneStatus Reconciliation",
    "core.model.query": "TraceFilter TraceQuery Window",
    "core.model.readback": "Finding StoreReport VerifyReport",
    "core.model.report": "KeptKeys LaneReport ReplayEstimate ReplayReport",
    "deliver.adapters.callback": "SpanCallback",
    "deliver.adapters.from_object": "Named To",
    "deliver.protocols": "AnswersEmpty Destination Inspects",
    "readback.reader": "FindsTraces StoreForm TraceReader",
    "readback.verify": "VerifyProgress",
    "source": "AsyncNetraClient NetraClient",
    "source.calls": "TransportStats",
    "state": "ResetReport StateStatus StateStore StoredLetter StoredTrace dead_letters held_traces read_status reset",
}
"""The public names by the module that defines them; relative to this package."""


def __dir__() -> list[str]:
    return [*globals(), *(name for name in __all__ if name not in globals())]


if not TYPE_CHECKING:  # hidden from type checkers, which would otherwise accept every name
    __getattr__ = names_on_use(__name__, _NAMES, submodules=("check", "dashboards"))
