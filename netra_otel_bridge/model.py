"""The values that cross a border between the parts of the bridge.

What Netra answers carries the names of ``Netra.usage`` in netra-sdk 1.2.2 (``TraceSummary``, ``TraceSpan``,
``TracesPage`` ...), so that a script moves over by changing an import. Field types are as wide as what is known
of the API: see "Not known: be lenient" in ``docs/netra-api.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from netra_otel_bridge.errors import BridgeError, UsageError

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
    """An item of a page that is not a trace or a span at all: where it stood, why, and its JSON as it came."""

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
class SpanChunk:
    """A part of a stream of spans.

    ``resume_token`` leads behind these spans. ``problems`` says, a line each, what could not be read and is not there.
    """

    batch: SpanBatch
    resume_token: str
    problems: tuple[str, ...] = ()

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans; there may be none."""
        return self.batch.spans


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination answered that it took the whole batch; ``warning`` is what it said about it, if anything."""

    warning: str = ""


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


class HourSpent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the metered spans of a tenant that start in one UTC hour used: tokens, spans, and cost in US dollars."""

    tenant_id: str
    hour_ns: int
    tokens: int
    requests: int
    cost: float


class TraceSpent(msgspec.Struct, frozen=True, array_like=True):
    """What the spans of a trace cost that one destination has.

    ``hours`` are the sums of when all spans were last answered. ``untaken`` are the ids of spans that were answered and
    that the destination has not taken, or may not have: it refused some of a batch without saying which.
    """

    hours: tuple[HourSpent, ...] = ()
    untaken: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """What one destination has had of one trace.

    ``digest`` holds those of the summaries under which every span was answered (`progress`); ``None``: not yet.
    ``spans`` holds 12 bytes for each span that was answered: its id (8) and the CRC-32 of its encoding (4), big endian.
    """

    trace_id: str
    start_ns: int
    digest: bytes | None
    spans: bytes
    spent: TraceSpent = field(default_factory=TraceSpent)

    ENTRY_BYTES = 12


class KnownTrace(NamedTuple):
    """What is remembered of a trace, in short: `TraceRecord.digest`, the number of spans answered, and since when."""

    digest: bytes | None
    spans: int
    recorded_ns: int


class FinishedWindow(NamedTuple):
    """A window that was listed to the end with every trace in it answered, and when that was."""

    window: Window
    finished_ns: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A span that a destination will not take, or an item of Netra's that is none.

    ``document`` is one line: the span as OTLP JSON (``TracesData``), or the item as Netra sent it (``is_span`` false).
    """

    trace_id: str
    span_id: str
    reason: str
    document: str
    is_span: bool = True


@dataclass(slots=True)
class Progress:
    """What one transaction makes durable, for one destination.

    ``windows`` are finished: listed to the end, and every trace in them answered. ``watermark_ns`` says how far live
    traffic was followed. ``resolved`` are dead letters that were delivered after all. ``problem`` is what holds the
    lane up ("" for nothing); ``None`` leaves what is known.
    """

    traces: list[TraceRecord] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    watermark_ns: int | None = None
    dead_letters: list[DeadLetter] = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)
    delivered: int = 0
    refused: int = 0
    size_bytes: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """What the state knows of one destination; counts are those of its whole life. Times are 0 where there is none."""

    source: str
    destination: str
    watermark_ns: int
    delivered: int
    refused: int
    dead_lettered: int
    size_bytes: int
    traces: int
    windows: int
    updated_ns: int
    problem: str
    problem_since_ns: int
    reasons: tuple[tuple[str, int], ...]
    reconciled: tuple[Reconciliation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneHealth:
    """How one destination of the service is doing now. Counts are since the service started, times 0 where there is none.

    ``problem`` is what holds the lane up ("" for nothing) since ``problem_since_ns``; a lane that is ``stopped`` needs
    somebody. ``watermark_ns`` says how far live traffic was followed, ``checkpoint_ns`` when progress was last stored.
    """

    destination: str
    stopped: bool
    problem: str
    problem_since_ns: int
    watermark_ns: int
    checkpoint_ns: int
    passes: int
    read: int
    delivered: int
    refused: int
    dead_lettered: int
    size_bytes: int
    retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageHealth:
    """How the usage lane is doing now. It works since ``started_ns``; ``polled_ns`` is when all that was due was last asked
    for, 0 for never yet."""

    started_ns: int
    problem: str
    problem_since_ns: int
    polled_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHealth:
    """How the service is doing now. ``api_calls`` counts Netra's answers by HTTP status; 0 stands for no answer.

    There are no ``lanes`` where no traces are followed, and no ``usage`` where it is not polled.
    """

    now_ns: int
    lanes: tuple[LaneHealth, ...]
    api_calls: dict[int, int]
    api_retries: int
    usage: UsageHealth | None = None

    @property
    def ready(self) -> bool:
        """Whether each lane has done all of its work at least once, and nothing holds one up."""
        usage_ready = self.usage is None or bool(self.usage.polled_ns and not self.usage.problem)
        return usage_ready and all(lane.passes and not lane.problem for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Which traces of a range are meant; conditions are joined with "and", the trace ids among themselves with "or".

    Raises `UsageError` for what is of another type.
    """

    tenant_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    trace_ids: tuple[str, ...] = ()
    filters: tuple[TraceFilter, ...] = ()

    def __post_init__(self) -> None:
        for name in ("tenant_id", "session_id", "user_id"):
            if not isinstance(getattr(self, name), str | None):
                raise UsageError(
                    f"{name} of a query is of type {type(getattr(self, name)).__name__}", hint="give a text"
                )
        for name, kind in (("trace_ids", str), ("filters", TraceFilter)):
            given = getattr(self, name)
            if not isinstance(given, tuple | list) or not all(isinstance(one, kind) for one in given):
                what = "texts" if kind is str else "TraceFilter"
                raise UsageError(f"{name} of a query is no tuple of {what}", hint=f"write {name}=(...,)")
            object.__setattr__(self, name, tuple(given))


