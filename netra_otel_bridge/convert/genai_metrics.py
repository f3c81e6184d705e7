"""Values of one span for the GenAI client histograms of the semantic conventions, version 1.41.

In every profile, the conventions' labels are those of the delivered span (``docs/mapping.md``, GenAI): the value that
the application recorded under that name, else Netra's column, else an attribute of the same meaning. For tenant,
environment and token counts Netra's columns come first: they are compared with Netra's usage, and the conventions ask
for billed tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from netra_otel_bridge.convert import fields, semconv
from netra_otel_bridge.convert.attributes import Attributes, as_count, attributes_of, events_of, read_container
from netra_otel_bridge.convert.llm import add_facts, read_call
from netra_otel_bridge.convert.semconv import TENANT_ID
from netra_otel_bridge.core.json_bounds import holds_more_values
from netra_otel_bridge.core.json_text import MAX_VALUES, clean_text
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary

TOKENS_USED = "gen_ai.client.token.usage"
OPERATION_DURATION = "gen_ai.client.operation.duration"
TOKENS_TYPE = "gen_ai.token.type"
ENVIRONMENT = "deployment.environment.name"
MAX_LABEL_CHARS = 256
"""Maximum length of a label; a longer one is truncated.

No real model or tenant has such a long name, and the service keeps labels until it ends.
"""
KINDS = frozenset({"GENERATION", "EMBEDDING"})
_NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram of the conventions: name, unit, help text, and bucket boundaries."""

    name: str
    unit: str
    description: str
    boundaries: tuple[float, ...]


HISTOGRAMS = (
    Histogram(
        TOKENS_USED,
        "{token}",
        "Tokens that one call to a model used, by gen_ai.token.type (input or output); live calls only",
        tuple(4**power for power in range(14)),
    ),
    Histogram(
        OPERATION_DURATION,
        "s",
        "Duration of one call to a model; live calls only",
        tuple(2**power / 100 for power in range(14)),
    ),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One value for the histogram ``instrument``: tokens, or seconds."""

    instrument: str
    value: float
    attributes: dict[str, str]


def measurements(trace: TraceSummary, span: TraceSpan) -> list[Measurement]:
    """Return a span's duration and its tokens of each type, without values that are unknown or negative.

    Only calls to a model count: spans of type GENERATION or EMBEDDING. The conventions require a provider, which a tool
    does not have; an agent would count its calls twice; and conventions later than 1.41 have separate instruments for
    both. ``trace`` supplies a missing environment, but no tenant: a trace can hold spans of several tenants.
    """
    decoded, _ = read_container(span.attributes)
    attributes = attributes_of(decoded) or {}
    kind = semconv.effective_kind(_netra_kind(span.kind), attributes)
    if kind is None or kind not in KINDS:
        return []
    call = read_call(attributes, span, kind)
    counts = (
        ("input", _tokens(span.prompt_tokens, call.facts.get("input_tokens"))),
        ("output", _tokens(span.completion_tokens, call.facts.get("output_tokens"))),
    )
    seconds = _duration_s(span)
    add_facts(attributes, call)
    labels = dict(_labels(trace, span, kind, attributes))
    found = [
        Measurement(TOKENS_USED, count, {**labels, TOKENS_TYPE: name})
        for name, count in counts
        if count is not None and count >= 0
    ]
    if seconds is not None:
        failed = {semconv.ERROR_TYPE: _error_type(span, attributes)} if fields.is_error(span) else {}
        found.append(Measurement(OPERATION_DURATION, seconds, {**labels, **failed}))
    return found


def may_be_measured(span: TraceSpan) -> bool:
    """Return whether a span may be a call to a model. If false, `measurements` is empty; this check is much cheaper."""
    netra_kind = _netra_kind(span.kind)
    if netra_kind in KINDS:
        return True
    if not span.attributes or netra_kind not in (None, "SPAN"):
        return False
    if not isinstance(span.attributes, str):
        return True
    if holds_more_values(span.attributes, MAX_VALUES):
        return False
    try:
        hints = _hints.decode(span.attributes)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return True
    if hints.operation is not None or hints.request_type is not None:
        return True
    return isinstance(hints.type, str) and hints.type.upper() in KINDS


class _Hints(msgspec.Struct, gc=False):
    """The attributes that `semconv.effective_kind` reads; decoding skips all others, which are most of a span."""

    type: Any = msgspec.field(default=None, name="netra.span.type")
    operation: Any = msgspec.field(default=None, name=semconv.OPERATION_NAME)
    request_type: Any = msgspec.field(default=None, name="llm.request.type")


_hints = msgspec.json.Decoder(_Hints)


@lru_cache(maxsize=256)
def _netra_kind(kind: str | int | None) -> str | None:
    return fields.span_kind(kind)[1]


def _labels(trace: TraceSummary, span: TraceSpan, kind: str, attributes: Attributes) -> Iterator[tuple[str, str]]:
    for name, value in (
        (semconv.OPERATION_NAME, _label(attributes.get(semconv.OPERATION_NAME)) or semconv.OPERATION_OF_KIND[kind]),
        (semconv.PROVIDER_NAME, _label(attributes.get(semconv.PROVIDER_NAME))),
        (semconv.REQUEST_MODEL, _label(attributes.get(semconv.REQUEST_MODEL))),
        (semconv.RESPONSE_MODEL, _label(attributes.get(semconv.RESPONSE_MODEL))),
        (TENANT_ID, _label(span.tenant_id or attributes.get(TENANT_ID))),
        (ENVIRONMENT, _label(span.environment or trace.environment)),
    ):
        if value:
            yield name, value


def _tokens(column: Any, recorded: Any) -> Any:
    """Return Netra's count, which is what was billed, else the recorded one."""
    billed = as_count(column)
    return recorded if billed is None else billed


def _label(value: Any) -> str:
    return clean_text(value)[:MAX_LABEL_CHARS] if isinstance(value, str) else ""


def _duration_s(span: TraceSpan) -> float | None:
    """Return end minus start, else ``latency_ms``; ``None`` if neither is known."""
    start_ns, end_ns = fields.instant_ns(span.start_time_ms), fields.instant_ns(span.end_time_ms)
    if start_ns is not None and end_ns is not None and 0 < start_ns <= end_ns <= fields.MAX_NS:
        return (end_ns - start_ns) / _NS_PER_S
    latency_ns = fields.latency_ns(span.latency_ms)
    return None if latency_ns is None else latency_ns / _NS_PER_S


def _error_type(span: TraceSpan, attributes: Attributes) -> str:
    recorded = _label(attributes.get(semconv.ERROR_TYPE))
    if recorded:
        return recorded
    decoded, readable = read_container(span.events)
    events, _ = events_of(decoded, 0) if readable and decoded else ([], 0)
    types = (_label((event.attributes or {}).get("exception.type")) for event in events)
    return next(filter(None, types), "_OTHER")
