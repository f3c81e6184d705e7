"""Define what a store is expected to have: `ExpectedTrace`, and the protocols of its two sources, the state and Netra."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.core.model.readback import Finding

ENTRY_BYTES = 12
"""Size of one span in `ExpectedTrace.spans`."""


@dataclass(frozen=True, slots=True)
class ExpectedTrace:
    """The spans of one trace that a destination has answered.

    ``trace_id`` has 32 hex digits. ``recorded_ns`` is when the answers were recorded, 0 if that is not known. ``spans``
    holds 12 bytes for each span: its id (8) and the checksum of its encoding (4), big endian. ``carriers`` holds the
    checksum (4) of the resource and scope around each of these spans, in the same order, or one for all of them; with
    ``b""`` these are not compared. ``dead_lettered`` and ``refused`` are the ids of spans that the destination did not accept, or may not have: a store may have them.
    """

    trace_id: str
    start_ns: int
    recorded_ns: int
    spans: bytes
    carriers: bytes
    dead_lettered: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()


class ExpectedSpans(Protocol):
    """Yields all traces of a range, each once, in chunks. A `BridgeError` while iterating ends the report."""

    def __aiter__(self) -> AsyncIterator[Sequence[ExpectedTrace]]:
        """Yield the traces. A chunk may be empty."""

    def findings(self) -> Sequence[Finding]:
        """Return what counts in the sum beside the traces: ``unreadable`` items and ``pending`` traces and ranges.

        Asked for once, after the iteration has ended.
        """

    def notes(self) -> Sequence[str]:
        """Return lines on limits of the proof, after the iteration has ended."""


class SentSpans(Protocol):
    """Converts spans again from Netra, as they were converted when they were sent. Asked only about spans that differ."""

    calls: int
    """The number of calls to Netra so far."""

    async def spans(self, trace_id: str) -> Mapping[int, ReadableSpan]:
        """Return the spans of a trace by their ids, before any trimming for a destination.

        Raises a `NetraError`, or `NotKnown` if Netra has no such trace.
        """
