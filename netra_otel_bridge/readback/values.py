"""Compare values of attributes and texts, and tell texts that end early from other differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isnan
from typing import Literal, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

How = Literal["gone", "cut", "changed", "added"]
BRIDGE_MARK = "…"
"""Ends each text that the bridge shortens (`deliver.trim`)."""
REPLACEMENT = "\ufffd"
"""Stands for the rest of a character that was cut in the middle."""
_MARKS = (REPLACEMENT, BRIDGE_MARK, "...", "[truncated]", "[TRUNCATED]", "(truncated)", "<truncated>")
"""Ends that programs put behind what they keep of a text."""


Same = Callable[[AnyValue, AnyValue], bool]
"""Tells whether a store keeps the first value as the second, which is of another type."""


class Change(NamedTuple):
    """A difference of one value.

    ``kept_bytes`` is the length of the longest cut text. ``marked`` is true if all cut texts end with `BRIDGE_MARK`.
    """

    how: How
    kept_bytes: int = 0
    marked: bool = False


CHANGED, GONE, ADDED = Change("changed"), Change("gone"), Change("added")


def text_change(sent: str, returned: str) -> Change | None:
    """Compare two texts. One is cut if it is the beginning of the other, which may be followed by a mark."""
    if sent == returned:
        return None
    kept, mark = returned, ""
    if not sent.startswith(kept):
        mark = next((mark for mark in _MARKS if returned.endswith(mark)), "")
        kept = returned[: len(returned) - len(mark)].rstrip(REPLACEMENT) if mark else returned
    if not mark and returned.endswith(BRIDGE_MARK):
        mark = BRIDGE_MARK
    if not kept or not sent.startswith(kept) or len(kept) >= len(sent):
        return CHANGED
    shown = kept if mark == REPLACEMENT else kept + mark if kept != returned else kept
    return Change("cut", len(shown.encode("utf-8", "replace")), mark == BRIDGE_MARK)


def _bytes_change(sent: bytes, returned: bytes) -> Change | None:
    if sent == returned:
        return None
    if returned and len(returned) < len(sent) and sent.startswith(returned):
        return Change("cut", len(returned), marked=True)
    return CHANGED


def value_change(sent: AnyValue, returned: AnyValue) -> Change | None:
    """Compare two values. A list or map is cut if a text in it is, and all else is equal."""
    kind = sent.WhichOneof("value")
    if kind != returned.WhichOneof("value"):
        return CHANGED
    if kind == "string_value":
        return text_change(sent.string_value, returned.string_value)
    if kind == "bytes_value":
        return _bytes_change(sent.bytes_value, returned.bytes_value)
    if kind == "array_value":
        before, after = sent.array_value.values, returned.array_value.values
        if len(before) != len(after):
            return CHANGED
        return _worst(value_change(one, other) for one, other in zip(before, after, strict=True))
    if kind == "kvlist_value":
        return _worst(change for _, change in attribute_changes(sent.kvlist_value.values, returned.kvlist_value.values))
    if kind == "double_value" and isnan(sent.double_value) and isnan(returned.double_value):
        return None
    return None if sent.SerializeToString() == returned.SerializeToString() else CHANGED


def never_same(_sent: AnyValue, _returned: AnyValue) -> bool:
    """Tell that a store keeps every value in its type."""
    return False


def attribute_changes(
    sent: Iterable[KeyValue], returned: Iterable[KeyValue], same: Same = never_same
) -> list[tuple[str, Change]]:
    """Compare attributes by their keys, in whatever order; return each key with a difference.

    ``same`` is asked about values of different types.
    """
    before, after = _by_key(sent), _by_key(returned)
    changes: list[tuple[str, Change]] = []
    for key, values in before.items():
        found = after.pop(key, None)
        if found is None:
            changes.append((key, GONE))
        elif len(found) != len(values):
            changes.append((key, CHANGED))
        elif change := _worst(
            value_change(one, other)
            for one, other in zip(values, found, strict=True)
            if not _are_same(one, other, same)
        ):
            changes.append((key, change))
    changes += [(key, ADDED) for key in after]
    return changes


def _are_same(sent: AnyValue, returned: AnyValue, same: Same) -> bool:
    return sent.WhichOneof("value") != returned.WhichOneof("value") and same(sent, returned)


def _by_key(attributes: Iterable[KeyValue]) -> dict[str, list[AnyValue]]:
    found: dict[str, list[AnyValue]] = {}
    for attribute in attributes:
        found.setdefault(attribute.key, []).append(attribute.value)
    return found


def _worst(changes: Iterable[Change | None]) -> Change | None:
    """Return one change for several: cut if all are, and ``None`` without any."""
    found = [change for change in changes if change is not None]
    if not found:
        return None
    if any(change.how != "cut" for change in found):
        return CHANGED
    return Change("cut", max(change.kept_bytes for change in found), all(change.marked for change in found))
