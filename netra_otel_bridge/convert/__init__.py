"""Convert Netra's JSON to OpenTelemetry's ``ReadableSpan``. Pure: no I/O, no clock."""

from netra_otel_bridge.convert.costs import (
    SpanCost,
    hour_costs,
    is_metered,
    span_costs,
)
from netra_otel_bridge.convert.fields import instant_ns, is_error, is_no_id, otlp_trace_id, span_id_value
from netra_otel_bridge.convert.privacy import Content, Exceptions, Pii, Privacy, User, configured
from netra_otel_bridge.convert.private_parts import count_keys
from netra_otel_bridge.convert.reading import ListReading, SpanReading, TraceReading, read_list, read_spans
from netra_otel_bridge.convert.spans import Profile, SpanConverter

__all__ = [
    "Content",
    "Exceptions",
    "ListReading",
    "Pii",
    "Privacy",
    "Profile",
    "SpanConverter",
    "SpanCost",
    "SpanReading",
    "TraceReading",
    "User",
    "configured",
    "count_keys",
    "hour_costs",
    "instant_ns",
    "is_error",
    "is_metered",
    "is_no_id",
    "otlp_trace_id",
    "read_list",
    "read_spans",
    "span_costs",
    "span_id_value",
]
