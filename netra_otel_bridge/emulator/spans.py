"""What the emulator keeps of a span: what the application recorded, in plain values.

The trace state, flags, dropped counts and the instrumentation scope are let go here: Netra's span has no field for
them.

The structs are untracked by the garbage collector (``gc=False``): they hold no cycles, and there are millions.
"""

from __future__ import annotations

from typing import Any

import msgspec

from netra_otel_bridge.emulator.wire import to_json

Plain = dict[str, Any]
"""Attributes as ``key: str | bool | int | float | list of one of those``."""


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """One attribute list. ``exact`` is its OTLP JSON form, set only when ``plain`` cannot say all of it."""

    plain: Plain
    exact: list[dict[str, Any]] | None = None

    def json_value(self) -> Any:
        """A flat object where that loses nothing, else the OTLP key/values."""
        return self.plain if self.exact is None else self.exact


NO_ATTRIBUTES = Attributes({})


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something that happened at one instant of a span."""

    name: str
    time_ns: int
    attributes: Attributes = NO_ATTRIBUTES


class Link(msgspec.Struct, frozen=True, gc=False):
    """A reference to another span; ids in lower-case hex."""

    trace_id: str
    span_id: str
    attributes: Attributes = NO_ATTRIBUTES


class Resource:
    """The attributes of what produced spans, with their JSON text made once for all spans that share it."""

    __slots__ = ("attributes", "text")

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.text = to_json(attributes.json_value())


class Span(msgspec.Struct, frozen=True, gc=False):
    """One span. Ids are lower-case hex, ``kind`` and ``status_code`` the numbers of OTLP, times epoch nanoseconds."""

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
