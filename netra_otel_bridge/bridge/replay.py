"""Copy a range of time to destinations once, and report."""

from __future__ import annotations

from collections.abc import Callable

from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.pipeline.watch import LaneWatch


class _Progress(LaneWatch):
    """Hands each growth of a report on."""

    def __init__(self, name: str, limiter: LogLimit, on_progress: Callable[[LaneReport], None]) -> None:
        super().__init__(name, limiter)
        self._on_progress = on_progress

    def progress(self, report: LaneReport) -> None:
        self._on_progress(report)
