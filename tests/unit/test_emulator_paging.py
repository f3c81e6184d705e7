"""Paging loses and repeats nothing in any order, direction and page size, also while spans arrive."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from netra_otel_bridge.emulator import Store
from netra_otel_bridge.emulator.api import Api
from netra_otel_bridge.emulator.otlp import read_document
from netra_otel_bridge.emulator.trace_query import SORT_FIELDS
from tests.support.emulator import EVER, START_NS, otlp_document, otlp_span

LIMITS = st.integers(1, 7)
DIRECTIONS = st.sampled_from(["down", "up"])


def put(store: Store, *spans: dict[str, Any]) -> None:
    assert store.ingest(read_document(otlp_document(*spans))) == []


def trace(number: int, start: int, tokens: int | None) -> dict[str, Any]:
    attributes: dict[str, Any] = {"llm.request.type": "chat", "gen_ai.request.model": "gpt-4o"}
    if tokens is not None:
        attributes["gen_ai.usage.prompt_tokens"] = tokens
    return otlp_span(number, number, start_ns=START_NS + start, attributes=attributes, duration_ns=start * 1_000_000)


TRACES = st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 3)), max_size=25)


class Walk:
    """Read all pages of a list."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.cursor: str | None = None
        self.more = True

    def take(self, body: bytes) -> None:
        page = json.loads(body)["data"]
        self.seen += [item["id"] for item in page["data"]]
        self.more = page["pageInfo"]["hasNextPage"]
        if page["data"]:
            self.cursor = page["data"][-1]["cursor"]
        else:
            assert not self.more


@settings(deadline=None)
@given(TRACES, LIMITS, DIRECTIONS, st.sampled_from(sorted(SORT_FIELDS)), st.sampled_from(["asc", "desc"]))
def test_every_trace_comes_once(
    traces: list[tuple[int, int | None]], limit: int, direction: str, field: str, order: str
) -> None:
    """Every item comes once in any order; `up` is `down` backwards."""
    store = Store()
    for number, (start, tokens) in enumerate(traces, start=1):
        put(store, trace(number, start, tokens))
    api, walk = Api(store), Walk()
    query: dict[str, Any] = {**EVER, "sortField": field, "sortOrder": order}
    while walk.more:
        paging = {"limit": limit, "cursor": walk.cursor, "direction": direction}
        walk.take(api.traces(json.dumps({**query, "pagination": paging}).encode()))
    assert sorted(walk.seen) == [f"{number:032x}" for number in range(1, len(traces) + 1)]
    whole = Walk()
    whole.take(api.traces(json.dumps({**query, "pagination": {"limit": 100}}).encode()))
    assert walk.seen == (whole.seen if direction == "down" else whole.seen[::-1])


@settings(deadline=None)
@given(TRACES, LIMITS, DIRECTIONS, st.sampled_from(["asc", "desc"]), st.data())
def test_traces_that_arrive_between_pages_shift_nothing(
    traces: list[tuple[int, int | None]], limit: int, direction: str, order: str, data: st.DataObject
) -> None:
    """Items present at the start come exactly once; new ones at most once."""
    store = Store()
    for number, (start, tokens) in enumerate(traces, start=1):
        put(store, trace(number, start, tokens))
    api, walk, number = Api(store), Walk(), 1000
    while walk.more:
        paging = {"limit": limit, "cursor": walk.cursor, "direction": direction}
        walk.take(api.traces(json.dumps({**EVER, "sortOrder": order, "pagination": paging}).encode()))
        for start in data.draw(st.lists(st.integers(0, 5), max_size=2)) if number < 1020 else []:
            number += 1
            put(store, trace(number, start, None))
    before = {f"{n:032x}" for n in range(1, len(traces) + 1)}
    assert before <= set(walk.seen)
    assert len(walk.seen) == len(set(walk.seen))


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=25), LIMITS, DIRECTIONS, st.data())
def test_every_span_comes_once_also_while_the_trace_grows(
    starts: list[int], limit: int, direction: str, data: st.DataObject
) -> None:
    """Paging through the spans of a trace does the same."""
    store = Store()
    put(store, *(otlp_span(1, n, start_ns=START_NS + start) for n, start in enumerate(starts, start=1)))
    api, walk, number = Api(store), Walk(), 1000
    while walk.more:
        query = {"limit": str(limit), "direction": direction} | ({"cursor": walk.cursor} if walk.cursor else {})
        walk.take(api.spans(f"{1:032x}", query))
        for start in data.draw(st.lists(st.integers(0, 4), max_size=2)) if number < 1020 else []:
            number += 1
            put(store, otlp_span(1, number, start_ns=START_NS + start))
    assert {f"{n:016x}" for n in range(1, len(starts) + 1)} <= set(walk.seen)
    assert len(walk.seen) == len(set(walk.seen))
