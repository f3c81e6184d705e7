"""Make a span smaller that is too large for a destination, and mark it.

First, attributes that the bridge derived are left out, the largest first: they repeat what was recorded. Messages and
other numbered attributes are left out together, because a part of them would hide the recorded ones.
``netra.bridge.notes`` names them as ``dropped_derived:KEY``. Short ones stay, unless the span fits without them.

Then the longest texts are shortened: of attributes of the span, its events and links, and the status message. Ids,
names, keys, times, types and the number of events and links do not change. A shortened text ends with ``…``, and the
notes name it as ``trimmed:KEY``, ``trimmed:events.KEY``, ``trimmed:links.KEY`` or ``trimmed:status``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Status

from netra_otel_bridge.core.attribute_names import NOTES
from netra_otel_bridge.core.model.converted import ConvertedSpan
from netra_otel_bridge.core.model.outcome import SpanBatch
from netra_otel_bridge.deliver.batching import batch_of
from netra_otel_bridge.deliver.span_copy import with_content

KEEP_BYTES = 256
"""Texts up to this length are not shortened, so that a span that is too large for another reason stays useful."""
SHORT = "short"
"""Names the derived attributes of up to `KEEP_BYTES` in a note: they are left out together."""
MAX_TRIMS = 6
"""Maximum times that one span is trimmed, each time to the requested size or as far as its texts allow."""
_MARK = "…"
_MAX_NOTES = 16
_MAX_KEY_CHARS = 60
_NOTES_BYTES = 2048
"""An upper bound of the size of `_MAX_NOTES` notes."""
_FIELD_BYTES = 8
"""A lower bound of what an attribute takes beside its key and its text."""
_NOTES_KEY_BYTES = 48
"""An upper bound of what a list of notes takes beside the notes."""
_TYPE = ".mime_type"
_NUMBER = re.compile(r"\.\d+(\.|$)")


def trimmed_to(batch: SpanBatch, limit_bytes: int) -> SpanBatch | None:
    """Cut a batch of one span to ``limit_bytes`` at most; return ``None`` if there is not enough to cut."""
    for _ in range(MAX_TRIMS):
        if batch.size_bytes <= limit_bytes:
            return batch
        smaller = smaller_batch(batch, limit_bytes, limit_bytes)
        if smaller is None:
            return None
        batch = smaller
    return batch if batch.size_bytes <= limit_bytes else None


def smaller_batch(batch: SpanBatch, target_bytes: int, limit_bytes: int | None) -> SpanBatch | None:
    """Return a batch of one span that was cut to ``target_bytes``, or as far as possible; ``None`` if nothing is left to cut.

    Derived attributes go first. Texts are only shortened if the rest is above ``limit_bytes``, what the destination is
    known to accept; ``None`` if the target is a guess.
    """
    lighter = without_derived(batch.spans[0], batch.size_bytes - target_bytes)
    if lighter is not None:
        batch = batch_of((lighter,))
        if limit_bytes is None or batch.size_bytes <= limit_bytes:
            return batch
    shorter = trim(batch.spans[0], batch.size_bytes - target_bytes)
    if shorter is not None:
        return batch_of((shorter,))
    return None if lighter is None else batch


def without_derived(span: ReadableSpan, excess_bytes: int) -> ReadableSpan | None:
    """Return the span without its largest derived attributes: at least ``excess_bytes`` smaller, or without all of them.

    Those of up to `KEEP_BYTES` are left out only if the rest is then small enough. Return ``None`` if all stay.
    """
    attributes = dict(span.attributes or {})
    groups: dict[str, list[str]] = {}
    for key in span.derived if isinstance(span, ConvertedSpan) else ():
        if key in attributes:
            groups.setdefault(_group(key), []).append(key)
    sizes = {group: sum(_size(key, attributes[key]) for key in keys) for group, keys in groups.items()}
    largest = sorted((group for group in sizes if sizes[group] > KEEP_BYTES), key=lambda group: -sizes[group])
    excess_bytes += _NOTES_KEY_BYTES
    dropped: list[str] = []
    notes: list[str] = []
    for group in largest:
        if excess_bytes <= 0:
            break
        excess_bytes -= sizes[group]
        dropped.append(group)
        if len(notes) < _MAX_NOTES:
            notes.append(_derived_note(group))
            excess_bytes += len(_utf8(notes[-1])) + _FIELD_BYTES
    short = [group for group in sizes if sizes[group] <= KEEP_BYTES]
    if 0 < excess_bytes < sum(sizes[group] for group in short) - len(_derived_note(SHORT)) - _FIELD_BYTES:
        dropped += short
        notes.append(_derived_note(SHORT))
    if not dropped:
        return None
    for group in dropped:
        for key in groups[group]:
            del attributes[key]
    attributes[NOTES] = _noted(attributes.get(NOTES), notes)
    return with_content(
        span,
        attributes,
        [event.attributes or {} for event in span.events],
        [link.attributes or {} for link in span.links],
        span.status,
    )


def _group(key: str) -> str:
    """Return the name that a derived key shares with those that mean nothing without it.

    That is the part before its first number, the name of all messages for a part of one; and a value for its type.
    """
    number = _NUMBER.search(key)
    if number is not None:
        return key[: number.start()]
    return f"{key.removesuffix(_TYPE)}.value" if key.endswith(_TYPE) else key


def _size(key: str, value: Any) -> int:
    """Return a lower bound of what an attribute adds to a span."""
    return _FIELD_BYTES + len(_utf8(key)) + sum(_lengths(value))


def _derived_note(group: str) -> str:
    return f"dropped_derived:{group[:_MAX_KEY_CHARS]}"


def trim(span: ReadableSpan, excess_bytes: int) -> ReadableSpan | None:
    """Return the span with an encoding that is at least ``excess_bytes`` smaller, or as small as possible.

    Only texts are shortened, and no attribute is left out. Return ``None`` if no text is longer than `KEEP_BYTES`. Earlier notes stay, each once.
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
