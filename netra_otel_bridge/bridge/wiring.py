"""Wire the concrete classes together: clients, converters, destinations, state, routes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.query import TraceQuery


def distinct_names(names: Iterable[str]) -> list[str]:
    """Names under which the state keeps destinations apart: two exporters of one class are two destinations."""
    found: list[str] = []
    for name in names:
        found.append(name if name not in found else f"{name}#{len(found) + 1}")
    return found


def checked_query(query: TraceQuery | None) -> TraceQuery:
    """The query, by default that for all traces. Raises `UsageError` for what is none."""
    if not isinstance(query, TraceQuery | None):
        raise UsageError(f"query is of type {type(query).__name__}", hint="give a TraceQuery(...)")
    return query or TraceQuery()


def query_text(queries: Sequence[TraceQuery]) -> str:
    """Queries as the state knows them; "" for all traces."""
    if list(queries) == [TraceQuery()]:
        return ""
    try:
        return msgspec.json.encode(queries, order="sorted").decode()
    except (TypeError, UnicodeEncodeError) as error:
        raise UsageError(f"the query holds a value that JSON has no form for: {error}") from None
