"""Trace queries as callers give them, and as the state stores them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.query import TraceQuery


def checked_query(query: TraceQuery | None) -> TraceQuery:
    """Return the query, by default that for all traces. Raises `UsageError` for another type."""
    if not isinstance(query, TraceQuery | None):
        raise UsageError(f"query is of type {type(query).__name__}", hint="give a TraceQuery(...)")
    return query or TraceQuery()


def query_text(queries: Sequence[TraceQuery]) -> str:
    """Return the queries as the state stores them; "" for all traces."""
    if list(queries) == [TraceQuery()]:
        return ""
    try:
        return msgspec.json.encode(queries, order="sorted").decode()
    except (TypeError, UnicodeEncodeError) as error:
        raise UsageError(f"the query has a value that JSON cannot represent: {error}") from None
