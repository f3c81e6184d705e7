"""Read irregular items: keep readable fields, name unreadable ones, and make nothing up.

An item that is an object with an id is kept. A field that does not have its documented type is coerced if that is
unambiguous (``7`` for the string ``"7"``, ``"1.5"`` for a number, ``"true"`` or ``1`` for a boolean, a single string
for a list of strings). Otherwise it is ``None``, and ``unreadable`` names it.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any, NamedTuple, TypeVar, get_args

import msgspec

from netra_otel_bridge.core.errors import NetraSchemaError
from netra_otel_bridge.core.json_bounds import holds_long_number
from netra_otel_bridge.core.json_text import MAX_DIGITS_OF_MANY, read_lenient
from netra_otel_bridge.core.model.dashboards import SessionStats
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary, UnreadableItem
from netra_otel_bridge.source.body import LARGE_BYTES, CutAnswer
from netra_otel_bridge.source.bounds import check_irregular, check_values
from netra_otel_bridge.source.endpoint import reaches_its_path

ItemT = TypeVar("ItemT", TraceSummary, TraceSpan, SessionStats)
_FLOAT_BITS = 1024
_TRACE_ID = re.compile("(?!0{32})[0-9a-f]{32}")
_NUMBER = re.compile(r"-?\d{1,400}(?P<fraction>\.\d{1,400})?(?P<power>[eE][+-]?\d{1,4})?", re.ASCII)
_TRUTH = {"true": True, "false": False, "1": True, "0": False}


class _Field(NamedTuple):
    """A field of a struct: its name, its key in JSON, and the JSON types that it accepts."""

    name: str
    key: str
    accepted: frozenset[type]


def parse(body: bytes) -> object:
    """Return the value of any JSON, including NaN, lone surrogates and very long integers, as `read_lenient` does.

    Raises `CutAnswer` for a body that is not complete JSON, `NetraSchemaError` if it is nested too deeply for Python,
    and `NetraResponseTooLarge` if it holds too many values.
    """
    check_values(body)
    has_long_number = len(body) > LARGE_BYTES and holds_long_number(body)
    try:
        if not has_long_number:
            return msgspec.json.decode(body)
    except RecursionError:
        raise NetraSchemaError("the answer is nested too deeply to be read") from None
    except ValueError:
        pass
    check_irregular(body)
    try:
        return read_lenient(body, MAX_DIGITS_OF_MANY) if has_long_number else read_lenient(body)
    except RecursionError:
        raise NetraSchemaError("the answer is nested too deeply to be read") from None
    except ValueError as error:
        raise CutAnswer(f"the response is not complete JSON ({len(body)} bytes; {error})") from None


def read_item(kind: type[ItemT], value: object, path: str, **known: str) -> ItemT | UnreadableItem:
    """Return one item of a page. ``known`` supplies fields that the item lacks but the request implies."""
    if not isinstance(value, dict):
        return UnreadableItem(path, f"it is {type_name(value)}, not an object")
    fields: dict[str, Any] = {}
    unreadable: list[str] = []
    for name, key, accepted in _accepted(kind):
        given = value.get(key)
        if given is None:
            continue
        read = _coerced(given, accepted)
        if read is None:
            unreadable.append(name)
        else:
            fields[name] = read
    for name, implied in known.items():
        given = fields.get(name) or implied
        if is_of_another_trace(given, implied):
            return UnreadableItem(path, f"its {name} is {given[:80]!r}, not {implied[:80]!r}, which was asked for")
        fields[name] = given
    for name in kind.__struct_fields__[: len(kind.__struct_fields__) - len(kind.__struct_defaults__)]:
        if not fields.get(name):
            return UnreadableItem(path, f"it has no {name}")
    if kind is TraceSummary and not reaches_its_path(fields["id"]):
        return UnreadableItem(path, "its id contains parts of a relative path, and cannot be requested")
    return kind(**fields, unreadable=tuple(unreadable))


def is_of_another_trace(claimed: str, asked: str) -> bool:
    """Return whether a span claims another trace than the one that was asked for.

    Letter case and the dashes of a UUID make no difference, and what does not name a trace claims none.
    """
    if claimed == asked:
        return False
    one, other = _bare(claimed), _bare(asked)
    return one != other and _TRACE_ID.fullmatch(one) is not None and _TRACE_ID.fullmatch(other) is not None


def number(value: object) -> int | float | None:
    """Return a finite number, given as a number or as JSON number text; else ``None``."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.strip())
        if match is None:
            return None
        value = float(match[0]) if match["fraction"] or match["power"] else int(match[0])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if _fits_float(value) else None


def text(value: object) -> str | None:
    """Return text, given as a string or as a finite number; else ``None``."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value) if isinstance(value, int) or math.isfinite(value) else None


def type_name(value: object) -> str:
    """Return the JSON name of a value's type, with its article."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _coerced(value: object, accepted: frozenset[type]) -> object | None:
    """Return ``value`` as one of the types that its field accepts, or ``None``."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if type(value) in accepted:
        return value
    if bool in accepted:
        return _TRUTH.get(str(value).lower()) if isinstance(value, str | int) else None
    if list in accepted and dict not in accepted:
        return [value] if isinstance(value, str) else None
    if str in accepted:
        return text(value)
    return number(value)


@cache
def _accepted(kind: type[msgspec.Struct]) -> tuple[_Field, ...]:
    """Return the fields of a struct that JSON may fill."""
    return tuple(
        _Field(field.name, field.encode_name, frozenset(_plain(field.type)))
        for field in msgspec.structs.fields(kind)
        if field.name != "unreadable"
    )


def _plain(annotation: object) -> list[type]:
    """Return the types in an annotation: ``[str, dict]`` for ``str | dict[str, Any] | None``."""
    members = get_args(annotation) if isinstance(annotation, type(int | str)) else (annotation,)
    return [getattr(member, "__origin__", member) for member in members if member is not type(None)]


def _bare(identifier: str) -> str:
    return identifier.replace("-", "").lower()


def _fits_float(value: float) -> bool:
    return value.bit_length() < _FLOAT_BITS if isinstance(value, int) else math.isfinite(value)
