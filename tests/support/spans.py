"""Spans built by hand for tests of delivery: a test chooses every field, and no SDK invents any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, TraceFlags, TraceState

RESOURCE = Resource({"service.name": "assistant", "deployment.environment.name": "staging"})
SCOPE = InstrumentationScope("netra.instrumentation.openai", "1.95.1")
START_NS = 1_747_000_000_123_456_789


def context(trace_id: int, span_id: int, *, remote: bool = False, state: TraceState | None = None) -> SpanContext:
    """Return a sampled span context."""
    return SpanContext(trace_id, span_id, remote, TraceFlags(TraceFlags.SAMPLED), state)


def make_span(
    number: int = 1,
    *,
    trace_id: int = 0xABCD,
    parent: int | None = None,
    name: str | None = None,
    kind: SpanKind = SpanKind.CLIENT,
    attributes: Mapping[str, object] | None = None,
    events: Sequence[Event] = (),
    links: Sequence[Link] = (),
    status: Status | None = None,
    start_ns: int = START_NS,
    end_ns: int | None = None,
    resource: Resource = RESOURCE,
    scope: InstrumentationScope | None = SCOPE,
    remote_parent: bool = False,
    state: TraceState | None = None,
) -> ReadableSpan:
    """Return a span whose id is ``number``; it lasts 1.5 ms by default."""
    return ReadableSpan(
        name if name is not None else f"span {number}",
        context(trace_id, number, state=state),
        context(trace_id, parent, remote=remote_parent) if parent is not None else None,
        resource,
        attributes,  # type: ignore[arg-type]  # wider than the SDK's type on purpose
        events,
        links,
        kind,
        status=status or Status(),
        start_time=start_ns,
        end_time=end_ns if end_ns is not None else start_ns + 1_500_000,
        instrumentation_scope=scope,
    )
