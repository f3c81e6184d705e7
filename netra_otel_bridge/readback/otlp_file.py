"""Read traces back from files with lines of OTLP JSON, as ``otlp-file:PATH`` and the Collector's file exporter write them.

The files are read once, for an index of the lines that have spans of a trace; their content is not held. Lines that are
appended later are found, and so are files that are rotated meanwhile. ``PATH`` may have been rotated to ``PATH.N``
(logrotate) or to ``STEM-TIMESTAMP.SUFFIX`` (the Collector). Compressed files are not read.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData

from netra_otel_bridge.core.errors import DestinationMisconfigured, DestinationUnavailable
from netra_otel_bridge.core.threads import in_thread
from netra_otel_bridge.readback.file_index import FileIndex, IsNotAFile, Line
from netra_otel_bridge.readback.otlp_json import NotOtlp, decode_json, id_bytes, traces_data

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
        self._cached: OrderedDict[Line, _Spans] = OrderedDict()
        self._cached_bytes = 0
        self._unreadable: set[Line] = set()

    @property
    def notes(self) -> list[str]:
        """Return lines about what in the files could not be read."""
        notes = [f"{path} is compressed, and is not read" for path in self._index.compressed]
        if unreadable := self._unreadable | self._index.not_json:
            notes.append(f"lines in {self._index.path} that are not OTLP JSON: {len(unreadable)}")
        notes += [f"{path} ends in the middle of a line, which is not read" for path in self._index.unfinished]
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
            return b"".join([self._of_line(line, trace_id) for line in self._index.lines(trace_id)])
        except (FileNotFoundError, NotADirectoryError, IsNotAFile) as error:
            raise DestinationMisconfigured(
                f"{self.at} cannot be read back: {error.strerror}", hint="name the file that the spans were written to"
            ) from error
        except OSError as error:
            raise DestinationUnavailable(
                f"{self.at} cannot be read back: {error.strerror or error}", hint="check the disk and the file's mode"
            ) from error

    def _of_line(self, line: Line, trace_id: bytes) -> bytes:
        try:
            return _encoded(self._spans(line).get(trace_id, ()))
        except NotOtlp:
            self._unreadable.add(line)
            return b""

    def _spans(self, line: Line) -> _Spans:
        """Return the spans in a line by trace, each still as JSON: most of a line is of other traces."""
        known = self._cached.get(line)
        if known is not None:
            self._cached.move_to_end(line)
            return known
        try:
            found = _by_trace(self._index.content(line))
        except NotOtlp:
            self._unreadable.add(line)
            found = {}
        self._cached[line] = found
        self._cached_bytes += line[2]
        while self._cached_bytes > _CACHE_BYTES and len(self._cached) > 1:
            self._cached_bytes -= self._cached.popitem(last=False)[0][2]
        return found


class _ScopeSpans(msgspec.Struct):
    scope: Any = None
    instrumentationLibrary: Any = None  # noqa: N815  the field's name in OTLP JSON
    schemaUrl: Any = None  # noqa: N815
    spans: list[msgspec.Raw] | None = None


class _ResourceSpans(msgspec.Struct):
    resource: Any = None
    schemaUrl: Any = None  # noqa: N815
    scopeSpans: list[_ScopeSpans] | None = None  # noqa: N815
    instrumentationLibrarySpans: list[_ScopeSpans] | None = None  # noqa: N815


class _Document(msgspec.Struct):
    resourceSpans: list[_ResourceSpans] | None = None  # noqa: N815
    batches: list[_ResourceSpans] | None = None


class _Id(msgspec.Struct):
    traceId: str | None = None  # noqa: N815


_Spans = dict[bytes, list[tuple[_ResourceSpans, _ScopeSpans, msgspec.Raw]]]
_document = msgspec.json.Decoder(_Document)
_id = msgspec.json.Decoder(_Id)


def _by_trace(text: bytes) -> _Spans:
    """Return the spans of each trace in a line of OTLP JSON. Raises `NotOtlp`."""
    found: _Spans = {}
    try:
        document = _document.decode(text)
        for resource_spans in document.resourceSpans or document.batches or ():
            for scope_spans in resource_spans.scopeSpans or resource_spans.instrumentationLibrarySpans or ():
                for span in scope_spans.spans or ():
                    trace_id = id_bytes(_id.decode(span).traceId, 16)
                    found.setdefault(trace_id, []).append((resource_spans, scope_spans, span))
    except (ValueError, RecursionError) as error:
        raise NotOtlp(f"it is not OTLP JSON: {error}") from None
    return found


def _encoded(spans: Iterable[tuple[_ResourceSpans, _ScopeSpans, msgspec.Raw]]) -> bytes:
    """Return spans as one ``TracesData``, each with its resource and scope. Raises `NotOtlp`."""
    listed: list[dict[str, Any]] = []
    last: tuple[_ResourceSpans, _ScopeSpans] | None = None
    for resource_spans, scope_spans, span in spans:
        if last is None or last[0] is not resource_spans or last[1] is not scope_spans:
            last = (resource_spans, scope_spans)
            scope = {
                "scope": scope_spans.scope or scope_spans.instrumentationLibrary,
                "schemaUrl": scope_spans.schemaUrl,
                "spans": [],
            }
            listed.append(
                {"resource": resource_spans.resource, "schemaUrl": resource_spans.schemaUrl, "scopeSpans": [scope]}
            )
        listed[-1]["scopeSpans"][0]["spans"].append(decode_json(span))
    return traces_data({"resourceSpans": listed}).SerializeToString()
