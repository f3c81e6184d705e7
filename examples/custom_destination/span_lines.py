"""An exporter that works as a destination by name, once its package is installed: ``--to exporter:span-lines``.

To install and run it, see the top of ``pyproject.toml`` beside this file.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult


class SpanLines(SpanExporter):
    """Append a line for each span to the file that ``SPAN_LINES_FILE`` names.

    It is created without arguments, so its settings come from the environment. The bridge trusts the result of
    ``export``. After ``SUCCESS`` a span is never sent again. After ``FAILURE`` the batch is sent again. On an
    exception, the bridge splits the batch to find the span at fault.
    """

    def __init__(self) -> None:
        self._path = Path(os.environ.get("SPAN_LINES_FILE", "span-lines.txt"))

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(map(line_of, spans))
            file.flush()
            os.fsync(file.fileno())
        return SpanExportResult.SUCCESS


def line_of(span: ReadableSpan) -> str:
    """Format the trace id, span id and name of a span as one line."""
    context = span.get_span_context()
    ids = f"{context.trace_id:032x} {context.span_id:016x}" if context else "-"
    return f"{ids} {span.name}\n"
