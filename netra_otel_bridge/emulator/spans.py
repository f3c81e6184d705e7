"""Spans as the emulator stores them: the application's data, in plain values.

Trace state, flags, dropped counts and the instrumentation scope are not kept: Netra's span has no field for them.

The garbage collector does not track the structs (``gc=False``): they have no cycles, and there are millions.
"""

from __future__ import annotations

from typing import Any

import msgspec

from netra_otel_bridge.emulator.api_format import to_json

Plain = dict[str, Any]
"""Attributes by key: ``str | bool | int | float``, or a list of one of these types."""


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """One list of attributes. ``exact`` is its OTLP JSON form, set only if ``plain`` would lose something."""

    plain: Plain
    exact: list[dict[str, Any]] | None = None

    def json_value(self) -> Any:
        """Return a flat object if that loses nothing, else OTLP key/values."""
        return self.plain if self.exact is None else self.exact


NO_ATTRIBUTES = Attributes({})


class Event(msgspec.Struct, frozen=True, gc=False):
    """An event of a span."""

    name: str
    time_ns: int
    attributes: Attributes = NO_ATTRIBUTES


class Link(msgspec.Struct, frozen=True, gc=False):
    """A link to another span; ids are lower-case hex."""

    trace_id: str
    span_id: str
    attributes: Attributes = NO_ATTRIBUTES


class Resource:
    """A resource, with its JSON text, which is encoded once for all spans that share it."""

    __slots__ = ("attributes", "text")

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.text = to_json(attributes.json_value())


class Span(msgspec.Struct, frozen=True, gc=False):
    """One span. Ids are lower-case hex, ``kind`` and ``status_code`` OTLP numbers, times epoch nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: Attributes
    resource: Resource
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    status_code: int = 0
    status_message: str = ""
