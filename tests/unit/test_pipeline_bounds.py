"""One trace, or one page, that is too large or never ends, and everything else."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from sys import getsizeof
from typing import Any

import pytest

from netra_otel_bridge import AsyncNetraClient, Bridge, NetraResponseTooLarge
from netra_otel_bridge.core.model.netra import SpansPage, TraceSpan, UnreadableItem
from netra_otel_bridge.pipeline import memory_budget, reading, sizes
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget, SharedBudget
from netra_otel_bridge.pipeline.reading import read_spans
from netra_otel_bridge.source.body import LARGE_BYTES
from netra_otel_bridge.source.bounds import WIDE_SHARE, check_width
from tests.support.oracle import written_to
from tests.support.scripted_api import Reply, Request, ScriptedApi, ServerThread, json_reply, page, reply, span, trace
from tests.support.waiting import DEADLINE_S, settled

pytestmark = pytest.mark.faults

BAD, GOOD = "ab" * 16, [f"{number:032x}" for number in range(1, 9)]
AT_MS = 1763251200000
CLIENT = {"api_key": "k", "timeout": 10.0}


class Endless:
    """A Netra whose trace `BAD` has another page after each page, of ``items`` new spans with ``fields`` each."""

    def __init__(self, items: int = 100, unreadable: bool = False, **fields: Any) -> None:
        self.pages = 0
        self._items = items
        self._unreadable = unreadable
        self._fields = fields

    def __call__(self, request: Request) -> Reply:
        if "/spans" not in request.target:
            ids = [GOOD[0], BAD, *GOOD[1:]]
            times = {"start_time": str(AT_MS), "end_time": str(AT_MS + 1)}
            return json_reply(page([trace(number, id=one, **times) for number, one in enumerate(ids)]))
        if BAD not in request.target:
            trace_id = next(one for one in GOOD if one in request.target)
            return json_reply(page([span(number, trace_id=trace_id) for number in range(3)]))
        first = self.pages * self._items
        self.pages += 1
        items: list[Any] = [span(first + one, trace_id=BAD, **self._fields) for one in range(self._items)]
        if self._unreadable:
            items[0] = {"number": self.pages}
        return json_reply(page(items, more=True))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the bounds so low that a test reaches each of them."""
    monkeypatch.setattr(reading, "MAX_TRACE_SPANS", 2000)
    monkeypatch.setattr(reading, "MAX_TRACE_BYTES", 2**24)
    monkeypatch.setattr(reading, "MAX_TRACE_PAGES", 30)


ENDLESS = {
    "spans": (Endless(), "2100 spans"),
    "bytes": (Endless(attributes=json.dumps({"text": "x" * 20_000})), "8 MiB on"),
    "pages": (Endless(1), "on 31 pages"),
    "text beside the columns": (Endless(session_id="x" * 10_000), "8 MiB on"),
}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("kind", ENDLESS)
def test_a_trace_that_does_not_end_is_held_back(tmp_path: Path, kind: str) -> None:
    """It ends at its bound, with a reason, and everything else is delivered."""
    netra, reason = ENDLESS[kind]
    out = tmp_path / "out.jsonl"
    with ServerThread(netra) as api:
        bridge = Bridge(api_key="k", endpoint=api.endpoint)
        report = bridge.replay(f"otlp-file:{out}", from_="2025-11-15", until="2025-11-17")
    (lane,) = report.destinations
    assert {key[0] for request in written_to(out).requests for key, _ in request} == set(GOOD)
    assert (lane.held_back, lane.error) == (1, None)
    assert any("do not end, or are too large to be held" in one and reason in one for one in lane.problems)


@pytest.mark.faults
@pytest.mark.usefixtures("few")
def test_a_stream_reports_a_trace_that_does_not_end() -> None:
    """Its pages are read once, the stream goes on, and the dry run counts the trace as empty."""
    netra = Endless()
    with ServerThread(netra) as api:
        bridge = Bridge(api_key="k", endpoint=api.endpoint)
        chunks = list(bridge.read_spans(from_="2025-11-15", until="2025-11-17"))
        assert netra.pages == 21
        plan = bridge.estimate(from_="2025-11-15", until="2025-11-17")
    assert sum(len(chunk.spans) for chunk in chunks) == 3 * len(GOOD)
    (problem,) = [one for chunk in chunks for one in chunk.problems]
    assert "not in this stream, it cannot be read: the spans of trace" in problem
    assert 0 < plan.spans <= 3 * plan.traces


@pytest.mark.usefixtures("few")
async def test_items_of_a_trace_that_does_not_end_are_not_kept() -> None:
    """Items that are not spans are reported once the whole trace is read, so each attempt would not store them again."""
    kept: list[UnreadableItem] = []
    async with (
        ScriptedApi(Endless(unreadable=True)) as api,
        AsyncNetraClient(endpoint=api.endpoint, **CLIENT) as client,
    ):
        with pytest.raises(NetraResponseTooLarge):
            await read_spans(client, BAD, MemoryBudget(2**26).reserve(), kept.extend)
    assert not kept


