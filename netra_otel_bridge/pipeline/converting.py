"""Convert the spans of a trace without keeping the event loop from other work."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.core.json_bounds import is_larger
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary
from netra_otel_bridge.deliver import encode_span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

LARGE_CHARS = 1 << 16
"""Characters of a span's JSON columns from which on it is converted in a thread: smaller ones take some milliseconds."""
LARGE_VALUES = 5_000
"""Values in a column that is not text but JSON, from which on the same applies."""
BUSY_S = 0.02
"""Time after which other work gets its turn."""


class Turns:
    """Lets other work of the event loop run, each time that `BUSY_S` have passed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    def is_over(self) -> bool:
        """Return whether the caller has to ``await give()``, which costs more than this question."""
        return self._loop.time() - self._began > BUSY_S

    async def give(self) -> None:
        """Let other work run."""
        await asyncio.sleep(0)
        self._began = self._loop.time()


class Conversion:
    """Converts traces with one converter, which only one of them uses at a time."""

    def __init__(self, converter: SpanConverter) -> None:
        self.converter = converter
        self._turn = asyncio.Lock()

    async def convert(self, trace: TraceSummary | None, spans: Sequence[TraceSpan]) -> list[ReadableSpan]:
        """Convert spans of one trace, in order. Missing parents are for the caller to count, over the whole trace."""
        converter = self.converter
        converted: list[ReadableSpan] = []
        async with self._turn:
            turns = Turns()
            for span in spans:
                if _is_large(span):
                    converted.append(await asyncio.to_thread(converter.convert, span, trace))
                else:
                    converted.append(converter.convert(span, trace))
                if turns.is_over():
                    await turns.give()
        return converted


def has_many_attributes(span: ReadableSpan) -> bool:
    """Return whether encoding a span takes more than some milliseconds."""
    return span.attributes is not None and len(span.attributes) > LARGE_VALUES


async def encode_apart(span: ReadableSpan) -> bytes:
    """Return `encode_span` of a span, made in a thread."""
    return await asyncio.to_thread(encode_span, span)


def _is_large(span: TraceSpan) -> bool:
    """Return whether the columns that conversion parses are large enough to take more than some milliseconds."""
    size = 0
    for column in (span.attributes, span.events, span.links, span.metadata, span.resources):
        if column is None:
            continue
        if isinstance(column, str):
            size += len(column)
        elif is_larger(column, LARGE_VALUES):
            return True
    return size > LARGE_CHARS
