"""Copy a range of time to destinations once, and report."""

from __future__ import annotations

from collections.abc import Callable

from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.pipeline.watch import LaneWatch


class ProgressWatch(LaneWatch):
    """Passes each growth of a report to ``on_progress``, if there is one."""

    def __init__(self, name: str, limiter: LogLimit, on_progress: Callable[[LaneReport], None] | None) -> None:
        super().__init__(name, limiter)
        self._on_progress = on_progress

    def progress(self, report: LaneReport) -> None:
        """Pass the report on."""
        if self._on_progress is not None:
            self._on_progress(report)


def reporting_to(
    on_progress: Callable[[LaneReport], None] | None,
) -> Callable[[str, LogLimit, Recorder], ProgressWatch]:
    """Return what makes the watch of each lane."""
    return lambda name, limiter, _: ProgressWatch(name, limiter, on_progress)
