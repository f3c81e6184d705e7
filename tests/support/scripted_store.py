"""A store in memory that a test scripts, and what the bridge expects of it, from the spans that were sent."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.readback import Finding
from netra_otel_bridge.deliver.otlp.carrier import carrier_checksum
from netra_otel_bridge.deliver.otlp.encode import checksum, encode_request, encode_span, ids_of
from netra_otel_bridge.emulator.otlp import read_document
from netra_otel_bridge.readback.expected import ExpectedTrace
from netra_otel_bridge.readback.reader import StoreForm
from tests.support.fake_clock import FakeClock

SERVICE_KEY = "service.name"


class PlainForm:
    """The form of a store that returns what it received."""

    keeps_all = True

    def restore(self, traces: TracesData) -> None:
        pass

    def reduce(self, resource_spans: ResourceSpans, span: Span) -> None:
        pass

    def limits(self) -> tuple[str, ...]:
        return ()


class ScriptedReader:
    """Reads from ``traces``. ``fails`` is asked before each call, and may return an error to raise."""

    def __init__(
        self,
        traces: Mapping[str, bytes | Callable[[], bytes]],
        *,
        store: str = "jaeger",
        form: StoreForm | None = None,
        concurrency: int = 4,
        fails: Callable[[int], BridgeError | None] = lambda _: None,
    ) -> None:
        self.traces = traces
        self.store = store
        self.at = f"{store}+grpc://127.0.0.1:16685"
        self.form: StoreForm = form or PlainForm()
        self.concurrency = concurrency
        self.calls = 0
        self.read_ids: list[str] = []
        self._fails = fails

    def _call(self) -> None:
        self.calls += 1
        if (error := self._fails(self.calls)) is not None:
            raise error

    async def read(self, trace_id: str, start_ns: int) -> bytes:
        self._call()
        self.read_ids.append(trace_id)
        data = self.traces.get(trace_id, b"")
        return data if isinstance(data, bytes) else data()

    async def aclose(self) -> None:
        pass


@dataclass
class Index:
    """A trace as a search knows it: its service, its start, and the time from which it is shown."""

    service: str
    start_ns: int
    shown_ns: int = 0


class SearchedReader(ScriptedReader):
    """A scripted store with a search, which shows up to ``limit`` traces of ``index``."""

    finds_whole_traces = False
    index: dict[str, Index]
    clock: FakeClock
    limit = 100

    async def find(self, service: str, start_ns: int, end_ns: int) -> set[str] | None:
        self._call()
        shown = {
            trace_id
            for trace_id, one in self.index.items()
            if one.service == service and start_ns <= one.start_ns <= end_ns and one.shown_ns <= self.clock.now_ns()
        }
        return shown if len(shown) <= self.limit else None


@dataclass
class Expected:
    """The traces that a test expects, in chunks."""

    traces: Sequence[ExpectedTrace]
    beside: Sequence[Finding] = ()
    lines: Sequence[str] = ()
    chunk: int = 3
    error: BridgeError | None = None

    async def __aiter__(self) -> AsyncIterator[Sequence[ExpectedTrace]]:
        for at in range(0, len(self.traces), self.chunk):
            yield self.traces[at : at + self.chunk]
        if self.error is not None:
            raise self.error

    def findings(self) -> Sequence[Finding]:
        return self.beside

    def notes(self) -> Sequence[str]:
        return self.lines


@dataclass
class Sent:
    """The spans that were sent, as Netra would have them converted again."""

    by_trace: Mapping[str, Mapping[int, ReadableSpan]]
    error: BridgeError | None = None
    calls: int = 0
    asked: list[str] = field(default_factory=list)

    async def spans(self, trace_id: str) -> Mapping[int, ReadableSpan]:
        self.calls += 1
        self.asked.append(trace_id)
        if self.error is not None:
            raise self.error
        return self.by_trace.get(trace_id, {})


def stored(path: Path) -> dict[str, bytes]:
    """Return what a file has of each trace, as a store would return it."""
    found: dict[str, TracesData] = {}
    for line in path.read_text().splitlines():
        for resource in read_document(json.loads(line)).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    data = found.setdefault(span.trace_id.hex(), TracesData())
                    one = data.resource_spans.add(resource=resource.resource, schema_url=resource.schema_url)
                    one.scope_spans.add(scope=scope.scope, schema_url=scope.schema_url, spans=[span])
    return {trace_id: data.SerializeToString() for trace_id, data in found.items()}


def hex_id(trace_id: int) -> str:
    return f"{trace_id:032x}"


def request(spans: Sequence[ReadableSpan]) -> bytes:
    """Return the bytes that the bridge sends."""
    return encode_request(spans, [encode_span(span) for span in spans])


def messages(spans: Sequence[ReadableSpan]) -> TracesData:
    return TracesData.FromString(request(spans))


def expected_trace(
    spans: Sequence[ReadableSpan], *, recorded_ns: int = 0, carriers: bool = True, **others: frozenset[int]
) -> ExpectedTrace:
    """Return what the state keeps of a trace with these spans."""
    encoded = [encode_span(span) for span in spans]
    found = [carrier_checksum(span.resource, span.instrumentation_scope) for span in spans]
    return ExpectedTrace(
        hex_id(ids_of(encoded[0])[0]),
        min(span.start_time or 0 for span in spans),
        recorded_ns,
        b"".join(struct.pack(">QI", ids_of(one)[1], checksum(one)) for one in encoded),
        b"".join(struct.pack(">I", one) for one in (found if len(set(found)) > 1 else found[:1])) if carriers else b"",
        **others,
    )


def sent_of(*traces: Sequence[ReadableSpan]) -> Sent:
    """Return a Netra that has these traces."""
    return Sent(
        {hex_id(_ids(spans[0])[0]): {_ids(span)[1]: span for span in spans} for spans in traces},
    )


def _ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id
