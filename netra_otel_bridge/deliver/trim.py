"""Shorten the longest texts of a span that is too large for a destination, and mark them.

Only values are shortened, the longest first: of attributes of the span, its events and links, and the status message.
Ids, names, keys, times, types and the number of events and links do not change. A shortened text ends with ``…``, and
``netra.bridge.notes`` names it as ``trimmed:KEY``, ``trimmed:events.KEY``, ``trimmed:links.KEY`` or ``trimmed:status``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Status

from netra_otel_bridge.core.attribute_names import NOTES
from netra_otel_bridge.core.model.outcome import SpanBatch
from netra_otel_bridge.deliver.batching import batch_of
from netra_otel_bridge.deliver.span_copy import with_content

KEEP_BYTES = 256
"""Texts up to this length are not shortened, so that a span that is too large for another reason stays useful."""
MAX_TRIMS = 6
"""Maximum times that one span is trimmed, each time to the requested size or as far as its texts allow."""
_MARK = "…"
_MAX_NOTES = 16
_MAX_KEY_CHARS = 60
_NOTES_BYTES = 2048
"""An upper bound of the size of `_MAX_NOTES` notes."""


def trimmed_to(batch: SpanBatch, limit_bytes: int) -> SpanBatch | None:
    """Cut a batch of one span to ``limit_bytes`` at most; return ``None`` if there is not enough to cut."""
    for _ in range(MAX_TRIMS):
        if batch.size_bytes <= limit_bytes:
            return batch
        span = trim(batch.spans[0], batch.size_bytes - limit_bytes)
        if span is None:
            return None
        batch = batch_of((span,))
    return batch if batch.size_bytes <= limit_bytes else None


def trim(span: ReadableSpan, excess_bytes: int) -> ReadableSpan | None:
    """Return the span with an encoding that is at least ``excess_bytes`` smaller, or as small as possible.

    Only texts are shortened. Return ``None`` if no text is longer than `KEEP_BYTES`. Earlier notes stay, each once.
    """
    limit = _level([size for size in _sizes(span) if size > KEEP_BYTES], excess_bytes + _NOTES_BYTES)
    if limit is None:
        return None
    cut = _Cut(limit)
    attributes = {key: value if key == NOTES else cut(key, value) for key, value in (span.attributes or {}).items()}
    events = [_each(cut, "events.", event.attributes) for event in span.events]
    links = [_each(cut, "links.", link.attributes) for link in span.links]
    status = span.status
    if status.description:
        status = Status(status.status_code, cut("status", status.description))
    attributes[NOTES] = _noted(attributes.get(NOTES), cut.notes)
    return with_content(span, attributes, events, links, status)


class _Cut:
    """Shortens values longer than ``limit_bytes``, and remembers their keys."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._notes: dict[str, int] = {}

    def __call__(self, key: str, value: Any) -> Any:
        before = sum(_lengths(value))
        if before <= self._limit_bytes:
            return value
        shortened = self._shorten(value)
        lost = before - sum(_lengths(shortened))
        if lost > 0:
            note = f"trimmed:{key[:_MAX_KEY_CHARS]}"
            self._notes[note] = self._notes.get(note, 0) + lost
        return shortened

    @property
    def notes(self) -> list[str]:
        """Return one note for each key, those that lost most first."""
        return sorted(self._notes, key=lambda note: -self._notes[note])[:_MAX_NOTES]

    def _shorten(self, value: Any) -> Any:
        if isinstance(value, str):
            text = _utf8(value)
            if len(text) <= self._limit_bytes:
                return value
            return text[: self._limit_bytes - len(_MARK.encode())].decode("utf-8", "ignore") + _MARK
        if isinstance(value, bytes):
            return value[: self._limit_bytes]
        if isinstance(value, Mapping):
            return {key: self._shorten(item) for key, item in value.items()}
        if isinstance(value, Sequence):
            return tuple(self._shorten(item) for item in value)
        return value


def _level(sizes: list[int], excess_bytes: int) -> int | None:
    """Return the length to cut the longest of ``sizes`` to, to save ``excess_bytes``; at least `KEEP_BYTES`."""
    if not sizes:
        return None
    longest = sorted(sizes, reverse=True)
    total = 0
    for count, size in enumerate(longest, 1):
        total += size
        level = (total - excess_bytes) // count
        if count == len(longest) or level >= longest[count]:
            return max(level, KEEP_BYTES)
    return KEEP_BYTES


def _sizes(span: ReadableSpan) -> Iterator[int]:
    for key, value in (span.attributes or {}).items():
        if key != NOTES:
            yield from _lengths(value)
    for event in span.events:
        yield from _lengths(event.attributes)
    for link in span.links:
        yield from _lengths(link.attributes)
    yield from _lengths(span.status.description)


def _lengths(value: Any) -> Iterator[int]:
    """Yield the encoded length of each text and byte string in a value."""
    if isinstance(value, str):
        yield len(_utf8(value))
    elif isinstance(value, bytes):
        yield len(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _lengths(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _lengths(item)


def _each(cut: _Cut, where: str, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: cut(where + key, value) for key, value in (attributes or {}).items()}


def _noted(before: Any, notes: list[str]) -> tuple[Any, ...]:
    kept = before if isinstance(before, list | tuple) else () if before is None else (before,)
    return (*kept, *(note for note in notes if note not in kept))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
