"""What the stock OTLP encoder makes of spans, with the flags that the bridge writes instead."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan

SAMPLED = 0x1
HAS_IS_REMOTE, IS_REMOTE = 0x100, 0x200


def stock_request(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """Return the request of sampled spans: the stock encoder's, without its claim that a parent is local."""
    request = encode_spans(spans)
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                for holder in (span, *span.links):
                    assert holder.flags & HAS_IS_REMOTE
                    holder.flags = SAMPLED | (holder.flags if holder.flags & IS_REMOTE else 0)
    return request
