"""Objects of a program as destinations: functions, processors and others, their exceptions, deadlines and names."""

from __future__ import annotations

import asyncio
import functools
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, SynchronousMultiSpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.errors import (
    DestinationMisconfigured,
    DestinationUnauthorized,
    DestinationUnavailable,
    StateNotWritten,
    UsageError,
)
from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    PartlyRefused,
    Refused,
    Retry,
    SpanBatch,
)
from netra_otel_bridge.deliver import (
    Answer,
    Destination,
    ExporterDestination,
    Named,
    Sender,
    batch_of,
    destination_from,
)
from netra_otel_bridge.deliver.adapters.callback import CallbackDestination
from netra_otel_bridge.deliver.adapters.processor import ProcessorDestination
from tests.support.batches import whole
from tests.support.examples import examples
from tests.support.exporters import ScriptedExporter
from tests.support.fake_clock import FakeClock
from tests.support.spans import make_span
from tests.support.waiting import DEADLINE_S, until

BATCH = batch_of((make_span(1), make_span(2)))
OTHER = batch_of((make_span(3),))
Spans = Sequence[ReadableSpan]


class Processor(SpanProcessor):
    """Records its calls; ``poison`` spans raise, and the flush returns what the script says."""

    def __init__(self, poison: Callable[[ReadableSpan], BaseException | None] = lambda _: None, *flushes: Any) -> None:
        self.ended: list[ReadableSpan] = []
        self.flushes: list[Any] = list(flushes)
        self.flushed = 0
        self.threads: set[int] = set()
        self._poison = poison

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)
        self.threads.add(threading.get_ident())
        assert get_value(_SUPPRESS_INSTRUMENTATION_KEY)
        error = self._poison(span)
        if error is not None:
            raise error

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        self.flushed += 1
        answer = self.flushes.pop(0) if self.flushes else True
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def shutdown(self) -> None:
        raise AssertionError("the caller's own processor was shut down")


async def answer_to(callback: Any, deadline_s: float = 1.0) -> Outcome:
    destination = CallbackDestination("test", callback, deadline_s)
    try:
        return await destination.send(BATCH)
    finally:
        await destination.aclose()


async def test_a_plain_function_is_called_on_a_thread_of_its_own() -> None:
    """The function receives the spans of the batch, is not traced, and they are delivered whatever it returns."""
    seen: list[tuple[Spans, int, object]] = []

    def take(spans: Spans) -> bool:
        seen.append((spans, threading.get_ident(), get_value(_SUPPRESS_INSTRUMENTATION_KEY)))
        return False

    assert await answer_to(take) == Delivered()
    ((spans, thread, suppressed),) = seen
    assert spans is BATCH.spans
    assert thread != threading.get_ident()
    assert suppressed


class Awaited:
    """A callable object whose result is awaited."""

    async def __call__(self, spans: Spans) -> None:
        assert threading.current_thread() is threading.main_thread()
        assert get_value(_SUPPRESS_INSTRUMENTATION_KEY)
        self.spans = spans


async def test_an_async_function_is_awaited_in_the_loop() -> None:
    """An object with an ``async`` call is awaited, and so is an awaitable that a plain function returns."""
    awaited = Awaited()
    assert await answer_to(awaited) == Delivered()
    assert awaited.spans is BATCH.spans
    later = Awaited()
    assert await answer_to(lambda spans: later(spans)) == Delivered()
    assert later.spans is BATCH.spans
    assert get_value(_SUPPRESS_INSTRUMENTATION_KEY) is None


async def test_a_function_is_never_called_twice_at_once() -> None:
    """Batches that are sent at the same time go one after another, in a thread and in the loop."""
    at_once: list[int] = [0, 0]

    def plain(_: Spans) -> None:
        at_once[0] += 1
        at_once[1] = max(at_once)
        threading.Event().wait(0.01)
        at_once[0] -= 1

    async def awaited(_: Spans) -> None:
        at_once[0] += 1
        at_once[1] = max(at_once)
        await asyncio.sleep(0.01)
        at_once[0] -= 1

    for callback in (plain, awaited):
        destination = CallbackDestination("test", callback)
        assert await asyncio.gather(*(destination.send(batch) for batch in (BATCH, OTHER, BATCH))) == [Delivered()] * 3
        await destination.aclose()
    assert at_once == [0, 1]


