"""From a batch to an answer for every span in it: wait, halve, bisect, trim; the destination only says what it is asked.

    Retry          the same batch again, after a growing wait; halved where it seems that it is cut off for its size
    TooLarge       two halves by size; a single span is trimmed, and dead when there is nothing left to trim
    Refused        two halves, whole traces first; a single span is dead, and so is the rest of a trace that is full
    Misconfigured  the lane ends, or, where it is patient, waits as long as it may

Memory is bounded by the batch: its parts, and what is kept of full traces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, assert_never

from netra_otel_bridge.core.clock import Backoff, Clock
from netra_otel_bridge.core.errors import (
    DestinationError,
    DestinationMisconfigured,
    DestinationRefuses,
    DestinationUnauthorized,
    DestinationUnavailable,
)
from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    PartlyRefused,
    Refused,
    Retry,
    SpanBatch,
    TooLarge,
)
from netra_otel_bridge.deliver import hints
from netra_otel_bridge.deliver.answers import is_cut, named_limit_bytes, names_full_trace
from netra_otel_bridge.deliver.batching import (
    CUT_BYTES,
    CUTS,
    MIN_BYTES,
    Batch,
    Item,
    Owner,
    batch_of,
    halves_by_size,
    halves_by_trace,
)
from netra_otel_bridge.deliver.destination import Destination
from netra_otel_bridge.deliver.otlp.client import OtlpGrpcDestination, OtlpHttpDestination
from netra_otel_bridge.deliver.otlp.encode import ids_of
from netra_otel_bridge.deliver.trim import MAX_TRIMS, trim

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

REFUSED_SHARE = 0.2
REFUSED_AT_LEAST = 100
"""More than a fifth refused, and at least this many: the destination does not want this kind of span; stop."""
WINDOW_SPANS = 10_000
"""When so many were answered, both counts are halved: the share is that of lately, not of a year."""
RAISED_AFTER = 8
"""Batches near a limit that was only inferred, after which twice as much is tried; twice as many each time it is cut."""
_MAX_FULL_TRACES = 10_000


@dataclass(frozen=True, slots=True)
class Dead(Generic[Owner]):
    """An item that the destination will never accept, as it was handed in, and the destination's reason."""

    item: Item[Owner]
    reason: str

    @property
    def span(self) -> ReadableSpan:
        """The span of the item."""
        return self.item.span


