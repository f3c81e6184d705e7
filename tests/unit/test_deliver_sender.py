"""From a batch to an answer for every span: what is waited for, halved, refused, and counted although the lane stops."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netra_otel_bridge.clock import Backoff
from netra_otel_bridge.deliver import Answer, Sender, batch_of
from netra_otel_bridge.errors import (
    DestinationMisconfigured,
    DestinationRefuses,
    DestinationUnauthorized,
    DestinationUnavailable,
)
from netra_otel_bridge.model import (
    Delivered,
    Misconfigured,
    Outcome,
    PartlyRefused,
    Refused,
    Retry,
    SpanBatch,
    TooLarge,
)
from tests.support.fake_clock import FakeClock
from tests.support.spans import make_span


class Scripted:
    """A destination that decides by the batch, and remembers what it took."""

    name = "fake"

    def __init__(self, decide: Callable[[SpanBatch], Outcome]) -> None:
        self._decide = decide
        self.sizes: list[int] = []
        self.taken: list[int] = []

    async def send(self, batch: SpanBatch) -> Outcome:
        outcome = self._decide(batch)
        self.sizes.append(len(batch.spans))
        if isinstance(outcome, Delivered):
            self.taken += numbers(batch)
        return outcome

    async def aclose(self) -> None:
        """Nothing is held."""


def numbers(batch: SpanBatch) -> list[int]:
    return [span.context.span_id for span in batch.spans]


def batch(count: int) -> SpanBatch:
    return batch_of([make_span(number) for number in range(1, count + 1)])


def sender(destination: Scripted, attempts: int = 3) -> Sender:
    backoff = Backoff(attempts=attempts, uniform=lambda low, high: high)
    return Sender(destination, backoff=backoff, clock=FakeClock(), on_retry=lambda reason, delay: None)


async def test_only_the_poison_is_refused_and_all_else_delivered_in_order() -> None:
    """A batch that is refused is halved down to the spans that are to blame; each is named with the reason."""
    poison = {7, 8, 60}
    fake = Scripted(lambda one: Refused("poisoned") if poison & set(numbers(one)) else Delivered())
    answer = Answer()
    await sender(fake).send(batch(100), answer)
    assert fake.taken == [number for number in range(1, 101) if number not in poison]
    assert (answer.delivered, answer.refused) == (97, 3)
    assert [f"{number:016x}" in problem for number, problem in zip(sorted(poison), answer.problems, strict=True)]
    assert all("poisoned" in problem for problem in answer.problems)


async def test_what_is_too_large_is_halved_until_it_fits() -> None:
    """A limit below the batch's size costs more requests and no span."""
    fake = Scripted(lambda one: TooLarge("limit") if len(one.spans) > 10 else Delivered())
    answer = Answer()
    await sender(fake).send(batch(100), answer)
    assert fake.taken == list(range(1, 101))
    assert answer.refused == 0
    assert max(size for size in fake.sizes if size <= 10) > 5


async def test_a_wait_sends_the_same_batch_again_and_ends() -> None:
    """As often as the back-off says; then the destination counts as unavailable and nothing as delivered."""
    fake = Scripted(lambda one: Retry("busy", 2.0))
    answer = Answer()
    with pytest.raises(DestinationUnavailable, match="busy"):
        await sender(fake, attempts=4).send(batch(5), answer)
    assert fake.sizes == [5, 5, 5, 5]
    assert answer == Answer()


async def test_a_wrong_address_or_key_ends_the_lane_at_once() -> None:
    """Nothing is tried again and nothing given up."""
    for outcome, error in (
        (Misconfigured("no such path"), DestinationMisconfigured),
        (Misconfigured("who are you", unauthorized=True), DestinationUnauthorized),
    ):
        fake = Scripted(lambda one, outcome=outcome: outcome)  # type: ignore[misc]
        with pytest.raises(error):
            await sender(fake).send(batch(5), Answer())
        assert fake.sizes == [5]


async def test_a_partial_success_is_counted_and_not_sent_again() -> None:
    """The server does not say which; how many and why is what can be told."""
    answer = Answer()
    fake = Scripted(lambda one: PartlyRefused(3, "too old"))
    await sender(fake).send(batch(10), answer)
    assert (answer.delivered, answer.refused, fake.sizes) == (7, 3, [10])
    assert answer.problems == ["3 of 10 spans of a batch were refused: too old"]


async def test_a_destination_that_refuses_a_fifth_is_left_and_what_it_took_is_counted() -> None:
    """The lane stops before it loses more, and the counts say what was answered until then."""
    fake = Scripted(lambda one: Refused("no") if any(n % 3 == 0 for n in numbers(one)) else Delivered())
    answer = Answer()
    with pytest.raises(DestinationRefuses, match="refused 100 of"):
        await sender(fake).send(batch(900), answer)
    assert answer.refused == 100
    assert answer.delivered == len(fake.taken) > 100
