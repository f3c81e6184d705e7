"""Results of Netra's usage and trace calls.

The names are those of ``Netra.usage`` in netra-sdk 1.2.2 (``TraceSummary``, ``TraceSpan``, ``TracesPage`` ...), so that
a script can switch by changing an import. Field types are as permissive as the API is known to require: see "Not known:
be lenient" in ``docs/netra-api.md``.
"""

from __future__ import annotations

from typing import Any

import msgspec

Number = int | float
Instant = str | int | float
"""A time in Netra's form: epoch milliseconds or ISO 8601, as text or number."""
JsonText = str | dict[str, Any] | list[Any]
"""JSON in a string, or decoded."""


class SessionUsageData(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of one session in a range of time. ``total_cost`` is in US dollars."""

    session_id: str
    token_count: Number
    request_count: Number
    total_cost: float


class TenantUsageData(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of one tenant in a range of time. ``total_cost`` is in US dollars."""

    tenant_id: str
    organisation_id: str | None
    token_count: Number
    request_count: Number
    session_count: Number
    total_cost: float


class TraceSummary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One trace as the trace list shows it, without a count of spans.

    ``start_time`` and ``end_time`` are Netra's own text; costs are in US dollars, ``latency_ms`` in milliseconds.
    ``unreadable`` names the fields that could not be converted to the documented type; they are ``None``.
    """

    id: str
    name: str | None = None
    kind: str | int | None = None
    latency_ms: Number | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None
    cursor: str | None = None
    organisation_id: str | None = None
    project_id: str | None = None
    session_id: str | None = None
    tenant_id: str | None = None
    user_id: str | None = None
    environment: str | None = None
    models: list[Any] | None = None
    prompt_tokens: Number | None = None
    completion_tokens: Number | None = None
    cached_tokens: Number | None = None
    total_tokens: Number | None = None
    prompt_tokens_cost: Number | None = None
    completion_tokens_cost: Number | None = None
    cached_tokens_cost: Number | None = None
    total_cost: Number | None = None
    has_pii: bool | None = None
    pii_entities: list[Any] | None = None
    has_violation: bool | None = None
    violations: list[Any] | None = None
    has_error: bool | None = None
    service: str | None = None
    unreadable: tuple[str, ...] = ()


class TraceSpan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One span as Netra stores it. ``attributes``, ``events``, ``links`` and ``resources`` are JSON in a string.

    Times are epoch milliseconds as text, with a fraction down to the nanosecond where Netra kept it; costs are in
    US dollars. ``unreadable`` names the fields that could not be converted to the documented type; they are ``None``.
    """

    id: str
    trace_id: str
    name: str | None = None
    kind: str | int | None = None
    parent_span_id: str | None = None
    latency_ms: Number | None = None
    start_time_ms: Instant | None = None
    end_time_ms: Instant | None = None
    organisation_id: str | None = None
    project_id: str | None = None
    session_id: str | None = None
    tenant_id: str | None = None
    user_id: str | None = None
    environment: str | None = None
    model_name: str | None = None
    prompt_tokens: Number | None = None
    completion_tokens: Number | None = None
    cached_tokens: Number | None = None
    total_tokens: Number | None = None
    prompt_tokens_cost: Number | None = None
    completion_tokens_cost: Number | None = None
    cached_tokens_cost: Number | None = None
    total_cost: Number | None = None
    has_pii: bool | None = None
    pii_entities: JsonText | None = None
    pii_actions: JsonText | None = None
    has_violation: bool | None = None
    violations: JsonText | None = None
    violation_actions: JsonText | None = None
    status: JsonText | int | None = None
    attributes: JsonText | None = None
    events: JsonText | None = None
    links: JsonText | None = None
    resources: JsonText | None = None
    metadata: JsonText | None = None
    has_error: bool | None = None
    created_at: Instant | None = None
    cursor: str | None = None
    unreadable: tuple[str, ...] = ()


class UnreadableItem(msgspec.Struct, frozen=True):
    """An item of a page that is not a trace or a span: its JSON path, the reason, and its JSON as received."""

    path: str
    reason: str
    json: str = ""


class TracesPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of traces. ``next_cursor`` is the last item's; a page without items has none."""

    traces: list[TraceSummary]
    has_next_page: bool
    next_cursor: str | None = None
    unreadable: tuple[UnreadableItem, ...] = ()


class SpansPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a trace's spans. ``next_cursor`` is the last item's; a page without items has none.

    ``size_bytes`` is the size of the decoded answer.
    """

    spans: list[TraceSpan]
    has_next_page: bool
    next_cursor: str | None = None
    unreadable: tuple[UnreadableItem, ...] = ()
    size_bytes: int = 0
