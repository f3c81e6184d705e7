"""A stream of spans that is cut anywhere and resumed sends everything in all its parts together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import NetraError, UsageError
from netra_otel_bridge.core.model.netra import TracesPage
from netra_otel_bridge.core.model.outcome import SpanChunk
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.emulator.store import Store
from netra_otel_bridge.pipeline.resume import (
    ResumePoint,
    decode_token,
    encode_token,
    start_point,
)
from tests.support.emulator import START_NS
from tests.support.examples import examples
from tests.support.oracle import MS, Oracle
from tests.support.streams import STREAM_ID, WINDOW, StreamedNetra, keys, listed, read, sent, small, stored, stream

MOST_LIVES = 60
streams = settings(deadline=None, max_examples=examples(50))


@dataclass(frozen=True, slots=True)
class Traffic:
    """Traces, each by its number of spans and its start after the one before, and how they are read."""

    traces: tuple[tuple[int, int], ...]
    page: int
    chunk: int
    ahead: int
    cuts: tuple[int, ...]
    windowing: str

    def issued(self) -> Oracle:
        oracle = Oracle()
        start_ns = START_NS
        for spans, gap_ns in self.traces:
            start_ns += gap_ns
            oracle.traces(1, spans, start_ns=start_ns)
        return oracle


traffic = st.builds(
    Traffic,
    traces=st.lists(st.tuples(st.integers(1, 7), st.sampled_from([0, 0, MS // 2, 5 * MS, NS_PER_S])), max_size=14)
    .map(tuple),
    page=st.integers(1, 5),
    chunk=st.integers(1, 9),
    ahead=st.integers(1, 6),
    cuts=st.lists(st.integers(0, 5), max_size=6).map(tuple),
    windowing=st.sampled_from(["traces", "spans"]),
)  # fmt: skip


async def lives(
    netra: StreamedNetra, plan: Traffic, *, cut_in: set[str] | None = None, **options: Any
) -> list[SpanChunk]:
    """Return what arrives if the stream is cut after each of the plan's numbers of chunks, and whenever Netra fails.

    ``cut_in`` gets the traces of the spans that came last before a cut.
    """
    chunks: list[SpanChunk] = []
    cuts = iter(plan.cuts)
    for _ in range(MOST_LIVES):
        cut = next(cuts, None)
        life: list[SpanChunk] = []
        try:
            await read(
                stream(netra, chunks[-1].resume_token if chunks else None, ahead=plan.ahead, **options), cut, life
            )
            ended = cut is None
        except NetraError:
            ended = False
        chunks += life
        if cut_in is not None:
            cut_in.update(trace_id for trace_id, _ in keys(chunks)[-1:])
        if ended:
            return chunks
    raise AssertionError("the stream does not come to its end")


def tied(store: Store) -> set[str]:
    """Return the traces that start in the same millisecond as another one, which is as exact as summaries are."""
    traces = list(store.starting_in(WINDOW.start_ns, WINDOW.end_ns))
    starts = Counter(trace.start_ns // MS for trace in traces)
    return {trace.id for trace in traces if starts[trace.start_ns // MS] > 1}


@streams
@given(traffic)
def test_cut_anywhere_and_resumed_it_is_the_whole_in_order_once(plan: Traffic) -> None:
    """Whatever the pages, chunks and cuts, all spans of all traces arrive in order, once, as they were issued."""
    oracle = plan.issued()
    store = stored(oracle)
    with small(page=plan.page, chunk=plan.chunk):
        chunks = asyncio.run(lives(StreamedNetra(store, plan.windowing), plan))
    assert keys(chunks) == listed(store)
    oracle.assert_kept(sent(chunks))


@streams
@given(traffic, st.integers(0, 40))
def test_an_error_of_netra_loses_and_repeats_nothing(plan: Traffic, fails_in: int) -> None:
    """Whichever call fails, the chunks before it and those after the last token are the whole."""
    oracle = plan.issued()
    store = stored(oracle)
    netra = StreamedNetra(store, plan.windowing)
    netra.fails_in = fails_in
    with small(page=plan.page, chunk=plan.chunk):
        chunks = asyncio.run(lives(netra, plan))
    event(f"failed: {bool(netra.failed)}")
    assert keys(chunks) == listed(store)


TWO_RESTARTS = Traffic(
    ((1, 0), (1, 0), (1, 5 * MS), (1, 5 * MS)), page=1, chunk=1, ahead=1, cuts=(), windowing="traces"
)


@streams
@given(traffic, st.sets(st.integers(1, 25), max_size=8))
@example(TWO_RESTARTS, {1, 4, 5})
def test_cursors_that_expire_lose_nothing(plan: Traffic, refused: set[int]) -> None:
    """Whichever cursors are rejected, everything arrives. Only traces that start together with another one may repeat.

    If there are such traces, so may a trace that was cut: it was finished before the listing was repeated.
    """
    oracle = plan.issued()
    store = stored(oracle)
    netra = StreamedNetra(store, plan.windowing)
    netra.refused = refused
    cut_in: set[str] = set()
    with small(page=plan.page, chunk=plan.chunk):
        chunks = asyncio.run(lives(netra, plan, cut_in=cut_in))
    event(f"refused: {bool(refused & set(range(1, netra.cursors + 1)))}")
    verdict = oracle.verdict(sent(chunks))
    assert not verdict.missing, str(verdict)
    assert not verdict.invented + verdict.altered, str(verdict)
    simultaneous = tied(store)
    assert {trace_id for trace_id, _ in verdict.repeated} <= (simultaneous | cut_in if simultaneous else simultaneous)


def shuffled(page: Any, seed: int) -> Any:
    """Put the traces of a page in another order, always the same; the last one still carries the cursor."""
    if not isinstance(page, TracesPage) or not page.traces:
        return page
    traces = sorted(page.traces, key=lambda trace: trace.id[seed:])
    traces[-1] = msgspec.structs.replace(traces[-1], cursor=page.next_cursor)
    return msgspec.structs.replace(page, traces=traces)


@streams
@given(traffic, st.integers(0, 3), st.sets(st.integers(1, 25), max_size=4))
def test_pages_in_disorder_lose_nothing(plan: Traffic, seed: int, refused: set[int]) -> None:
    """Netra may list the traces of a page in any order: each arrives once, or again if a cursor expires meanwhile."""
    oracle = plan.issued()
    store = stored(oracle)
    netra = StreamedNetra(store, plan.windowing)
    netra.refused = refused
    netra.pages = lambda page: shuffled(page, seed)
    with small(page=plan.page, chunk=plan.chunk):
        chunks = asyncio.run(lives(netra, plan))
    verdict = oracle.verdict(sent(chunks))
    assert not verdict.missing, str(verdict)
    if not refused:
        assert not verdict.repeated, str(verdict)


@streams
@given(traffic, st.lists(st.tuples(st.integers(0, 12), st.integers(0, 13), st.integers(-4, 9)), max_size=6))
def test_what_is_there_from_the_beginning_comes_whatever_is_added(
    plan: Traffic, growth: Sequence[tuple[int, int, int]]
) -> None:
    """Traces that appear before, at and after the resume point, and late spans, push nothing out of the stream."""
    oracle = plan.issued()
    store = stored(oracle)
    due = list(oracle.issued)
    netra = StreamedNetra(store, "traces")
    left = list(growth)

    def grow(call: str, cursor: str | None) -> None:
        while left and len(netra.calls) >= left[0][0]:
            _, number, gap = left.pop(0)
            if number < len(plan.traces) and gap > 0:
                trace_id = oracle.trace_ids[number]
                oracle.feed(store, oracle.late(trace_id, 2, after_ns=gap * MS))
            else:
                oracle.feed(store, oracle.traces(2, 2, start_ns=START_NS + gap * 2 * MS, every_ns=0))

    netra.before = grow
    with small(page=plan.page, chunk=plan.chunk):
        chunks = asyncio.run(lives(netra, plan))
    assert set(due) <= set(keys(chunks))
    oracle.assert_kept(sent(chunks), due=due, repeats=len(keys(chunks)))


@streams
@given(traffic, st.lists(st.integers(0, 13), min_size=1, max_size=5))
def test_of_the_traces_that_are_named_each_comes_once(plan: Traffic, numbers: list[int]) -> None:
    """Traces arrive in the order of the ids in the query, however often an id is repeated; unknown ones are reported once."""
    oracle = plan.issued()
    store = stored(oracle)
    names = [oracle.trace_ids[number] if number < len(plan.traces) else f"{number:032x}" for number in numbers]
    with small(page=plan.page, chunk=plan.chunk):
        query = TraceQuery(trace_ids=tuple(names))
        chunks = asyncio.run(lives(StreamedNetra(store, plan.windowing), plan, query=query))
    known = [name for name in dict.fromkeys(names) if name in oracle.trace_ids]
    assert keys(chunks) == [key for name in known for key in listed(store) if key[0] == name]
    reported = [problem for chunk in chunks for problem in chunk.problems]
    assert [line.split(":")[0] for line in reported] == [
        f"trace {name}" for name in dict.fromkeys(names) if name not in known
    ]


points = st.builds(
    ResumePoint, st.just(STREAM_ID), st.integers(0, 10), st.integers(11, 2**60), cursor=st.none() | st.text(), part=st.integers(0, 9),
    passed=st.integers(0, 100), passed_ids=st.text(), last_id=st.text(), before_ns=st.none() | st.integers(),
    next_id=st.text(), sent=st.integers(0, 2**40), sent_ids=st.text(),
)  # fmt: skip


@given(points)
def test_a_token_is_its_resume_point(one: ResumePoint) -> None:
    """A token decodes to its resume point, whatever the ids and cursors look like."""
    assert decode_token(encode_token(one), STREAM_ID) == one


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_what_is_no_token_is_said_to_be_none(text: str) -> None:
    """Any text that is not a token is an error of the caller."""
    with pytest.raises(UsageError):
        decode_token(text, STREAM_ID)


@given(points, st.data())
def test_a_token_that_was_changed_is_none(one: ResumePoint, data: st.DataObject) -> None:
    """A token with a character changed, missing or added is not a token."""
    whole = encode_token(one)
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.characters(max_codepoint=0x17F).filter(lambda new: new != whole[at]))
    broken = data.draw(
        st.sampled_from([f"{whole[:at]}{other}{whole[at + 1 :]}", whole[:at], f"{whole[:at]}{other}{whole[at:]}"])
    )
    with pytest.raises(UsageError):
        decode_token(broken, STREAM_ID)


@given(points)
def test_a_token_of_another_request_is_refused(one: ResumePoint) -> None:
    """A stream resumes with its own tokens only."""
    with pytest.raises(UsageError, match="another request"):
        decode_token(encode_token(one), "other")


@given(st.integers(), st.integers())
def test_a_token_whose_times_no_calendar_has_is_none(start_ns: int, end_ns: int) -> None:
    """A forged token decodes to a valid resume point, or is rejected."""
    try:
        found = decode_token(encode_token(start_point(STREAM_ID, Window(start_ns, end_ns))), STREAM_ID)
    except UsageError:
        return
    assert found.start_ns < found.end_ns