@dataclass(slots=True)
class LaneReport:
    """What one destination got, counted in spans but for ``traces``, ``listed`` and ``windows``.

    ``spans`` are those of the traces that were listed. Each is ``delivered``, ``refused`` (the destination did not say
    which), ``dead_lettered`` (it did: kept in the state with the reason), ``skipped`` (it had it before) or, when the
    lane ended with ``error``, none of these. ``changed`` of them were sent again because their content changed,
    ``trimmed`` were cut because the destination takes no more. ``unreadable`` items of Netra's pages are no spans or
    traces at all and are dead-lettered beside them; ``missing`` traces were asked for and are not there. ``bytes`` is
    the encoded size of what was delivered, ``retries`` counts batches that were sent again. ``final_windows`` were
    finished so long ago that they were not listed again. ``verified`` spans were read a second time. ``kept`` are dead
    letters of the same traces that were there before, and still are.
    """

    name: str
    traces: int = 0
    spans: int = 0
    delivered: int = 0
    refused: int = 0
    dead_lettered: int = 0
    skipped: int = 0
    changed: int = 0
    trimmed: int = 0
    unreadable: int = 0
    missing: int = 0
    bytes: int = 0
    listed: int = 0
    windows: int = 0
    final_windows: int = 0
    verified: int = 0
    kept: int = 0
    retries: int = 0
    problems: list[str] = field(default_factory=list)
    error: BridgeError | None = None

    @property
    def exit_code(self) -> int:
        """0 done; 3 something was refused, now or before, unreadable or missing; else that of ``error``."""
        if self.error is not None:
            return self.error.exit_code
        return 3 if self.refused or self.dead_lettered or self.kept or self.unreadable or self.missing else 0

    def add(self, other: LaneReport) -> None:
        """Add the counts of another pass to the same destination."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def verified_by(self, second: LaneReport) -> None:
        """Take in a second reading of the same range: what it sent was missing from the first."""
        for name in _SENT:
            setattr(self, name, getattr(self, name) + getattr(second, name))
        self.spans += second.spans - second.skipped
        self.verified = second.spans
        for problem in second.problems:
            self.note(problem)
        self.error = second.error

    def note(self, problem: str) -> None:
        """Keep a line about something that was refused or unreadable; after `MAX_PROBLEMS` they are only counted."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


_SENT = ("delivered", "refused", "dead_lettered", "changed", "trimmed", "unreadable", "missing", "bytes", "retries")
_COUNTS = tuple(one.name for one in fields(LaneReport) if one.type == "int")


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay did; ``window`` is ``None`` where dead letters were sent again.

    ``retries`` are those of calls to Netra and of batches. ``notes`` counts what conversion had to mark or drop, by the words of ``netra.bridge.notes``.
    """

    window: Window | None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What the spans that a destination has cost a tenant, and what Netra's usage call reports for the same hours.

    Costs are in US dollars. Netra was asked at ``asked_ns``.
    """

    tenant_id: str
    window: Window
    replayed_tokens: Number
    replayed_cost: float
    reported_tokens: Number
    reported_cost: float
    asked_ns: int

    @property
    def agrees(self) -> bool:
        """Whether both figures are the same, but for the rounding of sums."""
        return _same(self.replayed_tokens, self.reported_tokens) and _same(self.replayed_cost, self.reported_cost)


def _same(replayed: Number, reported: Number) -> bool:
    return math.isclose(replayed, reported, rel_tol=1e-6, abs_tol=1e-9)
