"""A patient sender waits for as long as it takes; delays and requests end when the lane stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from netra_otel_bridge.core.clock import Backoff, Clock, SystemClock
from netra_otel_bridge.core.errors import DestinationRefuses, DestinationUnavailable
from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Refused,
    Retry,
    SpanBatch,
)
from netra_otel_bridge.deliver import Answer, Destination, Sender, open_destination
from tests.support.batches import whole
from tests.support.fake_clock import FakeClock
from tests.support.spans import make_span
from tests.support.waiting import DEADLINE_S, until

BATCH = whole((make_span(1), make_span(2)))
CAP_S = 30.0


class Outcomes:
    """A destination that answers with a list, then `Delivered`; an answer takes ``slow_s``."""

    name = "fake"

    def __init__(self, outcomes: Sequence[Outcome], slow_s: float = 0) -> None:
        self.left = list(outcomes)
        self.batches: list[SpanBatch] = []
        self.slow_s = slow_s

    async def send(self, batch: SpanBatch) -> Outcome:
        self.batches.append(batch)
        await asyncio.sleep(self.slow_s)
        return self.left.pop(0) if self.left else Delivered()

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release."""


class Told:
    """The calls that a sender made to its caller."""

    def __init__(self) -> None:
        self.waits: list[tuple[str, float]] = []
        self.recovered = 0

    def sender(self, destination: Destination, clock: Clock | None = None, *, patient: bool = True) -> Sender:
        return Sender(
            destination,
            backoff=Backoff(first_s=0.5, max_s=CAP_S, attempts=3, uniform=lambda low, high: high),
            clock=clock or FakeClock(),
            on_retry=lambda reason, delay_s: self.waits.append((reason, delay_s)),
            patient=patient,
            on_recovered=self._count,
        )

    def _count(self) -> None:
        self.recovered += 1


async def test_a_patient_sender_never_gives_up_and_waits_no_longer_than_the_cap() -> None:
    """If the destination is down overnight, the same batch is retried, each delay is reported, and one recovery."""
    night = Outcomes([Retry("down")] * 3000)
    told, clock, answer = Told(), FakeClock(), Answer()
    await told.sender(night, clock).send(BATCH, answer)
    assert answer.delivered == 2
    assert len(told.waits) == 3000
    assert {id(batch) for batch in night.batches} == {id(BATCH.request)}
    assert clock.waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(clock.waits) == clock.waits[-1] == CAP_S
    assert told.recovered == 1


async def test_a_wait_that_is_asked_for_is_kept_up_to_the_cap() -> None:
    """Retry-After counts if it is longer than the back-off, and a huge one does not stop the lane for a day."""
    told = Told()
    await told.sender(Outcomes([Retry("slow", 7.0), Retry("slow", 86_400.0), Retry("slow", 0.0)])).send(BATCH, Answer())
    assert [delay_s for _, delay_s in told.waits] == [7.0, CAP_S, 2.0]


@pytest.mark.parametrize("unauthorized", [False, True])
async def test_a_misconfiguration_is_waited_for_at_the_longest_back_off(unauthorized: bool) -> None:
    """Someone has to fix it; nothing is dead-lettered or skipped, and the reason of the delay includes the hint."""
    fake = Outcomes([Misconfigured("no such path", unauthorized, hint="check the address")] * 5 + [Retry("starting")])
    told, answer = Told(), Answer()
    await told.sender(fake).send(BATCH, answer)
    assert (answer.delivered, answer.dead, told.recovered) == (2, [], 1)
    assert [delay_s for _, delay_s in told.waits] == [CAP_S] * 5 + [16.0]
    assert all(reason == "no such path (check the address)" for reason, _ in told.waits[:5])
    assert told.waits[5][0] == "starting"


async def test_recovery_is_told_once_for_each_wait_that_ended_and_never_without_one() -> None:
    """A batch that passes at once is no recovery; a rejection ends a delay too."""
    told = Told()
    sender = told.sender(Outcomes([Delivered(), Retry("a"), Retry("b"), Refused("no"), Refused("no"), Retry("c")]))
    await sender.send(BATCH, Answer())
    assert told.recovered == 0
    answer = Answer()
    await sender.send(BATCH, answer)
    assert told.recovered == 2
    assert (answer.delivered, len(answer.dead)) == (1, 1)


