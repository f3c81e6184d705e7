"""From a batch to an answer for every span in it: wait, halve, bisect; the destination itself only says what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from netra_otel_bridge.model import Delivered, Misconfigured, Refused, Retry, SpanBatch, TooLarge

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

REFUSED_SHARE = 0.2
REFUSED_AT_LEAST = 100
"""More than a fifth refused, and at least this many: the destination does not want this kind of span; stop."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one batch: the bytes and spans that were taken, and each span that was refused, with the reason."""

    delivered: int
    size_bytes: int
    refused: tuple[tuple[ReadableSpan, str], ...]


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

    async def send(self, batch: SpanBatch) -> Answer:
        """The answer for every span of ``batch``.

        A batch that is too large or refused is halved until what is refused is a single span. Raises
        `DestinationUnavailable` after the last attempt, `DestinationUnauthorized`, `DestinationMisconfigured`, and
        `DestinationRefuses` when more than a fifth of all spans is refused; nothing of a batch that raised counts.
        """
        delivered = size_bytes = 0
        refused: list[tuple[ReadableSpan, str]] = []
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            answer = await self._answer(part)
            if isinstance(answer, Delivered):
                delivered += len(part.spans)
                size_bytes += part.size_bytes
                self._count(part, refused=0)
            elif len(part.spans) > 1:
                middle = len(part.spans) // 2
                waiting += [batch_of(part.spans[middle:]), batch_of(part.spans[:middle])]
            else:
                refused.append((part.spans[0], answer.reason))
                self._count(part, refused=1, reason=answer.reason)
        return Answer(delivered, size_bytes, tuple(refused))

    async def _answer(self, batch: SpanBatch) -> Delivered | TooLarge | Refused:
        name = self._destination.name
        attempt = 0
        while True:
            outcome = await self._destination.send(batch)
            match outcome:
                case Delivered() | TooLarge() | Refused():
                    return outcome
                case Retry(reason, after_s):
                    attempt += 1
                    if attempt >= self._backoff.attempts:
                        raise DestinationUnavailable(
                            f"{name}: did not take a batch of {len(batch.spans)} spans in {attempt} tries: {reason}",
                            hint="is it running, and is this its address?",
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

    def _count(self, part: SpanBatch, *, refused: int, reason: str = "") -> None:
        self._answered += len(part.spans)
        self._refused += refused
        if self._refused >= REFUSED_AT_LEAST and self._refused > REFUSED_SHARE * self._answered:
            raise DestinationRefuses(
                f"{self._destination.name}: refused {self._refused} of {self._answered} spans, last: {reason}",
                hint="it does not take spans like these; nothing more was sent",
            )