@dataclass(slots=True)
class Answer(Generic[Owner]):
    """What became of one batch, as far as it was answered.

    ``accepted`` and ``dead`` are the very items of the batch; each that got an answer is in one of them. ``delivered``
    and ``size_bytes`` count what was accepted, ``trimmed`` of these spans shortened; ``refused`` counts those of a
    partial success, which nobody can name, so they are among ``accepted``: delivered + refused = accepted, except for a
    part whose rejections end the work: it is counted, and in neither list. ``problems`` has a line for each rejection and
    each trimmed span.
    """

    delivered: int = 0
    size_bytes: int = 0
    refused: int = 0
    trimmed: int = 0
    dead: list[Dead[Owner]] = field(default_factory=list)
    accepted: list[Item[Owner]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Part(Generic[Owner]):
    """What is still to be sent of a batch. ``request`` differs from that of ``whole`` once its one span was trimmed."""

    whole: Batch[Owner]
    request: SpanBatch
    trims: int = 0

    @property
    def items(self) -> tuple[Item[Owner], ...]:
        return self.whole.items


class Sender:
    """Sends batches to one destination until each span is delivered, refused or dead.

    A ``patient`` sender never gives up on a destination that is away or misconfigured: it waits, tries the same batch
    again, and calls ``on_retry(reason, delay_s)`` before each wait. ``on_recovered()`` is called when the answer after
    one wait or several has come, ``on_warning(text)`` when a batch was taken with a warning.

    ``limit_bytes`` is what the destination was learnt to take in one request, for `Batcher.limit`; ``None`` as long as
    nothing was too large. Where that was only inferred from connections that were cut, it is raised again.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        backoff: Backoff,
        clock: Clock,
        on_retry: Callable[[str, float], None],
        patient: bool = False,
        stops_when_refused: bool = True,
        on_recovered: Callable[[], None] = lambda: None,
        on_warning: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.limit_bytes: int | None = None
        self._destination = destination
        self._backoff = backoff
        self._clock = clock
        self._on_retry = on_retry
        self._patient = patient
        self._stops_when_refused = stops_when_refused
        self._on_recovered = on_recovered
        self._on_warning = on_warning
        self._answered = 0
        self._refused = 0
        self._full: set[int] = set()
        self._is_inferred = False
        self._was_raised = False
        self._near_limit = 0
        self._raised_after = RAISED_AFTER
        self._waits = False
        self._stopping = False

    async def send(self, batch: Batch[Owner], answer: Answer[Owner]) -> None:
        """Fill in ``answer`` for every item of ``batch``, as far as it goes.

        Raises `DestinationRefuses` when more than a fifth of the spans answered lately was refused, unless it is not to
        (``stops_when_refused``); unless patient, also `DestinationUnavailable` after the last attempt,
        `DestinationUnauthorized` and `DestinationMisconfigured`. ``answer`` then says what came before.
        """
        waiting = [_Part(batch, batch.request)]
        while waiting:
            self._stop_here()
            part = waiting.pop()
            outcome = await self._outcome(part.request)
            single = len(part.items) == 1
            match outcome:
                case Delivered(warning):
                    if warning:
                        self._on_warning(warning)
                    self._delivered(answer, part)
                case PartlyRefused(refused, reason) if refused >= len(part.items):
                    self._dead(answer, part, reason)
                case PartlyRefused(refused, reason):
                    answer.problems.append(f"{refused} of {len(part.items)} spans of a batch were refused: {reason}")
                    self._delivered(answer, part, refused, reason)
                case TooLarge(reason) if single:
                    smaller = _trimmed(part, reason)
                    if smaller is None:
                        self._dead(answer, part, reason)
                    else:
                        waiting.append(smaller)
                case TooLarge(reason):
                    self._learn(part.request.size_bytes, reason)
                    waiting += [_Part(half, half.request) for half in reversed(halves_by_size(part.whole))]
                case Refused(reason) if single or self._is_full(part, reason):
                    self._dead(answer, part, reason)
                case Refused():
                    waiting += [_Part(half, half.request) for half in reversed(halves_by_trace(part.whole))]

    async def drain(self, sending: asyncio.Future[None], seconds: float) -> None:
        """Let the `send` that is under way get the answer to its present request, for at most ``seconds``; then end it.

        A back-off wait ends at once, and that `send` makes no other request. How it ended is not raised.
        """
        self._stopping = True
        try:
            if not self._waits:
                await asyncio.wait({sending}, timeout=seconds)
        finally:
            sending.cancel()
        await asyncio.wait({sending})
        self._stopping = False
        if not sending.cancelled():
            sending.exception()

    def _stop_here(self) -> None:
        if self._stopping:
            raise asyncio.CancelledError

    async def _outcome(self, batch: SpanBatch) -> Delivered | PartlyRefused | TooLarge | Refused:
        attempt = cuts = 0
        while True:
            outcome = await self._ask(batch)
            match outcome:
                case Delivered() | PartlyRefused() | TooLarge() | Refused():
                    if attempt:
                        self._on_recovered()
                    return outcome
                case Retry(reason, after_s):
                    cuts = cuts + 1 if is_cut(reason) else 0
                    if cuts >= CUTS and await self._is_cut_for_its_size(batch):
                        self._on_recovered()
                        return TooLarge(reason)
                    if not self._patient and attempt + 1 >= self._backoff.attempts:
                        raise self._unavailable(batch, attempt + 1, reason)
                    delay_s = self._backoff.delay_s(attempt, after_s)
                case Misconfigured(reason):
                    error = self._misconfigured(outcome)
                    if not self._patient:
                        raise error
                    reason, delay_s = f"{reason} ({error.hint})" if error.hint else reason, self._backoff.max_s
                case _:
                    assert_never(outcome)
            attempt += 1
            self._stop_here()
            self._on_retry(reason, delay_s)
            self._waits = True
            try:
                await self._clock.sleep(delay_s)
            finally:
                self._waits = False

    async def _ask(self, batch: SpanBatch) -> Outcome:
        """One request. To a patient sender a destination that stops the lane (a disk that is full) is one to wait for."""
        try:
            return await self._destination.send(batch)
        except DestinationUnavailable as error:
            if not self._patient:
                raise
            return Retry(str(error))

    async def _is_cut_for_its_size(self, batch: SpanBatch) -> bool:
        """Whether a batch can be halved, and what cuts the connection on it answers a request without spans."""
        if len(batch.spans) == 1 or batch.size_bytes <= CUT_BYTES:
            return False
        self._stop_here()
        match self._destination:
            case OtlpGrpcDestination() | OtlpHttpDestination():
                return not isinstance(await self._destination.send_request(b"", 0), Retry | Misconfigured)
        return False

    def _unavailable(self, batch: SpanBatch, tries: int, reason: str) -> DestinationError:
        return DestinationUnavailable(
            f"{self._destination.name}: did not take a batch of {len(batch.spans)} spans in {tries} tries: {reason}",
            hint=hints.of_retry(reason),
        )

    def _misconfigured(self, outcome: Misconfigured) -> DestinationError:
        name = self._destination.name
        if outcome.unauthorized:
            return DestinationUnauthorized(
                f"{name}: refuses the credentials: {outcome.reason}",
                hint="set OTEL_EXPORTER_OTLP_HEADERS, or ask who runs it",
            )
        return DestinationMisconfigured(f"{name}: {outcome.reason}", hint=hints.of_misconfigured(outcome.reason))

    def _delivered(self, answer: Answer[Owner], part: _Part[Owner], refused: int = 0, reason: str = "") -> None:
        """Count a part that was taken, but for ``refused`` of its spans.

        If these are the refusals that end the work, the part does not count as answered: nobody knows which of its spans
        are missing, and once the destination is repaired all of them are to be sent again.
        """
        answer.refused += refused
        answer.delivered += len(part.items) - refused
        if refused < len(part.items):
            answer.size_bytes += part.request.size_bytes
            if part.trims:
                answer.trimmed += 1
                answer.problems.append(
                    f"span {_name(part.items[0].encoded)} was too large and was trimmed from {part.whole.request.size_bytes} "
                    f"to {part.request.size_bytes} bytes"
                )
        self._was_taken(part.request.size_bytes)
        self._watch(len(part.items), refused, reason)
        answer.accepted += part.items

    def _dead(self, answer: Answer[Owner], part: _Part[Owner], reason: str) -> None:
        """Count a part that will never be taken. The rest of a full trace counts as one refusal: it is one cause."""
        answer.dead += [Dead(item, reason) for item in part.items]
        answer.problems += [f"span {_name(item.encoded)} was refused: {reason}" for item in part.items]
        if names_full_trace(reason):
            if len(self._full) >= _MAX_FULL_TRACES:
                self._full.clear()
            self._full.add(ids_of(part.items[0].encoded)[0])
        count = 1 if names_full_trace(reason) else len(part.items)
        self._watch(count, count, reason)

    def _is_full(self, part: _Part[Owner], reason: str) -> bool:
        """Whether all spans of the part belong to one trace that has grown too large for one span more already."""
        traces = {ids_of(item.encoded)[0] for item in part.items}
        return len(traces) == 1 and traces <= self._full and names_full_trace(reason)

    def _watch(self, answered: int, refused: int, reason: str) -> None:
        """Stop where too large a share of what was answered lately was refused."""
        self._answered += answered
        self._refused += refused
        is_unwanted = self._refused >= REFUSED_AT_LEAST and self._refused > REFUSED_SHARE * self._answered
        if is_unwanted and self._stops_when_refused:
            raise DestinationRefuses(
                f"{self._destination.name}: refused {self._refused} of the last {self._answered} spans, "
                f"the last one for: {reason}",
                hint=f"{hints.of_refused(reason)}; nothing more was sent",
            )
        if self._answered >= WINDOW_SPANS:
            self._answered //= 2
            self._refused //= 2

    def _learn(self, size_bytes: int, reason: str) -> None:
        """Remember what is too large: the limit that the destination names, else half of what was sent."""
        limit = max(named_limit_bytes(reason, size_bytes) or size_bytes // 2, MIN_BYTES)
        self.limit_bytes = min(limit, self.limit_bytes or limit)
        self._is_inferred = is_cut(reason)
        self._near_limit = 0
        if self._was_raised:
            self._raised_after *= 2
            self._was_raised = False

    def _was_taken(self, size_bytes: int) -> None:
        """Raise a limit again that connections were cut for: that may have had another reason, and pass."""
        if not self._is_inferred or self.limit_bytes is None:
            return
        self.limit_bytes = max(self.limit_bytes, size_bytes)
        is_near = 4 * size_bytes > 3 * self.limit_bytes
        if is_near and self._was_raised:
            self._raised_after, self._was_raised = RAISED_AFTER, False
        self._near_limit += is_near
        if self._near_limit >= self._raised_after:
            self.limit_bytes *= 2
            self._near_limit = 0
            self._was_raised = True


def _trimmed(part: _Part[Owner], reason: str) -> _Part[Owner] | None:
    """The part with its one span cut to the limit that the destination names, else to half of its size.

    ``None`` when that was done `MAX_TRIMS` times, or there is nothing left to cut.
    """
    if part.trims >= MAX_TRIMS:
        return None
    size_bytes = part.request.size_bytes
    limit = named_limit_bytes(reason, size_bytes) or size_bytes // 2
    span = trim(part.request.spans[0], size_bytes - limit)
    return None if span is None else _Part(part.whole, batch_of((span,)), part.trims + 1)


def _name(encoded: bytes) -> str:
    trace_id, span_id = ids_of(encoded)
    return f"{span_id:016x} of trace {trace_id:032x}"