async def test_a_patient_sender_still_stops_where_too_much_is_refused() -> None:
    """A patient sender also stops if the destination rejects too much."""
    fake = Outcomes([Refused("no")] * 1000)
    with pytest.raises(DestinationRefuses):
        await Told().sender(fake).send(whole([make_span(n) for n in range(1, 301)]), Answer())


async def test_a_full_disk_is_waited_for_and_whole_lines_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be written stops only its own lane; with room again the same batch is written once."""
    path = tmp_path / "spans.jsonl"
    destination = open_destination(f"otlp-file:{path}")
    told, answer = Told(), Answer()
    full = [OSError(28, "No space left on device")] * 3

    def fsync(_file: int) -> None:
        if full:
            raise full.pop()

    monkeypatch.setattr("netra_otel_bridge.deliver.otlp.file.os.fsync", fsync)
    monkeypatch.setattr("netra_otel_bridge.deliver.otlp.file.sync_directory", lambda path: None)
    await told.sender(destination).send(BATCH, answer)
    assert answer.delivered == 2
    assert path.read_bytes().count(b"\n") == 1
    assert len(told.waits) == 3
    assert all(str(path) in reason and "No space" in reason for reason, _ in told.waits)
    full = [OSError(28, "No space left on device")]
    with pytest.raises(DestinationUnavailable, match="No space"):
        await told.sender(destination, patient=False).send(BATCH, answer)
    await destination.aclose()


async def test_a_back_off_wait_ends_at_once_when_its_task_is_cancelled() -> None:
    """On the real clock, a stop does not wait for a delay of half a minute."""
    told = Told()
    task = asyncio.create_task(told.sender(Outcomes([Retry("down", CAP_S)] * 9), SystemClock()).send(BATCH, Answer()))
    await until(lambda: told.waits)
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < CAP_S / 2


async def test_draining_takes_the_answer_of_the_request_that_is_under_way_and_asks_nothing_more() -> None:
    """Answered items count; the half that was still to be sent does not. A later `send` is not drained."""
    fake, answer = Outcomes([Refused("one is bad"), Delivered()], slow_s=0.05), Answer()
    sender = Told().sender(fake, SystemClock())
    sending = asyncio.create_task(sender.send(BATCH, answer))
    await until(lambda: len(fake.batches) == 2, every_s=0)
    await sender.drain(sending, DEADLINE_S)
    assert sending.cancelled()
    assert answer.accepted == [BATCH.items[0]]
    assert len(fake.batches) == 2
    later = Answer()
    await sender.send(BATCH, later)
    assert later.accepted == list(BATCH.items)


async def test_draining_lets_a_last_request_end_the_batch() -> None:
    """If its only request is answered in time, the batch is answered."""
    fake, answer = Outcomes([], slow_s=0.05), Answer()
    sender = Told().sender(fake, SystemClock())
    sending = asyncio.create_task(sender.send(BATCH, answer))
    await until(lambda: fake.batches, every_s=0)
    await sender.drain(sending, DEADLINE_S)
    assert sending.done()
    assert answer.delivered == 2


@pytest.mark.parametrize(
    ("fake", "seconds"),
    [
        (Outcomes([], slow_s=2 * DEADLINE_S), 0.2),
        (Outcomes([Retry("down", CAP_S)]), DEADLINE_S),
        (Outcomes([Retry("down", CAP_S)], slow_s=0.1), DEADLINE_S),
        (Outcomes([Misconfigured("moved")], slow_s=0.1), DEADLINE_S),
    ],
)
async def test_draining_waits_no_longer_than_it_may_and_not_at_all_for_a_back_off(
    fake: Outcomes, seconds: float
) -> None:
    """No destination delays the drain: one that hangs, one in back-off, or one that answers "wait" meanwhile."""
    answer, told = Answer(), Told()
    sender = told.sender(fake, SystemClock())
    sending = asyncio.create_task(sender.send(BATCH, answer))
    await until(lambda: fake.batches if fake.slow_s else told.waits, every_s=0)
    begun = time.monotonic()
    await sender.drain(sending, seconds)
    assert time.monotonic() - begun < CAP_S / 2
    assert sending.cancelled()
    assert answer == Answer()


async def test_draining_a_batch_that_failed_meanwhile_raises_nothing() -> None:
    """The error of the batch stays in its task, because the lane is ending anyway."""
    sender = Told().sender(Outcomes([Retry("down")]), patient=False)
    sending = asyncio.create_task(_fail())
    await sender.drain(sending, 1)
    assert sending.done()


async def _fail() -> None:
    raise DestinationUnavailable("gone")
