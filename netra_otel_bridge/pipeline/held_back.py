"""Hold a trace back that cannot be read, so that it delays no other, and try it again later.

The rule (docs/adr/0022): a failure is of one trace if Netra still lists traces and still returns spans of another one.
Otherwise it is a failure of everything, and the pass ends with it. `ReadingJudge` decides, `HeldBack` keeps and retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from http import HTTPStatus
from operator import attrgetter

from netra_otel_bridge.convert import instant_ns
from netra_otel_bridge.core.clock import NS_PER_MS, NS_PER_S, Backoff
from netra_otel_bridge.core.errors import BridgeError, NetraError, NetraNotFound, NetraRateLimited, NetraUntrusted
from netra_otel_bridge.core.model.progress import HeldTrace
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.pipeline.digests import summary_digest
from netra_otel_bridge.pipeline.in_flight import Pass, TraceInFlight
from netra_otel_bridge.source import AsyncNetraClient

IN_A_ROW = 10
"""Traces that may fail one after the other, without one that is read, before the failure counts as one of everything."""
PAUSE = Backoff(first_s=60.0, max_s=3600.0, uniform=lambda _, most_s: most_s)
"""Time until a trace that is held back is tried again: a minute, doubled after each attempt, up to an hour."""
KNOWN = 3
"""Stored traces that are read as a control: one of them may be unreadable itself."""
RETRIES = 4
"""Traces that one pass over live traffic tries again, so that they never occupy all fetchers."""


async def list_nothing(client: AsyncNetraClient) -> None:
    """List an empty range, to learn whether Netra lists traces at all. Raises `NetraError`."""
    await client.list_traces(iso_ms(0), iso_ms(NS_PER_MS), limit=1)


class ReadingJudge:
    """Tells a failure to read one trace from a failure to read any.

    ``stored`` returns the ids of a few traces that were read before, if there are any.
    """

    def __init__(self, client: AsyncNetraClient, stored: Callable[[], Sequence[str]] = tuple) -> None:
        self._client = client
        self._stored = stored
        self._last_read = ""
        self._asking = asyncio.Lock()
        self._in_a_row = 0

    def read(self, trace_id: str) -> None:
        """Note that a trace was read."""
        self._last_read = trace_id
        self._in_a_row = 0

    async def judge(self, error: Exception) -> None:
        """Return if ``error`` is of the trace that was read. Raises the error of everything otherwise.

        An error that does not come from Netra is of the trace, unless `IN_A_ROW` other traces failed before it.
        """
        if isinstance(error, NetraRateLimited | NetraUntrusted):
            raise error
        async with self._asking:
            if isinstance(error, NetraError):
                await list_nothing(self._client)
            self._in_a_row += 1
            if self._in_a_row > IN_A_ROW:
                await self.confirm(error)

    async def confirm(self, error: Exception) -> None:
        """Return if one of the traces that were read before can still be read. Raises the error of everything otherwise.

        Without such a trace, `IN_A_ROW` failures are taken for those of single traces.
        """
        known = self._known_traces() if isinstance(error, NetraError) else []
        if not known:
            if self._in_a_row > IN_A_ROW:
                raise error
            return
        everything = error
        for trace_id in known:
            try:
                await self._client.list_spans_by_trace_id(trace_id, limit=1)
            except NetraNotFound as missing:
                if missing.status == HTTPStatus.NOT_FOUND:
                    break
                everything = missing
            except NetraError as failure:
                everything = failure
            else:
                break
        else:
            raise everything
        self._in_a_row = 0

    def _known_traces(self) -> list[str]:
        return [*([self._last_read] if self._last_read else []), *self._stored()]


class HeldBack:
    """The traces of one pass that could not be read.

    A failed trace is a suspect until another trace is read, or until `settle` confirms it. Only then it is held back.
    With ``follow``, in a pass over live traffic, a trace that is held back waits until its next attempt is due. A
    replay tries it in each run, and once more at its end.
    """

    def __init__(self, lane_pass: Pass, *, follow: bool) -> None:
        recorder = lane_pass.route.recorder
        self._pass = lane_pass
        self._recorder = recorder
        self._follow = follow
        self._judge = ReadingJudge(lane_pass.route.client, partial(recorder.some_traces, KNOWN))
        self._suspects: list[tuple[TraceInFlight, Exception]] = []
        self._tried: set[str] = set()

    def waits(self, trace_id: str) -> bool:
        """Return whether a listed trace is held back and not due in this pass. If it is due, it counts as tried."""
        held = self._recorder.held_back.get(trace_id)
        if held is None:
            return False
        if trace_id in self._tried or not self._is_due(held):
            return True
        self._tried.add(trace_id)
        return False

    def queue_due(self, whole: Window | None) -> None:
        """Queue the traces that are due: at most `RETRIES` in a pass over live traffic, all of ``whole`` in a replay."""
        due = [one for one in self._recorder.held_back.values() if self._is_due(one)]
        if self._follow:
            self._queue(sorted(due, key=attrgetter("next_ns"))[:RETRIES])
        else:
            self._queue(one for one in due if whole is not None and whole.start_ns <= one.start_ns < whole.end_ns)

    def queue_again(self) -> bool:
        """Queue what this replay has held back so far once more. Return whether there is any."""
        again = [self._recorder.held_back[one] for one in sorted(self._tried) if one in self._recorder.held_back]
        self._queue(again)
        return bool(again)

    def read(self, trace_id: str) -> None:
        """Note that a trace was read: Netra returns spans, so the suspects failed by themselves."""
        self._judge.read(trace_id)
        if self._suspects:
            self._hold_suspects()

    async def failed(self, trace: TraceInFlight, error: Exception) -> None:
        """Make a trace that cannot be read, or converted, a suspect. Raises the error of everything."""
        await self._judge.judge(error)
        self._suspects.append((trace, error))

    @property
    def suspects(self) -> int:
        """Return the number of traces that are in flight only as suspects."""
        return len(self._suspects)

    async def settle(self) -> None:
        """Hold the suspects back once every trace is answered. Raises the error of everything."""
        if self._suspects:
            await self._judge.confirm(self._suspects[-1][1])
            self._hold_suspects()
        self._pass.report.held_back = sum(one in self._recorder.held_back for one in self._tried)

    def _hold_suspects(self) -> None:
        suspects, self._suspects = self._suspects, []
        for trace, error in suspects:
            self._hold(trace, error)

    def _hold(self, trace: TraceInFlight, error: Exception) -> None:
        """Record that a trace is held back, in the transaction that finishes its windows."""
        summary, now_ns = trace.summary, self._recorder.clock.now_ns()
        reason = error.message if isinstance(error, BridgeError) else self._pass.route.converter.failure(error)
        before = self._recorder.held_back.get(summary.id)
        attempts = before.attempts + 1 if before is not None else 1
        self._tried.add(summary.id)
        if before is None:
            self._pass.report.note(f"trace {summary.id}: held back: {reason}")
        self._recorder.hold_back(
            HeldTrace(
                summary=self._pass.route.converter.private_summary(summary),
                start_ns=instant_ns(summary.start_time) or 0,
                reason=reason,
                attempts=attempts,
                first_ns=before.first_ns if before is not None else now_ns,
                next_ns=now_ns + round(PAUSE.delay_s(attempts - 1) * NS_PER_S),
            )
        )
        self._pass.finish(trace, is_held=True)

    def _is_due(self, held: HeldTrace) -> bool:
        """Return whether to try a trace now. An attempt that is due later than any pause was set by a wrong clock."""
        if held.given_up or not self._follow:
            return not held.given_up
        return not 0 < held.next_ns - self._recorder.clock.now_ns() <= PAUSE.max_s * NS_PER_S

    def _queue(self, traces: Iterable[HeldTrace]) -> None:
        for held in traces:
            summary = held.summary
            if summary.id in self._pass.traces:
                continue
            self._tried.add(summary.id)
            known = self._recorder.known([summary.id]).get(summary.id)
            trace = TraceInFlight(summary, summary_digest(summary), [], known)
            self._pass.traces[summary.id] = trace
            self._pass.to_fetch.put_nowait(trace)
