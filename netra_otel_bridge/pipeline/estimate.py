"""Estimate what a replay would take: list every trace, and read a sample of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

from netra_otel_bridge.convert import SpanConverter, count_keys
from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import NetraError
from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.report import KeptKeys, ReplayEstimate
from netra_otel_bridge.deliver import encode_span
from netra_otel_bridge.pipeline.converting import Conversion
from netra_otel_bridge.pipeline.judge import NoSpans, ReadingJudge
from netra_otel_bridge.pipeline.listing import LISTERS, list_all, may_hold
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget, Reservation
from netra_otel_bridge.pipeline.reading import list_spans
from netra_otel_bridge.pipeline.windows import WindowQueue
from netra_otel_bridge.source import AsyncNetraClient

SAMPLE_TRACES = 50
HELD_BYTES = 2**26
"""Cap on the pages of all traces that are read at the same time."""


async def estimate(
    client: AsyncNetraClient,
    converter: SpanConverter,
    whole: Window,
    windows: Iterable[Window],
    query: TraceQuery,
    clock: Clock,
) -> ReplayEstimate:
    """List every trace of ``windows`` and read `SAMPLE_TRACES` of them, the same ones each time for the same start.

    Nothing is sent. Raises `NetraError`.
    """
    started = clock.monotonic()
    sample = _Sample(whole.start_ns)
    queue = WindowQueue(windows, partial(may_hold, client, queries=[query]))
    async for page in list_all(client, queue, query, on_listing=sample.mark, on_restart=sample.rewind):
        for trace in page.traces:
            sample.add(trace)
    listed = clock.monotonic()
    list_calls = client.stats.calls.total()
    judge = ReadingJudge(client, whole)
    conversion = Conversion(converter)
    budget = MemoryBudget(HELD_BYTES)
    inventory = None if converter.privacy.keeps_all(True) else Counter[str]()
    measured = await asyncio.gather(
        *(_measure(client, conversion, trace, judge, inventory, budget.reserve()) for trace in sample.traces)
    )
    read = clock.monotonic()
    read_calls = client.stats.calls.total() - list_calls
    factor = sample.seen / len(sample.traces) if sample.traces else 0.0
    return ReplayEstimate(
        window=whole,
        traces=sample.seen,
        sampled_traces=len(sample.traces),
        spans=round(sum(spans for spans, _ in measured) * factor),
        size_bytes=round(sum(size_bytes for _, size_bytes in measured) * factor),
        api_calls=list_calls + round(read_calls * factor),
        seconds=(listed - started) / LISTERS + (read - listed) * factor,
        keys=None if inventory is None else KeptKeys(dict(inventory), dict(converter.dropped)),
    )


class _Sample:
    """A random sample of the traces that are listed, each with the same chance; ``seen`` counts them all."""

    def __init__(self, seed: int) -> None:
        self.seen = 0
        self.traces: list[TraceSummary] = []
        self._random = random.Random(seed)  # noqa: S311  a sample, not a secret
        self._marked: tuple[int, list[TraceSummary], tuple[Any, ...]] = 0, [], self._random.getstate()

    def add(self, trace: TraceSummary) -> None:
        """Count a trace, and put it into the sample by chance."""
        self.seen += 1
        if len(self.traces) < SAMPLE_TRACES:
            self.traces.append(trace)
        elif (position := self._random.randrange(self.seen)) < SAMPLE_TRACES:
            self.traces[position] = trace

    def mark(self) -> None:
        """Remember the current state for `rewind`."""
        self._marked = self.seen, list(self.traces), self._random.getstate()

    def rewind(self) -> None:
        """Drop the traces that were added since the last `mark`: they will be listed again."""
        self.seen, traces, state = self._marked
        self.traces = list(traces)
        self._random.setstate(state)


async def _measure(
    client: AsyncNetraClient,
    conversion: Conversion,
    trace: TraceSummary,
    judge: ReadingJudge,
    inventory: Counter[str] | None,
    reservation: Reservation,
) -> tuple[int, int]:
    """Return the number of spans of a trace, and their encoded size. A trace that cannot be read counts as empty.

    ``inventory`` counts the keys of what would be sent.
    """
    pages: list[tuple[int, int]] = []
    try:
        async for page, size_bytes in list_spans(client, trace.id, reservation, pages.clear):
            reservation.add(size_bytes)
            converted = await conversion.convert(trace, page.spans)
            if inventory is not None:
                count_keys(converted, inventory)
            pages.append((len(page.spans), sum(len(encode_span(span)) for span in converted)))
            reservation.add(-size_bytes)
        if not any(spans for spans, _ in pages):
            raise NoSpans(trace.id)
    except NetraError as error:
        await judge.judge(trace, error)
        return 0, 0
    finally:
        reservation.release()
    judge.read(trace.id)
    return sum(spans for spans, _ in pages), sum(size_bytes for _, size_bytes in pages)
