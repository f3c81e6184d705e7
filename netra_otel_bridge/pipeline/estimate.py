"""What a replay would cost, reckoned from a sample."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from functools import partial

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.report import ReplayEstimate
from netra_otel_bridge.deliver import encode_span
from netra_otel_bridge.pipeline.listing import LISTERS, list_all, may_hold
from netra_otel_bridge.pipeline.windows import WindowQueue
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.pages import PAGE_LIMIT

SAMPLE_TRACES = 50


async def estimate(
    client: AsyncNetraClient,
    converter: SpanConverter,
    whole: Window,
    windows: Iterable[Window],
    query: TraceQuery,
    clock: Clock,
) -> ReplayEstimate:
    """List every trace of ``windows``, read `SAMPLE_TRACES` of them, the same for the same start, and send nothing.

    Raises `NetraError`.
    """
    chance = random.Random(whole.start_ns)  # noqa: S311  a sample, not a secret
    started = clock.monotonic()
    sample: list[TraceSummary] = []
    traces = 0
    stretches = WindowQueue(windows, partial(may_hold, client, queries=[query]))
    async for page in list_all(client, stretches, query):
        for trace in page.traces:
            traces += 1
            if len(sample) < SAMPLE_TRACES:
                sample.append(trace)
            elif (place := chance.randrange(traces)) < SAMPLE_TRACES:
                sample[place] = trace
    listed = clock.monotonic()
    list_calls = client.stats.calls.total()
    sizes = await asyncio.gather(*(_weigh(client, converter, trace) for trace in sample))
    read = clock.monotonic()
    calls = client.stats.calls.total() - list_calls
    share = traces / len(sample) if sample else 0.0
    return ReplayEstimate(
        window=whole,
        traces=traces,
        sampled_traces=len(sample),
        spans=round(sum(spans for spans, _ in sizes) * share),
        bytes=round(sum(size_bytes for _, size_bytes in sizes) * share),
        api_calls=list_calls + round(calls * share),
        seconds=(listed - started) / LISTERS + (read - listed) * share,
    )


async def _weigh(client: AsyncNetraClient, converter: SpanConverter, trace: TraceSummary) -> tuple[int, int]:
    """How many spans a trace has, and how many bytes they take encoded."""
    spans = size_bytes = 0
    async for page in client.iter_span_pages(trace.id, limit=PAGE_LIMIT):
        spans += len(page.spans)
        size_bytes += sum(len(encode_span(span)) for span in converter.convert_trace(trace, page.spans))
    return spans, size_bytes
