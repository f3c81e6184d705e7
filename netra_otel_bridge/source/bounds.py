"""Bounds on what an answer of Netra may make the bridge build, and the decoders that keep them.

A body within the cap of bytes can still be millions of tiny items. `check_values` refuses it before anything is built.
The decoders of this file need no such check: they stop at the first item beyond a page, and build no value that is not
text or a number. So an ordinary page, whatever its size, is read once and counted never.
"""

from __future__ import annotations

from typing import Any, Union, get_args, get_origin

import msgspec

from netra_otel_bridge.core.errors import NetraResponseTooLarge
from netra_otel_bridge.core.json_bounds import holds_more_values
from netra_otel_bridge.core.model.netra import TraceSpan

MAX_VALUES = 250_000
"""Maximum JSON values in one answer. Built, they hold at most 75 MB."""
MAX_IRREGULAR_BYTES = 8 * 1024 * 1024
"""Maximum bytes of an answer with what strict parsers reject (NaN, lone surrogates) or with very long numbers."""
WIDE_SHARE = 4
"""Part of the cap on an answer that is left for one with escapes (``\\u``) or characters beyond ASCII.

Decoded and converted, a text of b bytes is held about 3 b as bytes and 3 w b as text of w bytes a character: 6 b for
ASCII and 15 b for emoji. 64 MiB of ASCII and 16 MiB of anything else both stay below 400 MiB."""
PAGE_ITEMS = 100
"""Maximum items on a page: Netra's own limit."""
_SMALLER = "the bridge requests smaller pages on its own; it cannot read a single item like this"


def check_values(body: bytes) -> None:
    """Raise `NetraResponseTooLarge` if a body holds more than `MAX_VALUES` JSON values."""
    if holds_more_values(body, MAX_VALUES):
        raise NetraResponseTooLarge(f"$ holds more than {MAX_VALUES} JSON values ({len(body)} bytes)", hint=_SMALLER)


def check_irregular(body: bytes) -> None:
    """Raise `NetraResponseTooLarge` if a body is too large for the slow, lenient parser."""
    if len(body) > MAX_IRREGULAR_BYTES:
        raise NetraResponseTooLarge(
            f"$ has {len(body)} bytes and irregular values, where at most {MAX_IRREGULAR_BYTES} bytes can be read",
            hint=_SMALLER,
        )


def check_width(body: bytes, cap_bytes: int) -> None:
    """Raise `NetraResponseTooLarge` for a body above a part of the cap whose texts may take four bytes a character.

    One such character in a text of ASCII is enough: Python stores a text in characters of one width.
    """
    most = cap_bytes // WIDE_SHARE
    if len(body) > most and not (body.isascii() and b"\\u" not in body):
        raise NetraResponseTooLarge(
            f"$ has {len(body)} bytes that are not plain ASCII, where at most {most} bytes can be read",
            hint=_SMALLER,
        )


def read_flat_spans(body: bytes) -> tuple[list[TraceSpan], bool] | None:
    """Return the spans of a page, and whether there are more pages; ``None`` if it is not an ordinary page.

    An ordinary page has at most `PAGE_ITEMS` spans, whose JSON columns are text, as Netra documents them.
    """
    try:
        block = _FLAT_PAGE.decode(body).data
    except (ValueError, RecursionError):
        return None
    spans = [
        TraceSpan(**msgspec.structs.asdict(item))
        for item in msgspec.structs.astuple(block.data)
        if item is not msgspec.UNSET
    ]
    return spans, block.page_info.has_next_page


def _flat(annotation: Any) -> Any:
    """Return a type without its members that are objects or lists."""
    members = get_args(annotation) or (annotation,)
    return Union[tuple(member for member in members if get_origin(member) not in (dict, list))]  # noqa: UP007  made of a tuple


_FlatSpan = msgspec.defstruct(
    "_FlatSpan",
    [
        (field.name, _flat(field.type)) if field.required else (field.name, _flat(field.type), field.default)
        for field in msgspec.structs.fields(TraceSpan)
        if field.name != "unreadable"
    ],
    kw_only=True,
    gc=False,
)
_FlatItems = msgspec.defstruct(
    "_FlatItems",
    [(f"item_{number}", Union[_FlatSpan, msgspec.UnsetType], msgspec.UNSET) for number in range(PAGE_ITEMS)],  # noqa: UP007  a type made here
    array_like=True,
    forbid_unknown_fields=True,
)
"""A list that cannot be longer than a page: msgspec stops at the first item beyond its fields."""


class PageInfo(msgspec.Struct, rename="camel", gc=False):
    """The object beside the items of a page."""

    has_next_page: bool


class _FlatBlock(msgspec.Struct):
    data: _FlatItems  # type: ignore[valid-type]  # made by defstruct
    page_info: PageInfo = msgspec.field(name="pageInfo")


class _FlatEnvelope(msgspec.Struct):
    data: _FlatBlock


_FLAT_PAGE = msgspec.json.Decoder(_FlatEnvelope)
