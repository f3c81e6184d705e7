"""Replay the last day into your own SpanExporter: ``python script_replay.py``.

Run it with NETRA_API_KEY and NETRA_OTLP_ENDPOINT set.
"""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from netra_otel_bridge import replay


class PrintNames(SpanExporter):
    """Print a line for each span."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            print(span.name, span.status.status_code.name)
        return SpanExportResult.SUCCESS


if __name__ == "__main__":
    report = replay(PrintNames(), since="24h")
    print(f"{report.destinations[0].delivered} spans in {report.seconds:.1f} s")
