"""What the service tells of one destination: in its log, at most a line a minute, in its health and in the state."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from netra_otel_bridge.clock import Clock
from netra_otel_bridge.daemon.live import LiveMetrics
from netra_otel_bridge.limiter import Limiter
from netra_otel_bridge.model import TraceSpan, TraceSummary
from netra_otel_bridge.pipeline import LaneWatch
from netra_otel_bridge.progress import Recorder

_log = logging.getLogger("netra_otel_bridge.daemon")


class Notices(LaneWatch):
    """``problem`` is what holds the lane up, "" for nothing, since ``problem_since_ns``."""

    def __init__(self, name: str, limiter: Limiter, clock: Clock) -> None:
        super().__init__(name, limiter)
        self.problem = ""
        self.problem_since_ns = 0
        self.recorder: Recorder | None = None
        self.live: LiveMetrics | None = None
        self._clock = clock

    def read(self, trace: TraceSummary, spans: Sequence[TraceSpan]) -> None:
        """The spans of a trace were read: live ones are measured."""
        if self.live is not None:
            self.live.read(trace, spans)

    def retrying(self, reason: str, delay_s: float) -> None:
        """The destination did not take a batch; it is sent again."""
        self.retries += 1
        self.holding(reason, delay_s)

    def recovered(self) -> None:
        """The destination answers again."""
        self.clear()

    def holding(self, problem: str, delay_s: float) -> None:
        """Something holds the lane up; it tries again in ``delay_s`` seconds."""
        self._set(problem)
        self.log(f"{problem}; trying again in {delay_s:.1f} s")

    def stopped(self, problem: str) -> None:
        """The lane has ended, and waits for somebody."""
        self._set(problem)
        _log.error("%s: stopped: %s", self.name, problem)

    def clear(self) -> None:
        """Nothing holds the lane up any more."""
        if self.problem:
            since_s = (self._clock.now_ns() - self.problem_since_ns) / 10**9
            self._limiter.log(_log, logging.INFO, f"{self.name} goes on", f"{self.name}: goes on after {since_s:.0f} s")
            self._set("")

    def span_problem(self, problem: str) -> None:
        """A span, or something that is none, was refused or given up."""
        self.log(problem, "spans")

    def _set(self, problem: str) -> None:
        if problem and not self.problem:
            self.problem_since_ns = self._clock.now_ns()
        changed = problem != self.problem
        self.problem = problem
        if not problem:
            self.problem_since_ns = 0
        if changed and self.recorder is not None:
            self.recorder.problem(problem)


class QuietNotices(Notices):
    """Those of a lane whose destination is a client that comes and goes: what holds it up is in its health alone."""

    def log(self, problem: str, about: str = "") -> None:
        """Nothing that anybody needs to be warned of."""
        _log.debug("%s: %s%s", self.name, f"{about}: " if about else "", problem)
