"""Send again what a verification found missing or cut, and only that."""

from __future__ import annotations

from array import array
from contextlib import AsyncExitStack

from netra_otel_bridge.bridge.replay import OnProgress, ProgressWatch
from netra_otel_bridge.bridge.wiring import Wiring
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.readback import Kind
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.core.threads import in_thread
from netra_otel_bridge.pipeline.lane import TraceLane
from netra_otel_bridge.pipeline.windows import split
from netra_otel_bridge.state import StateStore

REPAIRED: tuple[Kind, ...] = ("missing", "cut")


class Broken:
    """The spans of one destination that are missing or cut, by Netra's ids of their traces. ``count`` is their number."""

    def __init__(self) -> None:
        self.count = 0
        self.by_trace: dict[str, array[int]] = {}

    def add(self, trace_id: str, span_id: int, kind: Kind) -> None:
        """Add a span, if sending it again may help."""
        if kind in REPAIRED:
            self.count += 1
            self.by_trace.setdefault(trace_id, array("Q")).append(span_id)


async def send_again(
    wiring: Wiring,
    to: str,
    window: Window,
    query: TraceQuery,
    state: StateStore,
    broken: Broken,
    on_progress: OnProgress | None = None,
) -> LaneReport:
    """Send the broken spans again, and only these of their traces.

    The state keeps what it has of them until they are answered, so after a kill the same command sends only what is still
    missing. The windows in which the traces start are listed again, so traces that are new there are sent too. What Netra
    no longer has stays as it is. Errors become ``report.error``. Raises `StateError`.
    """
    async with AsyncExitStack() as stack:
        (route,) = await wiring.routes(
            stack,
            to,
            (query,),
            state,
            new_watch=lambda name, log_limit, _: ProgressWatch(name, log_limit, on_progress),
        )
        window_ns = wiring.settings.window_ns
        windows = list(split(window, window_ns))
        starts_ns = await in_thread(route.recorder.lane.starts_ns, list(broken.by_trace))
        due = {min(max((at - window.start_ns) // window_ns, 0), len(windows) - 1) for at in starts_ns}
        again = {trace_id: set(span_ids) for trace_id, span_ids in broken.by_trace.items()}
        return await TraceLane(route, [windows[place] for place in sorted(due)], window, again=again).run()
