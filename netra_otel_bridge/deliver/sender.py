"""Send a batch until every span in it is answered: wait, halve, bisect, trim. The destination only answers requests.

    Retry          the same batch again, after a growing delay; halved if it seems to be cut off for its size, or if the
                   destination keeps answering with an error of its own. What fails while others pass is unaccepted
    TooLarge       two halves by size; a single span is trimmed, and dead if there is nothing left to trim
    Refused        two halves, whole traces first; a single span is dead, and so is the rest of a trace that is full
    Misconfigured  the lane ends; a patient sender waits for as long as it takes

Memory is bounded by the batch: its parts, and the ids of full traces.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, assert_never

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
from netra_otel_bridge.deliver.batch_answer import Answer, Dead
from netra_otel_bridge.deliver.batching import (
    CUT_BYTES,
    CUTS,
    Batch,
    Item,
    Owner,
    halves_by_size,
    halves_by_trace,
    parts_by_trace,
    smaller_bytes,
)
from netra_otel_bridge.deliver.learned_limits import RejectionRate, SizeLimit
from netra_otel_bridge.deliver.otlp.encode import ids_of
from netra_otel_bridge.deliver.protocols import AnswersEmpty, Destination
from netra_otel_bridge.deliver.trim import MAX_TRIMS, smaller_batch

_MAX_FULL_TRACES = 10_000
PART_TRIES = 2
"""Attempts to send a part of a batch that the destination answered with an error of its own to the last attempt."""
FAILING_PARTS = 16
"""Parts that may fail in a row, without one that is accepted, before it is the destination that fails."""
_UNWANTED_HINT = "it does not accept spans like these"


class KeepsFailing(DestinationUnavailable):
    """The destination answers with an error of its own, and accepted nothing meanwhile that would show that it works."""


@dataclass(frozen=True, slots=True)
class _Part(Generic[Owner]):
    """A part of a batch that is still to be sent.

    ``request`` differs from that of ``whole`` after its only span was trimmed. ``failed_at`` counts the spans that were
    accepted when a request with these items first failed; ``None`` if none did.
    """

    whole: Batch[Owner]
    request: SpanBatch
    trims: int = 0
    failed_at: int | None = None

    @property
    def items(self) -> tuple[Item[Owner], ...]:
        return self.whole.items


class Sender:
    """Sends batches to one destination until each span is delivered, rejected or dead.

    A ``patient`` sender never gives up on a destination that is unavailable or misconfigured: it waits, retries the
    same batch, and calls ``on_retry(reason, delay_s)`` before each delay. It calls ``on_recovered()`` when a response
    arrives after one or more delays, and ``on_warning(text)`` when a batch was accepted with a warning.
    ``stops_when_refused`` decides whether `send` ends with an error if the destination rejects too many spans.
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
        self._destination = destination
        self._backoff = backoff
        self._clock = clock
        self._on_retry = on_retry
        self._patient = patient
        self._stops_when_refused = stops_when_refused
        self._on_recovered = on_recovered
        self._on_warning = on_warning
        self._size = SizeLimit()
        self._rate = RejectionRate()
        self._full_traces: set[int] = set()
        self._is_waiting = False
        self._is_draining = False

    @property
    def limit_bytes(self) -> int | None:
        """Return the largest request that the destination accepts, for `Batcher.limit`; ``None`` if none is known."""
        return self._size.limit_bytes

    async def send(self, batch: Batch[Owner], answer: Answer[Owner]) -> None:
        """Send ``batch``, and fill in ``answer`` as its items are answered.

        With ``stops_when_refused``, raises `DestinationRefuses` when more than a fifth of the recently answered spans
        was rejected; unless patient, also raises `DestinationUnavailable` after the last attempt,
        `DestinationUnauthorized` and `DestinationMisconfigured`. ``answer`` then has the results so far.
        """
        waiting = [_Part(batch, batch.request)]
        failing: deque[_Part[Owner]] = deque()
        failed_in_a_row = 0
        while waiting or failing:
            self._stop_if_draining()
            part = waiting.pop() if waiting else failing.popleft()
            is_single = len(part.items) == 1
            tries = self._backoff.attempts if part.failed_at is None else PART_TRIES
            accepted = len(answer.accepted)
            match outcome := await self._final_outcome(part.request, tries):
                case Delivered(warning):
                    if warning:
                        self._on_warning(warning)
                    self._accepted(answer, part)
                case PartlyRefused(refused) if refused >= len(part.items):
                    self._dead(answer, part, outcome)
                case PartlyRefused(refused, reason):
                    answer.problems.append(f"{refused} of {len(part.items)} spans of a batch were rejected: {reason}")
                    self._accepted(answer, part, outcome)
                case TooLarge(_, limit_bytes) if is_single:
                    smaller = _trimmed(part, limit_bytes)
                    if smaller is None:
                        self._dead(answer, part, outcome)
                    else:
                        waiting.append(smaller)
                case TooLarge(_, limit_bytes):
                    self._size.too_large(part.request.size_bytes, limit_bytes)
                    waiting += [_Part(half, half.request) for half in reversed(halves_by_size(part.whole))]
                case Retry(answered=True):
                    failed_in_a_row += 1
                    failed_at = accepted if part.failed_at is None else part.failed_at
                    parts = parts_by_trace(part.whole)
                    if len(parts) == 1 and accepted > failed_at:
                        self._unaccepted(answer, part, outcome)
                    elif failed_in_a_row >= FAILING_PARTS or (len(parts) == 1 and not failing):
                        raise KeepsFailing(str(self._unavailable(batch.request, self._backoff.attempts, outcome)))
                    else:
                        failing += [_Part(one, one.request, failed_at=failed_at) for one in parts]
                case Retry():
                    self._size.too_large(part.request.size_bytes, None, inferred=True)
                    waiting += [_Part(half, half.request) for half in reversed(halves_by_size(part.whole))]
                case Refused() if is_single or self._is_full(part, outcome):
                    self._dead(answer, part, outcome)
                case Refused():
                    waiting += [_Part(half, half.request) for half in reversed(halves_by_trace(part.whole))]
            if len(answer.accepted) > accepted:
                failed_in_a_row = 0

    async def drain(self, sending: asyncio.Future[None], seconds: float) -> None:
        """Give the `send` in flight at most ``seconds`` to have its current request answered, then end it.

        A delay ends at once, and that `send` makes no other request. Its errors are not raised.
        """
        self._is_draining = True
        try:
            if not self._is_waiting:
                await asyncio.wait({sending}, timeout=seconds)
        finally:
            sending.cancel()
        await asyncio.wait({sending})
        self._is_draining = False
        if not sending.cancelled():
            sending.exception()

    def _stop_if_draining(self) -> None:
        if self._is_draining:
            raise asyncio.CancelledError

    async def _final_outcome(
        self, batch: SpanBatch, tries: int
    ) -> Delivered | PartlyRefused | TooLarge | Refused | Retry:
        """Retry until the outcome is final.

        `Retry` is final if the connection is cut for the size of the batch, and after ``tries`` errors of the
        destination's own.
        """
        attempt = cuts = 0
        while True:
            outcome = await self._ask(batch)
            match outcome:
                case Delivered() | PartlyRefused() | TooLarge() | Refused():
                    if attempt:
                        self._on_recovered()
                    return outcome
                case Retry(reason, after_s, is_cut):
                    cuts = cuts + 1 if is_cut else 0
                    if cuts >= CUTS and await self._is_cut_for_its_size(batch):
                        self._on_recovered()
                        return outcome
                    if outcome.answered and attempt + 1 >= tries:
                        return outcome
                    if not self._patient and attempt + 1 >= self._backoff.attempts:
                        raise self._unavailable(batch, attempt + 1, outcome)
                    delay_s = self._backoff.delay_s(attempt, after_s)
                case Misconfigured(reason, _, hint):
                    if not self._patient:
                        raise self._misconfigured(outcome)
                    reason, delay_s = f"{reason} ({hint})" if hint else reason, self._backoff.max_s
                case _:
                    assert_never(outcome)
            attempt += 1
            self._stop_if_draining()
            self._on_retry(reason, delay_s)
            self._is_waiting = True
            try:
                await self._clock.sleep(delay_s)
            finally:
                self._is_waiting = False

    async def _ask(self, batch: SpanBatch) -> Outcome:
        """Make one request. A patient sender also waits after an error that would stop the lane (a full disk)."""
        try:
            return await self._destination.send(batch)
        except DestinationUnavailable as error:
            if not self._patient:
                raise
            return Retry(str(error))

    async def _is_cut_for_its_size(self, batch: SpanBatch) -> bool:
        """Return whether the batch is large enough to split and the destination still answers an empty request."""
        if len(batch.spans) == 1 or batch.size_bytes <= CUT_BYTES:
            return False
        self._stop_if_draining()
        if not isinstance(self._destination, AnswersEmpty):
            return False
        return not isinstance(await self._destination.send_empty(0), Retry | Misconfigured)

    def _unaccepted(self, answer: Answer[Owner], part: _Part[Owner], outcome: Retry) -> None:
        """Give up on a part for now, because others were accepted since a request with it first failed."""
        reason = f"{self._destination.name} fails whenever a request has spans of it: {outcome.reason}"
        answer.unaccepted += [Dead(item, reason) for item in part.items]
        self._on_recovered()

    def _unavailable(self, batch: SpanBatch, attempts: int, outcome: Retry) -> DestinationError:
        return DestinationUnavailable(
            f"{self._destination.name}: did not accept a batch of {len(batch.spans)} spans in {attempts} attempts: "
            f"{outcome.reason}",
            hint=outcome.hint,
        )

    def _misconfigured(self, outcome: Misconfigured) -> DestinationError:
        name = self._destination.name
        if outcome.unauthorized:
            return DestinationUnauthorized(f"{name}: rejects the credentials: {outcome.reason}", hint=outcome.hint)
        return DestinationMisconfigured(f"{name}: {outcome.reason}", hint=outcome.hint)

    def _accepted(self, answer: Answer[Owner], part: _Part[Owner], partly: PartlyRefused | None = None) -> None:
        """Count a part that was accepted, except for the spans of a partial success.

        If these rejections stop the lane, the part does not count as answered: which of its spans are missing is
        unknown, so all of them are sent again once the destination is repaired.
        """
        refused = partly.refused if partly else 0
        answer.refused += refused
        answer.delivered += len(part.items) - refused
        answer.size_bytes += part.request.size_bytes
        if part.request is not part.whole.request:
            answer.trimmed += 1
            answer.problems.append(
                f"span {_name(part.items[0].encoded)} was too large and was trimmed from "
                f"{part.whole.request.size_bytes} to {part.request.size_bytes} bytes"
            )
        self._size.accepted(part.request.size_bytes)
        self._count(len(part.items), refused, partly)
        answer.accepted += part.items

    def _dead(self, answer: Answer[Owner], part: _Part[Owner], outcome: PartlyRefused | TooLarge | Refused) -> None:
        """Count a part that will never be accepted. A full trace counts as one rejection, because it has a single cause."""
        reason, is_full = outcome.reason, _names_full_trace(outcome)
        answer.dead += [Dead(item, reason) for item in part.items]
        answer.problems += [f"span {_name(item.encoded)} was rejected: {reason}" for item in part.items]
        if is_full:
            if len(self._full_traces) >= _MAX_FULL_TRACES:
                self._full_traces.clear()
            self._full_traces.add(ids_of(part.items[0].encoded)[0])
        count = 1 if is_full else len(part.items)
        self._count(count, count, outcome)

    def _is_full(self, part: _Part[Owner], outcome: Refused) -> bool:
        """Return whether all spans of the part belong to one trace that was rejected for its size before."""
        traces = {ids_of(item.encoded)[0] for item in part.items}
        return len(traces) == 1 and traces <= self._full_traces and _names_full_trace(outcome)

    def _count(self, answered: int, rejected: int, outcome: PartlyRefused | TooLarge | Refused | None) -> None:
        """Stop if too large a share of the recently answered spans was rejected. ``outcome`` is the last rejection."""
        if self._rate.add(answered, rejected) and self._stops_when_refused and outcome is not None:
            raise DestinationRefuses(
                f"{self._destination.name}: rejected {self._rate.rejected} of the last {self._rate.answered} spans; "
                f"the last reason was: {outcome.reason}",
                hint=f"{outcome.hint or _UNWANTED_HINT}; nothing more was sent",
            )


def _names_full_trace(outcome: PartlyRefused | TooLarge | Refused) -> bool:
    return not isinstance(outcome, TooLarge) and outcome.cause == "full trace"


def _trimmed(part: _Part[Owner], limit_bytes: int | None) -> _Part[Owner] | None:
    """Return the part with its one span cut to the limit that the destination named, else to half of its size.

    ``None`` if that was done `MAX_TRIMS` times, or nothing is left to cut. A part that did not get as small as that does
    not count: it only has no derived attributes any more, or nothing else to cut.
    """
    if part.trims >= MAX_TRIMS:
        return None
    size_bytes = part.request.size_bytes
    target_bytes = smaller_bytes(size_bytes, limit_bytes)
    known_bytes = limit_bytes if limit_bytes is not None and 0 < limit_bytes < size_bytes else None
    batch = smaller_batch(part.request, target_bytes, known_bytes)
    if batch is None:
        return None
    return _Part(part.whole, batch, part.trims + (batch.size_bytes <= target_bytes))


def _name(encoded: bytes) -> str:
    trace_id, span_id = ids_of(encoded)
    return f"{span_id:016x} of trace {trace_id:032x}"
