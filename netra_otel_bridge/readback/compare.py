"""Compare a span as it was sent, with its resource and scope, with a copy that a store returned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, TypeVar

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from netra_otel_bridge.readback.proof import Returned
from netra_otel_bridge.readback.reader import StoreForm, TakesValuesAsEqual
from netra_otel_bridge.readback.values import (
    ADDED,
    CHANGED,
    GONE,
    Change,
    How,
    Same,
    attribute_changes,
    never_same,
    text_change,
)

Part = Literal[
    "attribute",
    "event attribute",
    "link attribute",
    "resource attribute",
    "scope attribute",
    "event",
    "event name",
    "event time",
    "link",
    "name",
    "kind",
    "start time",
    "end time",
    "status",
    "status message",
    "parent",
    "trace id",
    "trace state",
    "dropped counts",
    "scope name",
    "scope version",
    "resource schema URL",
    "scope schema URL",
]
CARRIER_PARTS: frozenset[Part] = frozenset(
    ("resource attribute", "scope attribute", "scope name", "scope version", "resource schema URL", "scope schema URL")
)
_PLAIN: tuple[tuple[Part, str], ...] = (
    ("kind", "kind"),
    ("start time", "start_time_unix_nano"),
    ("end time", "end_time_unix_nano"),
    ("parent", "parent_span_id"),
    ("trace id", "trace_id"),
    ("trace state", "trace_state"),
)
_DROPPED = ("dropped_attributes_count", "dropped_events_count", "dropped_links_count")
_Item = TypeVar("_Item", Span.Event, Span.Link)


class Difference(NamedTuple):
    """One difference between a span that was sent and a copy of it. ``key`` names the attribute, event or link."""

    part: Part
    change: Change
    key: str = ""

    @property
    def how(self) -> How:
        """Return whether the part is gone, cut, changed or added."""
        return self.change.how


def reduced(form: StoreForm, copy: Returned) -> ResourceSpans:
    """Return a span and what is around it as a message of its own, without what the store never keeps."""
    single = ResourceSpans(
        resource=copy.resource_spans.resource,
        schema_url=copy.resource_spans.schema_url,
        scope_spans=[
            ScopeSpans(scope=copy.scope_spans.scope, schema_url=copy.scope_spans.schema_url, spans=[copy.span])
        ],
    )
    form.reduce(single, single.scope_spans[0].spans[0])
    return single


def differences(
    form: StoreForm, sent: ResourceSpans, returned: ResourceSpans, *, with_carrier: bool
) -> list[Difference]:
    """Compare two messages of one span each, as `reduced` returns them.

    Flags of spans, the order of attributes, and the order of events and links do not count.
    """
    same = form.same if isinstance(form, TakesValuesAsEqual) else never_same
    found = _span_differences(sent.scope_spans[0].spans[0], returned.scope_spans[0].spans[0], same)
    if with_carrier:
        found += _carrier_differences(sent, returned, same)
    return found


def _span_differences(sent: Span, returned: Span, same: Same) -> list[Difference]:
    found = [
        Difference(part, _plain_change(getattr(sent, name), getattr(returned, name)))
        for part, name in _PLAIN
        if getattr(sent, name) != getattr(returned, name)
    ]
    found += _texts("name", sent.name, returned.name)
    if sent.status.code != returned.status.code:
        found.append(Difference("status", CHANGED))
    found += _texts("status message", sent.status.message, returned.status.message)
    if any(getattr(sent, name) != getattr(returned, name) for name in _DROPPED):
        found.append(Difference("dropped counts", CHANGED))
    found += _attributes("attribute", sent.attributes, returned.attributes, same)
    found += _events(sent.events, returned.events, same)
    return found + _links(sent.links, returned.links, same)


def _carrier_differences(sent: ResourceSpans, returned: ResourceSpans, same: Same) -> list[Difference]:
    before, after = sent.scope_spans[0], returned.scope_spans[0]
    return [
        *_attributes("resource attribute", sent.resource.attributes, returned.resource.attributes, same),
        *_texts("resource schema URL", sent.schema_url, returned.schema_url),
        *_texts("scope name", before.scope.name, after.scope.name),
        *_texts("scope version", before.scope.version, after.scope.version),
        *_attributes("scope attribute", before.scope.attributes, after.scope.attributes, same),
        *_texts("scope schema URL", before.schema_url, after.schema_url),
    ]


def _plain_change(sent: object, returned: object) -> Change:
    return CHANGED if sent and returned else GONE if sent else ADDED


def _texts(part: Part, sent: str, returned: str) -> list[Difference]:
    if sent == returned:
        return []
    if not sent or not returned:
        return [Difference(part, _plain_change(sent, returned))]
    return [Difference(part, change)] if (change := text_change(sent, returned)) else []


def _attributes(part: Part, sent: Iterable[KeyValue], returned: Iterable[KeyValue], same: Same) -> list[Difference]:
    return [Difference(part, change, key) for key, change in attribute_changes(sent, returned, same)]


def _events(sent: Iterable[Span.Event], returned: Iterable[Span.Event], same: Same) -> list[Difference]:
    before, after = _unequal(sent, returned)
    found: list[Difference] = []
    for event, other in [
        *_pairs(before, after, lambda one: (one.time_unix_nano, one.name)),
        *_pairs(before, after, lambda one: one.name),
        *_pairs(before, after, lambda one: one.time_unix_nano),
    ]:
        if event.time_unix_nano != other.time_unix_nano:
            found.append(Difference("event time", CHANGED, event.name))
        found += _texts("event name", event.name, other.name)
        if event.dropped_attributes_count != other.dropped_attributes_count:
            found.append(Difference("dropped counts", CHANGED))
        found += _attributes("event attribute", event.attributes, other.attributes, same)
    found += [Difference("event", GONE, event.name) for event in before]
    return found + [Difference("event", ADDED, event.name) for event in after]


def _links(sent: Iterable[Span.Link], returned: Iterable[Span.Link], same: Same) -> list[Difference]:
    before, after = _unequal(sent, returned)
    found: list[Difference] = []
    for link, other in _pairs(before, after, lambda one: (one.trace_id, one.span_id)):
        if (link.flags, link.trace_state) != (other.flags, other.trace_state):
            found.append(Difference("link", CHANGED))
        if link.dropped_attributes_count != other.dropped_attributes_count:
            found.append(Difference("dropped counts", CHANGED))
        found += _attributes("link attribute", link.attributes, other.attributes, same)
    found += [Difference("link", GONE) for _ in before]
    return found + [Difference("link", ADDED) for _ in after]


def _unequal(sent: Iterable[_Item], returned: Iterable[_Item]) -> tuple[list[_Item], list[_Item]]:
    """Return the items of both without those that the other has with the same bytes."""
    before, after = list(sent), list(returned)
    left: dict[bytes, list[_Item]] = {}
    for item in after:
        left.setdefault(item.SerializeToString(), []).append(item)
    missed = []
    for item in before:
        same = left.get(item.SerializeToString())
        if same:
            same.pop()
        else:
            missed.append(item)
    rest = {id(item) for items in left.values() for item in items}
    return missed, [item for item in after if id(item) in rest]


def _pairs(before: list[_Item], after: list[_Item], key: Callable[[_Item], object]) -> Sequence[tuple[_Item, _Item]]:
    """Take pairs of items with the same key out of both lists, in their order."""
    others: dict[object, list[_Item]] = {}
    for item in reversed(after):
        others.setdefault(key(item), []).append(item)
    pairs, alone = [], []
    for item in before:
        same = others.get(key(item))
        if same:
            pairs.append((item, same.pop()))
        else:
            alone.append(item)
    paired = {id(other) for _, other in pairs}
    before[:] = alone
    after[:] = [item for item in after if id(item) not in paired]
    return pairs
