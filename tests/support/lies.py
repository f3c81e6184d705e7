"""Lies of a store about one span, and what each of them must count as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanKind

from netra_otel_bridge.core.model.readback import Kind
from tests.support.scripted_store import messages
from tests.support.span_strategies import attributes, events, links, scopes, states, statuses, texts, times
from tests.support.spans import RESOURCE, context, make_span

INPUT = "input"
"""A text that each span, and its first event and link, has: at least six characters."""
LONG = st.text(st.characters(exclude_categories=("Cs",)), min_size=6, max_size=40)
services = st.sampled_from([RESOURCE, Resource({"service.name": "ü", "n": 3}, "https://schemas/1.41.0")])


@st.composite
def lied_about(draw: st.DrawFn, trace_id: int, count: int) -> list[ReadableSpan]:
    """Draw the spans of a trace with something to lie about. They are alike, which makes drawing them fast."""
    text, others, start_ns = draw(LONG), draw(attributes), draw(st.integers(1, 2**63))
    event = Event("prompt", {**others, INPUT: text}, draw(times))
    link = Link(context(7, 8), {**others, INPUT: text})
    fields = {
        "trace_id": trace_id,
        "name": draw(texts),
        "kind": draw(st.sampled_from(SpanKind)),
        "attributes": {**others, INPUT: text, "messages": (text, text), "map": {"inner": text, "n": 1}},
        "events": [event, *draw(st.lists(events, max_size=1))],
        "links": [link, *draw(st.lists(links, max_size=1))],
        "status": draw(statuses),
        "start_ns": start_ns,
        "end_ns": start_ns + draw(st.integers(0, 10**9)),
        "state": draw(states),
    }
    return [
        make_span(
            number,
            **fields,
            parent=draw(st.none() | st.just(number + 1)),
            resource=draw(services),
            scope=draw(scopes),
        )
        for number in range(1, count + 1)
    ]


def single(span: ReadableSpan) -> ResourceSpans:
    """Return a span in a message of its own."""
    return messages([span]).resource_spans[0]


def _of(found: ResourceSpans) -> Span:
    return found.scope_spans[0].spans[0]


def _text(attributes_: object, key: str = INPUT) -> KeyValue:
    return next(one for one in attributes_ if one.key == key)  # type: ignore[attr-defined]


def _delete(attributes_: object, key: str = INPUT) -> None:
    attributes_.remove(_text(attributes_, key))  # type: ignore[attr-defined]


def _cut(value: AnyValue, mark: str = "") -> None:
    value.string_value = value.string_value[:3] + mark


def _add(attributes_: object) -> None:
    attributes_.add(key="added by a processor", value=AnyValue(bool_value=True))  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Lie:
    """A way to change a message of one span, and the kind that the span then has."""

    kind: Kind
    tell: Callable[[ResourceSpans], object]


def _reorder(found: ResourceSpans) -> None:
    span = _of(found)
    ordered = sorted(span.attributes, key=lambda one: one.key, reverse=True)
    copies = [KeyValue.FromString(one.SerializeToString()) for one in ordered]
    del span.attributes[:]
    span.attributes.extend(copies)


def _cut_and_delete(found: ResourceSpans) -> None:
    _cut(_text(_of(found).attributes).value)
    _delete(_of(found).events[0].attributes)


def _cut_everywhere(found: ResourceSpans) -> None:
    span = _of(found)
    for attributes_ in (span.attributes, span.events[0].attributes, span.links[0].attributes):
        _cut(_text(attributes_).value, "...")


def _other_status(found: ResourceSpans) -> None:
    _of(found).status.code = (_of(found).status.code + 1) % 3  # type: ignore[assignment]


def _set(name: str, change: Callable[[object], object]) -> Callable[[ResourceSpans], None]:
    def tell(found: ResourceSpans) -> None:
        setattr(_of(found), name, change(getattr(_of(found), name)))

    return tell


LIES: dict[str, Lie] = {
    "nothing": Lie("intact", lambda _: None),
    "other order of attributes": Lie("intact", _reorder),
    "no flags": Lie("intact", lambda it: _of(it).ClearField("flags")),
    "attribute gone": Lie("changed", lambda it: _delete(_of(it).attributes)),
    "attribute changed": Lie(
        "changed", lambda it: setattr(_text(_of(it).attributes).value, "string_value", "not what was sent")
    ),
    "attribute emptied": Lie("changed", lambda it: setattr(_text(_of(it).attributes).value, "string_value", "")),
    "attribute with a mark behind it": Lie(
        "changed",
        lambda it: setattr(
            _text(_of(it).attributes).value, "string_value", _text(_of(it).attributes).value.string_value + "…"
        ),
    ),
    "type changed": Lie("changed", lambda it: setattr(_text(_of(it).attributes).value, "int_value", 1)),
    "attribute added": Lie("changed", lambda it: _add(_of(it).attributes)),
    "attribute twice": Lie("changed", lambda it: _of(it).attributes.add().CopyFrom(_of(it).attributes[0])),
    "list shorter": Lie("changed", lambda it: _text(_of(it).attributes, "messages").value.array_value.values.pop()),
    "text cut": Lie("cut", lambda it: _cut(_text(_of(it).attributes).value)),
    "text cut with a mark": Lie("cut", lambda it: _cut(_text(_of(it).attributes).value, "…")),
    "text cut in a character": Lie("cut", lambda it: _cut(_text(_of(it).attributes).value, "\ufffd")),
    "text cut in a list": Lie(
        "cut", lambda it: _cut(_text(_of(it).attributes, "messages").value.array_value.values[1])
    ),
    "text cut in a map": Lie(
        "cut", lambda it: _cut(_text(_of(it).attributes, "map").value.kvlist_value.values[0].value)
    ),
    "texts cut everywhere": Lie("cut", _cut_everywhere),
    "cut, and something gone": Lie("changed", _cut_and_delete),
    "event attribute gone": Lie("changed", lambda it: _delete(_of(it).events[0].attributes)),
    "event gone": Lie("changed", lambda it: _of(it).events.pop(0)),
    "event added": Lie("changed", lambda it: _of(it).events.add(name="added", time_unix_nano=1)),
    "event renamed": Lie("changed", lambda it: setattr(_of(it).events[0], "name", "renamed")),
    "event moved": Lie(
        "changed",
        lambda it: setattr(_of(it).events[0], "time_unix_nano", (_of(it).events[0].time_unix_nano + 1) % 2**64),
    ),
    "link attribute added": Lie("changed", lambda it: _add(_of(it).links[0].attributes)),
    "link gone": Lie("changed", lambda it: _of(it).links.pop(0)),
    "renamed": Lie("changed", _set("name", lambda name: f"≠{name}")),
    "other start": Lie("changed", _set("start_time_unix_nano", lambda ns: ns - 1)),  # type: ignore[operator]
    "other end": Lie("changed", _set("end_time_unix_nano", lambda ns: ns + 1)),  # type: ignore[operator]
    "other kind": Lie("changed", _set("kind", lambda kind: kind % 5 + 1)),  # type: ignore[operator]
    "other parent": Lie("changed", _set("parent_span_id", lambda _: b"anparent")),
    "other status": Lie("changed", _other_status),
    "other trace": Lie("changed", _set("trace_id", lambda _: b"x" * 16)),
    "counts of dropped": Lie("changed", _set("dropped_events_count", lambda count: count + 1)),  # type: ignore[operator]
    "resource attribute gone": Lie("changed", lambda it: it.resource.attributes.pop(0)),
    "resource attribute added": Lie("changed", lambda it: _add(it.resource.attributes)),
    "other resource schema": Lie("changed", lambda it: setattr(it, "schema_url", "https://other")),
    "other scope": Lie("changed", lambda it: setattr(it.scope_spans[0].scope, "name", "≠")),
    "other scope version": Lie("changed", lambda it: setattr(it.scope_spans[0].scope, "version", "≠")),
    "scope attribute added": Lie("changed", lambda it: _add(it.scope_spans[0].scope.attributes)),
    "other scope schema": Lie("changed", lambda it: setattr(it.scope_spans[0], "schema_url", "≠")),
}
CARRIER_LIES = frozenset(name for name in LIES if "resource" in name or "scope" in name)
