"""A `Sender` turns a batch into an answer for every span: it waits, halves, gives up single spans, and counts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.errors import (
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
from netra_otel_bridge.deliver import (
    Answer,
    Batch,
    Batcher,
    Destination,
    KeepsFailing,
    Sender,
    destination_from,
    open_destination,
)
from tests.support.batches import item, whole
from tests.support.cutting import cutting_server
from tests.support.examples import examples
from tests.support.fake_clock import FakeClock
from tests.support.spans import make_span


class Scripted:
    """A destination that decides by the batch and remembers what it accepted."""

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
        """Do nothing: there is nothing to release."""


def numbers(batch: SpanBatch) -> list[int]:
    return [span.context.span_id for span in batch.spans]


def batch(count: int, traces: int = 1) -> Batch[None]:
    """Return spans 1 to ``count``, of each trace in turn."""
    return whole([make_span(number, trace_id=1 + number % traces) for number in range(1, count + 1)])


def dead(answer: Answer[None]) -> list[int]:
    return [one.span.context.span_id for one in answer.dead]


def sender(destination: Destination, attempts: int = 3, on_recovered: Callable[[], None] = lambda: None) -> Sender:
    backoff = Backoff(attempts=attempts, uniform=lambda low, high: high)
    return Sender(destination, backoff=backoff, clock=FakeClock(), on_retry=lambda *_: None, on_recovered=on_recovered)


async def test_only_the_poison_is_dead_and_all_else_delivered_in_order() -> None:
    """A rejected batch is halved down to the spans at fault; each is named with the reason."""
    poison = {7, 8, 60}
    fake = Scripted(lambda one: Refused("poisoned") if poison & set(numbers(one)) else Delivered())
    answer = Answer()
    await sender(fake).send(batch(100), answer)
    assert fake.taken == [number for number in range(1, 101) if number not in poison]
    assert (answer.delivered, answer.refused) == (97, 0)
    assert dead(answer) == [7, 8, 60]
    assert {one.reason for one in answer.dead} == {"poisoned"}
    assert [f"{number:016x}" in problem for number, problem in zip(sorted(poison), answer.problems, strict=True)]
    assert all("poisoned" in problem for problem in answer.problems)


async def test_a_trace_that_is_refused_as_a_whole_takes_no_other_with_it() -> None:
    """Whole traces are separated first: those beside the rejected one arrive undivided, in few requests."""
    one_trace = {number for number in range(1, 513) if number % 16 == 5}
    fake = Scripted(lambda one: Refused("no") if one_trace & set(numbers(one)) else Delivered())
    answer = Answer()
    await sender(fake).send(batch(512, traces=16), answer)
    assert set(dead(answer)) == one_trace
    assert set(fake.taken) == set(range(1, 513)) - one_trace
    assert len(fake.sizes) == 2 * 4 + 2 * len(one_trace) - 1


async def test_a_full_trace_costs_few_requests_and_what_still_fits_is_taken() -> None:
    """After one span of a trace did not fit, no part of that trace that is rejected again is divided."""
    room = itertools.count()

    def decide(one: SpanBatch) -> Outcome:
        if any(span.context.trace_id == 3 for span in one.spans):
            if next(room) >= 0 and 3 + sum(len(done.spans) for done in stored) + len(one.spans) > 100:
                return Refused("max size of trace (5000000) exceeded", "full trace")
            stored.append(one)
        return Delivered()

    stored: list[SpanBatch] = []
    members = [make_span(number, trace_id=3) for number in range(1, 1001)]
    fake, answer = Scripted(decide), Answer()
    sending = sender(fake)
    for begin in range(0, 1000, 250):
        await sending.send(whole([*members[begin : begin + 250], make_span(5000 + begin, trace_id=4)]), answer)
    assert answer.delivered == len(fake.taken) == 97 + 4
    assert len(answer.dead) == 903
    assert {number for number in fake.taken if number >= 5000} == {5000, 5250, 5500, 5750}
    assert len(fake.sizes) < 40


async def test_a_trace_that_has_room_again_is_not_lost_beside_one_that_has_none() -> None:
    """The trace that is meant is found, also if both were full before."""
    full = {3, 4}
    fake = Scripted(
        lambda one: Refused("no room", "full trace") if full & {s.context.trace_id for s in one.spans} else Delivered()
    )
    sending, answer = sender(fake), Answer()
    await sending.send(whole([make_span(1, trace_id=3), make_span(2, trace_id=4)]), answer)
    assert dead(answer) == [1, 2]
    full.remove(4)
    await sending.send(whole([make_span(5, trace_id=3), make_span(6, trace_id=4), make_span(7, trace_id=4)]), answer)
    assert dead(answer) == [1, 2, 5]
    assert fake.taken == [6, 7]


async def test_what_is_too_large_is_halved_until_it_fits() -> None:
    """A limit below the size of the batch costs requests, and no span."""
    fake = Scripted(lambda one: TooLarge("limit") if len(one.spans) > 10 else Delivered())
    answer = Answer()
    await sender(fake).send(batch(100), answer)
    assert fake.taken == list(range(1, 101))
    assert (answer.refused, answer.dead, answer.trimmed) == (0, [], 0)
    assert max(size for size in fake.sizes if size <= 10) > 5


async def test_what_is_too_large_is_halved_by_size_and_not_by_number() -> None:
    """With a long span among short ones the parts are about equal, so few requests find what fits."""
    spans = [make_span(1, attributes={"input": "x" * 50_000}), *(make_span(n) for n in range(2, 200))]
    fake = Scripted(lambda one: TooLarge("limit") if one.size_bytes > 52_000 else Delivered())
    await sender(fake).send(whole(spans), Answer())
    assert fake.taken == list(range(1, 200))
    assert fake.sizes == [199, 1, 198]


@pytest.mark.parametrize(
    ("named", "learnt"),
    [(20_000, 20_000 - 20_000 // 64), (None, None), (900_000, None), (0, None)],
)
async def test_a_limit_is_learnt_and_later_batches_keep_it(named: int | None, learnt: int | None) -> None:
    """The limit comes from the answer if it names a possible one, else from what was too large; later batches all fit."""
    fake = Scripted(lambda one: TooLarge("too large", named) if one.size_bytes > 20_000 else Delivered())
    sending, batcher = sender(fake), Batcher[None](max_bytes=100_000)
    assert sending.limit_bytes is None
    batcher.limit(sending.limit_bytes)
    refusals = []
    for number in range(1, 3001):
        span = make_span(number, attributes={"input": "x" * 200})
        full = batcher.add(item(span))
        if full is not None:
            before = len(fake.sizes)
            await sending.send(full, Answer())
            refusals.append(len(fake.sizes) - before - 1)
            batcher.limit(sending.limit_bytes)
    assert sending.limit_bytes is not None
    assert sending.limit_bytes == learnt if learnt else 10_000 < sending.limit_bytes <= 20_000
    assert refusals[0] > 0
    assert len(refusals) > 10
    assert not any(refusals[1:])


async def test_a_connection_that_is_cut_for_the_size_of_a_request_means_halves() -> None:
    """After three cuts in a row, if a request without spans is answered; later batches are smaller."""
    large = whole([make_span(number, attributes={"input": "x" * 20_000}) for number in range(1, 11)])
    answer = Answer()
    async with cutting_server(150_000) as (where, asked):
        destination = open_destination(where)
        recovered: list[bool] = []
        lane = sender(destination, 4, lambda: recovered.append(True))
        await lane.send(large, answer)
        await destination.aclose()
    assert (answer.delivered, recovered) == (10, [True])
    assert lane.limit_bytes is not None
    assert 0.5 <= lane.limit_bytes / large.request.size_bytes < 0.7
    assert [length > 150_000 for length in asked] == [True] * 3 + [False] * 3
    assert asked[3] == 0


async def test_what_was_only_cut_is_tried_larger_again() -> None:
    """After a temporary fault, batches grow to their old size; with a permanent limit, larger ones are tried less and less often."""
    most = [90_000]
    asked: list[int] = []

    async def send(batch: SpanBatch) -> Outcome:
        asked.append(batch.size_bytes)
        return Retry("the server disconnected", cut=True) if batch.size_bytes > most[0] else Delivered()

    async with cutting_server(10**9) as (where, _):
        destination = open_destination(where)
        destination.send = send  # type: ignore[method-assign]
        lane, batcher = sender(destination, 4), Batcher[None](max_bytes=600_000)

        async def send_many(batches: int) -> int:
            cut = 0
            while batches:
                span = make_span(len(asked) * 100_000 + batches, attributes={"input": "x" * 9_000})
                full = batcher.add(item(span))
                if full is not None:
                    before = len(asked)
                    await lane.send(full, Answer())
                    cut += sum(size > most[0] for size in asked[before:])
                    batcher.limit(lane.limit_bytes)
                    batches -= 1
            return cut

        assert await send_many(1)
        once, often = await send_many(100), await send_many(400)
        assert 0 < often < 2 * once
        most[0] = 10**9
        await send_many(600)
        assert max(asked[-20:]) > 500_000
        await destination.aclose()


@pytest.mark.parametrize(("most_bytes", "length"), [(-1, 20_000), (0, 20)])
async def test_a_connection_that_is_cut_for_something_else_is_waited_for(most_bytes: int, length: int) -> None:
    """If a request without spans is cut too, or the batch is small, nothing is halved and no size is learned."""
    batch = whole([make_span(number, attributes={"input": "x" * length}) for number in range(1, 11)])
    async with cutting_server(most_bytes) as (where, asked):
        destination = open_destination(where)
        lane = sender(destination, 4)
        with pytest.raises(DestinationUnavailable):
            await lane.send(batch, Answer())
        await destination.aclose()
    assert lane.limit_bytes is None
    assert len({size for size in asked if size}) == 1


async def test_a_limit_that_no_server_has_is_not_believed() -> None:
    """A server that calls everything too large does not lead to batches of one span forever."""
    sending = sender(Scripted(lambda one: TooLarge("no") if len(one.spans) > 1 else Delivered()))
    await sending.send(batch(64), Answer())
    assert sending.limit_bytes == 4096


async def test_a_wait_sends_the_same_batch_again_and_ends() -> None:
    """The batch is repeated for the attempts of the back-off; then the destination is unavailable and nothing delivered."""
    fake = Scripted(lambda one: Retry("busy", 2.0))
    answer = Answer()
    with pytest.raises(DestinationUnavailable, match="busy"):
        await sender(fake, attempts=4).send(batch(5), answer)
    assert fake.sizes == [5, 5, 5, 5]
    assert answer == Answer()


async def test_a_wrong_address_or_key_ends_the_lane_at_once() -> None:
    """Nothing is retried and nothing is given up."""
    for outcome, error in (
        (Misconfigured("no such path"), DestinationMisconfigured),
        (Misconfigured("who are you", unauthorized=True), DestinationUnauthorized),
    ):
        fake, answer = Scripted(lambda one, outcome=outcome: outcome), Answer()  # type: ignore[misc]
        with pytest.raises(error):
            await sender(fake).send(batch(5), answer)
        assert fake.sizes == [5]
        assert answer == Answer()


async def test_a_partial_success_is_counted_and_not_sent_again() -> None:
    """The server does not say which spans; their number and the reason are reported."""
    answer = Answer()
    fake = Scripted(lambda one: PartlyRefused(3, "too old"))
    await sender(fake).send(batch(10), answer)
    assert (answer.delivered, answer.refused, answer.dead, fake.sizes) == (7, 3, [], [10])
    assert len(answer.accepted) == 10
    assert answer.problems == ["3 of 10 spans of a batch were rejected: too old"]


async def test_a_destination_that_refuses_a_fifth_is_left_and_what_it_took_is_counted() -> None:
    """The lane stops before it loses more, and the counts cover what was answered until then."""
    fake = Scripted(lambda one: Refused("no") if any(n % 3 == 0 for n in numbers(one)) else Delivered())
    answer = Answer()
    with pytest.raises(DestinationRefuses, match="rejected 100 of the last 300 spans"):
        await sender(fake).send(batch(900), answer)
    assert len(answer.dead) == 100
    assert answer.delivered == len(fake.taken) > 100
    assert {one.span.context.span_id for one in answer.accepted} == set(fake.taken)


async def test_a_flood_of_refusals_after_a_good_year_stops_the_lane() -> None:
    """The share is that of the latest thousands of spans; partial rejections count like dead spans."""
    broken = False
    fake = Scripted(lambda one: PartlyRefused(len(one.spans), "quota") if broken else Delivered())
    sending = sender(fake)
    plenty = batch(500)
    for _ in range(400):
        await sending.send(plenty, Answer())
    broken = True
    flood = batch(3000)
    with pytest.raises(DestinationRefuses, match="quota"):
        await sending.send(flood, Answer())


@settings(deadline=None, max_examples=examples(200))
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3000)), min_size=1, max_size=40),
    st.sets(st.integers(1, 40)),
    st.integers(1500, 20_000),
    st.sets(st.integers(1, 5)),
    st.integers(0, 80),
)
async def test_each_span_is_answered_once_or_not_at_all(
    shapes: list[tuple[int, int]], poison: set[int], limit: int, full: set[int], breaks_at: int
) -> None:
    """Whatever the destination rejects, and whenever it disappears, each answered span is delivered, rejected or dead."""
    spans = [
        make_span(number, trace_id=trace, attributes={"input": "x" * length})
        for number, (trace, length) in enumerate(shapes, 1)
    ]

    def decide(one: SpanBatch) -> Outcome:
        if len(fake.sizes) == breaks_at:
            return Misconfigured("gone")
        if one.size_bytes > limit:
            return TooLarge("limit")
        if poison & set(numbers(one)):
            return Refused("poison")
        if full & {span.context.trace_id for span in one.spans}:
            return Refused("no room", "full trace")
        return Delivered()

    fake, answer = Scripted(decide), Answer()
    try:
        await sender(fake).send(whole(spans), answer)
        ended = True
    except DestinationMisconfigured:
        ended = False
    handed_in = {id(span) for span in spans}
    answered = [id(one.span) for one in (*answer.accepted, *(dead.item for dead in answer.dead))]
    assert set(answered) <= handed_in
    assert len(set(answered)) == len(answered)
    assert answer.delivered + answer.refused + len(answer.dead) == len(answered)
    assert sorted(fake.taken) == sorted(one.span.context.span_id for one in answer.accepted)
    if ended:
        assert set(answered) == handed_in
        bad = {n for n, (trace, _) in enumerate(shapes, 1) if n in poison or trace in full}
        assert set(dead(answer)) == bad


@pytest.mark.parametrize(("answers", "parts"), [(Delivered(), 4), (Retry("away"), 0)])
async def test_a_destination_of_a_program_that_is_cut_off_for_the_size_is_asked_without_spans(
    answers: Outcome, parts: int
) -> None:
    """If it offers `send_empty` and answers it, its batches are halved like those of an OTLP server."""

    class CutsOff(Scripted):
        async def send_empty(self, size_bytes: int) -> Outcome:
            return answers

    fake = CutsOff(lambda one: Retry("cut", cut=True) if one.size_bytes > 70_000 else Delivered())
    members = [make_span(number, attributes={"input": "x" * 20_000}) for number in range(1, 11)]
    answer: Answer[None] = Answer()
    sending = sender(destination_from(fake), 4).send(whole(members), answer)
    if parts:
        await sending
        assert fake.taken == list(range(1, 11))
        assert len([size for size in fake.sizes if size <= 3]) == parts
    else:
        with pytest.raises(DestinationUnavailable, match="did not accept a batch of 10 spans in 4 attempts: cut"):
            await sending
        assert set(fake.sizes) == {10}


def fails_for(*traces: int) -> Callable[[SpanBatch], Outcome]:
    """Answer 500 for each request that has a span of one of these traces."""

    def decide(one: SpanBatch) -> Outcome:
        has_one = any(span.context.trace_id in traces for span in one.spans)
        return Retry("HTTP 500", answered=True) if has_one else Delivered()

    return decide


@pytest.mark.parametrize("bad", [(1,), (25,), (50,), (1, 2, 50)])
async def test_a_trace_with_which_every_request_fails_stops_no_other(bad: tuple[int, ...]) -> None:
    """Its spans are unaccepted, never dead: all others are accepted once, and the requests are few."""
    fake, answer = Scripted(fails_for(*bad)), Answer()
    spans = [make_span(2 * trace + n, trace_id=trace) for trace in range(1, 51) for n in range(2)]
    await sender(fake).send(whole(spans), answer)
    assert {one.span.context.trace_id for one in answer.unaccepted} == set(bad)
    assert len(answer.unaccepted) == 2 * len(bad)
    assert answer.dead == []
    assert sorted(fake.taken) == [one.context.span_id for one in spans if one.context.trace_id not in bad]
    assert len(fake.sizes) < 6 + 2 * 6 * len(bad) * 2


@pytest.mark.parametrize("traces", [1, 2, 50])
async def test_a_destination_that_fails_for_everything_is_waited_for(traces: int) -> None:
    """Without one span that is accepted, nothing is decided about any: the lane waits or ends."""
    fake, answer = Scripted(fails_for(*range(1, traces + 1))), Answer()
    with pytest.raises(KeepsFailing, match="HTTP 500"):
        await sender(fake).send(whole([make_span(n, trace_id=n) for n in range(1, traces + 1)]), answer)
    assert (answer.accepted, answer.unaccepted, answer.dead, fake.taken) == ([], [], [], [])
    assert len(fake.sizes) < 50


async def test_a_destination_that_recovers_meanwhile_gets_everything() -> None:
    """Parts that failed while it was down are sent again before anything is decided about them."""
    requests = itertools.count()
    fake, answer = (
        Scripted(lambda _: Retry("HTTP 500", answered=True) if next(requests) < 12 else Delivered()),
        Answer(),
    )
    await sender(fake).send(whole([make_span(n, trace_id=n) for n in range(1, 51)]), answer)
    assert sorted(fake.taken) == list(range(1, 51))
    assert answer.unaccepted == []
