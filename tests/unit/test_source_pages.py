"""The pager's states, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.errors import NetraSchemaError, PaginationLoop
from netra_otel_bridge.core.model.netra import TracesPage, TraceSummary, UnreadableItem
from netra_otel_bridge.source.pages import Pager, read_pages
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
