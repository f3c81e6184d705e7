"""The code that a user would write instead of the bridge: a loop over netra-sdk's iterators, and the stock OTLP
exporter.

It runs in the environment of netra-sdk, knows nothing of the bridge, and prints one JSON document with what it moved.
"""

import json
import os
import sys
import time

from netra import Netra
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

BATCH = 512


def convert(span, service):
    """Convert the plain way: decode every JSON text, build every object."""
    context = SpanContext(int(span.trace_id, 16), int(span.id, 16), False, TraceFlags(1))
    parent = None
    if span.parent_span_id:
        parent = SpanContext(context.trace_id, int(span.parent_span_id, 16), False, TraceFlags(1))
    attributes = json.loads(span.attributes or "{}")
    if not isinstance(attributes, dict):
        attributes = {}
    events = [
        Event(event["name"], event.get("attributes") or {}, int(event.get("time_unix_nano") or 0))
        for event in json.loads(span.events or "[]")
    ]
    resources = json.loads(span.resources or "{}")
    return ReadableSpan(
        name=span.name,
        context=context,
        parent=parent,
        resource=Resource(resources if isinstance(resources, dict) else {"service.name": service}),
        attributes=attributes,
        events=events,
        kind=SpanKind.CLIENT if span.kind in ("GENERATION", "EMBEDDING", "CLIENT") else SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR if span.has_error else StatusCode.UNSET),
        start_time=int(float(span.start_time_ms) * 1e6),
        end_time=int(float(span.end_time_ms) * 1e6),
        instrumentation_scope=InstrumentationScope("netra"),
    )


def main(start, end, sink, limit):
    Netra.init(app_name="naive", instruments=set())
    exporter = OTLPSpanExporter(endpoint=sink, insecure=True)
    moved, batch = 0, []
    started, cpu = time.perf_counter(), time.process_time()
    for traces, trace in enumerate(Netra.usage.iter_traces(start, end, limit=100)):
        if traces == limit:
            break
        for span in Netra.usage.iter_spans_by_trace_id(trace.id, limit=100):
            batch.append(convert(span, trace.service))
            if len(batch) == BATCH:
                assert exporter.export(batch) is SpanExportResult.SUCCESS
                moved, batch = moved + len(batch), []
    if batch:
        assert exporter.export(batch) is SpanExportResult.SUCCESS
        moved += len(batch)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    json.dump({"spans": moved, "seconds": seconds, "cpu_seconds": cpu}, sys.stdout)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
