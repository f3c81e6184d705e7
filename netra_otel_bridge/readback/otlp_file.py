"""Read traces back from files with lines of OTLP JSON, as ``otlp-file:PATH`` and the Collector's file exporter write them.

The files are read once, for an index of the lines that have spans of a trace; their content is not held. Lines that are
appended later are found, and so are files that are rotated meanwhile. ``PATH`` may have been rotated to ``PATH.N``
(logrotate) or to ``STEM-TIMESTAMP.SUFFIX`` (the Collector). Compressed files are not read.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, TracesData

from netra_otel_bridge.core.errors import DestinationMisconfigured, DestinationUnavailable
from netra_otel_bridge.core.threads import in_thread
from netra_otel_bridge.readback.file_index import FileIndex, IsNotAFile, Line
from netra_otel_bridge.readback.otlp_json import NotOtlp, decode_json, traces_data

_CACHE_BYTES = 32 << 20
"""Maximum size of the lines whose spans are kept: the traces of one line are asked for one after the other."""


class FileForm:
    """The form of a file, which keeps every span as it was sent."""

    keeps_all = True

    def restore(self, traces: TracesData) -> None:
        """Leave everything as it is."""

    def reduce(self, resource_spans: ResourceSpans, span: Span) -> None:
        """Leave everything as it is."""

    def limits(self) -> tuple[str, ...]:
        """Return no limits."""
        return ()


class OtlpFileReader:
    """Reads from the file at ``path`` and those it was rotated to. Nothing is opened before the first call."""

    store = "otlp-file"
    concurrency = 1

    def __init__(self, at: str, path: Path) -> None:
        self.at = at
        self.form = FileForm()
        self.calls = 0
        self._lock = asyncio.Lock()
        self._index = FileIndex(path)
        self._cached: OrderedDict[Line, dict[bytes, bytes]] = OrderedDict()
        self._cached_bytes = 0
        self._unreadable: set[Line] = set()

    @property
    def notes(self) -> list[str]:
        """Return lines about what in the files could not be read."""
        notes = [f"{path} is compressed, and is not read" for path in self._index.compressed]
        if self._unreadable:
            notes.append(f"lines in {self._index.path} that are not OTLP JSON: {len(self._unreadable)}")
        return notes

    async def read(self, trace_id: str, start_ns: int) -> bytes:  # noqa: ARG002  of the protocol
        """Return all spans of the trace in all lines. Raises a `DestinationError` if a file cannot be read."""
        self.calls += 1
        async with self._lock:
            return await in_thread(self._read, bytes.fromhex(trace_id))

    async def aclose(self) -> None:
        """Close the files."""
        self._index.close()
        self._cached.clear()
        self._cached_bytes = 0

    def _read(self, trace_id: bytes) -> bytes:
        try:
            return b"".join([self._spans(line).get(trace_id, b"") for line in self._index.lines(trace_id)])
        except (FileNotFoundError, NotADirectoryError, IsNotAFile) as error:
            raise DestinationMisconfigured(
                f"{self.at} cannot be read back: {error.strerror}", hint="name the file that the spans were written to"
            ) from error
        except OSError as error:
            raise DestinationUnavailable(
                f"{self.at} cannot be read back: {error.strerror or error}", hint="check the disk and the file's mode"
            ) from error

    def _spans(self, line: Line) -> dict[bytes, bytes]:
        """Return the spans in a line as one ``TracesData`` for each trace."""
        known = self._cached.get(line)
        if known is not None:
            self._cached.move_to_end(line)
            return known
        try:
            found = _by_trace(traces_data(decode_json(self._index.content(line))))
        except NotOtlp:
            self._unreadable.add(line)
            found = {}
        self._cached[line] = found
        self._cached_bytes += line[2]
        while self._cached_bytes > _CACHE_BYTES and len(self._cached) > 1:
            self._cached_bytes -= self._cached.popitem(last=False)[0][2]
        return found


def _by_trace(data: TracesData) -> dict[bytes, bytes]:
    """Return what a ``TracesData`` has of each trace, encoded, each span with its resource and scope."""
    by_trace: dict[bytes, TracesData] = {}
    for resource_spans in data.resource_spans:
        resources: dict[bytes, ResourceSpans] = {}
        for scope_spans in resource_spans.scope_spans:
            scopes: dict[bytes, ScopeSpans] = {}
            for span in scope_spans.spans:
                trace_id = span.trace_id
                scope = scopes.get(trace_id)
                if scope is None:
                    resource = resources.get(trace_id)
                    if resource is None:
                        resource = resources[trace_id] = by_trace.setdefault(trace_id, TracesData()).resource_spans.add(
                            resource=resource_spans.resource, schema_url=resource_spans.schema_url
                        )
                    scope = scopes[trace_id] = resource.scope_spans.add(
                        scope=scope_spans.scope, schema_url=scope_spans.schema_url
                    )
                scope.spans.append(span)
    return {trace_id: traces.SerializeToString() for trace_id, traces in by_trace.items()}
