"""Turn values of OTLP into values of Python, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList


def plain(value: AnyValue) -> Any:
    """Return an ``AnyValue`` as a value of Python; an empty one is ``None``."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: plain(item.value) for item in value.kvlist_value.values}
    return getattr(value, kind)


def any_value(value: Any) -> AnyValue:
    """Return a value of JSON as an ``AnyValue``; an integer beyond 64 bits as its text."""
    match value:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case int():
            inside = -(1 << 63) <= value < 1 << 63
            return AnyValue(int_value=value) if inside else AnyValue(string_value=str(value))
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
        case dict():
            return AnyValue(kvlist_value=KeyValueList(values=key_values(value)))
    return AnyValue(string_value=value)


def key_values(attributes: Mapping[str, Any]) -> Iterable[KeyValue]:
    """Return attributes as messages, sorted by key."""
    return [KeyValue(key=key, value=any_value(attributes[key])) for key in sorted(attributes)]
