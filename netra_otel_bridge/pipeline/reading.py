"""Read the spans of a trace, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from netra_otel_bridge.core.model.netra import SpansPage, TraceSpan, UnreadableItem
from netra_otel_bridge.pipeline.converting import columns_chars
from netra_otel_bridge.pipeline.judge import NoSpans
from netra_otel_bridge.pipeline.memory_budget import Reservation
from netra_otel_bridge.source import AsyncNetraClient, pages


def list_spans(
    client: AsyncNetraClient, trace_id: str, on_restart: Callable[[], None] = lambda: None
) -> AsyncIterator[SpansPage]:
    """Yield the pages of a trace's spans. If a cursor expires, list again, as `with_restarts` says. Raises `NetraError`."""
    return pages.with_restarts(
        lambda cursor: client.iter_span_pages(trace_id, limit=pages.PAGE_LIMIT, cursor=cursor), on_restart=on_restart
    )


async def read_spans(
    client: AsyncNetraClient,
    trace_id: str,
    reservation: Reservation,
    on_unreadable: Callable[[Sequence[UnreadableItem]], None],
    on_wait: Callable[[bool], None] = lambda _: None,
) -> list[TraceSpan]:
    """Return all spans of a trace, each once. Raises `NetraError`, and `NoSpans` if its pages are empty.

    Before each page it waits until ``reservation`` has room; after it, it reserves the size of the page.
    ``on_unreadable`` is called with the items of each page that are not spans, and ``on_wait`` when a page is requested
    (``True``) and when it has arrived (``False``).
    """
    spans: dict[str, TraceSpan] = {}
    is_empty = True

    def restart() -> None:
        spans.clear()
        reservation.shrink()

    await reservation.room()
    on_wait(True)
    async for page in list_spans(client, trace_id, restart):
        on_wait(False)
        on_unreadable(page.unreadable)
        is_empty = is_empty and not page.spans and not page.unreadable
        for span in page.spans:
            spans.setdefault(span.id, span)
        reservation.add(_size_bytes(page.spans))
        await reservation.room()
        on_wait(True)
    on_wait(False)
    if is_empty:
        raise NoSpans(trace_id)
    return list(spans.values())


def _size_bytes(spans: Iterable[TraceSpan]) -> int:
    """Estimate what spans hold in memory: their JSON columns twice, before and after conversion, and their fields."""
    return sum(2000 + 2 * columns_chars(span) for span in spans)
