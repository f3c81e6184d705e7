"""Batches of spans and what a destination answers to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


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
