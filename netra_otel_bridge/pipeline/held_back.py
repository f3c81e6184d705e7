"""Hold a trace back that cannot be read, so that it delays no other, and try it again later.

`ReadingJudge` decides whether a failure is of one trace, `HeldBack` keeps the trace and retries.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from operator import attrgetter

from netra_otel_bridge.convert import instant_ns
from netra_otel_bridge.core.clock import NS_PER_S, Backoff
from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.progress import HeldTrace
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.pipeline.dead_letters import note_missing
from netra_otel_bridge.pipeline.digests import summary_digest
from netra_otel_bridge.pipeline.in_flight import Pass, TraceInFlight
from netra_otel_bridge.pipeline.judge import DELETED, ReadingJudge
from netra_otel_bridge.pipeline.slow import SlowTraces, TooSlow

PAUSE = Backoff(first_s=60.0, max_s=3600.0, uniform=lambda _, most_s: most_s)
"""Time until a trace that is held back is tried again: a minute, doubled after each attempt, up to an hour."""
KNOWN = 3
"""Stored traces that are read as a control: one of them may be unreadable itself."""
RETRIES = 4
"""Traces that one pass over live traffic tries again, so that they never occupy all fetchers."""


class HeldBack:
    """The traces of one pass over ``scope`` that could not be read.

    A failed trace is a suspect until another trace is read, or until `settle` confirms it. Only then it is held back.
    With ``follow``, in a pass over live traffic, a trace that is held back waits until its next attempt is due. A
    replay tries it in each run, and once more at its end.
    """

    def __init__(self, lane_pass: Pass, scope: Window, *, follow: bool, slow: SlowTraces | None = None) -> None:
        recorder = lane_pass.route.recorder
        self._pass = lane_pass
        self._recorder = recorder
        self._follow = follow
        self._slow = slow
        self._scope = scope
        self._judge = ReadingJudge(lane_pass.route.client, scope, partial(recorder.some_traces, KNOWN))
        self._suspects: list[tuple[TraceInFlight, Exception]] = []
        self._tried: set[str] = set()

    def waits(self, trace_id: str) -> bool:
        """Return whether a listed trace is held back and not due in this pass. If it is due, it counts as tried."""
        held = self._recorder.held_back.get(trace_id)
        if held is None:
            return False
        if trace_id in self._tried or self._is_slow(trace_id) or not self._is_due(held):
            return True
        self._tried.add(trace_id)
        return False

    def queue_due(self) -> None:
        """Queue the traces that are due: at most `RETRIES` in a pass over live traffic, all of ``scope`` in a replay.

        A slow trace is queued once it was read apart.
        """
        due = [one for one in self._recorder.held_back.values() if self._is_due(one)]
        if not self._follow:
            self._queue(one for one in due if self._scope.start_ns <= one.start_ns < self._scope.end_ns)
            return
        due.sort(key=attrgetter("next_ns"))
        self._queue([one for one in due if not self._is_slow(one.summary.id)][:RETRIES])
        if self._slow is not None:
            slow = [one for one in due if self._is_slow(one.summary.id)]
            self._queue([one for one in slow if self._slow.is_read_apart(one.summary.id)][:RETRIES])

    def _is_slow(self, trace_id: str) -> bool:
        return self._slow is not None and trace_id in self._slow

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
        """Make a trace that cannot be read, or converted, a suspect; report one that was deleted.

        Raises the error of everything.
        """
        if await self._judge.judge(trace.summary, error):
            note_missing(self._pass, f"trace {trace.summary.id}: {DELETED}")
            if self._slow is not None:
                self._slow.remove(trace.summary.id)
            self._pass.finish(trace)
        else:
            self._suspects.append((trace, error))

    def unaccepted(self, trace: TraceInFlight, reason: str) -> None:
        """Hold a trace back that could be read, but with which every request to the destination fails."""
        if self._pass.traces.get(trace.summary.id) is trace:
            self._hold(trace, BridgeError(reason))

    @property
    def suspects(self) -> int:
        """Return the number of traces that are in flight only as suspects."""
        return len(self._suspects)

    async def settle(self) -> None:
        """Hold the suspects back once every trace is answered. Raises the error of everything."""
        if self._suspects:
            trace, error = self._suspects[-1]
            await self._judge.confirm(trace.summary, error)
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
        pause_s = 0.0 if isinstance(error, TooSlow) else PAUSE.delay_s(attempts - 1)
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
                next_ns=now_ns + round(pause_s * NS_PER_S),
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
