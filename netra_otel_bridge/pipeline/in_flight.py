"""Track the windows being listed, and the traces being fetched and sent, in one pass.

A trace that is listed with another summary while it is in flight is fetched once more: `TraceInFlight.list_again` keeps
the new summary, and `Pass.finish` queues it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from netra_otel_bridge.convert import SpanCost, hour_costs
from netra_otel_bridge.core.errors import BridgeError, NetraError
from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.progress import KnownTrace, TraceCost, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.core.packed_checksums import pack_carriers, pack_spans, unpack_carriers
from netra_otel_bridge.pipeline.digests import with_digest
from netra_otel_bridge.pipeline.memory_budget import Reservation
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.pipeline.route import Route


@dataclass(slots=True, eq=False)
class WindowInFlight:
    """A window being listed. When ``unfinished`` is 0, it is listed to its end, and none of its traces is in flight."""

    window: Window
    unfinished: int = 1


@dataclass(slots=True, eq=False)
class TraceInFlight:
    """A trace that was listed, under ``digest``, in ``windows``, and is not finished.

    ``known`` is its earlier record, if any. ``is_first`` means that this pass had not listed it yet, ``has_slot`` that
    it occupies one of the slots for listed traces. ``checksums`` has those of all answered spans, by span id, also of
    earlier passes; ``carriers`` has those of their carriers, or is ``None`` if an older version recorded a span.
    ``not_accepted`` are the ids of answered spans that the destination rejected or may have rejected.
    ``to_send`` spans are new or changed; ``unanswered`` of them still wait for an answer. The part that is not batched yet
    counts there as one more, so that a trace that is sent in parts is not finished early. ``has_parts`` means that a part
    of it is converted, ``has_failed`` that a part cannot be encoded. ``span_costs`` are those of the metered spans,
    ``recorded_cost`` is the cost recorded before. ``changed`` is the same trace, listed again with another summary while
    it was in flight.
    """

    summary: TraceSummary
    digest: bytes
    windows: list[WindowInFlight]
    known: KnownTrace | None = None
    is_first: bool = False
    has_slot: bool = False
    reservation: Reservation | None = None
    start_ns: int = 0
    has_parts: bool = False
    has_failed: bool = False
    checksums: dict[int, int] = field(default_factory=dict)
    carriers: dict[int, int] | None = field(default_factory=dict)
    not_accepted: set[int] = field(default_factory=set)
    span_costs: list[SpanCost] = field(default_factory=list)
    recorded_cost: TraceCost = field(default_factory=TraceCost)
    to_send: int = 0
    unanswered: int = 1
    changed: TraceInFlight | None = None

    def list_again(self, summary: TraceSummary, digest: bytes, window: WindowInFlight) -> None:
        """Add a window that lists this trace too."""
        window.unfinished += 1
        if digest == self.digest:
            self.windows.append(window)
        elif self.changed is None:
            self.changed = TraceInFlight(summary, digest, [window])
        else:
            self.changed.summary, self.changed.digest = summary, digest
            self.changed.windows.append(window)

    def resume(self, checksums: dict[int, int], carriers: bytes, cost: TraceCost) -> None:
        """Continue from the earlier record of this trace."""
        self.checksums, self.recorded_cost, self.not_accepted = checksums, cost, set(cost.not_accepted)
        self.carriers = unpack_carriers(checksums, carriers) if carriers or not checksums else None

    def answer(self, span_id: int, checksum: int, carrier: int, *, accepted: bool) -> None:
        """Register the response to one span."""
        self.checksums[span_id] = checksum
        if self.carriers is not None:
            self.carriers[span_id] = carrier
        self.unanswered -= 1
        if accepted:
            self.not_accepted.discard(span_id)
        else:
            self.not_accepted.add(span_id)

    def record(self) -> TraceRecord:
        """Return the record to store now. It drops earlier digests once a span was new or changed."""
        before = self.known.digest if self.known is not None and not self.to_send else None
        digests = None if self.unanswered else with_digest(before, self.digest, confirmed=before is not None)
        hours = self.recorded_cost.hours if self.unanswered else hour_costs(self.span_costs, self.not_accepted)
        cost = TraceCost(hours, tuple(self.not_accepted))
        carriers = pack_carriers(self.checksums, self.carriers) if self.carriers else b""
        return TraceRecord(self.summary.id, self.start_ns, digests, pack_spans(self.checksums), cost, carriers)


class WindowsInFlight:
    """The windows of a pass that were begun, in order. Records the finished ones or, when following, the watermark."""

    def __init__(self, recorder: Recorder, follow: bool) -> None:
        self._recorder = recorder
        self._follow = follow
        self._windows: deque[WindowInFlight] = deque()

    def begin(self, window: Window) -> WindowInFlight:
        """Begin the next window. It ends with the last `finish_one`."""
        begun = WindowInFlight(window)
        self._windows.append(begun)
        return begun

    def finish_one(self, windows: Iterable[WindowInFlight]) -> None:
        """Count down ``unfinished`` of each of ``windows``: one of its traces, or its listing, has ended."""
        for window in windows:
            window.unfinished -= 1
            if not window.unfinished and not self._follow:
                self._recorder.finished(window.window)
        while self._windows and not self._windows[0].unfinished:
            end_ns = self._windows.popleft().window.end_ns
            if self._follow:
                self._recorder.followed(end_ns)


class Pass:
    """One pass of a lane, shared by its stages.

    ``traces`` are in flight, by id; those in ``to_fetch`` wait for a fetcher. ``slots`` bounds the traces that were
    listed and not fetched yet. ``open_windows`` could not be listed, although others could. ``again`` has the spans, by
    their traces, that are sent although they are recorded, until they are answered. ``error`` is the first one that ends
    the reading; what was read is still delivered.
    """

    def __init__(
        self, route: Route, report: LaneReport, *, follow: bool, again: Mapping[str, set[int]] | None = None
    ) -> None:
        self.route = route
        self.report = report
        self.follow = follow
        self.again = again or {}
        self.error: BridgeError | None = None
        self.open_windows: list[tuple[Window, NetraError]] = []
        self.windows = WindowsInFlight(route.recorder, follow)
        self.traces: dict[str, TraceInFlight] = {}
        self.to_fetch: asyncio.Queue[TraceInFlight] = asyncio.Queue()
        self.slots = asyncio.Semaphore(2 * route.options.fetchers)

    def has_failed(self) -> bool:
        """Return whether the reading has ended with an error."""
        return self.error is not None

    def fail(self, error: BridgeError) -> None:
        """End the reading with this error, unless an earlier one did."""
        self.error = self.error or error

    def finish(self, trace: TraceInFlight, *, is_held: bool = False) -> None:
        """End a trace, and count down the windows that list it. If it changed meanwhile, queue it again.

        Unless ``is_held``, it is no longer held back.
        """
        trace_id = trace.summary.id
        del self.traces[trace_id]
        if not is_held:
            self.route.recorder.release(trace_id)
        if trace.reservation is not None:
            trace.reservation.release()
        self.report.traces += trace.is_first
        if trace.changed is not None:
            trace.changed.known = self.route.recorder.known([trace_id]).get(trace_id)
            self.traces[trace_id] = trace.changed
            self.to_fetch.put_nowait(trace.changed)
        self.windows.finish_one(trace.windows)
