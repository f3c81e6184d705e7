"""Turn Netra's JSON into the values of `netra_otel_bridge.core.model`.

A page is ``{"data": {"data": [item...], "pageInfo": {"hasNextPage": bool}}}``, or just the inner object. A typed
decoder reads it in one step. Only a page that this decoder rejects is read item by item, so only irregular data is
slow. Rules for irregular data:

- A body that does not parse is a `CutAnswer`. One that parses but is not a page is a `NetraSchemaError`, with the JSON
  path.
- ``hasNextPage`` missing, or anything but true and false, is a schema error. It is never taken as the end of the
  list, nor as more to come.
- ``data`` that is null is a schema error too: only an empty list means that there are no items.
- An unreadable item is reported in ``unreadable`` of the page. More than `BAD_SHARE` of a page, and at least
  `BAD_ITEMS`, is a schema error: one bad item is bad data, many mean a changed API.
- More items than a page may have are a schema error, and more values than `MAX_VALUES` a `NetraResponseTooLarge`; of a
  large body, neither is built first.
- A span of another trace than the one that was asked for is an unreadable item.
- Usage for an unknown id is an object without that id. An error object with status 200 is not usage: a response
  without ``data`` must have at least one documented field.
"""

from __future__ import annotations

import json
import re
from typing import Any, Generic, TypeVar

import msgspec

from netra_otel_bridge.core.errors import NetraSchemaError
from netra_otel_bridge.core.json_bounds import holds_long_number
from netra_otel_bridge.core.json_text import write_json
from netra_otel_bridge.core.model.netra import (
    SessionUsageData,
    SpansPage,
    TenantUsageData,
    TracesPage,
    TraceSpan,
    TraceSummary,
    UnreadableItem,
)
from netra_otel_bridge.source.body import LARGE_BYTES
from netra_otel_bridge.source.bounds import PAGE_ITEMS, PageInfo, check_values, read_flat_spans
from netra_otel_bridge.source.endpoint import reaches_its_path
from netra_otel_bridge.source.lenient import ItemT, is_of_another_trace, number, parse, read_item, text, type_name

BAD_SHARE = 0.10
BAD_ITEMS = 2
MAX_SHOWN_CHARS = 65_536
NO_SPAN = b'{"data":null}'
"""A body that `decode_span` reads as no span."""
_S = TypeVar("_S")
_USAGE_FIELDS = frozenset({"session_id", "tenant_id", "tokenCount", "requestsCount", "sessionsCount", "totalCost"})
_CHANGED = "the API may have changed: check for a newer version of the bridge"


class _Block(msgspec.Struct, Generic[_S]):
    data: list[_S]
    page_info: PageInfo = msgspec.field(name="pageInfo")


class _Envelope(msgspec.Struct, Generic[_S]):
    data: _Block[_S]


_FIELD_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]{0,39}")
_TRACES = msgspec.json.Decoder(_Envelope[TraceSummary])
_SPANS = msgspec.json.Decoder(_Envelope[TraceSpan])


def decode_traces(body: bytes, limit: int = PAGE_ITEMS) -> TracesPage:
    """Return a page of at most ``limit`` traces. Raises `CutAnswer`, `NetraSchemaError`, `NetraResponseTooLarge`."""
    block = _block(_TRACES, body)
    if block is not None and all(item.id and not item.unreadable and reaches_its_path(item.id) for item in block.data):
        items = block.data
        _check_items(len(items), limit, "$.data.data")
        cursor = items[-1].cursor if items else None
        return TracesPage(traces=items, has_next_page=block.page_info.has_next_page, next_cursor=cursor)
    traces, bad, cursor, more = read_page(TraceSummary, body, limit=limit)
    return TracesPage(traces=traces, has_next_page=more, next_cursor=cursor, unreadable=bad)


def decode_spans(body: bytes, trace_id: str, limit: int = PAGE_ITEMS) -> SpansPage:
    """Return a page of at most ``limit`` spans of a trace. Raises as `decode_traces`.

    A span without ``trace_id`` gets that of the trace. A span of another trace is an unreadable item.
    """
    items, more = _regular_spans(body)
    if items is not None and all(
        item.id and item.trace_id and not item.unreadable and not is_of_another_trace(item.trace_id, trace_id)
        for item in items
    ):
        _check_items(len(items), limit, "$.data.data")
        cursor = items[-1].cursor if items else None
        return SpansPage(spans=items, has_next_page=more, next_cursor=cursor, size_bytes=len(body))
    spans, bad, cursor, more = read_page(TraceSpan, body, limit=limit, trace_id=trace_id)
    return SpansPage(spans=spans, has_next_page=more, next_cursor=cursor, unreadable=bad, size_bytes=len(body))


def _regular_spans(body: bytes) -> tuple[list[TraceSpan] | None, bool]:
    """Return the spans of a page that needs no coercion, and whether there are more; else ``None``."""
    if len(body) > LARGE_BYTES and not holds_long_number(body):
        flat = read_flat_spans(body)
        if flat is not None:
            return flat
    block = _block(_SPANS, body)
    return (None, False) if block is None else (block.data, block.page_info.has_next_page)


def _block(decoder: msgspec.json.Decoder[_Envelope[_S]], body: bytes) -> _Block[_S] | None:
    """Return a page that has the documented types, else ``None``. Raises `NetraResponseTooLarge`."""
    check_values(body)
    if len(body) > LARGE_BYTES and holds_long_number(body):
        return None
    try:
        return decoder.decode(body).data
    except (ValueError, RecursionError):
        return None


