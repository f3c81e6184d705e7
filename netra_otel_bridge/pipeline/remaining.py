"""Find the traces that a stream still has to send after its resume point, in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from netra_otel_bridge.core.model.netra import TracesPage, TraceSummary, UnreadableItem
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.pipeline.listing import list_pages
from netra_otel_bridge.pipeline.resume import ResumePoint
from netra_otel_bridge.source import AsyncNetraClient


@dataclass(frozen=True, slots=True)
class RemainingTrace:
    """A trace still to be sent, with the points before and after it, and the problems to report with it.

    If it was not listed, ``summary`` holds only its id.
    """

    summary: TraceSummary
    is_listed: bool
    before: ResumePoint
    after: ResumePoint
    problems: list[str]

    def point_after(self, span_ids: Sequence[str], sent: int) -> ResumePoint:
        """Return the point after the first ``sent`` of the spans, which have these ids."""
        return self.after if sent == len(span_ids) else self.before.within(self.summary.id, span_ids[:sent])


class Remaining:
    """Finds the traces that remain after ``start``: those of a window, or only ``trace_id``.

    Each is passed to ``put``, which may wait. ``new_unreadable`` returns the problems of items that were not reported
    yet. ``problems`` are reported with the next trace, or at the end of the stream.
    """

    def __init__(
        self,
        client: AsyncNetraClient,
        query: TraceQuery,
        start: ResumePoint,
        trace_id: str | None,
        *,
        put: Callable[[RemainingTrace], Awaitable[None]],
        new_unreadable: Callable[[str, Sequence[UnreadableItem]], Iterable[str]],
    ) -> None:
        self.problems: list[str] = []
        self._client = client
        self._query = query
        self._start = start
        self._trace_id = trace_id
        self._put = put
        self._new_unreadable = new_unreadable

    async def find(self) -> ResumePoint:
        """Find all remaining traces, and return the end of the stream. Raises `NetraError`.

        A trace that was sent in part comes first. It is found by its id: if its start has moved to an earlier time, the
        list no longer has it.
        """
        point = self._start
        trace_id = self._trace_id or point.next_id
        if trace_id and point.last_id != trace_id:
            before, point = point, point.after(trace_id)
            await self._add(TraceSummary(id=trace_id), before, point, is_listed=False)
        if self._trace_id is not None:
            return point
        parts = tuple(dict.fromkeys(self._query.trace_ids))
        for trace_id in parts[point.part :]:
            point = (await self._find_listed(point, trace_id)).at_part(point.part + 1)
        return point if parts else await self._find_listed(point, None)

    async def _find_listed(self, point: ResumePoint, trace_id: str | None) -> ResumePoint:
        """Find the traces that are listed after ``point``. After a restart, skip those that were passed before."""
        past: ResumePoint | None = None
        seen: set[str] = set()

        def restart() -> None:
            nonlocal point, past, seen
            past = point = point.at_page(None)
            seen = set()

        window = Window(point.start_ns, point.end_ns)
        async for page in list_pages(self._client, window, self._query, trace_id, point.cursor, restart):
            if point.passed and not point.passed_on(page.traces):
                past = point
            point = await self._add_page(page, point, past, seen)
            seen = {trace.id for trace in page.traces}
        if trace_id is not None and not point.last_id:
            self.problems.append(f"trace {trace_id}: Netra has no trace with this id in the range")
        return point

    async def _add_page(
        self, page: TracesPage, point: ResumePoint, past: ResumePoint | None, seen: set[str]
    ) -> ResumePoint:
        """Add the traces of a page that were neither ``seen`` on the page before nor sent up to the point ``past``.

        After a restart, a trace that is passed a second time does not become the last one sent, which the next restart
        needs.
        """
        passed = point.passed_on(page.traces)
        sent = (self._start.last_id, self._start.next_id)
        if not passed and not (page.traces and page.traces[0].id in sent):
            self.problems += self._new_unreadable("", page.unreadable)
        for index, trace in enumerate(page.traces[passed:], passed):
            before, point = point, point.after_listed(page.traces, index)
            if past is not None and past.has_passed(trace):
                point = msgspec.structs.replace(point, last_id=past.last_id)
            elif trace.id not in sent and trace.id not in seen:
                seen.add(trace.id)
                await self._add(trace, before, point)
        return point.at_page(page.next_cursor)

    async def _add(
        self, summary: TraceSummary, before: ResumePoint, after: ResumePoint, *, is_listed: bool = True
    ) -> None:
        problems, self.problems = self.problems, []
        await self._put(RemainingTrace(summary, is_listed, before, after, problems))
