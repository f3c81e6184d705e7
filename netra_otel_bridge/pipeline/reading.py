"""Read the spans of one trace, page by page, within bounds: pages that never end must not stop everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from netra_otel_bridge.core.errors import NetraResponseTooLarge
from netra_otel_bridge.core.model.netra import SpansPage, TraceSpan, UnreadableItem
from netra_otel_bridge.pipeline.judge import NoSpans
from netra_otel_bridge.pipeline.memory_budget import Reservation
from netra_otel_bridge.pipeline.sizes import page_bytes
from netra_otel_bridge.source import AsyncNetraClient, pages

MAX_TRACE_SPANS = 100_000
MAX_TRACE_BYTES = 2**28
"""Bound of what is reserved for one trace: twice the size of its spans in memory."""
MAX_TRACE_PAGES = 10_000
"""Pages that are read of one trace. Pages with a span each would otherwise go on for hours."""


async def list_spans(
    client: AsyncNetraClient,
    trace_id: str,
    reservation: Reservation,
    on_restart: Callable[[], None] = lambda: None,
) -> AsyncIterator[tuple[SpansPage, int]]:
    """Yield the pages of a trace's spans, each with the bytes to reserve for it; ``reservation`` has room for reading it.

    If a cursor expires, list again, as `with_restarts` says. Raises `NetraError`, also for a trace that does not end.
    """
    read = spans = size_bytes = 0

    def restart() -> None:
        nonlocal spans, size_bytes
        spans = size_bytes = 0
        on_restart()

    held = client.holding(reservation)
    async for page in pages.with_restarts(
        lambda cursor: held.iter_span_pages(trace_id, limit=pages.PAGE_LIMIT, cursor=cursor), on_restart=restart
    ):
        reservation.end_body()
        added_bytes = page_bytes(page, size_bytes)
        read += 1
        spans += len(page.spans) + len(page.unreadable)
        size_bytes += added_bytes
        if read > MAX_TRACE_PAGES or spans > MAX_TRACE_SPANS or size_bytes > MAX_TRACE_BYTES:
            raise _endless(trace_id, read, spans, size_bytes)
        yield page, added_bytes


async def read_spans(
    client: AsyncNetraClient,
    trace_id: str,
    reservation: Reservation,
    on_unreadable: Callable[[Sequence[UnreadableItem]], None],
    on_wait: Callable[[bool], None] = lambda _: None,
) -> list[TraceSpan]:
    """Return all spans of a trace, each once. Raises as `list_spans`, and `NoSpans` if its pages are empty.

    Before each page it waits until ``reservation`` has room; after it, it reserves the size of the page.
    ``on_unreadable`` is called at the end with the items that are not spans, ``on_wait`` when a page is requested
    (``True``) and when it has arrived (``False``).
    """
    spans: dict[str, TraceSpan] = {}
    unreadable: list[UnreadableItem] = []

    def restart() -> None:
        spans.clear()
        unreadable.clear()
        reservation.shrink()

    await reservation.room()
    on_wait(True)
    async for page, size_bytes in list_spans(client, trace_id, reservation, restart):
        on_wait(False)
        unreadable += page.unreadable
        for span in page.spans:
            spans.setdefault(span.id, span)
        reservation.add(size_bytes)
        await reservation.room()
        on_wait(True)
    on_wait(False)
    if not spans and not unreadable:
        raise NoSpans(trace_id)
    on_unreadable(unreadable)
    return list(spans.values())


def _endless(trace_id: str, read: int, spans: int, size_bytes: int) -> NetraResponseTooLarge:
    return NetraResponseTooLarge(
        f"the spans of trace {trace_id!r:.82} do not end, or are too large to be held: {spans} spans of "
        f"{size_bytes // 2**21} MiB on {read} pages so far",
        hint=f"a trace may have {MAX_TRACE_SPANS} spans, {MAX_TRACE_BYTES // 2**21} MiB in memory, and "
        f"{MAX_TRACE_PAGES} pages",
    )
