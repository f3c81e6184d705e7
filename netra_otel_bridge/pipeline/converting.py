"""Convert the spans of a trace without keeping the event loop from other work."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.core.clock import thread_cpu_s
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary
from netra_otel_bridge.core.threads import in_thread, is_ending
from netra_otel_bridge.deliver import encode_span
from netra_otel_bridge.pipeline.sizes import columns_bytes, span_bytes

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

LARGE_BYTES = 1 << 16
"""Size of a span's JSON columns from which on it is converted in a thread: smaller ones take some milliseconds."""
SEARCHED_BYTES = 1 << 13
"""Size of a group of spans from which on it is converted in a thread if a policy searches in its texts: an expression
may take 0.05 s for half of it, and the fields of spans without content are the other half."""
LARGE_VALUES = 5_000
"""Attributes of a converted span from which on it is encoded in a thread, for the same reason."""
GROUP_SPANS = 8
"""Spans after which to look at the time. Each look costs a hundredth of a small span."""
_SMALL_BYTES = 2 * LARGE_BYTES
_UNKNOWN_BYTES = _SMALL_BYTES + 1
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
    """Converts traces with one converter, which only one of them uses at a time.

    It bounds the time that a policy's searches take in a span and in a trace.
    """

    def __init__(self, converter: SpanConverter) -> None:
        self.converter = converter
        converter.limit_searches(_search_s)
        self._turn = asyncio.Lock()

    async def convert(
        self, trace: TraceSummary | None, spans: Sequence[TraceSpan], held_bytes: int = _UNKNOWN_BYTES
    ) -> list[ReadableSpan]:
        """Convert spans of one trace, in order. Missing parents are for the caller to count, over the whole trace.

        ``held_bytes`` is what is reserved for them, at least twice their columns: small ones are not measured again.
        """
        converter = self.converter
        async with self._turn:
            if held_bytes <= _SMALL_BYTES and not converter.searches:
                return [converter.convert(span, trace) for span in spans]
            converted: list[ReadableSpan] = []
            turns = Turns()
            for start in range(0, len(spans), GROUP_SPANS):
                group = spans[start : start + GROUP_SPANS]
                sizes = [columns_bytes(span) for span in group]
                if converter.searches and sum(map(span_bytes, group)) > SEARCHED_BYTES:
                    converted += await in_thread(_convert, converter, group, trace)
                elif sum(sizes) <= LARGE_BYTES:
                    converted += _convert(converter, group, trace)
                else:
                    for span, size in zip(group, sizes, strict=True):
                        if size > LARGE_BYTES:
                            converted.append(await in_thread(converter.convert, span, trace))
                        else:
                            converted.append(converter.convert(span, trace))
                        if turns.is_over():
                            await turns.give()
                if turns.is_over():
                    await turns.give()
        return converted


def _search_s() -> float:
    """Return the processor time of this thread. When the process ends, nobody needs the rest: then there is none left."""
    return math.inf if is_ending() else thread_cpu_s()


def _convert(converter: SpanConverter, spans: Sequence[TraceSpan], trace: TraceSummary | None) -> list[ReadableSpan]:
    return [converter.convert(span, trace) for span in spans]


def has_many_attributes(span: ReadableSpan) -> bool:
    """Return whether encoding a span takes more than some milliseconds."""
    return span.attributes is not None and len(span.attributes) > LARGE_VALUES


async def encode_apart(span: ReadableSpan) -> bytes:
    """Return `encode_span` of a span, made in a thread."""
    return await in_thread(encode_span, span)


async def encode_all(spans: Sequence[ReadableSpan]) -> list[bytes]:
    """Return the encoded spans, and give other work its turn meanwhile."""
    turns = Turns()
    encodings: list[bytes] = []
    for number, span in enumerate(spans):
        if not number % GROUP_SPANS and turns.is_over():
            await turns.give()
        encodings.append(await encode_apart(span) if has_many_attributes(span) else encode_span(span))
    return encodings
