"""Report the events of a lane: to its caller, in the log (at most one line a minute), in its health and in the state.

LaneWatch            logs retries and warnings
+- FollowerWatch     also keeps why the lane waits or stopped, for its health and the state
   +- QuietWatch     logs at debug level only: its client may disconnect at any time
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from netra_otel_bridge.core.clock import NS_PER_S, Clock
from netra_otel_bridge.core.errors import BridgeError, UsageError
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.core.outside_text import error_line
from netra_otel_bridge.pipeline.recorder import Recorder

_log = logging.getLogger(__name__)


class LaneWatch:
    """Watches the passes of a lane."""

    def __init__(self, name: str, log_limit: LogLimit) -> None:
        self.name = name
        self.retries = 0
        self.errors: list[Exception] = []
        """Errors that `progress` raised; they are the caller's own."""
        self._log_limit = log_limit

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
        """Handle a report that grew."""

    def read(self, trace: TraceSummary, spans: Sequence[TraceSpan]) -> None:
        """Handle the spans of a trace that were read."""

    def retrying(self, reason: str, delay_s: float) -> None:
        """Handle a batch that was not accepted and is sent again in ``delay_s`` seconds."""
        self.retries += 1
        self.log(f"{reason}; retrying in {delay_s:.1f} s")

    def recovered(self) -> None:
        """Handle the response to a batch that was sent again."""

    def warned(self, warning: str) -> None:
        """Handle a warning that came with an accepted batch."""
        self.log(f"accepted a batch with a warning: {warning}", "warning")

    def log(self, problem: str, about: str = "") -> None:
        """Log a problem of this lane as a warning, at most once a minute for each ``about``."""
        self._log_limit.log(_log, logging.WARNING, (self.name, about), f"{self.name}: {problem}")


class SpanObserver(Protocol):
    """Measures spans as they are read."""

    def read(self, trace: TraceSummary, spans: Sequence[TraceSpan]) -> None:
        """Measure the spans of a trace."""


class FollowerWatch(LaneWatch):
    """Watches a lane that follows live traffic, or polls usage.

    ``problem`` is why it waits or stopped, since ``problem_since_ns``; "" while it runs.
    """

    def __init__(
        self,
        name: str,
        log_limit: LogLimit,
        clock: Clock,
        recorder: Recorder | None = None,
        observer: SpanObserver | None = None,
    ) -> None:
        super().__init__(name, log_limit)
        self.problem = ""
        self.problem_since_ns = 0
        self._standing = ""
        self._clock = clock
        self._recorder = recorder
        self._observer = observer

    def read(self, trace: TraceSummary, spans: Sequence[TraceSpan]) -> None:
        """Pass the spans on to the observer."""
        if self._observer is not None:
            self._observer.read(trace, spans)

    def retrying(self, reason: str, delay_s: float) -> None:
        """Handle a batch that was not accepted: the lane waits."""
        self.retries += 1
        self.waiting(reason, delay_s)

    def recovered(self) -> None:
        """Handle the response to a batch that was sent again: the lane runs."""
        self.clear()

    def waiting(self, problem: str, delay_s: float) -> None:
        """Show why the lane waits; it retries in ``delay_s`` seconds."""
        self._set(problem)
        self.log(f"{problem}; retrying in {delay_s:.1f} s")

    def stopped(self, problem: str) -> None:
        """Show why the lane stopped, which needs manual intervention."""
        self._set(problem)
        _log.error("%s: stopped: %s", self.name, problem)

    def stand(self, problem: str) -> None:
        """Show a problem while the lane runs, because a part of its work cannot be done; "" ends it."""
        if problem and problem != self._standing:
            self.log(problem, "standing")
        self._standing = problem

    def clear(self) -> None:
        """Show that the lane runs."""
        if self._standing:
            self._set(self._standing)
        elif self.problem:
            waited_s = (self._clock.now_ns() - self.problem_since_ns) / NS_PER_S
            self._log_limit.log(
                _log, logging.INFO, (self.name, "recovered"), f"{self.name}: recovered after {waited_s:.0f} s"
            )
            self._set("")

    def span_problem(self, problem: str) -> None:
        """Log a span or item that was rejected or is unreadable."""
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


class QuietWatch(FollowerWatch):
    """Watches the lane of a client that comes and goes. Its problems are in its health, and nobody is warned."""

    def log(self, problem: str, about: str = "") -> None:
        """Log a problem for debugging only."""
        _log.debug("%s: %s%s", self.name, f"{about}: " if about else "", problem)


def first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error in a group of errors, however deep."""
    first = group.exceptions[0]
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def lane_error(error: BaseException, watch: LaneWatch) -> BridgeError:
    """Return the error that ended one lane and no other, as a `BridgeError`.

    Raises an error of the caller unchanged: one that `LaneWatch.progress` raised, or ``KeyboardInterrupt``.
    """
    if isinstance(error, BridgeError):
        return error
    if not isinstance(error, Exception) or error in watch.errors:
        raise error
    _log.debug("%s: the lane ended", watch.name, exc_info=error)
    defect = BridgeError(
        f"{watch.name}: {error_line(error)}", hint="this is a bug in it or in the bridge; -v shows where"
    )
    defect.__cause__ = error
    return defect
