"""Totals of traces, sessions and tenants, computed from spans.

Sums include only counted spans (`span_columns`): GENERATION, EMBEDDING, USAGE, and those with priced entries in
``netra.usage``. A sum without known values is ``None``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from netra_otel_bridge.emulator.api_format import epoch_iso
from netra_otel_bridge.emulator.render import ORGANISATION_ID, PROJECT_ID, Row

_DIGITS = 10
_Found = TypeVar("_Found")


class TraceItem(msgspec.Struct, frozen=True, gc=False):
    """The fields of ``TraceSummary`` in netra-sdk 1.2.2, without the cursor, which depends on the requested order."""

    id: str
    name: str
    kind: str
    latency_ms: int
    start_time: str
    end_time: str
    organisation_id: str
    project_id: str
    session_id: str | None
    tenant_id: str | None
    user_id: str | None
    environment: str | None
    models: list[str]
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    total_tokens: int | None
    prompt_tokens_cost: float | None
    completion_tokens_cost: float | None
    cached_tokens_cost: float | None
    total_cost: float | None
    has_pii: bool
    pii_entities: list[Any]
    has_violation: bool
    violations: list[Any]
    has_error: bool
    service: str | None


class Summary(msgspec.Struct, frozen=True, gc=False):
    """The item of a trace, and further values for sorting and filtering."""

    item: TraceItem
    start_ns: int
    end_ns: int
    metadata: dict[str, Any]


def summarize(trace_id: str, rows: Sequence[Row]) -> Summary:
    """Summarize ``rows`` (not empty, by start).

    Name and kind come from the root; so do ids and service, if it has them.
    """
    root = next((row for row in rows if not row.parent_id), rows[0])
    ordered = [root, *(row for row in rows if row is not root)]
    shown = [row.columns for row in ordered]
    counted = [row.columns for row in rows if row.columns.counted]
    start_ns, end_ns = rows[0].start_ns, max(row.end_ns for row in rows)
    item = TraceItem(
        id=trace_id,
        name=root.name,
        kind=root.columns.kind,
        latency_ms=(end_ns - start_ns) // 1_000_000,
        start_time=epoch_iso(start_ns // 1_000_000),
        end_time=epoch_iso(end_ns // 1_000_000),
        organisation_id=ORGANISATION_ID,
        project_id=PROJECT_ID,
        session_id=_first(c.session_id for c in shown),
        tenant_id=_first(c.tenant_id for c in shown),
        user_id=_first(c.user_id for c in shown),
        environment=_first(c.environment for c in shown),
        models=list(dict.fromkeys(row.columns.model for row in rows if row.columns.model)),
        prompt_tokens=_sum(c.prompt_tokens for c in counted),
        completion_tokens=_sum(c.completion_tokens for c in counted),
        cached_tokens=_sum(c.cached_tokens for c in counted),
        total_tokens=_sum(c.total_tokens for c in counted),
        prompt_tokens_cost=_money(c.costs.prompt for c in counted),
        completion_tokens_cost=_money(c.costs.completion for c in counted),
        cached_tokens_cost=_money(c.costs.cached for c in counted),
        total_cost=_money(c.costs.total for c in counted),
        has_pii=any(c.pii is not None for c in shown),
        pii_entities=_union(c.pii.names for c in shown if c.pii),
        has_violation=any(c.violations is not None for c in shown),
        violations=_union(c.violations.names for c in shown if c.violations),
        has_error=any(row.has_error for row in rows),
        service=_first(c.service for c in shown),
    )
    metadata: dict[str, Any] = {}
    for columns in shown:
        metadata = {**(columns.metadata or {}), **metadata}
    return Summary(item, start_ns, end_ns, metadata)


class Usage(msgspec.Struct, frozen=True, gc=False):
    """The usage of a session or tenant. ``requests`` is the number of counted spans."""

    tokens: int
    requests: int
    sessions: int
    cost: float


def usage(rows: Iterable[Row]) -> Usage:
    """Return the usage in ``rows``, which all belong to one session or tenant."""
    counted = []
    sessions = set()
    for row in rows:
        if row.columns.session_id is not None:
            sessions.add(row.columns.session_id)
        if row.columns.counted:
            counted.append(row.columns)
    return Usage(
        tokens=_sum(c.total_tokens for c in counted) or 0,
        requests=len(counted),
        sessions=len(sessions),
        cost=_money(c.costs.total for c in counted) or 0.0,
    )


def _first(values: Iterable[_Found | None]) -> _Found | None:
    return next((value for value in values if value is not None), None)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _money(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(math.fsum(known), _DIGITS) if known else None


def _union(lists: Iterable[list[Any]]) -> list[Any]:
    union: list[Any] = []
    for found in lists:
        union += [value for value in found if value not in union]
    return union
