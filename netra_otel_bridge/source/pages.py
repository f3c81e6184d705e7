"""Follow the cursors of a listing: `Pager` decides, `read_pages` requests, `with_restarts` survives expired cursors.

The cursor of the next page is that of the last item of this one, so paging must always advance:

- A cursor that this listing has used before is a loop, of any length, and ends it before another request.
- A page with the same items as an earlier one is a loop too, because Netra may issue new cursors for each response.
- An empty page that announces more is requested `EMPTY_TRIES` times in all, with back-off, and then counts as a loop.
- A page that announces more but whose last item has no cursor is a schema error.
- A page too large for the cap is requested again with a quarter of the items, down to one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from netra_otel_bridge.core.clock import Backoff, Clock
from netra_otel_bridge.core.errors import (
    NetraCursorRefused,
    NetraError,
    NetraRejected,
    NetraResponseTooLarge,
    NetraSchemaError,
    PaginationLoop,
)
from netra_otel_bridge.core.model.dashboards import SessionStats, SessionStatsPage
from netra_otel_bridge.core.model.netra import SpansPage, TracesPage, TraceSpan, TraceSummary
from netra_otel_bridge.source.bounds import PAGE_ITEMS

_log = logging.getLogger(__name__)
Page = TracesPage | SpansPage | SessionStatsPage
PageT = TypeVar("PageT", TracesPage, SpansPage, SessionStatsPage)
PAGE_LIMIT = PAGE_ITEMS
DEFAULT_LIMIT = 20
"""Items on a page if no limit is given, as Netra documents it."""
EMPTY_TRIES = 3
"""Maximum requests for an empty page that announces more."""
RESTARTS = 3
"""Maximum restarts in a row, after rejected cursors, that get no further than an earlier attempt."""


class Pager:
    """The state of one listing: the next request, and whether there is one."""

    def __init__(self, what: str, cursor: str | None, limit: int | None) -> None:
        self.cursor = cursor
        self.limit = limit
        self.done = False
        self.empty_tries = 0
        self._what = what
        self._seen = {hash(cursor)} if cursor is not None else set()
        self._pages: set[int] = set()

    def advance(self, page: Page) -> None:
        """Advance past a page, unless it is the last one or must be requested again (``empty_tries`` is above 0).

        Raises `PaginationLoop`, `NetraSchemaError`.
        """
        if not page.has_next_page:
            self.done = True
            self.empty_tries = 0
        elif _is_empty(page):
            self.empty_tries += 1
            if self.empty_tries >= EMPTY_TRIES:
                raise PaginationLoop(
                    f"{self._what}: $.data.pageInfo.hasNextPage is true, but the page was empty {EMPTY_TRIES} times",
                    hint="Netra announces more items but returns none; nothing was skipped, try again later",
                )
        elif not page.next_cursor:
            raise NetraSchemaError(
                f"{self._what}: $.data.pageInfo.hasNextPage is true, but the last item has no cursor",
                hint="without a cursor, the next page cannot be requested",
            )
        else:
            self.empty_tries = 0
            self._follow(page.next_cursor)
            self._remember(page)

    def shrink(self) -> bool:
        """Quarter the page size after a response that was too large; return whether the page could still shrink."""
        limit = self.limit or DEFAULT_LIMIT
        self.limit = max(1, limit // 4)
        return limit > 1

    def _remember(self, page: Page) -> None:
        mark = hash((*map(_id, _items(page)), *(item.json for item in page.unreadable)))
        if mark in self._pages:
            raise PaginationLoop(
                f"{self._what}: Netra repeated an earlier page, after {len(self._pages)} pages",
                hint="paging does not advance; nothing was skipped, try again later",
            )
        self._pages.add(mark)

    def _follow(self, cursor: str) -> None:
        mark = hash(cursor)
        if mark in self._seen:
            raise PaginationLoop(
                f"{self._what}: Netra repeated an earlier cursor, after {len(self._seen)} pages",
                hint="paging does not advance; nothing was skipped, try again later",
            )
        self._seen.add(mark)
        self.cursor = cursor


async def read_pages(
    fetch: Callable[[str | None, int | None], Awaitable[PageT]],
    what: str,
    *,
    cursor: str | None,
    limit: int | None,
    backoff: Backoff,
    clock: Clock,
) -> AsyncIterator[PageT]:
    """Yield all pages from ``cursor`` on, except empty ones that announce more; ``fetch`` takes a cursor and a limit.

    Raises what ``fetch`` raises, `PaginationLoop`, `NetraSchemaError`, and `NetraCursorRefused` if Netra rejects a
    cursor that came from this listing.
    """
    pager = Pager(what, cursor, limit)
    while not pager.done:
        try:
            page = await fetch(pager.cursor, pager.limit)
        except NetraResponseTooLarge:
            if not pager.shrink():
                raise
            _log.warning("%s: a page is too large; continuing with %d items per page", what, pager.limit)
            continue
        except NetraRejected as error:
            if pager.cursor is None or pager.cursor == cursor:
                raise
            raise NetraCursorRefused(error.message, hint="list again from the start", status=error.status) from None
        stuck: NetraError | None = None
        try:
            pager.advance(page)
        except (PaginationLoop, NetraSchemaError) as error:
            stuck = error
        if pager.done or not _is_empty(page):
            yield page
        if stuck is not None:
            raise stuck
        if pager.empty_tries:
            await clock.sleep(backoff.delay_s(pager.empty_tries - 1))


async def with_restarts(
    read: Callable[[str | None], AsyncIterator[PageT]],
    *,
    cursor: str | None = None,
    on_restart: Callable[[], None] = lambda: None,
) -> AsyncIterator[PageT]:
    """Yield the pages of a listing from ``cursor`` on; when Netra rejects a cursor, list again from the first page.

    ``read`` yields the pages from a cursor on. ``on_restart`` is called before each restart: the pages after it repeat
    items that were yielded before. Raises what ``read`` raises, and `NetraRejected` after `RESTARTS` restarts in a row
    that got no further than an earlier attempt.
    """
    most_items = tries = 0
    while True:
        items = 0
        try:
            async for page in read(cursor):
                items += len(_items(page)) + len(page.unreadable)
                yield page
        except NetraRejected as error:
            tries = 1 if items > most_items else tries + 1
            most_items = max(most_items, items)
            has_cursor = cursor is not None or isinstance(error, NetraCursorRefused)
            if not has_cursor or tries > RESTARTS:
                raise
        else:
            return
        cursor = None
        on_restart()


def _is_empty(page: Page) -> bool:
    return not _items(page) and not page.unreadable


def _items(page: Page) -> Sequence[TraceSummary | TraceSpan | SessionStats]:
    match page:
        case TracesPage():
            return page.traces
        case SpansPage():
            return page.spans
        case SessionStatsPage():
            return page.sessions


def _id(item: TraceSummary | TraceSpan | SessionStats) -> str:
    return item.session_id if isinstance(item, SessionStats) else item.id
