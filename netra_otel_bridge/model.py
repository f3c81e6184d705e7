"""The values that cross a border between the parts of the bridge.

What Netra answers carries the names of ``Netra.usage`` in netra-sdk 1.2.2 (``TraceSummary``, ``TraceSpan``,
``TracesPage`` ...), so that a script moves over by changing an import. Field types are as wide as what is known
of the API: see "Not known: be lenient" in ``docs/netra-api.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from netra_otel_bridge.errors import BridgeError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

MAX_PROBLEMS = 20
Number = int | float
Instant = str | int | float
"""A time as Netra writes it: epoch milliseconds or ISO 8601, as text or number."""
JsonText = str | dict[str, Any] | list[Any]
"""JSON in a string, or already decoded."""


class SessionUsageData(msgspec.Struct, frozen=True, kw_only=True):
    """What one session used in a range of time. ``total_cost`` is in US dollars."""

    session_id: str
    token_count: Number
    request_count: Number
    total_cost: float


class TenantUsageData(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant used in a range of time. ``total_cost`` is in US dollars."""

    tenant_id: str
    organisation_id: str | None
    token_count: Number
    request_count: Number
    session_count: Number
    total_cost: float


class TraceSummary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One trace as the trace list shows it. It holds no count of spans.

    ``start_time`` and ``end_time`` are Netra's own text; costs are in US dollars, ``latency_ms`` in milliseconds.
    ``unreadable`` names the fields whose value had a type that no rule covers; they are ``None`` here.
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
    US dollars. ``unreadable`` names the fields whose value had a type that no rule covers; they are ``None`` here.
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
    """An item of a page that is not a trace or a span at all: where it stood, and why."""

    path: str
    reason: str


class TracesPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of traces. ``next_cursor`` is the last item's; a page without items has none."""

    traces: list[TraceSummary]
    has_next_page: bool
    next_cursor: str | None = None
    unreadable: tuple[UnreadableItem, ...] = ()


class SpansPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a trace's spans. ``next_cursor`` is the last item's; a page without items has none."""

    spans: list[TraceSpan]
    has_next_page: bool
    next_cursor: str | None = None
    unreadable: tuple[UnreadableItem, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """A condition on traces, as the trace query takes it.

    ``operator`` and ``type`` are the service's words (``equals``, ``any_of`` ...; ``string``, ``number``,
    ``boolean``, ``arrayOptions``, ``object``); ``key`` names the entry of ``metadata`` to look at.
    """

    field: str
    value: str | float | bool | list[str]
    operator: str = "equals"
    type: str = "string"
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A range of time ``[start_ns, end_ns)``, in nanoseconds since the epoch."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class SpanBatch:
    """Spans that travel in one request.

    ``encoded`` holds each span's OTLP protobuf (`deliver.wire.encode_span`); ``size_bytes`` is an upper bound of the
    whole request's.
    """

    spans: tuple[ReadableSpan, ...]
    encoded: tuple[bytes, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination answered that it took the whole batch."""


@dataclass(frozen=True, slots=True)
class PartlyRefused:
    """The destination took the batch but for ``refused`` spans, without saying which (OTLP partial success)."""

    refused: int
    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Not taken this time; ``after_s`` is the wait the destination asked for."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The request is larger than the destination takes; a smaller one may pass."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The destination will never take this batch as it is; one span in it may be to blame."""

    reason: str


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """No batch will be taken until somebody changes the configuration."""

    reason: str
    unauthorized: bool = False


Outcome = Delivered | PartlyRefused | Retry | TooLarge | Refused | Misconfigured
"""What a destination answered to one batch."""


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Which traces of a range are meant; conditions are joined with "and", the trace ids among themselves with "or"."""

    tenant_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    trace_ids: tuple[str, ...] = ()
    filters: tuple[TraceFilter, ...] = ()


@dataclass(slots=True)
class LaneReport:
    """What one destination got, counted in spans but for ``traces``.

    ``spans`` were read and converted; each of them is ``delivered``, ``refused`` by the destination, or, when the lane
    ended with ``error``, neither. ``skipped`` spans belong to another window or were listed twice. ``unreadable`` counts
    items of Netra's pages that are no spans or traces at all. ``bytes`` is the encoded size of what was delivered.
    """

    name: str
    traces: int = 0
    spans: int = 0
    delivered: int = 0
    refused: int = 0
    skipped: int = 0
    unreadable: int = 0
    bytes: int = 0
    listed: int = 0
    windows: int = 0
    problems: list[str] = field(default_factory=list)
    error: BridgeError | None = None

    @property
    def exit_code(self) -> int:
        if self.error is not None:
            return self.error.exit_code
        return 3 if self.refused or self.unreadable else 0

    def note(self, problem: str) -> None:
        """Keep a line about something that was refused or unreadable; after `MAX_PROBLEMS` they are only counted."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay did. ``notes`` counts what conversion had to mark or drop, by the words of ``netra.bridge.notes``."""

    window: Window
    destinations: tuple[LaneReport, ...]
    api_calls: int
    retries: int
    seconds: float
    notes: dict[str, int]

    @property
    def exit_code(self) -> int:
        """0 done; 3 something was refused or unreadable; else the code of the first destination that failed."""
        codes = [lane.exit_code for lane in self.destinations]
        return next((code for code in codes if code not in (0, 3)), max(codes, default=0))


@dataclass(frozen=True, slots=True)
class ReplayEstimate:
    """What a replay would cost. ``traces`` is counted; the rest is reckoned from ``sampled_traces`` that were read."""

    window: Window
    traces: int
    sampled_traces: int
    spans: int
    bytes: int
    api_calls: int
    seconds: float