@pytest.mark.parametrize("text", ["x" * 5000, "é" * 5000, "字" * 5000, "😀" * 5000])
@pytest.mark.parametrize("field", ["name", "attributes", "metadata", "session_id", "user_id", "pii_entities"])
def test_what_spans_hold_is_never_less_than_what_they_take(field: str, text: str) -> None:
    """A page reserves at least the memory of its texts, in any field, and of any width."""
    value: Any = {field: text, "metadata": {"key": text}}[field] if field == "metadata" else text
    spans = [TraceSpan(id=str(one), trace_id=BAD, **{field: value}) for one in range(100)]
    size_bytes = len(json.dumps([text] * 100, ensure_ascii=False).encode())
    reserved = sizes.page_bytes(SpansPage(spans=spans, has_next_page=False, size_bytes=size_bytes), 0)
    assert reserved >= 100 * getsizeof(text)


# large pages


class LargePages:
    """A Netra whose traces have one large page each. ``most`` is the number of them that were read at once, to the end."""

    def __init__(self) -> None:
        text = "x" * (8 * LARGE_BYTES)
        self.asked: list[str] = []
        self._bodies = {one: gzip.compress(json.dumps(page([self._span(one, text)])).encode()) for one in GOOD}

    @staticmethod
    def _span(trace_id: str, text: str) -> dict[str, Any]:
        return span(1, trace_id=trace_id, attributes=json.dumps({"input": text}))

    def __call__(self, request: Request) -> Reply:
        trace_id = next(one for one in GOOD if one in request.target)
        self.asked.append(trace_id)
        return reply(self._bodies[trace_id], headers={"Content-Encoding": "gzip"})


async def test_large_pages_are_counted_while_they_are_read() -> None:
    """Traces with large pages share the limit: those without room are read again later, and all of them arrive."""
    netra, budget = LargePages(), MemoryBudget(4 * LARGE_BYTES * memory_budget.BODY_WEIGHT * 4)
    most = 0

    async def read(client: AsyncNetraClient, trace_id: str) -> int:
        nonlocal most
        reservation = budget.reserve()
        spans = await read_spans(client, trace_id, reservation, lambda _: None)
        most = max(most, budget.held_bytes)
        await asyncio.sleep(0.05)
        reservation.release()
        return len(spans)

    async with ScriptedApi(netra) as api, AsyncNetraClient(endpoint=api.endpoint, **CLIENT) as client:
        assert await asyncio.gather(*(read(client, one) for one in GOOD)) == [1] * len(GOOD)
    assert budget.held_bytes == 0
    assert len(netra.asked) > len(GOOD), "some had no room, and were asked for again"
    one = 2 * 8 * LARGE_BYTES + 2000
    assert most < 16 * LARGE_BYTES * memory_budget.BODY_WEIGHT + 2 * one


async def test_a_page_grows_within_the_limit_and_the_oldest_beyond_it() -> None:
    """A page reserves more in steps; without room, only the oldest trace goes on, once the sender is idle."""
    step = memory_budget.FIRST_BODY_BYTES * memory_budget.BODY_STEP * memory_budget.BODY_WEIGHT
    budget = MemoryBudget(step)
    oldest, younger = budget.reserve(), budget.reserve()
    assert younger.grow()
    assert budget.held_bytes == step
    budget.idle(False)
    assert not oldest.grow()
    budget.idle(True)
    assert oldest.grow()
    waiting = asyncio.ensure_future(younger.wait())
    await settled()
    assert not waiting.done()
    assert younger.size_bytes == 0, "what it has read so far is dropped meanwhile"
    oldest.end_body()
    oldest.release()
    await asyncio.wait_for(waiting, DEADLINE_S)
    younger.end_body()
    assert (budget.held_bytes, younger.limit_bytes) == (0, memory_budget.FIRST_BODY_BYTES)


async def test_one_stream_at_a_time_holds_a_very_large_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all streams, only one may hold a trace of more than half of the shared limit."""
    monkeypatch.setattr(memory_budget, "LOOK_S", 0.01)
    shared = SharedBudget(100)
    first, second = (MemoryBudget(10, shared) for _ in range(2))
    large, other = first.reserve(), second.reserve()
    for one in (large, other):
        one.add(60)
    await asyncio.wait_for(large.room(), DEADLINE_S)
    waiting = asyncio.ensure_future(other.room())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    large.release()
    await asyncio.wait_for(waiting, DEADLINE_S)


@pytest.mark.parametrize(
    ("text", "is_wide"), [("x", False), ("é", True), ("字", True), ("😀", True), (r"\u0001", True), (r"\n", False)]
)
def test_an_answer_that_is_not_ascii_has_a_part_of_the_cap(text: str, is_wide: bool) -> None:
    """Python may take four bytes for each of its characters, so it is read in smaller pages."""
    cap = 4000
    body = json.dumps("x" * 2000).encode() + text.encode()
    if is_wide:
        with pytest.raises(NetraResponseTooLarge, match=f"not plain ASCII, where at most {cap // WIDE_SHARE} bytes"):
            check_width(body, cap)
    else:
        check_width(body, cap)
    check_width(text.encode(), cap)
