"""A user's program that uses the public API, checked strictly and run against the installed wheel.

Run it with NETRA_API_KEY and NETRA_OTLP_ENDPOINT set; its first argument is a directory for what it stores.
"""

import asyncio
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import assert_type

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from netra_otel_bridge import (
    AsyncNetraClient,
    Backoff,
    Bridge,
    BridgeError,
    ConfigurationError,
    Delivered,
    Destination,
    DestinationUnavailable,
    LaneReport,
    Misconfigured,
    Named,
    NetraClient,
    NetraError,
    Outcome,
    PartlyRefused,
    Privacy,
    Profile,
    Refused,
    ReplayEstimate,
    ReplayReport,
    Retry,
    SpanBatch,
    SpanCallback,
    SpanChunk,
    SpanConverter,
    Stopped,
    TenantUsageData,
    To,
    TooLarge,
    TraceFilter,
    TraceQuery,
    TraceSpan,
    TraceSummary,
    afollow,
    dead_letters,
    follow,
    read_status,
    replay,
)
from netra_otel_bridge.dashboards import FilterConfig, Metrics


class Counting(SpanExporter):
    """An exporter."""

    def __init__(self) -> None:
        self.spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


class Names(SpanProcessor):
    """A processor."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def on_end(self, span: ReadableSpan) -> None:
        self.names.add(span.name)


class Sizes:
    """A destination."""

    name = "sizes"

    def __init__(self) -> None:
        self.answers: list[Outcome] = []

    async def send(self, batch: SpanBatch) -> Outcome:
        self.answers.append(Delivered() if batch.size_bytes < 1_000_000 else TooLarge("a megabyte is enough"))
        return self.answers[-1]

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release."""


def told(outcome: Outcome) -> str:
    """Handle every outcome there is: a type checker reports a missing one."""
    match outcome:
        case Delivered(warning):
            return warning
        case PartlyRefused(refused, reason):
            return f"{refused}: {reason}"
        case Retry(reason) | TooLarge(reason) | Refused(reason) | Misconfigured(reason):
            return reason


taken: list[ReadableSpan] = []


def take(spans: Sequence[ReadableSpan]) -> None:
    """Take spans as a callback."""
    taken.extend(spans)


async def take_async(spans: Sequence[ReadableSpan]) -> int:
    """Take spans as an awaited callback; what it returns is ignored."""
    await asyncio.sleep(0)
    return len(spans)


def take_into(spans: list[ReadableSpan], more: Sequence[ReadableSpan]) -> None:
    """Take spans as a callback with an argument of its own."""
    spans.extend(more)


def synchronous(directory: Path) -> None:
    """Replay into everything that accepts spans; use state, errors and values."""
    exporter, processor, sizes = Counting(), Names(), Sizes()
    everybody: list[To] = [exporter, processor, sizes, take, take_async, partial(take_into, [])]
    given: Destination = sizes
    callback: SpanCallback = take_async
    bridge = Bridge(state=str(directory / "state"), concurrency=8)
    seen: list[LaneReport] = []
    report = bridge.replay(everybody, since="25h", on_progress=seen.append, stop=threading.Event())
    assert_type(report, ReplayReport)
    assert {lane.delivered for lane in report.destinations} == {exporter.spans} == {len(taken)}
    print(exporter.spans, len(processor.names), len(seen), [told(answer) for answer in sizes.answers])

    memory = InMemorySpanExporter()
    batching: SpanProcessor = BatchSpanProcessor(memory)
    replay(
        batching,
        since="25h",
        query=TraceQuery(tenant_id="Globex", filters=(TraceFilter("has_error", False, type="boolean"),)),
    )
    batching.shutdown()
    assert_type(bridge.estimate(since="25h"), ReplayEstimate)
    for chunk in bridge.read_spans(from_="25h", until="1h"):
        assert_type(chunk, SpanChunk)
        print(len(chunk.spans), chunk.resume_token != "")
    for to in (given, callback):
        replay(to, since="1h")

    named: To = Named("memory", InMemorySpanExporter())
    assert [lane.name for lane in bridge.replay([named], since="25h").destinations] == ["memory"]

    status = read_status(str(directory / "state"))
    assert {lane.destination for lane in status.lanes} >= {
        "Counting",
        "Names",
        "sizes",
        "take",
        "take_async",
        "take_into",
        "memory",
    }
    assert [letter.letter.reason for letter in dead_letters(directory / "state")] == []

    already = threading.Event()
    already.set()
    try:
        replay(take, since="25h", stop=already)
    except Stopped as stopped:
        print(stopped.report.destinations[0].delivered if stopped.report is not None else "no report")
    follow(take, stop=already, bridge=bridge)

    profile: Profile = "openinference"
    converter = SpanConverter(profile, Privacy(content="drop", user="hash"))
    span = converter.convert(TraceSpan(id="00f067aa0ba902b7", trace_id="4bf92f3577b34da6a3ce929d0e0e4736"))
    assert_type(span, ReadableSpan)

    with bridge.client() as client:
        assert_type(client, NetraClient)
        first: TraceSummary | None = next(iter(client.iter_traces("2020-01-01", "2100-01-01")), None)
        assert first is not None
        usage = client.get_tenant_usage(first.tenant_id or "", "2020-01-01", "2100-01-01")
        assert_type(usage, TenantUsageData | None)
        year = FilterConfig("2025-01-01", "2100-01-01", "day")
        client.dashboard.query_data("Spans", "Number", Metrics("Total Cost", "Sum"), year)


async def asynchronous() -> None:
    """Use the same functions from asyncio, and cancel."""
    bridge = Bridge()
    report = await bridge.areplay([take_async, Counting()], since="25h")
    assert_type(report, ReplayReport)
    async with bridge.async_client() as client:
        assert_type(client, AsyncNetraClient)
        async for chunk in bridge.aread_spans(from_="25h", until="1h"):
            assert_type(chunk, SpanChunk)
        async for trace in client.iter_traces("2020-01-01", "2100-01-01", limit=10):
            print(trace.name)
            break
    following = asyncio.create_task(afollow(take_async, since="1h", bridge=bridge))
    await asyncio.sleep(0.2)
    following.cancel()
    await asyncio.wait({following})
    assert following.cancelled()


def errors() -> None:
    """Show that errors carry data, and form a tree."""
    try:
        with NetraClient(api_key="any", endpoint="http://127.0.0.1:1", backoff=Backoff(attempts=1)) as client:
            client.get_span("00f067aa0ba902b7")
    except NetraError as error:
        assert_type(error.status, int | None)
        print(error.message, error.hint, error.exit_code, error.retryable)
    try:
        Bridge(environ={}).client()
    except ConfigurationError as error:
        print(error)

    def away(spans: Sequence[ReadableSpan]) -> None:
        raise DestinationUnavailable(f"no room for {len(spans)} spans")

    try:
        replay(away, since="25h", attempts=1)
    except BridgeError as error:
        print(type(error).__name__, error.report is not None)


if __name__ == "__main__":
    synchronous(Path(sys.argv[1]))
    asyncio.run(asynchronous())
    errors()
    print("done")
