"""Attributes, events and links: from Netra's JSON texts to the types of the OpenTelemetry SDK.

Two forms are read. A JSON object gives one attribute a key; its nested objects and mixed lists become JSON text,
because nothing says that they were more than that. A list of OTLP key/values says each type, and is kept to the
letter: bytes, mixed arrays and key/value lists included.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Event
from opentelemetry.trace import Link, SpanContext, TraceFlags

from netra_otel_bridge.convert import fields
from netra_otel_bridge.convert.jsontext import clean_text, clean_value, read_json, write_json
from netra_otel_bridge.model import JsonText

Attributes = dict[str, Any]
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_EXACT_FLOAT = 2**53


def read_container(value: JsonText | None) -> tuple[Any, bool]:
    """A JSON column decoded, and whether it could be: ``None`` and ``""`` are nothing, and fine."""
    if value is None or value == "":
        return None, True
    if isinstance(value, str):
        decoded = read_json(value)
        return decoded, isinstance(decoded, dict | list) or value.strip() == "null"
    return clean_value(value), True


def attributes_of(decoded: Any) -> Attributes | None:
    """Attributes of either form, ``None`` if the value is neither. ``null`` values are dropped."""
    if type(decoded) is dict:
        return _from_object(decoded)
    if type(decoded) is list:
        result: Attributes = {}
        for item in decoded:
            if type(item) is not dict or "key" not in item:
                return None
            value = _any_value(item.get("value"))
            if value is not None:
                result[str(item["key"])] = value
        return result
    return {} if decoded is None else None


def _from_object(decoded: dict[str, Any]) -> Attributes:
    result: Attributes = {}
    for key, value in decoded.items():
        kind = type(value)
        if kind is str or kind is bool or kind is float:
            result[key] = value
        elif kind is int:
            result[key] = _int64(value)
        elif kind is list:
            result[key] = _sequence(value)
        elif value is not None:
            result[key] = write_json(value)
    return result


def attribute_value(value: Any) -> Any:
    """One decoded JSON value as an attribute value; ``None`` stays ``None``."""
    return _from_object({"": value}).get("")


def _int64(value: int) -> int | str:
    return value if -(2**63) <= value < 2**63 else str(value)


def _sequence(items: list[Any]) -> Any:
    kinds = set(map(type, items))
    if len(kinds) <= 1 and kinds <= {str, bool, float}:
        return tuple(items)
    if kinds == {int} and all(-(2**63) <= item < 2**63 for item in items):
        return tuple(items)
    if kinds == {int, float} and all(abs(item) <= _EXACT_FLOAT for item in items if type(item) is int):
        return tuple(map(float, items))
    return write_json(items)


def _any_value(value: Any) -> Any:
    """An OTLP ``AnyValue`` in its JSON form, in either spelling of its keys."""
    if type(value) is not dict or len(value) != 1:
        return None if value in (None, {}) else attribute_value(value)
    ((name, inner),) = value.items()
    match name:
        case "stringValue" | "string_value":
            return inner if isinstance(inner, str) else attribute_value(inner)
        case "boolValue" | "bool_value":
            return inner
        case "intValue" | "int_value":
            return _otlp_int(inner)
        case "doubleValue" | "double_value":
            return _otlp_double(inner)
        case "bytesValue" | "bytes_value":
            return _otlp_bytes(inner)
        case "arrayValue" | "array_value":
            return _otlp_array(inner)
        case "kvlistValue" | "kvlist_value":
            return attributes_of(_values(inner)) or {}
        case _:
            return attribute_value(value)


def _values(inner: Any) -> list[Any]:
    values = inner.get("values") if isinstance(inner, dict) else inner
    return values if isinstance(values, list) else []


def _otlp_int(inner: Any) -> Any:
    if type(inner) is int:
        return _int64(inner)
    try:
        return _int64(int(inner)) if isinstance(inner, str) and len(inner) <= 20 else attribute_value(inner)
    except ValueError:
        return inner


def _otlp_double(inner: Any) -> Any:
    try:
        return float(inner) if isinstance(inner, str | int | float) else attribute_value(inner)
    except (ValueError, OverflowError):
        return str(inner)


def _otlp_bytes(inner: Any) -> Any:
    if not isinstance(inner, str):
        return attribute_value(inner)
    try:
        return base64.b64decode(inner.replace("-", "+").replace("_", "/") + "=" * (-len(inner) % 4), validate=True)
    except (binascii.Error, ValueError):
        return inner


def _otlp_array(inner: Any) -> Any:
    items = [_any_value(item) for item in _values(inner)]
    return write_json(items) if any(item is None for item in items) else tuple(items)


def events_of(decoded: Any, span_start_ns: int) -> tuple[list[Event], int]:
    """The events of a decoded column, and how many items were not events. An event without a readable time gets its span's start."""
    events: list[Event] = []
    lost = 0
    for item in decoded if isinstance(decoded, list) else [decoded]:
        attributes = attributes_of(item.get("attributes")) if isinstance(item, dict) else None
        if attributes is None:
            lost += 1
            continue
        exact = item.get("time_unix_nano", item.get("timeUnixNano"))
        when = (
            _exact_ns(exact)
            if exact is not None
            else fields.instant_ns(_instant(item.get("timestamp", item.get("time"))))
        )
        name = item.get("name")
        events.append(
            Event(
                name if isinstance(name, str) else "" if name is None else write_json(name),
                attributes,
                when if when is not None and 0 <= when <= fields.MAX_NS else span_start_ns,
            )
        )
    return events, lost


def _exact_ns(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) <= 19:
        return int(value)
    return value if type(value) is int else fields.instant_ns(_instant(value))


def _instant(value: Any) -> str | int | float | None:
    return value if isinstance(value, str | int | float) else None


def links_of(decoded: Any) -> tuple[list[Link], int]:
    """The links of a decoded column, and how many were dropped for a bad id or shape."""
    links: list[Link] = []
    lost = 0
    for item in decoded if isinstance(decoded, list) else [decoded]:
        context = _link_context(item) if isinstance(item, dict) else None
        attributes = attributes_of(item.get("attributes")) if context else None
        if context is None or attributes is None:
            lost += 1
        else:
            links.append(Link(context, attributes))
    return links, lost


def _link_context(item: Mapping[str, Any]) -> SpanContext | None:
    inner = item.get("context")
    source = inner if isinstance(inner, dict) else item
    trace, span = (
        source.get(snake, source.get(camel)) for snake, camel in (("trace_id", "traceId"), ("span_id", "spanId"))
    )
    if not isinstance(trace, str) or not isinstance(span, str):
        return None
    trace_id, own_trace = fields.trace_id(clean_text(trace.removeprefix("0x")))
    span_id, own_span = fields.span_id(clean_text(span.removeprefix("0x")))
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=SAMPLED) if own_trace and own_span else None


def as_double(value: Any) -> float | None:
    """A cost as a float; ``None`` if absent or not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_count(value: Any) -> int | None:
    """A number of tokens as an integer; ``None`` if absent, fractional, or beyond 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        if not value.is_integer():
            return None
        value = int(value)
    return value if -(2**63) <= value < 2**63 else None
