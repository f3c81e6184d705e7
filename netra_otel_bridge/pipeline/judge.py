"""Decide whether a failure to read is one of a single trace, or of everything (docs/adr/0022).

    a trace fails -> does Netra still list it? -> not listed, and its spans are gone: deleted
                                               -> else: can another trace be read?     -> of this trace alone
                                                                                       -> of everything

The answer to a question is information and not the result: a question that Netra rejects decides nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus

from netra_otel_bridge.convert import instant_ns
from netra_otel_bridge.core.clock import HOUR_NS, NS_PER_MS, NS_PER_S, SystemClock
from netra_otel_bridge.core.errors import (
    NetraError,
    NetraNotFound,
    NetraRateLimited,
    NetraRejected,
    NetraUnavailable,
    NetraUntrusted,
)
from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import LAST_NS, iso_ms
from netra_otel_bridge.source import AsyncNetraClient, pages

IN_A_ROW = 10
"""Traces that may fail one after the other before a control is read, and that may fail if there is no control."""
FIRST_CONTROLS = 5
MORE_CONTROLS = 15
"""Listed traces that are read as controls, if no trace was read before: a few, and more if they all fail.

If half of all traces cannot be read, 5 at random all fail once in 32 times, and 20 once in a million.
"""
DELETED = "it was deleted after Netra listed it"


class NoSpans(NetraUnavailable):
    """Netra lists a trace, but returns no spans of it."""

    def __init__(self, trace_id: str) -> None:
        super().__init__(
            f"Netra lists trace {trace_id:.80} but has no spans of it", hint="try again later", status=HTTPStatus.OK
        )


def is_gone(error: NetraError) -> bool:
    """Return whether Netra answers that it has no spans of a trace, rather than that it cannot show them."""
    if isinstance(error, NetraNotFound):
        return error.status == HTTPStatus.NOT_FOUND
    return isinstance(error, NoSpans) or error.status == HTTPStatus.GONE


async def still_lists(client: AsyncNetraClient, summary: TraceSummary, scope: Window) -> bool:
    """Return whether Netra lists a trace, at its own time, or in ``scope`` if that is unknown. Raises `NetraError`.

    If Netra ignores the id, or returns an item that cannot be read, the trace may be listed: return ``True``.
    """
    start, end = _own_range(summary, scope)
    page = await client.list_traces(start, end, trace_id=summary.id, limit=pages.PAGE_LIMIT)
    return page.has_next_page or bool(page.unreadable) or any(one.id == summary.id for one in page.traces)


def _own_range(summary: TraceSummary, scope: Window) -> tuple[str, str]:
    """Return the range of a trace, with a second around it, because Netra may round its times."""
    start_ns, end_ns = instant_ns(summary.start_time), instant_ns(summary.end_time)
    if start_ns is None:
        return iso_ms(scope.start_ns), iso_ms(scope.end_ns)
    end_ns = max(start_ns, end_ns or 0) + NS_PER_S + NS_PER_MS
    return iso_ms(max(0, start_ns - NS_PER_S)), iso_ms(min(end_ns, LAST_NS))


async def ask_for_any(client: AsyncNetraClient) -> None:
    """List the latest hour, to learn whether Netra lists traces at all. Raises `NetraError`, unless it rejects this range."""
    now_ns = client.netra_now_ns() or SystemClock().now_ns()
    try:
        await client.list_traces(iso_ms(now_ns - HOUR_NS), iso_ms(now_ns), limit=1)
    except NetraRejected:
        return


class ReadingJudge:
    """Tells a failure to read one trace from a failure to read any.

    ``scope`` is the range that is being read. ``stored`` returns the ids of a few traces that were read before.
    """

    def __init__(self, client: AsyncNetraClient, scope: Window, stored: Callable[[], Sequence[str]] = tuple) -> None:
        self._client = client
        self._scope = scope
        self._stored = stored
        self._last_read = ""
        self._failed: set[str] = set()
        """Traces that failed since one was read."""
        self._asking = asyncio.Lock()
        self._in_a_row = 0
        self._everything: Exception | None = None

    def read(self, trace_id: str) -> None:
        """Note that a trace was read."""
        self._last_read = trace_id
        self._in_a_row = 0
        self._failed.clear()

    async def judge(self, summary: TraceSummary, error: Exception) -> bool:
        """Return whether Netra has deleted the trace; if not, ``error`` is of this trace. Raises the error of everything.

        Up to `IN_A_ROW` failures in a row are of single traces while Netra lists them. After that, and after a 429, which
        may be meant for everything, another trace has to be readable. An error that does not come from Netra is of the
        trace, unless `IN_A_ROW` other traces failed before it.
        """
        if isinstance(error, NetraUntrusted):
            raise error
        async with self._asking:
            if self._everything is not None:
                raise self._everything
            unanswered: NetraError | None = None
            if isinstance(error, NetraError):
                try:
                    is_listed = await still_lists(self._client, summary, self._scope)
                except NetraError as failure:
                    unanswered = failure
                else:
                    if is_gone(error) and not is_listed:
                        return True
            self._in_a_row += 1
            self._failed.add(summary.id)
            if unanswered is not None or isinstance(error, NetraRateLimited) or self._in_a_row > IN_A_ROW:
                await self._confirm(summary, error, unanswered)
        return False

    async def confirm(self, summary: TraceSummary, error: Exception) -> None:
        """Return if a trace that did not fail can be read, or if there is none. Raises the error of everything otherwise.

        Without such a trace, up to `IN_A_ROW` failures are taken for those of single traces.
        """
        async with self._asking:
            if self._in_a_row > IN_A_ROW or self._known():
                await self._confirm(summary, error, None)

    async def _confirm(self, summary: TraceSummary, error: Exception, unanswered: NetraError | None) -> None:
        """Return if a control can be read. Raises the error of everything otherwise.

        ``unanswered`` is the error of the question whether Netra lists the trace. If that was rejected (4xx), it may only
        have been a question that this Netra does not answer.
        """
        everything: Exception = error
        if unanswered is not None and not isinstance(unanswered, NetraRejected):
            everything = unanswered
        if isinstance(error, NetraError):
            known = self._known()
            failures = await self._read_any(known, error)
            if failures is not None and (listed := await self._listed_controls(summary, {*known, *self._failed})):
                failures = await self._read_any(listed[:FIRST_CONTROLS], error)
                if failures is not None and (more := listed[FIRST_CONTROLS:]):
                    failures = await self._read_any(more, error)
            if failures is None:
                self._in_a_row = 0
                return
            if not isinstance(unanswered, NetraError):
                everything = next(iter(failures), error)
        elif self._in_a_row <= IN_A_ROW:
            return
        self._everything = everything
        raise everything

    async def _read_any(self, trace_ids: Iterable[str], error: NetraError) -> list[NetraError] | None:
        """Read controls concurrently. Return ``None`` once one of them can be read, else the errors of all.

        A control may have been deleted since. If Netra says so, it answers, unless it says the same of the trace that failed.
        """
        failures: list[NetraError] = []
        reading = [asyncio.ensure_future(self._client.list_spans_by_trace_id(one, limit=1)) for one in trace_ids]
        try:
            for next_read in asyncio.as_completed(reading):
                try:
                    page = await next_read
                except NetraError as failure:
                    if is_gone(failure) and not is_gone(error):
                        return None
                    failures.append(failure)
                else:
                    if page.spans:
                        return None
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
        return failures

    def _known(self) -> list[str]:
        """Return traces that were read before."""
        return list(dict.fromkeys([*([self._last_read] if self._last_read else []), *self._stored()]))

    async def _listed_controls(self, summary: TraceSummary, unfit: set[str]) -> list[str]:
        """Return listed traces for both rounds of controls, at random, without those of ``unfit``.

        They are the last ones of the range that is being read or, if there are none, of the hours around the failed trace.
        """
        start_ns = instant_ns(summary.start_time) or self._scope.end_ns
        near = Window(max(0, start_ns - HOUR_NS), min(start_ns + HOUR_NS, LAST_NS))
        for window in (self._scope, near):
            start, end = iso_ms(window.start_ns), iso_ms(window.end_ns)
            try:
                page = await self._client.list_traces(
                    start, end, limit=pages.PAGE_LIMIT, sort_field="start_time", sort_order="desc"
                )
            except NetraError:
                continue
            if fit := [one.id for one in page.traces if one.id not in unfit]:
                return random.sample(fit, min(FIRST_CONTROLS + MORE_CONTROLS, len(fit)))
        return []