def decode_span(body: bytes) -> TraceSpan | None:
    """Return one span, from ``{"data": span}`` or bare; ``None`` if ``data`` is null. Raises as `decode_traces`."""
    root = as_object(parse(body), "$")
    value, path = (root["data"], "$.data") if "data" in root else (root, "$")
    if value is None:
        return None
    span = read_item(TraceSpan, value, path)
    if isinstance(span, UnreadableItem):
        raise NetraSchemaError(f"{span.path} is not a span: {span.reason}", hint=_CHANGED)
    return span


def decode_session_usage(body: bytes) -> SessionUsageData | None:
    """Return what a session used; ``None`` for a session that Netra does not know. Raises as `decode_traces`."""
    usage, path = _usage(body)
    session_id = text(usage.get("session_id"))
    if not session_id:
        return None
    return SessionUsageData(
        session_id=session_id,
        token_count=_total(usage, path, "tokenCount"),
        request_count=_total(usage, path, "requestsCount"),
        total_cost=float(_total(usage, path, "totalCost")),
    )


def decode_tenant_usage(body: bytes) -> TenantUsageData | None:
    """Return what a tenant used; ``None`` for a tenant that Netra does not know. Raises as `decode_traces`."""
    usage, path = _usage(body)
    tenant_id = text(usage.get("tenant_id"))
    if not tenant_id:
        return None
    return TenantUsageData(
        tenant_id=tenant_id,
        organisation_id=text(usage.get("organisation_id")),
        token_count=_total(usage, path, "tokenCount"),
        request_count=_total(usage, path, "requestsCount"),
        session_count=_total(usage, path, "sessionsCount"),
        total_cost=float(_total(usage, path, "totalCost")),
    )


def read_page(
    kind: type[ItemT], body: bytes, name: str = "data", *, limit: int = PAGE_ITEMS, **known: str
) -> tuple[list[ItemT], tuple[UnreadableItem, ...], str | None, bool]:
    """Read a page item by item; return items, unreadable items, the next cursor, and whether there are more items.

    ``name`` is the key of the items beside ``pageInfo``; ``known`` is that of `read_item`. The cursor is that of the last
    readable item, so items after it are on the next page again and not lost. Raises as `decode_traces`.
    """
    block, path = as_object(parse(body), "$"), "$"
    if isinstance(block.get("data"), dict):
        block, path = block["data"], "$.data"
    values = block.get(name)
    if not isinstance(values, list):
        raise wrong(f"{path}.{name}", name in block, values, "a list")
    _check_items(len(values), limit, f"{path}.{name}")
    info = block.get("pageInfo")
    if not isinstance(info, dict):
        raise wrong(f"{path}.pageInfo", "pageInfo" in block, info, "an object")
    more = info.get("hasNextPage")
    if not isinstance(more, bool):
        raise wrong(f"{path}.pageInfo.hasNextPage", "hasNextPage" in info, more, "true or false")
    items: list[ItemT] = []
    bad: list[UnreadableItem] = []
    for index, value in enumerate(values):
        item = read_item(kind, value, f"{path}.{name}[{index}]", **known)
        if isinstance(item, UnreadableItem):
            bad.append(msgspec.structs.replace(item, json=_shown(value)))
        else:
            items.append(item)
    if len(bad) >= BAD_ITEMS and len(bad) > BAD_SHARE * len(values):
        raise NetraSchemaError(
            f"{len(bad)} of {len(values)} items cannot be read, first {bad[0].path}: {bad[0].reason}", hint=_CHANGED
        )
    return items, tuple(bad), items[-1].cursor if items else None, more


def _check_items(count: int, limit: int, path: str) -> None:
    """Raise `NetraSchemaError` for more items than were asked for, unless they fill no more than an ordinary page."""
    most = max(limit, PAGE_ITEMS)
    if count > most:
        raise NetraSchemaError(
            f"{path} holds {count} items, more than the {most} that a page may have",
            hint="Netra does not keep to the limit of a page; nothing was skipped",
        )


def _shown(value: object) -> str:
    """Return an item as one line of ASCII JSON, truncated if it is long."""
    try:
        text = json.dumps(value)
    except RecursionError:
        text = "".join(char if char.isascii() else json.dumps(char)[1:-1] for char in write_json(value))
    return text[:MAX_SHOWN_CHARS]


def _usage(body: bytes) -> tuple[dict[str, Any], str]:
    root = as_object(parse(body), "$")
    if "data" in root:
        return as_object(root["data"], "$.data"), "$.data"
    if not root.keys() & _USAGE_FIELDS:
        raise NetraSchemaError(f"$ is not usage: {_names(root)}", hint=_CHANGED)
    return root, "$"


def _total(usage: dict[str, Any], path: str, name: str) -> int | float:
    """Return a total. Null counts as 0, because it is the sum of no rows; a missing total is an error."""
    if name in usage and usage[name] is None:
        return 0
    total = number(usage.get(name))
    if total is None:
        raise wrong(f"{path}.{name}", name in usage, usage.get(name), "a number")
    return total


def as_object(value: object, path: str) -> dict[str, Any]:
    """Return a JSON object. Raises `NetraSchemaError`."""
    if not isinstance(value, dict):
        raise wrong(path, True, value, "an object")
    return value


def wrong(path: str, present: bool, value: object, wanted: str) -> NetraSchemaError:
    """Return the error for a value that is missing, or not of the expected type."""
    found = f"is {type_name(value)}" if present else "is missing"
    if found == f"is {wanted}":
        return NetraSchemaError(f"{path} is {wanted} that is too large", hint=_CHANGED)
    return NetraSchemaError(f"{path} {found}, where {wanted} is expected", hint=_CHANGED)


def _names(value: dict[str, Any]) -> str:
    names = sorted(filter(_FIELD_NAME.fullmatch, value))[:5]
    return f"it holds {', '.join(names) or 'other keys'}" if value else "it is empty"
