"""Reading Netra as lanes and streams do: the traces of a window in order, and all spans of a trace within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus

from netra_otel_bridge.core.errors import NetraCursorRefused, NetraNotFound, NetraResponseTooLarge
from netra_otel_bridge.core.model.netra import TraceSpan, UnreadableItem
from netra_otel_bridge.pipeline.memory_budget import Reservation
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.pages import PAGE_LIMIT, RESTARTS

SKIPPED_AT_LEAST = 10
"""Traces that may be gone or too large before it counts: then, and above a tenth, it is not the traces' fault."""


async def read_spans(
    client: AsyncNetraClient, trace_id: str, share: Reservation, unreadable: Callable[[Sequence[UnreadableItem]], None]
) -> list[TraceSpan]:
    """All spans of a trace, each once; a cursor that expires starts the trace again.

    It waits for ``share`` to have room, and adds to it what it holds. ``unreadable`` is told of items that are no spans.
    """
    for _ in range(RESTARTS):
        try:
            return await _read_spans(client, trace_id, share, unreadable)
        except NetraCursorRefused:
            continue
    return await _read_spans(client, trace_id, share, unreadable)


async def _read_spans(
    client: AsyncNetraClient, trace_id: str, share: Reservation, unreadable: Callable[[Sequence[UnreadableItem]], None]
) -> list[TraceSpan]:
    spans: dict[str, TraceSpan] = {}
    await share.room()
    async for page in client.iter_span_pages(trace_id, limit=PAGE_LIMIT):
        unreadable(page.unreadable)
        for span in page.spans:
            spans.setdefault(span.id, span)
        share.add(_size_bytes(page.spans))
        await share.room()
    return list(spans.values())


class Skipped:
    """Traces that Netra listed and that cannot be read: gone since, or with a span larger than any answer may be."""

    def __init__(self) -> None:
        self._count = 0

    def note(self, error: NetraNotFound | NetraResponseTooLarge, listed: int) -> str:
        """One more, of so many ``listed``; returns why. Raises ``error`` where this is not the API, or they are too many."""
        self._count += 1
        gone = isinstance(error, NetraNotFound)
        if (gone and error.status != HTTPStatus.NOT_FOUND) or self._count > max(SKIPPED_AT_LEAST, listed // 10):
            raise error
        return "it is gone since Netra listed it" if gone else f"it cannot be read: {error.message}"


def _size_bytes(spans: Iterable[TraceSpan]) -> int:
    """Roughly what spans hold in memory: their JSON columns twice, before and after conversion, and their fields."""
    return sum(
        2000 + 2 * sum(len(text) for text in (span.attributes, span.events) if isinstance(text, str)) for span in spans
    )
