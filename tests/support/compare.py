"""Compare spans field by field, from the OTLP JSON of any two sources.

The normal form removes differences of spelling: the order of attributes, ids in hex or base64, numbers as text, enums
by name or number, and fields that are absent or have their default.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.deliver.otlp.json import traces_data

Key = tuple[str, str]
"""Trace id and span id, in lowercase hex."""
Normal = dict[str, Any]

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_JAEGERS_OWN = "@jaeger@warnings"
"""Attributes that Jaeger adds where a child begins before or ends after its parent, and where a span has no duration."""
_CODES = ("UNSET", "OK", "ERROR")


def spans_by_id(data: dict[str, Any]) -> dict[Key, Normal]:
    """Return the spans of a ``TracesData`` in normal form, each with its resource and scope.

    Raise `AssertionError` if a span comes twice with different content.
    """
    found: dict[Key, Normal] = {}
    for key, normal in listed_spans(data):
        assert found.setdefault(key, normal) == normal, f"span {key} comes twice, and not the same"
    return found


def listed_spans(data: dict[str, Any]) -> list[tuple[Key, Normal]]:
    """Return every span of a ``TracesData`` in normal form, repeats included."""
    listed: list[tuple[Key, Normal]] = []
    for resource_spans in data.get("resourceSpans") or data.get("batches") or ():
        resource = _attributes(resource_spans.get("resource", {}))
        schema = resource_spans.get("schemaUrl", "")
        for scope_spans in resource_spans.get("scopeSpans") or resource_spans.get("instrumentationLibrarySpans") or ():
            scope = scope_spans.get("scope") or scope_spans.get("instrumentationLibrary") or {}
            around = {
                "resource": resource,
                "resource_schema": schema,
                "scope": (scope.get("name", ""), scope.get("version", ""), _attributes(scope)),
                "scope_schema": scope_spans.get("schemaUrl", ""),
            }
            for span in scope_spans.get("spans", ()):
                normal = _span(span) | around
                listed.append(((normal["trace_id"], normal["span_id"]), normal))
    return listed


def sent_by_id(spans: Sequence[ReadableSpan]) -> dict[Key, Normal]:
    """Return spans that were handed to a destination in normal form."""
    return spans_by_id(traces_data(spans))


def differences(sent: dict[Key, Normal], received: dict[Key, Normal], ignore: Iterable[str] = ()) -> list[str]:
    """Return one line for each span that is missing, added or different in a field; none if all are equal."""
    left_out = set(ignore)
    lines = [f"{key}: missing" for key in sent.keys() - received.keys()]
    lines += [f"{key}: nobody sent it" for key in received.keys() - sent.keys()]
    for key in sent.keys() & received.keys():
        before, after = _flat(sent[key]), _flat(received[key])
        lines += [
            f"{key} {name}: sent {_short(before.get(name))}, received {_short(after.get(name))}"
            for name in before.keys() | after.keys()
            if name.partition("[")[0] not in left_out and before.get(name) != after.get(name)
        ]
    return sorted(lines)


def _flat(normal: Normal) -> dict[str, Any]:
    """Return the fields of a span, with each attribute as a field of its own."""
    flat = {name: value for name, value in normal.items() if name not in ("attributes", "resource")}
    for name in ("attributes", "resource"):
        flat |= {f"{name}[{key!r}]": value for key, value in normal[name].items()}
    return flat


def _span(span: dict[str, Any]) -> Normal:
    status = span.get("status") or {}
    return {
        "trace_id": _id(span["traceId"], 32),
        "span_id": _id(span["spanId"], 16),
        "parent_id": _id(span.get("parentSpanId", ""), 16),
        "trace_state": span.get("traceState", ""),
        "name": span.get("name", ""),
        "kind": _enum(span.get("kind", 0), "SPAN_KIND_", _KINDS),
        "start_ns": int(span.get("startTimeUnixNano", 0)),
        "end_ns": int(span.get("endTimeUnixNano", 0)),
        "attributes": _attributes(span),
        "events": [
            (int(event.get("timeUnixNano", 0)), event.get("name", ""), _attributes(event), _dropped(event))
            for event in span.get("events", ())
        ],
        "links": [
            (_id(link["traceId"], 32), _id(link["spanId"], 16), _attributes(link), _dropped(link))
            for link in span.get("links", ())
        ],
        "status": (_enum(status.get("code", 0), "STATUS_CODE_", _CODES), status.get("message", "")),
        "flags": int(span.get("flags", 0)),
        "dropped": (
            _dropped(span),
            int(span.get("droppedEventsCount", 0)),
            int(span.get("droppedLinksCount", 0)),
        ),
    }


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    entries = holder.get("attributes", ())
    values = {entry["key"]: _value(entry.get("value") or {}) for entry in entries}
    assert len(values) == len(entries), f"an attribute comes twice: {sorted(entry['key'] for entry in entries)}"
    values.pop(_JAEGERS_OWN, None)
    return values


def _value(value: dict[str, Any]) -> tuple[str, Any]:
    """Return a value with its type, so that ``1``, ``1.0``, ``True`` and ``"1"`` stay distinct."""
    if not value:
        return ("none", None)
    ((kind, content),) = value.items()
    match kind:
        case "intValue":
            return ("int", int(content))
        case "doubleValue":
            return ("double", repr(float(content)))
        case "bytesValue":
            return ("bytes", base64.b64decode(content))
        case "arrayValue":
            return ("array", tuple(_value(item) for item in content.get("values", ())))
        case "kvlistValue":
            entries = {entry["key"]: _value(entry.get("value") or {}) for entry in content.get("values", ())}
            return ("kvlist", entries)
        case _:
            return (kind.removesuffix("Value"), content)


def _dropped(holder: dict[str, Any]) -> int:
    return int(holder.get("droppedAttributesCount", 0))


def _id(text: str, digits: int) -> str:
    """Return an id in lowercase hex; "" if it is absent or zero."""
    name = text.lower() if len(text) in (0, digits) else base64.b64decode(text).hex()
    return name if name.strip("0") else ""


def _enum(value: int | str, prefix: str, names: tuple[str, ...]) -> str:
    if isinstance(value, str) and not value.isdigit():
        return value.removeprefix(prefix)
    return names[int(value)]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
