"""From a batch to an answer for every span in it: wait, halve, bisect; the destination itself only says what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from netra_otel_bridge.clock import Backoff, Clock
from netra_otel_bridge.deliver.batching import batch_of
from netra_otel_bridge.deliver.destination import Destination
from netra_otel_bridge.errors import (
    DestinationMisconfigured,
    DestinationRefuses,
    DestinationUnauthorized,
    DestinationUnavailable,
)
from netra_otel_bridge.model import Delivered, Misconfigured, PartlyRefused, Refused, Retry, SpanBatch, TooLarge

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

REFUSED_SHARE = 0.2
REFUSED_AT_LEAST = 100
"""More than a fifth refused, and at least this many: the destination does not want this kind of span; stop."""


@dataclass(slots=True)
class Answer:
    """What became of one batch: spans and bytes that were taken, spans that were refused, and a line about each of those."""

    delivered: int = 0
    size_bytes: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)


class Sender:
    """Sends batches to one destination until each span is delivered or refused."""

    def __init__(
        self, destination: Destination, *, backoff: Backoff, clock: Clock, on_retry: Callable[[str, float], None]
    ) -> None:
        self._destination = destination
        self._backoff = backoff
        self._clock = clock
        self._on_retry = on_retry
        self._answered = 0
        self._refused = 0

    async def send(self, batch: SpanBatch, answer: Answer) -> None:
        """Fill in ``answer`` for every span of ``batch``, as far as it goes.

        A batch that is too large or refused is halved until what is refused is a single span. Raises
        `DestinationUnavailable` after the last attempt, `DestinationUnauthorized`, `DestinationMisconfigured`, and
        `DestinationRefuses` when more than a fifth of all spans is refused; ``answer`` then says what came before.
        """
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            outcome = await self._outcome(part)
            match outcome:
                case Delivered():
                    self._count(answer, part, 0)
                case PartlyRefused(refused, reason):
                    answer.problems.append(f"{refused} of {len(part.spans)} spans of a batch were refused: {reason}")
                    self._count(answer, part, refused, reason)
                case TooLarge(reason) | Refused(reason) if len(part.spans) == 1:
                    answer.problems.append(f"span {_name(part.spans[0])} was refused: {reason}")
                    self._count(answer, part, 1, reason)
                case TooLarge() | Refused():
                    middle = len(part.spans) // 2
                    waiting += [batch_of(part.spans[middle:]), batch_of(part.spans[:middle])]

    async def _outcome(self, batch: SpanBatch) -> Delivered | PartlyRefused | TooLarge | Refused:
        name = self._destination.name
        attempt = 0
        while True:
            outcome = await self._destination.send(batch)
            match outcome:
                case Delivered() | PartlyRefused() | TooLarge() | Refused():
                    return outcome
                case Retry(reason, after_s):
                    attempt += 1
                    if attempt >= self._backoff.attempts:
                        raise DestinationUnavailable(
                            f"{name}: did not take a batch of {len(batch.spans)} spans in {attempt} tries: {reason}",
                            hint="is it running, is this its address, and does it want TLS?",
                        )
                    delay_s = self._backoff.delay_s(attempt - 1, after_s)
                    self._on_retry(reason, delay_s)
                    await self._clock.sleep(delay_s)
                case Misconfigured(reason, unauthorized):
                    if unauthorized:
                        raise DestinationUnauthorized(
                            f"{name}: refuses the credentials: {reason}",
                            hint="set OTEL_EXPORTER_OTLP_HEADERS, or ask who runs it",
                        )
                    raise DestinationMisconfigured(
                        f"{name}: {reason}", hint="check the address, the protocol (grpc or http) and TLS"
                    )
                case _:
                    assert_never(outcome)

    def _count(self, answer: Answer, part: SpanBatch, refused: int, reason: str = "") -> None:
        answer.refused += refused
        answer.delivered += len(part.spans) - refused
        answer.size_bytes += part.size_bytes if refused < len(part.spans) else 0
        self._answered += len(part.spans)
        self._refused += refused
        if self._refused >= REFUSED_AT_LEAST and self._refused > REFUSED_SHARE * self._answered:
            raise DestinationRefuses(
                f"{self._destination.name}: refused {self._refused} of {self._answered} spans, last: {reason}",
                hint="it does not take spans like these; nothing more was sent",
            )


def _name(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x} of trace {span.context.trace_id:032x}"
