"""Decode spans as Phoenix does, with its own code: run by the Python that Phoenix is installed for.

Each line of input is an OTLP span in hex. Each line of output is JSON: ``attributes`` as Phoenix stores them, and
``kind``; or ``error``.
"""

import json
import sys

import opentelemetry.proto.trace.v1.trace_pb2 as otlp
from phoenix.trace.otel import decode_otlp_span

for line in sys.stdin:
    try:
        span = decode_otlp_span(otlp.Span.FromString(bytes.fromhex(line)))
        shown = {"attributes": span.attributes, "kind": span.span_kind.value}
    except Exception as error:
        shown = {"error": repr(error)}
    print(json.dumps(shown, default=repr), flush=True)
