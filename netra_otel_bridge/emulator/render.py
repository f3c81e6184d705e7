"""Render a span as an item of the API, in the forms that the bridge must be able to convert back.

Netra's documentation says only that these fields are text. The emulator writes the richest form that this allows:

=========================  ==========================================================================================
field                      form
=========================  ==========================================================================================
start_time_ms end_time_ms  epoch milliseconds with a fraction to the nanosecond; no fraction when it is zero
kind                       Netra's type where it implies the recorded OTel kind, else the OTel kind's name
status                     ``OK`` ``ERROR`` ``UNSET``; with a message ``{"code": "ERROR", "message": "..."}`` as JSON
has_error                  whether the status is ERROR. False for a decorated function that raises: netra-sdk leaves
                           its status UNSET with an ``exception`` event, and the flag never contradicts the status
attributes resources       a flat JSON object if that loses nothing (text, booleans, integers, finite floats, and
                           arrays of one of those); otherwise the whole list as OTLP JSON key/values
events                     a JSON list of ``{"name", "time_unix_nano", "attributes"}``, the time as text
links                      a JSON list of ``{"trace_id", "span_id", "attributes"}``
=========================  ==========================================================================================

``attributes``, ``events``, ``links`` and ``resources`` are JSON inside a JSON string, as the SDK declares them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from netra_otel_bridge.emulator.api_format import epoch_iso, epoch_ms, pack_cursor, to_json, to_json_bytes
from netra_otel_bridge.emulator.span_columns import Columns, derive_columns
from netra_otel_bridge.emulator.spans import Event, Link, Span

ORGANISATION_ID = "org-local"
PROJECT_ID = "project-local"
_STATUS = {0: "UNSET", 1: "OK", 2: "ERROR"}
_ERROR = 2


class SpanItem(msgspec.Struct, frozen=True, gc=False):
    """The fields of ``TraceSpan`` in netra-sdk 1.2.2, in its order."""

    id: str
    trace_id: str
    name: str
    kind: str
    parent_span_id: str | None
    latency_ms: int
    start_time_ms: str
    end_time_ms: str
    organisation_id: str
    project_id: str
    session_id: str | None
    tenant_id: str | None
    user_id: str | None
    environment: str | None
    model_name: str | None
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
    pii_actions: dict[str, Any] | None
    has_violation: bool
    violations: list[Any]
    violation_actions: dict[str, Any] | None
    status: str
    attributes: str
    events: str
    links: str
    resources: str
    metadata: dict[str, Any] | None
    has_error: bool
    created_at: str
    cursor: str


class Row(msgspec.Struct, frozen=True, gc=False):
    """A span as the store keeps it: the values that queries need, and its item as JSON."""

    start_ns: int
    end_ns: int
    span_id: str
    parent_id: str
    name: str
    has_error: bool
    columns: Columns
    created_at: str
    body: bytes

    @property
    def key(self) -> tuple[int, str]:
        """Return the sort key of the span in its trace: start, then id."""
        return (self.start_ns, self.span_id)


def row(span: Span, created_at: str | None = None) -> Row:
    """Render ``span``. ``created_at`` is when Netra received it; by default the end of the span."""
    shown = derive_columns(span)
    created = created_at or epoch_iso(span.end_ns // 1_000_000)
    return Row(
        span.start_ns,
        span.end_ns,
        span.span_id,
        span.parent_id,
        span.name,
        span.status_code == _ERROR,
        shown,
        created,
        to_json_bytes(_item(span, shown, created)),
    )


def _item(span: Span, shown: Columns, created_at: str) -> SpanItem:
    costs = shown.costs
    return SpanItem(
        id=span.span_id,
        trace_id=span.trace_id,
        name=span.name,
        kind=shown.kind,
        parent_span_id=span.parent_id or None,
        latency_ms=(span.end_ns - span.start_ns) // 1_000_000,
        start_time_ms=epoch_ms(span.start_ns),
        end_time_ms=epoch_ms(span.end_ns),
        organisation_id=ORGANISATION_ID,
        project_id=PROJECT_ID,
        session_id=shown.session_id,
        tenant_id=shown.tenant_id,
        user_id=shown.user_id,
        environment=shown.environment,
        model_name=shown.model,
        prompt_tokens=shown.prompt_tokens,
        completion_tokens=shown.completion_tokens,
        cached_tokens=shown.cached_tokens,
        total_tokens=shown.total_tokens,
        prompt_tokens_cost=costs.prompt,
        completion_tokens_cost=costs.completion,
        cached_tokens_cost=costs.cached,
        total_cost=costs.total,
        has_pii=shown.pii is not None,
        pii_entities=shown.pii.names if shown.pii else [],
        pii_actions=shown.pii.actions if shown.pii else None,
        has_violation=shown.violations is not None,
        violations=shown.violations.names if shown.violations else [],
        violation_actions=shown.violations.actions if shown.violations else None,
        status=_status(span),
        attributes=to_json(span.attributes.json_value()),
        events=to_json([_event(event) for event in span.events]) if span.events else "[]",
        links=to_json([_link(link) for link in span.links]) if span.links else "[]",
        resources=span.resource.text,
        metadata=shown.metadata,
        has_error=span.status_code == _ERROR,
        created_at=created_at,
        cursor=pack_cursor([span.start_ns, span.span_id]),
    )


def _status(span: Span) -> str:
    code = _STATUS.get(span.status_code, "UNSET")
    return to_json({"code": code, "message": span.status_message}) if span.status_message else code


def _event(event: Event) -> dict[str, Any]:
    return {
        "name": event.name,
        "time_unix_nano": str(event.time_ns),
        "attributes": event.attributes.json_value(),
    }


def _link(link: Link) -> dict[str, Any]:
    return {"trace_id": link.trace_id, "span_id": link.span_id, "attributes": link.attributes.json_value()}
