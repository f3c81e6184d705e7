"""Look for stored traces by search, and find those that no search shows."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netra_otel_bridge.core.clock import NS_PER_S, Clock
from netra_otel_bridge.core.tasks import all_of
from netra_otel_bridge.readback import wall
from netra_otel_bridge.readback.reader import FindsTraces, TraceNotReturned, TraceReader
from netra_otel_bridge.readback.wire import UnusualForm, parse_traces

MAX_TRACES = 1000
"""Maximum traces that are looked for; of more, this many at random."""
DEADLINE_S = 20.0
FIRST_WAIT_S = 1.0
MARGIN_NS = NS_PER_S
"""Searched around the times of a trace, because some stores keep whole seconds."""
_SERVICE = "service.name"


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """A trace that a store has: ``spans`` of the expected ones, one of them ``span_id``.

    ``service`` is of one resource in it, and the times are those of that resource's spans.
    """

    trace_id: str
    span_id: int
    spans: int
    service: str
    start_ns: int
    end_ns: int


class Sample:
    """Keeps up to `MAX_TRACES` stored traces, each with the same chance."""

    def __init__(self, seed: random.Random | None = None) -> None:
        self._random = seed or random.Random()  # noqa: S311  no secret depends on it
        self._traces: list[StoredTrace] = []
        self.seen = 0
        self.without_service = 0

    def add(self, trace_id: str, data: bytes, span_id: int, spans: int) -> None:
        """Consider a trace that `TraceReader.read` returned as ``data``."""
        self.seen += 1
        place = len(self._traces) if len(self._traces) < MAX_TRACES else self._random.randrange(self.seen)
        if place >= MAX_TRACES:
            return
        trace = _stored_trace(trace_id, data, span_id, spans)
        if trace is None:
            self.without_service += 1
        elif place == len(self._traces):
            self._traces.append(trace)
        else:
            self._traces[place] = trace

    def traces(self) -> Sequence[StoredTrace]:
        """Return the traces to look for."""
        return self._traces


def _stored_trace(trace_id: str, data: bytes, span_id: int, spans: int) -> StoredTrace | None:
    """Return when and under which service a search should show a trace; ``None`` if no resource names a service."""
    try:
        traces = parse_traces(data)
    except UnusualForm:
        return None
    for resource_spans in traces.resource_spans:
        service = next(
            (one.value.string_value for one in resource_spans.resource.attributes if one.key == _SERVICE), ""
        )
        found = [span for scope_spans in resource_spans.scope_spans for span in scope_spans.spans]
        if service and found:
            start_ns = min(span.start_time_unix_nano for span in found)
            end_ns = max(span.end_time_unix_nano for span in found)
            return StoredTrace(trace_id, span_id, spans, service, start_ns, max(start_ns, end_ns))
    return None


class Search:
    """Looks for traces in one store, until all were shown or the deadline has passed."""

    def __init__(self, reader: TraceReader, finder: FindsTraces, clock: Clock) -> None:
        self._reader = reader
        self._finder = finder
        self._clock = clock
        self.unclear: list[StoredTrace] = []
        """Traces at whose time the store has more than one search shows or returns."""

    async def hidden(self, traces: Iterable[StoredTrace]) -> list[StoredTrace]:
        """Return the traces that no search shows. Raises a `DestinationError`."""
        started_s = self._clock.monotonic()
        wait_s = FIRST_WAIT_S
        left = list(traces)
        while True:
            asked_s = self._clock.monotonic()
            left = await self._not_shown(left)
            if not left or (wait_s > FIRST_WAIT_S and asked_s - started_s >= DEADLINE_S):
                return left
            now_s = self._clock.monotonic()
            await self._clock.sleep(min(wait_s, max(started_s + DEADLINE_S - now_s, FIRST_WAIT_S)))
            wait_s *= 2

    def _groups(self, traces: list[StoredTrace]) -> list[list[StoredTrace]]:
        """Return the traces of a service that are searched for at once: all, or those whose ranges meet."""
        if not self._finder.finds_whole_traces:
            return [traces]
        groups: list[list[StoredTrace]] = []
        end_ns = 0
        for one in traces:
            if not groups or one.start_ns - MARGIN_NS > end_ns:
                groups.append([])
            groups[-1].append(one)
            end_ns = max(end_ns, one.end_ns + MARGIN_NS)
        return groups

    async def _not_shown(self, traces: Sequence[StoredTrace]) -> list[StoredTrace]:
        """Search once for all traces; return those that were not shown. Forget the `unclear` ones."""
        todo = [
            group
            for service in dict.fromkeys(one.service for one in traces)
            for group in self._groups(
                sorted((one for one in traces if one.service == service), key=lambda one: one.start_ns)
            )
        ]
        left: list[StoredTrace] = []

        async def work() -> None:
            while todo:
                group = todo.pop()
                start_ns = max(0, group[0].start_ns - MARGIN_NS)
                end_ns = max(one.end_ns for one in group) + MARGIN_NS
                try:
                    shown = await wall.find(self._reader, self._finder, group[0].service, start_ns, end_ns)
                except TraceNotReturned:
                    shown = None
                if shown is not None:
                    left.extend(one for one in group if one.trace_id not in shown)
                elif len(group) == 1:
                    self.unclear += group
                else:
                    half = len(group) // 2
                    todo.extend((group[:half], group[half:]))

        while todo:
            await all_of(work() for _ in range(max(1, self._reader.concurrency)))
        return left
