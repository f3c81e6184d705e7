"""The pager's states, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.errors import NetraCursorRefused, NetraRejected, NetraSchemaError, PaginationLoop
from netra_otel_bridge.core.model.netra import TracesPage, TraceSummary, UnreadableItem
from netra_otel_bridge.source.pages import RESTARTS, Pager, read_pages, with_restarts
from tests.support.fake_clock import FakeClock


def traces_page(cursor: str | None, *, more: bool = True, items: int = 1, first: str | None = None) -> TracesPage:
    """Return a page of new traces: their ids come from ``first``, by default from the cursor."""
    traces = [TraceSummary(id=f"{first or cursor} {number}") for number in range(items)]
    return TracesPage(traces=traces, has_next_page=more, next_cursor=cursor)


def test_follows_the_last_cursor_to_the_end() -> None:
    """Each page's cursor is requested next; only a page that says so is the last."""
    pager = Pager("list", None, 20)
    pager.advance(traces_page("a"))
    assert (pager.cursor, pager.done) == ("a", False)
    pager.advance(traces_page("b"))
    assert (pager.cursor, pager.done) == ("b", False)
    pager.advance(traces_page("c", more=False))
    assert pager.done


def test_an_empty_last_page_is_the_end() -> None:
    """An empty page without more is an empty listing."""
    pager = Pager("list", None, None)
    pager.advance(traces_page(None, more=False, items=0))
    assert pager.done


def test_unreadable_items_are_not_an_empty_page() -> None:
    """A page of unreadable items that promises more without a cursor is an error, and not requested again."""
    page = TracesPage(traces=[], has_next_page=True, unreadable=(UnreadableItem("$", "bad"),))
    with pytest.raises(NetraSchemaError):
        Pager("list", None, None).advance(page)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30))
def test_ends_no_later_than_the_first_repeat(cursors: list[str]) -> None:
    """For any cursors, paging ends at the first repeated one, and not earlier."""
    pager = Pager("list", None, None)
    seen: set[str] = set()
    for cursor in cursors:
        if cursor in seen:
            with pytest.raises(PaginationLoop):
                pager.advance(traces_page(cursor))
            return
        pager.advance(traces_page(cursor))
        seen.add(cursor)
    assert pager.cursor == cursors[-1]


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_cycle_under_new_cursors_ends(length: int) -> None:
    """Repeated pages are a loop, even if each comes with a new cursor."""
    pager = Pager("list", None, None)
    for number in range(length):
        pager.advance(traces_page(f"cursor {number}", first=f"page {number}"))
    with pytest.raises(PaginationLoop, match=f"repeated an earlier page, after {length} pages"):
        pager.advance(traces_page("a new one", first="page 0"))


@pytest.mark.parametrize(("limit", "smaller"), [(100, [25, 6, 1]), (None, [5, 1]), (3, [1]), (2, [1])])
def test_shrinks_to_one_item(limit: int | None, smaller: list[int]) -> None:
    """The page size is quartered while that helps, down to one item."""
    pager = Pager("list", None, limit)
    limits = []
    while pager.shrink():
        limits.append(pager.limit)
    assert limits == smaller


def test_one_item_cannot_shrink() -> None:
    """A page of one item that is too large stays too large."""
    assert not Pager("list", None, 1).shrink()


async def test_the_page_that_closes_a_loop_is_shown_first() -> None:
    """The items of a page that leads nowhere are yielded before the error."""
    pages = iter([traces_page("a"), traces_page("b"), traces_page("a")])

    async def fetch(_cursor: str | None, _limit: int | None) -> TracesPage:
        return next(pages)

    shown = read_pages(fetch, "list", cursor=None, limit=None, backoff=Backoff(), clock=FakeClock())
    assert [(await anext(shown)).next_cursor for _ in range(3)] == ["a", "b", "a"]
    with pytest.raises(PaginationLoop):
        await anext(shown)


class ExpiringCursors:
    """Pages of one trace each, whose cursors are their numbers; ``lives`` says how many pages each listing gets."""

    def __init__(self, pages: int, lives: Iterable[int]) -> None:
        self.pages = pages
        self.restarts = 0
        self._lives = iter(lives)

    async def read(self, cursor: str | None) -> AsyncIterator[TracesPage]:
        start = int(cursor or 0)
        for number in range(start, start + next(self._lives)):
            if number == self.pages:
                return
            yield traces_page(str(number + 1), more=number + 1 < self.pages)
        raise NetraCursorRefused("the cursor has expired")

    def restart(self) -> None:
        self.restarts += 1

    async def listed(self, cursor: str | None = None) -> list[str | None]:
        return [page.next_cursor async for page in with_restarts(self.read, cursor=cursor, on_restart=self.restart)]


@given(st.integers(0, 8), st.lists(st.integers(0, 9), max_size=30))
def test_a_listing_restarts_as_long_as_it_gets_further(pages: int, lives: list[int]) -> None:
    """The listing ends with all pages, or with the error after four listings in a row, none of which got further than before."""
    netra = ExpiringCursors(pages, [*lives, pages + 1])
    furthest = in_vain = 0
    expected = 0
    for reached in lives:
        if reached > pages:
            break
        in_vain = 1 if reached > furthest else in_vain + 1
        furthest = max(furthest, reached)
        if in_vain > RESTARTS:
            with pytest.raises(NetraCursorRefused):
                asyncio.run(netra.listed())
            assert netra.restarts == expected
            return
        expected += 1
    listed = asyncio.run(netra.listed())
    assert listed[len(listed) - pages :] == [str(number + 1) for number in range(pages)]
    assert netra.restarts == expected


async def test_a_cursor_of_the_caller_that_is_rejected_is_given_up_for_the_first_page() -> None:
    """Netra's plain rejection is enough there; without a cursor the same rejection is no reason to repeat the request."""
    asked: list[str | None] = []

    async def read(cursor: str | None) -> AsyncIterator[TracesPage]:
        asked.append(cursor)
        if cursor is not None:
            raise NetraRejected("bad cursor", status=400)
        yield traces_page("1", more=False)

    async def reject(cursor: str | None) -> AsyncIterator[TracesPage]:
        asked.append(cursor)
        raise NetraRejected("bad filter", status=400)
        yield

    assert len([page async for page in with_restarts(read, cursor="old")]) == 1
    assert asked == ["old", None]
    asked.clear()
    with pytest.raises(NetraRejected, match="bad filter"):
        _ = [page async for page in with_restarts(reject)]
    assert asked == [None]
