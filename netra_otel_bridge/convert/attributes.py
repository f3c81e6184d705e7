"""Attributes, events and links: from Netra's JSON texts to the types of the OpenTelemetry SDK.

Attributes come in two forms. Each key of a JSON object becomes an attribute; nested objects and mixed lists become JSON
text, because their original type is not recorded. A list of OTLP key/values states each type, and is converted exactly,
including bytes, mixed arrays and key/value lists. A value that turns out not to be OTLP becomes JSON text. `OddValues`
decides what becomes of NaN and the infinities.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.trace import Event
from opentelemetry.trace import Link, SpanContext, TraceFlags

from netra_otel_bridge.convert import fields
from netra_otel_bridge.convert.odd_values import NOT_FINITE, REPEATED_KEY, OddValues, holds_not_finite
from netra_otel_bridge.core.json_bounds import is_larger
from netra_otel_bridge.core.json_text import (
    MAX_VALUES,
    clean_value,
    int_text,
    read_json,
    write_json,
)
from netra_otel_bridge.core.model.netra import JsonText

Attributes = dict[str, Any]
_DIGITS = re.compile(r"-?[0-9]{1,19}")
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_EXACT_FLOAT = 2**53
_MAX_DEPTH = 16
"""Maximum levels of arrays and key/value lists that stay OTLP. Protobuf parsers allow 100 messages, three per level."""


def read_container(value: JsonText | None) -> tuple[Any, bool]:
    """Decode a JSON column; return its value, and whether it is readable.

    ``None`` and ``""`` are readable and empty. A column of more than `MAX_VALUES` values is not readable.
    """
    if value is None or value == "" or value == "[]":
        return None, True
    if isinstance(value, str):
        decoded = read_json(value)
        return decoded, isinstance(decoded, dict | list) or value.strip() == "null"
    if is_larger(value, MAX_VALUES):
        return None, False
    try:
        return clean_value(value), True
    except RecursionError:
        return None, False


def attributes_of(decoded: Any, odd: OddValues | None = None) -> Attributes | None:
    """Return attributes given in either form; ``None`` if the value has neither. ``null`` values are dropped.

    Of a key that is repeated, the last value is kept. Without ``odd``, NaN and the infinities become text.
    """
    if odd is None:
        odd = OddValues(as_text=True)
    if type(decoded) is dict:
        return _from_object(decoded, odd)
    if type(decoded) is list:
        result: Attributes = {}
        for item in decoded:
            if type(item) is not dict or "key" not in item:
                return None
            value = _any_value(item.get("value"), 0, odd)
            if value is None:
                continue
            key = _key(item["key"])
            kind = type(value)
            if kind is float or kind is tuple or kind is dict:
                value = odd.shown(key, value)
            if odd.repeats or key in result:
                odd.repeats = False
                odd.note(REPEATED_KEY, key)
            result[key] = value
        return result
    return {} if decoded is None else None


def _key(key: Any) -> str:
    return key if isinstance(key, str) else write_json(key)


def _from_object(decoded: dict[str, Any], odd: OddValues) -> Attributes:
    result = decoded.copy()
    for key, value in decoded.items():
        kind = type(value)
        if kind is str or kind is bool:
            continue
        if kind is int:
            if not -(2**63) <= value < 2**63:
                result[key] = int_text(value)
        elif kind is float:
            if not math.isfinite(value):
                result[key] = odd.shown(key, value)
        elif value is None:
            del result[key]
        else:
            result[key] = _sequence(key, value, odd) if kind is list else _json(key, value, odd)
    return result


def attribute_value(value: Any) -> Any:
    """Return a decoded JSON value as an attribute value, NaN and the infinities as text; ``None`` stays ``None``."""
    if type(value) is str:
        return value
    return _from_object({"": value}, OddValues(as_text=True)).get("")


def _json(key: str, value: Any, odd: OddValues) -> str:
    """Return a value as JSON text, which has NaN and the infinities as strings."""
    text = write_json(value)
    if ('NaN"' in text or 'Infinity"' in text) and holds_not_finite(value):
        odd.note(NOT_FINITE, key)
    return text


def _sequence(key: str, items: list[Any], odd: OddValues) -> Any:
    kinds = set(map(type, items))
    if kinds == {float}:
        return odd.shown(key, tuple(items))
    if len(kinds) <= 1 and kinds <= {str, bool}:
        return tuple(items)
    if kinds == {int} and all(-(2**63) <= item < 2**63 for item in items):
        return tuple(items)
    if kinds == {int, float} and all(abs(item) <= _EXACT_FLOAT for item in items if type(item) is int):
        return odd.shown(key, tuple(map(float, items)))
    return _json(key, items, odd)


def _any_value(value: Any, depth: int, odd: OddValues) -> Any:
    """Convert an OTLP ``AnyValue`` from JSON, with its keys in either spelling."""
    if type(value) is not dict or len(value) != 1:
        return None if value in (None, {}) else attribute_value(value)
    ((name, inner),) = value.items()
    match name:
        case "stringValue" | "string_value" | "boolValue" | "bool_value":
            return attribute_value(inner)
        case "intValue" | "int_value":
            return _otlp_int(inner)
        case "doubleValue" | "double_value":
            return _otlp_double(inner)
        case "bytesValue" | "bytes_value":
            return _otlp_bytes(inner)
        case "arrayValue" | "array_value" if depth < _MAX_DEPTH:
            return _otlp_array(value, inner, depth, odd)
        case "kvlistValue" | "kvlist_value" if depth < _MAX_DEPTH:
            return _otlp_kvlist(value, inner, depth, odd)
        case _:
            return attribute_value(value)


def _values(inner: Any) -> list[Any] | None:
    values = inner.get("values", []) if isinstance(inner, dict) else inner
    return values if isinstance(values, list) else None


def _otlp_int(inner: Any) -> Any:
    return int(inner) if isinstance(inner, str) and _fits_int64(inner) else attribute_value(inner)


def _fits_int64(digits: str) -> bool:
    return _DIGITS.fullmatch(digits) is not None and -(2**63) <= int(digits) < 2**63


def _otlp_double(inner: Any) -> Any:
    try:
        return attribute_value(inner) if isinstance(inner, bool) else float(inner)
    except (ValueError, OverflowError, TypeError):
        return attribute_value(inner)


def _otlp_bytes(inner: Any) -> Any:
    if not isinstance(inner, str):
        return attribute_value(inner)
    try:
        return base64.b64decode(inner.replace("-", "+").replace("_", "/") + "=" * (-len(inner) % 4), validate=True)
    except (binascii.Error, ValueError):
        return inner


def _otlp_array(value: dict[str, Any], inner: Any, depth: int, odd: OddValues) -> Any:
    values = _values(inner)
    if values is None:
        return attribute_value(value)
    items = [_any_value(item, depth + 1, odd) for item in values]
    return write_json(items) if any(item is None for item in items) else tuple(items)


def _otlp_kvlist(value: dict[str, Any], inner: Any, depth: int, odd: OddValues) -> Any:
    values = _values(inner)
    if values is None or not all(type(item) is dict and "key" in item for item in values):
        return attribute_value(value)
    entries: dict[str, Any] = {}
    for item in values:
        entry = _any_value(item.get("value"), depth + 1, odd)
        if entry is not None:
            key = _key(item["key"])
            odd.repeats = odd.repeats or key in entries
            entries[key] = entry
    return entries


def events_of(decoded: Any, span_start_ns: int, odd: OddValues | None = None) -> tuple[list[Event], int]:
    """Return the events of a decoded column, and the number of items and times that could not be read.

    An event without a readable time gets the start of its span.
    """
    events: list[Event] = []
    lost = 0
    for item in decoded if isinstance(decoded, list) else [decoded]:
        attributes = _inner_attributes(item, odd) if isinstance(item, dict) else None
        if attributes is None:
            lost += 1
            continue
        when = _event_ns(item)
        if when is None or not 0 <= when <= fields.MAX_NS:
            lost += any(item.get(key) is not None for key in _EVENT_TIMES)
            when = span_start_ns
        name = item.get("name")
        events.append(
            Event(name if isinstance(name, str) else "" if name is None else write_json(name), attributes, when)
        )
    return events, lost


def _inner_attributes(item: dict[str, Any], odd: OddValues | None) -> Attributes | None:
    """Return the attributes of an event or a link, which have the same forms as those of a span."""
    decoded = item.get("attributes")
    readable = True
    if type(decoded) is not dict and type(decoded) is not list:  # what the column holds decoded is read already
        decoded, readable = read_container(decoded)
    return attributes_of(decoded, odd) if readable else None


_EVENT_TIMES = ("time_unix_nano", "timeUnixNano", "timestamp", "time")


def _event_ns(item: dict[str, Any]) -> int | None:
    exact = item.get("time_unix_nano", item.get("timeUnixNano"))
    if exact is not None:
        return _exact_ns(exact)
    return fields.instant_ns(_instant(item.get("timestamp", item.get("time"))))


def _exact_ns(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) <= 19:
        return int(value)
    return value if type(value) is int else fields.instant_ns(_instant(value))


def _instant(value: Any) -> str | int | float | None:
    return value if isinstance(value, str | int | float) else None


def links_of(decoded: Any, odd: OddValues) -> tuple[list[Link], int, int]:
    """Return the links of a decoded column, the number dropped for their shape, and the number with derived ids."""
    links: list[Link] = []
    lost = derived = 0
    for item in decoded if isinstance(decoded, list) else [decoded]:
        context, own = _link_context(item) if isinstance(item, dict) else (None, False)
        attributes = _inner_attributes(item, odd) if context else None
        if context is None or attributes is None:
            lost += 1
        else:
            derived += not own
            links.append(Link(context, attributes))
    return links, lost, derived


def _link_context(item: Mapping[str, Any]) -> tuple[SpanContext | None, bool]:
    """Return what a link leads to, and whether both ids are the application's own; ``None`` if it leads to nothing."""
    inner = item.get("context")
    source = inner if isinstance(inner, dict) else item
    trace, span = (
        source.get(snake, source.get(camel)) for snake, camel in (("trace_id", "traceId"), ("span_id", "spanId"))
    )
    if not isinstance(trace, str) or not isinstance(span, str) or fields.is_no_id(trace) or fields.is_no_id(span):
        return None, False
    trace_id, own_trace = _link_id(trace, fields.trace_id)
    span_id, own_span = _link_id(span, fields.span_id)
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=SAMPLED), own_trace and own_span


def _link_id(text: str, read: Callable[[str], tuple[int, bool]]) -> tuple[int, bool]:
    """Read an id that may begin with ``0x``, as the SDK prints it."""
    value, own = read(text.removeprefix("0x"))
    return (value, own) if own else read(text)


def as_double(value: Any) -> float | None:
    """Return a cost as a float; ``None`` if it is absent or not a finite number."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_count(value: Any) -> int | None:
    """Return a token count as an integer; ``None`` if it is absent, fractional, or beyond 64 bits."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and -(2**63) <= value < 2**63 else None
