"""A collector in Python: live traffic from Netra into an exporter of its own, until SIGTERM or Ctrl-C.

Run it with NETRA_API_KEY and NETRA_OTLP_ENDPOINT set; it prints a line of JSON for each span that cost something:

    python python_collector.py > spans.jsonl

How far it has come is kept in ``./collector-state``: started again, it goes on from there, and sends nothing twice that
was answered. While the exporter fails, the bridge waits; nothing is dropped.
"""

import json
import signal
import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from netra_otel_bridge import follow


class CostLines(SpanExporter):
    """Prints which tenant's span cost how much, as JSON."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            attributes = span.attributes or {}
            cost = attributes.get("netra.cost.total")
            if cost:
                line = {"name": span.name, "tenant": attributes.get("netra.tenant.id"), "usd": cost}
                print(json.dumps(line), flush=True)
        return SpanExportResult.SUCCESS


if __name__ == "__main__":
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    follow(CostLines(), since="24h", stop=stop, state="collector-state")
