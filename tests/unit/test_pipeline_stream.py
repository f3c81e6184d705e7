"""Streams of spans: resuming after a cut, reporting what is missing, reading ahead, and ending."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import (
    NetraCursorRefused,
    NetraError,
    NetraNotFound,
    NetraRateLimited,
    NetraRejected,
    NetraResponseTooLarge,
    NetraSchemaError,
    NetraUnavailable,
    NotKnown,
    UsageError,
)
from netra_otel_bridge.core.model.netra import SpansPage, TracesPage, UnreadableItem
from netra_otel_bridge.core.model.outcome import SpanChunk
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.emulator.otlp import read_document
from netra_otel_bridge.emulator.store import Store
from netra_otel_bridge.pipeline import resume
from netra_otel_bridge.pipeline.resume import decode_token, encode_token, start_point
from tests.support.emulator import START_NS, otlp_document, otlp_span
from tests.support.examples import size, spread
from tests.support.oracle import MS, Oracle
from tests.support.streams import (
    STREAM_ID,
    WINDOW,
    StreamedNetra,
    keys,
    listed,
    problems,
    read,
    sent,
    small,
    stored,
    stream,
)
from tests.support.waiting import DEADLINE_S


def issued(traces: int = 10, spans: int = 4, **options: Any) -> tuple[Oracle, StreamedNetra]:
    """Issue traces, and return them with a Netra that holds them."""
    oracle = Oracle()
    oracle.traces(traces, spans, **options)
    return oracle, StreamedNetra(stored(oracle))


def failing(call: str, error: Exception) -> Callable[[str, str | None], None]:
    """Return a hook that fails every call of this name."""

    def fail(name: str, _cursor: str | None) -> None:
        if name == call:
            raise error

    return fail


def edited(edit: Callable[[SpansPage], SpansPage], trace_id: str) -> Callable[[Any], Any]:
    """Return a hook that edits the pages of this trace's spans."""

    def pages(page: Any) -> Any:
        mine = isinstance(page, SpansPage) and page.spans and page.spans[0].trace_id == trace_id
        return edit(page) if mine else page

    return pages


# after a cut


def test_a_trace_that_grew_after_what_was_sent_is_continued() -> None:
    """Late spans are sent with the rest, and nothing is repeated."""
    oracle, netra = issued(3, 10)
    with small(chunk=4):
        first = asyncio.run(read(stream(netra), 4))
        oracle.feed(netra.store, oracle.late(oracle.trace_ids[1], 3))
        rest = asyncio.run(read(stream(netra, first[-1].resume_token)))
    assert keys(first) + keys(rest) == listed(netra.store)


def test_a_trace_that_grew_before_what_was_sent_comes_again() -> None:
    """If the spans that were sent are no longer the first ones, the whole trace is sent."""
    oracle, netra = issued(3, 10)
    middle = oracle.trace_ids[1]
    with small(chunk=4):
        first = asyncio.run(read(stream(netra), 4))
        late = oracle.late(middle, 1, after_ns=-60 * MS)
        oracle.feed(netra.store, late)
        rest = asyncio.run(read(stream(netra, first[-1].resume_token)))
    assert keys(first)[-1][0] == middle
    assert keys(rest) == [key for key in listed(netra.store) if key[0] in oracle.trace_ids[1:]]


@pytest.mark.parametrize("before_s", [1, 3, 100_000])
def test_a_trace_whose_root_came_late_is_finished(before_s: int) -> None:
    """A trace that now starts before the resume point, or before the range, is no longer listed, and is continued anyway."""
    oracle, netra = issued(6, 10)
    middle = oracle.trace_ids[3]
    with small(page=2, chunk=4):
        first = asyncio.run(read(stream(netra), 9))
        oracle.feed(netra.store, oracle.late(middle, 1, after_ns=-before_s * NS_PER_S))
        rest = asyncio.run(read(stream(netra, first[-1].resume_token)))
    assert keys(first)[-1][0] == middle
    again = [row.span_id for row in netra.store.rows(netra.store._traces[middle])]
    assert [span_id for trace_id, span_id in keys(rest) if trace_id == middle] == again
    oracle.assert_kept(sent(first + rest), repeats=6)