def fails(error: Exception) -> Callable[[object], None]:
    def fail(_: object) -> None:
        raise error

    return fail


def caused(by: BaseException) -> BaseException:
    error = ValueError("wrapped")
    error.__cause__ = by
    return error


RAISED: list[tuple[BaseException, Outcome]] = [
    (ValueError("not this one"), Refused("WHO raised ValueError: not this one")),
    (SystemExit(3), Refused("WHO raised SystemExit: 3", "defect")),
    (ConnectionRefusedError("no"), Retry("ConnectionRefusedError: no")),
    (TimeoutError("slow"), Retry("TimeoutError: slow")),
    (grpc.RpcError("gone"), Retry("RpcError: gone")),
    (caused(OSError("down")), Retry("OSError: down")),
    (ssl.SSLError("CERTIFICATE_VERIFY_FAILED"), Misconfigured("SSLError: ('CERTIFICATE_VERIFY_FAILED',)")),
    (BrokenPipeError(), Misconfigured("the reader of the output of WHO has closed it")),
    (DestinationUnavailable("full", hint="wait"), Retry("full (wait)")),
    (DestinationMisconfigured("wrong topic"), Misconfigured("wrong topic")),
    (DestinationUnauthorized("no token"), Misconfigured("no token", unauthorized=True)),
]


@pytest.mark.parametrize(("error", "outcome"), RAISED, ids=[type(error).__name__ for error, _ in RAISED])
async def test_what_is_raised_says_what_follows(error: BaseException, outcome: Outcome) -> None:
    """A plain function, an async one and a processor alike: wait, stop, or look for the span at fault."""

    def plain(_: Spans) -> None:
        raise error

    async def awaited(_: Spans) -> None:
        raise error

    def told(who: str) -> Outcome:
        return type(outcome)(**{**slots_of(outcome), "reason": outcome.reason.replace("WHO", who)})  # type: ignore[union-attr]

    def slots_of(one: Any) -> dict[str, Any]:
        return {name: getattr(one, name) for name in one.__slots__}

    assert await answer_to(plain) == told("the callback")
    assert await answer_to(awaited) == told("the callback")
    for send in (plain, awaited):
        own = destination_from(SimpleNamespace(name="mine", send=send, aclose=send))
        assert await own.send(BATCH) == told("its send")
        await own.aclose()
    processing = ProcessorDestination("test", Processor(lambda _: error))
    assert await processing.send(BATCH) == told("the processor")
    await processing.aclose()


async def test_a_destination_of_ones_own_answers_for_itself() -> None:
    """The object's name and outcomes are kept; anything but an outcome is an error, and an error of the bridge is raised."""
    answers: list[Any] = [Delivered("slow"), Retry("later"), None, True, StateNotWritten("disk full")]

    async def send(batch: SpanBatch) -> Any:
        assert batch is BATCH
        assert get_value(_SUPPRESS_INSTRUMENTATION_KEY)
        if isinstance(answers[0], Exception):
            raise answers.pop(0)
        return answers.pop(0)

    own = destination_from(SimpleNamespace(name="mine", send=send, aclose=None.__class__))
    assert own.name == "mine"
    assert await own.send(BATCH) == Delivered("slow")
    assert await own.send(BATCH) == Retry("later")
    assert await own.send(BATCH) == Misconfigured("its send returned NoneType; return an Outcome")
    assert await own.send(BATCH) == Misconfigured("its send returned bool; return an Outcome")
    with pytest.raises(StateNotWritten):
        await own.send(BATCH)


async def test_an_exporters_own_method_is_no_callback() -> None:
    """A function that returns FAILURE would lose spans, so it is misconfigured; SUCCESS counts like any other value."""
    assert await answer_to(lambda _: SpanExportResult.SUCCESS) == Delivered()
    outcome = await answer_to(lambda _: SpanExportResult.FAILURE)
    assert isinstance(outcome, Misconfigured)
    assert "pass the exporter itself" in outcome.reason


