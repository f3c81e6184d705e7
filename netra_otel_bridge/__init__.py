"""netra-otel-bridge: Netra's traces and usage, as OpenTelemetry.

A program gets here the client (`NetraClient`, `AsyncNetraClient`), the converter (`SpanConverter`), a `replay` of a range
of time into whatever takes spans, and `follow` for live traffic. `Bridge` holds one configuration for all of them.

``__all__`` is the public interface, and nothing else is, but for four modules with names of their own:
`netra_otel_bridge.dashboards` (the types of the dashboard calls), `netra_otel_bridge.check` (what the command ``check``
asks), `netra_otel_bridge.v1` (the messages and stubs of the gRPC service) and `netra_otel_bridge.emulator` (a local Netra,
for tests).
"""

from typing import TYPE_CHECKING, Any

from netra_otel_bridge.bridge.bridge import Bridge, replay
from netra_otel_bridge.convert import Content, Pii, Privacy, Profile, SpanConverter, User
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
from netra_otel_bridge.core.model.dashboards import (
    DashboardData,
    SessionDetails,
    SessionStats,
    SessionStatsPage,
)
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
    Misconfigured,
    Outcome,
    PartlyRefused,
    Refused,
    Retry,
    SpanBatch,
    SpanChunk,
    TooLarge,
)
from netra_otel_bridge.core.model.progress import LaneStatus, Reconciliation
from netra_otel_bridge.core.model.query import TraceFilter, TraceQuery, Window
from netra_otel_bridge.core.model.report import LaneReport, ReplayEstimate, ReplayReport
from netra_otel_bridge.deliver import Destination, Named, SpanCallback, To
from netra_otel_bridge.source import AsyncNetraClient, NetraClient
from netra_otel_bridge.source.transport import TransportStats
from netra_otel_bridge.state import (
    ResetReport,
    StateStatus,
    StateStore,
    StoredLetter,
    dead_letters,
    read_status,
    reset,
)
from netra_otel_bridge.version import __version__

if TYPE_CHECKING:
    from netra_otel_bridge.bridge.follow import afollow, follow

__all__ = [
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
    "StoredLetter",
    "TenantUsageData",
    "To",
    "TooLarge",
    "TraceFilter",
    "TraceQuery",
    "TraceSpan",
    "TraceSummary",
    "TracesPage",
    "TransportStats",
    "UnreadableItem",
    "UsageError",
    "User",
    "Window",
    "__version__",
    "afollow",
    "dead_letters",
    "follow",
    "read_status",
    "replay",
    "reset",
]


def __getattr__(name: str) -> Any:
    """`follow` and `afollow`, imported with their first use: the service behind them is not wanted by everybody."""
    if name in ("afollow", "follow"):
        from netra_otel_bridge.bridge import follow as following

        return getattr(following, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
