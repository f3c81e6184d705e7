"""Filters: the fields of the trace query, and the operators and types from Netra's documentation and SDKs."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from netra_otel_bridge.emulator.api_format import ApiError
from netra_otel_bridge.emulator.summary import Summary

FIELDS: dict[str, str] = {
    "trace_id": "id",
    "id": "id",
    "latency": "latency_ms",
    "latency_ms": "latency_ms",
} | {
    field: field
    for field in (
        "session_id", "user_id", "tenant_id", "name", "kind", "environment", "service", "has_error", "has_pii",
        "has_violation", "models", "total_cost", "total_tokens", "prompt_tokens", "completion_tokens", "cached_tokens",
    )
}  # fmt: skip
METADATA = "metadata"
TRACE_FIELDS = frozenset({*FIELDS, METADATA})
TYPES = frozenset({"string", "number", "boolean", "arrayOptions", "object"})

_NEGATIVE = {"not_equals": "equals", "not_contains": "contains", "none_of": "any_of"}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "greater_than": lambda value, bound: value > bound,
    "less_than": lambda value, bound: value < bound,
    "greater_equal_to": lambda value, bound: value >= bound,
    "less_equal_to": lambda value, bound: value <= bound,
}
_TEXT: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda value, part: part.lower() in value.lower(),
    "starts_with": lambda value, part: value.lower().startswith(part.lower()),
    "ends_with": lambda value, part: value.lower().endswith(part.lower()),
}
OPERATORS = frozenset({"equals", "any_of", "is_null", "is_not_null", *_NEGATIVE, *_COMPARE, *_TEXT})


@dataclass(frozen=True, slots=True)
class Condition:
    """A valid filter. A null value never meets a positive operator and always meets a negative one."""

    field: str
    operator: str
    value: Any
    key: str | None = None

    def holds(self, summary: Summary) -> bool:
        """Return whether the trace meets this condition."""
        if self.field == METADATA:
            found = summary.metadata.get(self.key or "")
        else:
            found = getattr(summary.item, FIELDS[self.field])
        return self.meets(found)

    def meets(self, found: Any) -> bool:
        """Return whether a value of the field meets this condition."""
        if self.operator in _NEGATIVE:
            return not self._positive(_NEGATIVE[self.operator], found)
        return self._positive(self.operator, found)

    def _positive(self, operator: str, found: Any) -> bool:
        if operator == "is_null":
            return found is None or found == []
        if operator == "is_not_null":
            return found is not None and found != []
        if isinstance(found, list):
            return any(self._positive(operator, item) for item in found)
        if found is None:
            return False
        if operator == "any_of":
            return any(_same(found, wanted) for wanted in self.value)
        if operator == "equals":
            return _same(found, self.value)
        if operator in _TEXT:
            return _TEXT[operator](_as_text(found), _as_text(self.value))
        number, bound = _as_number(found), _as_number(self.value)
        return number is not None and bound is not None and _COMPARE[operator](number, bound)


def read_condition(given: Any, fields: Container[str] = TRACE_FIELDS) -> Condition:
    """Check a filter of a request, which may use one of ``fields``. Raises `ApiError` 400 that names the error."""
    if not isinstance(given, dict):
        raise ApiError(400, "a filter is an object with field, operator, type and value")
    field, operator, kind = given.get("field"), given.get("operator", "equals"), given.get("type", "string")
    key, value = given.get("key"), given.get("value")
    if not isinstance(field, str) or field not in fields:
        raise ApiError(400, f"unknown filter field {field!r}")
    if not isinstance(operator, str) or operator not in OPERATORS:
        raise ApiError(400, f"unknown filter operator {operator!r}")
    if not isinstance(kind, str) or kind not in TYPES:
        raise ApiError(400, f"unknown filter type {kind!r}")
    if field == METADATA and not isinstance(key, str):
        raise ApiError(400, "a filter on metadata needs a key")
    if operator in {"any_of", "none_of"}:
        value = value if isinstance(value, list) else [value]
    elif isinstance(value, list | dict) or (value is None and operator not in {"is_null", "is_not_null"}):
        raise ApiError(400, f"filter {field} {operator}: a single value is needed")
    if operator in _COMPARE and _as_number(value) is None:
        raise ApiError(400, f"filter {field} {operator}: a number is needed")
    return Condition(field, operator, value, key)


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, bool):
        return _as_text(found) == _as_text(wanted).lower()
    if isinstance(found, int | float):
        return _as_number(wanted) == found
    return _as_text(found) == _as_text(wanted)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
