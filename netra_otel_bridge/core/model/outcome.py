"""Batches of spans, and the outcomes of sending them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


@dataclass(frozen=True, slots=True)
class SpanBatch:
    """Spans that are sent in one request.

    ``encoded`` holds the OTLP protobuf of each span (`deliver.otlp.encode.encode_span`). ``size_bytes`` is an upper bound
    of the size of the whole request.
    """

    spans: tuple[ReadableSpan, ...]
    encoded: tuple[bytes, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SpanChunk:
    """A part of a stream of spans.

    ``resume_token`` resumes after these spans. ``problems`` has a line for each item that could not be read.
    """

    batch: SpanBatch
    resume_token: str
    problems: tuple[str, ...] = ()

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Return the spans; there may be none."""
        return self.batch.spans


RejectionCause = Literal["span", "full trace", "defect"]
"""The cause of a rejection.

With ``span``, one of the spans may be at fault. With ``full trace``, their trace is full at the destination. With
``defect``, an exporter, processor or function raised an exception, which may have nothing to do with any span.
"""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination accepted the whole batch; ``warning`` is its warning, if any."""

    warning: str = ""


@dataclass(frozen=True, slots=True)
class PartlyRefused:
    """The destination accepted the batch except ``refused`` spans, without saying which (OTLP partial success)."""

    refused: int
    reason: str
    cause: RejectionCause = "span"
    hint: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Retry:
    """The destination did not accept the batch this time.

    ``after_s`` is the delay in seconds that it asked for. ``cut`` says that an open connection ended without an answer,
    which is how some proxies reject a request that is too large for them. ``answered`` says that it answered with an
    error of its own (HTTP 500), whose cause may be a span in the batch.
    """

    reason: str
    after_s: float | None = None
    cut: bool = False
    hint: str = field(default="", compare=False)
    answered: bool = False


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The request is larger than the destination accepts; a smaller one may pass.

    ``limit_bytes`` is the largest request that it accepts, if it says so.
    """

    reason: str
    limit_bytes: int | None = None
    hint: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The destination will never accept this batch as it is; one span in it may be at fault."""

    reason: str
    cause: RejectionCause = "span"
    hint: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """The destination accepts no batch until someone changes the configuration; ``unauthorized`` if credentials are wrong."""

    reason: str
    unauthorized: bool = False
    hint: str = field(default="", compare=False)


Outcome = Delivered | PartlyRefused | Retry | TooLarge | Refused | Misconfigured
"""The result of sending one batch. ``hint`` says what a person can do about it, if the reason does not."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of inspecting a destination without sending to it.

    ``found`` is one line on what was found, ``unknown`` one on what is unknown. ``sure`` is false if only a span would
    tell whether the destination accepts spans.
    """

    found: str
    unknown: str = ""
    sure: bool = True


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A span that a destination never accepts, or an item from Netra that is not a span (``is_span`` is false).

    ``document`` is one line: the span as OTLP JSON (``TracesData``), or the item as Netra sent it.
    """

    trace_id: str
    span_id: str
    reason: str
    document: str
    is_span: bool = True
