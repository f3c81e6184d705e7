"""A collector in Python: follow live traffic from Netra into your own exporter, until SIGTERM or Ctrl-C.

Run it with NETRA_API_KEY and NETRA_OTLP_ENDPOINT set. It prints a line of JSON for each span that has a cost:

    python python_collector.py > spans.jsonl

Progress is stored in ``./collector-state``. After a restart, it resumes from there and sends nothing twice that the
exporter acknowledged. While the exporter fails, the bridge waits and drops nothing.
"""

import json
import signal
import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from netra_otel_bridge import follow


class CostLines(SpanExporter):
    """Print the tenant and cost of each span, as JSON."""

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