async def test_a_slow_function_is_waited_for_and_not_called_again() -> None:
    """After the deadline it is `Retry`; the same batch then gets the answer of the call that still runs."""
    go_on, calls = threading.Event(), []

    def slow(spans: Spans) -> None:
        calls.append(spans)
        go_on.wait(DEADLINE_S)

    destination = CallbackDestination("test", slow, 0.05)
    assert await destination.send(BATCH) == Retry("the callback did not return within 0.05 s")
    assert isinstance(await destination.send(OTHER), Retry)
    go_on.set()

    async def arrived() -> bool:
        return await destination.send(BATCH) == Delivered()

    await until(arrived)
    assert calls == [BATCH.spans]
    await destination.aclose()


async def test_a_slow_async_function_is_cancelled() -> None:
    """After the deadline it is cancelled and the batch is sent again; a timeout of its own is its own exception."""
    ends = []

    async def slow(_: Spans) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ends.append("cancelled")

    assert await answer_to(slow, 0.05) == Retry("the callback did not return within 0.05 s")
    assert ends == ["cancelled"]


async def test_who_cancels_is_told_apart() -> None:
    """A function that cancels itself is tried again; cancelling the bridge cancels the function."""
    begun = asyncio.Event()

    async def cancels_itself(_: Spans) -> None:
        raise asyncio.CancelledError

    async def hangs(_: Spans) -> None:
        begun.set()
        await asyncio.sleep(10)

    assert await answer_to(cancels_itself) == Retry("the callback was cancelled")
    sending = asyncio.create_task(answer_to(hangs))
    await begun.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_what_cancels_the_task_it_runs_in_cancels_itself_alone() -> None:
    """The batch of a function or destination is sent again, and their caller is not cancelled."""

    async def cancels_its_task(_: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    own = destination_from(
        cast(Destination, SimpleNamespace(name="own", send=cancels_its_task, aclose=cancels_its_task))
    )
    assert await answer_to(cancels_its_task) == Retry("the callback was cancelled")
    assert await own.send(BATCH) == Retry("its send was cancelled")


async def test_what_others_say_is_one_printable_line() -> None:
    """A raised or returned text contains no escape sequence and no bidi mark."""
    nasty = "\x1b]0;owned\x07\x1b[2J\nok \u202edesrever"
    plain = r"\x1b]0;owned\x07\x1b[2J ok \u202edesrever"

    class Says:
        name = "own"

        def __init__(self, answer: object) -> None:
            self.answer = answer

        async def send(self, _: SpanBatch) -> Any:
            return fails(self.answer)(()) if isinstance(self.answer, Exception) else self.answer

        async def aclose(self) -> None:
            """Do nothing: there is nothing to release."""

    assert await destination_from(Says(Refused(nasty))).send(BATCH) == Refused(plain)
    assert await destination_from(Says(Delivered(nasty))).send(BATCH) == Delivered(plain)
    assert await destination_from(Says(DestinationUnauthorized(nasty))).send(BATCH) == Misconfigured(plain, True)
    assert await answer_to(fails(ValueError(nasty))) == Refused(f"the callback raised ValueError: {plain}")
    exporter = ExporterDestination("mine", ScriptedExporter(ValueError(nasty)))
    assert await exporter.send(BATCH) == Refused(f"the exporter raised ValueError: {plain}")
    await exporter.aclose()


async def test_a_processor_gets_each_span_and_is_flushed() -> None:
    """The processor runs on one thread that is not that of the loop, and is not shut down afterwards."""
    processor = Processor()
    destination = ProcessorDestination("test", processor)
    assert [await destination.send(batch) for batch in (BATCH, OTHER)] == [Delivered()] * 2
    await destination.aclose()
    assert processor.ended == [*BATCH.spans, *OTHER.spans]
    assert processor.flushed == 2
    assert len(processor.threads) == 1
    assert threading.get_ident() not in processor.threads


async def test_a_flush_that_fails_is_done_again_alone() -> None:
    """If the flush returns False or raises, no span goes to ``on_end`` twice."""
    processor = Processor(lambda _: None, False, ConnectionError("down"), ValueError("odd"))
    destination = ProcessorDestination("test", processor)
    answers = [await destination.send(BATCH) for _ in range(4)]
    await destination.aclose()
    assert answers[-1] == Delivered()
    assert [type(answer) for answer in answers[:3]] == [Retry] * 3
    assert processor.ended == list(BATCH.spans)


async def test_the_sdks_own_processors_are_destinations() -> None:
    """A delivered span has reached the exporter of a BatchSpanProcessor; one that is shut down delivers nothing."""
    for processor_of in (BatchSpanProcessor, SimpleSpanProcessor):
        memory = InMemorySpanExporter()
        processor: SpanProcessor = processor_of(memory)
        destination = destination_from(processor)
        assert await destination.send(BATCH) == Delivered()
        assert memory.get_finished_spans() == BATCH.spans
        processor.shutdown()
        await destination.aclose()
        several = SynchronousMultiSpanProcessor()
        several.add_span_processor(processor)
        for ended in (processor, several):
            destination = destination_from(ended)
            assert await destination.send(BATCH) == Misconfigured("the processor is shut down")
            await destination.aclose()


@pytest.mark.parametrize("room", [1, 7, 100, 2048])
@pytest.mark.parametrize("wrapped", [False, True])
async def test_no_queue_overflows(room: int, wrapped: bool) -> None:
    """A ``BatchSpanProcessor`` with a queue of any size, alone or among others, passes on all spans of a large batch."""
    memory = InMemorySpanExporter()
    processor: Any = BatchSpanProcessor(memory, max_queue_size=room, max_export_batch_size=room)
    if wrapped:
        several = SynchronousMultiSpanProcessor()
        several.add_span_processor(Processor())
        several.add_span_processor(processor)
        processor, inner = several, processor
    destination = destination_from(processor)
    batch = batch_of(tuple(make_span(number) for number in range(500)))
    assert await destination.send(batch) == Delivered()
    assert memory.get_finished_spans() == batch.spans
    (inner if wrapped else processor).shutdown()
    await destination.aclose()


async def test_a_flush_between_that_fails_goes_on_behind_it() -> None:
    """Spans that were passed on are not repeated; the others follow when the flush has returned."""
    processor = Processor(lambda _: None, True, False, ConnectionError("down"))
    destination = ProcessorDestination("test", processor)
    batch = batch_of(tuple(make_span(number) for number in range(200)))
    assert [type(await destination.send(batch)) for _ in range(2)] == [Retry] * 2
    assert len(processor.ended) == 128
    assert await destination.send(batch) == Delivered()
    assert processor.ended == list(batch.spans)
    await destination.aclose()


def run_sender(destination: Destination, count: int) -> Answer[None]:
    async def send() -> Answer[None]:
        sender = Sender(destination, backoff=Backoff(), clock=FakeClock(), on_retry=lambda *_: None)
        answer: Answer[None] = Answer()
        await sender.send(whole(tuple(make_span(number) for number in range(count))), answer)
        await destination.aclose()
        return answer

    return asyncio.run(send())


POISON = st.sets(st.integers(0, 29))


@settings(max_examples=examples(30), deadline=None)
@given(POISON, st.integers(1, 30))
def test_a_processor_gets_each_span_once_whatever_is_poison(poison: set[int], count: int) -> None:
    """Exactly the poisonous spans are dead, all others are delivered, and each went to ``on_end`` once."""
    processor = Processor(lambda span: ValueError("poison") if span.context.span_id in poison else None)
    answer = run_sender(ProcessorDestination("test", processor), count)
    dead = {dead.span.context.span_id for dead in answer.dead}
    assert dead == poison & set(range(count))
    assert answer.delivered == count - len(dead)
    assert Counter(span.context.span_id for span in processor.ended) == dict.fromkeys(range(count), 1)


@settings(max_examples=examples(30), deadline=None)
@given(POISON, st.integers(1, 30), st.booleans())
def test_a_function_that_takes_all_or_nothing_gets_the_rest(poison: set[int], count: int, plain: bool) -> None:
    """Exactly the poisonous spans are dead; every other span was in one call that returned."""
    taken: list[int] = []

    def take(spans: Spans) -> None:
        ids = [span.context.span_id for span in spans]
        if poison & set(ids):
            raise ValueError("poison")
        taken.extend(ids)

    async def awaited(spans: Spans) -> None:
        take(spans)

    answer = run_sender(destination_from(take if plain else awaited), count)
    assert {dead.span.context.span_id for dead in answer.dead} == poison & set(range(count))
    assert sorted(taken) == sorted(set(range(count)) - poison)


class Method:
    def take(self, spans: Spans) -> None:
        """Do nothing."""


def take(spans: Spans) -> None:
    """Do nothing."""


async def test_each_kind_is_told_apart_and_named() -> None:
    """The name is that of the class or the function, unless `Named` gives one."""

    def inner(spans: Spans) -> None:
        """Do nothing."""

    named = {
        "take": take, "inner": inner, "Method.take": Method().take, "Awaited": Awaited(), "list.extend": [].extend,
        "<lambda>": lambda spans: None, "Processor": Processor(), "InMemorySpanExporter": InMemorySpanExporter(),
    }  # fmt: skip
    for name, given_ in {**named, "take ": functools.partial(functools.partial(take))}.items():
        destination = destination_from(given_)
        assert destination.name == name.strip()
        kind = {"Processor": ProcessorDestination, "InMemorySpanExporter": ExporterDestination}
        assert type(destination) is kind.get(name, CallbackDestination)
        await destination.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            await destination.send(BATCH)
        assert destination_from(Named("mine", given_)).name == "mine"


@pytest.mark.parametrize(
    ("given_", "match"),
    [
        (InMemorySpanExporter, "is a class"),
        (Method(), "type Method accepts no spans"),
        (7, "type int"),
        (Named("", take), "is not a name for a destination"),
        (Named("two\nlines", take), "is not a name for a destination"),
        (Named("a", Named("b", take)), "names an object that already has a name"),
        (Named("a", "otlp"), "names an object that already has a name"),
        (Named("a", 7), "type int"),
        (SimpleNamespace(name="a", send=take), "has no method aclose"),
        (SimpleNamespace(name="a", send=7, aclose=take), "has no method send"),
        (SimpleNamespace(send=take, aclose=take), "has no name"),
        (SimpleNamespace(name=7, send=take, aclose=take), "has no name"),
    ],
)
def test_what_takes_no_spans_is_refused(given_: Any, match: str) -> None:
    """A class instead of its instance, or any other object, is rejected before anything is read."""
    with pytest.raises(UsageError, match=match):
        destination_from(given_)


def test_a_name_that_cannot_be_read_is_refused() -> None:
    """Any exception of the property becomes a `UsageError`."""

    class Nameless:
        send = aclose = take

        @property
        def name(self) -> str:
            raise RuntimeError("no name yet")

    with pytest.raises(UsageError, match="RuntimeError: no name yet"):
        destination_from(cast(Destination, Nameless()))


@pytest.mark.parametrize("refused", [-5, 4, "1", None])
async def test_a_partial_refusal_counts_spans_of_the_batch(refused: Any) -> None:
    """Any other number is not an answer, and the reason says so."""

    class Own:
        name = "own"

        async def send(self, batch: SpanBatch) -> Outcome:
            return PartlyRefused(refused, "some")

        async def aclose(self) -> None:
            """Do nothing."""

    given = await destination_from(Own()).send(batch_of([make_span(number) for number in range(1, 4)]))
    assert isinstance(given, Misconfigured)
    assert "PartlyRefused" in given.reason


async def test_causes_that_go_round_end() -> None:
    """An exception can be its own cause in the end."""

    def goes_round(_: object) -> None:
        one, other = ValueError("one"), ValueError("other")
        one.__cause__, other.__cause__ = other, one
        raise one

    given = await asyncio.wait_for(destination_from(goes_round).send(batch_of([make_span(1)])), DEADLINE_S)
    assert isinstance(given, Refused)
