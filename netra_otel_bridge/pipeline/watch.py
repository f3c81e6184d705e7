"""What the service tells of one destination: in its log, at most a line a minute, in its health and in the state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import BridgeError, UsageError
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.deliver import raised
from netra_otel_bridge.pipeline.recorder import Recorder

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """Bounds of a lane.

    ``state_lasts`` says whether the state outlives the work: where it does not, what a destination will not take is only
    counted as refused, and what spans cost is not summed up.
    """

    fetchers: int = 64
    batch_spans: int = 512
    batch_bytes: int = 3_500_000
    held_bytes: int = 64 * 2**20
    state_lasts: bool = True


class LaneWatch:
    """What the passes of a lane tell while they work; of waits it logs at most one line a minute."""

    def __init__(self, name: str, limiter: LogLimit) -> None:
        self.name = name
        self.retries = 0
        self.errors: list[Exception] = []
        """What `progress` raised, which is the caller's."""
        self._limiter = limiter

    def grew(self, report: LaneReport) -> None:
        """Call `progress`."""
        try:
            self.progress(report)
        except asyncio.CancelledError:
            error = UsageError(
                "on_progress raised CancelledError", hint="to stop a replay, set its `stop`, or cancel its task"
            )
            self.errors.append(error)
            raise error from None
        except Exception as error:
            self.errors.append(error)
            raise

    def progress(self, report: LaneReport) -> None:
        """The report grew."""

    def read(self, trace: TraceSummary, spans: Sequence[TraceSpan]) -> None:
        """The spans of a trace were read."""

    def retrying(self, reason: str, delay_s: float) -> None:
        """A batch was not taken and is sent again in ``delay_s`` seconds."""
        self.retries += 1
        self.log(f"{reason}; trying again in {delay_s:.1f} s")

    def recovered(self) -> None:
        """A batch that was sent again was answered."""

    def warned(self, warning: str) -> None:
        """The destination took a batch and said something about it."""
        self.log(f"took a batch and warns: {warning}", "warning")

    def log(self, problem: str, about: str = "") -> None:
        """Warn of a problem of this lane, at most once a minute for each thing it is ``about``."""
        self._limiter.log(_log, logging.WARNING, (self.name, about), f"{self.name}: {problem}")


def first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def lane_error(error: BaseException, watch: LaneWatch) -> BridgeError:
    """The error that ended one lane, and ends no other. Raises it where it is the caller's: of `LaneWatch`, or Ctrl-C."""
    if isinstance(error, BridgeError):
        return error
    if not isinstance(error, Exception) or error in watch.errors:
        raise error
    _log.debug("%s: the lane ended", watch.name, exc_info=error)
    defect = BridgeError(f"{watch.name}: {raised(error)}", hint="a defect of it or of the bridge; -v shows where")
    defect.__cause__ = error
    return defect


class SpanObserver(Protocol):
    """Measures spans as they are read."""

    def read(self, trace: TraceSummary, spans: Sequence[TraceSpan]) -> None:
        """Measure the spans of a trace."""


class Notices(LaneWatch):
    """``problem`` is what holds the lane up, "" for nothing, since ``problem_since_ns``."""

    def __init__(
        self,
        name: str,
        limiter: LogLimit,
        clock: Clock,
        recorder: Recorder | None = None,
        observer: SpanObserver | None = None,
    ) -> None:
        super().__init__(name, limiter)
        self.problem = ""
        self.problem_since_ns = 0
        self._clock = clock
        self._recorder = recorder
        self._observer = observer

    def read(self, trace: TraceSummary, spans: Sequence[TraceSpan]) -> None:
        """The spans of a trace were read: live ones are measured."""
        if self._observer is not None:
            self._observer.read(trace, spans)

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
            self._limiter.log(
                _log, logging.INFO, (self.name, "recovered"), f"{self.name}: recovered after {since_s:.0f} s"
            )
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
        if changed and self._recorder is not None:
            self._recorder.problem(problem)


class QuietNotices(Notices):
    """Those of a lane whose destination is a client that comes and goes: what holds it up is in its health alone."""

    def log(self, problem: str, about: str = "") -> None:
        """Nothing that anybody needs to be warned of."""
        _log.debug("%s: %s%s", self.name, f"{about}: " if about else "", problem)
