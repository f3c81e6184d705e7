"""An exporter that is a destination by its name: ``--to exporter:span-lines``, once its package is installed.

How to install and run it stands at the top of ``pyproject.toml`` beside this file.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult


class SpanLines(SpanExporter):
    """Appends a line for each span to the file that ``SPAN_LINES_FILE`` names.

    It is made without arguments, so its settings come from the environment. What ``export`` answers is believed: after
    ``SUCCESS`` a span is never sent again, after ``FAILURE`` the batch is, and an exception finds the span to blame.
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
    """Trace, span, name."""
    context = span.get_span_context()
    ids = f"{context.trace_id:032x} {context.span_id:016x}" if context else "-"
    return f"{ids} {span.name}\n"
