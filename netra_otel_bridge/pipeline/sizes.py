"""Measure what spans hold in memory. A text with a character beyond Latin-1 takes two or four bytes for each character."""

from __future__ import annotations

from collections.abc import Iterable
from sys import getsizeof
from typing import Any

import msgspec

from netra_otel_bridge.core.model.netra import SpansPage, TraceSpan

VALUE_BYTES = 100
"""Size that a value counts for in a column that is JSON and not text, beside its text: it takes this much at least."""
SPAN_BYTES = 2000
"""Size that a span counts for beside its columns, before and after its conversion."""
EXACT_FROM_BYTES = 2**24
"""A trace that holds more is measured exactly: the estimate assumes that the text beside the columns is short."""


def columns_bytes(span: TraceSpan) -> int:
    """Return the size of the JSON columns of a span in memory."""
    size = 0
    for column in (span.attributes, span.events, span.links, span.resources, span.metadata):
        if isinstance(column, str):
            size += len(column) if column.isascii() else getsizeof(column)
        elif column is not None:
            size += _value_bytes(column)
    return size


def span_bytes(span: TraceSpan) -> int:
    """Return the size of all texts and values of a span in memory. It takes longer than `columns_bytes`."""
    return sum(map(_value_bytes, msgspec.structs.astuple(span)))


def page_bytes(page: SpansPage, held_bytes: int) -> int:
    """Return what to reserve for the spans of a page, of a trace that holds ``held_bytes``.

    Columns count twice, as they are before and after conversion.
    """
    size = _estimate(page.spans) + sum(SPAN_BYTES + 2 * getsizeof(item.json) for item in page.unreadable)
    if held_bytes > EXACT_FROM_BYTES or page.size_bytes > size:
        size = max(size, 2 * sum(map(span_bytes, page.spans)))
    return size


def _estimate(spans: Iterable[TraceSpan]) -> int:
    return sum(SPAN_BYTES + 2 * columns_bytes(span) for span in spans)


def _value_bytes(value: Any) -> int:
    if isinstance(value, str):
        return getsizeof(value)
    if not isinstance(value, dict | list):
        return 0
    waiting: list[Any] = [value]
    size = 0
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, str):
            size += getsizeof(inner)
        elif isinstance(inner, dict | list):
            size += VALUE_BYTES * len(inner)
            waiting += inner
            if isinstance(inner, dict):
                waiting += inner.values()
    return size