def test_a_trace_that_lost_the_spans_that_were_sent_comes_whole() -> None:
    """A trace with fewer spans than were sent is sent whole."""
    oracle, netra = issued(2, 10)
    with small(page=100, chunk=4):
        first = asyncio.run(read(stream(netra), 2))
        netra.pages = edited(lambda page: msgspec.structs.replace(page, spans=page.spans[5:]), oracle.trace_ids[0])
        rest = asyncio.run(read(stream(netra, first[-1].resume_token)))
    assert len(keys(rest)) == 5 + 10


def test_at_the_end_nothing_comes() -> None:
    """The last token resumes after everything."""
    _, netra = issued(5)
    chunks = asyncio.run(read(stream(netra)))
    assert asyncio.run(read(stream(netra, chunks[-1].resume_token))) == []


def test_traces_added_after_the_resume_point_arrive_and_before_it_do_not() -> None:
    """A stream only moves forward."""
    oracle, netra = issued(6, 4)
    with small(page=2, chunk=4):
        first = asyncio.run(read(stream(netra), 3))
        before = oracle.traces(1, 4, start_ns=START_NS + NS_PER_S // 2)
        after = oracle.traces(1, 4, start_ns=START_NS + 60 * NS_PER_S)
        oracle.feed(netra.store, before + after)
        rest = asyncio.run(read(stream(netra, first[-1].resume_token)))
    assert keys(first) + keys(rest) == [key for key in listed(netra.store) if key not in before]


def test_a_cursor_that_expired_before_resuming_is_done_without() -> None:
    """The range is listed again without what was sent."""
    _, netra = issued(9, 4)
    with small():
        first = asyncio.run(read(stream(netra), 6))
        netra.cursors, netra.refused = 0, {1}
        rest = asyncio.run(read(stream(netra, first[-1].resume_token)))
    assert netra.cursors > 1
    assert keys(first) + keys(rest) == listed(netra.store)


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_page_that_is_in_disorder_and_listed_again_loses_nothing(cut: int) -> None:
    """If a page lists its last traces first, only traces that start before all remaining ones count as sent."""
    _, netra = issued(8, 1)

    def reverse(page: Any) -> Any:
        return msgspec.structs.replace(page, traces=page.traces[::-1]) if isinstance(page, TracesPage) else page

    netra.pages = reverse
    with small(page=4, chunk=1):
        first = asyncio.run(read(stream(netra), cut))
        netra.cursors, netra.refused = 0, {1}
        rest = asyncio.run(read(stream(netra, first[-1].resume_token)))
    assert set(keys(first) + keys(rest)) == set(listed(netra.store))
    assert netra.cursors > 1


def test_a_page_that_changed_meanwhile_resumes_after_the_last_trace() -> None:
    """A new trace among those that were sent shifts the page; nothing is repeated or left out."""
    oracle, netra = issued(6, 4)
    with small(page=100, chunk=4):
        first = asyncio.run(read(stream(netra), 3))
        before = oracle.traces(2, 4, start_ns=START_NS + NS_PER_S // 2, every_ns=MS)
        oracle.feed(netra.store, before)
        rest = asyncio.run(read(stream(netra, first[-1].resume_token)))
    assert keys(first) + keys(rest) == [key for key in listed(netra.store) if key not in before]


def test_a_slow_reader_outlives_any_number_of_cursors() -> None:
    """Cursors may expire whenever the client pauses, as long as each new listing gets further."""
    _, netra = issued(30, 2)
    fresh: set[str | None] = {None}
    refusals = 0

    def hand_out(page: Any) -> Any:
        fresh.add(page.next_cursor)
        return page

    def refuse(call: str, cursor: str | None) -> None:
        nonlocal refusals
        if cursor not in fresh:
            refusals += 1
            raise NetraRejected("the cursor has expired", status=400)

    async def story() -> list[SpanChunk]:
        chunks = []
        async with aclosing(stream(netra, ahead=2).chunks()) as arriving:
            async for chunk in arriving:
                chunks.append(chunk)
                await settled(netra)
                fresh.intersection_update({None})
        return chunks

    netra.before, netra.pages = refuse, hand_out
    with small(page=2):
        assert keys(asyncio.run(story())) == listed(netra.store)
    assert refusals > 5


@pytest.mark.parametrize("every_ns", [0, NS_PER_S])
def test_cursors_that_are_never_taken_are_an_error(every_ns: int) -> None:
    """If listing again gets no further, the stream ends after some tries; the first page arrived."""
    _, netra = issued(9, 2, every_ns=every_ns)
    netra.refused = set(range(1, 1000))
    chunks: list[SpanChunk] = []
    with small(page=3), pytest.raises(NetraCursorRefused):
        asyncio.run(read(stream(netra), into=chunks))
    assert netra.calls.count("traces") <= 8
    assert set(keys(chunks)) == set(listed(netra.store)[:6])


def test_a_request_that_is_refused_is_not_repeated() -> None:
    """A rejection without a cursor is about the request itself."""
    _, netra = issued(1)
    netra.before = failing("traces", NetraRejected("no such filter", status=400))
    with pytest.raises(NetraRejected, match="no such filter"):
        asyncio.run(read(stream(netra)))
    assert netra.calls == ["traces"]


def test_an_item_that_is_listed_twice_comes_once() -> None:
    """If pages overlap because the data moved, the trace on both is not sent twice."""
    oracle, netra = issued(9, 1)
    last: list[Any] = []

    def overlapping(page: Any) -> Any:
        if isinstance(page, TracesPage):
            page = msgspec.structs.replace(page, traces=[*last, *page.traces, page.traces[0]])
            last[:] = page.traces[-2:-1]
        return page

    netra.pages = overlapping
    with small(page=3):
        oracle.assert_kept(sent(asyncio.run(read(stream(netra)))))


def test_all_before_an_error_comes_and_the_token_leads_on() -> None:
    """The traces before the failure arrive, then the error; a later stream resumes there."""
    oracle, netra = issued(10, 3)

    failing_calls = [f"spans {trace_id}" for trace_id in oracle.trace_ids[6:]]
    failed: list[str] = []

    def down(call: str, cursor: str | None) -> None:
        if failed or call in failing_calls:
            failed.append(call)
            raise NetraUnavailable("down")

    netra.before = down
    chunks: list[SpanChunk] = []
    with pytest.raises(NetraUnavailable, match="down"):
        asyncio.run(read(stream(netra), into=chunks))
    assert keys(chunks) == listed(netra.store)[: 6 * 3]
    netra.before = lambda call, cursor: None
    rest = asyncio.run(read(stream(netra, chunks[-1].resume_token)))
    assert keys(chunks + rest) == listed(netra.store)


# missing traces and unreadable items


def forget(netra: StreamedNetra, *gone: str) -> None:
    """Answer 404 for the spans of these traces, and list them no more once it was asked for."""
    asked: set[str] = set()

    def answer(call: str, _: str | None) -> None:
        if call.removeprefix("spans ") in gone:
            asked.add(call.removeprefix("spans "))
            raise NetraNotFound("none", status=404)

    def unlisted(page: Any) -> Any:
        if isinstance(page, TracesPage) and len(page.traces) == 1 and page.traces[0].id in asked:
            return msgspec.structs.replace(page, traces=[])
        return page

    netra.before, netra.pages = answer, unlisted


@pytest.mark.parametrize("gone", [1, 15])
def test_a_trace_that_is_gone_is_reported_and_the_rest_arrives(gone: int) -> None:
    """A 404 for a trace that is no longer listed is reported as a problem, in order, however many there are."""
    oracle, netra = issued(18, 4)
    deleted = oracle.trace_ids[:gone]
    forget(netra, *deleted)
    with small(page=100, chunk=4):
        chunks = asyncio.run(read(stream(netra)))
    assert keys(chunks) == [key for key in listed(netra.store) if key[0] not in deleted]
    assert problems(chunks) == [f"trace {one}: it was deleted after Netra listed it" for one in deleted]


BROKEN = {
    "404": NetraNotFound("none", status=404),
    "410": NetraRejected("gone", status=410),
    "400": NetraRejected("HTTP 400", status=400),
    "429": NetraRateLimited("HTTP 429", status=429),
    "500": NetraUnavailable("HTTP 500", status=500),
    "malformed": NetraSchemaError("$: not an object"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("first", [0, 20])
def test_many_traces_that_cannot_be_read_stop_no_other(kind: str, first: int) -> None:
    """Even if they come first, and Netra lists them: each is a problem, and every other trace arrives."""
    oracle, netra = issued(60, 1)
    bad = oracle.trace_ids[first : first + 25]

    def broken(call: str, _: str | None) -> None:
        if call.removeprefix("spans ") in bad:
            raise BROKEN[kind]

    netra.before = broken
    with small(page=100):
        chunks = asyncio.run(read(stream(netra)))
    assert keys(chunks) == [key for key in listed(netra.store) if key[0] not in bad]
    assert problems(chunks) == [f"trace {one}: not in this stream, it cannot be read: {BROKEN[kind]}" for one in bad]


def test_controls_that_cannot_be_read_either_are_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first traces chosen as controls are broken too; more are read before everything is said to fail."""
    oracle, netra = issued(60, 1)
    bad = oracle.trace_ids[:25]
    monkeypatch.setattr(random, "sample", lambda ids, size: sorted(ids, key=lambda one: one not in bad)[:size])

    def broken(call: str, _: str | None) -> None:
        if call.removeprefix("spans ") in bad:
            raise BROKEN["404"]

    netra.before = broken
    with small(page=100):
        chunks = asyncio.run(read(stream(netra)))
    assert keys(chunks) == [key for key in listed(netra.store) if key[0] not in bad]
    assert len(problems(chunks)) == len(bad)


def test_a_trace_that_is_too_large_to_read_stops_no_other() -> None:
    """The trace is reported as a problem, in order; requested by its id, it is an error."""
    oracle, netra = issued(5, 4)
    large = oracle.trace_ids[2]
    netra.before = failing(f"spans {large}", NetraResponseTooLarge("more than the cap"))
    with small(chunk=4):
        chunks = asyncio.run(read(stream(netra)))
        with pytest.raises(NetraResponseTooLarge):
            asyncio.run(read(stream(netra, trace_id=large)))
    assert keys(chunks) == [key for key in listed(netra.store) if key[0] != large]
    assert [chunk.problems for chunk in chunks if chunk.problems] == [
        (f"trace {large}: not in this stream, it cannot be read: more than the cap",)
    ]


def test_a_trace_that_cannot_be_read_stops_no_other() -> None:
    """It is reported as a problem, in order, and the stream ends well."""
    oracle, netra = issued(8, 2)
    bad = oracle.trace_ids[2]
    netra.before = failing(f"spans {bad}", NetraUnavailable("HTTP 500"))
    chunks = asyncio.run(read(stream(netra)))
    assert keys(chunks) == [key for key in listed(netra.store) if key[0] != bad]
    assert problems(chunks) == [f"trace {bad}: not in this stream, it cannot be read: HTTP 500"]


@pytest.mark.parametrize(
    "error",
    [NetraNotFound("no such path", status=404), NetraNotFound("no such path", status=302), NetraUnavailable("down")],
)
def test_where_traces_fail_in_numbers_it_is_not_the_traces(error: NetraError) -> None:
    """Without one that can be read, more than ten that fail are an error, also if Netra says that it has no spans."""
    traces = 12
    oracle, netra = issued(traces, 1)

    def gone(call: str, cursor: str | None) -> None:
        if call.startswith("spans"):
            raise error

    netra.before = gone
    with pytest.raises(type(error)):
        asyncio.run(read(stream(netra)))
    assert len(oracle.trace_ids) == traces


def test_a_trace_without_spans_is_reported_once() -> None:
    """The token of the chunk resumes after the problem, so it is reported once."""
    oracle, netra = issued(3, 4)
    empty = oracle.trace_ids[1]
    netra.pages = edited(lambda page: msgspec.structs.replace(page, spans=[]), empty)
    with small(page=100, chunk=8):
        chunks = asyncio.run(read(stream(netra)))
        rest = asyncio.run(read(stream(netra, chunks[0].resume_token)))
    (problem,) = problems(chunks)
    assert f"not in this stream, it cannot be read: Netra lists trace {empty} but has no spans of it" in problem
    assert keys(rest) == keys(chunks[1:])
    assert problems(rest) == problems(chunks[1:])


def test_many_problems_come_in_several_chunks() -> None:
    """Problems of many traces that are gone are sent in bounded chunks, and the resume point advances."""
    count = size(220, 450)
    oracle, netra = issued(count, 1)
    forget(netra, *oracle.trace_ids)
    chunks = asyncio.run(read(stream(netra)))
    assert len(problems(chunks)) == count
    assert max(len(chunk.problems) for chunk in chunks) <= 100
    assert len(problems(asyncio.run(read(stream(netra, chunks[0].resume_token))))) == count - len(chunks[0].problems)


def unreadable(page: Any) -> Any:
    """Add an unreadable item to a page, always the same for the same page."""
    first = page.traces if isinstance(page, TracesPage) else page.spans
    item = UnreadableItem("$.data.data[0]", "it is a number", f"{first[0].id}" if first else "0")
    return msgspec.structs.replace(page, unreadable=(item,))


@pytest.mark.parametrize(("cut", "padding"), spread(4, range(1, 9), [0, 300_000]))
def test_an_unreadable_item_is_reported_once_in_order(cut: int, padding: int) -> None:
    """Whatever the cut, both streams together report each problem once, beside the spans it belongs to."""
    _, netra = issued(7, 5, padding=padding)
    netra.pages = unreadable
    with small(page=3, chunk=4):
        whole = problems(asyncio.run(read(stream(netra))))
        first = asyncio.run(read(stream(netra), cut))
        rest = asyncio.run(read(stream(netra, first[-1].resume_token)))
    assert problems(first) + problems(rest) == whole
    assert len(whole) == 3 + 7 * 2


def test_an_unreadable_item_is_reported_once_though_pages_are_read_again() -> None:
    """A listing, or a trace, that is read again because a cursor expired reports nothing twice."""
    _, netra = issued(7, 5)
    netra.pages = unreadable
    with small(page=3):
        whole = problems(asyncio.run(read(stream(netra))))
        netra.cursors, netra.refused = 0, {1, 4}
        assert Counter(problems(asyncio.run(read(stream(netra))))) == Counter(whole)
    assert netra.cursors > 4


# named traces and one trace


def test_named_traces_that_are_all_read_are_not_asked_for_again() -> None:
    """Nothing remains after the last trace id, even if that one is unknown."""
    oracle, netra = issued(3, 2)
    query = TraceQuery(trace_ids=(oracle.trace_ids[1], "ab" * 16))
    chunks = asyncio.run(read(stream(netra, query=query)))
    assert problems(chunks) == [f"trace {'ab' * 16}: Netra has no trace with this id in the range"]
    netra.calls.clear()
    assert asyncio.run(read(stream(netra, chunks[-1].resume_token, query=query))) == []
    assert netra.calls == []


def test_a_query_is_asked_of_netra() -> None:
    """Only the traces that the query selects are read."""
    oracle, netra = issued(20, 2)
    tenant = f"tenant-{oracle.trace_ids[0][0]}"
    chunks = asyncio.run(read(stream(netra, query=TraceQuery(tenant_id=tenant))))
    assert keys(chunks) == [key for key in listed(netra.store) if key[0][0] == tenant[-1]]


@pytest.mark.faults
def test_a_trace_of_5000_spans_goes_on_in_its_middle() -> None:
    """One trace, far from any range: each cut leaves exactly the rest, and resuming at the end calls nothing."""
    oracle, netra = issued(1, 5000, start_ns=START_NS - 10**18)
    (trace_id,) = oracle.trace_ids
    chunks = asyncio.run(read(stream(netra, trace_id=trace_id)))
    everything = listed(netra.store, Window(0, 2**62))
    assert keys(chunks) == everything
    for cut in (1, len(chunks) // 2, len(chunks) - 1):
        rest = asyncio.run(read(stream(netra, chunks[cut - 1].resume_token, trace_id=trace_id)))
        assert keys(chunks[:cut]) + keys(rest) == everything
    netra.calls.clear()
    assert asyncio.run(read(stream(netra, chunks[-1].resume_token, trace_id=trace_id))) == []
    assert netra.calls == []


@pytest.mark.parametrize("has_listing", [True, False])
def test_one_trace_is_read_with_and_without_its_summary(has_listing: bool) -> None:
    """The summary is looked for at the time of the spans; a trace that is not listed is read anyway."""
    oracle, netra = issued(3, 4)
    trace_id = oracle.trace_ids[1]
    if not has_listing:
        netra.pages = lambda page: msgspec.structs.replace(page, traces=[]) if isinstance(page, TracesPage) else page
    chunks = asyncio.run(read(stream(netra, trace_id=trace_id)))
    assert keys(chunks) == [key for key in listed(netra.store) if key[0] == trace_id]
    assert netra.calls == [f"spans {trace_id}", "traces"]


def test_one_trace_without_times_is_not_looked_for() -> None:
    """If no span has a time, there is no range in which to look for the summary."""
    store = Store()
    store.ingest(read_document(otlp_document(otlp_span(1, 1))))
    netra = StreamedNetra(store)
    timeless = {"start_time_ms": None, "end_time_ms": "once"}
    netra.pages = edited(
        lambda page: msgspec.structs.replace(
            page, spans=[msgspec.structs.replace(span, **timeless) for span in page.spans]
        ),
        f"{1:032x}",
    )
    assert len(keys(asyncio.run(read(stream(netra, trace_id=f"{1:032x}"))))) == 1
    assert netra.calls == [f"spans {1:032x}"]


@pytest.mark.parametrize("status", [None, 404])
def test_a_trace_that_netra_does_not_hold_is_not_known(status: int | None) -> None:
    """No spans, or a 404, mean that there is no such trace."""
    _, netra = issued(1)
    if status:
        netra.before = failing(f"spans {'ab' * 16}", NetraNotFound("none", status=status))
    with pytest.raises(NotKnown, match="abab"):
        asyncio.run(read(stream(netra, trace_id="ab" * 16)))


def test_what_is_no_netra_at_all_knows_every_trace_as_little() -> None:
    """If every call answers 404, the address is wrong, not the trace."""
    _, netra = issued(1)

    def nothing_here(call: str, _: str | None) -> None:
        raise NetraNotFound(f"{call}: none", status=404)

    netra.before = nothing_here
    with pytest.raises(NetraNotFound, match="traces: none"):
        asyncio.run(read(stream(netra, trace_id="ab" * 16)))


# reading ahead and ending


async def settled(netra: StreamedNetra) -> int:
    """Wait until no more calls arrive; return their number."""
    count = -1
    while count != len(netra.calls):
        count = len(netra.calls)
        for _ in range(50):
            await asyncio.sleep(0)
    return count


def test_a_reader_that_stops_stops_the_reading() -> None:
    """While the client pauses, no more traces are read than may be ahead; then everything arrives."""
    _, netra = issued(100, 4)

    async def story() -> list[SpanChunk]:
        async with aclosing(stream(netra, ahead=8).chunks()) as arriving:
            chunks = [await anext(arriving)]
            assert await settled(netra) <= 8 + 1 + 100 // 3
            read_before = netra.calls.count("traces")
            assert await settled(netra) == len(netra.calls)
            assert sum(call.startswith("spans") for call in set(netra.calls)) <= 8 + 1
            chunks += [chunk async for chunk in arriving]
            assert netra.calls.count("traces") > read_before
        return chunks

    with small():
        assert keys(asyncio.run(story())) == listed(netra.store)


def test_what_is_read_ahead_is_bounded_in_bytes() -> None:
    """Once the cap is reached, each trace read ahead holds at most one page."""
    _, netra = issued(10, size(16, 30), padding=100_000)

    async def story() -> list[SpanChunk]:
        async with aclosing(stream(netra, ahead=8).chunks()) as arriving:
            chunks = [await anext(arriving)]
            await settled(netra)
            pages = Counter(call for call in netra.calls if call.startswith("spans"))
            assert sum(pages.values()) <= 10 + 7 + 4 * 2**20 // (3 * 200_000)
            chunks += [chunk async for chunk in arriving]
        return chunks

    with small():
        assert keys(asyncio.run(story())) == listed(netra.store)


def test_a_slow_reader_gets_all_of_it() -> None:
    """Traces that were read while the client was busy arrive, though nothing else happens."""
    _, netra = issued(40, 2)

    async def story() -> list[SpanChunk]:
        chunks = []
        async with aclosing(stream(netra, ahead=3).chunks()) as arriving:
            async for chunk in arriving:
                chunks.append(chunk)
                await settled(netra)
        return chunks

    with small():
        assert keys(asyncio.run(asyncio.wait_for(story(), DEADLINE_S))) == listed(netra.store)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_stream_that_is_closed_leaves_nothing_behind(is_open: bool) -> None:
    """A closed stream leaves no task and no request, whether closed between two chunks or cancelled while waiting."""
    _, netra = issued(100, 4)

    async def story() -> None:
        chunks = stream(netra).chunks()
        await anext(chunks)
        if not is_open:
            netra.gate.clear()
            async with aclosing(chunks):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(drained(chunks), 0.2)
        await chunks.aclose()
        assert netra.under_way == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def drained(chunks: Any) -> None:
        async for _ in chunks:
            pass

    with small():
        asyncio.run(story(), debug=True)


# tokens


def test_a_token_of_another_version_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a token is neither reported as damaged nor read as if it were of this version."""
    monkeypatch.setattr(resume, "_VERSION", 0)
    old = encode_token(start_point(STREAM_ID, WINDOW))
    monkeypatch.undo()
    with pytest.raises(UsageError, match="another version"):
        decode_token(old, STREAM_ID)


def test_a_token_keeps_the_window_of_the_first_call() -> None:
    """A resumed stream keeps the range of the first call."""
    oracle, netra = issued(4, 4)
    end_ns = START_NS + 2 * NS_PER_S
    with small():
        first = asyncio.run(read(stream(netra, window=Window(WINDOW.start_ns, end_ns)), 1))
        rest = asyncio.run(read(stream(netra, first[-1].resume_token)))
    assert keys(first + rest) == listed(netra.store)[:8]
    assert len(oracle.trace_ids) == 4
