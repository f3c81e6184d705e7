"""netra-otel-bridge: Netra's traces and usage, as OpenTelemetry.

A program gets here the client (`NetraClient`, `AsyncNetraClient`), the converter (`SpanConverter`), and a `replay` of
a range of time into any ``SpanExporter``. `Bridge` holds one configuration for all three.
"""

from netra_otel_bridge.bridge import Bridge, replay
from netra_otel_bridge.convert import Privacy, SpanConverter
from netra_otel_bridge.dashboards import DashboardData, SessionDetails, SessionStats, SessionStatsPage
from netra_otel_bridge.deliver import Destination
from netra_otel_bridge.errors import (
    BridgeError,
    ConfigurationError,
    DestinationError,
    NetraError,
    UsageError,
)
from netra_otel_bridge.model import (
    LaneReport,
    Outcome,
    ReplayEstimate,
    ReplayReport,
    SessionUsageData,
    SpanBatch,
    SpansPage,
    TenantUsageData,
    TraceFilter,
    TraceQuery,
    TracesPage,
    TraceSpan,
    TraceSummary,
    Window,
)
from netra_otel_bridge.source import AsyncNetraClient, NetraClient

__version__ = "0.1.0"

__all__ = [
    "AsyncNetraClient",
    "Bridge",
    "BridgeError",
    "ConfigurationError",
    "DashboardData",
    "Destination",
    "DestinationError",
    "LaneReport",
    "NetraClient",
    "NetraError",
    "Outcome",
    "Privacy",
    "ReplayEstimate",
    "ReplayReport",
    "SessionDetails",
    "SessionStats",
    "SessionStatsPage",
    "SessionUsageData",
    "SpanBatch",
    "SpanConverter",
    "SpansPage",
    "TenantUsageData",
    "TraceFilter",
    "TraceQuery",
    "TraceSpan",
    "TraceSummary",
    "TracesPage",
    "UsageError",
    "Window",
    "__version__",
    "replay",
]
