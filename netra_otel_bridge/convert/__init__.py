"""CONVERT: from Netra's JSON to OpenTelemetry's ``ReadableSpan``, pure: no I/O, no clock."""

from netra_otel_bridge.convert.costs import (
    SpanCost,
    is_metered,
    spent,
    summed,
)
from netra_otel_bridge.convert.fields import instant_ns, is_error, is_no_id
from netra_otel_bridge.convert.privacy import Content, Pii, Privacy, User
from netra_otel_bridge.convert.spans import Profile, SpanConverter

__all__ = [
    "Content",
    "Pii",
    "Privacy",
    "Profile",
    "SpanConverter",
    "SpanCost",
    "User",
    "instant_ns",
    "is_error",
    "is_metered",
    "is_no_id",
    "spent",
    "summed",
]
