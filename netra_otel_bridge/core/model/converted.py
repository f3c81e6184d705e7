"""The spans that conversion makes, with what a destination needs to know about them beside OTLP."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan


class ConvertedSpan(ReadableSpan):
    """A span, and the keys of the attributes that the bridge ``derived`` from what was recorded."""

    derived: Sequence[str] = ()
