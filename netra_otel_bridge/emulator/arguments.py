"""Read and check the arguments of requests.

They are JSON bodies, time ranges, pages, order and filters. All functions raise `ApiError` 400.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from netra_otel_bridge.core.time_text import datetime_ns
from netra_otel_bridge.emulator.api_format import ApiError
from netra_otel_bridge.emulator.filters import Condition, read_condition

DEFAULT_LIMIT = 20
MAX_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Page:
    """Start, direction and size of a page."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    down: bool = True


def read_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a request's body."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "the body is not JSON") from error
    if not isinstance(given, dict):
        raise ApiError(400, "the body must be a JSON object")
    return given


def read_part(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the object ``name`` of a body; an empty one if it is missing."""
    part = given.get(name) or {}
    if not isinstance(part, dict):
        raise ApiError(400, f"{name} must be an object")
    return part


def read_filters(given: Mapping[str, Any], fields: Container[str]) -> tuple[Condition, ...]:
    """Return the filter conditions of a body, which may use these fields."""
    filters = given.get("filters") or []
    if not isinstance(filters, list):
        raise ApiError(400, "filters must be a list")
    return tuple(read_condition(item, fields) for item in filters)


def read_order(given: Mapping[str, Any], fields: Container[str]) -> tuple[str, bool]:
    """Return the field to sort by (default ``start_time``), and whether the order ascends (default: no)."""
    sort_field, order = given.get("sortField") or "start_time", given.get("sortOrder") or "desc"
    if not isinstance(sort_field, str) or sort_field not in fields:
        raise ApiError(400, f"unknown sortField {sort_field!r}")
    if order not in ("asc", "desc"):
        raise ApiError(400, "sortOrder must be asc or desc")
    return sort_field, order == "asc"


def read_page(given: Mapping[str, Any]) -> Page:
    """Return ``limit``, ``cursor`` and ``direction``; numbers may be text, as in a query string."""
    limit, cursor, direction = given.get("limit"), given.get("cursor"), given.get("direction")
    if isinstance(limit, str) and limit.isascii() and limit.isdigit() and len(limit) < 10:
        limit = int(limit)
    if limit is None:
        limit = DEFAULT_LIMIT
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise ApiError(400, f"limit must be a number from 1 to {MAX_LIMIT}")
    if direction not in (None, "", "down", "up"):
        raise ApiError(400, "direction must be down or up")
    if cursor is not None and not isinstance(cursor, str):
        raise ApiError(400, "unknown cursor")
    return Page(limit, cursor or None, direction != "up")


def read_window(given: Mapping[str, Any]) -> tuple[int, int]:
    """Return ``[startTime, endTime)`` in nanoseconds."""
    start_ns, end_ns = read_instant(given, "startTime"), read_instant(given, "endTime")
    if end_ns < start_ns:
        raise ApiError(400, "endTime is before startTime")
    return start_ns, end_ns


def read_instant(given: Mapping[str, Any], name: str) -> int:
    """Return one time in nanoseconds; without an offset it is UTC."""
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise ApiError(400, f"{name} is required, as ISO 8601")
    try:
        when = datetime.fromisoformat(value.strip().replace(" ", "+") if "T" in value else value)
    except ValueError as error:
        raise ApiError(400, f"{name} is not an ISO 8601 time: {value[:40]!r}") from error
    return datetime_ns(when if when.tzinfo is not None else when.replace(tzinfo=UTC))
